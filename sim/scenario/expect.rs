//! Whether what came of a step is what was expected.

use std::collections::BTreeMap;
use std::fmt::Display;

use smmu::fault::Fault;
use smmu::spec::event::{Event, EventId};
use smmu::spec::ste::Ste;
use smmu::transaction::Response;
use smmu::{CommandError, Outcome};

use super::linux::errno;
use super::machine::{Machine, Seen, State};
use super::names;
use super::source::{Diagnostic, Located, Number, Span};
use super::step::{Counter, Expect, OutcomeName, Step};

/// An expectation that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Its key: `errno`, `streams.nic`.
    pub key: String,
    /// What is there instead.
    pub found: String,
    /// Where it is written.
    pub span: Span,
}

/// Looks at everything a step expects, and at what must be expected to happen.
struct Judge<'a> {
    seen: &'a Seen,
    unmet: Vec<Unmet>,
}

/// Numbers read better as they are written: addresses in hexadecimal.
fn hex(value: u64) -> String {
    if value < 4096 {
        value.to_string()
    } else {
        format!("{value:#x}")
    }
}

impl Judge<'_> {
    fn check(&mut self, key: impl Into<String>, span: Span, met: bool, found: impl Display) {
        if !met {
            self.unmet.push(Unmet {
                key: key.into(),
                found: found.to_string(),
                span,
            });
        }
    }

    fn number(&mut self, key: &str, expected: Option<&Located<Number>>, found: Option<u64>) {
        if let Some(expected) = expected {
            let text = found.map_or_else(|| "nothing".to_owned(), hex);
            self.check(key, expected.span(), found == Some(expected.0), text);
        }
    }

    fn outcome(&mut self, expect: &Expect) -> Result<(), Diagnostic> {
        let outcome = self.seen.outcome.as_ref();
        let pa = outcome.and_then(Outcome::pa).map(smmu::addr::Pa::get);
        self.number("pa", expect.pa.as_ref(), pa);
        self.number("guest", expect.guest.as_ref(), self.seen.guest);
        if let Some(expected) = &expect.outcome {
            let found = outcome.map(outcome_name);
            let text = outcome.map_or_else(|| "no access".to_owned(), describe);
            self.check("outcome", expected.span(), found == Some(**expected), text);
        }
        let event = outcome.and_then(Outcome::event);
        if let Some(expected) = &expect.event {
            let known = (0..=u8::MAX)
                .filter_map(|id| EventId(id).name())
                .chain(["none"]);
            names::known("event", expected, known)?;
            let found = event.map_or("none", event_name);
            self.check("event", expected.span(), found == expected.as_str(), found);
        }
        for (name, expected) in &expect.event_fields {
            let (field, _) = names::field(&Event::LAYOUT, name, expected)?;
            let found = event.map(|event| names::value_of(field, &event.words()));
            let text = found.map_or_else(|| "no event".to_owned(), hex);
            let key = format!("event-fields.{name}");
            self.check(key, expected.span(), found == Some(expected.0), text);
        }
        let explained = self.seen.explained.as_ref();
        let accesses = explained.map(|explained| explained.recording.rows.len() as u64);
        self.number("accesses", expect.accesses.as_ref(), accesses);
        Ok(())
    }

    fn call(&mut self, expect: &Expect) -> Result<(), Diagnostic> {
        if let Some(expected) = &expect.errno {
            let wanted = match expected.as_str() {
                "none" => Ok(()),
                _ => Err(errno(expected)?),
            };
            let text = match self.seen.result {
                None => "no system call".to_owned(),
                Some(Ok(())) => "none".to_owned(),
                Some(Err(errno)) => errno.to_string(),
            };
            let met = self.seen.result == Some(wanted);
            self.check("errno", expected.span(), met, text);
        }
        if let Some(expected) = &expect.failed_step {
            let found = self.seen.failed_step.unwrap_or("none");
            self.check(
                "failed-step",
                expected.span(),
                found == expected.as_str(),
                found,
            );
        }
        if let Some(expected) = &expect.kernel_bug {
            let found = self.seen.bug.map_or("none", |bug| bug.at);
            self.check(
                "kernel-bug",
                expected.span(),
                found == expected.as_str(),
                found,
            );
        }
        self.number("value", expect.value.as_ref(), self.seen.value);
        Ok(())
    }

    fn commands(&mut self, expect: &Expect) {
        if let Some(expected) = &expect.commands {
            let wanted = expected.iter().map(|name| name.trim_start_matches("CMD_"));
            let met = wanted.eq(self.seen.commands.iter().copied());
            let found = format!("[{}]", self.seen.commands.join(", "));
            self.check("commands", expected.span(), met, found);
        }
        if let Some(expected) = &expect.command_error {
            let found = self.seen.command_error.map_or("none", command_error);
            let met = found == expected.as_str();
            self.check("command-error", expected.span(), met, found);
        }
        self.number("removed", expect.removed.as_ref(), Some(self.seen.removed));
    }

    fn findings(&mut self, expect: &Expect) -> Result<(), Diagnostic> {
        let Some(expected) = &expect.findings else {
            return Ok(());
        };
        for name in expected.iter() {
            let known = smmu::sanitize::Kind::NAMES.into_iter();
            names::chosen("finding", name, expected.span(), known)?;
        }
        let found = self.finding_names();
        let met = found.iter().eq(expected.iter());
        let text = format!("[{}]", found.join(", "));
        self.check("findings", expected.span(), met, text);
        Ok(())
    }

    fn finding_names(&self) -> Vec<&'static str> {
        let findings = self.seen.findings.iter();
        findings.map(|(_, finding)| finding.kind.name()).collect()
    }

    fn state(&mut self, expect: &Expect, state: &State) -> Result<(), Diagnostic> {
        for (name, expected) in &expect.streams {
            let known = state.streams.keys().map(String::as_str);
            let key = normal(name);
            names::chosen("device or stream", &key, expected.span(), known)?;
            let found = &state.streams[&key];
            let met = found == expected.as_str();
            self.check(format!("streams.{name}"), expected.span(), met, found);
        }
        for (name, fields) in &expect.ste {
            for (field, expected) in fields {
                let known = state.stes.keys().map(String::as_str);
                let key = normal(name);
                names::chosen("device or stream", &key, expected.span(), known)?;
                let (field, _) = names::field(&Ste::LAYOUT, field, expected)?;
                let found = names::value_of(field, &state.stes[&key]);
                let key = format!("ste.{name}.{}", field.name);
                self.number(&key, Some(expected), Some(found));
            }
        }
        for (name, expected) in &expect.domains {
            let known = state.domains.keys().map(String::as_str);
            names::chosen("container", name, expected.span(), known)?;
            let found = &state.domains[name];
            let met = found == &**expected;
            let text = format!("{found:?}");
            self.check(format!("domains.{name}"), expected.span(), met, text);
        }
        for (name, expected) in &expect.mappings {
            let known = state.mappings.keys().map(String::as_str);
            names::chosen("container", name, expected.span(), known)?;
            let found = state.mappings[name];
            self.number(&format!("mappings.{name}"), Some(expected), Some(found));
        }
        for (counter, expected) in &expect.counters {
            let found = state.counters.get(counter).copied();
            if found.is_none() {
                let message = "only Linux keeps these books";
                return Err(Diagnostic::new(
                    message,
                    expected.span(),
                    "not on this machine",
                ));
            }
            let key = format!("counters.{}", counter_name(*counter));
            self.number(&key, Some(expected), found);
        }
        Ok(())
    }

    /// What nobody expected, though it must not pass unseen.
    fn surprises(&mut self, step: &Located<Step>) {
        let expect = step.expect.as_deref();
        let spans = step.operations();
        let span = spans
            .first()
            .map_or_else(|| step.span(), |w| w.span.clone());
        let expects = |has: fn(&Expect) -> bool| expect.is_some_and(has);
        if let Some(Err(errno)) = self.seen.result
            && !expects(|expect| expect.errno.is_some() || expect.kernel_bug.is_some())
        {
            self.check("errno", span.clone(), false, errno);
        }
        if let Some(error) = self.seen.command_error
            && !expects(|expect| expect.command_error.is_some())
        {
            self.check("command-error", span.clone(), false, error);
        }
        let found = self.finding_names();
        if !found.is_empty() && !expects(|expect| expect.findings.is_some()) {
            let text = format!("[{}]", found.join(", "));
            self.check("findings", span, false, text);
        }
    }
}

/// Judges a step.
pub(super) fn judge(
    step: &Located<Step>,
    seen: &Seen,
    before: &Machine,
    after: &Machine,
) -> Result<Vec<Unmet>, Diagnostic> {
    let mut judge = Judge {
        seen,
        unmet: Vec::new(),
    };
    if let Some(expect) = &step.expect {
        judge.outcome(expect)?;
        judge.call(expect)?;
        judge.commands(expect);
        judge.findings(expect)?;
        judge.state(expect, &after.state())?;
        if let Some(expected) = &expect.unchanged {
            let unchanged = after.is_as(before);
            judge.check(
                "unchanged",
                expected.span(),
                unchanged == **expected,
                unchanged,
            );
        }
    }
    judge.surprises(step);
    Ok(judge.unmet)
}

impl Unmet {
    /// As a message; `operation` is what the step did.
    pub(super) fn diagnostic(&self, operation: Option<(&str, Span)>) -> Diagnostic {
        let label = format!("found {}", self.found);
        let own = self.span.clone();
        match operation {
            Some((_, span)) if span == self.span => {
                Diagnostic::new(format!("{}: not expected here", self.key), own, label)
            }
            Some((key, span)) => {
                let message = format!("{}: not as expected", self.key);
                Diagnostic::new(message, own, label).and(span, format!("after this {key}"))
            }
            None => Diagnostic::new(format!("{}: not as expected", self.key), own, label),
        }
    }
}

impl Expect {
    /// Everything that is expected: its key, and where its value is written.
    pub fn leaves(&self) -> Vec<(String, Span)> {
        fn one<T>(key: &str, value: Option<&Located<T>>) -> Option<(String, Span)> {
            value.map(|value| (key.to_owned(), value.span()))
        }
        fn each<T>(key: &str, values: &BTreeMap<String, Located<T>>) -> Vec<(String, Span)> {
            let leaf =
                |(name, value): (&String, &Located<T>)| (format!("{key}.{name}"), value.span());
            values.iter().map(leaf).collect()
        }
        let single = [
            one("pa", self.pa.as_ref()),
            one("guest", self.guest.as_ref()),
            one("outcome", self.outcome.as_ref()),
            one("event", self.event.as_ref()),
            one("accesses", self.accesses.as_ref()),
            one("errno", self.errno.as_ref()),
            one("failed-step", self.failed_step.as_ref()),
            one("kernel-bug", self.kernel_bug.as_ref()),
            one("value", self.value.as_ref()),
            one("commands", self.commands.as_ref()),
            one("command-error", self.command_error.as_ref()),
            one("removed", self.removed.as_ref()),
            one("findings", self.findings.as_ref()),
            one("unchanged", self.unchanged.as_ref()),
        ];
        let ste = self.ste.iter();
        let counters = self.counters.iter().map(|(counter, value)| {
            let key = format!("counters.{}", counter_name(*counter));
            (key, value.span())
        });
        let mut leaves: Vec<_> = single.into_iter().flatten().collect();
        leaves.extend(each("event-fields", &self.event_fields));
        leaves.extend(each("streams", &self.streams));
        leaves.extend(ste.flat_map(|(name, fields)| each(&format!("ste.{name}"), fields)));
        leaves.extend(each("domains", &self.domains));
        leaves.extend(each("mappings", &self.mappings));
        leaves.extend(counters);
        leaves
    }
}

fn outcome_name(outcome: &Outcome) -> OutcomeName {
    match outcome {
        Outcome::Translated(_) => OutcomeName::Translated,
        Outcome::Terminated { response, .. } => match response {
            Response::Abort => OutcomeName::Aborted,
            Response::RazWi => OutcomeName::RazWi,
        },
        Outcome::Stalled { .. } => OutcomeName::Stalled,
        Outcome::Refused => OutcomeName::Refused,
        Outcome::Dropped => OutcomeName::Dropped,
    }
}

/// What became of an access, in a few words.
pub(super) fn describe(outcome: &Outcome) -> String {
    let fault = |fault: Option<&Fault>| {
        fault.map_or_else(String::new, |fault| {
            format!(", {:?}", fault.cause.event_id())
        })
    };
    match outcome {
        Outcome::Translated(translation) => format!("translated to {}", translation.pa),
        Outcome::Terminated { response, .. } => {
            let how = match response {
                Response::Abort => "aborted",
                Response::RazWi => "raz-wi",
            };
            format!("{how}{}", fault(outcome.fault()))
        }
        Outcome::Stalled { .. } => format!("stalled{}", fault(outcome.fault())),
        Outcome::Refused => "refused".into(),
        Outcome::Dropped => "dropped".into(),
    }
}

fn event_name(event: &Event) -> &'static str {
    let id = EventId((event.words()[0] & 0xff) as u8);
    id.name().unwrap_or("reserved")
}

fn command_error(error: CommandError) -> &'static str {
    match error {
        CommandError::Illegal(_) => "CERROR_ILL",
        CommandError::Abort => "CERROR_ABT",
        CommandError::AtcInvSync => "CERROR_ATC_INV_SYNC",
    }
}

fn counter_name(counter: Counter) -> &'static str {
    match counter {
        Counter::CachedTranslations => "cached-translations",
        Counter::CachedConfigurations => "cached-configurations",
        Counter::Stalled => "stalled",
        Counter::PinnedPages => "pinned-pages",
        Counter::LockedPages => "locked-pages",
        Counter::Vmids => "vmids",
        Counter::Asids => "asids",
        Counter::Domains => "domains",
        Counter::TableBytes => "table-bytes",
    }
}

/// StreamIDs are written in any base.
fn normal(name: &str) -> String {
    let digits = name.strip_prefix("0x");
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.map_or_else(|| name.to_owned(), |number| number.to_string())
}

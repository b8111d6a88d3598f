//! A finding as people read it: what happened, the entry, what has changed, the commands since.

use core::fmt;

use super::finding::{Exposure, Finding, Kind, Severity};
use crate::fault::{Cause, Site, Stage};
use crate::observe::{CacheKind, CacheTag, Structure};
use crate::spec::event::EventId;
use crate::transaction::{Outcome, Transaction};

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.detail() {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.kind.severity(), self.exposure) {
            (Severity::Hint, _) => "hint: ",
            (Severity::Error, Exposure::Device) => "error: ",
            (Severity::Error, Exposure::Possible) => "error, not met here: ",
        })?;
        write!(f, "{}\n  at {} ", self.kind, self.moment)?;
        if let Some(transaction) = &self.transaction {
            access(f, transaction)?;
        }
        if let Some(met) = &self.command {
            write!(f, "{met}")?;
        }
        if let Some((cache, tag)) = &self.entry {
            f.write_str("\n  entry: ")?;
            entry(f, *cache, tag)?;
        }
        if let Some(creator) = &self.creator {
            write!(f, "\n  made at {} by ", creator.moment)?;
            access(f, &creator.transaction)?;
        }
        for (title, said) in [("answer", &self.answer), ("memory says", &self.memory_says)] {
            if let Some(said) = said {
                write!(f, "\n  {title}: ")?;
                outcome(f, said)?;
            }
        }
        for change in &self.changes {
            f.write_str("\n  changed: ")?;
            name(f, change.structure)?;
            write!(f, " at {:#x}: {:#x}", change.pa.get(), change.was)?;
            match change.is {
                Some(is) => write!(f, " -> {is:#x}")?,
                None => f.write_str(", which now aborts")?,
            }
        }
        if self.forgotten > 0 {
            write!(f, "\n  since: {} older commands", self.forgotten)?;
        }
        for issued in &self.commands {
            write!(f, "\n  since: {} {}", issued.moment, issued.command)?;
        }
        Ok(())
    }
}

fn access(f: &mut fmt::Formatter<'_>, transaction: &Transaction) -> fmt::Result {
    write!(f, "stream {:#x}", transaction.stream.get())?;
    if let Some(substream) = transaction.substream {
        write!(f, ".{:#x}", substream.get())?;
    }
    write!(
        f,
        " {:?} {:#x}",
        transaction.kind,
        transaction.address.get()
    )
}

fn name(f: &mut fmt::Formatter<'_>, structure: Structure) -> fmt::Result {
    match structure {
        Structure::L1Std => f.write_str("L1STD"),
        Structure::Ste => f.write_str("STE"),
        Structure::L1Cd => f.write_str("L1CD"),
        Structure::Cd => f.write_str("CD"),
        Structure::Stage1(level) => write!(f, "S1 L{level}"),
        Structure::Stage2(level) => write!(f, "S2 L{level}"),
    }
}

fn entry(f: &mut fmt::Formatter<'_>, cache: CacheKind, tag: &CacheTag) -> fmt::Result {
    f.write_str(match cache {
        CacheKind::Configuration => "configuration",
        CacheKind::Ste => "STE",
        CacheKind::Tlb => "TLB",
        CacheKind::Stage2Tlb => "stage-2 TLB",
        CacheKind::Stage1Walk => "stage-1 table",
        CacheKind::Stage2Walk => "stage-2 table",
    })?;
    match tag {
        CacheTag::Configuration { stream, substream } => {
            write!(f, " of stream {:#x}", stream.get())?;
            match substream {
                Some(substream) => write!(f, ".{:#x}", substream.get()),
                None => Ok(()),
            }
        }
        CacheTag::Ste { stream } => write!(f, " of stream {:#x}", stream.get()),
        CacheTag::Translation(tag) => {
            let input = if tag.is_ipa { "IPA" } else { "VA" };
            write!(f, ", {input} {:#x}+2^{}", tag.input, tag.span_log2)?;
            write!(f, ", VMID {}", tag.vmid.get())?;
            match tag.asid {
                _ if tag.is_ipa => Ok(()),
                Some(asid) => write!(f, ", ASID {}", asid.get()),
                None => f.write_str(", global"),
            }
        }
    }
}

fn outcome(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    match outcome {
        Outcome::Translated(translation) => write!(
            f,
            "pa {:#x}, {:?}, {:?}",
            translation.pa.get(),
            translation.attributes.memory,
            translation.attributes.shareability
        ),
        Outcome::Terminated { fault: None, .. } => f.write_str("abort"),
        Outcome::Terminated {
            fault: Some(fault), ..
        } => cause(f, &fault.cause),
        Outcome::Stalled { fault, .. } => {
            f.write_str("stall, ")?;
            cause(f, &fault.cause)
        }
        Outcome::Refused => f.write_str("refused"),
        Outcome::Dropped => f.write_str("dropped"),
    }
}

fn cause(f: &mut fmt::Formatter<'_>, cause: &Cause) -> fmt::Result {
    let EventId(number) = cause.event_id();
    match cause.event_id().name() {
        Some(name) => f.write_str(name)?,
        None => write!(f, "event {number:#x}")?,
    }
    match cause.site() {
        Some(Site { stage, level, .. }) => {
            let stage = match stage {
                Stage::Stage1 => 1,
                Stage::Stage2 => 2,
            };
            write!(f, " at stage {stage} level {level}")
        }
        None => Ok(()),
    }
}

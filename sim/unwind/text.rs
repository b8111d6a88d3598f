//! An exploration in words.

use std::fmt::Write;

use iommu_core::Errno;

use super::explore::{Exploration, Finding};
use super::finding::Objection;
use super::guest::PROBES;
use super::op::Op;
use super::view::{DomainView, SteState, View};

/// All of an exploration.
pub fn to_text(exploration: &Exploration) -> String {
    let mut out = String::new();
    let Exploration {
        name,
        layout,
        states,
        runs,
        failures,
        late,
        findings,
    } = exploration;
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{name} on {layout}: {}, {runs} operations, {failures} of them with a step that fails",
        plural(*states, "state")
    );
    if *late > 0 {
        let _ = writeln!(
            out,
            "  {} of a CMD_SYNC: an unpinned page was reached until the SMMU came to its queue",
            plural(*late, "timeout")
        );
    }
    if findings.is_empty() {
        out.push_str("  nothing to object to\n");
    }
    for finding in findings {
        out.push('\n');
        out.push_str(&witness(finding));
    }
    out
}

pub(super) fn plural(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// One finding: what is wrong, how to get there, what is then where.
pub fn witness(finding: &Finding) -> String {
    let mut out = String::new();
    let _ = write_witness(&mut out, finding);
    out
}

pub(super) fn label(objection: Objection) -> String {
    match objection.defect() {
        Some(defect) => format!("D{}", defect.number()),
        None => "--".to_owned(),
    }
}

pub(super) fn result(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => "0".to_owned(),
        Err(errno) => format!("-{errno}"),
    }
}

pub(super) fn path(path: &[Op]) -> String {
    if path.is_empty() {
        return "nothing".to_owned();
    }
    let words: Vec<String> = path.iter().map(Op::to_string).collect();
    words.join(", ")
}

pub(super) fn failing(finding: &Finding) -> String {
    match finding.failed {
        Some(failed) => format!(", step {} ({}) fails", failed.index, failed.step),
        None => String::new(),
    }
}

pub(super) fn states(domain: &DomainView) -> String {
    let words: Vec<String> = domain.states.iter().map(|state| state.words()).collect();
    words.join(" + ")
}

pub(super) fn domain_name(domain: &DomainView) -> String {
    super::world::name(domain.smmu, &domain.groups)
}

/// Domains before and after, paired by their groups; newest first.
pub(super) fn domain_rows(finding: &Finding) -> Vec<(usize, String, String, String)> {
    let mut rows = Vec::new();
    let views: [&View; 2] = [&finding.before, &finding.after];
    let count = views[0].containers.len().max(views[1].containers.len());
    for container in 0..count {
        let domains = |view: &View| {
            let found = view.containers.get(container);
            found.map(|c| c.domains.clone()).unwrap_or_default()
        };
        let (before, after) = (domains(views[0]), domains(views[1]));
        let mut names: Vec<String> = after.iter().map(domain_name).collect();
        for name in before.iter().map(domain_name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let find = |list: &[DomainView], name: &str| {
            let domain = list.iter().find(|domain| domain_name(domain) == name);
            domain.map_or_else(|| "-".to_owned(), states)
        };
        for name in names {
            let (old, new) = (find(&before, &name), find(&after, &name));
            rows.push((container, name, old, new));
        }
    }
    rows
}

fn write_witness(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let objection = finding.objection;
    writeln!(
        out,
        "  {:<4}{} ({})",
        label(objection),
        objection.words(),
        plural(finding.count, "time")
    )?;
    if let Objection::KernelBug(bug) = objection {
        writeln!(out, "      {bug}")?;
    }
    writeln!(out, "      after      {}", path(&finding.path))?;
    writeln!(
        out,
        "      operation  {}{} -> {}",
        finding.op,
        failing(finding),
        result(finding.result)
    )?;
    let rows = domain_rows(finding);
    if !rows.is_empty() {
        writeln!(
            out,
            "      {:<10} {:<20} {:<16} now (from the STEs, newest first)",
            "container", "domain", "before"
        )?;
    }
    for (container, name, old, new) in rows {
        let mark = if old == new { "" } else { "  <-" };
        writeln!(
            out,
            "      {container:<10} {name:<20} {old:<16} {new}{mark}"
        )?;
    }
    write_streams(out, finding)?;
    if let Some(left) = &finding.left {
        writeln!(
            out,
            "      left when everybody has gone: {} pins, {} locked, VMIDs {:?}, {} ASIDs, {} domains, \
             {} bytes of tables",
            left.pins, left.locked_pages, left.vmids, left.asids, left.domains, left.table_bytes
        )?;
    }
    Ok(())
}

/// Streams whose STE or reach changed, or that caches mislead.
fn write_streams(out: &mut String, finding: &Finding) -> std::fmt::Result {
    for new in &finding.after.streams {
        let old = finding
            .before
            .streams
            .iter()
            .find(|s| s.stream == new.stream);
        for (at, probe) in PROBES.iter().enumerate() {
            let before = old.map(|old| old.reach[at]);
            let stale = new.reach[at] != new.cold[at];
            if before == Some(new.reach[at]) && !stale {
                continue;
            }
            let was = before.map_or_else(|| "-".to_owned(), super::Reach::words);
            write!(
                out,
                "      DMA of stream {:#x} at {probe:#x}: {was}, now {}",
                new.stream,
                new.reach[at].words()
            )?;
            if stale {
                write!(out, "; without caches {}", new.cold[at].words())?;
            }
            writeln!(out)?;
        }
        let unattached = matches!(new.ste, SteState::Abort | SteState::Bypass);
        if unattached && finding.after.container_of(new.group).is_none() {
            writeln!(
                out,
                "      stream {:#x}: STE was {}, is {}",
                new.stream,
                old.map_or_else(|| "-".to_owned(), |old| old.ste.words()),
                new.ste.words()
            )?;
        }
    }
    Ok(())
}

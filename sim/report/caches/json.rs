//! A view for programs.

use serde_json::{Value, json};
use smmu::cache::CachedEntry;
use smmu::sanitize::Severity;

use super::entry::{cache, name, says, tags};
use super::{CacheView, Ending, Frame};

fn entry(entry: &CachedEntry) -> Value {
    let descriptor = match entry {
        CachedEntry::Translation(entry) => Some(format!("{:#x}", entry.descriptor)),
        _ => None,
    };
    json!({
        "cache": cache(entry.cache()),
        "finds": name(entry),
        "tags": tags(entry),
        "says": says(entry),
        "descriptor": descriptor,
    })
}

fn frame(frame: &Frame) -> Value {
    let looks = frame.hits_and_misses().into_iter();
    let looks = looks
        .map(|(kind, hits, misses)| json!({"cache": cache(kind), "hits": hits, "misses": misses}));
    let findings = frame.findings.iter().map(|(severity, words)| {
        let severity = match severity {
            Severity::Hint => "hint",
            Severity::Error => "error",
        };
        json!({"severity": severity, "words": words})
    });
    json!({
        "done": frame.done,
        "ended": frame.ended.as_ref().map(|(words, _)| words),
        "faulted": frame.ended.as_ref().map(|(_, ending)| *ending == Ending::Faulted),
        "looks": looks.collect::<Vec<_>>(),
        "added": frame.added.iter().map(entry).collect::<Vec<_>>(),
        "removed": frame.removed.iter().map(entry).collect::<Vec<_>>(),
        "held_count": frame.held,
        "findings": findings.collect::<Vec<_>>(),
    })
}

impl CacheView {
    /// All of it.
    pub fn to_json(&self) -> Value {
        json!({
            "title": self.title,
            "first": self.first.iter().map(entry).collect::<Vec<_>>(),
            "steps": self.frames.iter().map(frame).collect::<Vec<_>>(),
            "omitted_count": self.omitted,
        })
    }
}

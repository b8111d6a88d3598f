//! What the caches of an SMMU hold over a scenario: step by step what came, what left and because of
//! what, and what an access met. As text, JSON and a page.

mod entry;
mod html;
mod json;
mod lives;
mod text;

use smmu::Outcome;
use smmu::cache::{Cached, CachedEntry};
use smmu::observe::{Access, CacheEvent, CacheKind, CacheTag, Observer};
use smmu::sanitize::{Finding, Severity};

use entry::key;
pub use lives::Life;

/// The caches over a scenario. What is done is told after it is done, with what the caches then hold:
///
/// ```
/// use smmu::cache::CacheConfig;
/// use smmu::mem::Ram;
/// use smmu::{Smmu, Transaction, addr::Iova, config::SmmuConfig, ids::StreamId};
/// use smmu_sim::report::caches::{CacheView, Ending, Looks};
///
/// let ram = Ram::sparse();
/// let mut smmu = Smmu::with_caches(SmmuConfig::full(), &CacheConfig::SMALL)?;
/// let mut view = CacheView::new("A scenario", &smmu.cached());
///
/// let read = Transaction::read(StreamId::new(8), Iova::new(0xb000));
/// let mut looks = Looks::default();
/// let outcome = smmu.translate(&mut ram.port(), &read, &mut looks);
/// view.step("read of 0xb000 by stream 8", &smmu.cached())
///     .looked(looks)
///     .ended("passes, the SMMU is off", Ending::of(&outcome));
///
/// smmu.execute_command(&mut ram.port(), [0x30, 0])?; // CMD_TLBI_NSNH_ALL
/// view.step("CMD_TLBI_NSNH_ALL", &smmu.cached());
///
/// assert_eq!(view.frames().len(), 2);
/// assert!(view.to_text().contains("2  CMD_TLBI_NSNH_ALL"));
/// assert!(view.to_html().contains("CMD_TLBI_NSNH_ALL"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheView {
    title: String,
    /// What there was before the first step.
    first: Vec<CachedEntry>,
    /// What there is now.
    last: Vec<CachedEntry>,
    frames: Vec<Frame>,
    omitted: u64,
    /// Where steps beyond the bound are told to.
    beyond: Frame,
}

/// Steps that a view keeps; later ones are counted and nothing else.
pub const MOST_FRAMES: usize = 1000;

/// Whether a step came to a good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did what was asked.
    Well,
    /// It was refused: a transaction that faulted or was aborted.
    Faulted,
}

impl Ending {
    /// How a transaction ended.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Translated(_) | Outcome::Dropped => Self::Well,
            Outcome::Terminated { .. } | Outcome::Stalled { .. } | Outcome::Refused => {
                Self::Faulted
            }
        }
    }
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// What was done.
    pub done: String,
    /// How it ended, if that was told.
    pub ended: Option<(String, Ending)>,
    /// Looks into caches, and fills, in order; of a transaction.
    pub looks: Vec<CacheEvent>,
    /// Entries that were not there before.
    pub added: Vec<CachedEntry>,
    /// Entries that are no longer there.
    pub removed: Vec<CachedEntry>,
    /// How many there are in all.
    pub held: usize,
    /// What the sanitizer said: how bad, and its words.
    pub findings: Vec<(Severity, String)>,
}

impl Frame {
    /// What a transaction met in the caches.
    pub fn looked(&mut self, looks: Looks) -> &mut Self {
        self.looks = looks.0;
        self
    }

    /// How it ended, in words.
    pub fn ended(&mut self, words: &str, ending: Ending) -> &mut Self {
        self.ended = Some((words.to_owned(), ending));
        self
    }

    /// What the sanitizer found.
    pub fn found(&mut self, findings: &[Finding]) -> &mut Self {
        let said = findings.iter();
        self.findings
            .extend(said.map(|finding| (finding.kind.severity(), finding.to_string())));
        self
    }

    /// Whether entries left because others needed their places, not because a command named them.
    fn evicts(&self) -> bool {
        !self.looks.is_empty()
    }

    /// Hits and misses of each cache that was looked into.
    pub fn hits_and_misses(&self) -> Vec<(CacheKind, u32, u32)> {
        let mut counts: Vec<(CacheKind, u32, u32)> = Vec::new();
        for look in &self.looks {
            let (cache, hit, miss) = match look {
                CacheEvent::Hit { cache, .. } => (*cache, 1, 0),
                CacheEvent::Miss { cache } => (*cache, 0, 1),
                CacheEvent::Fill { .. } => continue,
            };
            match counts.iter_mut().find(|count| count.0 == cache) {
                Some(count) => *count = (cache, count.1 + hit, count.2 + miss),
                None => counts.push((cache, hit, miss)),
            }
        }
        counts
    }

    /// Entries that were hit.
    fn hits(&self) -> impl Iterator<Item = (CacheKind, CacheTag)> {
        self.looks.iter().filter_map(|look| match look {
            CacheEvent::Hit { cache, entry } => Some((*cache, *entry)),
            _ => None,
        })
    }
}

/// An observer that keeps what a transaction meets in the caches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looks(Vec<CacheEvent>);

impl Observer for Looks {
    fn access(&mut self, _: &Access<'_>) {}

    fn watches_caches(&self) -> bool {
        true
    }

    fn cache(&mut self, event: &CacheEvent) {
        self.0.push(*event);
    }
}

/// Entries of a listing, sorted.
fn sorted(cached: &Cached) -> Vec<CachedEntry> {
    let mut entries: Vec<CachedEntry> = cached.entries().collect();
    entries.sort_unstable_by_key(key);
    entries
}

/// Entries of `some` that `others` lacks; both sorted.
fn without(some: &[CachedEntry], others: &[CachedEntry]) -> Vec<CachedEntry> {
    let mut others = others.iter().map(key).peekable();
    let mut left = Vec::new();
    for entry in some {
        let wanted = key(entry);
        while others.next_if(|other| *other < wanted).is_some() {}
        if others.next_if_eq(&wanted).is_none() {
            left.push(*entry);
        }
    }
    left
}

impl CacheView {
    /// A view from now on; `cached` is what the caches hold.
    pub fn new(title: &str, cached: &Cached) -> Self {
        let first = sorted(cached);
        Self {
            title: title.to_owned(),
            last: first.clone(),
            first,
            frames: Vec::new(),
            omitted: 0,
            beyond: Frame::default(),
        }
    }

    /// `done` was done, and `cached` is what the caches hold after it. More can be told of the frame
    /// that is returned. Of steps beyond [`MOST_FRAMES`] nothing is kept but their number.
    pub fn step(&mut self, done: &str, cached: &Cached) -> &mut Frame {
        if self.frames.len() == MOST_FRAMES {
            self.omitted += 1;
            self.beyond = Frame::default();
            return &mut self.beyond;
        }
        let now = sorted(cached);
        self.frames.push(Frame {
            done: done.to_owned(),
            added: without(&now, &self.last),
            removed: without(&self.last, &now),
            held: now.len(),
            ..Frame::default()
        });
        self.last = now;
        let at = self.frames.len() - 1;
        &mut self.frames[at]
    }

    /// What the sanitizer found of the last step, if it is one that is kept.
    pub fn found(&mut self, finding: &Finding) {
        if self.omitted == 0
            && let Some(frame) = self.frames.last_mut()
        {
            frame.found(std::slice::from_ref(finding));
        }
    }

    /// What was done, in order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Steps that were told of and not kept.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }
}

#[cfg(test)]
mod tests;

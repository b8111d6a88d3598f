//! The life of each entry: from the step that made it to the step that removed it, with its uses.

use std::collections::BTreeMap;

use smmu::cache::CachedEntry;

use super::CacheView;
use super::entry::key;

/// One entry from its making to its end. Steps are indices of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The entry.
    pub entry: CachedEntry,
    /// The step that made it; `None` if it was there from the start.
    pub made: Option<usize>,
    /// The step that removed it; `None` if it is still there.
    pub removed: Option<usize>,
    /// Steps that hit it.
    pub hits: Vec<usize>,
}

impl CacheView {
    /// Every life there was, cache by cache, earliest first.
    pub fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<Life> = Vec::new();
        // Those of equal entries that live, by what they are.
        let mut living: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let begin = |lives: &mut Vec<Life>,
                     living: &mut BTreeMap<_, Vec<usize>>,
                     entry: &CachedEntry,
                     made| {
            living.entry(key(entry)).or_default().push(lives.len());
            lives.push(Life {
                entry: *entry,
                made,
                removed: None,
                hits: Vec::new(),
            });
        };
        for entry in &self.first {
            begin(&mut lives, &mut living, entry, None);
        }
        for (step, frame) in self.frames.iter().enumerate() {
            // What was hit was there before, or was made by this step and hit within it.
            for entry in &frame.added {
                begin(&mut lives, &mut living, entry, Some(step));
            }
            for hit in frame.hits() {
                let alive = living.values().flatten();
                let mut hit_ones = alive.filter(|life| {
                    let entry = &lives[**life].entry;
                    (entry.cache(), entry.tag()) == hit
                });
                if let Some(&life) = hit_ones.next()
                    && lives[life].hits.last() != Some(&step)
                {
                    lives[life].hits.push(step);
                }
            }
            for entry in &frame.removed {
                let life = living.get_mut(&key(entry)).and_then(Vec::pop);
                if let Some(life) = life {
                    lives[life].removed = Some(step);
                }
            }
        }
        lives.sort_by_key(|life| (life.entry.cache(), life.made));
        lives
    }
}

//! Writing an STE or CD that the SMMU may be using (`arm_smmu_write_entry` of 6.9 and later):
//! hitless where one doubleword decides, through V=0 where more must change.

use smmu::addr::Pa;

use crate::platform::Platform;

/// Doublewords of an STE or CD.
pub const ENTRY_WORDS: usize = 8;

/// An STE or CD as doublewords.
pub type Entry = [u64; ENTRY_WORDS];

/// What the writer must know of a kind of entry.
pub trait EntryKind {
    /// Bits the hardware looks at in this entry.
    fn used(&self, entry: &Entry) -> Entry;
    /// Bits that may change at any moment of the change from `current` to `target`.
    fn safe(&self, current: &Entry, target: &Entry) -> Entry;
}

/// What an update did; each group of stores is followed by one synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Nothing the hardware uses has changed.
    Unused,
    /// One doubleword decided.
    Hitless,
    /// The entry was invalid in between.
    Disruptive,
}

/// Brings the entry at `pa` to `target`; `sync` makes the SMMU forget what it has cached of it.
pub fn write_entry<P: Platform, K: EntryKind>(
    platform: &mut P,
    pa: Pa,
    target: &Entry,
    kind: &K,
    mut sync: impl FnMut(&mut P),
) -> Update {
    let mut current = [0; ENTRY_WORDS];
    platform.read_words(pa, &mut current);
    let before = current;
    let (mut unused, differing) = difference(&before, target, kind);
    let mut set = |platform: &mut P, from: &Entry, words: std::ops::Range<usize>| {
        let mut changed = false;
        for word in words {
            if current[word] != from[word] {
                current[word] = from[word];
                platform.store(pa.add(word as u64 * 8), from[word]);
                changed = true;
            }
        }
        if changed {
            sync(platform);
        }
    };
    match differing.count_ones() {
        0 => {
            set(platform, target, 0..ENTRY_WORDS);
            Update::Unused
        }
        1 => {
            let critical = differing.trailing_zeros() as usize;
            // Its unused bits are written together with the used ones: one synchronisation less.
            unused[critical] = before[critical];
            set(platform, &unused, 0..ENTRY_WORDS);
            set(platform, target, critical..critical + 1);
            set(platform, target, 0..ENTRY_WORDS);
            Update::Hitless
        }
        _ => {
            set(platform, &[0; ENTRY_WORDS], 0..1);
            set(platform, target, 1..ENTRY_WORDS);
            set(platform, target, 0..1);
            Update::Disruptive
        }
    }
}

/// The current entry with the bits it does not use taken from `target`, and the doublewords in
/// which `target` then still differs (`arm_smmu_entry_qword_diff`).
fn difference<K: EntryKind>(current: &Entry, target: &Entry, kind: &K) -> (Entry, u8) {
    let used_now = kind.used(current);
    let used_then = kind.used(target);
    let safe = kind.safe(current, target);
    let mut unused = [0; ENTRY_WORDS];
    let mut differing = 0;
    for word in 0..ENTRY_WORDS {
        debug_assert_eq!(
            target[word] & !used_then[word],
            0,
            "doubleword {word} of the target sets bits it does not use"
        );
        let fixed = used_now[word] & !safe[word];
        unused[word] = current[word] & fixed | target[word] & !fixed;
        if unused[word] & used_then[word] != target[word] {
            differing |= 1 << word;
        }
    }
    (unused, differing)
}

//! Reading the tables as software does (`arm_lpae_iova_to_phys`): one leaf, or many in a row.

use smmu::addr::Pa;

use super::{LAST_LEVEL, PageTables, RUN, is_leaf};

impl PageTables {
    /// The output address of `iova` and the bytes of its leaf from there on.
    pub fn leaf(&self, load: impl Fn(Pa) -> u64, iova: u64) -> Option<(u64, u64)> {
        let (_, level, pte) = self.find(load, iova)?;
        Some(self.of(pte, level, iova))
    }

    /// The leaves from `iova` on, in order, until a hole, an entry of another kind, the end of the
    /// table or of `size` bytes: output address and bytes of each, to `each`.
    #[inline]
    pub fn leaves(
        &self,
        load: impl Fn(Pa) -> u64,
        read_words: impl FnOnce(Pa, &mut [u64]),
        (iova, size): (u64, u64),
        mut each: impl FnMut(u64, u64),
    ) {
        let Some((at, level, _)) = self.find(load, iova) else {
            return;
        };
        let wanted = size.div_ceil(1 << self.format.span_log2(level)) + 1;
        let count = self.format.entries_left(iova, level).min(wanted);
        let mut words = [0; RUN];
        let words = &mut words[..count.min(RUN as u64) as usize];
        read_words(at, words);
        let mut done = 0;
        for &pte in words.iter() {
            if done == size || pte == 0 || !is_leaf(pte, level) {
                return;
            }
            let (output, left) = self.of(pte, level, iova + done);
            let length = left.min(size - done);
            each(output, length);
            done += length;
        }
    }

    /// Where a leaf entry leads at `iova`, and its bytes from there on.
    fn of(&self, pte: u64, level: u8, iova: u64) -> (u64, u64) {
        let span = 1 << self.format.span_log2(level);
        let offset = iova & (span - 1);
        (self.format.address(pte).get() | offset, span - offset)
    }

    /// The leaf entry that translates `iova`: where it is, its level, what it holds.
    fn find(&self, load: impl Fn(Pa) -> u64, iova: u64) -> Option<(Pa, u8, u64)> {
        if iova >> self.format.ias() != 0 {
            return None;
        }
        let mut table = self.root;
        for level in self.format.start_level()..=LAST_LEVEL {
            let at = self.format.entry(table, iova, level);
            let pte = load(at);
            if pte == 0 {
                return None;
            }
            if is_leaf(pte, level) {
                return Some((at, level, pte));
            }
            table = self.format.address(pte);
        }
        None
    }
}

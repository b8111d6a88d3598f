//! Sets of small numbers with "lowest free" allocation: ASIDs (an xarray in the kernel) and VMIDs
//! (a bitmap, later an IDA).

/// Numbers in use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct IdSet {
    /// One bit a number, from 0; never ends in a zero word, so that equal sets compare equal.
    words: Vec<u64>,
}

impl IdSet {
    /// Takes the lowest free number from 1 to `last`; `None` if all are in use.
    pub(crate) fn take(&mut self, last: u32) -> Option<u32> {
        let mut id = 1;
        while id <= last {
            let word = self.words.get(id as usize / 64).copied().unwrap_or(0);
            let free = !(word >> (id % 64));
            let skip = free.trailing_zeros();
            if skip < 64 - id % 64 {
                id += skip;
                break;
            }
            id += 64 - id % 64;
        }
        if id > last {
            return None;
        }
        let index = id as usize / 64;
        if self.words.len() <= index {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (id % 64);
        Some(id)
    }

    /// Gives a number back.
    pub(crate) fn release(&mut self, id: u32) {
        if let Some(word) = self.words.get_mut(id as usize / 64) {
            *word &= !(1 << (id % 64));
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Numbers in use.
    pub(crate) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::IdSet;

    #[test]
    fn the_lowest_free_number_is_taken_until_none_is_left() {
        let mut set = IdSet::default();
        let all: Vec<u32> = std::iter::from_fn(|| set.take(200)).collect();
        assert_eq!(all, (1..=200).collect::<Vec<_>>());
        for id in [70, 64, 63, 200, 1] {
            set.release(id);
            assert_eq!(set.len(), 199);
            assert_eq!(set.take(200), Some(id));
        }
        assert_eq!((set.take(200), set.len()), (None, 200));
        for id in (1..=200).rev() {
            set.release(id);
        }
        assert_eq!(set, IdSet::default());
    }
}

//! Index arithmetic of the circular queues: command, event and PRI (IHI 0070 §3.5.1).
//!
//! A queue of 2^n entries has pointers of n index bits and a wrap bit above them. Pointer bits
//! above the wrap bit have no effect.

/// Shape of a queue: how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    size_log2: u32,
}

/// What lies between a producer and a consumer pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    Empty,
    /// Some entries, not all.
    Partly,
    /// All entries.
    Full,
    /// The pointers are further apart than the queue is long. CONSTRAINED UNPREDICTABLE: nothing
    /// is consumed and nothing is written (deviations.md D39).
    Inconsistent,
}

impl Ring {
    /// A queue of 2^`log2size` entries, or of 2^`limit` if that is less: what xQ_BASE.LOG2SIZE
    /// asks for and what IDR1 allows.
    pub fn new(log2size: u8, limit: u8) -> Self {
        Self {
            size_log2: log2size.min(limit).into(),
        }
    }

    /// log2 of the number of entries.
    pub fn size_log2(self) -> u32 {
        self.size_log2
    }

    /// Index and wrap bit together.
    fn pointer_mask(self) -> u32 {
        (2 << self.size_log2) - 1
    }

    /// The entry a pointer is at.
    pub fn index(self, pointer: u32) -> u64 {
        u64::from(pointer & (self.pointer_mask() >> 1))
    }

    /// The pointer after `pointer`, bits above the wrap bit clear.
    pub fn next(self, pointer: u32) -> u32 {
        pointer.wrapping_add(1) & self.pointer_mask()
    }

    /// Entries between `cons` and `prod`.
    pub fn pending(self, prod: u32, cons: u32) -> u32 {
        prod.wrapping_sub(cons) & self.pointer_mask()
    }

    /// How full the queue is.
    pub fn fill(self, prod: u32, cons: u32) -> Fill {
        let (pending, size) = (self.pending(prod, cons), 1 << self.size_log2);
        match pending {
            0 => Fill::Empty,
            _ if pending < size => Fill::Partly,
            _ if pending == size => Fill::Full,
            _ => Fill::Inconsistent,
        }
    }

    /// Address of the entry `pointer` is at, in a queue at `base` whose entries are
    /// 2^`entry_log2` bytes: the base is aligned down to the queue's size, at least 32 bytes.
    pub fn address(self, base: u64, pointer: u32, entry_log2: u32) -> u64 {
        let align_log2 = (self.size_log2 + entry_log2).max(5);
        (base >> align_log2 << align_log2) + (self.index(pointer) << entry_log2)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fill, Ring};

    /// Every pair of pointers of small queues, against entries counted one by one.
    #[test]
    fn pointers_count_entries() {
        for size_log2 in 0..5u8 {
            let ring = Ring::new(size_log2, 19);
            let size = 1u32 << size_log2;
            for cons in 0..2 * size {
                let mut prod = cons;
                for count in 0..2 * size {
                    assert_eq!(ring.pending(prod, cons), count);
                    assert_eq!(ring.index(prod), u64::from(prod % size));
                    let fill = match count {
                        0 => Fill::Empty,
                        _ if count < size => Fill::Partly,
                        _ if count == size => Fill::Full,
                        _ => Fill::Inconsistent,
                    };
                    assert_eq!(ring.fill(prod, cons), fill);
                    // Bits above the wrap bit are junk.
                    assert_eq!(ring.fill(prod | 0xf_0000, cons), fill);
                    prod = ring.next(prod);
                    assert!(prod < 2 * size);
                }
                assert_eq!(prod, cons);
            }
        }
    }

    #[test]
    fn the_base_is_aligned_to_the_queue_and_the_size_is_capped() {
        let ring = Ring::new(31, 3);
        assert_eq!(ring.size_log2(), 3);
        assert_eq!(ring.address(0x1_0fff, 9, 4), 0x1_0f80 + 0x10);
        assert_eq!(Ring::new(0, 19).address(0x1_0fff, 1, 4), 0x1_0fe0);
    }
}

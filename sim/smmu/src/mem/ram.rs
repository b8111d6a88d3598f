//! Sparse RAM over the 52-bit physical space, shared by threads without locks.
//!
//! A region of up to 1 TiB is backed by zeroed windows of 1 GiB that the host
//! commits page by page as they are written, so that an access is one bounds check and one load.
//! A larger region, such as the whole space of [`Ram::sparse`], is a radix tree of 4 KiB pages.
//! Either way host memory grows with the pages written, and unwritten pages read as zero.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

use thiserror::Error;
use zerocopy::FromZeros;

use super::{AccessClass, BusAbort, BusResult, PhysMem};
use crate::addr::Pa;

/// Bytes of a page: the unit in which touched memory is accounted, copied and compared.
pub const PAGE_BYTES: u64 = 1 << PAGE_LOG2;
const PAGE_LOG2: u32 = 12;
const PAGE_WORDS: usize = 1 << (PAGE_LOG2 - 3);

/// Largest size of a region that is backed by flat windows: their slots are allocated up front.
const FLAT_REGION_BYTES: u64 = 1 << 40;
const WINDOW_LOG2: u32 = 30;

/// First address that no Arm physical address space has (IDR5.OAS = 52 bits).
const SPACE_END: u64 = 1 << 52;

/// Why a memory layout is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RamError {
    /// A region must start and end on a page boundary and be non-empty.
    #[error("region {base:#x}+{size:#x}: base and size must be non-zero multiples of 4 KiB")]
    Misaligned {
        /// First byte of the region.
        base: u64,
        /// Bytes in the region.
        size: u64,
    },
    /// A region must lie in the 52-bit physical address space.
    #[error("region {base:#x}+{size:#x} reaches beyond the 52-bit physical address space")]
    OutOfSpace {
        /// First byte of the region.
        base: u64,
        /// Bytes in the region.
        size: u64,
    },
    /// Two regions overlap.
    #[error("regions at {first:#x} and {second:#x} overlap")]
    Overlap {
        /// Base of the lower region.
        first: u64,
        /// Base of the higher region.
        second: u64,
    },
}

/// RAM. Addresses outside its regions abort.
pub struct Ram {
    /// Ascending, disjoint.
    regions: Vec<Region>,
}

struct Region {
    base: u64,
    size: u64,
    store: Store,
}

enum Store {
    Flat(Box<[OnceLock<Window>]>),
    Paged(Node),
}

/// Up to 1 GiB of consecutive words, and a bit for each page that has been written.
struct Window {
    /// With some to spare, so that simulated cache lines, and in large windows simulated pages, are
    /// the host's own: a structure that straddles two of them costs two misses.
    room: Box<[AtomicU64]>,
    /// Where in `room` the window starts.
    start: usize,
    length: usize,
    touched: Box<[AtomicU64]>,
}

/// Bytes of a cache line, simulated and host's.
const LINE_BYTES: u64 = 64;

/// Radix tree over the 40-bit page number, 6 bits a level.
type Node = Box<[OnceLock<Entry>]>;
const NODE_LOG2: u32 = 6;
const TREE_LEVELS: u32 = 7;

enum Entry {
    Node(Node),
    Page(Window),
}

fn zeroed(words: usize) -> Box<[AtomicU64]> {
    <[AtomicU64]>::new_box_zeroed_with_elems(words).expect("the host has no memory left")
}

fn empty_node() -> Node {
    (0..1 << NODE_LOG2).map(|_| OnceLock::new()).collect()
}

impl Window {
    fn new(bytes: u64) -> Self {
        let pages = bytes >> PAGE_LOG2;
        let length = |n: u64| usize::try_from(n).expect("a window fits the host's address space");
        let alignment = if bytes > PAGE_BYTES {
            PAGE_BYTES
        } else {
            LINE_BYTES
        };
        let spare = length(alignment >> 3) - 1;
        let room = zeroed(length(bytes >> 3) + spare);
        Self {
            start: (room.as_ptr().addr() >> 3).wrapping_neg() & spare,
            length: length(bytes >> 3),
            room,
            touched: zeroed(length(pages.div_ceil(64))),
        }
    }

    fn words(&self) -> &[AtomicU64] {
        &self.room[self.start..][..self.length]
    }

    /// Byte offsets of the pages that have been written, ascending.
    fn touched_pages(&self) -> impl Iterator<Item = (u64, &[AtomicU64])> {
        self.words()
            .chunks(PAGE_WORDS)
            .enumerate()
            .filter_map(|(page, words)| {
                let bit = self.touched[page / 64].load(Ordering::Acquire) >> (page % 64) & 1;
                (bit != 0).then_some(((page as u64) << PAGE_LOG2, words))
            })
    }
}

impl Ram {
    /// RAM in the whole 52-bit space, one page at a time.
    pub fn sparse() -> Self {
        Self {
            regions: vec![Region {
                base: 0,
                size: SPACE_END,
                store: Store::Paged(empty_node()),
            }],
        }
    }

    /// RAM at the given `(base, size)` regions, in bytes.
    ///
    /// # Errors
    /// [`RamError`] if a region is not made of whole pages, leaves the 52-bit space or overlaps
    /// another.
    pub fn with_regions(regions: &[(u64, u64)]) -> Result<Self, RamError> {
        let mut sorted = regions.to_vec();
        sorted.sort_unstable();
        for &(base, size) in &sorted {
            if size == 0 || (base | size) & (PAGE_BYTES - 1) != 0 {
                return Err(RamError::Misaligned { base, size });
            }
            if base.checked_add(size).is_none_or(|end| end > SPACE_END) {
                return Err(RamError::OutOfSpace { base, size });
            }
        }
        for pair in sorted.windows(2) {
            if pair[0].0 + pair[0].1 > pair[1].0 {
                return Err(RamError::Overlap {
                    first: pair[0].0,
                    second: pair[1].0,
                });
            }
        }
        Ok(Self {
            regions: sorted
                .into_iter()
                .map(|(base, size)| Region::new(base, size))
                .collect(),
        })
    }

    /// A port for one requester. Ports are cheap; a thread makes its own.
    #[inline]
    pub fn port(&self) -> RamPort<'_> {
        RamPort {
            ram: self,
            base: 0,
            words: &[],
            touched: &[],
        }
    }

    /// The `(base, size)` regions, ascending.
    pub fn regions(&self) -> impl Iterator<Item = (u64, u64)> {
        self.regions.iter().map(|r| (r.base, r.size))
    }

    /// Bytes of all pages written so far: what the contents cost the host.
    pub fn touched_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.for_each_page(|_, _| bytes += PAGE_BYTES);
        bytes
    }

    /// Copies `bytes` to `pa`.
    ///
    /// # Errors
    /// [`BusAbort`] if any byte falls outside RAM; bytes before it have been written.
    pub fn load(&self, pa: Pa, bytes: &[u8]) -> BusResult<()> {
        let mut port = self.port();
        let mut at = pa.get();
        let mut rest = bytes;
        while !rest.is_empty() {
            let skip = (at & 7) as usize;
            let (now, later) = rest.split_at(rest.len().min(8 - skip));
            let slot = port.writable(at).ok_or(BusAbort)?;
            if now.len() == 8 {
                let mut word = [0; 8];
                word.copy_from_slice(now);
                slot.store(u64::from_le_bytes(word), Ordering::Release);
            } else {
                let mut word = slot.load(Ordering::Acquire).to_le_bytes();
                word[skip..skip + now.len()].copy_from_slice(now);
                slot.store(u64::from_le_bytes(word), Ordering::Release);
            }
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Calls `visit` with the base and the words of each written page, ascending.
    pub fn for_each_page(&self, mut visit: impl FnMut(Pa, &[AtomicU64])) {
        for region in &self.regions {
            match &region.store {
                Store::Flat(windows) => {
                    for (i, window) in windows.iter().enumerate() {
                        let base = region.base + ((i as u64) << WINDOW_LOG2);
                        for (offset, words) in window.get().iter().flat_map(|w| w.touched_pages()) {
                            visit(Pa::new(base + offset), words);
                        }
                    }
                }
                Store::Paged(root) => for_each_leaf(root, 0, &mut visit),
            }
        }
    }

    fn region(&self, pa: u64) -> Option<&Region> {
        let above = self.regions.partition_point(|r| r.base <= pa);
        let region = &self.regions[above.checked_sub(1)?];
        (pa - region.base < region.size).then_some(region)
    }
}

fn for_each_leaf(node: &Node, prefix: u64, visit: &mut impl FnMut(Pa, &[AtomicU64])) {
    for (i, slot) in node.iter().enumerate() {
        let number = prefix << NODE_LOG2 | i as u64;
        match slot.get() {
            Some(Entry::Node(next)) => for_each_leaf(next, number, visit),
            Some(Entry::Page(page)) => visit(Pa::new(number << PAGE_LOG2), page.words()),
            None => {}
        }
    }
}

impl Region {
    fn new(base: u64, size: u64) -> Self {
        let store = if size <= FLAT_REGION_BYTES {
            let windows = size.div_ceil(1 << WINDOW_LOG2);
            Store::Flat((0..windows).map(|_| OnceLock::new()).collect())
        } else {
            Store::Paged(empty_node())
        };
        Self { base, size, store }
    }

    /// The window around `pa` and its base address, if it has been written to.
    fn window(&self, pa: u64) -> Option<(u64, &Window)> {
        match &self.store {
            Store::Flat(windows) => {
                let index = (pa - self.base) >> WINDOW_LOG2;
                let window = windows[usize::try_from(index).ok()?].get()?;
                Some((self.base + (index << WINDOW_LOG2), window))
            }
            Store::Paged(root) => {
                let mut node = root;
                for level in 0..TREE_LEVELS {
                    match node[slot_of(pa, level)].get()? {
                        Entry::Node(next) => node = next,
                        Entry::Page(page) => return Some((pa & !(PAGE_BYTES - 1), page)),
                    }
                }
                None
            }
        }
    }

    /// The window around `pa` and its base address, made if need be.
    fn make_window(&self, pa: u64) -> (u64, &Window) {
        match &self.store {
            Store::Flat(windows) => {
                let index = (pa - self.base) >> WINDOW_LOG2;
                let start = index << WINDOW_LOG2;
                let bytes = (self.size - start).min(1 << WINDOW_LOG2);
                let slot = usize::try_from(index).expect("a flat region has few windows");
                (
                    self.base + start,
                    windows[slot].get_or_init(|| Window::new(bytes)),
                )
            }
            Store::Paged(root) => {
                let mut node = root;
                for level in 0.. {
                    let entry = node[slot_of(pa, level)].get_or_init(|| {
                        if level + 1 == TREE_LEVELS {
                            Entry::Page(Window::new(PAGE_BYTES))
                        } else {
                            Entry::Node(empty_node())
                        }
                    });
                    match entry {
                        Entry::Node(next) => node = next,
                        Entry::Page(page) => return (pa & !(PAGE_BYTES - 1), page),
                    }
                }
                unreachable!("the last level of the tree holds pages only")
            }
        }
    }
}

/// Index of `pa` in a tree node of `level`, 0 being the root.
fn slot_of(pa: u64, level: u32) -> usize {
    let shift = PAGE_LOG2 + NODE_LOG2 * (TREE_LEVELS - 1 - level);
    (pa >> shift) as usize & ((1 << NODE_LOG2) - 1)
}

impl Clone for Ram {
    fn clone(&self) -> Self {
        let regions = self
            .regions
            .iter()
            .map(|r| Region::new(r.base, r.size))
            .collect();
        let copy = Self { regions };
        let mut port = copy.port();
        self.for_each_page(|base, words| {
            for (offset, word) in (0..).step_by(8).zip(words) {
                let slot = port
                    .writable(base.get() + offset)
                    .expect("the copy has the same regions");
                slot.store(word.load(Ordering::Acquire), Ordering::Release);
            }
        });
        copy
    }
}

/// Same regions, same contents; a page never written equals a page of zeros.
impl PartialEq for Ram {
    fn eq(&self, other: &Self) -> bool {
        fn covered_by(a: &Ram, b: &Ram) -> bool {
            let mut port = b.port();
            let mut same = true;
            a.for_each_page(|base, words| {
                same = same
                    && (0..).step_by(8).zip(words).all(|(offset, word)| {
                        let there = port.readable(base.get() + offset);
                        there == Ok(word.load(Ordering::Acquire))
                    });
            });
            same
        }
        self.regions().eq(other.regions()) && covered_by(self, other) && covered_by(other, self)
    }
}

impl Eq for Ram {}

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Ram");
        for (base, size) in self.regions() {
            debug.field("region", &format_args!("{base:#x}+{size:#x}"));
        }
        debug.field("touched_bytes", &self.touched_bytes()).finish()
    }
}

/// One requester's access to a [`Ram`]. Remembers the window it used last: nearly every access
/// of a walk falls into it.
#[derive(Clone, Copy)]
pub struct RamPort<'a> {
    ram: &'a Ram,
    base: u64,
    words: &'a [AtomicU64],
    touched: &'a [AtomicU64],
}

impl fmt::Debug for RamPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamPort")
            .field("ram", self.ram)
            .finish_non_exhaustive()
    }
}

impl<'a> RamPort<'a> {
    #[inline(always)]
    fn cached(&self, pa: u64) -> Option<&'a AtomicU64> {
        // An address below the window wraps to an index far beyond it.
        self.words.get((pa.wrapping_sub(self.base) >> 3) as usize)
    }

    fn use_window(&mut self, (base, window): (u64, &'a Window)) {
        self.base = base;
        self.words = window.words();
        self.touched = &window.touched;
    }

    /// The word at `pa`: zero where nothing was written, an abort outside RAM.
    #[inline(always)]
    fn readable(&mut self, pa: u64) -> BusResult<u64> {
        match self.cached(pa) {
            Some(word) => Ok(word.load(Ordering::Acquire)),
            None => self.read_elsewhere(pa),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_elsewhere(&mut self, pa: u64) -> BusResult<u64> {
        let region = self.ram.region(pa).ok_or(BusAbort)?;
        let Some(window) = region.window(pa) else {
            return Ok(0);
        };
        self.use_window(window);
        let word = self.cached(pa).ok_or(BusAbort)?;
        Ok(word.load(Ordering::Acquire))
    }

    /// The word at `pa`, its page marked as written; `None` outside RAM.
    #[inline]
    fn writable(&mut self, pa: u64) -> Option<&'a AtomicU64> {
        if self.cached(pa).is_none() {
            let window = self.ram.region(pa)?.make_window(pa);
            self.use_window(window);
        }
        let page = (pa.wrapping_sub(self.base) >> PAGE_LOG2) as usize;
        let bit = 1 << (page % 64);
        let touched = &self.touched[page / 64];
        if touched.load(Ordering::Relaxed) & bit == 0 {
            touched.fetch_or(bit, Ordering::Release);
        }
        self.cached(pa)
    }
}

impl PhysMem for RamPort<'_> {
    #[inline(always)]
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        self.readable(pa.get())
    }

    #[inline]
    fn write64(&mut self, pa: Pa, value: u64, _class: AccessClass) -> BusResult<()> {
        self.writable(pa.get())
            .ok_or(BusAbort)?
            .store(value, Ordering::Release);
        Ok(())
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        _class: AccessClass,
    ) -> BusResult<u64> {
        // An update that cannot succeed must not create the page it fails on.
        let found = self.readable(pa.get())?;
        if found != current {
            return Ok(found);
        }
        let word = self.writable(pa.get()).ok_or(BusAbort)?;
        Ok(word
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|found| found))
    }

    #[inline(always)]
    fn read_line(&mut self, pa: Pa, _class: AccessClass) -> BusResult<[u64; 8]> {
        let base = pa.align_down(6).get();
        let first = (base.wrapping_sub(self.base) >> 3) as usize;
        let mut line = [0; 8];
        if let Some(words) = first
            .checked_add(8)
            .and_then(|end| self.words.get(first..end))
        {
            for (value, word) in line.iter_mut().zip(words) {
                *value = word.load(Ordering::Acquire);
            }
        } else {
            for (value, offset) in line.iter_mut().zip((0..).step_by(8)) {
                *value = self.readable(base + offset)?;
            }
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: AccessClass = AccessClass::Stage1;

    fn both() -> [Ram; 2] {
        [
            Ram::sparse(),
            Ram::with_regions(&[(0x4000_0000, 0x9000_0000), (0x1_0000, 0x2000)]).unwrap(),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_is_zero() {
        for ram in both() {
            let mut port = ram.port();
            for pa in [0x1_0000, 0x1_1ff8, 0x4000_0000, 0x8000_0000, 0xcfff_fff8] {
                assert_eq!(port.read64(Pa::new(pa), CLASS), Ok(0));
                port.write64(Pa::new(pa), pa | 5, CLASS).unwrap();
            }
            for pa in [0x1_0000, 0x1_1ff8, 0x4000_0000, 0x8000_0000, 0xcfff_fff8] {
                assert_eq!(ram.port().read64(Pa::new(pa), CLASS), Ok(pa | 5));
                assert_eq!(port.read64(Pa::new(pa ^ 0x100), CLASS), Ok(0));
            }
            assert_eq!(ram.touched_bytes(), 5 * PAGE_BYTES);
        }
    }

    #[test]
    fn addresses_outside_the_regions_abort() {
        let ram = Ram::with_regions(&[(0x4000_0000, 0x1000), (0x8000_0000, 0x1000)]).unwrap();
        let mut port = ram.port();
        port.write64(Pa::new(0x4000_0000), 1, CLASS).unwrap();
        for pa in [0, 0x3fff_fff8, 0x4000_1000, 0x7fff_fff8, 0x8000_1000, !7] {
            assert_eq!(port.read64(Pa::new(pa), CLASS), Err(BusAbort), "{pa:#x}");
            assert_eq!(
                port.write64(Pa::new(pa), 1, CLASS),
                Err(BusAbort),
                "{pa:#x}"
            );
            assert_eq!(
                port.compare_exchange64(Pa::new(pa), 0, 1, CLASS),
                Err(BusAbort)
            );
            assert_eq!(port.read_line(Pa::new(pa), CLASS), Err(BusAbort));
        }
        assert_eq!(
            Ram::sparse().port().read64(Pa::new(SPACE_END), CLASS),
            Err(BusAbort)
        );
    }

    #[test]
    fn compare_exchange_swaps_only_on_a_match() {
        for ram in both() {
            let mut port = ram.port();
            let pa = Pa::new(0x4000_0008);
            assert_eq!(port.compare_exchange64(pa, 7, 9, CLASS), Ok(0));
            assert_eq!(ram.touched_bytes(), 0, "a failed update touches nothing");
            assert_eq!(port.compare_exchange64(pa, 0, 9, CLASS), Ok(0));
            assert_eq!(port.read64(pa, CLASS), Ok(9));
        }
    }

    #[test]
    fn bytes_load_at_any_alignment() {
        for ram in both() {
            let bytes: Vec<u8> = (1..=37).collect();
            ram.load(Pa::new(0x4000_0003), &bytes).unwrap();
            let mut port = ram.port();
            let mut seen = Vec::new();
            for offset in (0..40).step_by(8) {
                let word = port.read64(Pa::new(0x4000_0000 + offset), CLASS).unwrap();
                seen.extend(word.to_le_bytes());
            }
            assert_eq!(&seen[..3], [0; 3]);
            assert_eq!(&seen[3..40], bytes);
            assert_eq!(
                ram.port().read_line(Pa::new(0x4000_0000), CLASS).unwrap()[1],
                u64::from_le_bytes([6, 7, 8, 9, 10, 11, 12, 13])
            );
        }
    }

    #[test]
    fn copies_are_equal_until_one_changes() {
        for ram in both() {
            ram.load(Pa::new(0x4000_0ff8), &[1; 16]).unwrap();
            let copy = ram.clone();
            assert_eq!(copy, ram);
            copy.load(Pa::new(0x8000_0000), &[0; 8]).unwrap();
            assert_eq!(copy, ram, "zeros written equal zeros never written");
            copy.load(Pa::new(0x8000_0000), &[1]).unwrap();
            assert_ne!(copy, ram);
            assert_ne!(ram, copy);
        }
    }

    #[test]
    fn threads_share_it_and_updates_are_atomic() {
        for ram in both() {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut port = ram.port();
                        let pa = Pa::new(0x4000_0000);
                        for _ in 0..1000 {
                            loop {
                                let old = port.read64(pa, CLASS).unwrap();
                                if port.compare_exchange64(pa, old, old + 1, CLASS) == Ok(old) {
                                    break;
                                }
                            }
                        }
                    });
                }
            });
            assert_eq!(ram.port().read64(Pa::new(0x4000_0000), CLASS), Ok(2000));
        }
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let bad = |regions: &[(u64, u64)]| Ram::with_regions(regions).unwrap_err();
        assert_eq!(
            bad(&[(0x800, 0x1000)]),
            RamError::Misaligned {
                base: 0x800,
                size: 0x1000
            }
        );
        assert_eq!(bad(&[(0, 0)]), RamError::Misaligned { base: 0, size: 0 });
        assert_eq!(
            bad(&[(SPACE_END - 0x1000, 0x2000)]),
            RamError::OutOfSpace {
                base: SPACE_END - 0x1000,
                size: 0x2000
            }
        );
        assert_eq!(
            bad(&[(0x2000, 0x1000), (0x1000, 0x2000)]),
            RamError::Overlap {
                first: 0x1000,
                second: 0x2000
            }
        );
    }
}

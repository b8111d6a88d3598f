//! Memory of a machine, read page by page from wherever it lies and never written back.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;

use smmu::addr::Pa;
use smmu::mem::{AccessClass, BusAbort, BusResult, PAGE_BYTES, PhysMem, Ram};

/// 64-bit words of a page.
pub const PAGE_WORDS: usize = (PAGE_BYTES / 8) as usize;

/// A page of memory, as 64-bit words.
pub type Page = Box<[u64; PAGE_WORDS]>;

/// Pages that [`Memory`] keeps: 64 MiB.
const CACHED_PAGES: usize = 16 * 1024;

/// Contents of physical memory: RAM, a file, or a machine that runs.
pub trait Pages: fmt::Debug {
    /// The 4 KiB page at `base`, a multiple of 4 KiB; `None` if there is no memory.
    ///
    /// # Errors
    /// Why the page cannot be read although it is there: the file ends, the connection is lost.
    fn page(&mut self, base: Pa) -> Result<Option<Page>, Box<dyn Error + Send + Sync>>;
}

impl Pages for Ram {
    fn page(&mut self, base: Pa) -> Result<Option<Page>, Box<dyn Error + Send + Sync>> {
        let mut port = self.port();
        Ok(page_of(|offset| {
            port.read64(base.add(offset), AccessClass::Ste).ok()
        }))
    }
}

/// A page word by word; `None` if any word is.
fn page_of(mut word_at: impl FnMut(u64) -> Option<u64>) -> Option<Page> {
    let mut page: Page = Box::new([0; PAGE_WORDS]);
    for (word, offset) in page.iter_mut().zip((0..).step_by(8)) {
        *word = word_at(offset)?;
    }
    Some(page)
}

/// A page could not be read: an accident of the host, not an abort on the machine's bus.
#[derive(Debug, thiserror::Error)]
#[error("memory at {base}")]
pub struct ReadError {
    /// The page.
    pub base: Pa,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

/// Memory of a machine as the SMMU sees it. Pages are read when they are first needed and kept, at
/// most `CACHED_PAGES` of them, the oldest dropped first. What the SMMU writes (access flags and
/// dirty state) is laid over them and never reaches the source.
#[derive(Debug)]
pub struct Memory {
    source: Box<dyn Pages>,
    /// Pages read, by base; `None` where there is no memory.
    pages: BTreeMap<u64, Option<Page>>,
    /// Bases of `pages` in the order they were read.
    age: VecDeque<u64>,
    /// Words written, by address: at most one for each descriptor a walk has updated.
    written: BTreeMap<u64, u64>,
    failure: Option<ReadError>,
}

impl Memory {
    /// Memory with the contents of `source`.
    pub fn new(source: impl Pages + 'static) -> Self {
        Self {
            source: Box::new(source),
            pages: BTreeMap::new(),
            age: VecDeque::new(),
            written: BTreeMap::new(),
            failure: None,
        }
    }

    /// The first failure to read since the last call. A walk that met one saw an abort that the
    /// machine's memory would not have given: its outcome means nothing.
    ///
    /// # Errors
    /// [`ReadError`] naming the page.
    pub fn check(&mut self) -> Result<(), ReadError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn load(&mut self, base: u64) {
        let page = match self.source.page(Pa::new(base)) {
            Ok(page) => page,
            Err(source) => {
                let base = Pa::new(base);
                self.failure.get_or_insert(ReadError { base, source });
                return;
            }
        };
        tracing::debug!(
            base = format_args!("{base:#x}"),
            memory = page.is_some(),
            "page read"
        );
        if self.age.len() == CACHED_PAGES
            && let Some(oldest) = self.age.pop_front()
        {
            self.pages.remove(&oldest);
        }
        self.age.push_back(base);
        self.pages.insert(base, page);
    }
}

impl PhysMem for Memory {
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        let at = pa.align_down(3).get();
        if let Some(word) = self.written.get(&at) {
            return Ok(*word);
        }
        let base = at & !(PAGE_BYTES - 1);
        if !self.pages.contains_key(&base) {
            self.load(base);
        }
        match self.pages.get(&base) {
            Some(Some(page)) => Ok(page[(at - base) as usize / 8]),
            _ => Err(BusAbort),
        }
    }

    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        self.read64(pa, class)?;
        self.written.insert(pa.align_down(3).get(), value);
        Ok(())
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        let found = self.read64(pa, class)?;
        if found == current {
            self.write64(pa, new, class)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Memory at every page but those above `end`, each word its own address; one page fails.
    #[derive(Debug)]
    struct Numbered {
        reads: Rc<Cell<usize>>,
        end: u64,
        failing: u64,
    }

    impl Pages for Numbered {
        fn page(&mut self, base: Pa) -> Result<Option<Page>, Box<dyn Error + Send + Sync>> {
            self.reads.set(self.reads.get() + 1);
            if base.get() == self.failing {
                return Err("the line is dead".into());
            }
            Ok(page_of(|offset| {
                (base.get() < self.end).then(|| base.get() + offset)
            }))
        }
    }

    fn numbered(end: u64) -> (Memory, Rc<Cell<usize>>) {
        let reads = Rc::new(Cell::new(0));
        let source = Numbered {
            reads: reads.clone(),
            end,
            failing: 0x5000,
        };
        (Memory::new(source), reads)
    }

    const STE: AccessClass = AccessClass::Ste;

    #[test]
    fn a_page_is_read_once_and_writes_stay_above_it() {
        let (mut memory, reads) = numbered(0x10_0000);
        assert_eq!(memory.read64(Pa::new(0x2008), STE), Ok(0x2008));
        assert_eq!(memory.read64(Pa::new(0x2ff8), STE), Ok(0x2ff8));
        assert_eq!(
            memory.compare_exchange64(Pa::new(0x2008), 0x2008, 7, STE),
            Ok(0x2008)
        );
        assert_eq!(
            memory.compare_exchange64(Pa::new(0x2008), 0x2008, 9, STE),
            Ok(7)
        );
        assert_eq!(memory.read64(Pa::new(0x2008), STE), Ok(7));
        assert_eq!(memory.read64(Pa::new(0x2010), STE), Ok(0x2010));
        assert_eq!(reads.get(), 1);
    }

    #[test]
    fn no_memory_aborts_and_a_failure_is_told_apart() {
        let (mut memory, _) = numbered(0x10_0000);
        assert_eq!(memory.read64(Pa::new(0x20_0000), STE), Err(BusAbort));
        assert_eq!(memory.write64(Pa::new(0x20_0000), 1, STE), Err(BusAbort));
        assert!(memory.check().is_ok());
        assert_eq!(memory.read64(Pa::new(0x5000), STE), Err(BusAbort));
        assert_eq!(memory.check().unwrap_err().base, Pa::new(0x5000));
        assert!(memory.check().is_ok());
    }

    #[test]
    fn the_cache_is_bounded_and_drops_the_oldest() {
        let (mut memory, reads) = numbered(u64::MAX);
        let page = |n: usize| Pa::new((n as u64) * PAGE_BYTES + 0x10_0000);
        for n in 0..=CACHED_PAGES {
            memory.read64(page(n), STE).unwrap();
        }
        assert_eq!(memory.pages.len(), CACHED_PAGES);
        memory.read64(page(1), STE).unwrap();
        assert_eq!(reads.get(), CACHED_PAGES + 1);
        memory.read64(page(0), STE).unwrap();
        assert_eq!(reads.get(), CACHED_PAGES + 2);
    }
}

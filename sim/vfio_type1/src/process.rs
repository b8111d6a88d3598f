//! A simulated process: its memory, what of it can be pinned, and its limits.

mod kernel_stack;
mod region;

use std::collections::BTreeMap;

use iommu_core::semantics::ReadOnlyPin;
use iommu_core::{Errno, Paddr};

pub(crate) use kernel_stack::KernelStack;
pub use region::Region;

use crate::host::FileId;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

/// The caller where the kernel acts for nobody: closing, releasing, a device's own pins.
pub(crate) const NOBODY: Pid = Pid(u32::MAX);

/// What the CPU may do with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing (`PROT_NONE`).
    None,
    /// Read.
    Read,
    /// Write; on most CPUs that is also reading.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::ReadWrite)
    }

    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// What kind of memory a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Anonymous, private.
    Private,
    /// Shared, or of a file.
    Shared,
    /// A device's registers: no `struct page`.
    Mmio,
}

/// How the frames of a region lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// One after the other, as in huge pages.
    Contiguous,
    /// No two pages that follow each other are physically adjacent.
    Scattered,
}

/// Whether pages exist before anybody touches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Population {
    /// All do.
    Touched,
    /// None does.
    Untouched,
}

/// What a new region shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionConfig {
    /// Bytes, a multiple of the page size.
    pub size: u64,
    /// What the CPU may do.
    pub access: Access,
    /// Private, shared or registers.
    pub sharing: Sharing,
    /// Where its frames lie.
    pub placement: Placement,
    /// Whether its pages exist.
    pub population: Population,
}

impl RegionConfig {
    /// Ordinary memory: private, readable and writable, touched, scattered.
    pub fn ordinary(size: u64) -> Self {
        Self {
            size,
            access: Access::ReadWrite,
            sharing: Sharing::Private,
            placement: Placement::Scattered,
            population: Population::Touched,
        }
    }
}

/// Capabilities of a process that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Lock memory beyond the limit (`CAP_IPC_LOCK`).
    IpcLock,
    /// Use groups without IOMMU (`CAP_SYS_RAWIO`).
    SysRawio,
}

/// Whether a process is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It is gone, with its memory; pinned pages stay.
    Exited,
}

/// A run of pages that were pinned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinRun {
    pub(crate) paddr: Paddr,
    pub(crate) pages: u64,
    /// Not counted against anybody: the zero page, or no `struct page`.
    pub(crate) reserved: Reserved,
    /// The page after the run cannot be pinned.
    pub(crate) then_faults: bool,
}

/// Whether pages are reserved (`is_invalid_reserved_pfn()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    No,
    Yes,
}

/// How pages are to be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinMode {
    pub(crate) write: PinWrite,
    pub(crate) read_only: ReadOnlyPin,
    pub(crate) zero_frame: u64,
    pub(crate) page_size: u64,
}

/// Whether the device will write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinWrite {
    No,
    Yes,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub(crate) fds: BTreeMap<i32, FileId>,
    pub(crate) regions: BTreeMap<u64, Region>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) life: Life,
    /// Pages locked (`mm->locked_vm`).
    pub(crate) locked_pages: u64,
    /// Pages iommufd has pinned (`mm->pinned_vm`).
    pub(crate) pinned_pages: u64,
    /// RLIMIT_MEMLOCK, in bytes.
    pub(crate) memlock_bytes: u64,
    /// Regions lie below this, each in the highest place that fits, as `mmap()` has them.
    pub(crate) mmap_top: u64,
    /// What its only thread left in the kernel.
    pub(crate) kernel_stack: KernelStack,
}

impl Process {
    /// Pages counted as locked (`VmLck`).
    pub fn locked_pages(&self) -> u64 {
        self.locked_pages
    }

    /// Pages iommufd has pinned, whoever is charged for them (`VmPin`).
    pub fn pinned_pages(&self) -> u64 {
        self.pinned_pages
    }

    /// Whether it is still there.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Sets RLIMIT_MEMLOCK.
    pub fn set_memlock_bytes(&mut self, bytes: u64) {
        self.memlock_bytes = bytes;
    }

    /// Gives a capability up.
    pub fn drop_capability(&mut self, capability: Capability) {
        self.capabilities.retain(|held| *held != capability);
    }

    /// Whether it holds a capability.
    pub fn is_capable(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// The file behind a descriptor.
    pub fn file(&self, fd: i32) -> Option<FileId> {
        self.fds.get(&fd).copied()
    }

    /// Descriptors in use.
    pub fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.fds.keys().copied()
    }

    /// The lowest free descriptor.
    pub(crate) fn free_fd(&self) -> i32 {
        (0..i32::MAX)
            .find(|fd| !self.fds.contains_key(fd))
            .expect("descriptors are fewer than numbers")
    }

    /// The region around `address`, with its start.
    #[inline]
    fn region_at(&self, address: u64, page_size: u64) -> Option<(u64, &Region)> {
        let (start, region) = self.regions.range(..=address).next_back()?;
        (address - start < region.pages * page_size).then_some((*start, region))
    }

    /// Removes `[address, address + size)` (`munmap()`); regions are cut.
    pub fn unmap_memory(&mut self, address: u64, size: u64, page_size: u64) {
        self.cut(address, size, page_size);
    }

    /// Changes what the CPU may do with `[address, address + size)` (`mprotect()`).
    pub fn protect_memory(&mut self, address: u64, size: u64, page_size: u64, access: Access) {
        for (start, mut region) in self.cut(address, size, page_size) {
            region.access = access;
            self.regions.insert(start, region);
        }
    }

    /// Takes out what lies in the range and returns it.
    fn cut(&mut self, address: u64, size: u64, page_size: u64) -> Vec<(u64, Region)> {
        let end = address.saturating_add(size);
        let mut taken = Vec::new();
        let starts: Vec<u64> = self.regions.range(..end).map(|(start, _)| *start).collect();
        for start in starts {
            let region = self.regions[&start].clone();
            let region_end = start + region.pages * page_size;
            if region_end <= address {
                continue;
            }
            self.regions.remove(&start);
            let part = |from: u64, to: u64| Region {
                pages: (to - from) / page_size,
                offset: region.offset + (from - start) / page_size,
                ..region.clone()
            };
            if start < address {
                self.regions.insert(start, part(start, address));
            }
            if end < region_end {
                self.regions.insert(end, part(end, region_end));
            }
            let (from, to) = (start.max(address), region_end.min(end));
            taken.push((from, part(from, to)));
        }
        taken
    }

    /// Where the CPU reads or writes at `address`; the page comes into being if it was missing.
    ///
    /// # Errors
    /// EFAULT: nothing there, or not allowed.
    pub fn touch(&mut self, address: u64, page_size: u64, access: Access) -> Result<Paddr, Errno> {
        let (start, region) = self.region_at(address, page_size).ok_or(Errno::EFAULT)?;
        if access.writes() && !region.access.writes() || !region.access.reads() {
            return Err(Errno::EFAULT);
        }
        let index = region.offset + (address - start) / page_size;
        let frame = region.frame(index, page_size);
        if region.is_missing(index)
            && let Some(region) = self.regions.get_mut(&start)
        {
            region.populate(index);
        }
        Ok(Paddr(frame + (address & (page_size - 1))))
    }

    /// The frame of each page of `[address, address + size)` that exists, in order.
    pub fn frames(&self, address: u64, size: u64, page_size: u64) -> Vec<Option<Paddr>> {
        (0..size / page_size)
            .map(|page| {
                let at = address + page * page_size;
                let (start, region) = self.region_at(at, page_size)?;
                let index = region.offset + (at - start) / page_size;
                (!region.is_missing(index)).then(|| Paddr(region.frame(index, page_size)))
            })
            .collect()
    }

    /// What one page would be pinned as: its frame and whether it is reserved.
    #[inline]
    fn pinnable(region: &Region, index: u64, mode: &PinMode) -> Option<(u64, Reserved)> {
        let allowed = match mode.write {
            PinWrite::Yes => region.access.writes(),
            PinWrite::No => region.access.reads(),
        };
        if !allowed {
            return None;
        }
        if region.sharing == Sharing::Mmio {
            return Some((region.frame(index, mode.page_size), Reserved::Yes));
        }
        let zero = mode.write == PinWrite::No
            && mode.read_only == ReadOnlyPin::ZeroPage
            && region.sharing == Sharing::Private
            && !region.missing.is_empty()
            && region.is_missing(index);
        if zero {
            return Some((mode.zero_frame, Reserved::Yes));
        }
        Some((region.frame(index, mode.page_size), Reserved::No))
    }

    /// The longest physically contiguous run from `address`, of at most `pages` pages and of one
    /// reserved-ness. Pages that were missing come into being.
    ///
    /// # Errors
    /// EFAULT: the first page cannot be pinned.
    #[inline]
    pub(crate) fn pin_run(
        &mut self,
        address: u64,
        pages: u64,
        mode: &PinMode,
    ) -> Result<PinRun, Errno> {
        let page_size = mode.page_size;
        // A power of two: a run may be a page, and there may be millions.
        let page_log2 = page_size.trailing_zeros();
        let (start, region) = self.region_at(address, page_size).ok_or(Errno::EFAULT)?;
        let first = region.offset + ((address - start) >> page_log2);
        let here = (region.offset + region.pages - first).min(pages);
        let (frame, reserved) = Self::pinnable(region, first, mode).ok_or(Errno::EFAULT)?;
        let whole = region.missing.is_empty() && region.placement == Placement::Contiguous;
        let mut run = 1;
        if whole {
            run = here;
        } else {
            while run < here {
                match Self::pinnable(region, first + run, mode) {
                    Some((next, kind)) if next == frame + run * page_size && kind == reserved => {
                        run += 1;
                    }
                    _ => break,
                }
            }
        }
        let then_faults = run < pages && {
            let next = address + run * page_size;
            if run < here {
                Self::pinnable(region, first + run, mode).is_none()
            } else {
                self.region_at(next, page_size)
                    .and_then(|(start, region)| {
                        let index = region.offset + ((next - start) >> page_log2);
                        Self::pinnable(region, index, mode)
                    })
                    .is_none()
            }
        };
        if !region.missing.is_empty() && reserved == Reserved::No {
            let region = self.regions.get_mut(&start).expect("just found");
            for index in first..first + run {
                region.populate(index);
            }
        }
        Ok(PinRun {
            paddr: Paddr(frame),
            pages: run,
            reserved,
            then_faults,
        })
    }

    /// Puts a region at `address` or where there is room.
    pub(crate) fn insert_region(
        &mut self,
        config: &RegionConfig,
        base: u64,
        page_size: u64,
        align: u64,
    ) -> Result<u64, Errno> {
        if config.size == 0 || !config.size.is_multiple_of(page_size) {
            return Err(Errno::EINVAL);
        }
        let address = self
            .highest_gap(config.size, page_size, align.max(page_size))
            .ok_or(Errno::ENOMEM)?;
        let pages = config.size / page_size;
        let mut missing = BTreeMap::new();
        if config.population == Population::Untouched {
            missing.insert(0, pages);
        }
        self.regions.insert(
            address,
            Region {
                pages,
                access: config.access,
                sharing: config.sharing,
                placement: config.placement,
                base,
                backing_pages: pages,
                offset: 0,
                missing,
            },
        );
        Ok(address)
    }

    /// The highest free place for `size` bytes. An alignment beyond a page is had as programs
    /// have it: as much more is mapped, and what is not needed is given back; so the place is the
    /// first aligned one of the highest gap that has room for both.
    fn highest_gap(&self, size: u64, page_size: u64, align: u64) -> Option<u64> {
        let slack = if align > page_size { align } else { 0 };
        let wanted = size.checked_add(slack)?;
        let mut top = self.mmap_top;
        for (start, region) in self.regions.iter().rev() {
            let end = start + region.pages * page_size;
            if top - end >= wanted {
                break;
            }
            top = *start;
        }
        let start = top
            .checked_sub(wanted)
            .filter(|start| *start >= page_size)?;
        Some(start.next_multiple_of(align))
    }

    /// The regions as a forked child has them: private ones get the frames `fresh` gives.
    pub(crate) fn fork_regions(
        &self,
        page_size: u64,
        mut fresh: impl FnMut(u64) -> Result<u64, Errno>,
    ) -> Result<BTreeMap<u64, Region>, Errno> {
        self.regions
            .iter()
            .map(|(start, region)| {
                let mut copy = region.clone();
                if copy.sharing == Sharing::Private {
                    copy.base = fresh(copy.backing_pages * page_size)?;
                }
                Ok((*start, copy))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;

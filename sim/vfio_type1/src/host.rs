//! The host around VFIO: processes, frames, pins, module parameters.

use std::collections::BTreeMap;

use iommu_core::{Errno, IdSource, Paddr};

use crate::iommufd::Accounting;
use crate::process::{
    Access, Capability, KernelStack, Life, Pid, Process, RegionConfig, Reserved, Sharing,
};

/// Where a new process's mappings end.
const MMAP_TOP: u64 = 0xffff_8000_0000;

/// An open file description; descriptors of several processes may refer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Parameters of the modules `vfio_iommu_type1` and `iommufd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleParams {
    /// Mappings a container may have.
    pub dma_entry_limit: u32,
    /// Whether groups without isolated interrupts may be used.
    pub unsafe_interrupts: UnsafeInterrupts,
    /// The same parameter of `iommufd`, for groups that joined `/dev/iommu`.
    pub iommufd_unsafe_interrupts: UnsafeInterrupts,
}

/// `allow_unsafe_interrupts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeInterrupts {
    /// They may not be used.
    Refused,
    /// They may.
    Allowed,
}

impl Default for ModuleParams {
    fn default() -> Self {
        Self {
            dma_entry_limit: 65535,
            unsafe_interrupts: UnsafeInterrupts::Refused,
            iommufd_unsafe_interrupts: UnsafeInterrupts::Refused,
        }
    }
}

/// What a machine chooses about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Bytes of a CPU page.
    pub page_size: u64,
    /// First physical address of memory for processes.
    pub ram_start: u64,
    /// First physical address beyond it.
    pub ram_end: u64,
    /// Where devices' registers begin, for regions of kind [`Sharing::Mmio`].
    pub mmio_start: u64,
    /// RLIMIT_MEMLOCK of a new process, in bytes.
    pub memlock_bytes: u64,
}

impl HostConfig {
    /// A host with pages of this size and 8 TiB of memory for processes from 2 TiB on.
    pub fn with_page_size(page_size: u64) -> Self {
        Self {
            page_size,
            ram_start: 2 << 40,
            ram_end: 10 << 40,
            mmio_start: 0x1000_0000,
            memlock_bytes: 8 << 20,
        }
    }
}

/// How closely pins are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PinTracking {
    /// How many there are.
    #[default]
    Count,
    /// How many each frame has: for tests, as it costs an entry a frame.
    EachFrame,
}

/// Pins of user pages, all containers together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins {
    count: u64,
    tracking: PinTracking,
    frames: BTreeMap<u64, u64>,
}

impl Pins {
    /// Pinned pages; a page pinned twice counts twice.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Pins of the frame at `paddr`, if each frame is tracked.
    pub fn of(&self, paddr: Paddr) -> u64 {
        self.frames.get(&paddr.0).copied().unwrap_or_default()
    }

    /// Frames pinned, with how often, if each frame is tracked.
    pub fn frames(&self) -> impl Iterator<Item = (Paddr, u64)> {
        self.frames
            .iter()
            .map(|(frame, count)| (Paddr(*frame), *count))
    }

    #[inline]
    fn pin(&mut self, paddr: Paddr, pages: u64, page_size: u64) {
        self.count += pages;
        if self.tracking == PinTracking::EachFrame {
            for page in 0..pages {
                *self.frames.entry(paddr.0 + page * page_size).or_default() += 1;
            }
        }
    }

    #[inline]
    fn unpin(&mut self, paddr: Paddr, pages: u64, page_size: u64) {
        self.count = self
            .count
            .checked_sub(pages)
            .expect("a page is unpinned as often as it was pinned");
        if self.tracking == PinTracking::EachFrame {
            for page in 0..pages {
                let frame = paddr.0 + page * page_size;
                let count = self.frames.get_mut(&frame).expect("the frame is pinned");
                *count -= 1;
                if *count == 0 {
                    self.frames.remove(&frame);
                }
            }
        }
    }
}

/// Gives out frames and never takes them back: a frame belongs to one region for ever, so pins
/// outlive regions without bookkeeping. How many were given out is history: two compare equal.
#[derive(Debug, Clone)]
struct FrameSource(u64);

impl PartialEq for FrameSource {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FrameSource {}

/// The host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    config: HostConfig,
    /// Module parameters.
    pub params: ModuleParams,
    pub(crate) processes: BTreeMap<Pid, Process>,
    pub(crate) pins: Pins,
    frames: FrameSource,
    zero_frame: u64,
    /// Pages charged to the user all processes belong to (`user->locked_vm`).
    user_locked_pages: u64,
    ids: IdSource,
}

impl Host {
    /// A host without processes.
    pub fn new(config: HostConfig) -> Self {
        Self {
            params: ModuleParams::default(),
            processes: BTreeMap::new(),
            pins: Pins::default(),
            // A gap, so that no run of pages ever continues the zero page.
            frames: FrameSource(config.ram_start + 2 * config.page_size),
            zero_frame: config.ram_start,
            user_locked_pages: 0,
            ids: IdSource::default(),
            config,
        }
    }

    /// Bytes of a page.
    #[inline]
    pub fn page_size(&self) -> u64 {
        self.config.page_size
    }

    /// The shared page of zeros.
    pub fn zero_frame(&self) -> Paddr {
        Paddr(self.zero_frame)
    }

    /// Pins of user pages.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Follows pins frame by frame from now on; nothing may be pinned yet.
    ///
    /// # Panics
    /// If something is.
    pub fn track_pins(&mut self, tracking: PinTracking) {
        assert_eq!(self.pins.count, 0, "pins are tracked from the first");
        self.pins.tracking = tracking;
    }

    /// A process, which may be gone.
    ///
    /// # Panics
    /// If there never was one.
    pub fn process(&self, pid: Pid) -> &Process {
        &self.processes[&pid]
    }

    /// A process, which may be gone.
    ///
    /// # Panics
    /// If there never was one.
    pub fn process_mut(&mut self, pid: Pid) -> &mut Process {
        self.processes.get_mut(&pid).expect("the process exists")
    }

    /// An ioctl of this process has `structure` on the kernel's stack.
    #[inline]
    pub(crate) fn leave_on_stack(&mut self, pid: Pid, structure: &[u8]) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.kernel_stack.hold(structure);
        }
    }

    pub(crate) fn spawn(&mut self) -> Pid {
        let pid = Pid(self.ids.fresh());
        self.processes.insert(
            pid,
            Process {
                fds: BTreeMap::new(),
                regions: BTreeMap::new(),
                capabilities: vec![Capability::IpcLock, Capability::SysRawio],
                life: Life::Running,
                locked_pages: 0,
                pinned_pages: 0,
                memlock_bytes: self.config.memlock_bytes,
                mmap_top: MMAP_TOP,
                kernel_stack: KernelStack::new(),
            },
        );
        pid
    }

    /// A copy of the process: private memory is copied, so its pages are others; limits and
    /// capabilities are inherited, locked pages are not.
    pub(crate) fn fork(&mut self, parent: Pid) -> Result<Pid, Errno> {
        let original = self.process(parent).clone();
        let page_size = self.page_size();
        let regions = original.fork_regions(page_size, |size| self.new_frames(size))?;
        let pid = Pid(self.ids.fresh());
        self.processes.insert(
            pid,
            Process {
                regions,
                locked_pages: 0,
                pinned_pages: 0,
                kernel_stack: KernelStack::new(),
                ..original
            },
        );
        Ok(pid)
    }

    fn new_frames(&mut self, size: u64) -> Result<u64, Errno> {
        let base = self.frames.0;
        // Scattered regions of an odd number of pages leave one frame unused.
        let size = size + self.config.page_size;
        let end = base.checked_add(size).ok_or(Errno::ENOMEM)?;
        if end > self.config.ram_end {
            return Err(Errno::ENOMEM);
        }
        self.frames.0 = end;
        Ok(base)
    }

    /// Gives a process memory and returns its address; `align` is the least alignment of the
    /// address and, for contiguous memory, of the frames.
    ///
    /// # Errors
    /// EINVAL: size 0 or not of whole pages. ENOMEM: no frames or addresses left.
    pub fn map_memory(
        &mut self,
        pid: Pid,
        config: &RegionConfig,
        align: u64,
    ) -> Result<u64, Errno> {
        let page_size = self.page_size();
        let base = if config.sharing == Sharing::Mmio {
            self.config.mmio_start
        } else {
            self.frames.0 = self.frames.0.next_multiple_of(align.max(page_size));
            self.new_frames(config.size)?
        };
        self.process_mut(pid)
            .insert_region(config, base, page_size, align)
    }

    /// Takes memory away from a process.
    pub fn unmap_memory(&mut self, pid: Pid, address: u64, size: u64) {
        let page_size = self.page_size();
        self.process_mut(pid).unmap_memory(address, size, page_size);
    }

    /// Changes what the CPU may do with memory.
    pub fn protect_memory(&mut self, pid: Pid, address: u64, size: u64, access: Access) {
        let page_size = self.page_size();
        self.process_mut(pid)
            .protect_memory(address, size, page_size, access);
    }

    /// Whether a frame is counted against nobody (`is_invalid_reserved_pfn()`).
    #[inline]
    pub(crate) fn reserved(&self, paddr: Paddr) -> Reserved {
        let ram = self.config.ram_start..self.config.ram_end;
        if paddr.0 == self.zero_frame || !ram.contains(&paddr.0) {
            Reserved::Yes
        } else {
            Reserved::No
        }
    }

    #[inline]
    pub(crate) fn pin(&mut self, paddr: Paddr, pages: u64) {
        self.pins.pin(paddr, pages, self.config.page_size);
    }

    /// Pages charged to the user whom all processes belong to, other than to a process.
    pub fn user_locked_pages(&self) -> u64 {
        self.user_locked_pages
    }

    /// Counts pages iommufd has pinned in a process, and charges whoever answers for them
    /// (`iopt_pages_update_pinned()`).
    ///
    /// # Errors
    /// ENOMEM: beyond RLIMIT_MEMLOCK of the process.
    pub(crate) fn charge_pinned(
        &mut self,
        pid: Pid,
        accounting: Accounting,
        pages: u64,
    ) -> Result<(), Errno> {
        let page_size = self.page_size();
        let process = self.processes.get_mut(&pid).expect("the process exists");
        if accounting == Accounting::User {
            let charged = self.user_locked_pages.saturating_add(pages);
            if charged > process.memlock_bytes / page_size {
                return Err(Errno::ENOMEM);
            }
            self.user_locked_pages = charged;
        }
        process.pinned_pages += pages;
        Ok(())
    }

    /// Takes back what [`charge_pinned`](Self::charge_pinned) counted and charged.
    pub(crate) fn uncharge_pinned(&mut self, pid: Pid, accounting: Accounting, pages: u64) {
        let back = |count: &mut u64| {
            *count = count
                .checked_sub(pages)
                .expect("no more is given back than was charged");
        };
        if accounting == Accounting::User {
            back(&mut self.user_locked_pages);
        }
        back(&mut self.process_mut(pid).pinned_pages);
    }

    /// Unpins a run of pages of one reserved-ness; how many were counted (`put_pfn()`).
    #[inline]
    pub(crate) fn unpin(&mut self, paddr: Paddr, pages: u64) -> u64 {
        match self.reserved(paddr) {
            Reserved::Yes => 0,
            Reserved::No => {
                self.pins.unpin(paddr, pages, self.config.page_size);
                pages
            }
        }
    }
}

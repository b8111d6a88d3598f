//! The regions the series adds to a device: made when it is opened, read, written and mapped
//! through its file.

use iommu_core::{Defect, DeviceId, Errno, IommuOps, KernelBug};

use crate::abi;
use crate::fault_region::{FaultRegion, Loss, Overshoot, RingRules};
use crate::process::Pid;
use crate::response_region::ResponseRegion;
use crate::vfio::{FileKind, Vfio};

/// A region the series adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeriesRegion {
    /// Faults, for user space to read.
    Faults,
    /// Answers to page requests, for user space to write.
    Responses,
}

impl SeriesRegion {
    /// In the order of their indexes.
    pub(crate) const ALL: &[Self] = &[Self::Faults, Self::Responses];

    /// The region with this index, on a device that has them.
    pub(crate) fn at(index: u32) -> Option<Self> {
        let added = index.checked_sub(abi::PCI_NUM_REGIONS)?;
        Self::ALL.get(added as usize).copied()
    }
}

/// Both regions of an open device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) faults: FaultRegion,
    pub(crate) responses: ResponseRegion,
}

impl<O: IommuOps> Vfio<O> {
    fn ring_rules(&self) -> RingRules {
        let semantics = &self.core.ops().control().semantics;
        RingRules {
            overshoot: if semantics.has(Defect::TailOvershoot) {
                Overshoot::Accepted
            } else {
                Overshoot::Refused
            },
            loss: if semantics.has(Defect::FaultQueueDrops) {
                Loss::Silent
            } else {
                Loss::Counted
            },
        }
    }

    /// The regions of a device whose domain nests, made when the device is first opened
    /// (`vfio_pci_dma_fault_init()` and `vfio_pci_dma_fault_response_init()`).
    ///
    /// # Errors
    /// ENOMEM: nothing of them is left, but for what defect D24 leaves.
    pub(crate) fn make_regions(
        &mut self,
        pid: Pid,
        device: DeviceId,
    ) -> Result<Option<Regions>, Errno> {
        if !self.nests(device) {
            return Ok(None);
        }
        let sloppy = self
            .core
            .ops()
            .control()
            .semantics
            .has(Defect::RegionErrorPaths);
        let page_size = self.host.page_size();
        let step = |vfio: &mut Self, name| vfio.ctx(pid).step(name, Errno::ENOMEM);
        step(self, "vfio:alloc_fault_region")?;
        let faults = FaultRegion::new(page_size);
        step(self, "vfio:alloc_response_region")?;
        let mut responses = ResponseRegion::new(page_size);
        if let Err(errno) = step(self, "vfio:alloc_response_work") {
            if !sloppy {
                return Err(errno);
            }
            // Posted: the result so far, 0, is what is returned; the pages are freed and the
            // region, registered before, stays.
            responses.free_pages();
        } else if let Err(errno) = step(self, "vfio:create_response_queue") {
            self.lose_response_work();
            return Err(errno);
        }
        Ok(Some(Regions { faults, responses }))
    }

    /// Frees a device's regions with its last file.
    pub(crate) fn free_regions(&mut self, regions: &Regions) {
        if regions.responses.positions().is_some() {
            self.lose_response_work();
        }
    }

    /// The work item of a response region goes; as posted nobody frees it (defect D24).
    fn lose_response_work(&mut self) {
        let semantics = &self.core.ops().control().semantics;
        self.leaked_work += u64::from(semantics.has(Defect::RegionErrorPaths));
    }

    /// Work items of response regions that were allocated and can no longer be freed (defect D24).
    pub fn leaked_work_items(&self) -> u64 {
        self.leaked_work
    }

    fn nests(&self, device: DeviceId) -> bool {
        let domain = || {
            let group = self.core.device(device)?.group;
            self.core.group(group)?.domain
        };
        self.series().is_some()
            && domain().is_some_and(|domain| self.core.ops().is_nesting(domain) == Ok(true))
    }

    /// The fault region of an open device.
    pub fn fault_region(&self, device: DeviceId) -> Option<&FaultRegion> {
        Some(&self.devices.get(&device)?.regions.as_ref()?.faults)
    }

    /// The response region of an open device.
    pub fn response_region(&self, device: DeviceId) -> Option<&ResponseRegion> {
        Some(&self.devices.get(&device)?.regions.as_ref()?.responses)
    }

    /// Bytes of a region of an open device; `None` if it has none.
    pub(crate) fn region_size(&self, device: DeviceId, region: SeriesRegion) -> Option<u64> {
        match region {
            SeriesRegion::Faults => Some(self.fault_region(device)?.size()),
            SeriesRegion::Responses => Some(self.response_region(device)?.size()),
        }
    }

    /// How often the fault interrupt's eventfd was signalled; `None` if none is connected.
    pub fn fault_signals(&self, device: DeviceId) -> Option<u64> {
        self.devices.get(&device)?.signals
    }

    /// Runs the driver's event threads: each fault goes into the ring of the device it concerns,
    /// whose interrupt is signalled; the driver learns what could not be delivered.
    pub fn run_event_threads(&mut self) {
        let rules = self.ring_rules();
        let Self { core, devices, .. } = self;
        core.ops_mut().handle_events(|device, fault| {
            let entry = devices.get_mut(&device).ok_or(Errno::EINVAL)?;
            let regions = entry.regions.as_mut().ok_or(Errno::EINVAL)?;
            regions.faults.push(fault, rules)?;
            if let Some(signals) = &mut entry.signals {
                *signals += 1;
            }
            Ok(())
        });
    }

    /// The device and region a file's offset is in, with the offset within the region.
    fn locate(
        &self,
        pid: Pid,
        fd: i32,
        offset: u64,
    ) -> Result<(DeviceId, SeriesRegion, u64), Errno> {
        let FileKind::Device(device, _) = self.kind_of(pid, fd)?.1 else {
            return Err(Errno::EINVAL);
        };
        let index = u32::try_from(offset >> abi::PCI_OFFSET_SHIFT).map_err(|_| Errno::EINVAL)?;
        let region = SeriesRegion::at(index).ok_or(Errno::EINVAL)?;
        self.region_size(device, region).ok_or(Errno::EINVAL)?;
        Ok((device, region, offset & ((1 << abi::PCI_OFFSET_SHIFT) - 1)))
    }

    fn regions_mut(&mut self, device: DeviceId) -> Result<&mut Regions, Errno> {
        let entry = self.devices.get_mut(&device).ok_or(Errno::EINVAL)?;
        entry.regions.as_mut().ok_or(Errno::EINVAL)
    }

    /// Notes a use of freed memory, if that is what happened.
    fn unless_freed<T>(&mut self, outcome: Result<T, KernelBug>) -> Result<T, Errno> {
        outcome.map_err(|bug| self.core.ops_mut().control_mut().stop(bug))
    }

    /// Reads a device file; only the series' regions can be read here.
    ///
    /// # Errors
    /// EBADF. EINVAL: no such region, or beyond it. [`KernelBug::ERRNO`]: its pages were freed.
    pub fn pread(&mut self, pid: Pid, fd: i32, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let (device, region, within) = self.locate(pid, fd, offset)?;
        let regions = self.regions_mut(device)?;
        match region {
            SeriesRegion::Faults => regions.faults.read(within, length),
            SeriesRegion::Responses => {
                let outcome = regions.responses.read(within, length)?;
                self.unless_freed(outcome)
            }
        }
    }

    /// Writes a device file: the tail of the fault region, or the head of the response region,
    /// whose new answers then reach the driver at once; nothing else can be written here.
    ///
    /// # Errors
    /// EBADF. EINVAL: anything else. [`KernelBug::ERRNO`]: the region's pages were freed.
    pub fn pwrite(&mut self, pid: Pid, fd: i32, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (device, region, within) = self.locate(pid, fd, offset)?;
        let rules = self.ring_rules();
        self.ctx(pid).step("vfio:copy_from_user", Errno::EFAULT)?;
        let regions = self.regions_mut(device)?;
        match region {
            SeriesRegion::Faults => regions.faults.write(within, bytes, rules),
            SeriesRegion::Responses => {
                let outcome = regions.responses.write(within, bytes)?;
                self.unless_freed(outcome)?;
                self.run_response_work(device)
            }
        }
    }

    /// The work item: every answer goes to the driver, whose result is ignored
    /// (`dma_response_inject()`).
    fn run_response_work(&mut self, device: DeviceId) -> Result<(), Errno> {
        while let Some(answer) = self.regions_mut(device)?.responses.pop() {
            let _ignored = self.core.page_response(device, &answer);
        }
        Ok(())
    }

    /// Maps part of a device file; only records of the series' regions can be mapped here.
    ///
    /// # Errors
    /// EBADF. EINVAL: anything else. [`KernelBug::ERRNO`]: the region's pages were freed.
    pub fn mmap_device(
        &mut self,
        pid: Pid,
        fd: i32,
        offset: u64,
        length: u64,
    ) -> Result<(), Errno> {
        let (device, region, within) = self.locate(pid, fd, offset)?;
        let regions = self.regions_mut(device)?;
        match region {
            SeriesRegion::Faults => regions.faults.mmap(within, length),
            SeriesRegion::Responses => {
                let outcome = regions.responses.mmap(within, length)?;
                self.unless_freed(outcome)
            }
        }
    }

    /// User space maps part of the response region and stores answers there.
    ///
    /// # Errors
    /// As [`mmap_device`](Self::mmap_device). EINVAL: of the fault region, which user space reads.
    pub fn store_responses(
        &mut self,
        pid: Pid,
        fd: i32,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.mmap_device(pid, fd, offset, bytes.len() as u64)?;
        let (device, region, within) = self.locate(pid, fd, offset)?;
        if region != SeriesRegion::Responses {
            return Err(Errno::EINVAL);
        }
        self.regions_mut(device)?.responses.store(within, bytes);
        Ok(())
    }
}

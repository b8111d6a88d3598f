//! Device files: what their ioctls answer, and the regions and interrupts the series adds.

use iommu_core::semantics::Series;
use iommu_core::{Defect, DeviceId, Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use crate::abi;
use crate::fault_region::{FaultRegion, Loss, Overshoot, RingRules, region_type};
use crate::process::Pid;
use crate::type1::Caps;
use crate::vfio::{FileKind, Vfio};

/// Where a region's offsets begin in the device file: its index, this many bits up.
const INDEX_SHIFT: u32 = 40;
/// `VFIO_REGION_INFO_FLAG_READ | WRITE | MMAP | CAPS`.
const REGION_FLAGS: u32 = 0xf;
const REGION_CAP_SPARSE_MMAP: u16 = 1;
const REGION_CAP_TYPE: u16 = 2;
const REGION_CAP_DMA_FAULT: u16 = 6;
/// `VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_FLAG_CAPS`.
const IRQ_FLAGS: u32 = 1 | 1 << 4;
const IRQ_CAP_TYPE: u16 = 3;
/// Subtype of region and interrupt.
const DMA_FAULT: u32 = 1;
/// `VFIO_IRQ_SET_ACTION_TRIGGER` and the mask of actions.
const TRIGGER: u32 = 1 << 5;
const ACTIONS: u32 = 7 << 3;
/// `VFIO_IRQ_SET_DATA_NONE` and `_EVENTFD`.
const DATA_NONE: u32 = 1;
const DATA_EVENTFD: u32 = 1 << 2;

impl<O: IommuOps> Vfio<O> {
    fn series(&self) -> Option<Series> {
        self.core.ops().control().semantics.series
    }

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

    /// The fault region of a device whose domain nests, made when the device is first opened.
    pub(crate) fn make_fault_region(&self, device: DeviceId) -> Option<FaultRegion> {
        self.series()?;
        let group = self.core.device(device)?.group;
        let domain = self.core.group(group)?.domain?;
        let nests = self.core.ops().is_nesting(domain) == Ok(true);
        nests.then(|| FaultRegion::new(self.host.page_size()))
    }

    /// The fault region of an open device.
    pub fn fault_region(&self, device: DeviceId) -> Option<&FaultRegion> {
        self.devices.get(&device)?.faults.as_ref()
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
            let region = entry.faults.as_mut().ok_or(Errno::EINVAL)?;
            region.push(fault, rules)?;
            if let Some(signals) = &mut entry.signals {
                *signals += 1;
            }
            Ok(())
        });
    }

    fn fault_file(&self, pid: Pid, fd: i32, offset: u64) -> Result<DeviceId, Errno> {
        let FileKind::Device(device, _) = self.kind_of(pid, fd)?.1 else {
            return Err(Errno::EINVAL);
        };
        let index = offset >> INDEX_SHIFT;
        if index == u64::from(abi::PCI_NUM_REGIONS) && self.devices[&device].faults.is_some() {
            Ok(device)
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Reads a device file; only the fault region can be read here.
    ///
    /// # Errors
    /// EBADF. EINVAL: no such region, or beyond it.
    pub fn pread(&self, pid: Pid, fd: i32, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let device = self.fault_file(pid, fd, offset)?;
        let within = offset & ((1 << INDEX_SHIFT) - 1);
        let region = self.fault_region(device).ok_or(Errno::EINVAL)?;
        region.read(within, length)
    }

    /// Writes a device file; only the tail of the fault region can be written here.
    ///
    /// # Errors
    /// EBADF. EINVAL: anything else.
    pub fn pwrite(&mut self, pid: Pid, fd: i32, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let device = self.fault_file(pid, fd, offset)?;
        let within = offset & ((1 << INDEX_SHIFT) - 1);
        let rules = self.ring_rules();
        self.ctx(pid).step("vfio:copy_from_user", Errno::EFAULT)?;
        let entry = self.devices.get_mut(&device).ok_or(Errno::EINVAL)?;
        let region = entry.faults.as_mut().ok_or(Errno::EINVAL)?;
        region.write(within, bytes, rules)
    }

    /// Maps part of a device file; only the records of the fault region can be mapped here.
    ///
    /// # Errors
    /// EBADF. EINVAL: anything else.
    pub fn mmap_device(&self, pid: Pid, fd: i32, offset: u64, length: u64) -> Result<(), Errno> {
        let device = self.fault_file(pid, fd, offset)?;
        let within = offset & ((1 << INDEX_SHIFT) - 1);
        let region = self.fault_region(device).ok_or(Errno::EINVAL)?;
        region.mmap(within, length)
    }

    pub(crate) fn device_ioctl(
        &mut self,
        pid: Pid,
        device: DeviceId,
        cmd: u32,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        match cmd {
            abi::DEVICE_GET_INFO => self.device_info(pid, device, arg, user),
            abi::DEVICE_GET_REGION_INFO => self.region_info(pid, device, arg, user),
            abi::DEVICE_GET_IRQ_INFO => self.irq_info(pid, device, arg, user),
            abi::DEVICE_SET_IRQS => self.set_irqs(pid, device, arg, user),
            // None of the modelled devices can be reset.
            abi::DEVICE_RESET => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// Regions and interrupts the series has added to this device.
    fn extra(&self, device: DeviceId) -> u32 {
        u32::from(self.fault_region(device).is_some())
    }

    fn device_info(
        &mut self,
        pid: Pid,
        device: DeviceId,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        let mut bytes = [0; size_of::<abi::DeviceInfo>()];
        self.ctx(pid).copy_in(user, arg, &mut bytes)?;
        let mut info: abi::DeviceInfo = abi::read(&bytes);
        if (info.argsz as usize) < bytes.len() {
            return Err(Errno::EINVAL);
        }
        info.flags = abi::DEVICE_FLAGS_PCI;
        info.num_regions = abi::PCI_NUM_REGIONS + self.extra(device);
        info.num_irqs = abi::PCI_NUM_IRQS + self.extra(device);
        self.ctx(pid).copy_out(user, arg, info.as_bytes())?;
        Ok(0)
    }

    /// GET_REGION_INFO; the PCI regions are the device emulation's and answer with size 0.
    fn region_info(
        &mut self,
        pid: Pid,
        device: DeviceId,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        const HEADER: usize = size_of::<abi::RegionInfo>();
        let mut bytes = [0; HEADER];
        self.ctx(pid).copy_in(user, arg, &mut bytes)?;
        let mut info: abi::RegionInfo = abi::read(&bytes);
        if (info.argsz as usize) < HEADER || info.index >= abi::PCI_NUM_REGIONS + self.extra(device)
        {
            return Err(Errno::EINVAL);
        }
        info.offset = u64::from(info.index) << INDEX_SHIFT;
        (info.flags, info.size, info.cap_offset) = (0, 0, 0);
        if info.index == abi::PCI_NUM_REGIONS
            && let (Some(region), Some(series)) = (self.fault_region(device), self.series())
        {
            let page_size = self.host.page_size();
            (info.flags, info.size) = (REGION_FLAGS, region.size());
            let padding = self.core.ops().control().semantics.vfio.capability_padding;
            let mut caps = Caps::new(padding);
            let kind = [region_type(series.vfio), DMA_FAULT];
            caps.add(REGION_CAP_TYPE, 1, HEADER, kind.as_bytes());
            let areas = [1, page_size, region.size() - page_size];
            caps.add(REGION_CAP_SPARSE_MMAP, 1, HEADER, areas.as_bytes());
            caps.add(REGION_CAP_DMA_FAULT, 1, HEADER, 1_u32.as_bytes());
            self.put_caps(pid, arg, user, &caps, HEADER, &mut info.argsz)
                .map(|offset| info.cap_offset = offset)?;
        }
        self.ctx(pid).copy_out(user, arg, info.as_bytes())?;
        Ok(0)
    }

    /// Writes capabilities behind a structure of `header` bytes if there is room; where they are,
    /// or 0 with `argsz` raised to what is needed.
    fn put_caps(
        &mut self,
        pid: Pid,
        arg: UserPtr,
        user: &mut impl UserMemory,
        caps: &Caps,
        header: usize,
        argsz: &mut u32,
    ) -> Result<u32, Errno> {
        let needed = (header + caps.bytes().len()) as u32;
        if *argsz < needed {
            *argsz = needed;
            return Ok(0);
        }
        self.ctx(pid)
            .copy_out(user, arg.add(header as u64), caps.bytes())?;
        Ok(header as u32)
    }

    fn irq_info(
        &mut self,
        pid: Pid,
        device: DeviceId,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        const MIN: usize = 16;
        const WITH_CAPS: usize = 20;
        let mut bytes = [0; MIN];
        self.ctx(pid).copy_in(user, arg, &mut bytes)?;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let (mut argsz, index) = (word(0), word(8));
        if (argsz as usize) < MIN || index >= abi::PCI_NUM_IRQS + self.extra(device) {
            return Err(Errno::EINVAL);
        }
        let room = (argsz as usize).min(WITH_CAPS);
        let (mut flags, mut count, mut cap_offset) = (0, 0, 0);
        if index == abi::PCI_NUM_IRQS {
            (flags, count) = (IRQ_FLAGS, 1);
            let padding = self.core.ops().control().semantics.vfio.capability_padding;
            let mut caps = Caps::new(padding);
            let kind = [1, DMA_FAULT];
            caps.add(IRQ_CAP_TYPE, 1, WITH_CAPS, kind.as_bytes());
            cap_offset = self.put_caps(pid, arg, user, &caps, WITH_CAPS, &mut argsz)?;
        }
        // Defect D25 copies four bytes of kernel stack here; the model has none and copies zeros.
        let words = [argsz, flags, index, count, cap_offset];
        self.ctx(pid)
            .copy_out(user, arg, &words.as_bytes()[..room])?;
        Ok(0)
    }

    /// SET_IRQS, for the series' interrupt only; others are the device emulation's.
    fn set_irqs(
        &mut self,
        pid: Pid,
        device: DeviceId,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        let mut bytes = [0; 20];
        self.ctx(pid).copy_in(user, arg, &mut bytes)?;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let (argsz, flags, index, start, count) = (word(0), word(4), word(8), word(12), word(16));
        if (argsz as usize) < bytes.len() || index >= abi::PCI_NUM_IRQS + self.extra(device) {
            return Err(Errno::EINVAL);
        }
        if index < abi::PCI_NUM_IRQS || flags & ACTIONS != TRIGGER {
            return Err(Errno::ENOTTY);
        }
        if start != 0 || count > 1 {
            return Err(Errno::EINVAL);
        }
        let mut eventfd = -1;
        if flags & DATA_EVENTFD != 0 && count == 1 {
            let mut fd = [0; 4];
            self.ctx(pid).copy_in(user, arg.add(20), &mut fd)?;
            eventfd = i32::from_le_bytes(fd);
        } else if flags & DATA_NONE == 0 {
            return Err(Errno::EINVAL);
        }
        let entry = self.devices.get_mut(&device).ok_or(Errno::ENODEV)?;
        entry.signals = (eventfd >= 0).then_some(0);
        Ok(0)
    }
}

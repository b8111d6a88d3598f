//! Device files: what their ioctls answer.

use iommu_core::semantics::Series;
use iommu_core::{Defect, DeviceId, Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use crate::abi;
use crate::device_region::SeriesRegion;
use crate::fault_region::region_type;
use crate::process::Pid;
use crate::type1::Caps;
use crate::vfio::Vfio;

/// `VFIO_REGION_INFO_FLAG_READ | WRITE | MMAP | CAPS`.
const REGION_FLAGS: u32 = 0xf;
const REGION_CAP_SPARSE_MMAP: u16 = 1;
const REGION_CAP_TYPE: u16 = 2;
const REGION_CAP_DMA_FAULT: u16 = 6;
const REGION_CAP_DMA_FAULT_RESPONSE: u16 = 7;
/// `VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_FLAG_CAPS`.
const IRQ_FLAGS: u32 = 1 | 1 << 4;
const IRQ_CAP_TYPE: u16 = 3;
/// Subtype of region and interrupt.
const DMA_FAULT: u32 = 1;
/// Subtype of the region for answers.
const DMA_FAULT_RESPONSE: u32 = 2;
/// `VFIO_IRQ_SET_ACTION_TRIGGER` and the mask of actions.
const TRIGGER: u32 = 1 << 5;
const ACTIONS: u32 = 7 << 3;
/// `VFIO_IRQ_SET_DATA_NONE` and `_EVENTFD`.
const DATA_NONE: u32 = 1;
const DATA_EVENTFD: u32 = 1 << 2;

impl<O: IommuOps> Vfio<O> {
    pub(crate) fn series(&self) -> Option<Series> {
        self.core.ops().control().semantics.series
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

    /// Regions of this device, with those the series has added.
    fn region_count(&self, device: DeviceId) -> u32 {
        abi::PCI_NUM_REGIONS + SeriesRegion::ALL.len() as u32 * self.extra(device)
    }

    /// Interrupt indexes of this device, with the one the series has added.
    fn irq_count(&self, device: DeviceId) -> u32 {
        abi::PCI_NUM_IRQS + self.extra(device)
    }

    /// 1 if the series has added anything to this device, or 0.
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
        let mut info: abi::DeviceInfo = self.ctx(pid).read_in(user, arg)?;
        if (info.argsz as usize) < size_of_val(&info) {
            return Err(Errno::EINVAL);
        }
        info.flags = abi::DEVICE_FLAGS_PCI;
        info.num_regions = self.region_count(device);
        info.num_irqs = self.irq_count(device);
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
        let mut info: abi::RegionInfo = self.ctx(pid).read_in(user, arg)?;
        if (info.argsz as usize) < HEADER || info.index >= self.region_count(device) {
            return Err(Errno::EINVAL);
        }
        info.offset = u64::from(info.index) << abi::PCI_OFFSET_SHIFT;
        (info.flags, info.size, info.cap_offset) = (0, 0, 0);
        if let (Some(region), Some(series)) = (SeriesRegion::at(info.index), self.series())
            && let Some(size) = self.region_size(device, region)
        {
            let page_size = self.host.page_size();
            (info.flags, info.size) = (REGION_FLAGS, size);
            let semantics = &self.core.ops().control().semantics;
            let mut caps = Caps::new(semantics.vfio.capability_padding);
            let (subtype, capability) = match region {
                SeriesRegion::Faults => (DMA_FAULT, REGION_CAP_DMA_FAULT),
                // v11 gives the second region the capability of the first (defect D27).
                SeriesRegion::Responses if semantics.has(Defect::RegionIdsCollide) => {
                    (DMA_FAULT_RESPONSE, REGION_CAP_DMA_FAULT)
                }
                SeriesRegion::Responses => (DMA_FAULT_RESPONSE, REGION_CAP_DMA_FAULT_RESPONSE),
            };
            let kind = [region_type(series.vfio), subtype];
            caps.add(REGION_CAP_TYPE, 1, HEADER, kind.as_bytes());
            let areas = [1, page_size, size - page_size];
            caps.add(REGION_CAP_SPARSE_MMAP, 1, HEADER, areas.as_bytes());
            caps.add(capability, 1, HEADER, 1_u32.as_bytes());
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
            .copy_out_allocated(user, arg.add(header as u64), caps.bytes())?;
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
        if (argsz as usize) < MIN || index >= self.irq_count(device) {
            return Err(Errno::EINVAL);
        }
        // The fifth word is the series'.
        let room = match self.series() {
            Some(_) => (argsz as usize).min(WITH_CAPS),
            None => MIN,
        };
        let (mut flags, mut count) = (0, 0);
        // The structure lies on the stack and only its first 16 bytes were read from user space.
        let semantics = &self.core.ops().control().semantics;
        let mut cap_offset = if semantics.has(Defect::IrqInfoUninitialised) {
            self.host.process(pid).kernel_stack.word(MIN)
        } else {
            0
        };
        if index == abi::PCI_NUM_IRQS {
            (flags, count) = (IRQ_FLAGS, 1);
            let padding = self.core.ops().control().semantics.vfio.capability_padding;
            let mut caps = Caps::new(padding);
            let kind = [1, DMA_FAULT];
            caps.add(IRQ_CAP_TYPE, 1, WITH_CAPS, kind.as_bytes());
            cap_offset = self.put_caps(pid, arg, user, &caps, WITH_CAPS, &mut argsz)?;
        }
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
        if (argsz as usize) < bytes.len() || index >= self.irq_count(device) {
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

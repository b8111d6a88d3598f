//! Devices plugged in, and system calls on their files.

use iommu_core::{Errno, UserBuffer};
use vfio_type1::abi;

use super::super::machine::Seen;
use super::super::names;
use super::super::source::Located;
use super::super::step::{
    DeviceName, IrqField, IrqInfo, ReadRegion, RegionField, RegionInfo, RegionName, WriteRegion,
};
use super::Linux;
use super::calls::Called;

/// Room for a structure and its capabilities.
const ROOM: usize = 256;
/// Size of `struct vfio_irq_info` with the word the series adds.
const IRQ_INFO: u32 = 20;
/// `VFIO_REGION_INFO_CAP_SPARSE_MMAP` and `_TYPE`.
const CAP_SPARSE_MMAP: u16 = 1;
const CAP_TYPE: u16 = 2;

impl RegionName {
    /// Its index among a device's regions.
    const fn index(self) -> u32 {
        match self {
            Self::Faults => abi::PCI_NUM_REGIONS,
            Self::Responses => abi::PCI_NUM_REGIONS + 1,
        }
    }

    /// Where a device's file has byte `offset` of it.
    const fn file_offset(self, offset: u64) -> u64 {
        ((self.index() as u64) << abi::PCI_OFFSET_SHIFT) + offset
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    word(bytes, at) as u16
}

impl Linux {
    pub(super) fn plug(&mut self, name: &DeviceName) -> Called {
        let address = self.device(&name.device)?.address;
        let plugged = self.machine.plug(address);
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.address == address) {
            device.present |= plugged.is_ok();
        }
        Ok(plugged)
    }

    /// GROUP_GET_DEVICE_FD.
    pub(super) fn open_device(&mut self, name: &DeviceName) -> Called {
        let address = self.device(&name.device)?.address;
        let group = self.group_file(&name.device)?;
        Ok(group.and_then(|group| {
            let fd = self
                .machine
                .caller()
                .open_device(group, &address.to_string())?;
            self.open.insert(name.device.to_string(), fd);
            Ok(())
        }))
    }

    pub(super) fn close_device(&mut self, name: &DeviceName) -> Called {
        let fd = self.device_file(&name.device)?;
        Ok(fd.and_then(|fd| {
            self.machine.caller().close(fd)?;
            self.open.remove(name.device.as_str());
            Ok(())
        }))
    }

    /// The descriptor of a device; EBADF if it is not open.
    fn device_file(&self, name: &Located<String>) -> Called<i32> {
        self.device(name)?;
        Ok(self.open.get(name.as_str()).copied().ok_or(Errno::EBADF))
    }

    /// An ioctl about `index` with a structure of `argsz` bytes; what comes back.
    fn ask(&mut self, fd: i32, cmd: u32, argsz: u32, index: u32) -> Result<Vec<u8>, Errno> {
        let mut user = UserBuffer::new(vec![0; ROOM]);
        user.bytes[..4].copy_from_slice(&argsz.to_le_bytes());
        user.bytes[8..12].copy_from_slice(&index.to_le_bytes());
        let (pid, at) = (self.machine.pid, user.at.0);
        self.machine.vfio.ioctl(pid, fd, cmd, at, &mut user)?;
        Ok(user.bytes)
    }

    pub(super) fn region_info(&mut self, info: &RegionInfo, seen: &mut Seen) -> Called {
        let fd = self.device_file(&info.device)?;
        let cmd = abi::DEVICE_GET_REGION_INFO;
        let answer = fd.and_then(|fd| self.ask(fd, cmd, ROOM as u32, info.region.index()));
        Ok(answer.map(|bytes| seen.value = region_field(&bytes, *info.field)))
    }

    pub(super) fn irq_info(&mut self, info: &IrqInfo, seen: &mut Seen) -> Called {
        let index = names::within(Some(&info.index), 0, 0..=u64::from(u32::MAX))? as u32;
        let fd = self.device_file(&info.device)?;
        let answer = fd.and_then(|fd| self.ask(fd, abi::DEVICE_GET_IRQ_INFO, IRQ_INFO, index));
        let at = match *info.field {
            IrqField::Flags => 4,
            IrqField::Count => 12,
            IrqField::CapOffset => 16,
        };
        Ok(answer.map(|bytes| seen.value = Some(word(&bytes, at).into())))
    }

    pub(super) fn read_region(&mut self, read: &ReadRegion, seen: &mut Seen) -> Called {
        let offset = names::within(Some(&read.offset), 0, 0..=u64::from(u32::MAX))?;
        let fd = self.device_file(&read.device)?;
        let (pid, at) = (self.machine.pid, read.region.file_offset(offset));
        let bytes = fd.and_then(|fd| self.machine.vfio.pread(pid, fd, at, 4));
        Ok(bytes.map(|bytes| seen.value = Some(word(&bytes, 0).into())))
    }

    pub(super) fn write_region(&mut self, write: &WriteRegion) -> Called {
        let word = |number| names::within(Some(number), 0, 0..=u64::from(u32::MAX));
        let (offset, value) = (word(&write.offset)?, word(&write.value)? as u32);
        let fd = self.device_file(&write.device)?;
        let (pid, at) = (self.machine.pid, write.region.file_offset(offset));
        let bytes = value.to_le_bytes();
        Ok(fd.and_then(|fd| self.machine.vfio.pwrite(pid, fd, at, &bytes)))
    }

    /// The interrupts of what devices have just done are handled.
    pub(in super::super) fn run_event_threads(&mut self) {
        self.machine.vfio.run_event_threads();
    }
}

/// A number of `struct vfio_region_info`, or of a capability behind it.
fn region_field(bytes: &[u8], field: RegionField) -> Option<u64> {
    const NEXT: usize = 4;
    if field == RegionField::Size {
        return Some(u64::from(word(bytes, 16)) | u64::from(word(bytes, 20)) << 32);
    }
    let mut at = word(bytes, 12) as usize;
    // Each capability is behind the one before.
    while at != 0 {
        let id = half(bytes, at);
        match field {
            RegionField::Type if id == CAP_TYPE => return Some(word(bytes, at + 8).into()),
            RegionField::Subtype if id == CAP_TYPE => return Some(word(bytes, at + 12).into()),
            RegionField::Capability if id != CAP_TYPE && id != CAP_SPARSE_MMAP => {
                return Some(id.into());
            }
            _ => {}
        }
        let next = word(bytes, at + NEXT) as usize;
        if next <= at {
            return None;
        }
        at = next;
    }
    None
}

//! System calls of a scenario, and which of their steps is to fail.

use iommu_core::uapi::{
    CacheInvalidateInfo, InvalidateScope, PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig,
};
use iommu_core::{Errno, FaultMode, GroupId};
use vfio_type1::api::{Mapping, Rights, pasid_table_bytes};

use super::super::file::Access;
use super::super::machine::Seen;
use super::super::names;
use super::super::source::{Diagnostic, Located, Number};
use super::super::step::{
    Attach, CacheInvalidate, DeviceName, Fail, InvalidateScope as Scope, MapDma, Operation,
    PasidTableConfig as Asked, SetPasidTable, UnmapDma,
};
use super::super::tables::PAGE;
use super::{Device, Linux, errno};

/// What a call gave: an error of the kernel is a result, a mistake of the file is not.
pub(super) type Called<T = ()> = Result<Result<T, Errno>, Diagnostic>;

impl Linux {
    /// Carries out a system call, with what is to fail.
    pub(in super::super) fn call(
        &mut self,
        operation: Operation<'_>,
        fail: Option<&Located<Fail>>,
        seen: &mut Seen,
    ) -> Result<(), Diagnostic> {
        if let Some(fail) = fail {
            let mode = self.fault_mode(operation, fail)?;
            self.fail(mode);
        }
        let before = self.machine.control().bug;
        let result = self.perform(operation, seen)?;
        let control = self.machine.control();
        seen.failed_step = control.faults.fired();
        seen.bug = control.bug.filter(|_| before.is_none());
        seen.result = Some(result);
        self.fail(FaultMode::Off);
        Ok(())
    }

    fn fail(&mut self, mode: FaultMode) {
        self.machine.fail(mode);
    }

    /// Which step is meant: a rehearsal on a copy tells which there are.
    fn fault_mode(
        &self,
        operation: Operation<'_>,
        fail: &Located<Fail>,
    ) -> Result<FaultMode, Diagnostic> {
        let mut rehearsal = self.clone();
        rehearsal.fail(FaultMode::Count);
        let _as_it_is = rehearsal.perform(operation, &mut Seen::default())?;
        let steps = rehearsal.machine.control().faults.steps().to_vec();
        let errno = match &fail.errno {
            None => None,
            Some(name) => Some(errno(name)?),
        };
        let places: Vec<usize> = match &fail.step {
            None => (0..steps.len()).collect(),
            Some(name) => {
                let mut distinct = steps.clone();
                distinct.sort_unstable();
                distinct.dedup();
                names::known("step that can fail", name, distinct.into_iter())?;
                (0..steps.len()).filter(|at| steps[*at] == **name).collect()
            }
        };
        let nth = fail.nth.as_ref().map_or(1, |nth| nth.0);
        let place = nth.checked_sub(1).and_then(|at| places.get(at as usize));
        let place = place.ok_or_else(|| {
            let message = format!("there is no such step: the operation has {}", places.len());
            let span = fail.nth.as_ref().map_or_else(|| fail.span(), Located::span);
            Diagnostic::new(message, span, "counted from 1")
        })?;
        Ok(FaultMode::Nth {
            n: *place as u64,
            errno,
        })
    }

    fn perform(&mut self, operation: Operation<'_>, seen: &mut Seen) -> Called {
        match operation {
            Operation::Attach(attach) => self.attach(attach),
            Operation::Detach(device) => self.detach(device),
            Operation::Remove(device) => self.remove(device),
            Operation::Plug(device) => self.plug(device),
            Operation::OpenDevice(device) => self.open_device(device),
            Operation::CloseDevice(device) => self.close_device(device),
            Operation::RegionInfo(info) => self.region_info(info, seen),
            Operation::IrqInfo(info) => self.irq_info(info, seen),
            Operation::ReadRegion(read) => self.read_region(read, seen),
            Operation::WriteRegion(write) => self.write_region(write),
            Operation::MapDma(map) => self.map(map),
            Operation::UnmapDma(unmap) => self.unmap(unmap),
            Operation::SetPasidTable(set) => {
                let container = self.container(&set.container)?;
                let bytes = self.pasid_table_bytes(set)?;
                let mut caller = self.machine.caller();
                Ok(bytes.and_then(|bytes| caller.set_pasid_table_raw(container, bytes)))
            }
            Operation::UnsetPasidTable(unset) => {
                let container = self.container(&unset.container)?;
                Ok(self.machine.caller().unset_pasid_table(container))
            }
            Operation::CacheInvalidate(invalidate) => {
                let container = self.container(&invalidate.container)?;
                let info = invalidation(invalidate)?;
                Ok(self.machine.caller().cache_invalidate(container, &info))
            }
            Operation::BindMsi(bind) => {
                let container = self.container(&bind.container)?;
                let (iova, guest) = (bind.iova.0, bind.guest.0);
                let mut caller = self.machine.caller();
                Ok(caller.bind_msi(container, iova, guest, PAGE))
            }
            Operation::UnbindMsi(unbind) => {
                let container = self.container(&unbind.container)?;
                let iova = unbind.iova.0;
                Ok(self.machine.caller().unbind_msi(container, iova))
            }
            _ => Ok(Ok(())),
        }
    }

    /// The group of a device that is there.
    pub(super) fn group_of(&self, device: &Device) -> Option<GroupId> {
        if !device.present {
            return None;
        }
        let place = self.machine.place(device.address);
        let device = self.machine.vfio.core().device(place.device);
        device.map(|device| device.group)
    }

    /// The descriptor of a device's group; ENODEV for a device that is gone.
    pub(super) fn group_file(&mut self, name: &Located<String>) -> Called<i32> {
        let Device {
            address, present, ..
        } = *self.device(name)?;
        Ok(if present {
            self.machine.group(address)
        } else {
            Err(Errno::ENODEV)
        })
    }

    fn attach(&mut self, attach: &Attach) -> Called {
        let container = self.container(&attach.container)?;
        let fd = match self.group_file(&attach.device)? {
            Ok(fd) => fd,
            Err(errno) => return Ok(Err(errno)),
        };
        let kind = self.iommu;
        let mut result = self.machine.caller().set_container(fd, container);
        if result.is_ok() && self.type1(container).is_none() {
            result = self.machine.caller().set_iommu(container, kind);
            if result.is_err() {
                // What a VMM takes back.
                let _left = self.machine.caller().unset_container(fd);
            }
        }
        Ok(result)
    }

    fn detach(&mut self, name: &DeviceName) -> Called {
        let fd = self.group_file(&name.device)?;
        Ok(fd.and_then(|fd| self.machine.caller().unset_container(fd)))
    }

    /// A device is unplugged; the last one of a group takes the group with it.
    fn remove(&mut self, name: &DeviceName) -> Called {
        let fd = self.group_file(&name.device)?;
        let Device {
            address, present, ..
        } = *self.device(&name.device)?;
        if !present {
            return Ok(Err(Errno::ENODEV));
        }
        let id = self.machine.place(address).device;
        let group = self.group_of(self.device(&name.device)?);
        let same = |other: &&Device| other.present && self.group_of(other) == group;
        let is_last = self.devices.iter().filter(same).count() == 1;
        let removed = fd.and_then(|fd| {
            if is_last {
                // It may be in no container.
                let _not_in = self.machine.caller().unset_container(fd);
                self.machine.caller().close(fd)?;
            }
            self.machine.vfio.unbind(id)?;
            self.machine.vfio.core_mut().remove_device(id);
            Ok(())
        });
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.address == address) {
            device.present &= removed.is_err();
        }
        Ok(removed)
    }

    fn map(&mut self, map: &MapDma) -> Called {
        let container = self.container(&map.container)?;
        let base = self.tables.guest.base;
        let (at, bytes) = self.memory;
        let guest = map.guest.as_ref().map_or(base, |guest| guest.0);
        let offset = guest.wrapping_sub(base);
        if offset >= bytes {
            let message = format!("{guest:#x} is not in the guest's memory");
            let span = map
                .guest
                .as_ref()
                .map_or_else(|| map.container.span(), Located::span);
            let label = format!("expected {base:#x} to {:#x}", base + bytes - 1);
            return Err(Diagnostic::new(message, span, label));
        }
        let mapping = Mapping {
            iova: map.iova.as_ref().map_or(guest, |iova| iova.0),
            vaddr: at + offset,
            size: map.size.as_ref().map_or(bytes - offset, |size| size.0),
            rights: match map.access {
                Access::Read => Rights::Read,
                Access::Write => Rights::Write,
                Access::ReadWrite => Rights::ReadWrite,
                Access::None => {
                    let message = "MAP_DMA without access";
                    return Err(Diagnostic::new(message, map.container.span(), "for this"));
                }
            },
        };
        Ok(self.machine.caller().map(container, mapping))
    }

    fn unmap(&mut self, unmap: &UnmapDma) -> Called {
        let container = self.container(&unmap.container)?;
        let (iova, size) = (unmap.iova.0, unmap.size.0);
        let result = self.machine.caller().unmap(container, iova, size);
        Ok(result.map(drop))
    }

    /// What SET_PASID_TABLE is called with; ENOTTY without the series.
    fn pasid_table_bytes(&self, set: &SetPasidTable) -> Result<Result<Vec<u8>, Errno>, Diagnostic> {
        let (config, base_ptr) = match (&set.table, &set.config) {
            (Some(table), None) => (PasidConfig::TRANSLATE, self.tables.stage1(table)?.cd_at[0]),
            (None, Some(config)) => match **config {
                Asked::Bypass => (PasidConfig::BYPASS, 0),
                Asked::Abort => (PasidConfig::ABORT, 0),
            },
            (Some(table), Some(config)) => {
                let message = "a table, or another configuration";
                return Err(Diagnostic::new(message, config.span(), "as well as")
                    .and(table.span(), "this table"));
            }
            (None, None) => {
                let message = "which table?";
                return Err(
                    Diagnostic::new(message, set.container.span(), "for this container")
                        .help("say table = NAME, or config = \"bypass\" or \"abort\""),
                );
            }
        };
        let byte = |number: Option<&Located<Number>>| names::within(number, 0, 0..=0xff);
        let config = PasidTableConfig {
            version: 1,
            format: PASID_FORMAT_SMMUV3,
            base_ptr: set.base_ptr.as_ref().map_or(base_ptr, |base| base.0),
            pasid_bits: byte(set.pasid_bits.as_ref())? as u8,
            config: match &set.config_value {
                Some(_) => PasidConfig(byte(set.config_value.as_ref())? as u8),
                None => config,
            },
            smmuv3_version: 1,
            s1fmt: byte(set.s1fmt.as_ref())? as u8,
            s1dss: byte(set.s1dss.as_ref())? as u8,
        };
        let Some(series) = self.machine.control().semantics.series else {
            return Ok(Err(Errno::ENOTTY));
        };
        let word = |number, default| names::within(number, default, 0..=u64::from(u32::MAX));
        let flags = word(set.flags.as_ref(), SET.into())? as u32;
        let mut bytes = pasid_table_bytes(series.io, flags, Some(&config));
        let argsz = word(set.argsz.as_ref(), bytes.len() as u64)? as u32;
        bytes[..4].copy_from_slice(&argsz.to_le_bytes());
        Ok(Ok(bytes))
    }
}

/// Flag SET of SET_PASID_TABLE.
const SET: u32 = 1;

/// What CACHE_INVALIDATE is called with.
fn invalidation(asked: &CacheInvalidate) -> Result<CacheInvalidateInfo, Diagnostic> {
    let flags = u32::from(asked.asid.is_some()) << 1;
    let archid = names::within(asked.asid.as_ref(), 0, 0..=0xffff)? as u32;
    let number = |number: Option<&Located<Number>>, default| number.map_or(default, |n| n.0);
    let scope = match *asked.scope {
        Scope::Domain => InvalidateScope::Domain,
        Scope::Pasid => InvalidateScope::Pasid {
            flags,
            archid,
            pasid: 0,
        },
        Scope::Address => InvalidateScope::Addr {
            flags,
            archid,
            pasid: 0,
            addr: number(asked.address.as_ref(), 0),
            granule_size: number(asked.granule.as_ref(), PAGE),
            nb_granules: number(asked.count.as_ref(), 1),
        },
    };
    Ok(CacheInvalidateInfo {
        cache: names::within(asked.caches.as_ref(), 1, 0..=0xff)? as u8,
        scope,
    })
}

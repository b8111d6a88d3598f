//! Properties of VFIO, named by their number in the reference, over a driver without hardware.

mod books;
mod containers;
mod device_regions;
mod exhaustive;
mod fault_ring;
mod invalidate;
mod iommufd;
mod iommufd_areas;
mod iommufd_devices;
mod maps;
mod msi;
mod set_args;
mod set_domains;
mod threads;

use iommu_core::ops::DomainKind;
use iommu_core::semantics::{SeriesIo, SeriesVfio};
use iommu_core::testing::{Fw, Stages, TableDouble};
use iommu_core::uapi::{PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig};
use iommu_core::{
    CoreConfig, Defect, DeviceConfig, DeviceId, DomainId, Errno, FaultMode, GroupId, IommuCore,
    IommuOps, Kernel, Recording, Semantics, UserBuffer,
};

use crate::api::{IommuType, Mapping, Rights};
use crate::{HostConfig, Pid, PinTracking, RegionConfig, SeriesNumbers, Type1, Vfio};

const PAGE: u64 = 0x1000;

/// A machine and one process on it.
#[derive(Debug, Clone, PartialEq)]
struct Bench {
    vfio: Vfio<TableDouble>,
    pid: Pid,
    devices: Vec<DeviceId>,
}

impl Bench {
    /// One device, alone in its group, for each entry: behind the instance it says.
    fn new(semantics: Semantics, instances: &[usize]) -> Self {
        let firmware: Vec<Fw> = instances.iter().map(|instance| Fw::on(*instance)).collect();
        Self::with(semantics, &firmware)
    }

    fn with(semantics: Semantics, firmware: &[Fw]) -> Self {
        let config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let instances = firmware.iter().map(|device| device.instance + 1).max();
        let instances = vec![Stages::Both; instances.unwrap_or(1)];
        let sizes = 1 << 12 | 1 << 21 | 1 << 30;
        let mut core = IommuCore::new(TableDouble::new(semantics, &instances, sizes), config);
        let devices: Vec<DeviceId> = firmware
            .iter()
            .enumerate()
            .map(|(index, firmware)| {
                let config = DeviceConfig::pci(&format!("0000:00:{index:02x}.0"));
                core.add_device(config, firmware).unwrap()
            })
            .collect();
        let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
        for device in &devices {
            vfio.bind(*device).unwrap();
        }
        vfio.host_mut().track_pins(PinTracking::EachFrame);
        let pid = vfio.spawn();
        Self { vfio, pid, devices }
    }

    fn group_id(&self, index: usize) -> GroupId {
        let device = self.vfio.core().device(self.devices[index]).unwrap();
        device.group
    }

    /// The file of a device's group.
    fn open_group(&mut self, index: usize) -> i32 {
        let group = self.group_id(index);
        self.vfio.open_group(self.pid, group).unwrap()
    }

    fn open_container(&mut self) -> i32 {
        self.vfio.open_container(self.pid).unwrap()
    }

    /// A container with the groups of these devices in it, joined in this order.
    fn container(&mut self, kind: IommuType, indexes: &[usize]) -> (i32, Vec<i32>) {
        let container = self.open_container();
        let mut groups = Vec::new();
        for (count, index) in indexes.iter().enumerate() {
            let group = self.open_group(*index);
            self.call().set_container(group, container).unwrap();
            if count == 0 {
                self.call().set_iommu(container, kind).unwrap();
            }
            groups.push(group);
        }
        (container, groups)
    }

    fn call(&mut self) -> crate::api::Caller<'_, TableDouble> {
        self.vfio.caller(self.pid)
    }

    /// Ordinary memory of the process.
    fn memory(&mut self, pages: u64) -> u64 {
        let config = RegionConfig::ordinary(pages * PAGE);
        self.vfio
            .host_mut()
            .map_memory(self.pid, &config, PAGE)
            .unwrap()
    }

    fn map(&mut self, container: i32, iova: u64, vaddr: u64, pages: u64) -> Result<(), Errno> {
        let mapping = Mapping {
            iova,
            vaddr,
            size: pages * PAGE,
            rights: Rights::ReadWrite,
        };
        self.call().map(container, mapping)
    }

    /// An ioctl on bytes at the usual address.
    fn raw(&mut self, fd: i32, cmd: u32, bytes: &[u8]) -> Result<u64, Errno> {
        let mut user = UserBuffer::new(bytes.to_vec());
        let at = user.at.0;
        self.vfio.ioctl(self.pid, fd, cmd, at, &mut user)
    }

    fn type1(&self, container: i32) -> &Type1 {
        let container = self.vfio.container(self.pid, container).unwrap();
        container.type1().unwrap()
    }

    /// Domains of the container, newest first.
    fn domains(&self, container: i32) -> Vec<DomainId> {
        self.type1(container).domains().map(|(id, _)| id).collect()
    }

    fn ops(&self) -> &TableDouble {
        self.vfio.core().ops()
    }

    fn fail(&mut self, mode: FaultMode) {
        let control = self.vfio.core_mut().ops_mut().control_mut();
        control.faults.set(mode);
    }

    fn record(&mut self) {
        let control = self.vfio.core_mut().ops_mut().control_mut();
        control.journal.set(Recording::On);
    }

    /// Domains of the recorded calls of this name, in order, with the result.
    fn recorded(&mut self, op: &str) -> Vec<(DomainId, Result<u64, Errno>)> {
        let calls = self.ops().control().journal.calls();
        calls
            .iter()
            .filter(|call| call.op == op)
            .filter_map(|call| Some((call.domain?, call.result)))
            .collect()
    }

    /// Where a device's domain leads, and what the guest's stage 1 is.
    fn table_of(&self, domain: DomainId) -> (Option<u64>, bool) {
        let (table, aborts) = self.ops().pasid_table(domain);
        (table.map(|table| table.base_ptr), aborts)
    }

    fn locked(&self) -> u64 {
        self.vfio.host().process(self.pid).locked_pages()
    }

    fn numbers(&self) -> SeriesNumbers {
        let series = self.ops().control().semantics.series.unwrap();
        SeriesNumbers::of(series.vfio)
    }

    fn io(&self) -> SeriesIo {
        self.ops().control().semantics.io().unwrap()
    }

    fn has(&self, defect: Defect) -> bool {
        self.ops().control().semantics.has(defect)
    }
}

fn config(kind: PasidConfig, base_ptr: u64) -> PasidTableConfig {
    PasidTableConfig {
        version: 1,
        format: PASID_FORMAT_SMMUV3,
        base_ptr,
        pasid_bits: 0,
        config: kind,
        smmuv3_version: 1,
        s1fmt: 0,
        s1dss: 0,
    }
}

/// SET(T).
fn translate(base_ptr: u64) -> PasidTableConfig {
    config(PasidConfig::TRANSLATE, base_ptr)
}

/// SET(B).
fn bypass() -> PasidTableConfig {
    config(PasidConfig::BYPASS, 0)
}

/// SET(A).
fn abort() -> PasidTableConfig {
    config(PasidConfig::ABORT, 0)
}

/// Every semantics with the series, with a name.
fn every_series() -> Vec<(String, Semantics)> {
    let mut all = vec![("fixed".to_owned(), Semantics::fixed())];
    for vfio in SeriesVfio::ALL {
        for io in SeriesIo::ALL {
            all.push((
                format!("{vfio:?} on {io:?}"),
                Semantics::posted_pair(vfio, io),
            ));
        }
    }
    all
}

/// Every released kernel, with a name.
fn every_kernel() -> Vec<(String, Semantics)> {
    Kernel::ALL
        .iter()
        .map(|kernel| (format!("{kernel:?}"), Semantics::kernel(*kernel)))
        .collect()
}

/// Both.
fn every_semantics() -> Vec<(String, Semantics)> {
    every_kernel().into_iter().chain(every_series()).collect()
}

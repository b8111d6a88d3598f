//! Machines that run Linux, as their builder makes them: what is asked for, and what is refused.

use smmu::spec::attrs::SteConfig;
use smmu_sim::linux::LinuxError;
use smmu_sim::prelude::*;

const fn slot(slot: u8) -> PciAddress {
    PciAddress::new(0, slot, 0)
}

/// Devices in groups of one and of two, behind two SMMUs.
fn machine(semantics: Semantics) -> LinuxMachine {
    LinuxMachine::builder(semantics)
        .device(slot(5), SmmuId(0))
        .device(slot(6), SmmuId(1))
        .device_beside(PciAddress::new(0, 6, 1), SmmuId(1), slot(6))
        .build()
        .unwrap()
}

#[test]
fn every_version_boots_and_devices_reach_what_their_container_maps() {
    let kernels = Kernel::ALL.map(Semantics::kernel);
    let posted = [SeriesVfio::V11, SeriesVfio::V13].map(Semantics::as_posted);
    for semantics in kernels
        .into_iter()
        .chain(posted)
        .chain([Semantics::fixed()])
    {
        let mut machine = machine(semantics);
        let fresh = machine.clone();
        let container = machine.open_container().unwrap();
        let buffer = machine.allocate(0x3000).unwrap();
        machine.attach(slot(5), container).unwrap();
        let iova = Iova::new(0x10_0000);
        machine.map(container, iova, buffer, 0x3000).unwrap();
        machine.attach(slot(6), container).unwrap();
        assert_eq!(
            machine.group(PciAddress::new(0, 6, 1)),
            machine.group(slot(6))
        );
        let pa = machine.frame(buffer + 0x2008);
        let devices: Vec<PciAddress> = machine.devices().map(|(address, _)| address).collect();
        assert_eq!(devices.len(), 3);
        for device in &devices {
            assert_eq!(machine.read(*device, iova.add(0x2008)).pa(), pa);
            assert_eq!(machine.write(*device, iova.add(0x3000)).pa(), None);
        }
        assert!(pa.is_some());
        assert_eq!(machine.unmap(container, iova, 0x3000), Ok(0x3000));
        for device in &devices {
            assert_eq!(machine.read(*device, iova).pa(), None);
        }
        machine.detach(slot(5)).unwrap();
        machine.detach(slot(6)).unwrap();
        assert_eq!(machine.detach(slot(6)), Err(Errno::EINVAL));
        assert!(machine.board().used_bytes() >= fresh.board().used_bytes());
    }
}

// The series: SET reaches every domain, UNSET takes it back, and steps can be counted and failed.
#[test]
fn a_guests_table_reaches_the_stes_of_every_domain() {
    let mut machine = machine(Semantics::fixed());
    let container = machine.open_container().unwrap();
    machine.attach(slot(5), container).unwrap();
    machine.attach(slot(6), container).unwrap();
    let configs = |machine: &LinuxMachine| {
        [slot(5), slot(6)].map(|device| machine.ste(device).unwrap().dw0.config())
    };
    assert_eq!(configs(&machine), [SteConfig::Stage2; 2]);
    machine.record(Recording::On);
    machine.fail(FaultMode::Count);
    let table = PasidTableConfig::translate(0x4000_1000);
    machine.set_pasid_table(container, &table).unwrap();
    assert!(machine.control().faults.count() > 2);
    machine.fail(FaultMode::Off);
    let set = machine.take_calls();
    let attached = set
        .iter()
        .filter(|call| call.op == "iommu:attach_pasid_table");
    assert_eq!(attached.count(), 2);
    assert_eq!(configs(&machine), [SteConfig::Nested; 2]);
    machine.unset_pasid_table(container).unwrap();
    assert_eq!(configs(&machine), [SteConfig::Stage2; 2]);
}

// A group whose backend cannot be had is not left in the container.
#[test]
fn an_attach_that_fails_leaves_the_group_outside() {
    // Without ownership a domain is first needed when the backend is chosen.
    let mut machine = machine(Semantics::kernel(Kernel::V5_10));
    let container = machine.open_container().unwrap();
    machine.fail(FaultMode::NthOf {
        name: "iommu:domain_alloc",
        n: 0,
        errno: None,
    });
    assert!(machine.attach(slot(5), container).is_err());
    machine.fail(FaultMode::Off);
    machine.attach(slot(5), container).unwrap();
}

#[test]
fn what_cannot_be_built_is_said_with_the_device() {
    let builder = || LinuxMachine::builder(Semantics::fixed());
    let part = SmmuConfig::qemu_11();
    for (builder, message) in [
        (
            builder()
                .device(slot(5), SmmuId(0))
                .device(slot(5), SmmuId(0)),
            "device 0000:00:05.0 is there twice",
        ),
        (
            builder().device_beside(slot(6), SmmuId(0), slot(5)),
            "device 0000:00:06.0 shares a group with 0000:00:05.0, which is not there",
        ),
        (
            builder().smmus([part]).device(slot(5), SmmuId(1)),
            "device 0000:00:05.0 is behind SMMU 1, and there are 1",
        ),
        (
            builder().device(slot(5), SmmuId(u32::MAX)),
            "device 0000:00:05.0 is behind SMMU 4294967295, and there are 64",
        ),
        (builder().tables(1 << 40, 1 << 12), "ENOMEM"),
        (
            builder().process_memory(1 << 40, 1 << 12),
            "regions at 0x10000000000 and 0x10000000000 overlap",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.to_string(), message);
        let kernels = matches!(error, LinuxError::Kernel(_));
        assert_eq!(error.errno() == Errno::ENODEV, !kernels);
    }
}

//! P131–P137: what a VMM makes of PCI topologies, containers and guests.

use arm_smmu_v3::{Driver, Firmware, Params, Platform, SmmuId};
use iommu_core::ops::DomainKind;
use iommu_core::semantics::{LaterGroup, PasidPolicy, SeriesVfio};
use iommu_core::{
    Control, CoreConfig, DeviceConfig, DeviceId, Errno, GroupId, Grouping, IommuCore, IommuOps,
    Iova, Kernel, MsiCookie, Semantics,
};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::spec::ste::Ste;
use smmu_sim::board::{Board, BoardConfig};
use smmu_sim::topology::{BridgeKind, GuestSte, Pci, SpaceId, VirtualIommu, Vmm, VmmError};
use vfio_type1::api::{Mapping, Rights};
use vfio_type1::{HostConfig, Pid, RegionConfig, Vfio};

const PAGE: u64 = 4096;
const TABLE: u64 = 0x4000_1000;
const OTHER: u64 = 0x4000_2000;

fn board(semantics: Semantics, smmus: usize) -> Board {
    let parts = vec![SmmuConfig::qemu_11(); smmus];
    Board::new(Control::new(semantics), &BoardConfig::new(parts)).unwrap()
}

/// A host of devices, each behind the SMMU named, alone in its group or with the one before.
struct Host {
    vfio: Vfio<Driver<Board>>,
    pid: Pid,
    devices: Vec<DeviceId>,
    memory: Vec<Mapping>,
}

#[derive(Clone, Copy, PartialEq)]
enum Companion {
    None,
    Previous,
}

fn stream(index: usize) -> StreamId {
    StreamId::new((index as u32 + 1) << 3)
}

impl Host {
    fn new(semantics: Semantics, places: &[(u32, Companion)]) -> Self {
        let smmus = places.iter().map(|(smmu, _)| smmu + 1).max().unwrap();
        let driver = Driver::probe(board(semantics, smmus as usize), Params::default(), smmus);
        let config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let mut core = IommuCore::new(driver.unwrap(), config);
        let mut devices: Vec<DeviceId> = Vec::new();
        for (index, (smmu, companion)) in places.iter().enumerate() {
            let firmware = Firmware::new(SmmuId(*smmu), stream(index));
            let grouping = match companion {
                Companion::None => Grouping::Own,
                Companion::Previous => Grouping::With(devices[index - 1]),
            };
            let device = DeviceConfig {
                grouping,
                ..DeviceConfig::pci(&format!("0000:00:{index:02x}.0"))
            };
            devices.push(core.add_device(device, &firmware).unwrap());
        }
        let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
        for device in &devices {
            vfio.bind(*device).unwrap();
        }
        let pid = vfio.spawn();
        let size = 16 * PAGE;
        let region = RegionConfig::ordinary(size);
        let vaddr = vfio.host_mut().map_memory(pid, &region, PAGE).unwrap();
        let memory = vec![Mapping {
            iova: 0x4000_0000,
            vaddr,
            size,
            rights: Rights::ReadWrite,
        }];
        Self {
            vfio,
            pid,
            devices,
            memory,
        }
    }

    fn vmm(&mut self, guest: Pci) -> Vmm<'_, Driver<Board>> {
        let memory = self.memory.clone();
        Vmm::new(
            &mut self.vfio,
            self.pid,
            VirtualIommu::Nested,
            guest,
            memory,
        )
    }
}

/// STE.Config and S1ContextPtr of a device.
fn ste(vmm: &Vmm<'_, Driver<Board>>, smmu: u32, index: usize) -> (u8, u64) {
    let driver = vmm.vfio().core().ops();
    let pa = driver.ste_pa(SmmuId(smmu), stream(index)).unwrap();
    let mut words = [0; 8];
    driver.platform().read_words(pa, &mut words);
    let ste = Ste::from_words(words);
    (ste.dw0.config().0, ste.dw0.s1contextptr() << 6)
}

fn group(vmm: &Vmm<'_, Driver<Board>>, device: DeviceId) -> GroupId {
    vmm.vfio().core().device(device).unwrap().group
}

/// Two functions of a guest's root complex.
fn apart() -> Pci {
    let mut pci = Pci::default();
    pci.function(1, 0, None);
    pci.function(2, 0, None);
    pci
}

/// Two functions behind a conventional bridge of the guest's.
fn bridged() -> Pci {
    let mut pci = Pci::default();
    let bridge = pci.bridge(BridgeKind::PcieToPci, 1, None);
    pci.function(1, 0, Some(bridge));
    pci.function(2, 0, Some(bridge));
    pci
}

const ALONE: [(u32, Companion); 2] = [(0, Companion::None), (0, Companion::None)];

fn every_series() -> Vec<Semantics> {
    let posted = SeriesVfio::ALL.map(Semantics::as_posted);
    posted.into_iter().chain([Semantics::fixed()]).collect()
}

/// Both devices assigned.
fn assign_both(vmm: &mut Vmm<'_, Driver<Board>>, devices: &[DeviceId]) {
    for (function, device) in devices.iter().enumerate() {
        vmm.assign(*device, function).unwrap();
    }
}

// linux-iommu.md P131, 7.2.
#[test]
fn p131_devices_of_two_requester_ids_get_two_containers_and_set_touches_one() {
    for semantics in every_series() {
        let mut host = Host::new(semantics, &ALONE);
        let devices = host.devices.clone();
        let mut vmm = host.vmm(apart());
        assign_both(&mut vmm, &devices);
        let containers = devices
            .iter()
            .map(|device| vmm.container_of(group(&vmm, *device)).unwrap());
        let containers: Vec<i32> = containers.collect();
        assert_ne!(containers[0], containers[1]);
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(TABLE));
        assert_eq!(ste(&vmm, 0, 0), (7, TABLE));
        assert_eq!(ste(&vmm, 0, 1).0, 6);
        assert!(vmm.messages().is_empty());
    }
}

// linux-iommu.md P132, 7.4.
#[test]
fn p132_two_groups_behind_a_bridge_share_a_container_and_its_domains_follow_the_smmus() {
    for semantics in every_series() {
        for (second, domains) in [(0, 1), (1, 2)] {
            let places = [(0, Companion::None), (second, Companion::None)];
            let mut host = Host::new(semantics.clone(), &places);
            let (devices, pid) = (host.devices.clone(), host.pid);
            let mut vmm = host.vmm(bridged());
            assign_both(&mut vmm, &devices);
            let space = vmm.space(0);
            assert_eq!(vmm.space(1), space);
            let [container] = vmm.containers(space) else {
                panic!("one container");
            };
            let view = vmm.vfio().container(pid, *container).unwrap();
            assert_eq!(view.groups().len(), 2);
            assert_eq!(view.type1().unwrap().domains().count(), domains);
            // Both see one guest CD table, as the guest sees one StreamID.
            vmm.guest_changed_ste(devices[0], GuestSte::Stage1(TABLE));
            assert_eq!(ste(&vmm, 0, 0), (7, TABLE));
            assert_eq!(ste(&vmm, second, 1), (7, TABLE));
        }
    }
}

// linux-iommu.md 7.4: why the only container of several groups is one whose guest cannot work.
#[test]
fn p132_the_guest_behind_a_bridge_hits_its_own_assertion_or_refuses_the_second_device() {
    for (kernel, dies) in [
        (Kernel::V5_10, true),
        (Kernel::V6_1, false),
        (Kernel::V7_2, false),
    ] {
        let board = board(Semantics::kernel(kernel), 1);
        let mut guest = Driver::probe(board, Params::default(), 1).unwrap();
        let pci = bridged();
        let mut refused = 0;
        for function in 0..2 {
            let alias = StreamId::new(pci.requester_id(function));
            let device = DeviceId(function as u32);
            let firmware = Firmware::new(SmmuId(0), alias);
            if guest.probe_device(device, &firmware).is_err() {
                refused += 1;
                continue;
            }
            let domain = iommu_core::DomainId(function as u32);
            let attached = guest
                .domain_alloc(domain, DomainKind::Dma, Some(device))
                .and_then(|()| guest.attach_dev(domain, device, None));
            assert_eq!(attached.is_err(), dies && function == 1);
        }
        assert_eq!(guest.control().bug.is_some(), dies, "{kernel:?}");
        assert_eq!(refused, i32::from(!dies), "{kernel:?}");
    }
}

// linux-iommu.md P133, 7.2.
#[test]
fn p133_a_group_in_two_address_spaces_is_refused() {
    for semantics in every_series() {
        let places = [(0, Companion::None), (0, Companion::Previous)];
        let mut host = Host::new(semantics, &places);
        let devices = host.devices.clone();
        let mut vmm = host.vmm(apart());
        vmm.assign(devices[0], 0).unwrap();
        let refused = vmm.assign(devices[1], 1).unwrap_err();
        assert_eq!(refused, VmmError::SeveralSpaces(group(&vmm, devices[1])));
        assert!(
            refused
                .to_string()
                .contains("used in multiple address spaces")
        );
        // Behind one bridge they have one.
        let places = [(0, Companion::None), (0, Companion::Previous)];
        let mut host = Host::new(Semantics::fixed(), &places);
        let devices = host.devices.clone();
        assign_both(&mut host.vmm(bridged()), &devices);
    }
}

// linux-iommu.md P134, 7.2: the old container is asked first, its refusal not looked into.
#[test]
fn p134_a_refused_container_is_followed_by_a_new_one_in_the_same_space() {
    for semantics in every_series() {
        // The kernel refuses whoever joins a container with a table: policy (B).
        let mut host = Host::new(semantics, &ALONE);
        let devices = host.devices.clone();
        let control = host.vfio.core_mut().ops_mut().control_mut();
        let policy = PasidPolicy::OneGroup {
            refusal: Errno::EINVAL,
            later: LaterGroup::Refuse(Errno::EBUSY),
        };
        if let Some(series) = &mut control.semantics.series {
            series.policy = policy;
        }
        let mut vmm = host.vmm(bridged());
        vmm.assign(devices[0], 0).unwrap();
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(TABLE));
        vmm.assign(devices[1], 1).unwrap();
        assert_eq!(vmm.containers(vmm.space(1)).len(), 2);
        assert_ne!(
            vmm.container_of(group(&vmm, devices[0])),
            vmm.container_of(group(&vmm, devices[1]))
        );
    }
}

// linux-iommu.md P135 (inferred), 7.3.
#[test]
fn p135_an_ste_that_becomes_invalid_is_passed_over() {
    for semantics in every_series() {
        let mut host = Host::new(semantics, &ALONE);
        let devices = host.devices.clone();
        let mut vmm = host.vmm(apart());
        vmm.assign(devices[0], 0).unwrap();
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(TABLE));
        vmm.guest_changed_ste(devices[0], GuestSte::Unusable);
        assert_eq!(ste(&vmm, 0, 0), (7, TABLE));
        assert!(vmm.messages().is_empty());
    }
}

// linux-iommu.md P136, 7.3 and 1.5.
#[test]
fn p136_a_table_change_without_abort_or_bypass_between_is_refused_and_only_printed() {
    for semantics in every_series() {
        let mut host = Host::new(semantics, &ALONE);
        let devices = host.devices.clone();
        let mut vmm = host.vmm(apart());
        vmm.assign(devices[0], 0).unwrap();
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(TABLE));
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(OTHER));
        assert_eq!(ste(&vmm, 0, 0), (7, TABLE));
        assert!(vmm.messages()[0].contains("EINVAL"), "{:?}", vmm.messages());
        vmm.guest_changed_ste(devices[0], GuestSte::Bypass);
        vmm.guest_changed_ste(devices[0], GuestSte::Stage1(OTHER));
        assert_eq!(ste(&vmm, 0, 0), (7, OTHER));
    }
}

// linux-iommu.md P137, 7.3.
#[test]
fn p137_a_second_devices_vector_of_the_same_number_is_never_bound() {
    for semantics in every_series() {
        let mut host = Host::new(semantics, &ALONE);
        let (devices, pid) = (host.devices.clone(), host.pid);
        let mut vmm = host.vmm(bridged());
        assign_both(&mut vmm, &devices);
        let doorbells = [(0xf_0000, 0x808_0000), (0xf_1000, 0x809_0000)];
        for (device, doorbell) in devices.iter().zip(doorbells) {
            vmm.guest_enabled_vector(*device, 0, doorbell).unwrap();
        }
        let container = vmm.container_of(group(&vmm, devices[0])).unwrap();
        let view = vmm.vfio().container(pid, container).unwrap();
        let (domain, _) = view.type1().unwrap().domains().next().unwrap();
        let cookie = vmm.vfio().core().msi_cookie(domain);
        let Some(MsiCookie::Nested { bindings }) = cookie else {
            panic!("{cookie:?}");
        };
        let bound: Vec<Iova> = bindings.iter().map(|binding| binding.giova).collect();
        assert_eq!(bound, [Iova(doorbells[0].0)]);
    }
}

#[test]
fn without_a_virtual_iommu_all_devices_share_one_container() {
    let mut host = Host::new(Semantics::kernel(Kernel::V6_1), &ALONE);
    let (devices, memory) = (host.devices.clone(), host.memory.clone());
    let mut vmm = Vmm::new(
        &mut host.vfio,
        host.pid,
        VirtualIommu::Absent,
        apart(),
        memory,
    );
    assign_both(&mut vmm, &devices);
    assert_eq!(vmm.containers(SpaceId::Memory).len(), 1);
}

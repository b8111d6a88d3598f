//! P71–P86: groups join and leave, and what is taken back.

use iommu_core::ops::{ResvRegion, ResvType};
use iommu_core::semantics::{DomainAlloc, GroupLayer, NestingType, Ownership, UserVaddr};
use iommu_core::testing::Stages;
use iommu_core::{Errno, FaultMode, Iova, MsiCookie};

use super::*;
use crate::abi::{self, group_flags};

fn region(start: u64, length: u64, kind: ResvType) -> ResvRegion {
    ResvRegion {
        start: Iova(start),
        length,
        kind,
    }
}

#[test]
fn p71_a_group_that_is_in_a_container_cannot_join_again() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, groups) = bench.container(IommuType::Type1V2, &[0]);
        let before = bench.clone();
        let again = bench.call().set_container(groups[0], container);
        assert_eq!(again, Err(Errno::EINVAL), "{name}");
        assert_eq!(bench, before, "{name}");
    }
}

/// Fails a second group's attach at each step and compares the container and all counters.
#[test]
fn p72_failed_attach_changes_nothing() {
    for (name, semantics) in every_semantics() {
        for second in [0, 1] {
            let mut bench = Bench::new(semantics.clone(), &[0, second]);
            let (container, _) = bench.container(IommuType::Type1V2, &[0]);
            let vaddr = bench.memory(4);
            bench.map(container, 0x10_0000, vaddr, 4).unwrap();
            let group = bench.open_group(1);
            let mut rehearsal = bench.clone();
            rehearsal.fail(FaultMode::Count);
            rehearsal.call().set_container(group, container).unwrap();
            let steps = rehearsal.ops().control().faults.count();
            assert!(steps > 5, "{name}: {steps} steps");
            let mut refused = 0;
            for n in 0..steps {
                let mut attempt = bench.clone();
                attempt.fail(FaultMode::Nth { n, errno: None });
                if attempt.call().set_container(group, container).is_ok() {
                    // A step whose failure is absorbed: a trial of an older domain.
                    continue;
                }
                refused += 1;
                let step = attempt.ops().control().faults.fired();
                assert_eq!(
                    attempt.type1(container),
                    bench.type1(container),
                    "{name}: {step:?} fails"
                );
                assert_eq!(attempt.vfio.host(), bench.vfio.host(), "{name}: {step:?}");
                // No domain is left over but a blocking one, which the group keeps once made.
                let left = attempt.ops().domain_count() - bench.ops().domain_count();
                assert!(left <= 1, "{name}: {step:?} leaves {left} domains");
            }
            assert!(refused > 4, "{name}: {refused} failures");
        }
    }
}

#[test]
fn p73_a_mapping_over_a_reserved_region_refuses_the_group_unless_it_is_relaxable() {
    for (name, semantics) in every_semantics() {
        for (kind, expected) in [
            (ResvType::Reserved, Err(Errno::EINVAL)),
            (ResvType::Direct, Err(Errno::EINVAL)),
            (ResvType::DirectRelaxable, Ok(())),
        ] {
            let special = Fw {
                instance: 0,
                resv: vec![region(0x10_1000, 0x1000, kind)],
            };
            let mut bench = Bench::with(semantics.clone(), &[Fw::on(0), special]);
            let (container, _) = bench.container(IommuType::Type1V2, &[0]);
            let vaddr = bench.memory(4);
            bench.map(container, 0x10_0000, vaddr, 4).unwrap();
            let group = bench.open_group(1);
            let result = bench.call().set_container(group, container);
            assert_eq!(result, expected, "{name}: {kind:?}");
        }
    }
}

#[test]
fn p74_a_group_whose_reserved_regions_cover_everything_is_refused() {
    for (name, semantics) in every_semantics() {
        let special = Fw {
            instance: 0,
            resv: vec![region(0, 1 << 48, ResvType::Reserved)],
        };
        let mut bench = Bench::with(semantics, &[special]);
        let group = bench.open_group(0);
        let container = bench.open_container();
        bench.call().set_container(group, container).unwrap();
        let result = bench.call().set_iommu(container, IommuType::Type1V2);
        assert_eq!(result, Err(Errno::EINVAL), "{name}");
    }
}

#[test]
fn p75_groups_behind_one_smmu_share_a_domain_and_others_have_copies_of_every_mapping() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics.clone(), &[0, 0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        let domains: Vec<_> = bench.type1(container).domains().collect();
        assert_eq!(domains.len(), 1, "{name}");
        assert_eq!(
            domains[0].1,
            [bench.group_id(1), bench.group_id(0)],
            "{name}"
        );

        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        let vaddr = bench.memory(3);
        bench.map(container, 0x10_0000, vaddr, 3).unwrap();
        let domains = bench.domains(container);
        let tables: Vec<_> = domains.iter().map(|d| bench.ops().mappings(*d)).collect();
        assert_eq!(tables.len(), 2, "{name}");
        assert_eq!(tables[0], tables[1], "{name}");
        assert_eq!(tables[0].len(), 3, "{name}");
    }
}

#[test]
fn p76_domains_are_tried_newest_first_and_the_trial_domain_is_freed() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1, 0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        let domains = bench.domains(container);
        let third = bench.open_group(2);
        let before = bench.ops().domain_count();
        bench.record();
        bench.call().set_container(third, container).unwrap();
        let device = bench.devices[2];
        let calls = bench.ops().control().journal.calls();
        let tried: Vec<_> = calls
            .iter()
            .filter(|call| call.op == "iommu:attach_dev" && call.device == Some(device))
            .filter(|call| call.domain.is_some_and(|domain| domains.contains(&domain)))
            .map(|call| (call.domain.unwrap(), call.result.is_ok()))
            .collect();
        assert_eq!(tried, [(domains[0], false), (domains[1], true)], "{name}");
        assert_eq!(bench.domains(container), domains, "{name}");
        let freed = bench.recorded("iommu:domain_free").len();
        assert_eq!(freed, 1, "{name}");
        let blocking = bench.ops().domain_count() - before;
        assert!(blocking <= 1, "{name}");
        assert_eq!(bench.ops().attached(device), Some(domains[1]), "{name}");
    }
}

#[test]
fn p77_a_replay_that_fails_leaves_old_domains_and_pins_alone() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(6);
        for n in 0..3 {
            let iova = 0x10_0000 + n * 0x10_0000;
            bench.map(container, iova, vaddr + 2 * n * PAGE, 2).unwrap();
        }
        let late = bench.open_group(1);
        let domain = bench.domains(container)[0];
        let before = (bench.ops().mappings(domain), bench.vfio.host().clone());
        for n in 0..6 {
            let mut attempt = bench.clone();
            attempt.fail(FaultMode::NthOf {
                name: "driver:map",
                n: n + 2 * superpage_probe(&attempt),
                errno: None,
            });
            let result = attempt.call().set_container(late, container);
            assert_eq!(result, Err(Errno::ENOMEM), "{name}: page {n}");
            let after = (attempt.ops().mappings(domain), attempt.vfio.host().clone());
            assert_eq!(after, before, "{name}: page {n}");
        }
    }
}

/// Whether this kernel probes superpages, which takes a mapping of two pages.
fn superpage_probe(bench: &Bench) -> u64 {
    use iommu_core::semantics::FineSuperpages;
    let rules = bench.ops().control().semantics.vfio;
    u64::from(rules.fine_superpages != FineSuperpages::NotProbed)
}

#[test]
fn p78_the_first_iommu_group_has_remembered_mappings_pinned_and_charged_once() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 0]);
        bench.vfio.unbind(bench.devices[0]).unwrap();
        bench.vfio.bind_emulated(bench.devices[0]).unwrap();
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(5);
        bench.map(container, 0x10_0000, vaddr, 5).unwrap();
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (0, 0),
            "{name}"
        );
        let group = bench.open_group(1);
        bench.call().set_container(group, container).unwrap();
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (5, 5),
            "{name}"
        );
        assert!(
            bench.vfio.host().pins().frames().all(|(_, pins)| pins == 1),
            "{name}"
        );
        // And when it leaves, nothing stays pinned but the mapping is still known.
        bench.call().unset_container(group).unwrap();
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (0, 0),
            "{name}"
        );
        assert_eq!(bench.type1(container).mappings().count(), 1, "{name}");
    }
}

#[test]
fn p79_with_the_last_group_everything_goes_and_set_iommu_is_possible_again() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, groups) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(5);
        bench.map(container, 0x10_0000, vaddr, 5).unwrap();
        bench.call().unset_container(groups[0]).unwrap();
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (0, 0),
            "{name}"
        );
        let info = bench.raw(container, abi::IOMMU_GET_INFO, &[16, 0, 0, 0]);
        assert_eq!(info, Err(Errno::EINVAL), "{name}: no backend");
        bench.call().set_container(groups[0], container).unwrap();
        bench.call().set_iommu(container, IommuType::Type1).unwrap();
        assert_eq!(bench.type1(container).mappings().count(), 0, "{name}");
    }
}

#[test]
fn p80_the_aperture_widens_when_the_tightest_domain_leaves() {
    for (name, semantics) in every_semantics() {
        let config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let ops = TableDouble::new(semantics, &[Stages::Both, Stages::Stage2], 1 << 12);
        let mut core = IommuCore::new(ops, config);
        let devices: Vec<DeviceId> = (0..2)
            .map(|instance| {
                let config = DeviceConfig::pci(&format!("0000:00:{instance:02x}.0"));
                core.add_device(config, &Fw::on(instance)).unwrap()
            })
            .collect();
        let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
        for device in &devices {
            vfio.bind(*device).unwrap();
        }
        let pid = vfio.spawn();
        let mut bench = Bench { vfio, pid, devices };
        let (container, groups) = bench.container(IommuType::Type1V2, &[0, 1]);
        let end = |bench: &Bench| {
            let list = bench.type1(container).iova_list();
            (list.ranges().len(), list.bounds().unwrap().end)
        };
        assert_eq!(end(&bench), (2, (1 << 44) - 1), "{name}");
        bench.call().unset_container(groups[1]).unwrap();
        assert_eq!(end(&bench), (2, (1 << 48) - 1), "{name}");
    }
}

#[test]
fn p81_detaching_a_group_that_is_elsewhere_only_refreshes() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let stranger = bench.group_id(1);
        let before = bench.clone();
        let pid = bench.pid;
        let id = *bench.vfio.containers.keys().next().unwrap();
        bench.vfio.with_backend(id, |vfio, backend| {
            backend.detach_group(&mut vfio.ctx(pid), stranger);
        });
        assert_eq!(bench, before, "{name}");
        assert_eq!(bench.type1(container).domains().count(), 1, "{name}");
    }
}

#[test]
fn p82_only_a_new_domain_gets_msi_addresses() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let domain = bench.domains(container)[0];
        let cookie = bench.vfio.core().msi_cookie(domain).cloned();
        assert!(
            matches!(cookie, Some(MsiCookie::Linear { next, .. }) if next == Iova(0x800_0000)),
            "{name}"
        );
        bench.fail(FaultMode::Count);
        let group = bench.open_group(1);
        bench.call().set_container(group, container).unwrap();
        let steps = bench.ops().control().faults.steps();
        assert!(!steps.contains(&"iommu:msi_cookie"), "{name}");
        assert_eq!(
            bench.vfio.core().msi_cookie(domain).cloned(),
            cookie,
            "{name}"
        );
    }
    // A hardware window wins: no addresses of software's.
    let special = Fw {
        instance: 0,
        resv: vec![region(0xfee0_0000, 0x10_0000, ResvType::Msi)],
    };
    let mut bench = Bench::with(Semantics::kernel(Kernel::V6_1), &[special]);
    let (container, _) = bench.container(IommuType::Type1V2, &[0]);
    let domain = bench.domains(container)[0];
    assert_eq!(bench.vfio.core().msi_cookie(domain), None);
}

#[test]
fn p83_while_an_address_is_withdrawn_no_group_joins_and_ownership_is_given_back() {
    for (name, semantics) in every_semantics() {
        if semantics.vfio.user_vaddr == UserVaddr::Fixed {
            continue;
        }
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(1);
        bench.map(container, 0x10_0000, vaddr, 1).unwrap();
        let unmap = abi::DmaUnmap {
            argsz: 24,
            flags: abi::unmap_flags::VADDR,
            iova: 0x10_0000,
            size: PAGE,
        };
        let bytes = zerocopy::IntoBytes::as_bytes(&unmap).to_vec();
        bench.raw(container, abi::IOMMU_UNMAP_DMA, &bytes).unwrap();
        let group = bench.open_group(1);
        let result = bench.call().set_container(group, container);
        assert_eq!(result, Err(Errno::EBUSY), "{name}");
        let owned = bench.vfio.core().dma_owner_claimed(bench.group_id(1));
        assert!(!owned, "{name}");
    }
}

#[test]
fn p84_set_iommu_over_groups_detaches_those_done_when_one_fails() {
    for (name, semantics) in every_semantics() {
        let special = Fw {
            instance: 1,
            resv: vec![region(0, 1 << 48, ResvType::Reserved)],
        };
        // The older group, attached last, is the one that fails.
        let mut bench = Bench::with(semantics, &[special, Fw::on(0)]);
        let container = bench.open_container();
        for index in 0..2 {
            let group = bench.open_group(index);
            bench.call().set_container(group, container).unwrap();
        }
        let before = bench.clone();
        let result = bench.call().set_iommu(container, IommuType::Type1V2);
        assert_eq!(result, Err(Errno::EINVAL), "{name}");
        assert_eq!(bench, before, "{name}");
        let view = bench.vfio.container(bench.pid, container).unwrap();
        assert!(view.type1().is_none(), "{name}");
    }
}

#[test]
fn p85_with_a_device_open_a_group_cannot_leave() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0]);
        let (_, groups) = bench.container(IommuType::Type1V2, &[0]);
        let device = bench.call().open_device(groups[0], "0000:00:00.0").unwrap();
        let result = bench.call().unset_container(groups[0]);
        assert_eq!(result, Err(Errno::EBUSY), "{name}");
        bench.call().close(device).unwrap();
        assert_eq!(bench.call().unset_container(groups[0]), Ok(()), "{name}");
    }
}

#[test]
fn p86_a_failed_join_gives_ownership_back_and_the_device_is_on_its_default_domain() {
    for (name, semantics) in every_semantics() {
        let special = Fw {
            instance: 1,
            resv: vec![region(0, 1 << 48, ResvType::Reserved)],
        };
        let mut bench = Bench::with(semantics, &[Fw::on(0), special]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let group = bench.open_group(1);
        let result = bench.call().set_container(group, container);
        assert_eq!(result, Err(Errno::EINVAL), "{name}");
        let id = bench.group_id(1);
        let default = bench.vfio.core().group(id).unwrap().default_domain;
        assert!(!bench.vfio.core().dma_owner_claimed(id), "{name}");
        assert_eq!(bench.ops().attached(bench.devices[1]), default, "{name}");
    }
}

#[test]
fn a_detached_but_owned_group_is_blocked_from_6_1_on_and_on_its_default_domain_before() {
    for (name, semantics) in every_semantics() {
        let claimed = semantics.core.ownership == Ownership::Claimed;
        let mut bench = Bench::new(semantics, &[0]);
        let group = bench.open_group(0);
        let container = bench.open_container();
        bench.call().set_container(group, container).unwrap();
        let default = bench
            .vfio
            .core()
            .group(bench.group_id(0))
            .unwrap()
            .default_domain;
        let on_default = bench.ops().attached(bench.devices[0]) == default;
        assert_eq!(on_default, !claimed, "{name}");
    }
}

#[test]
fn a_group_s_status_and_refusals_follow_the_layer_of_the_kernel() {
    for (name, semantics) in every_semantics() {
        let layer = semantics.vfio.group_layer;
        let mut bench = Bench::new(semantics, &[0]);
        let group = bench.open_group(0);
        let not_a_container = bench.call().set_container(group, group);
        let expected = match layer {
            GroupLayer::DeviceFiles => Errno::EBADFD,
            GroupLayer::Viability | GroupLayer::Ownership => Errno::EINVAL,
        };
        assert_eq!(not_a_container, Err(expected), "{name}");
        let negative = bench.call().set_container(group, -1);
        let expected = match layer {
            GroupLayer::Viability => Errno::EINVAL,
            GroupLayer::Ownership | GroupLayer::DeviceFiles => Errno::EBADF,
        };
        assert_eq!(negative, Err(expected), "{name}");
        let mut user = UserBuffer::new(vec![8, 0, 0, 0, 0, 0, 0, 0]);
        let at = user.at.0;
        bench
            .vfio
            .ioctl(bench.pid, group, abi::GROUP_GET_STATUS, at, &mut user)
            .unwrap();
        assert_eq!(u32::from(user.bytes[4]), group_flags::VIABLE, "{name}");
    }
}

#[test]
fn nesting_works_is_refused_or_is_unknown_by_kernel() {
    for (name, semantics) in every_kernel() {
        let (nesting, modern) = (
            semantics.vfio.nesting,
            semantics.core.domain_alloc == DomainAlloc::WithDevice,
        );
        let mut bench = Bench::new(semantics, &[0]);
        let group = bench.open_group(0);
        let container = bench.open_container();
        bench.call().set_container(group, container).unwrap();
        let result = bench.call().set_iommu(container, IommuType::Nesting);
        let expected = match nesting {
            NestingType::Works => Ok(()),
            NestingType::Advertised => Err(Errno::EPERM),
            NestingType::Gone => Err(Errno::ENODEV),
        };
        assert_eq!(result, expected, "{name}");
        assert_eq!(modern, nesting != NestingType::Works, "{name}");
    }
}

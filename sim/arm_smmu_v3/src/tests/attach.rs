//! P107 to P110 and P117: attach, identifiers, ATS.

use iommu_core::ops::DomainKind;
use iommu_core::semantics::{AttachOrder, SeriesIo, SidConflict};
use iommu_core::{Defect, DeviceId, DomainId, Errno, IommuOps, Kernel, KernelBug, Semantics};
use smmu::Outcome;

use super::platform::Done;
use super::{
    S0, add, add_device, add_domain, driver, driver_on, every_semantics, map, part, posted, sid,
    ste, ste_config, translate, with_ats,
};
use crate::{AtsState, Command, Firmware, SmmuId, Tag};

fn pa_of(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Translated(translation) => Some(translation.pa.get()),
        _ => None,
    }
}

// The whole way: attach, map, DMA, unmap, detach, in every version.
#[test]
fn a_device_reaches_what_is_mapped_and_nothing_else() {
    for (name, semantics) in every_semantics() {
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        assert_eq!(pa_of(&driver.platform().dma(S0, sid(1), 0x20_0000)), None);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        map(&mut driver, domain, 0x20_0000, 0x1_2340_0000, 3);
        for page in 0..3 {
            let dma = driver.platform().dma(S0, sid(1), 0x20_0010 + page * 0x1000);
            assert_eq!(pa_of(&dma), Some(0x1_2340_0010 + page * 0x1000), "{name}");
        }
        assert_eq!(
            pa_of(&driver.platform().dma(S0, sid(1), 0x20_3000)),
            None,
            "{name}"
        );
        assert_eq!(ste_config(&driver, 1), 5, "{name}: stage 1 is the default");
    }
}

// linux-iommu.md P107, 4.3, 4.6, D20.
#[test]
fn p107_another_smmus_domain_is_refused_and_what_is_left_depends() {
    for (name, semantics) in every_semantics() {
        let first = semantics.driver.attach_order == AttachOrder::DetachFirst;
        let errno = semantics.driver.other_smmu;
        let mut driver = driver_on(semantics, &[part(), part()]);
        let here = add_device(&mut driver, 1);
        let there = add(
            &mut driver,
            2,
            &Firmware {
                smmu: SmmuId(1),
                ..Firmware::new(S0, sid(2))
            },
        );
        let foreign = add_domain(&mut driver, 1, there);
        driver.attach_dev(foreign, there, None).unwrap();
        let own = add_domain(&mut driver, 2, here);
        driver.attach_dev(own, here, None).unwrap();
        map(&mut driver, own, 0x1000, 0x1_0000_0000, 1);
        let before = driver.clone();
        assert_eq!(
            driver.attach_dev(foreign, here, Some(own)),
            Err(errno),
            "{name}"
        );
        if first {
            assert_eq!(ste_config(&driver, 1), 0, "{name}: detached");
            assert_eq!(pa_of(&driver.platform().dma(S0, sid(1), 0x1000)), None);
        } else {
            assert_eq!(ste(&driver, 1), ste(&before, 1), "{name}: intact");
            assert!(pa_of(&driver.platform().dma(S0, sid(1), 0x1000)).is_some());
        }
    }
}

fn index(done: &[Done], wanted: impl Fn(&Done) -> bool) -> usize {
    done.iter().position(wanted).expect("it happened")
}

// linux-iommu.md P108, 4.3, 4.6.
#[test]
fn p108_ats_is_on_after_the_ste_and_off_before_it() {
    for (name, semantics) in every_semantics() {
        let first = semantics.driver.attach_order == AttachOrder::DetachFirst;
        let mut driver = driver(semantics);
        let device = add(&mut driver, 1, &with_ats(1));
        let domain = add_domain(&mut driver, 1, device);
        driver.platform_mut().done.clear();
        driver.attach_dev(domain, device, None).unwrap();
        let pa = driver.ste_pa(S0, sid(1)).unwrap().get();
        let done = driver.platform().done.clone();
        let is_atc = |done: &Done| matches!(done, Done::Command(_, Command::AtcInv { .. }));
        let ste_done = done
            .iter()
            .rposition(|done| matches!(done, Done::Store(at, _) if *at == pa))
            .unwrap();
        let atc = index(&done, is_atc);
        let on = index(&done, |d| *d == Done::Ats(sid(1), AtsState::Enabled));
        assert!(ste_done < atc && atc < on, "{name}");
        assert!(
            matches!(
                done[atc + 2..on]
                    .iter()
                    .find(|d| matches!(d, Done::Command(..))),
                Some(Done::Command(_, Command::Sync { .. }))
            ),
            "{name}: ATC_INV is waited for"
        );
        assert_eq!(ste(&driver, 1)[1] >> 28 & 3, 1, "{name}: EATS");

        driver.platform_mut().done.clear();
        driver.detach_dev(domain, device);
        let done = driver.platform().done.clone();
        let off = index(&done, |d| *d == Done::Ats(sid(1), AtsState::Disabled));
        let atc = index(&done, is_atc);
        let ste_at = index(&done, |d| matches!(d, Done::Store(at, _) if *at == pa));
        if first {
            assert!(off < atc && atc < ste_at, "{name}");
        } else {
            // The STE refuses requests first, then the ATC is emptied.
            assert!(off < ste_at && ste_at < atc, "{name}");
        }
    }
}

// linux-iommu.md P109, 4.2.
#[test]
fn p109_without_a_vmid_attach_is_enospc_and_may_work_later() {
    for (name, semantics) in every_semantics() {
        let part = smmu::config::SmmuConfig {
            vmid16: false,
            asid16: false,
            s1p: false,
            ..part()
        };
        let at_alloc = semantics.driver.attach_order == AttachOrder::PrepareCommit;
        let mut driver = driver_on(semantics, &[part]);
        let device = add_device(&mut driver, 1);
        let mut attached = None;
        for n in 1..=255 {
            let domain = add_domain(&mut driver, n, device);
            driver.attach_dev(domain, device, attached).unwrap();
            attached = Some(domain);
        }
        let bytes = driver.platform().allocated_bytes;
        let last = DomainId(1000);
        let alloc = driver.domain_alloc(last, DomainKind::Unmanaged, Some(device));
        let attach = alloc.and_then(|()| driver.attach_dev(last, device, attached));
        assert_eq!(attach, Err(Errno::ENOSPC), "{name}");
        assert_eq!(driver.platform().allocated_bytes, bytes, "{name}: freed");
        driver.domain_free(DomainId(7));
        if at_alloc {
            driver
                .domain_alloc(last, DomainKind::Unmanaged, Some(device))
                .unwrap();
        }
        driver.attach_dev(last, device, None).unwrap();
        assert_eq!(
            driver.tag(last),
            Some(Tag::Vmid(smmu::ids::Vmid::new(7))),
            "{name}: lowest free"
        );
    }
}

// linux-iommu.md P110, 4.2. 7.2 flushes when the last device leaves (4.6).
#[test]
fn p110_a_tag_is_flushed_before_it_is_given_out_again() {
    for (name, semantics) in every_semantics() {
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        map(&mut driver, domain, 0x1000, 0x1_0000_0000, 1);
        let Some(Tag::Asid(asid)) = driver.tag(domain) else {
            panic!("stage 1")
        };
        driver.platform_mut().done.clear();
        driver.detach_dev(domain, device);
        driver.domain_free(domain);
        let commands = driver.platform().commands();
        let flush = Command::TlbiNhAsid {
            asid,
            vmid: smmu::ids::Vmid::new(0),
        };
        let at = commands.iter().position(|command| *command == flush);
        assert!(commands[at.unwrap() + 1].is_sync(), "{name}");
        let again = add_domain(&mut driver, 2, device);
        driver.attach_dev(again, device, None).unwrap();
        assert_eq!(driver.tag(again), Some(Tag::Asid(asid)), "{name}");
    }
}

// linux-iommu.md P117, 4.9, D29.
#[test]
fn p117_two_devices_with_one_streamid() {
    for (name, semantics) in every_semantics() {
        let series = semantics.series.is_some();
        let conflict = semantics.driver.sid_conflict;
        let mut driver = driver(semantics);
        add_device(&mut driver, 1);
        add_device(&mut driver, 2);
        let before = driver.clone();
        let firmware = Firmware::new(S0, sid(1));
        let probed = driver.probe_device(DeviceId(3), &firmware);
        match (series, conflict) {
            (true, _) => assert_eq!(probed, Err(Errno::EINVAL), "{name}"),
            (false, SidConflict::Refuse(errno)) => assert_eq!(probed, Err(errno), "{name}"),
            (false, SidConflict::Unchecked) => {
                probed.unwrap();
                for (n, device) in [(1, DeviceId(1)), (2, DeviceId(3))] {
                    let domain = add_domain(&mut driver, n, device);
                    let attached = driver.attach_dev(domain, device, None);
                    let fatal = if n == 2 {
                        Err(KernelBug::ERRNO)
                    } else {
                        Ok(())
                    };
                    assert_eq!(attached, fatal, "{name}");
                }
                assert_eq!(
                    driver.control().bug.map(|bug| bug.at),
                    Some("arm_smmu_write_strtab_ent")
                );
                continue;
            }
        }
        assert_eq!(driver, before, "{name}: nothing is left of it");
    }
}

// linux-iommu.md D18: a probe that lets two devices share an STE; the second's detach step rewrites
// it, and SET_PASID_TABLE writes stage 1 once for each.
#[test]
fn d18_the_second_device_detaches_the_stream_of_the_first_and_set_finds_stage_1_live() {
    for io in SeriesIo::ALL {
        let mut semantics = posted(io);
        semantics.defects = semantics.defects.with(Defect::SharedSidRewritten);
        let mut driver = driver(semantics);
        let firmware = Firmware::new(S0, sid(1));
        let devices = [1, 2].map(|n| add(&mut driver, n, &firmware));
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        driver.attach_dev(domain, devices[0], None).unwrap();
        let second = driver.attach_dev(domain, devices[1], None);
        if io == SeriesIo::V13 {
            // Its assertion does not even let stage 2 be written over stage 2 (1.6).
            assert_eq!(second, Err(KernelBug::ERRNO));
            continue;
        }
        second.unwrap();
        assert_eq!(ste_config(&driver, 1), 6, "{io:?}");
        driver.detach_dev(domain, devices[1]);
        assert_eq!(
            ste_config(&driver, 1),
            0,
            "{io:?}: and the first is attached"
        );
        driver.attach_dev(domain, devices[1], None).unwrap();
        let set = driver.attach_pasid_table(domain, &translate(0x8_0000));
        assert_eq!(set, Err(KernelBug::ERRNO), "{io:?}");
        let bug = driver.control().bug.unwrap();
        assert_eq!(bug.at, "arm_smmu_write_strtab_ent", "{io:?}");
    }
}

// linux-iommu.md D29: what a failed probe leaves of the tree of streams.
#[test]
fn p117_the_unwind_of_a_failed_probe_spoils_the_tree_up_to_io14() {
    let conflicting = Firmware {
        streams: vec![sid(5), sid(1)],
        ..Firmware::new(S0, sid(5))
    };
    for (semantics, known, dangling) in [
        (posted(SeriesIo::V12), true, true),
        (posted(SeriesIo::V13), false, false),
        (posted(SeriesIo::V14), false, false),
        (posted(SeriesIo::V15), true, false),
        (posted(SeriesIo::V16), true, false),
        (Semantics::fixed(), true, false),
        (Semantics::kernel(Kernel::V6_1), true, false),
    ] {
        let mut driver = driver(semantics);
        add_device(&mut driver, 1);
        assert!(driver.probe_device(DeviceId(9), &conflicting).is_err());
        assert_eq!(driver.stream_owner(S0, sid(1)).is_some(), known);
        assert_eq!(driver.stream_owner(S0, sid(5)).is_some(), dangling);
    }
}

// linux-iommu.md 4.9: removing a device with a repeated StreamID empties the tree.
#[test]
fn removing_a_device_with_a_repeated_streamid_loses_all_others() {
    for (name, semantics) in every_semantics() {
        if semantics.series.is_some() && semantics != Semantics::fixed() {
            continue;
        }
        let plain_tree =
            semantics.series.is_none() && semantics.driver.sid_conflict != SidConflict::Unchecked;
        let mut driver = driver(semantics);
        add_device(&mut driver, 1);
        let firmware = Firmware {
            streams: vec![sid(2), sid(2)],
            ..Firmware::new(S0, sid(2))
        };
        let twice = add(&mut driver, 2, &firmware);
        driver.release_device(twice);
        let kept = driver.stream_owner(S0, sid(1)) == Some(DeviceId(1));
        assert_eq!(kept, !plain_tree, "{name}");
    }
}

// linux-iommu.md 4.2: identity and blocked domains.
#[test]
fn identity_passes_and_blocked_aborts() {
    for (name, semantics) in every_semantics() {
        let old = semantics.driver.attach_order == AttachOrder::DetachFirst;
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let identity = DomainId(1);
        driver
            .domain_alloc(identity, DomainKind::Identity, Some(device))
            .unwrap();
        driver.attach_dev(identity, device, None).unwrap();
        assert_eq!(
            pa_of(&driver.platform().dma(S0, sid(1), 0x1_2345)),
            Some(0x1_2345),
            "{name}"
        );
        let blocked = DomainId(2);
        let alloc = driver.domain_alloc(blocked, DomainKind::Blocked, Some(device));
        if old {
            assert_eq!(alloc, Err(Errno::EINVAL), "{name}");
            continue;
        }
        driver.attach_dev(blocked, device, Some(identity)).unwrap();
        assert_eq!(ste(&driver, 1)[0], 1, "{name}");
    }
}

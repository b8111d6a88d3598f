//! P16 to P32: one domain under the nested-stage series.

use iommu_core::semantics::SeriesIo;
use iommu_core::uapi::{PasidConfig, PasidTableConfig};
use iommu_core::{DomainId, Errno, IommuOps, KernelBug, Semantics};
use smmu::Outcome;
use smmu::ids::StreamId;

use super::platform::{Done, Watch};
use super::{
    S0, add, add_device, config, driver, every_semantics, map, nested, posted, sid, ste,
    ste_config, translate,
};
use crate::command::Reach;
use crate::{Command, Firmware};

const T: u64 = 0x4000_0000;
const T2: u64 = 0x5000_0000;
const BYPASS: PasidConfig = PasidConfig::BYPASS;
const ABORT: PasidConfig = PasidConfig::ABORT;

fn with_series() -> Vec<(String, Semantics)> {
    every_semantics()
        .into_iter()
        .filter(|(_, semantics)| semantics.series.is_some())
        .collect()
}

fn cfgi(n: u32) -> Command {
    Command::CfgiSte {
        sid: sid(n),
        reach: Reach::Leaf,
    }
}

const SYNC: Command = Command::Sync { msi: None };

// linux-iommu.md P16, 1.5, 1.6.
#[test]
fn p16_set_translate_nests_over_the_same_stage_2() {
    for (name, semantics) in with_series() {
        let (mut driver, _, domain) = nested(semantics);
        let before = ste(&driver, 1);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        let after = ste(&driver, 1);
        assert_eq!(after[0] & 1, 1, "{name}");
        assert_eq!(after[0] >> 1 & 7, 7, "{name}");
        assert_eq!(after[0] & 0x00ff_ffff_ffff_ffc0, T, "{name}");
        assert_eq!(after[2], before[2], "{name}: VMID, VTCR");
        assert_eq!(after[3], before[3], "{name}: S2TTB");
    }
}

// linux-iommu.md P17, 1.5.
#[test]
fn p17_translate_over_translate_is_refused() {
    for (name, semantics) in with_series() {
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        let before = driver.clone();
        for base in [T, T2] {
            let refused = driver.attach_pasid_table(domain, &translate(base));
            assert_eq!(refused, Err(Errno::EINVAL), "{name}");
        }
        assert_eq!(driver, before, "{name}");
    }
}

// linux-iommu.md P18, 1.5, 1.13. IO13 dies at BYPASS (P23).
#[test]
fn p18_a_table_is_replaced_through_bypass() {
    for (name, semantics) in with_series() {
        if semantics.io() == Some(SeriesIo::V13) {
            continue;
        }
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        driver
            .attach_pasid_table(domain, &config(BYPASS, 0))
            .unwrap();
        driver.attach_pasid_table(domain, &translate(T2)).unwrap();
        assert_eq!(ste(&driver, 1)[0] & 0x00ff_ffff_ffff_ffc0, T2, "{name}");
    }
}

// linux-iommu.md P19, 1.6.
#[test]
fn p19_abort_is_one_store_without_a_window() {
    for (name, semantics) in with_series() {
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        let pa = driver.ste_pa(S0, sid(1)).unwrap();
        driver.platform_mut().done.clear();
        driver
            .attach_pasid_table(domain, &config(ABORT, 0))
            .unwrap();
        let entry = ste(&driver, 1);
        assert_eq!((entry[0], entry[2]), (1, 0), "{name}");
        let first: Vec<u64> = driver
            .platform()
            .done
            .iter()
            .filter_map(|done| match done {
                Done::Store(at, value) if *at == pa.get() => Some(*value),
                _ => None,
            })
            .collect();
        assert_eq!(first, [1], "{name}");
    }
}

// linux-iommu.md P20, 1.6.
#[test]
fn p20_translate_from_abort_needs_no_invalid_step() {
    for (name, semantics) in with_series() {
        let (mut driver, _, domain) = nested(semantics);
        driver
            .attach_pasid_table(domain, &config(ABORT, 0))
            .unwrap();
        assert_eq!(ste_config(&driver, 1), 0);
        let pa = driver.ste_pa(S0, sid(1)).unwrap();
        driver.platform_mut().done.clear();
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        assert_eq!(ste_config(&driver, 1), 7, "{name}");
        let window = driver.platform().done.contains(&Done::Store(pa.get(), 0));
        assert!(!window, "{name}");
    }
}

// linux-iommu.md P21, 1.5.
#[test]
fn p21_unset_leaves_abort_in_io12_and_io13_and_stage_2_later() {
    for (name, semantics) in with_series() {
        let aborts = matches!(semantics.io(), Some(SeriesIo::V12 | SeriesIo::V13));
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        driver.detach_pasid_table(domain);
        assert_eq!(ste_config(&driver, 1), if aborts { 0 } else { 6 }, "{name}");
        assert_eq!(driver.control().bug, None, "{name}");
    }
}

// linux-iommu.md P22, 1.5.
#[test]
fn p22_unset_again_changes_nothing() {
    for (name, semantics) in with_series() {
        for set in [None, Some(translate(T)), Some(config(ABORT, 0))] {
            let (mut driver, _, domain) = nested(semantics.clone());
            if let Some(set) = set {
                driver.attach_pasid_table(domain, &set).unwrap();
            }
            driver.detach_pasid_table(domain);
            let before = ste(&driver, 1);
            driver.detach_pasid_table(domain);
            assert_eq!(driver.control().bug, None, "{name}");
            assert_eq!(ste(&driver, 1), before, "{name}");
        }
    }
}

// linux-iommu.md P23, 1.6, R:Shameer-1209.
#[test]
fn p23_bypass_over_a_live_entry_is_fatal_in_io13() {
    for (name, semantics) in with_series() {
        let fatal = semantics.io() == Some(SeriesIo::V13);
        let (mut driver, _, domain) = nested(semantics);
        let set = driver.attach_pasid_table(domain, &config(BYPASS, 0));
        if fatal {
            assert_eq!(set, Err(KernelBug::ERRNO), "{name}");
            assert!(driver.control().bug.is_some());
        } else {
            assert_eq!(set, Ok(()), "{name}");
            assert_eq!(ste_config(&driver, 1), 6, "{name}");
        }
    }
}

// linux-iommu.md P24, 1.6.
#[test]
fn p24_from_nested_to_stage_2_the_entry_is_invalid_first() {
    for io in [SeriesIo::V14, SeriesIo::V15, SeriesIo::V16] {
        let (mut driver, _, domain) = nested(posted(io));
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        let pa = driver.ste_pa(S0, sid(1)).unwrap();
        driver.platform_mut().done.clear();
        driver.detach_pasid_table(domain);
        let expected = [
            cfgi(1),
            SYNC,
            cfgi(1),
            SYNC,
            cfgi(1),
            SYNC,
            Command::PrefetchConfig { sid: sid(1) },
        ];
        assert_eq!(driver.platform().commands(), expected, "{io:?}");
        let done = &driver.platform().done;
        let sync = done
            .iter()
            .position(|done| matches!(done, Done::Command(_, command) if command.is_sync()))
            .unwrap();
        assert!(done[..sync].contains(&Done::Store(pa.get(), 0)), "{io:?}");
    }
}

// linux-iommu.md P25, 1.6.
#[test]
fn p25_dma_in_the_window_is_c_bad_ste() {
    let (mut driver, _, domain) = nested(posted(SeriesIo::V15));
    map(&mut driver, domain, 0x10_0000, 0x1_0000_0000, 1);
    let ste_pa = driver.ste_pa(S0, sid(1)).unwrap();
    driver.platform_mut().watch = Some(Watch {
        ste: ste_pa,
        stream: sid(1),
        iova: 0x10_0000,
        seen: Vec::new(),
    });
    // The guest's CD table is not mapped: a nested stream faults with F_TRANSLATION, not more.
    driver.attach_pasid_table(domain, &translate(T)).unwrap();
    let seen = driver.platform_mut().watch.take().unwrap().seen;
    let (last, between) = seen.split_last().unwrap();
    assert!(between.len() >= 2);
    for (entry, outcome) in between {
        assert_eq!(entry[0] & 1, 0, "V=0 until the last store");
        let Outcome::Terminated { event, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(event.unwrap().words()[0] & 0xff, 0x04, "C_BAD_STE");
    }
    assert_eq!(last.0[0] & 1, 1);
}

// linux-iommu.md P26, D16. `fixed` invalidates.
#[test]
fn p26_set_and_unset_invalidate_no_translation() {
    for (name, semantics) in with_series() {
        let fixed = semantics == Semantics::fixed();
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        driver
            .attach_pasid_table(domain, &config(ABORT, 0))
            .unwrap();
        driver.detach_pasid_table(domain);
        let invalidates = |command: &Command| {
            matches!(command.opcode().0, 0x10..0x40) || command.opcode().0 == 0x40
        };
        let found = driver.platform().commands().iter().any(invalidates);
        assert_eq!(found, fixed, "{name}");
    }
}

// linux-iommu.md P28, D17.
#[test]
fn p28_stage_1_fields_stay_in_a_stage_2_entry() {
    for (name, semantics) in with_series() {
        let canonical = semantics == Semantics::fixed();
        let aborts = matches!(semantics.io(), Some(SeriesIo::V12 | SeriesIo::V13));
        let (mut driver, _, domain) = nested(semantics);
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        driver.detach_pasid_table(domain);
        if aborts {
            continue;
        }
        // S1DSS, S1CIR, S1COR, S1CSH.
        assert_eq!(ste(&driver, 1)[1] & 0xff != 0, !canonical, "{name}");
    }
}

// linux-iommu.md P29, 1.6, D29.
#[test]
fn p29_a_repeated_streamid_is_written_once_or_refused() {
    for (name, semantics) in every_semantics() {
        let refuses = semantics.series.is_some() && semantics != Semantics::fixed();
        let mut driver = driver(semantics);
        let firmware = Firmware {
            streams: vec![StreamId::new(8), StreamId::new(8)],
            ..Firmware::new(S0, StreamId::new(8))
        };
        let probed = driver.probe_device(iommu_core::DeviceId(1), &firmware);
        if refuses {
            assert_eq!(probed, Err(Errno::EINVAL), "{name}");
            continue;
        }
        probed.unwrap();
        let domain = super::add_domain(&mut driver, 1, iommu_core::DeviceId(1));
        driver
            .attach_dev(domain, iommu_core::DeviceId(1), None)
            .unwrap();
        let prefetches = driver
            .platform()
            .commands()
            .iter()
            .filter(|command| matches!(command, Command::PrefetchConfig { .. }))
            .count();
        assert_eq!(prefetches, 1, "{name}");
    }
}

// linux-iommu.md P30, 1.5.
#[test]
fn p30_stes_are_written_newest_device_first() {
    for (name, semantics) in with_series() {
        let (mut driver, _, domain) = nested(semantics);
        for n in [2, 3] {
            let device = add_device(&mut driver, n);
            driver.attach_dev(domain, device, None).unwrap();
        }
        driver.platform_mut().done.clear();
        driver.attach_pasid_table(domain, &translate(T)).unwrap();
        let mut order: Vec<StreamId> = driver
            .platform()
            .commands()
            .iter()
            .filter_map(|command| match command {
                Command::CfgiSte { sid, .. } => Some(*sid),
                _ => None,
            })
            .collect();
        order.dedup();
        assert_eq!(order, [sid(3), sid(2), sid(1)], "{name}");
    }
}

// linux-iommu.md P31, 1.2.
#[test]
fn p31_a_joining_device_gets_the_domains_state() {
    for (name, semantics) in with_series() {
        for (set, expected) in [(translate(T), 7), (config(ABORT, 0), 0)] {
            let (mut driver, _, domain) = nested(semantics.clone());
            driver.attach_pasid_table(domain, &set).unwrap();
            let device = add_device(&mut driver, 2);
            driver.attach_dev(domain, device, None).unwrap();
            assert_eq!(ste_config(&driver, 2), expected, "{name}");
            assert_eq!(ste(&driver, 2)[0], ste(&driver, 1)[0], "{name}");
        }
    }
}

// linux-iommu.md P32, 1.5.
#[test]
fn p32_set_on_a_domain_without_smmu_is_einval() {
    for (name, semantics) in with_series() {
        let mut driver = driver(semantics);
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, iommu_core::ops::DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        let set = driver.attach_pasid_table(domain, &translate(T));
        assert_eq!(set, Err(Errno::EINVAL), "{name}");
    }
}

// linux-iommu.md P14, 1.5: the last patch of IO12 to IO14 let a guest have several CDs.
#[test]
fn p14_several_cds_are_refused_from_io15_on() {
    let part = smmu::config::SmmuConfig {
        ssidsize: 4,
        ..super::part()
    };
    for (name, semantics) in with_series() {
        let accepts = semantics.io() <= Some(SeriesIo::V14);
        let mut driver = super::driver_on(semantics, std::slice::from_ref(&part));
        let firmware = Firmware {
            ssid_bits: 2,
            ..Firmware::new(S0, sid(1))
        };
        let device = add(&mut driver, 1, &firmware);
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, iommu_core::ops::DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        driver.attach_dev(domain, device, None).unwrap();
        let before = driver.clone();
        for (pasid_bits, fits) in [(1, accepts), (3, false)] {
            let mut driver = before.clone();
            let table = PasidTableConfig {
                pasid_bits,
                ..translate(T)
            };
            let set = driver.attach_pasid_table(domain, &table);
            let expected = if fits { Ok(()) } else { Err(Errno::EINVAL) };
            assert_eq!(set, expected, "{name}");
            if fits {
                assert_eq!(ste(&driver, 1)[0] >> 59, 1, "{name}: S1CDMax");
            } else {
                assert_eq!(driver, before, "{name}");
            }
        }
    }
}

// linux-iommu.md 1.5, D22.
#[test]
fn base_ptr_is_checked_by_our_own_answer_only() {
    for (name, semantics) in with_series() {
        let checks = semantics == Semantics::fixed();
        for base in [T + 32, 1 << 50] {
            let (mut driver, _, domain) = nested(semantics.clone());
            let set = driver.attach_pasid_table(domain, &translate(base));
            assert_eq!(set.is_err(), checks, "{name} {base:#x}");
        }
    }
}

// linux-iommu.md P118, D19, 1.10.
#[test]
fn p118_a_refused_nested_attach_leaks_its_vmid() {
    use iommu_core::Iova;
    use iommu_core::ops::{DomainKind, ResvRegion, ResvType};
    for (name, semantics) in with_series() {
        let leaks =
            !matches!(semantics.io(), Some(SeriesIo::V12)) && semantics != Semantics::fixed();
        let mut driver = driver(semantics);
        let firmware = Firmware {
            reserved: vec![ResvRegion {
                start: Iova(0x1000_0000),
                length: 0x1000,
                kind: ResvType::Msi,
            }],
            ..Firmware::new(S0, sid(1))
        };
        let device = add(&mut driver, 1, &firmware);
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        assert_eq!(
            driver.attach_dev(domain, device, None),
            Err(Errno::EINVAL),
            "{name}"
        );
        driver.domain_free(domain);
        assert_eq!(driver.vmids_in_use(S0), u32::from(leaks), "{name}");
        // D20: the STE is that of a detached device; what the entry was before did not matter.
        assert_eq!(ste_config(&driver, 1), 0, "{name}");
    }
}

// linux-iommu.md P27, 1.6.
#[test]
fn p27_no_command_tells_a_tlb_that_the_table_was_replaced() {
    let (mut driver, _, domain) = nested(posted(SeriesIo::V15));
    driver.attach_pasid_table(domain, &translate(T)).unwrap();
    driver
        .attach_pasid_table(domain, &config(BYPASS, 0))
        .unwrap();
    driver.attach_pasid_table(domain, &translate(T2)).unwrap();
    let only_configuration = driver.platform().commands().iter().all(|command| {
        matches!(
            command,
            Command::CfgiSte { .. } | Command::Sync { .. } | Command::PrefetchConfig { .. }
        )
    });
    assert!(only_configuration);
    assert_eq!(ste(&driver, 1)[0] & 0x00ff_ffff_ffff_ffc0, T2);
}

//! Probe, reset, the command queue and its errors, events and page requests.

use iommu_core::ops::{DeviceFault, DomainKind, PageResponse};
use iommu_core::semantics::SeriesIo;
use iommu_core::{DeviceId, DomainId, Errno, IommuOps, Kernel, Semantics};
use smmu::config::{SmmuConfig, StallModel};

use super::platform::{Done, Machine};
use super::{S0, add, add_device, driver, driver_on, every_semantics, part, sid, with_ats};
use crate::cmdq::Wait;
use crate::command::{PriAnswer, Reach, ResumeAnswer};
use crate::{Command, Driver, Params, Platform, Printed};

const SYNC: Command = Command::Sync { msi: None };

// linux-iommu.md 4.8. Registers and values of the recorded reset of a 7.2 kernel on this part
// (recorded addresses are replaced by ours).
#[test]
fn reset_writes_registers_in_the_kernels_order() {
    let machine = Machine::new(Semantics::kernel(Kernel::V7_2), &[SmmuConfig::qemu_11()]);
    let driver = Driver::probe(machine, Params::default(), 1).unwrap();
    let done = &driver.platform().done;
    let address_mask = 0x00ff_ffff_ffff_f000;
    let steps: Vec<String> = done
        .iter()
        .filter_map(|done| match done {
            Done::Mmio(_, offset @ (0x80 | 0x90 | 0xa0), value) => {
                Some(format!("R,{offset:x},{:x}", value & !address_mask))
            }
            Done::Mmio(_, offset, value) => Some(format!("R,{:x},{value:x}", offset & 0xffff)),
            Done::Command(_, command) => {
                let [w0, w1] = command.words();
                Some(format!("C,{w0:x},{w1:x}"))
            }
            _ => None,
        })
        .collect();
    let recorded = "R,20,0 R,28,d75 R,2c,6 R,80,4000000000000000 R,88,10210 \
        R,90,4000000000000010 R,98,0 R,9c,0 R,20,8 C,4,1f C,fc02046,0 R,98,2 C,30,0 C,fc02046,0 \
        R,98,4 R,a0,400000000000000f R,a8,0 R,ac,0 R,20,c R,50,0 R,68,0 R,b0,0 R,50,5 R,20,d";
    assert_eq!(steps.join(" "), recorded);
}

// linux-iommu.md 4.8.
#[test]
fn a_part_with_everything_is_reset_with_everything() {
    let driver = driver_on(Semantics::kernel(Kernel::V7_2), &[SmmuConfig::full()]);
    let cr0 = driver.platform().smmus[0].smmu.registers().cr0();
    assert!(cr0.smmuen() && cr0.eventqen() && cr0.cmdqen() && cr0.priqen() && cr0.atschk());
}

#[test]
fn a_linear_stream_table_aborts_from_the_start() {
    let part = SmmuConfig {
        st_level: false,
        sidsize: 6,
        ..part()
    };
    let mut driver = driver_on(Semantics::kernel(Kernel::V6_1), &[part]);
    assert_eq!(super::ste(&driver, 1)[0], 1);
    let device = add_device(&mut driver, 1);
    let beyond = crate::Firmware::new(S0, smmu::ids::StreamId::new(64));
    assert_eq!(
        driver.probe_device(DeviceId(2), &beyond),
        Err(Errno::ERANGE)
    );
    let domain = super::add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
}

// linux-iommu.md 4.1: second-level stream tables exist once a StreamID in them does.
#[test]
fn second_level_stream_tables_are_made_on_demand() {
    let mut driver = driver(Semantics::kernel(Kernel::V7_2));
    assert_eq!(driver.ste_pa(S0, sid(1)), None);
    let before = driver.platform().allocated_bytes;
    add_device(&mut driver, 1);
    add_device(&mut driver, 2);
    assert_eq!(driver.platform().allocated_bytes - before, 256 * 64);
    assert!(driver.ste_pa(S0, sid(1)).is_some());
    assert_eq!(super::ste(&driver, 3)[0], 1, "the neighbours abort");
}

/// A driver whose first command of an opcode is refused with this CERROR.
fn refusing(opcode: u8, cerror: u32) -> Driver<Machine> {
    let mut driver = driver(Semantics::kernel(Kernel::V6_1));
    driver.platform_mut().smmus[0].refuse.push((opcode, cerror));
    driver
}

// linux-iommu.md P116, 4.8.
#[test]
fn p116_an_illegal_command_becomes_a_sync_and_the_queue_goes_on() {
    let mut driver = refusing(0x03, 1);
    let instance = &mut driver.instances[0];
    let at = instance.cmdq.slot_pa(4);
    let command = Command::CfgiSte {
        sid: sid(1),
        reach: Reach::Leaf,
    };
    let issued = instance.issue_sync(&mut driver.platform, &[command, Command::CfgiAll]);
    assert_eq!(issued, Ok(()));
    let slot = [driver.platform.load(at), driver.platform.load(at.add(8))];
    assert_eq!(slot, SYNC.words());
    let machine = &driver.platform.smmus[0];
    assert_eq!(machine.prod, 7, "consumed to the end");
}

// linux-iommu.md P116, 4.8.
#[test]
fn p116_an_aborted_fetch_is_retried_as_it_is() {
    let mut driver = refusing(0x03, 2);
    let instance = &mut driver.instances[0];
    let at = instance.cmdq.slot_pa(4);
    let command = Command::CfgiSte {
        sid: sid(1),
        reach: Reach::Leaf,
    };
    assert_eq!(
        instance.issue_sync(&mut driver.platform, &[command]),
        Ok(())
    );
    let slot = [driver.platform.load(at), driver.platform.load(at.add(8))];
    assert_eq!(slot, command.words());
}

// linux-iommu.md 4.8: a second of polling, then -ETIMEDOUT.
#[test]
fn a_queue_that_stands_still_is_a_timeout() {
    let mut driver = driver(Semantics::kernel(Kernel::V6_1));
    driver.platform_mut().smmus[0]
        .refuse
        .extend(std::iter::repeat_n((0x46, 2), 5000));
    let instance = &mut driver.instances[0];
    let issued = instance.issue_sync(&mut driver.platform, &[]);
    assert_eq!(issued, Err(Errno::ETIMEDOUT));
}

// linux-iommu.md 4.7, 4.8: batches of 64, the last with the SYNC; the queue wraps.
#[test]
fn a_long_invalidation_goes_out_in_batches_of_64() {
    let part = SmmuConfig {
        ril: false,
        ..part()
    };
    let mut driver = driver_on(Semantics::kernel(Kernel::V6_1), &[part]);
    let device = add_device(&mut driver, 1);
    let domain = super::add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    for round in 0..1200 {
        super::map(&mut driver, domain, 0x10_0000, 0x1_0000_0000, 150);
        driver.platform_mut().done.clear();
        let mut gather = iommu_core::ops::Gather::default();
        let unmapped =
            driver.unmap_pages(domain, iommu_core::Iova(0x10_0000), 4096, 150, &mut gather);
        assert_eq!(unmapped, 150 * 4096);
        driver.iotlb_sync(domain, &gather);
        let sizes: Vec<usize> = driver
            .platform()
            .done
            .split(|done| matches!(done, Done::Mmio(_, 0x98, _)))
            .map(|batch| {
                batch
                    .iter()
                    .filter(|done| matches!(done, Done::Command(..)))
                    .count()
            })
            .collect();
        assert_eq!(sizes, [64, 64, 23, 0], "round {round}");
    }
}

/// An event record: id, stall, S2.
fn event(id: u64, stall: u64, s2: u64) -> [u64; 4] {
    let q0 = id | u64::from(sid(1).get()) << 32;
    let q1 = 7 | stall << 31 | 1 << 35 | s2 << 39;
    [q0, q1, 0x1234_5678, 0x4000_0008]
}

/// Reports of one event under some semantics.
fn reports(semantics: Semantics, record: [u64; 4]) -> (Vec<DeviceFault>, Driver<Machine>) {
    let mut driver = driver(semantics);
    let device = add_device(&mut driver, 1);
    driver.platform_mut().push_event(S0, record);
    let mut all = Vec::new();
    driver.handle_events(|of, fault| {
        assert_eq!(of, device);
        all.push(*fault);
        Ok(())
    });
    (all, driver)
}

// linux-iommu.md P69, 1.12.
#[test]
fn p69_a_stage_2_fault_is_not_a_guests_business() {
    for (name, semantics) in every_semantics() {
        let (reported, driver) = reports(semantics, event(0x10, 0, 1));
        assert_eq!(reported, [], "{name}");
        assert!(matches!(driver.printed(), [Printed::Event { .. }]));
    }
}

// linux-iommu.md P70, 1.12.
#[test]
fn p70_c_bad_cd_reaches_the_handler_in_io12_and_io13_only() {
    for (name, semantics) in every_semantics() {
        let early = matches!(semantics.io(), Some(SeriesIo::V12 | SeriesIo::V13));
        let (reported, _) = reports(semantics, event(0x0a, 0, 0));
        let reasons: Vec<u32> = reported
            .iter()
            .map(|fault| match fault {
                DeviceFault::Unrecoverable { reason, .. } => *reason,
                DeviceFault::PageRequest { .. } => 0,
            })
            .collect();
        // IOMMU_FAULT_REASON_BAD_PASID_ENTRY.
        assert_eq!(reasons, if early { vec![2] } else { vec![] }, "{name}");
    }
}

// linux-iommu.md 4.8, 1.12.
#[test]
fn a_translation_fault_is_reported_where_the_version_reports() {
    for (name, semantics) in every_semantics() {
        let reports_it = semantics.series.is_some()
            || semantics.driver.event_reports
                == iommu_core::semantics::EventReports::TranslationFaults;
        let (reported, driver) = reports(semantics, event(0x10, 0, 0));
        assert_eq!(!reported.is_empty(), reports_it, "{name}");
        assert_eq!(driver.printed().is_empty(), reports_it, "{name}");
        if let [DeviceFault::Unrecoverable { addr, perm, .. }] = reported[..] {
            assert_eq!((addr, perm), (0x1234_5678, 1));
        }
    }
}

// linux-iommu.md 4.8: an unanswered stall is aborted, an answered one resumed.
#[test]
fn stalled_transactions_are_resumed_once() {
    let part = SmmuConfig {
        stall_model: StallModel::StallAndTerminate,
        ..part()
    };
    for (taken, answer) in [
        (Ok(()), Some(ResumeAnswer::Retry)),
        (Err(Errno::ENOSPC), None),
    ] {
        let mut driver = driver_on(Semantics::kernel(Kernel::V7_2), std::slice::from_ref(&part));
        let device = add_device(&mut driver, 1);
        driver.platform_mut().push_event(S0, event(0x10, 1, 0));
        driver.handle_events(|_, _| taken);
        let resumes = |driver: &Driver<Machine>| -> Vec<Command> {
            driver
                .platform()
                .commands()
                .into_iter()
                .filter(|command| matches!(command, Command::Resume { .. }))
                .collect()
        };
        let resume = |answer| Command::Resume {
            sid: sid(1),
            stag: 7,
            answer,
        };
        let response = PageResponse {
            pasid: 0,
            grpid: 7,
            code: 0,
        };
        let Some(answer) = answer else {
            assert_eq!(resumes(&driver), [resume(ResumeAnswer::Abort)]);
            assert_eq!(driver.page_response(device, &response), Err(Errno::EINVAL));
            continue;
        };
        assert_eq!(resumes(&driver), []);
        driver.page_response(device, &response).unwrap();
        assert_eq!(resumes(&driver), [resume(answer)]);
        assert_eq!(driver.page_response(device, &response), Err(Errno::EINVAL));
    }
}

// linux-iommu.md 4.8: CONS follows each record.
#[test]
fn events_are_taken_in_order_and_each_is_acknowledged() {
    let mut driver = driver(Semantics::kernel(Kernel::V5_10));
    add_device(&mut driver, 1);
    for id in [0x10, 0x02, 0x11] {
        driver.platform_mut().push_event(S0, event(id, 0, 0));
    }
    driver.platform_mut().done.clear();
    driver.handle_events(|_, _| Ok(()));
    let cons: Vec<u64> = driver
        .platform()
        .done
        .iter()
        .filter_map(|done| match done {
            Done::Mmio(_, 0x100ac, value) => Some(*value),
            _ => None,
        })
        .collect();
    assert_eq!(cons, [1, 2, 3]);
    let ids: Vec<u64> = driver
        .printed()
        .iter()
        .filter_map(|line| match line {
            Printed::Event { record, .. } => Some(record[0] & 0xff),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [0x10, 0x02, 0x11]);
}

// Leak test: everything undone, nothing is left but second-level stream tables.
#[test]
fn after_teardown_only_stream_tables_are_left() {
    for (name, semantics) in every_semantics() {
        let mut driver = driver(semantics);
        let first = add(&mut driver, 1, &with_ats(1));
        driver.release_device(first);
        let (bytes, entry) = (driver.platform().allocated_bytes, super::ste(&driver, 1)[0]);
        let device = add(&mut driver, 1, &with_ats(1));
        let domain = super::add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        super::map(&mut driver, domain, 0, 0x1_0000_0000, 2000);
        let identity = DomainId(2);
        driver
            .domain_alloc(identity, DomainKind::Identity, Some(device))
            .unwrap();
        driver.attach_dev(identity, device, Some(domain)).unwrap();
        driver.domain_free(domain);
        driver.release_device(device);
        driver.domain_free(identity);
        assert_eq!(driver.platform().allocated_bytes, bytes, "{name}");
        assert_eq!(driver.asids_in_use() + driver.vmids_in_use(S0), 0, "{name}");
        assert_eq!(super::ste(&driver, 1)[0], entry, "{name}");
        assert_eq!(driver.stream_owner(S0, sid(1)), None, "{name}");
    }
}

#[test]
fn a_command_waits_only_when_asked_to() {
    let mut driver = driver(Semantics::kernel(Kernel::V5_10));
    let instance = &mut driver.instances[0];
    instance
        .cmdq
        .issue(&mut driver.platform, S0, &[Command::CfgiAll], Wait::No)
        .unwrap();
    assert_eq!(driver.platform.commands(), [Command::CfgiAll]);
    let denied = Command::PriResp {
        sid: sid(1),
        ssid: None,
        group: 3,
        answer: PriAnswer::Deny,
    };
    assert_eq!(Command::from_words(denied.words()), Some(denied));
}

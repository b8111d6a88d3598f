//! Edge cases 10–32: queues, global errors and interrupts.

use smmu::addr::Pa;
use smmu::command::Command;
use smmu::mem::{AbortRule, AccessClass};
use smmu::{CommandStep, Interrupts};

use crate::support::bench::*;
use crate::support::rig::*;

const SYNC: [u64; 2] = [0x46, 0];
/// An address no table maps.
const HOLE: u64 = 0x1000;

/// An event queue of 2^`log2` records.
fn with_events(log2: u64) -> Rig {
    let mut rig = Rig::new(Bench::stage1());
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !EVENTQEN);
    rig.write64(EVENTQ_BASE, EVENTQ | log2);
    rig.write32(CR0, enabled);
    rig
}

/// Makes one record, numbered by its address.
fn fault(rig: &mut Rig, n: u64) {
    let outcome = rig.read(HOLE + 0x1000 * n);
    assert_eq!(number(&outcome), F_TRANSLATION);
}

/// Numbers of the records that wait.
fn faults(rig: &Rig) -> Vec<u64> {
    let events = rig.pending_events();
    events.iter().map(|e| (e[2] - HOLE) >> 12).collect()
}

fn consumed(step: CommandStep) -> Option<Command> {
    match step {
        CommandStep::Consumed { command, .. } => Some(command),
        CommandStep::Idle | CommandStep::Stopped(_) => None,
    }
}

#[test]
fn edge_010_a_queue_of_one_entry_has_a_wrap_bit_only() {
    let mut rig = with_events(0);
    for (prod, n) in [(1, 0), (0, 1), (1, 2)] {
        fault(&mut rig, n);
        assert_eq!(rig.read32(EVENTQ_PROD), prod);
        assert_eq!(faults(&rig), [n]);
        rig.write32(EVENTQ_CONS, prod);
    }
    // The command queue likewise.
    rig.write32(CR0, 0);
    rig.write64(CMDQ_BASE, CMDQ);
    rig.write32(CMDQ_PROD, 0);
    rig.write32(CR0, CMDQEN);
    for cons in [1, 0, 1] {
        rig.push(SYNC);
        assert!(consumed(rig.step()).is_some());
        assert_eq!(rig.read32(CMDQ_CONS), cons);
        assert_eq!(rig.step(), CommandStep::Idle);
    }
}

#[test]
fn edge_011_a_size_beyond_the_limit_reads_back_and_acts_as_the_limit() {
    let mut bench = Bench::stage1().part(|part| {
        part.eventqs = 1;
        part.cmdqs = 1;
    });
    bench.ste.bit(0, 1);
    let mut rig = Rig::new(bench);
    assert_eq!(rig.read64(EVENTQ_BASE) & 0x1f, 4);
    for n in 0..3 {
        fault(&mut rig, n);
    }
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 0b10, "two records fit");
    // Two commands fit, the third wraps.
    for cons in [1, 2, 3, 0, 1] {
        let prod = rig.read32(CMDQ_PROD);
        let at = CMDQ + 16 * (prod & 1);
        rig.bench.write(at, SYNC[0]);
        rig.write32(CMDQ_PROD, (prod + 1) & 3);
        assert!(consumed(rig.step()).is_some());
        assert_eq!(rig.read32(CMDQ_CONS), cons);
    }
}

#[test]
fn edge_012_queue_bases_are_aligned_down_to_the_queue() {
    let mut rig = with_events(4);
    rig.write32(CR0, 0);
    // 16 records are 512 bytes, 64 commands 1 KiB.
    rig.write64(EVENTQ_BASE, EVENTQ | 0x1e0 | 4);
    rig.write64(CMDQ_BASE, CMDQ | 0x3e0 | 6);
    rig.write32(CR0, SMMUEN | EVENTQEN | CMDQEN);
    fault(&mut rig, 0);
    assert_eq!(rig.bench.peek(EVENTQ) & 0xff, F_TRANSLATION);
    rig.bench.write(CMDQ, SYNC[0]);
    rig.write32(CMDQ_PROD, 1);
    assert!(consumed(rig.step()).is_some());
}

#[test]
fn edge_013_a_full_queue_holds_all_its_entries() {
    let mut rig = with_events(2);
    for n in 0..4 {
        fault(&mut rig, n);
    }
    assert_eq!(
        rig.read32(EVENTQ_PROD),
        0b100,
        "index as CONS, wrap differs"
    );
    assert_eq!(faults(&rig), [0, 1, 2, 3]);
}

#[test]
fn edge_014_015_016_017_an_overflow_is_told_once_and_stops_nothing() {
    let mut rig = with_events(1);
    for n in 0..2 {
        fault(&mut rig, n);
    }
    assert_eq!(rig.read32(EVENTQ_PROD), 2);
    fault(&mut rig, 2);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 2);
    assert_eq!(rig.active_errors(), 0, "an overflow is no global error");
    fault(&mut rig, 3);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 2, "told already");
    // Space, but no acknowledgement: recorded again, and the flag stays.
    rig.write32(EVENTQ_CONS, 1);
    fault(&mut rig, 4);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 3);
    assert_eq!(faults(&rig), [1, 4]);
    // Acknowledged: the next drop toggles the flag back.
    rig.write32(EVENTQ_CONS, OVERFLOW | 1);
    fault(&mut rig, 5);
    assert_eq!(rig.read32(EVENTQ_PROD), 3);
}

#[test]
fn edge_018_what_happens_while_the_queue_is_disabled_is_not_told() {
    let mut rig = with_events(1);
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !EVENTQEN);
    for n in 0..4 {
        fault(&mut rig, n);
    }
    assert_eq!(rig.read32(EVENTQ_PROD), 0);
    rig.write32(CR0, enabled);
    rig.run();
    assert_eq!(rig.read32(EVENTQ_PROD), 0);
    assert_eq!(rig.event_pulses(), 0);
}

#[test]
fn edge_019_one_interrupt_for_a_queue_that_was_empty() {
    let mut rig = with_events(4);
    fault(&mut rig, 0);
    fault(&mut rig, 1);
    assert_eq!(rig.event_pulses(), 1);
    rig.take_events();
    fault(&mut rig, 2);
    assert_eq!(rig.event_pulses(), 1);
}

#[test]
fn edge_020_an_interrupt_enabled_later_does_not_tell_of_old_events() {
    let mut rig = with_events(4);
    rig.write32(IRQ_CTRL, 0);
    fault(&mut rig, 0);
    rig.write32(IRQ_CTRL, 7);
    fault(&mut rig, 1);
    rig.run();
    assert_eq!(rig.smmu.take_interrupts(), Interrupts::default());
}

#[test]
fn edge_021_an_error_acknowledged_without_cause_looks_active() {
    let mut rig = Rig::new(Bench::stage1());
    rig.write32(GERRORN, CMDQ_ERR);
    assert_eq!(rig.active_errors(), CMDQ_ERR);
    assert_eq!(rig.smmu.take_interrupts().gerror, 0);
    rig.push(SYNC);
    assert_eq!(rig.step(), CommandStep::Idle);
    rig.write32(GERRORN, 0);
    assert!(consumed(rig.step()).is_some());
}

#[test]
fn edge_022_a_command_that_cannot_be_read_is_read_again_after_acknowledgement() {
    let mut rig = Rig::new(Bench::stage1());
    rig.push(SYNC);
    rig.aborts = vec![AbortRule::class(AccessClass::CommandQueue)];
    assert!(matches!(rig.step(), CommandStep::Stopped(_)));
    assert_eq!(rig.read32(CMDQ_CONS), 2 << 24);
    assert_eq!(rig.active_errors(), CMDQ_ERR);
    assert_eq!(rig.smmu.take_interrupts().gerror, 1);
    rig.aborts.clear();
    assert_eq!(rig.step(), CommandStep::Idle);
    rig.acknowledge(CMDQ_ERR);
    assert!(consumed(rig.step()).is_some());
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 1);
}

#[test]
fn edge_023_a_bad_command_holds_up_those_behind_it_until_it_is_mended() {
    let mut rig = Rig::new(Bench::stage1());
    let bad = [0xff, 0];
    // Behind the bad one, a CMD_SYNC that would interrupt.
    for words in [SYNC, bad, [0x46 | 1 << 12, 0]] {
        rig.push(words);
    }
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS), 1 << 24 | 1);
    assert_eq!(rig.smmu.take_interrupts().cmd_sync, 0);
    rig.bench.write(CMDQ + 16, SYNC[0]);
    rig.acknowledge(CMDQ_ERR);
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 3);
    assert_eq!(rig.smmu.take_interrupts().cmd_sync, 1);
}

#[test]
fn edge_024_commands_can_be_taken_back_while_an_error_is_active() {
    let mut rig = Rig::new(Bench::stage1());
    rig.push([0xff, 0]);
    rig.push([0x46 | 1 << 12, 0]);
    rig.run();
    rig.write32(CMDQ_PROD, 0);
    rig.acknowledge(CMDQ_ERR);
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 0);
    assert_eq!(rig.smmu.take_interrupts().cmd_sync, 0);
    assert_eq!(rig.active_errors(), 0);
}

#[test]
fn edge_025_an_error_outlives_disabling_the_queue() {
    let mut rig = Rig::new(Bench::stage1());
    rig.push([0xff, 0]);
    rig.run();
    rig.bench.write(CMDQ, SYNC[0]);
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !CMDQEN);
    rig.write32(CR0, enabled);
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 0);
    rig.acknowledge(CMDQ_ERR);
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 1);
}

#[test]
fn edge_026_028_reserved_opcodes_and_signals_are_illegal() {
    let mut rig = Rig::new(Bench::stage1());
    for words in [[0, 0], [0xff, 0], [0x46 | 3 << 12, 0]] {
        assert_eq!(rig.cerror(words), 1, "{words:#x?}");
    }
}

#[test]
fn edge_027_a_sync_without_a_message_address_pulses_the_wire() {
    let mut rig = Rig::new(Bench::stage1());
    rig.command([0x46 | 1 << 12 | 0xabcd << 32, 0]);
    assert_eq!(rig.smmu.take_interrupts().cmd_sync, 1);
    assert_eq!(rig.bench.peek(0), 0, "nothing is written at address 0");
    // With an address: MSIData there, 32 bits.
    rig.bench.write(MSI, u64::MAX);
    rig.command([0x46 | 1 << 12 | 0xabcd << 32, MSI]);
    assert_eq!(rig.bench.peek(MSI), 0xffff_ffff_0000_abcd);
    // A part without MSIs ignores the address.
    let mut wired = Rig::new(Bench::stage1().part(|part| part.msi = false));
    wired.command([0x46 | 1 << 12 | 0xabcd << 32, MSI]);
    assert_eq!(wired.smmu.take_interrupts().cmd_sync, 1);
    assert_eq!(wired.bench.peek(MSI), 0);
}

#[test]
fn edge_029_a_sync_whose_message_aborts_is_consumed() {
    let mut rig = Rig::new(Bench::stage1());
    rig.push([0x46 | 1 << 12, MSI]);
    rig.aborts = vec![AbortRule::at(Pa::new(MSI))];
    rig.run();
    assert_eq!(rig.active_errors(), MSI_CMDQ_ABT_ERR);
    assert_eq!(rig.read32(CMDQ_CONS), 1);
    assert_eq!(rig.smmu.take_interrupts().gerror, 1);
    // No side effect: commands go on.
    rig.push(SYNC);
    assert!(consumed(rig.step()).is_some());
}

#[test]
fn edge_030_the_error_interrupt_does_not_tell_of_its_own_failure() {
    let mut rig = Rig::new(Bench::stage1());
    rig.write32(IRQ_CTRL, 0);
    rig.write64(GERROR_IRQ_CFG0, MSI);
    rig.write32(GERROR_IRQ_CFG1, 0x77);
    rig.write32(IRQ_CTRL, 7);
    rig.push([0xff, 0]);
    rig.aborts = vec![AbortRule::class(AccessClass::Msi)];
    rig.run();
    assert_eq!(rig.active_errors(), CMDQ_ERR | MSI_GERROR_ABT_ERR);
    assert_eq!(rig.smmu.take_interrupts(), Interrupts::default());
    // Where it does not abort, the message arrives.
    rig.aborts.clear();
    rig.acknowledge(CMDQ_ERR | MSI_GERROR_ABT_ERR);
    rig.run();
    assert_eq!(rig.active_errors(), CMDQ_ERR);
    assert_eq!(rig.bench.peek(MSI), 0x77);
}

#[test]
fn edge_031_032_a_record_that_cannot_be_written_stops_the_queue() {
    let mut rig = with_events(4);
    rig.aborts = vec![AbortRule::class(AccessClass::EventQueue)];
    fault(&mut rig, 0);
    assert_eq!(rig.active_errors(), EVENTQ_ABT_ERR);
    assert_eq!(rig.read32(EVENTQ_PROD), 0);
    let seen = rig.smmu.take_interrupts();
    assert_eq!((seen.eventq, seen.gerror), (0, 1));
    rig.aborts.clear();
    fault(&mut rig, 1);
    assert_eq!(rig.read32(EVENTQ_PROD), 0, "not even an overflow");
    rig.acknowledge(EVENTQ_ABT_ERR);
    fault(&mut rig, 2);
    assert_eq!(faults(&rig), [2]);
}

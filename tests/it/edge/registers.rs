//! Edge cases 1 and 4–9: what registers accept, and when.

use smmu::config::Version;

use crate::support::bench::*;
use crate::support::rig::*;

/// A part of an architecture that ignores writes to guarded registers.
fn rig() -> Rig {
    let bench = Bench::stage1().part(|part| part.version = Version::V3_2);
    Rig::new(bench)
}

/// Writes all ones, then zeros, to a 32-bit register, and tells whether it kept its value.
fn is_frozen(rig: &mut Rig, offset: u32) -> bool {
    let before = rig.read32(offset);
    [u32::MAX.into(), 0].into_iter().all(|value| {
        rig.write32(offset, value);
        rig.read32(offset) == before
    })
}

#[test]
fn edge_001_gbpa_ignores_a_write_without_update() {
    // IHI 0070 §6.3.14
    let mut bench = Bench::bypass();
    bench.smmuen = false;
    let mut rig = Rig::new(bench);
    let before = rig.read32(GBPA);
    rig.write32(GBPA, 1 << 20);
    assert_eq!(rig.read32(GBPA), before);
    assert_eq!(pa(&rig.read(0x1000)), 0x1000, "nothing aborts");
    rig.write32(GBPA, 1 << 31 | 1 << 20);
    assert_eq!(rig.read32(GBPA), 1 << 20, "Update has become 0");
    assert!(rig.read(0x1000).pa().is_none());
}

#[test]
fn edge_004_cr0ack_shows_defined_bits_only() {
    let mut rig = rig();
    rig.write32(CR0, u32::MAX.into());
    assert_eq!(rig.read32(CR0ACK), 0x1df);
    let mut small = Rig::new(Bench::stage1().part(|part| {
        part.pri = false;
        part.ats = false;
        part.atsrecerr = false;
        part.vmw = false;
    }));
    small.write32(CR0, u32::MAX.into());
    assert_eq!(small.read32(CR0ACK), 0b1101);
}

#[test]
fn edge_005_stream_table_registers_are_frozen_while_the_smmu_is_enabled() {
    let mut rig = rig();
    let table_fields = rig.read32(CR1) & 0xfc0;
    for offset in [STRTAB_BASE, STRTAB_BASE + 4, STRTAB_BASE_CFG, CR2] {
        assert!(is_frozen(&mut rig, offset), "{offset:#x}");
    }
    rig.write32(CR1, 0xfff);
    assert_eq!(rig.read32(CR1) & 0xfc0, table_fields);
    // The streams are found as before.
    assert_eq!(pa(&rig.read(VA)), IPA);
    rig.write32(CR0, 0);
    rig.write32(CR2, 0b10);
    assert_eq!(rig.read32(CR2), 0b10);
    rig.write32(CR1, 0xfff);
    assert_eq!(rig.read32(CR1), 0xfff);
}

#[test]
fn edge_006_the_command_queue_does_not_move_while_it_is_enabled() {
    let mut rig = rig();
    for offset in [CMDQ_BASE, CMDQ_BASE + 4, CMDQ_CONS] {
        assert!(is_frozen(&mut rig, offset), "{offset:#x}");
    }
    // CR1.QUEUE_* too, though only one queue is enabled.
    rig.write32(CR0, CMDQEN);
    rig.write32(CR1, 0x3f);
    assert_eq!(rig.read32(CR1) & 0x3f, 0);
    rig.write32(CR0, 0);
    rig.write32(CMDQ_CONS, 5);
    assert_eq!(rig.read32(CMDQ_CONS) & 0xf_ffff, 5);
}

#[test]
fn edge_007_the_producer_index_of_events_belongs_to_the_smmu() {
    let mut rig = rig();
    for offset in [EVENTQ_PROD, EVENTQ_BASE, PRIQ_PROD, PRIQ_BASE] {
        assert!(is_frozen(&mut rig, offset), "{offset:#x}");
    }
    for offset in [EVENTQ_CONS, PRIQ_CONS] {
        rig.write32(offset, OVERFLOW | 3);
        assert_eq!(rig.read32(offset), OVERFLOW | 3, "{offset:#x}");
    }
    rig.write32(CR0, 0);
    rig.write32(EVENTQ_PROD, OVERFLOW | 9);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 9);
}

#[test]
fn edge_008_messages_are_frozen_while_their_interrupt_is_enabled() {
    let mut rig = rig();
    // Each source with its bit of IRQ_CTRL.
    for (bit, cfg0) in [(0, GERROR_IRQ_CFG0), (1, 0xd0), (2, EVENTQ_IRQ_CFG0)] {
        let others = 7 & !(1 << bit);
        for offset in [cfg0, cfg0 + 4, cfg0 + 8, cfg0 + 12] {
            rig.write32(IRQ_CTRL, 7);
            assert!(is_frozen(&mut rig, offset), "{offset:#x}");
            rig.write32(IRQ_CTRL, others);
            assert!(!is_frozen(&mut rig, offset), "{offset:#x}");
            rig.write32(offset, 0);
        }
    }
}

#[test]
fn edge_009_priq_base_follows_priqen_even_while_the_smmu_is_disabled() {
    let mut rig = rig();
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !SMMUEN);
    assert!(is_frozen(&mut rig, PRIQ_BASE));
    rig.write32(CR0, 0);
    assert!(!is_frozen(&mut rig, PRIQ_BASE));
}

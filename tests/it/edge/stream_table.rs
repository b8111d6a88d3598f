//! Edge cases 33–62: stream tables and STEs.

use smmu::attr::{Device, MemoryType, Shareability};
use smmu::config::{Httu, SmmuConfig, StallModel};
use smmu::ids::StreamId;
use smmu::transaction::{AccessKind, Outcome, Response};
use smmu::{Transaction, addr::Iova};

use crate::support::bench::*;

fn from_stream(bench: &Bench, sid: u32) -> Outcome {
    bench.translate(&Transaction::read(StreamId::new(sid), Iova::new(0x1000)))
}

fn attributes(outcome: &Outcome) -> smmu::attr::Attributes {
    match outcome {
        Outcome::Translated(translation) => translation.attributes,
        other => panic!("{other:?}"),
    }
}

/// A bypass STE wherever a test needs one more.
fn bypass_ste() -> Words {
    Bench::bypass().ste
}

#[test]
fn edge_033_the_last_stream_is_served_and_the_next_is_bad() {
    // IHI 0070 §3.3.1, STRTAB_BASE_CFG.LOG2SIZE; CR2.RECINVSID decides only about the event.
    let mut bench = Bench::bypass();
    bench.write_words(STRTAB + 63 * 64, bypass_ste());
    assert_eq!(pa(&from_stream(&bench, 63)), 0x1000);
    let bad = from_stream(&bench, 64);
    assert_eq!(event(&bad), [C_BAD_STREAMID | 64 << 32, 0, 0, 0]);
    bench.cr2 = 0;
    let silent = from_stream(&bench, 64);
    assert!(matches!(
        silent,
        Outcome::Terminated {
            response: Response::Abort,
            event: None,
            ..
        }
    ));
    assert!(silent.fault().is_some());
}

#[test]
fn edge_034_sidsize_caps_the_range_but_log2size_aligns_the_base() {
    // IHI 0070 §6.3.24: LOG2SIZE as programmed aligns, min(LOG2SIZE, SIDSIZE) is the range.
    let mut bench = Bench::bypass().part(|part| {
        part.sidsize = 6;
        part.st_level = false;
    });
    bench.strtab_base_cfg = 20;
    bench.strtab_base = STRTAB;
    // 2^20 STEs of 64 bytes align to 64 MiB: the table starts at 0.
    bench.write_words(u64::from(SID) * 64, bypass_ste());
    bench.ste = Words::default();
    assert_eq!(pa(&bench.read(0x1000)), 0x1000);
    assert_eq!(number(&from_stream(&bench, 64)), C_BAD_STREAMID);
}

/// A two-level table: L1STD of `SID`'s entry, level-2 array at 0x140000.
fn two_level(split: u64, log2size: u64, l1std: u64) -> Bench {
    let mut bench = Bench::bypass();
    bench.strtab_base_cfg = 1 << 16 | split << 6 | log2size;
    bench.ste = Words::default();
    bench.write(STRTAB, l1std);
    bench
}

const LEVEL2: u64 = 0x14_0000;

#[test]
fn edge_035_an_unsupported_split_acts_as_six() {
    for split in [0, 7, 9, 31] {
        let mut bench = two_level(split, 12, 0);
        // With SPLIT=6 stream 0x45 is entry 5 of L1STD 1.
        bench.write(STRTAB + 8, LEVEL2 | 7);
        bench.write_words(LEVEL2 + 5 * 64, bypass_ste());
        assert_eq!(pa(&from_stream(&bench, 0x45)), 0x1000, "SPLIT={split}");
    }
    for (split, l1_index) in [(8, 0x3), (10, 0x0)] {
        let mut bench = two_level(split, 16, 0);
        bench.write(STRTAB + 8 * l1_index, LEVEL2 | (split + 1));
        bench.write_words(LEVEL2 + (0x345 & ((1 << split) - 1)) * 64, bypass_ste());
        assert_eq!(pa(&from_stream(&bench, 0x345)), 0x1000, "SPLIT={split}");
    }
}

#[test]
fn edge_036_a_split_as_large_as_the_table_needs_one_l1std() {
    let mut bench = two_level(8, 6, LEVEL2 | 9);
    bench.write_words(LEVEL2 + 5 * 64, bypass_ste());
    assert_eq!(pa(&from_stream(&bench, 5)), 0x1000);
    assert_eq!(number(&from_stream(&bench, 64)), C_BAD_STREAMID);
}

#[test]
fn edge_037_span_zero_and_reserved_spans_have_no_stes() {
    for span in [0, 12, 20, 31] {
        let bench = two_level(8, 8, LEVEL2 | span);
        assert_eq!(
            number(&from_stream(&bench, 0)),
            C_BAD_STREAMID,
            "Span={span}"
        );
    }
}

#[test]
fn edge_038_a_span_beyond_the_split_is_bad() {
    for (span, expected) in [(7, 0), (8, C_BAD_STREAMID)] {
        let mut bench = two_level(6, 6, LEVEL2 | span);
        bench.write_words(LEVEL2, bypass_ste());
        assert_eq!(number(&from_stream(&bench, 0)), expected, "Span={span}");
    }
}

#[test]
fn edge_039_040_an_index_beyond_the_span_is_a_bad_stream_not_a_bad_ste() {
    for (span, last) in [(1, 0), (3, 3)] {
        let mut bench = two_level(8, 8, LEVEL2 | span);
        for index in 0..8 {
            bench.write_words(LEVEL2 + 64 * index, bypass_ste());
        }
        assert_eq!(pa(&from_stream(&bench, last)), 0x1000, "Span={span}");
        assert_eq!(
            number(&from_stream(&bench, last + 1)),
            C_BAD_STREAMID,
            "Span={span}"
        );
    }
}

#[test]
fn edge_041_l2ptr_bits_below_the_array_size_are_ignored() {
    // Span=5: 16 STEs, 1 KiB.
    let mut bench = two_level(8, 8, (LEVEL2 + 0x3c0) | 5);
    bench.write_words(LEVEL2 + 2 * 64, bypass_ste());
    assert_eq!(pa(&from_stream(&bench, 2)), 0x1000);
}

#[test]
fn edge_042_the_format_register_decides_at_each_lookup() {
    let mut bench = Bench::bypass();
    bench.strtab_base_cfg |= 1 << 16;
    // Read as an L1STD, the first words of the linear table give span 0.
    assert_eq!(number(&bench.read(0x1000)), C_BAD_STREAMID);
    bench.strtab_base_cfg &= !(1 << 16);
    assert_eq!(pa(&bench.read(0x1000)), 0x1000);
    // FMT 2 and 3 act as linear.
    bench.strtab_base_cfg |= 2 << 16;
    assert_eq!(pa(&bench.read(0x1000)), 0x1000);
}

#[test]
fn edge_043_an_invalid_ste_faults_and_an_aborting_one_is_silent() {
    let mut bench = Bench::bypass();
    bench.ste.bit(0, 0);
    assert_eq!(
        event(&bench.read(0)),
        [C_BAD_STE | u64::from(SID) << 32, 0, 0, 0]
    );
    for config in 0..4 {
        let mut bench = Bench::bypass();
        bench.ste.bit(0, 1).set(3, 1, config);
        let outcome = bench.read(0);
        assert!(
            matches!(
                outcome,
                Outcome::Terminated {
                    response: Response::Abort,
                    fault: None,
                    event: None
                }
            ),
            "Config={config}: {outcome:?}"
        );
    }
}

#[test]
fn edge_044_stage_2_only_ignores_all_stage_1_fields() {
    let mut bench = Bench::stage2().part(|part| {
        part.stall_model = StallModel::TerminateOnly;
        part.stall_max = 0;
    });
    bench
        .ste
        .set(5, 4, 1)
        .set(55, 6, (1 << 50) - 1)
        .set(63, 59, 31)
        .bit(91, 1);
    assert_eq!(pa(&bench.read(IPA + 4)), PA + 4);
}

#[test]
fn edge_045_stage_1_only_ignores_all_stage_2_fields() {
    let mut bench = Bench::stage1();
    bench
        .ste
        .set(175, 174, 3)
        .set(165, 160, 0)
        .address(243, 196, 0xf_ffff_ffff_fff0);
    assert_eq!(pa(&bench.read(VA + 4)), IPA + 4);
}

#[test]
fn edge_046_s1stalld_needs_a_part_that_lets_software_choose() {
    let mut bench = Bench::stage1();
    bench.ste.bit(91, 1);
    assert_eq!(number(&bench.read(VA)), 0);
    let fixed = bench.part(|part| {
        part.stall_model = StallModel::TerminateOnly;
        part.stall_max = 0;
    });
    assert_eq!(number(&fixed.read(VA)), C_BAD_STE);
}

#[test]
fn edge_047_s1cdmax_may_reach_ssidsize() {
    for (max, expected) in [(4, 0), (5, C_BAD_STE)] {
        let mut bench = Bench::stage1().part(|part| part.ssidsize = 4);
        bench.ste.set(63, 59, max).set(65, 64, 2);
        assert_eq!(number(&bench.read(VA)), expected, "S1CDMax={max}");
    }
}

#[test]
fn edge_048_two_level_cd_tables_need_cd2l_and_s1fmt_3_is_linear() {
    for (s1fmt, expected) in [(0, 0), (1, C_BAD_STE), (2, C_BAD_STE), (3, 0)] {
        let mut bench = Bench::stage1().part(|part| part.cd2l = false);
        bench.ste.set(5, 4, s1fmt).set(63, 59, 2).set(65, 64, 2);
        assert_eq!(number(&bench.read(VA)), expected, "S1Fmt={s1fmt}");
    }
}

#[test]
fn edge_049_stage_2_hardware_update_needs_httu() {
    for (httu, ha, hd, expected) in [
        (Httu::None, 1, 0, C_BAD_STE),
        (Httu::None, 0, 1, C_BAD_STE),
        (Httu::AccessFlag, 1, 0, 0),
        (Httu::AccessFlag, 1, 1, C_BAD_STE),
        (Httu::Dirty, 1, 1, 0),
        (Httu::Dirty, 0, 1, 0),
    ] {
        let mut bench = Bench::stage2().part(|part| part.httu = httu);
        bench.ste.bit(184, ha).bit(183, hd);
        assert_eq!(
            number(&bench.read(IPA)),
            expected,
            "{httu:?} HA={ha} HD={hd}"
        );
    }
    // HD without HA is off: a writable-clean page stays read-only.
    let mut bench = Bench::stage2();
    bench.ste.bit(183, 1);
    bench.map2(IPA, (PA | S2_PAGE | 1 << 51) & !(1 << 7));
    assert_eq!(number(&bench.access(AccessKind::Write, IPA)), F_PERMISSION);
}

#[test]
fn edge_050_lpae_stage_2_tables_are_illegal() {
    let mut bench = Bench::stage2();
    bench.ste.bit(179, 0);
    assert_eq!(number(&bench.read(IPA)), C_BAD_STE);
}

#[test]
fn edge_051_strw_is_checked_only_where_it_is_used() {
    for (bench, expected) in [(Bench::stage1(), C_BAD_STE), (Bench::nested(), 0)] {
        let mut bench = bench;
        bench.ste.set(95, 94, 1);
        assert_eq!(number(&bench.read(VA)), expected);
        let without_el2 = bench.part(|part| {
            part.hyp = false;
            part.version = smmu::config::Version::V3_1;
        });
        assert_eq!(number(&without_el2.read(VA)), 0);
    }
}

#[test]
fn edge_052_split_stage_ats_needs_both_stages_and_ats() {
    let mut bench = Bench::stage1();
    bench.ste.set(93, 92, 2);
    assert_eq!(number(&bench.read(VA)), C_BAD_STE);
    let without = bench.part(without_ats);
    assert_eq!(number(&without.read(VA)), 0);
    let mut nested = Bench::nested();
    nested.ste.set(93, 92, 2);
    assert_eq!(number(&nested.read(VA)), 0);
    nested.ste.bit(185, 1);
    assert_eq!(number(&nested.read(VA)), C_BAD_STE, "S2S=1");
}

fn without_ats(part: &mut SmmuConfig) {
    part.ats = false;
    part.pri = false;
    part.atsrecerr = false;
}

#[test]
fn edge_053_vmid_bits_above_eight_need_vmid16_where_the_vmid_is_used() {
    for (mut bench, expected) in [
        (Bench::stage1(), C_BAD_STE),
        (Bench::bypass(), 0),
        (Bench::stage2(), C_BAD_STE),
    ] {
        bench.ste.set(143, 128, 0x100);
        let address = if expected == 0 { 0x1000 } else { VA };
        assert_eq!(
            number(&bench.clone().part(|p| p.vmid16 = false).read(address)),
            expected
        );
        assert_ne!(number(&bench.read(address)), C_BAD_STE);
    }
}

#[test]
fn edge_054_s2ttb_must_fit_s2ps_which_is_capped_by_oas() {
    let mut bench = Bench::stage2();
    bench.ste.set(178, 176, 0).address(243, 196, 1 << 32);
    assert_eq!(number(&bench.read(IPA)), C_BAD_STE);
    // S2PS of 48 bits on a 40-bit part acts as 40.
    let mut capped = Bench::stage2().part(forty_bits);
    capped.ste.address(243, 196, 1 << 40);
    assert_eq!(number(&capped.read(IPA)), C_BAD_STE);
    capped.ste.address(243, 196, S2_ROOT);
    assert_eq!(pa(&capped.read(IPA)), PA);
}

fn forty_bits(part: &mut SmmuConfig) {
    part.oas = 40;
}

#[test]
fn edge_055_a_4k_table_beyond_48_bits_needs_ds() {
    let mut bench = Bench::stage2();
    bench.ste.set(178, 176, 6).address(243, 196, 1 << 48);
    assert_eq!(number(&bench.read(IPA)), C_BAD_STE);
    bench.ste.bit(195, 1);
    assert_eq!(
        number(&bench.read(IPA)),
        F_TRANSLATION,
        "an empty table, but a legal one"
    );
}

#[test]
fn edge_056_057_058_start_levels_must_fit_the_size_and_the_part() {
    // (S2T0SZ, SL0, OAS, legal)
    for (t0sz, sl0, oas, legal) in [
        (24, 1, 48, true),
        (24, 2, 48, true),
        (24, 0, 48, false),
        (20, 1, 48, false),
        (34, 1, 48, false),
        (24, 2, 40, false),
        (24, 1, 40, true),
    ] {
        let mut bench = Bench::stage2().part(|part| {
            part.oas = oas;
        });
        bench
            .ste
            .set(165, 160, t0sz)
            .set(167, 166, sl0)
            .set(178, 176, 2);
        bench.ste.address(243, 196, 0x100_0000);
        let expected = if legal { F_TRANSLATION } else { C_BAD_STE };
        assert_eq!(
            number(&bench.read(0x1000)),
            expected,
            "T0SZ={t0sz} SL0={sl0} OAS={oas}"
        );
    }
}

#[test]
fn edge_059_16k_start_levels() {
    for (sl0, expected) in [(2, F_TRANSLATION), (3, C_BAD_STE)] {
        let mut bench = Bench::stage2().part(|part| part.oas = 48);
        bench
            .ste
            .set(175, 174, 2)
            .set(165, 160, 16)
            .set(167, 166, sl0);
        bench.ste.address(243, 196, 0x100_0000);
        assert_eq!(number(&bench.read(0x1000)), expected, "SL0={sl0}");
    }
}

#[test]
fn edge_060_s2t0sz_may_not_exceed_the_intermediate_size() {
    for (t0sz, expected) in [(24, F_TRANSLATION), (23, C_BAD_STE)] {
        let mut bench = Bench::stage2().part(forty_bits);
        bench.ste.set(165, 160, t0sz).address(243, 196, 0x100_0000);
        assert_eq!(number(&bench.read(0x1000)), expected, "S2T0SZ={t0sz}");
    }
}

#[test]
fn edge_061_reserved_memattr_overrides_are_device() {
    for memattr in [4, 8, 12] {
        let mut bench = Bench::bypass();
        bench.ste.bit(100, 1).set(99, 96, memattr);
        let attributes = attributes(&bench.read(0x1000));
        assert_eq!(
            attributes.memory,
            MemoryType::device(Device::NGnRnE),
            "MemAttr={memattr}"
        );
    }
}

#[test]
fn edge_062_a_shareability_override_holds_for_cacheable_memory_only() {
    let mut bench = Bench::bypass();
    bench.ste.set(109, 108, 0);
    assert_eq!(
        attributes(&bench.read(0)).shareability,
        Shareability::NonShareable
    );
    bench.ste.bit(100, 1).set(99, 96, 1);
    assert_eq!(
        attributes(&bench.read(0)).shareability,
        Shareability::OuterShareable
    );
}

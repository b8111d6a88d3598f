//! Edge cases 63–82: substreams and CDs.

use smmu::config::{Httu, StallModel, TableEndianness, Version};
use smmu::transaction::Outcome;

use crate::support::bench::*;

/// Stage 1 with 16 CDs; CD 1 is a copy of the bench's CD whose table maps VA elsewhere.
fn with_substreams(s1dss: u64) -> Bench {
    let mut bench = Bench::stage1();
    bench.ste.set(63, 59, 4).set(65, 64, s1dss);
    let mut other = bench.cd;
    other.address(115, 68, 0x15_0000);
    bench.put(0x15_0000, S1_SHAPE, VA, 12, 0xb000_0000 | S1_PAGE);
    bench.write_words(CD + 64, other);
    bench
}

fn with(bench: &Bench, ssid: u32) -> Outcome {
    bench.translate(&substream(read(VA), ssid))
}

/// C_BAD_SUBSTREAMID: SSV is 0 whatever the transaction said.
fn bad_substream(ssid: u64) -> [u64; 4] {
    [
        C_BAD_SUBSTREAMID | ssid << 12 | u64::from(SID) << 32,
        0,
        0,
        0,
    ]
}

#[test]
fn edge_063_064_a_substream_where_there_are_none_is_bad() {
    // IHI 0070 §3.3.2
    for bench in [
        Bench::bypass(),
        Bench::stage2(),
        Bench::stage1(),
        Bench::nested(),
    ] {
        assert_eq!(event(&with(&bench, 3)), bad_substream(3));
        let without = bench.part(|part| part.ssidsize = 0);
        assert_eq!(event(&with(&without, 3)), bad_substream(3));
    }
}

#[test]
fn edge_065_substreams_beyond_s1cdmax_are_bad() {
    let bench = with_substreams(0);
    assert_eq!(pa(&with(&bench, 1)), 0xb000_0000);
    assert_eq!(event(&with(&bench, 16)), bad_substream(16));
}

#[test]
fn edge_066_s1dss_0_terminates_transactions_without_a_substream() {
    for s1dss in [0, 3] {
        let bench = with_substreams(s1dss);
        let words = event(&bench.read(VA));
        assert_eq!(words, [F_STREAM_DISABLED | u64::from(SID) << 32, 0, 0, 0]);
    }
}

#[test]
fn edge_067_s1dss_1_bypasses_without_reading_a_cd() {
    let mut bench = with_substreams(1);
    bench.cd = Words::default();
    let (outcome, accesses) = bench.accesses(&read(0x1234));
    assert_eq!(pa(&outcome), 0x1234);
    assert_eq!(accesses, [STRTAB + 64 * u64::from(SID)]);
}

#[test]
fn edge_068_a_bypassed_stage_1_still_checks_the_address_size() {
    let bench = with_substreams(1).part(|part| part.oas = 40);
    assert_eq!(pa(&bench.read((1 << 40) - 8)), (1 << 40) - 8);
    let beyond = bench.read(1 << 40);
    assert_eq!(
        event(&beyond),
        walk_event(F_ADDR_SIZE, 0, CLASS_IN, 1, 1 << 40, 0)
    );
}

#[test]
fn edge_069_s1dss_2_gives_cd_0_to_transactions_without_a_substream_only() {
    let bench = with_substreams(2);
    assert_eq!(pa(&bench.read(VA)), IPA);
    assert_eq!(number(&with(&bench, 0)), F_STREAM_DISABLED);
    assert_eq!(pa(&with(&bench, 1)), 0xb000_0000);
}

#[test]
fn edge_070_an_invalid_l1cd_is_a_bad_substream_numbered_by_its_index() {
    let mut bench = Bench::stage1();
    bench
        .ste
        .set(5, 4, 1)
        .set(63, 59, 10)
        .set(65, 64, 2)
        .address(55, 6, 0x15_0000);
    assert_eq!(event(&bench.read(VA)), bad_substream(0));
    assert_eq!(event(&with(&bench, 70)), bad_substream(70));
}

#[test]
fn edge_071_the_leaf_size_follows_s1fmt() {
    for (s1fmt, ssid, leaf) in [(1, 64, 0x16_0000), (2, 1024, 0x16_0000)] {
        let mut bench = Bench::stage1();
        bench
            .ste
            .set(5, 4, s1fmt)
            .set(63, 59, 12)
            .set(65, 64, 2)
            .address(55, 6, 0x15_0000);
        bench.write(0x15_0000 + 8, leaf | 1);
        bench.write_words(leaf, bench.cd);
        assert_eq!(pa(&with(&bench, ssid)), IPA, "S1Fmt={s1fmt}");
        assert_eq!(
            number(&with(&bench, ssid - 1)),
            C_BAD_SUBSTREAMID,
            "S1Fmt={s1fmt}"
        );
    }
}

#[test]
fn edge_072_an_invalid_cd_and_a_cd_that_cannot_be_read_differ() {
    let mut bench = Bench::stage1();
    bench.cd.bit(31, 0);
    assert_eq!(
        event(&bench.read(VA)),
        [C_BAD_CD | u64::from(SID) << 32, 0, 0, 0]
    );
    let mut aborting = Bench::stage1();
    aborting
        .aborts
        .push(smmu::mem::AbortRule::at(smmu::addr::Pa::new(CD)));
    let words = event(&aborting.read(VA));
    assert_eq!(words, [F_CD_FETCH | u64::from(SID) << 32, 0, 0, CD]);
    assert_eq!(bits(words, 247, 195) << 3, CD);
}

#[test]
fn edge_073_nothing_is_checked_of_a_table_that_epd_disables() {
    let mut bench = Bench::stage1();
    bench
        .cd
        .bit(30, 1)
        .set(21, 16, 0)
        .set(23, 22, 0)
        .address(179, 132, 0xf_ffff_ffff_fff0);
    assert_eq!(pa(&bench.read(VA)), IPA);
}

#[test]
fn edge_074_075_both_halves_are_checked_whichever_is_used() {
    // (T1SZ, TG1, expected): TG1=2 is 4 KiB, TG1=0 is reserved.
    for (t1sz, tg1, expected) in [
        (16, 2, 0),
        (5, 2, C_BAD_CD),
        (16, 0, C_BAD_CD),
        (16, 3, 0),
        (16, 1, 0),
    ] {
        let mut bench = Bench::stage1();
        bench.cd.bit(30, 0).set(21, 16, t1sz).set(23, 22, tg1);
        assert_eq!(number(&bench.read(VA)), expected, "T1SZ={t1sz} TG1={tg1}");
    }
}

#[test]
fn edge_076_a_part_that_only_aborts_needs_a_1() {
    let mut bench = Bench::stage1();
    bench.cd.bit(46, 0);
    assert_eq!(number(&bench.read(VA)), 0);
    assert_eq!(
        number(&bench.part(|part| part.term_model = true).read(VA)),
        C_BAD_CD
    );
}

#[test]
fn edge_077_stalling_where_the_stream_disables_it_is_illegal() {
    let mut bench = Bench::stage1();
    bench.cd.bit(44, 1);
    assert_eq!(number(&bench.read(VA)), 0);
    bench.ste.bit(91, 1);
    assert_eq!(number(&bench.read(VA)), C_BAD_CD);
    let mut fixed = Bench::stage1().part(|part| {
        part.stall_model = StallModel::TerminateOnly;
        part.stall_max = 0;
    });
    fixed.cd.bit(44, 1);
    assert_eq!(number(&fixed.read(VA)), C_BAD_CD);
    let mut forced = Bench::stage1().part(|part| part.stall_model = StallModel::StallForced);
    assert_eq!(number(&forced.read(VA)), C_BAD_CD);
    forced.cd.bit(44, 1);
    assert_eq!(number(&forced.read(VA)), 0);
}

#[test]
fn edge_078_endianness_is_checked_while_a_table_is_used() {
    let mut bench = Bench::stage1().part(|part| part.ttendian = TableEndianness::Little);
    bench.cd.bit(15, 1);
    assert_eq!(number(&bench.read(VA)), C_BAD_CD);
    bench.cd.bit(14, 1);
    assert_eq!(
        number(&bench.read(VA)),
        F_TRANSLATION,
        "EPD0 and EPD1: no table to be wrong"
    );
}

#[test]
fn edge_079_wide_asids_need_asid16_but_el2_has_no_asid() {
    let mut bench = Bench::stage1().part(|part| part.asid16 = false);
    bench.cd.set(63, 48, 0x100);
    assert_eq!(number(&bench.read(VA)), C_BAD_CD);
    bench.ste.set(95, 94, 2);
    assert_eq!(pa(&bench.read(VA)), IPA);
}

#[test]
fn edge_080_ttb0_beyond_ips_is_a_bad_cd() {
    let mut bench = Bench::stage1();
    bench.cd.set(34, 32, 0).address(115, 68, 1 << 32);
    assert_eq!(number(&bench.read(VA)), C_BAD_CD);
}

#[test]
fn edge_081_stage_1_hardware_update_needs_httu() {
    for (httu, ha, hd, expected) in [
        (Httu::None, 1, 0, C_BAD_CD),
        (Httu::None, 0, 1, C_BAD_CD),
        (Httu::AccessFlag, 1, 0, 0),
        (Httu::AccessFlag, 1, 1, C_BAD_CD),
        (Httu::Dirty, 1, 1, 0),
    ] {
        let mut bench = Bench::stage1().part(|part| part.httu = httu);
        bench.cd.bit(43, ha).bit(42, hd);
        assert_eq!(
            number(&bench.read(VA)),
            expected,
            "{httu:?} HA={ha} HD={hd}"
        );
    }
}

#[test]
fn edge_082_without_caches_each_context_sees_its_own_tables() {
    // Two CDs with one ASID and different tables: which is used is UNPREDICTABLE only once cached.
    let bench = with_substreams(2);
    assert_eq!(pa(&bench.read(VA)), IPA);
    assert_eq!(pa(&with(&bench, 1)), 0xb000_0000);
    assert_eq!(bench.config.version, Version::V3_4);
}

//! Explained walks as text, kept as snapshots: what a person reads for each kind of walk.

use smmu::Transaction;
use smmu::addr::Pa;
use smmu::mem::AbortRule;
use smmu_sim::explain::{Explained, Recording};

use crate::support::bench::*;

fn explained(bench: &Bench, transaction: &Transaction) -> String {
    let mut recording = Recording::default();
    let outcome = bench.observe(transaction, &mut recording);
    Explained {
        transaction: *transaction,
        outcome,
        recording,
    }
    .to_text()
}

#[test]
fn a_nested_walk_with_updates_at_both_stages() {
    let mut bench = Bench::nested();
    bench.cd.bit(43, 1).bit(42, 1);
    bench.ste.bit(184, 1).bit(183, 1);
    // Both leaves are writable-clean and have never been accessed; so has the tables' block.
    bench.map1(VA, IPA | (S1_PAGE | 1 << 51 | 1 << 7) & !(1 << 10));
    bench.map2(IPA, PA | (S2_PAGE | 1 << 51) & !(1 << 10 | 1 << 7));
    let block = (S2_BLOCK | 1 << 51) & !(1 << 7);
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, block);
    insta::assert_snapshot!(explained(&bench, &write(VA)));
}

#[test]
fn a_substream_of_a_two_level_cd_table() {
    let mut bench = Bench::stage1();
    bench
        .ste
        .set(5, 4, 1)
        .set(63, 59, 8)
        .address(55, 6, 0x14_0000);
    // L1CD 1 covers SubstreamIDs 64–127.
    bench.write(0x14_0008, 0x14_1000 | 1);
    bench.write_words(0x14_1000 + 3 * 64, bench.cd);
    insta::assert_snapshot!(explained(&bench, &substream(read(VA + 8), 67)));
}

#[test]
fn a_descriptor_that_cannot_be_read() {
    let mut bench = Bench::nested();
    let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, 21);
    bench.aborts.push(AbortRule::at(Pa::new(slot)));
    insta::assert_snapshot!(explained(&bench, &read(VA)));
}

#[test]
fn a_bypassed_stream_and_an_illegal_one() {
    let mut bench = Bench::bypass();
    insta::assert_snapshot!("a_bypassed_stream", explained(&bench, &read(VA)));
    bench.ste.set(3, 1, 0b110);
    insta::assert_snapshot!("an_illegal_stream", explained(&bench, &read(VA)));
}

#[test]
fn a_stage_2_block_through_concatenated_tables() {
    let mut bench = Bench::stage2();
    // 41 bits from level 1: four concatenated tables.
    bench.ste.set(165, 160, 23);
    let shape = Shape {
        bits: 41,
        ..S2_SHAPE
    };
    let ipa = 0x180_4000_0000;
    bench.put(S2_ROOT, shape, ipa, 21, PA | S2_BLOCK);
    insta::assert_snapshot!(explained(&bench, &read(ipa | 0x1_2345)));
}

//! Edge cases 83–109: stage-1 walks.

use smmu::attr::{Cacheability, MemoryKind, Policy, Shareability};
use smmu::config::Version;
use smmu::transaction::{AccessKind, Outcome};

use crate::support::bench::*;

const UPPER: u64 = 0xffff_0000_0000_0000;

/// Stage 1 with a TTB1 of the same shape at 0x150000 that maps the top of the upper half.
fn with_upper() -> Bench {
    let mut bench = Bench::stage1();
    bench
        .cd
        .bit(30, 0)
        .set(21, 16, 16)
        .set(23, 22, 2)
        .address(179, 132, 0x15_0000);
    bench.put(0x15_0000, S1_SHAPE, !0xfff, 12, 0xb000_0000 | S1_PAGE);
    bench
}

fn attributes(outcome: &Outcome) -> smmu::attr::Attributes {
    match outcome {
        Outcome::Translated(translation) => translation.attributes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn edge_083_the_two_halves_leave_a_hole() {
    let mut bench = with_upper();
    bench.cd.set(5, 0, 25);
    bench.put(
        0x16_0000,
        Shape {
            granule: 12,
            start: 30,
            bits: 39,
        },
        VA,
        12,
        IPA | S1_PAGE,
    );
    bench.cd.address(115, 68, 0x16_0000);
    assert_eq!(pa(&bench.read(VA)), IPA);
    assert_eq!(
        event(&bench.read(1 << 39)),
        walk_event(F_TRANSLATION, 0, CLASS_IN, 1, 1 << 39, 0)
    );
    assert_eq!(pa(&bench.read(!0xfff)), 0xb000_0000);
    assert_eq!(number(&bench.read(UPPER - 0x1000)), F_TRANSLATION);
}

#[test]
fn edge_084_top_byte_ignore_of_the_lower_half() {
    let tagged = 0x8000_0000_0000_0000 | VA;
    let mut bench = Bench::stage1();
    assert_eq!(number(&bench.read(tagged)), F_TRANSLATION);
    bench.cd.bit(38, 1);
    assert_eq!(pa(&bench.read(tagged)), IPA);
    // InputAddr is recorded as it came in.
    let missing = tagged + 0x1000;
    assert_eq!(
        event(&bench.read(missing)),
        walk_event(F_TRANSLATION, 0, CLASS_IN, 1, missing, 0)
    );
}

#[test]
fn edge_085_each_half_has_its_own_top_byte_ignore() {
    let tagged = 0x00ff_ffff_ffff_f000;
    let mut bench = with_upper();
    assert_eq!(number(&bench.read(tagged)), F_TRANSLATION);
    bench.cd.bit(38, 1);
    assert_eq!(
        number(&bench.read(tagged)),
        F_TRANSLATION,
        "TBI0 is not about the upper half"
    );
    bench.cd.bit(38, 0).bit(39, 1);
    assert_eq!(pa(&bench.read(tagged)), 0xb000_0000);
}

#[test]
fn edge_086_epd_faults_without_reading_a_table() {
    let mut bench = with_upper();
    bench.cd.bit(14, 1);
    let (outcome, counts) = bench.counts(&read(VA));
    assert_eq!(number(&outcome), F_TRANSLATION);
    assert_eq!(counts.walk(), 0);
    assert_eq!(pa(&bench.read(!0xfff)), 0xb000_0000);
}

#[test]
fn edge_087_e0pd_keeps_unprivileged_accesses_out() {
    let mut bench = Bench::stage1();
    bench.map1(VA, IPA | S1_PAGE);
    bench.cd.bit(66, 1);
    assert_eq!(number(&bench.read(VA)), F_TRANSLATION);
    assert_eq!(pa(&bench.translate(&privileged(read(VA)))), IPA);
    let without = bench.part(|part| {
        part.version = Version::V3_2;
        part.e0pd = false;
    });
    assert_eq!(pa(&without.read(VA)), IPA);
}

/// Stage 1 with another granule; its start table is at 0x400000.
fn granule(tg0: u64, shape: Shape) -> Bench {
    let mut bench = Bench::stage1();
    bench
        .cd
        .set(7, 6, tg0)
        .set(5, 0, 64 - u64::from(shape.bits))
        .address(115, 68, 0x40_0000);
    bench
}

const K16: Shape = Shape {
    granule: 14,
    start: 36,
    bits: 47,
};
const K64: Shape = Shape {
    granule: 16,
    start: 42,
    bits: 48,
};

#[test]
fn edge_088_reserved_descriptors_and_blocks_where_none_may_be() {
    let mut bench = Bench::stage1();
    bench.map1(VA, IPA | S1_PAGE & !2);
    assert_eq!(number(&bench.read(VA)), F_TRANSLATION, "0b01 at level 3");
    let mut block0 = Bench::stage1();
    block0.put(S1_ROOT, S1_SHAPE, VA, 39, S1_BLOCK);
    assert_eq!(
        number(&block0.read(VA)),
        F_TRANSLATION,
        "4K level 0 without DS"
    );
    let mut block1 = granule(2, K16);
    block1.put(0x40_0000, K16, VA, 36, S1_BLOCK);
    assert_eq!(
        number(&block1.read(VA)),
        F_TRANSLATION,
        "16K level 1 without DS"
    );
    // Where they may be, they translate.
    for (lsb, output) in [(30, 0x40_0000_0000), (21, 0x4000_0000)] {
        let mut bench = Bench::stage1();
        bench.put(S1_ROOT, S1_SHAPE, VA, lsb, output | S1_BLOCK);
        // VA's own page is gone with the table it was in.
        assert_eq!(
            pa(&bench.read(VA | 0x1_2345)),
            output | VA & ((1 << lsb) - 1) | 0x1_2345
        );
    }
}

#[test]
fn edge_089_64k_level_1_blocks_need_52_bit_addresses() {
    let mut bench = granule(1, K64);
    bench.put(0x40_0000, K64, VA, 42, 1 << 42 | S1_BLOCK);
    assert_eq!(pa(&bench.read(VA)), 1 << 42 | VA);
    let narrow = bench.part(|part| {
        part.oas = 48;
    });
    assert_eq!(number(&narrow.read(VA)), F_TRANSLATION);
}

#[test]
fn edge_090_a_table_beyond_ips_faults_before_what_it_holds() {
    let mut bench = Bench::stage1();
    bench.cd.set(34, 32, 0);
    bench.put(S1_ROOT, S1_SHAPE, VA, 21, 1 << 33 | 3);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_ADDR_SIZE, 0, CLASS_IN, 1, VA, 0)
    );
}

#[test]
fn edge_091_address_size_comes_before_the_access_flag() {
    let mut bench = Bench::stage1();
    bench.cd.set(34, 32, 0);
    bench.map1(VA, (1 << 32 | S1_PAGE) & !(1 << 10));
    assert_eq!(number(&bench.read(VA)), F_ADDR_SIZE);
}

#[test]
fn edge_092_the_access_flag_comes_before_permission() {
    let mut bench = Bench::stage1();
    bench.map1(VA, (IPA | S1_PAGE | 1 << 7) & !(1 << 10));
    assert_eq!(number(&bench.access(AccessKind::Write, VA)), F_ACCESS);
}

#[test]
fn edge_093_affd_lets_a_clear_access_flag_pass() {
    let mut bench = Bench::stage1();
    bench.map1(VA, (IPA | S1_PAGE) & !(1 << 10));
    assert_eq!(number(&bench.read(VA)), F_ACCESS);
    bench.cd.bit(35, 1);
    assert_eq!(pa(&bench.read(VA)), IPA);
    assert_eq!(bench.leaf1() & 1 << 10, 0, "and stays clear");
}

/// Sets bits of the Table descriptor for VA at the level of `lsb`.
fn restrict(bench: &mut Bench, lsb: u32, bits: u64) {
    let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, lsb);
    let table = bench.peek(slot);
    bench.write(slot, table | bits);
}

#[test]
fn edge_094_aptable_is_looked_at_after_the_leaf_is_found() {
    let mut bench = Bench::stage1();
    restrict(&mut bench, 39, 3 << 61);
    bench.map1(VA, 0);
    assert_eq!(number(&bench.access(AccessKind::Write, VA)), F_TRANSLATION);
}

#[test]
fn edge_095_aptable_0_takes_unprivileged_access() {
    let mut bench = Bench::stage1();
    restrict(&mut bench, 30, 1 << 61);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_PERMISSION, 0, CLASS_IN, 1, VA, 0)
    );
    assert_eq!(pa(&bench.translate(&privileged(read(VA)))), IPA);
}

#[test]
fn edge_096_had_ignores_hierarchical_attributes() {
    let mut bench = Bench::stage1();
    restrict(&mut bench, 30, 0xf << 59);
    assert_eq!(number(&bench.read(VA)), F_PERMISSION);
    bench.cd.bit(65, 1);
    assert_eq!(pa(&bench.access(AccessKind::Write, VA)), IPA);
    assert_eq!(pa(&bench.translate(&fetch(VA))), IPA);
}

#[test]
fn edge_097_uxn_stops_unprivileged_instructions_only() {
    let mut bench = Bench::stage1();
    bench.map1(VA, IPA | S1_PAGE | 1 << 54);
    let words = event(&bench.translate(&fetch(VA)));
    assert_eq!(
        words,
        [F_PERMISSION | 5 << 32, 2 << 40 | 1 << 35 | 1 << 34, VA, 0]
    );
    assert_eq!(pa(&bench.read(VA)), IPA);
}

#[test]
fn edge_098_what_users_can_write_the_privileged_cannot_execute() {
    let bench = Bench::stage1();
    assert_eq!(
        number(&bench.translate(&privileged(fetch(VA)))),
        F_PERMISSION
    );
    let mut read_only = Bench::stage1();
    read_only.map1(VA, IPA | S1_PAGE | 1 << 7);
    assert_eq!(pa(&read_only.translate(&privileged(fetch(VA)))), IPA);
}

#[test]
fn edge_099_wxn_stops_execution_of_writable_pages() {
    let mut bench = Bench::stage1();
    assert_eq!(pa(&bench.translate(&fetch(VA))), IPA);
    bench.cd.bit(36, 1);
    assert_eq!(number(&bench.translate(&fetch(VA))), F_PERMISSION);
    bench.map1(VA, IPA | S1_PAGE | 1 << 7);
    assert_eq!(pa(&bench.translate(&fetch(VA))), IPA);
}

#[test]
fn edge_100_pan_stops_privileged_data_accesses_to_user_pages() {
    let mut bench = Bench::stage1();
    bench.map1(VA, IPA | S1_PAGE | 1 << 7);
    bench.cd.bit(40, 1);
    assert_eq!(
        number(&bench.translate(&privileged(read(VA)))),
        F_PERMISSION
    );
    assert_eq!(pa(&bench.translate(&privileged(fetch(VA)))), IPA);
    assert_eq!(pa(&bench.read(VA)), IPA);
    // A page users may only execute: PAN lets it pass, EPAN does not.
    bench.map1(VA, (IPA | S1_PAGE) & !(1 << 6));
    assert_eq!(pa(&bench.translate(&privileged(read(VA)))), IPA);
    bench.cd.bit(123, 1);
    assert_eq!(
        number(&bench.translate(&privileged(read(VA)))),
        F_PERMISSION
    );
}

#[test]
fn edge_101_el2_has_one_privilege_level_and_one_range() {
    let mut bench = with_upper();
    bench.ste.set(95, 94, 2);
    bench.map1(VA, (IPA | S1_PAGE) & !(1 << 6));
    assert_eq!(pa(&bench.read(VA)), IPA);
    assert_eq!(number(&bench.read(!0xfff)), F_TRANSLATION);
}

#[test]
fn edge_102_instcfg_changes_reads_only() {
    let mut bench = Bench::stage1();
    bench.ste.set(115, 114, 3);
    bench.map1(VA, IPA | S1_PAGE | 1 << 54 | 1 << 7);
    let fetched = event(&bench.read(VA));
    assert_eq!(
        bits(fetched, 98, 98),
        1,
        "a read is made an instruction read"
    );
    let written = event(&bench.access(AccessKind::Write, VA));
    assert_eq!(bits(written, 98, 97), 0, "a write stays data");
}

#[test]
fn edge_103_privcfg_makes_an_access_privileged() {
    let mut bench = Bench::stage1();
    bench.map1(VA, (IPA | S1_PAGE) & !(1 << 6));
    assert_eq!(number(&bench.read(VA)), F_PERMISSION);
    bench.ste.set(113, 112, 3);
    assert_eq!(pa(&bench.read(VA)), IPA);
    bench.map1(VA, 0);
    assert_eq!(bits(event(&bench.read(VA)), 97, 97), 1);
}

#[test]
fn edge_104_an_atomic_reports_the_right_it_lacks() {
    let mut read_only = Bench::stage1();
    read_only.map1(VA, IPA | S1_PAGE | 1 << 7);
    assert_eq!(
        bits(event(&read_only.access(AccessKind::Atomic, VA)), 99, 99),
        0
    );
    let mut write_only = Bench::stage2();
    write_only.map2(IPA, (PA | S2_PAGE) & !(1 << 6));
    let atomic = event(&write_only.access(AccessKind::Atomic, IPA));
    assert_eq!(
        (bits(atomic, 7, 0), bits(atomic, 99, 99)),
        (F_PERMISSION, 1)
    );
    let old = write_only.part(|part| {
        part.version = Version::V3_0;
        part.oas = 48;
        part.vax = 48;
        part.ds = false;
    });
    assert_eq!(bits(event(&old.access(AccessKind::Atomic, IPA)), 99, 99), 0);
}

#[test]
fn edge_105_lpa2_puts_high_address_bits_where_sh_was() {
    let mut bench = Bench::stage1();
    bench.cd.bit(186, 1).set(34, 32, 6).set(13, 12, 2);
    bench.map1(VA, 0x3_0000_9000_0000 | 3 << 8 | S1_PAGE);
    let outcome = bench.read(VA);
    assert_eq!(pa(&outcome), 0xf_0000_9000_0000);
    assert_eq!(
        attributes(&outcome).shareability,
        Shareability::OuterShareable,
        "from CD.SH0"
    );
}

#[test]
fn edge_106_64k_descriptors_keep_high_address_bits_at_12() {
    let mut bench = granule(1, K64);
    bench.cd.set(34, 32, 6);
    bench.put(0x40_0000, K64, VA, 16, 0xa000_0000 | 0xf << 12 | S1_PAGE);
    assert_eq!(pa(&bench.read(VA + 0x1234)), 0xf_0000_a000_1234);
    bench.cd.set(34, 32, 5);
    assert_eq!(number(&bench.read(VA)), F_ADDR_SIZE);
}

#[test]
fn edge_107_small_start_tables_align_to_64_bytes_only_for_52_bit_output() {
    // 64K, T0SZ=16 gives 6 index bits; T0SZ=21 one bit: a start table of 2 entries, 16 bytes.
    let shape = Shape {
        granule: 16,
        start: 42,
        bits: 43,
    };
    for (ips, base) in [(5, 0x40_0010), (6, 0x40_0000)] {
        let mut bench = granule(1, shape);
        bench.cd.set(34, 32, ips).address(115, 68, 0x40_0010);
        bench.put(base, shape, VA, 16, 0xa000_0000 | S1_PAGE);
        assert_eq!(pa(&bench.read(VA)), 0xa000_0000, "IPS={ips}");
    }
}

#[test]
fn edge_108_big_endian_descriptors() {
    let mut swapped = Bench::stage1();
    let slots: Vec<u64> = [39, 30, 21, 12]
        .iter()
        .map(|&lsb| swapped.slot(S1_ROOT, S1_SHAPE, VA, lsb))
        .collect();
    for slot in slots {
        let descriptor = swapped.peek(slot);
        swapped.write(slot, descriptor.swap_bytes());
    }
    swapped.cd.bit(15, 1);
    assert_eq!(pa(&swapped.read(VA + 8)), IPA + 8);
    swapped.cd.bit(15, 0);
    assert_ne!(number(&swapped.read(VA)), 0);
}

#[test]
fn edge_109_mair_encodings_of_tags_and_xs_are_reserved() {
    for byte in [0xf0, 0x40, 0xa0] {
        let mut bench = Bench::stage1();
        bench.cd.set(223, 192, byte);
        let MemoryKind::Normal { inner, .. } = attributes(&bench.read(VA)).memory.kind() else {
            panic!("MAIR {byte:#x} is Normal")
        };
        assert_eq!(inner.policy(), Policy::WriteThrough, "MAIR {byte:#x}");
        assert!(inner.is_transient() && inner.read_allocate() && inner.write_allocate());
        assert_ne!(inner, Cacheability::WRITE_BACK);
    }
}

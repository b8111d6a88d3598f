//! Edge cases 110–125: stage 2 and nesting.

use smmu::addr::Pa;
use smmu::attr::{Device, MemoryType, Shareability};
use smmu::mem::{AbortRule, AccessClass};
use smmu::transaction::{AccessKind, Outcome};

use crate::support::bench::*;

fn attributes(outcome: &Outcome) -> smmu::attr::Attributes {
    match outcome {
        Outcome::Translated(translation) => translation.attributes,
        other => panic!("{other:?}"),
    }
}

/// Splits the identity block of the bottom 1 GiB into 4 KiB pages, so that one can be changed.
fn split_low(bench: &mut Bench) {
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    for page in (0..0x40_0000).step_by(4096) {
        bench.map2(page, page | S2_PAGE);
    }
}

#[test]
fn edge_110_s2_only_input_beyond_the_tables_and_beyond_the_ias() {
    let bench = Bench::stage2().part(|part| part.oas = 44);
    let beyond_tables = 1 << 39;
    assert_eq!(
        event(&bench.read(beyond_tables | 0x123)),
        walk_event(
            F_TRANSLATION,
            1,
            CLASS_IN,
            1,
            beyond_tables | 0x123,
            beyond_tables
        )
    );
    let beyond_ias = 1 << 44;
    assert_eq!(
        event(&bench.read(beyond_ias)),
        walk_event(F_ADDR_SIZE, 0, CLASS_IN, 1, beyond_ias, 0)
    );
}

#[test]
fn edge_111_a_cd_that_stage_2_does_not_map() {
    let mut bench = Bench::nested();
    split_low(&mut bench);
    bench.map2(CD, 0);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_TRANSLATION, 1, CLASS_CD, 1, VA, CD)
    );
    bench.ste.bit(186, 0);
    let suppressed = bench.read(VA);
    assert!(suppressed.pa().is_none() && suppressed.event().is_none());
}

#[test]
fn edge_112_only_the_table_that_is_used_is_translated() {
    let mut bench = Bench::nested();
    bench
        .cd
        .bit(30, 0)
        .set(21, 16, 16)
        .set(23, 22, 2)
        .address(179, 132, 0x7f_0000_0000);
    assert_eq!(pa(&bench.read(VA)), PA);
    assert_eq!(
        event(&bench.read(!0xfff)),
        walk_event(F_TRANSLATION, 1, CLASS_TT, 1, !0xfff, 0x7f_0000_0000)
    );
}

#[test]
fn edge_113_the_page_of_the_descriptor_itself_must_be_mapped() {
    // A 64 KiB stage-1 table spans sixteen 4 KiB stage-2 pages.
    let shape = Shape {
        granule: 16,
        start: 42,
        bits: 48,
    };
    let mut bench = Bench::nested();
    bench.cd.set(7, 6, 1).address(115, 68, 0x30_0000);
    bench.put(0x30_0000, shape, VA, 16, IPA | S1_PAGE);
    split_low(&mut bench);
    assert_eq!(pa(&bench.read(VA)), PA);
    let descriptor = bench.slot(0x30_0000, shape, VA, 29);
    assert_eq!(descriptor & 0xfff, ((VA >> 29) * 8) & 0xfff);
    bench.map2(descriptor & !0xfff, 0);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_TRANSLATION, 1, CLASS_TT, 1, VA, descriptor & !0xfff)
    );
}

#[test]
fn edge_114_a_stage_1_descriptor_that_cannot_be_read() {
    for mut bench in [Bench::stage1(), Bench::nested()] {
        let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, 21);
        bench.aborts.push(AbortRule::at(Pa::new(slot)));
        assert_eq!(
            event(&bench.read(VA)),
            walk_event(F_WALK_EABT, 0, CLASS_TT, 1, VA, slot)
        );
    }
}

#[test]
fn edge_115_a_stage_2_descriptor_that_cannot_be_read_while_locating_the_cd() {
    let mut bench = Bench::nested();
    bench.aborts.push(AbortRule::class(AccessClass::Stage2));
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_WALK_EABT, 1, CLASS_CD, 1, VA, S2_ROOT)
    );
}

#[test]
fn edge_116_stage_1_output_beyond_ips_and_within_it_but_beyond_stage_2() {
    let mut bench = Bench::nested();
    bench.cd.set(34, 32, 2);
    bench.map1(VA, 1 << 40 | S1_PAGE);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_ADDR_SIZE, 0, CLASS_IN, 1, VA, 0)
    );
    bench.map1(VA, 1 << 39 | S1_PAGE);
    assert_eq!(
        event(&bench.read(VA)),
        walk_event(F_TRANSLATION, 1, CLASS_IN, 1, VA, 1 << 39)
    );
}

#[test]
fn edge_117_stage_1_refuses_before_stage_2_is_asked() {
    let mut bench = Bench::nested();
    bench.map1(VA, IPA | S1_PAGE | 1 << 7);
    let (outcome, counts) = bench.counts(&write(VA));
    assert_eq!(
        event(&outcome),
        walk_event(F_PERMISSION, 0, CLASS_IN, 0, VA, 0)
    );
    // Four stage-1 descriptors, each through the one block that maps the tables.
    assert_eq!((counts.stage1, counts.stage2), (4, 4));
}

#[test]
fn edge_118_write_only_pages() {
    let mut bench = Bench::stage2();
    bench.map2(IPA, (PA | S2_PAGE) & !(1 << 6));
    assert_eq!(pa(&bench.access(AccessKind::Write, IPA)), PA);
    assert_eq!(
        event(&bench.read(IPA)),
        walk_event(F_PERMISSION, 1, CLASS_IN, 1, IPA, IPA)
    );
}

#[test]
fn edge_119_instructions_need_no_read_permission() {
    let mut bench = Bench::stage2();
    bench.map2(IPA, (PA | S2_PAGE) & !(3 << 6));
    assert_eq!(pa(&bench.translate(&fetch(IPA))), PA);
    assert_eq!(number(&bench.read(IPA)), F_PERMISSION);
}

#[test]
fn edge_120_xnx_tells_privileges_apart() {
    // XN[1:0] at bits 54:53 -> (unprivileged, privileged) may execute.
    for (xn, unprivileged, privileged_too) in [
        (0, true, true),
        (1, true, false),
        (2, false, false),
        (3, false, true),
    ] {
        let mut bench = Bench::stage2();
        bench.map2(IPA, PA | S2_PAGE | xn << 53);
        let granted = |tx| bench.translate(&tx).pa().is_some();
        assert_eq!(granted(fetch(IPA)), unprivileged, "XN={xn:02b}");
        assert_eq!(
            granted(privileged(fetch(IPA))),
            privileged_too,
            "XN={xn:02b}"
        );
        // Without XNX only bit 54 counts.
        let old = bench.clone().part(|part| {
            part.version = smmu::config::Version::V3_0;
            part.xnx = false;
            part.oas = 48;
            part.vax = 48;
            part.ds = false;
        });
        assert_eq!(
            old.translate(&fetch(IPA)).pa().is_some(),
            xn & 2 == 0,
            "XN={xn:02b}"
        );
    }
}

#[test]
fn edge_121_s2ptw_keeps_tables_out_of_device_memory() {
    for (page, class) in [(CD, CLASS_CD), (S1_ROOT, CLASS_TT)] {
        let mut bench = Bench::nested();
        split_low(&mut bench);
        bench.map2(page, page | S2_PAGE & !(0xf << 2));
        assert_eq!(pa(&bench.read(VA)), PA);
        bench.ste.bit(182, 1);
        let words = event(&bench.read(VA));
        assert_eq!(
            (bits(words, 7, 0), bits(words, 105, 104)),
            (F_PERMISSION, class)
        );
        assert_eq!(bits(words, 247, 204) << 12, page & !0xfff);
    }
}

#[test]
fn edge_122_forced_write_back() {
    const WB: MemoryType = MemoryType::WRITE_BACK;
    const NC: MemoryType = MemoryType::NON_CACHEABLE;
    const NGNRE: MemoryType = MemoryType::device(Device::NGnRE);
    // (stage-1 attribute index, MemAttr[2:0], result)
    for (index, memattr, result) in [
        (1, 6, WB),
        (1, 7, NGNRE),
        (1, 5, NGNRE),
        (0, 5, NC),
        (0, 7, WB),
        (2, 6, WB),
        (0, 1, NGNRE),
    ] {
        let mut bench = Bench::nested();
        bench.ste.bit(89, 1);
        bench.map1(VA, IPA | S1_PAGE | index << 2);
        bench.map2(IPA, (PA | S2_PAGE) & !(0xf << 2) | memattr << 2);
        // The block that maps the tables is Normal under FWB too.
        bench.put(S2_ROOT, S2_SHAPE, 0, 30, S2_BLOCK & !(0xf << 2) | 6 << 2);
        let memory = attributes(&bench.read(VA)).memory;
        assert_eq!(memory, result, "AttrIndx={index} MemAttr={memattr}");
    }
}

#[test]
fn edge_123_non_cacheable_memory_is_outer_shareable() {
    let mut bench = Bench::nested();
    bench.map1(VA, (IPA | S1_PAGE | 2 << 2) & !(3 << 8));
    let attributes = attributes(&bench.read(VA));
    assert_eq!(attributes.memory, MemoryType::NON_CACHEABLE);
    assert_eq!(attributes.shareability, Shareability::OuterShareable);
}

#[test]
fn edge_124_with_stage_1_bypassed_stage_2_combines_the_overridden_input() {
    let mut bench = Bench::nested();
    bench.ste.set(63, 59, 4).set(65, 64, 1);
    bench.ste.bit(100, 1).set(99, 96, 1);
    let outcome = bench.read(IPA);
    assert_eq!(pa(&outcome), PA);
    assert_eq!(
        attributes(&outcome).memory,
        MemoryType::device(Device::NGnRE)
    );
}

#[test]
fn edge_125_the_index_of_concatenated_tables_crosses_them() {
    // S2T0SZ=21: 43 bits from level 1, 16 tables of 4 KiB.
    let shape = Shape {
        granule: 12,
        start: 30,
        bits: 43,
    };
    for table in 0..16 {
        let ipa = table << 39 | 0x9000_0000;
        let mut bench = Bench::stage2();
        bench.ste.set(165, 160, 21).address(243, 196, 0x40_0000);
        bench.put(0x40_0000, shape, ipa, 12, PA | S2_PAGE);
        assert_eq!(pa(&bench.read(ipa)), PA, "table {table}");
        let other = (table ^ 1) << 39 | 0x9000_0000;
        assert_eq!(number(&bench.read(other)), F_TRANSLATION, "table {table}");
    }
}

#[test]
fn one_entry_spans_the_smaller_leaf_of_both_stages() {
    // (stage-1 leaf, stage-2 leaf), as lowest bits resolved.
    for (first, second) in [(12, 12), (12, 21), (21, 12), (21, 30), (30, 21), (30, 30)] {
        let mut bench = Bench::nested();
        let (va, ipa) = (0x40_0000_0000, 0x40_0000_0000);
        let leaf = |lsb, page, block| if lsb == 12 { page } else { block };
        bench.put(
            S1_ROOT,
            S1_SHAPE,
            va,
            first,
            ipa | leaf(first, S1_PAGE, S1_BLOCK),
        );
        bench.put(
            S2_ROOT,
            S2_SHAPE,
            ipa,
            second,
            PA & !0x3fff_ffff | leaf(second, S2_PAGE, S2_BLOCK),
        );
        let outcome = bench.read(va);
        let Outcome::Translated(translation) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(u32::from(translation.span_log2), first.min(second));
    }
}

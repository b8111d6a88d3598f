//! Edge cases 126–134: hardware update of Access flag and dirty state.

use smmu::addr::Pa;
use smmu::mem::{AccessClass, BusResult, PhysMem, RamPort};
use smmu::transaction::AccessKind;

use crate::support::bench::*;

const AF: u64 = 1 << 10;
const AP_READ_ONLY: u64 = 1 << 7;
const DBM: u64 = 1 << 51;
const S2AP_WRITE: u64 = 1 << 7;

/// Stage-1 page that is clean and never accessed.
const CLEAN: u64 = (S1_PAGE | DBM | AP_READ_ONLY) & !AF;

/// Stage 1 with HA and HD.
fn updating(mut bench: Bench) -> Bench {
    bench.cd.bit(43, 1).bit(42, 1);
    bench.map1(VA, IPA | CLEAN);
    bench
}

#[test]
fn edge_126_a_read_sets_the_access_flag_once() {
    let bench = updating(Bench::stage1());
    let (first, counts) = bench.counts(&read(VA));
    assert_eq!((pa(&first), counts.updates), (IPA, 1));
    assert_eq!(bench.leaf1(), IPA | CLEAN | AF);
    let (_, counts) = bench.counts(&read(VA));
    assert_eq!(counts.updates, 0);
}

#[test]
fn edge_127_a_write_cleans_ap2_and_sets_the_access_flag_in_one_update() {
    let bench = updating(Bench::stage1());
    let (outcome, counts) = bench.counts(&write(VA));
    assert_eq!((pa(&outcome), counts.updates), (IPA, 1));
    assert_eq!(bench.leaf1(), (IPA | CLEAN | AF) & !AP_READ_ONLY);
    let reading = updating(Bench::stage1());
    assert_eq!(pa(&reading.read(VA)), IPA);
    assert_eq!(
        reading.leaf1() & AP_READ_ONLY,
        AP_READ_ONLY,
        "a read never marks dirty"
    );
}

#[test]
fn edge_128_dbm_without_hd_is_read_only() {
    let mut bench = updating(Bench::stage1());
    bench.cd.bit(42, 0);
    assert_eq!(number(&bench.access(AccessKind::Write, VA)), F_PERMISSION);
    assert_eq!(
        bench.leaf1(),
        IPA | CLEAN,
        "a refused access updates nothing"
    );
}

#[test]
fn edge_129_a_write_that_aptable_removes_updates_nothing() {
    let mut bench = updating(Bench::stage1());
    let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, 30);
    let table = bench.peek(slot);
    bench.write(slot, table | 1 << 62);
    assert_eq!(number(&bench.access(AccessKind::Write, VA)), F_PERMISSION);
    assert_eq!(bench.leaf1(), IPA | CLEAN);
}

/// Nested, HA and HD at stage 1, the stage-2 page of the leaf's table given by `s2` bits.
fn nested_with_table_page(s2: impl Fn(u64) -> u64) -> (Bench, u64) {
    let mut bench = updating(Bench::nested());
    let leaf = bench.slot(S1_ROOT, S1_SHAPE, VA, 12) & !0xfff;
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    for page in (0..0x40_0000).step_by(4096) {
        bench.map2(page, page | S2_PAGE);
    }
    bench.map2(leaf, s2(leaf | S2_PAGE));
    (bench, leaf)
}

#[test]
fn edge_130_an_update_needs_a_stage_2_page_that_can_be_written() {
    let (bench, leaf) = nested_with_table_page(|page| page & !S2AP_WRITE);
    let words = event(&bench.read(VA));
    assert_eq!(words, walk_event(F_PERMISSION, 1, CLASS_TT, 1, VA, leaf));
    assert_eq!(
        bits(words, 108, 108),
        0,
        "TTRnW: it is the update that is refused"
    );
    assert_eq!(bench.leaf1(), IPA | CLEAN);
}

#[test]
fn edge_131_an_update_marks_a_writable_clean_stage_2_page_dirty() {
    let (mut bench, leaf) = nested_with_table_page(|page| page & !S2AP_WRITE | DBM);
    bench.ste.bit(184, 1).bit(183, 1);
    assert_eq!(pa(&bench.read(VA)), PA);
    assert_eq!(bench.leaf1(), IPA | CLEAN | AF);
    let slot = bench.slot(S2_ROOT, S2_SHAPE, leaf, 12);
    assert_eq!(bench.peek(slot), leaf | S2_PAGE | DBM);
}

#[test]
fn edge_132_a_cd_fetch_sets_the_access_flag_but_never_marks_dirty() {
    let mut bench = Bench::nested();
    bench.ste.bit(184, 1).bit(183, 1);
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    for page in (0..0x40_0000).step_by(4096) {
        bench.map2(page, page | S2_PAGE);
    }
    let clean = (S2_PAGE | DBM) & !S2AP_WRITE & !AF;
    bench.map2(CD, CD | clean);
    assert_eq!(pa(&bench.read(VA)), PA);
    let slot = bench.slot(S2_ROOT, S2_SHAPE, CD, 12);
    assert_eq!(bench.peek(slot), CD | clean | AF);
}

/// Memory in which somebody else changes the leaf just before the first update.
struct Racing<'a> {
    ram: RamPort<'a>,
    leaf: Pa,
    replacement: Option<u64>,
    updates: u32,
}

impl PhysMem for Racing<'_> {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        self.ram.read64(pa, class)
    }

    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        self.ram.write64(pa, value, class)
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        self.updates += 1;
        match self.replacement.take() {
            Some(descriptor) => self.ram.write64(self.leaf, descriptor, class)?,
            // Everlasting change: the software bits count up.
            None if self.updates > 1 => {
                let now = self.ram.read64(self.leaf, class)?;
                self.ram.write64(self.leaf, now ^ 1 << 55, class)?;
            }
            None => {}
        }
        self.ram.compare_exchange64(pa, current, new, class)
    }
}

#[test]
fn edge_133_a_descriptor_that_changes_under_the_update_is_walked_again() {
    let bench = updating(Bench::stage1());
    // Writes STE and CD.
    let _ = bench.read(0);
    let leaf = Pa::new(bench.slot(S1_ROOT, S1_SHAPE, VA, 12));
    let moved = 0xb000_0000 | S1_PAGE;
    let mut memory = Racing {
        ram: bench.ram.port(),
        leaf,
        replacement: Some(moved),
        updates: 0,
    };
    let outcome = bench.smmu().translate(&mut memory, &read(VA), &mut ());
    assert_eq!(pa(&outcome), 0xb000_0000, "the new contents are used");
    assert_eq!(bench.leaf1(), moved);
}

#[test]
fn edge_133_a_descriptor_that_keeps_changing_ends_the_walk() {
    // deviations.md D6: sixteen attempts, then F_WALK_EABT.
    let bench = updating(Bench::stage1());
    let _ = bench.read(0);
    let leaf = Pa::new(bench.slot(S1_ROOT, S1_SHAPE, VA, 12));
    let start = IPA | CLEAN;
    let mut memory = Racing {
        ram: bench.ram.port(),
        leaf,
        replacement: Some(start ^ 1 << 55),
        updates: 0,
    };
    let outcome = bench.smmu().translate(&mut memory, &read(VA), &mut ());
    assert_eq!(memory.updates, 16);
    assert_eq!(
        event(&outcome),
        walk_event(F_WALK_EABT, 0, CLASS_TT, 1, VA, leaf.get())
    );
}

#[test]
fn edge_134_writable_clean_counts_as_writable_for_wxn() {
    let mut bench = updating(Bench::stage1());
    bench.cd.bit(36, 1);
    assert_eq!(number(&bench.translate(&fetch(VA))), F_PERMISSION);
    bench.cd.bit(42, 0);
    assert_eq!(
        pa(&bench.translate(&fetch(VA))),
        IPA,
        "without HD the page is read-only"
    );
}

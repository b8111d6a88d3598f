//! Edge cases 82, 147–155, 164 and 165: what TLB entries are shared, hit and removed. Caches are
//! infinite here and the part exact, so that what may stay does stay.

use smmu::Transaction;
use smmu::cache::{CacheConfig, TlbStructure};
use smmu::config::Version;
use smmu::ids::StreamId;
use smmu::transaction::AccessKind;

use crate::support::bench::*;
use crate::support::rig::*;

/// What pages are remapped to; the offset into the pages is kept.
const MOVED: u64 = 0x1000_0000;
const NOT_GLOBAL: u64 = 1 << 11;
const ANOTHER: StreamId = StreamId::new(SID + 1);

/// One more stream with its own CD and start table, at numbers that follow from `n` > 0.
fn add_stream(rig: &mut Rig, n: u64, mut ste: Words, mut cd: Words) {
    let context = CD + 64 * n;
    let root = 0x5000_0000 + 0x1_0000 * n;
    ste.address(55, 6, context);
    cd.address(115, 68, root);
    rig.bench
        .put(root, S1_SHAPE, VA, 12, (PA + (n << 20)) | S1_PAGE);
    rig.bench
        .write_words(STRTAB + 64 * (u64::from(SID) + n), ste);
    rig.bench.write_words(context, cd);
}

fn by(stream: StreamId, address: u64) -> Transaction {
    Transaction {
        stream,
        ..read(address)
    }
}

/// Maps `pages` pages from VA, reads them, and maps them elsewhere without telling the SMMU.
fn remapped(pages: u64, attributes: u64) -> Rig {
    let mut bench = Bench::stage1();
    for page in (0..pages).map(|n| n << 12) {
        bench.map1(VA + page, (IPA + page) | attributes);
    }
    let mut rig = Rig::new(bench);
    for page in (0..pages).map(|n| n << 12) {
        assert_eq!(pa(&rig.read(VA + page)), IPA + page);
        rig.bench.map1(VA + page, (IPA + MOVED + page) | attributes);
    }
    rig
}

/// Whether a page read gives what it did before it was remapped.
fn is_stale(rig: &mut Rig, address: u64) -> bool {
    let output = pa(&rig.read(address));
    let before = address - VA + IPA;
    assert!(output == before || output == before + MOVED, "{output:#x}");
    output == before
}

#[test]
fn edge_082_165_streams_of_one_vmid_and_asid_share_entries() {
    let mut rig = Rig::new(Bench::stage1());
    let (ste, cd) = (rig.bench.ste, rig.bench.cd);
    add_stream(&mut rig, 1, ste, cd);
    assert_eq!(pa(&rig.read(VA)), IPA);
    assert_eq!(
        pa(&rig.translate(&by(ANOTHER, VA))),
        IPA,
        "not its own table"
    );
    rig.command([0x30, 0]);
    assert_eq!(pa(&rig.translate(&by(ANOTHER, VA))), PA + (1 << 20));
    assert_eq!(pa(&rig.read(VA)), PA + (1 << 20));
}

#[test]
fn edge_147_global_entries_outlive_their_asid_but_not_their_address() {
    let mut rig = remapped(3, S1_PAGE);
    let private = VA + 0x2000;
    rig.bench
        .map1(private, (IPA + 0x2000) | S1_PAGE | NOT_GLOBAL);
    rig.command(tlbi(0x12, 0, 1, 0, private));
    assert!(is_stale(&mut rig, private), "as it was before it moved");
    rig.bench
        .map1(private, (IPA + MOVED + 0x2000) | S1_PAGE | NOT_GLOBAL);
    // TLBI_NH_ASID of another ASID, then of this one.
    rig.command(tlbi(0x11, 0, 2, 0, 0));
    assert!(is_stale(&mut rig, private));
    rig.command(tlbi(0x11, 0, 1, 0, 0));
    assert!(!is_stale(&mut rig, private));
    assert!(is_stale(&mut rig, VA));
    // TLBI_NH_VA of another ASID.
    rig.command(tlbi(0x12, 0, 2, 0, VA));
    assert!(!is_stale(&mut rig, VA));
    assert!(is_stale(&mut rig, VA + 0x1000));
    // TLBI_NH_VAA, TLBI_NH_ALL.
    rig.command(tlbi(0x13, 0, 0, 0, VA + 0x1000));
    assert!(!is_stale(&mut rig, VA + 0x1000));
    let mut all = remapped(2, S1_PAGE);
    all.command(tlbi(0x10, 0, 0, 0, 0));
    assert!(!is_stale(&mut all, VA) && !is_stale(&mut all, VA + 0x1000));
}

#[test]
fn edge_148_address_sets_do_not_share_global_entries() {
    let mut rig = Rig::new(Bench::stage1());
    let (ste, mut cd) = (rig.bench.ste, rig.bench.cd);
    // Tables are never global: only streams of different ASIDs keep theirs apart.
    add_stream(&mut rig, 2, ste, *cd.bit(47, 1));
    add_stream(&mut rig, 1, ste, *cd.set(63, 48, 2));
    assert_eq!(pa(&rig.read(VA)), IPA);
    assert_eq!(pa(&rig.translate(&by(ANOTHER, VA))), PA + (1 << 20));
    assert_eq!(pa(&rig.read(VA)), IPA);
    // Commands do not look at ASET.
    rig.bench.map1(VA, (IPA + MOVED) | S1_PAGE);
    rig.bench.put(0x5001_0000, S1_SHAPE, VA, 12, PA | S1_PAGE);
    rig.command(tlbi(0x12, 0, 9, 0, VA));
    assert_eq!(pa(&rig.translate(&by(ANOTHER, VA))), PA);
    assert_eq!(pa(&rig.read(VA)), IPA + MOVED);
    // Non-global entries have an ASID and no address set.
    rig.bench
        .map1(VA + 0x1000, (IPA + 0x1000) | S1_PAGE | NOT_GLOBAL);
    assert_eq!(pa(&rig.read(VA + 0x1000)), IPA + 0x1000);
    let third = StreamId::new(SID + 2);
    assert_eq!(pa(&rig.translate(&by(third, VA + 0x1000))), IPA + 0x1000);
}

#[test]
fn edge_149_s2_ipa_reaches_nested_entries_only_where_stages_are_separate() {
    let s2_ipa = tlbi(0x2a, 7, 0, 0, IPA);
    let mut only = Rig::new(Bench::stage2());
    assert_eq!(pa(&only.read(IPA)), PA);
    only.bench.map2(IPA, (PA + MOVED) | S2_PAGE);
    assert_eq!(pa(&only.read(IPA)), PA);
    only.command(tlbi(0x2a, 8, 0, 0, IPA));
    assert_eq!(pa(&only.read(IPA)), PA, "another VMID");
    only.command(s2_ipa);
    assert_eq!(pa(&only.read(IPA)), PA + MOVED);

    let separate = CacheConfig {
        structure: TlbStructure::Separate,
        ..CacheConfig::INFINITE
    };
    for (shape, after) in [(separate, PA + MOVED), (CacheConfig::INFINITE, PA)] {
        let mut rig = Rig::cached(Bench::nested(), &shape);
        assert_eq!(pa(&rig.read(VA)), PA);
        rig.bench.map2(IPA, (PA + MOVED) | S2_PAGE);
        rig.command(s2_ipa);
        assert_eq!(pa(&rig.read(VA)), after);
        rig.command(tlbi(0x13, 7, 0, 0, VA));
        assert_eq!(pa(&rig.read(VA)), PA + MOVED);
    }
}

#[test]
fn edge_150_only_leaf_0_removes_tables() {
    for (leaf, expected) in [(1, IPA), (0, PA)] {
        let mut rig = Rig::new(Bench::stage1());
        assert_eq!(pa(&rig.read(VA)), IPA);
        // Another sub-table, which maps VA elsewhere.
        let slot = rig.bench.slot(S1_ROOT, S1_SHAPE, VA, 21);
        rig.bench.write(0x5555_0000, PA | S1_PAGE);
        rig.bench.write(slot, 0x5555_0000 | 3);
        rig.command(tlbi(0x12, 0, 1, leaf, VA));
        assert_eq!(pa(&rig.read(VA)), expected, "Leaf={leaf}");
    }
}

/// The range group of a `TLBI_NH_VA` for VA.
fn range(num: u64, scale: u64, ttl: u64, tg: u64) -> [u64; 2] {
    let [low, high] = tlbi(0x12, 0, 1, 0, VA);
    [low | num << 12 | scale << 20, high | ttl << 8 | tg << 10]
}

#[test]
fn edge_151_a_range_is_num_plus_one_times_two_to_the_scale() {
    let mut rig = remapped(10, S1_PAGE);
    rig.command(range(3, 1, 0, 1));
    for n in 0..10 {
        assert_eq!(is_stale(&mut rig, VA + (n << 12)), n >= 8, "page {n}");
    }
}

#[test]
fn edge_152_a_range_of_nothing_is_illegal() {
    let mut rig = Rig::new(Bench::stage1());
    for opcode in [0x12, 0x13, 0x22, 0x23, 0x2a] {
        let [low, high] = range(0, 0, 0, 1);
        assert_eq!(rig.cerror([low & !0xff | opcode, high]), 1, "{opcode:#x}");
    }
    for legal in [
        range(1, 0, 0, 1),
        range(0, 1, 0, 1),
        range(0, 0, 3, 1),
        range(0, 0, 0, 0),
    ] {
        assert_eq!(rig.cerror(legal), 0, "{legal:#x?}");
    }
    // TTL=1 says nothing for 16 KiB tables without DS.
    let mut small = Rig::new(Bench::stage1().part(|part| {
        part.ds = false;
        part.vax = 48;
        part.oas = 48;
    }));
    assert_eq!(small.cerror(range(0, 0, 1, 2)), 1);
    assert_eq!(rig.cerror(range(0, 0, 1, 2)), 0);
    // Without RIL the fields are reserved, and the command is for one address.
    let mut before_ril = Rig::new(Bench::stage1().part(|part| {
        part.version = Version::V3_1;
        part.ril = false;
    }));
    assert_eq!(before_ril.cerror(range(0, 0, 0, 1)), 0);
}

#[test]
fn edge_153_level_and_granule_hints_limit_a_command() {
    for (ttl, tg, gone) in [(2, 1, false), (0, 3, false), (3, 1, true), (0, 1, true)] {
        let mut rig = remapped(1, S1_PAGE);
        rig.command(range(1, 0, ttl, tg));
        assert_eq!(is_stale(&mut rig, VA), !gone, "TTL={ttl} TG={tg}");
    }
}

#[test]
fn edge_154_vmid_wildcards_widen_invalidation_but_never_lookup() {
    let mut rig = Rig::new(Bench::stage1());
    // Streams SID+n with VMID n, all with ASID 1.
    for n in 3..9 {
        let (mut ste, cd) = (rig.bench.ste, rig.bench.cd);
        add_stream(&mut rig, n, *ste.set(143, 128, n), cd);
    }
    let vmw = rig.read32(CR0) | 2 << 6;
    rig.write32(CR0, vmw);
    let of = |n: u64| by(StreamId::new(SID + n as u32), VA);
    for n in 3..9 {
        assert_eq!(
            pa(&rig.translate(&of(n))),
            PA + (n << 20),
            "no other VMID is hit"
        );
        rig.bench.put(
            0x5000_0000 + 0x1_0000 * n,
            S1_SHAPE,
            VA,
            12,
            n << 12 | S1_PAGE,
        );
    }
    rig.command(tlbi(0x10, 5, 0, 0, 0));
    for n in 3..9 {
        let gone = (4..8).contains(&n);
        let expected = if gone { n << 12 } else { PA + (n << 20) };
        assert_eq!(pa(&rig.translate(&of(n))), expected, "VMID {n}");
    }
}

#[test]
fn edge_155_el2_entries_need_el2_commands() {
    let mut without = Rig::new(Bench::stage1().part(|part| {
        part.hyp = false;
        part.version = Version::V3_1;
    }));
    for opcode in 0x20..0x24 {
        assert_eq!(without.cerror(tlbi(opcode, 0, 0, 0, VA)), 1, "{opcode:#x}");
    }
    let mut bench = Bench::stage1();
    bench.ste.set(95, 94, 2);
    let mut rig = Rig::new(bench);
    assert_eq!(pa(&rig.read(VA)), IPA);
    rig.bench.map1(VA, (IPA + MOVED) | S1_PAGE);
    // NSNH_ALL, NH_ALL, NH_VA, S12_VMALL; EL2_ASID, which has no meaning without E2H.
    for words in [
        [0x30, 0],
        [0x10, 0],
        tlbi(0x12, 0, 1, 0, VA),
        [0x28, 0],
        [0x21, 0],
    ] {
        rig.command(words);
        assert!(is_stale(&mut rig, VA), "{words:#x?}");
    }
    rig.command(tlbi(0x22, 0, 0x77, 0, VA));
    assert!(!is_stale(&mut rig, VA), "the ASID is ignored");
}

#[test]
fn edge_164_a_hit_asks_for_the_permission_of_this_access() {
    // AP: 0 privileged only, 1 all, 2 privileged read-only, 3 read-only.
    for (ap, fails) in [
        (0, [true, true, false, false]),
        (1, [false, false, false, false]),
        (2, [true, true, false, true]),
        (3, [false, true, false, true]),
    ] {
        let mut bench = Bench::stage1();
        bench.map1(VA, IPA | S1_PAGE & !(3 << 6) | ap << 6 | 1 << 54 | 1 << 53);
        let mut rig = Rig::new(bench);
        // Put in by the access every page allows.
        assert_eq!(pa(&rig.translate(&privileged(read(VA)))), IPA);
        let accesses = [
            read(VA),
            write(VA),
            privileged(read(VA)),
            privileged(write(VA)),
        ];
        for (access, fails) in accesses.into_iter().zip(fails) {
            let mut counts = smmu::observe::AccessCounts::default();
            let outcome =
                rig.with_memory(|smmu, memory| smmu.translate(memory, &access, &mut counts));
            assert_eq!(
                number(&outcome) == F_PERMISSION,
                fails,
                "AP={ap} {access:?}"
            );
            assert_eq!(counts.walk(), 0, "it is a hit");
        }
        // Execute-never as well.
        assert_eq!(number(&rig.translate(&fetch(VA))), F_PERMISSION);
    }
}

#[test]
fn edge_164_a_write_to_a_clean_page_asks_memory() {
    let mut bench = Bench::stage1();
    bench.cd.bit(43, 1).bit(42, 1);
    // Writable-clean, accessed.
    bench.map1(VA, IPA | S1_PAGE | 1 << 51 | 1 << 7);
    let mut rig = Rig::new(bench);
    assert_eq!(pa(&rig.read(VA)), IPA);
    assert_eq!(pa(&rig.translate(&transaction(AccessKind::Write, VA))), IPA);
    assert_eq!(rig.bench.leaf1() >> 7 & 1, 0, "marked dirty");
}

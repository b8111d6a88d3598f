//! Edge cases 82 and 147–165: what commands remove from caches, and what they leave. Caches are
//! infinite here and the part exact, so that what may stay does stay.

use smmu::cache::{CacheConfig, TlbStructure};
use smmu::config::Version;
use smmu::ids::StreamId;
use smmu::transaction::AccessKind;
use smmu::{CommandStep, Transaction};

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
        .put(root, S1_SHAPE, VA, 12, PA + (n << 20) | S1_PAGE);
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
        bench.map1(VA + page, IPA + page | attributes);
    }
    let mut rig = Rig::new(bench);
    for page in (0..pages).map(|n| n << 12) {
        assert_eq!(pa(&rig.read(VA + page)), IPA + page);
        rig.bench.map1(VA + page, IPA + MOVED + page | attributes);
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
    rig.bench.map1(private, IPA + 0x2000 | S1_PAGE | NOT_GLOBAL);
    rig.command(tlbi(0x12, 0, 1, 0, private));
    assert!(is_stale(&mut rig, private), "as it was before it moved");
    rig.bench
        .map1(private, IPA + MOVED + 0x2000 | S1_PAGE | NOT_GLOBAL);
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
    rig.bench.map1(VA, IPA + MOVED | S1_PAGE);
    rig.bench.put(0x5001_0000, S1_SHAPE, VA, 12, PA | S1_PAGE);
    rig.command(tlbi(0x12, 0, 9, 0, VA));
    assert_eq!(pa(&rig.translate(&by(ANOTHER, VA))), PA);
    assert_eq!(pa(&rig.read(VA)), IPA + MOVED);
    // Non-global entries have an ASID and no address set.
    rig.bench
        .map1(VA + 0x1000, IPA + 0x1000 | S1_PAGE | NOT_GLOBAL);
    assert_eq!(pa(&rig.read(VA + 0x1000)), IPA + 0x1000);
    let third = StreamId::new(SID + 2);
    assert_eq!(pa(&rig.translate(&by(third, VA + 0x1000))), IPA + 0x1000);
}

#[test]
fn edge_149_s2_ipa_reaches_nested_entries_only_where_stages_are_separate() {
    let s2_ipa = tlbi(0x2a, 7, 0, 0, IPA);
    let mut only = Rig::new(Bench::stage2());
    assert_eq!(pa(&only.read(IPA)), PA);
    only.bench.map2(IPA, PA + MOVED | S2_PAGE);
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
        rig.bench.map2(IPA, PA + MOVED | S2_PAGE);
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
    rig.bench.map1(VA, IPA + MOVED | S1_PAGE);
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
fn edge_156_an_ste_goes_with_its_cds() {
    for command in [
        cfgi_ste(SID),
        // CFGI_CD, SubstreamID 0; CFGI_CD_ALL; CFGI_ALL.
        [0x05 | u64::from(SID) << 32, 0],
        [0x06 | u64::from(SID) << 32, 0],
        [0x04, 31],
    ] {
        let mut rig = Rig::new(Bench::stage1());
        assert_eq!(pa(&rig.read(VA)), IPA);
        rig.bench.cd.bit(31, 0);
        rig.rewrite_stream();
        assert_eq!(pa(&rig.read(VA)), IPA, "the CD is cached");
        rig.command(tlbi(0x30, 0, 0, 0, 0));
        assert_eq!(pa(&rig.read(VA)), IPA, "no TLBI touches it");
        rig.command([command[0] ^ 1 << 32, command[1]]);
        let others = command[0] & 0xff == 4;
        assert_eq!(number(&rig.read(VA)) == C_BAD_CD, others, "another stream");
        rig.command(command);
        assert_eq!(number(&rig.read(VA)), C_BAD_CD);
    }
}

#[test]
fn edge_157_a_range_of_streams_is_aligned() {
    let mut bench = Bench::bypass();
    let ste = bench.ste;
    for stream in 0..32 {
        bench.write_words(STRTAB + 64 * stream, ste);
    }
    bench.ste = ste;
    let mut rig = Rig::new(bench);
    let read_all = |rig: &mut Rig| -> Vec<u32> {
        let bad = |rig: &mut Rig, n| number(&rig.translate(&by(StreamId::new(n), 0))) == C_BAD_STE;
        (0..32).filter(|&n| bad(rig, n)).collect()
    };
    assert_eq!(read_all(&mut rig), [0; 0]);
    for stream in 0..32 {
        rig.bench
            .write_words(STRTAB + 64 * stream, Words::default());
    }
    assert_eq!(read_all(&mut rig), [0; 0]);
    rig.command([0x04 | 13 << 32, 2]);
    assert_eq!(read_all(&mut rig), [8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn edge_158_commands_about_absent_stages_are_illegal() {
    let mut no_s1 = Rig::new(Bench::stage2().part(|part| {
        part.s1p = false;
        part.hyp = false;
        part.vatos = false;
        part.version = Version::V3_1;
    }));
    for opcode in [0x05, 0x06, 0x10, 0x11, 0x12, 0x13] {
        assert_eq!(no_s1.cerror([opcode | 0xffff << 32, 0]), 1, "{opcode:#x}");
    }
    assert_eq!(no_s1.cerror([0x28, 0]), 0);
    let mut no_s2 = Rig::new(Bench::stage1().part(|part| {
        part.s2p = false;
        part.hyp = false;
        part.vatos = false;
        part.vmw = false;
        part.version = Version::V3_1;
    }));
    for opcode in [0x28, 0x2a] {
        assert_eq!(no_s2.cerror([opcode, 0]), 1, "{opcode:#x}");
    }
    // The VMID of NH commands is ignored there.
    assert_eq!(pa(&no_s2.read(VA)), IPA);
    no_s2.bench.map1(VA, IPA + MOVED | S1_PAGE);
    no_s2.command(tlbi(0x12, 0x33, 1, 0, VA));
    assert!(!is_stale(&mut no_s2, VA));
}

#[test]
fn edge_159_nothing_secure_in_a_non_secure_queue() {
    let mut rig = Rig::new(Bench::stage1());
    for opcode in [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x44, 0x45] {
        assert_eq!(rig.cerror([opcode | 1 << 10, 0]), 1, "{opcode:#x}");
        assert_eq!(rig.cerror([opcode, 0]), 0, "{opcode:#x}");
    }
    // Commands of other worlds: EL3, Secure EL2, Secure stage 2, SNH, DPT.
    for opcode in [
        0x18, 0x1a, 0x50, 0x51, 0x52, 0x53, 0x58, 0x5a, 0x60, 0x70, 0x73,
    ] {
        assert_eq!(rig.cerror([opcode, 0]), 1, "{opcode:#x}");
    }
}

#[test]
fn edge_160_an_invalid_ste_is_cached_too() {
    let mut bench = Bench::stage1();
    bench.ste.bit(0, 0);
    let mut rig = Rig::new(bench);
    assert_eq!(number(&rig.read(VA)), C_BAD_STE);
    rig.bench.ste.bit(0, 1);
    rig.rewrite_stream();
    assert_eq!(number(&rig.read(VA)), C_BAD_STE);
    rig.command(cfgi_ste(SID));
    assert_eq!(pa(&rig.read(VA)), IPA);
}

#[test]
fn edge_161_a_cd_that_could_not_be_fetched_is_not_cached() {
    let mut bench = Bench::nested();
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    let mut rig = Rig::new(bench);
    let outcome = rig.read(VA);
    assert_eq!(
        event(&outcome),
        walk_event(F_TRANSLATION, 1, CLASS_CD, 1, VA, CD)
    );
    rig.bench.put(S2_ROOT, S2_SHAPE, 0, 30, S2_BLOCK);
    assert_eq!(pa(&rig.read(VA)), PA);
    // Nor one that memory refuses.
    let mut aborting = Rig::new(Bench::stage1());
    aborting.aborts = vec![smmu::mem::AbortRule::at(smmu::addr::Pa::new(CD))];
    assert_eq!(number(&aborting.read(VA)), F_CD_FETCH);
    aborting.aborts.clear();
    assert_eq!(pa(&aborting.read(VA)), IPA);
}

#[test]
fn edge_162_commands_for_endpoints_need_endpoints() {
    let mut without = Rig::new(Bench::stage1().part(|part| {
        part.ats = false;
        part.pri = false;
        part.atsrecerr = false;
    }));
    assert_eq!(without.cerror([0x40, 0]), 1);
    assert_eq!(without.cerror([0x41, 0]), 1);
    let mut no_pri = Rig::new(Bench::stage1().part(|part| part.pri = false));
    assert_eq!(no_pri.cerror([0x40, 0]), 0);
    assert_eq!(no_pri.cerror([0x41, 0]), 1);
    let mut rig = Rig::new(Bench::stage1());
    for (resp, cerror) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        assert_eq!(rig.cerror([0x41, resp << 12]), cerror, "Resp={resp}");
    }
}

#[test]
fn edge_163_prefetching_nonsense_is_silent() {
    let mut rig = Rig::new(Bench::stage1());
    for stream in [0, u64::from(SID), 0x1234, u32::MAX.into()] {
        for words in [
            [0x01 | stream << 32, 0],
            [0x01 | 1 << 11 | 0xf_ffff << 12 | stream << 32, 0],
            [0x02 | stream << 32, u64::MAX],
            [0x02 | stream << 32, 0x1000],
        ] {
            rig.push(words);
            assert!(matches!(
                rig.step(),
                CommandStep::Consumed { removed: 0, .. }
            ));
        }
    }
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
    assert_eq!(rig.active_errors(), 0);
    assert_eq!(rig.smmu.cached_translations().count(), 0);
    assert_eq!(rig.smmu.cached_configurations().count(), 0);
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

#[test]
fn atc_invalidations_name_their_range() {
    // deviations.md D40
    let mut rig = Rig::new(Bench::stage1());
    for (size, cerror) in [(0, 0), (52, 0), (53, 1), (63, 1)] {
        assert_eq!(rig.cerror([0x40, size]), cerror, "Size={size}");
    }
    struct Seen(Vec<smmu::command::AtcInvalidation>);
    impl smmu::Endpoints for Seen {
        fn invalidate_atc(&mut self, it: &smmu::command::AtcInvalidation) -> smmu::AtcReply {
            self.0.push(*it);
            smmu::AtcReply::Complete
        }
        fn respond_to_page_request(&mut self, _: &smmu::command::PriResponse) {}
    }
    let mut seen = Seen(Vec::new());
    let ssv = 1 << 11 | 0x155 << 12;
    for words in [
        [0x40 | ssv | 7 << 32, 0x1234_5000],
        [0x40 | 1 << 9 | 7 << 32, 0x1234_5000 | 4],
        [0x40 | 7 << 32, 0x1234_5000 | 52],
    ] {
        rig.push(words);
    }
    rig.with_memory(|smmu, memory| smmu.run_until_idle(memory, &mut seen, 10));
    let ranges: Vec<_> = seen
        .0
        .iter()
        .map(|it| (it.address, it.size_log2, it.global))
        .collect();
    assert_eq!(
        ranges,
        [
            (0x1234_5000, 12, false),
            (0x1234_0000, 16, true),
            (0, 64, false)
        ]
    );
    assert_eq!(seen.0[0].substream.map(|s| s.get()), Some(0x155));
    assert_eq!(seen.0[1].substream, None);
    // With the SMMU disabled it is ignored.
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !SMMUEN);
    rig.push([0x40 | 7 << 32, 0]);
    rig.with_memory(|smmu, memory| smmu.run_until_idle(memory, &mut seen, 10));
    assert_eq!((seen.0.len(), rig.active_errors()), (3, 0));
}

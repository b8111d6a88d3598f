//! Edge cases 156–163: configuration commands, legality, prefetches, commands for endpoints.

use smmu::config::Version;
use smmu::ids::StreamId;
use smmu::{CommandStep, Transaction};

use crate::support::bench::*;
use crate::support::rig::*;

/// How far a page is moved.
const MOVED: u64 = 0x1000_0000;

fn by(stream: StreamId, address: u64) -> Transaction {
    Transaction {
        stream,
        ..read(address)
    }
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
    no_s2.bench.map1(VA, (IPA + MOVED) | S1_PAGE);
    no_s2.command(tlbi(0x12, 0x33, 1, 0, VA));
    assert_eq!(pa(&no_s2.read(VA)), IPA + MOVED);
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

/// Endpoints that keep what they are told.
struct Seen(Vec<smmu::command::AtcInvalidation>);

impl smmu::Endpoints for Seen {
    fn invalidate_atc(&mut self, it: &smmu::command::AtcInvalidation) -> smmu::AtcReply {
        self.0.push(*it);
        smmu::AtcReply::Complete
    }
    fn respond_to_page_request(&mut self, _: &smmu::command::PriResponse) {}
}

#[test]
fn atc_invalidations_name_their_range() {
    // deviations.md D40
    let mut rig = Rig::new(Bench::stage1());
    for (size, cerror) in [(0, 0), (52, 0), (53, 1), (63, 1)] {
        assert_eq!(rig.cerror([0x40, size]), cerror, "Size={size}");
    }
    let mut seen = Seen(Vec::new());
    let ssv = 1 << 11 | 0x155 << 12;
    for words in [
        [0x40 | ssv | 7 << 32, 0x1234_5000],
        [0x40 | 1 << 9 | 7 << 32, 0x1234_5000 | 4],
        [0x40 | 7 << 32, 0x1234_5000 | 0x34],
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
    assert_eq!(
        seen.0[0].substream.map(smmu::ids::SubstreamId::get),
        Some(0x155)
    );
    assert_eq!(seen.0[1].substream, None);
    // With the SMMU disabled it is ignored.
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !SMMUEN);
    rig.push([0x40 | 7 << 32, 0]);
    rig.with_memory(|smmu, memory| smmu.run_until_idle(memory, &mut seen, 10));
    assert_eq!((seen.0.len(), rig.active_errors()), (3, 0));
}

/// An endpoint that answers late, once.
struct Late(bool);

impl smmu::Endpoints for Late {
    fn invalidate_atc(&mut self, _: &smmu::command::AtcInvalidation) -> smmu::AtcReply {
        if std::mem::take(&mut self.0) {
            smmu::AtcReply::Timeout
        } else {
            smmu::AtcReply::Complete
        }
    }
    fn respond_to_page_request(&mut self, _: &smmu::command::PriResponse) {}
}

#[test]
fn a_sync_behind_an_invalidation_without_answer_is_not_consumed() {
    // IHI 0070 §4.7, reference 7.4: CERROR_ATC_INV_SYNC, no signal.
    let mut rig = Rig::new(Bench::stage1());
    for words in [[0x40 | 7 << 32, 0], [0x46 | 1 << 12, 0]] {
        rig.push(words);
    }
    let mut late = Late(true);
    let mut run = |rig: &mut Rig| {
        rig.with_memory(|smmu, memory| smmu.run_until_idle(memory, &mut late, 10));
        (rig.read32(CMDQ_CONS), rig.smmu.take_interrupts().cmd_sync)
    };
    assert_eq!(run(&mut rig), (3 << 24 | 1, 0));
    assert_eq!(rig.active_errors(), CMDQ_ERR);
    rig.acknowledge(CMDQ_ERR);
    let (cons, pulses) = run(&mut rig);
    assert_eq!((cons & 0xf_ffff, pulses), (2, 1));
}

#[test]
fn a_sync_sends_an_event_where_the_part_can() {
    for sev in [true, false] {
        let mut rig = Rig::new(Bench::stage1().part(|part| part.sev = sev));
        rig.command([0x46 | 2 << 12, MSI]);
        let seen = rig.smmu.take_interrupts();
        assert_eq!((seen.sev, seen.cmd_sync), (u32::from(sev), 0));
        assert_eq!(rig.bench.peek(MSI), 0);
    }
}

//! Edge cases 138–144: transactions that wait for software.

use smmu::config::StallModel;
use smmu::transaction::Response;
use smmu::{CommandStep, Outcome};

use crate::support::bench::*;
use crate::support::rig::*;

/// An address no table maps.
const HOLE: u64 = VA + 0x5000;
/// What the tests come to map there.
const PAGE: u64 = 0xb000_0000;
const RETRY: u64 = 1 << 12;
const ABORT: u64 = 1 << 13;

/// Stage 1 that stalls.
fn stalling() -> Rig {
    let mut bench = Bench::stage1();
    bench.cd.bit(44, 1);
    Rig::new(bench)
}

fn resume(stream: u32, stag: u64, action: u64) -> [u64; 2] {
    [0x44 | action | u64::from(stream) << 32, stag]
}

/// Stalls a read of the hole; gives its STAG.
fn stall(rig: &mut Rig) -> u64 {
    let outcome = rig.read(HOLE);
    assert!(matches!(outcome, Outcome::Stalled { id: Some(_), .. }));
    let events = rig.take_events();
    let last = *events.last().unwrap();
    assert_eq!(bits(last, 95, 95), 1, "Stall");
    bits(last, 79, 64)
}

/// Outcomes of what no longer waits.
fn resolved(rig: &mut Rig) -> Vec<Outcome> {
    let taken = rig.smmu.take_resolved();
    taken.iter().map(|resolved| resolved.outcome).collect()
}

fn ends_with(outcomes: &[Outcome], wanted: Response) -> bool {
    matches!(outcomes, [Outcome::Terminated { response, event: None, .. }] if *response == wanted)
}

#[test]
fn edge_138_a_retried_transaction_sees_the_tables_as_they_are_now() {
    let mut rig = stalling();
    let stag = stall(&mut rig);
    rig.command(resume(SID, stag, RETRY));
    // Nothing was mended: another record, and it still waits.
    assert_eq!(rig.smmu.stalled(), 1);
    let events = rig.take_events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0][0] & 0xff, F_TRANSLATION);
    let stag = bits(events[0], 79, 64);
    rig.bench.map1(HOLE, PAGE | S1_PAGE);
    rig.command(resume(SID, stag, RETRY));
    let outcomes = resolved(&mut rig);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(pa(&outcomes[0]), PAGE);
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
    assert_eq!(rig.smmu.stalled(), 0);
}

#[test]
fn edge_139_a_terminated_transaction_is_answered_as_the_command_says() {
    for (action, term_model, expected) in [
        (0, false, Response::RazWi),
        (ABORT, false, Response::Abort),
        (0, true, Response::Abort),
        (ABORT, true, Response::Abort),
    ] {
        let mut bench = Bench::stage1().part(|part| part.term_model = term_model);
        bench.cd.bit(44, 1);
        let mut rig = Rig::new(bench);
        let stag = stall(&mut rig);
        rig.command(resume(SID, stag, action));
        assert!(
            ends_with(&resolved(&mut rig), expected),
            "{action:#x} {term_model}"
        );
        assert_eq!(rig.take_events(), [[0; 4]; 0]);
        // The tag is free: resuming it again does nothing.
        rig.command(resume(SID, stag, RETRY));
        assert_eq!(resolved(&mut rig), []);
    }
}

#[test]
fn edge_140_stream_and_tag_must_both_match() {
    let mut rig = stalling();
    let stag = stall(&mut rig);
    for words in [resume(SID + 1, stag, ABORT), resume(SID, stag + 1, ABORT)] {
        rig.command(words);
        assert_eq!((rig.smmu.stalled(), resolved(&mut rig)), (1, vec![]));
    }
    rig.command(resume(SID, stag, ABORT));
    assert!(ends_with(&resolved(&mut rig), Response::Abort));
}

#[test]
fn edge_141_a_part_that_never_stalls_has_no_resume() {
    let bench = Bench::stage1().part(|part| {
        part.stall_model = StallModel::TerminateOnly;
        part.stall_max = 0;
    });
    let mut rig = Rig::new(bench);
    assert_eq!(rig.cerror(resume(SID, 0, RETRY)), 1);
    assert_eq!(rig.cerror([0x45 | u64::from(SID) << 32, 0]), 1);
    let mut able = stalling();
    assert_eq!(able.cerror(resume(SID, 0, RETRY)), 0);
    assert_eq!(able.cerror([0x45 | u64::from(SID) << 32, 0]), 0);
}

#[test]
fn edge_142_a_stall_that_finds_no_place_is_retried_when_there_is_one() {
    let mut rig = stalling();
    rig.write32(CR0, 0);
    rig.write64(EVENTQ_BASE, EVENTQ);
    rig.write32(CR0, SMMUEN | EVENTQEN | CMDQEN);
    // The only place is taken.
    let _ = rig.read(HOLE);
    let second = rig.read(HOLE + 0x1000);
    assert!(matches!(second, Outcome::Stalled { .. }));
    assert_eq!(rig.read32(EVENTQ_PROD), 1, "no overflow");
    // CMD_SYNC does not wait for it.
    rig.push([0x46, 0]);
    assert!(matches!(rig.step(), CommandStep::Consumed { .. }));
    assert_eq!(rig.take_events().len(), 1);
    rig.run();
    let events = rig.take_events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0][2], HOLE + 0x1000);
    // A third waits again, and is mended before there is a place: it goes through untold.
    let _ = rig.read(HOLE + 0x2000);
    let _ = rig.read(HOLE + 0x3000);
    rig.bench.map1(HOLE + 0x3000, PAGE | S1_PAGE);
    rig.take_events();
    rig.run();
    assert_eq!(pa(&resolved(&mut rig)[0]), PAGE);
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
}

#[test]
fn edge_143_stalls_of_a_stream_that_is_shut_down_are_aborted_by_stall_term() {
    let mut rig = stalling();
    stall(&mut rig);
    // A stream of its own stalls too, and is not meant.
    rig.bench
        .write_words(STRTAB + 64 * u64::from(SID + 1), rig.bench.ste);
    let mut other = read(HOLE);
    other.stream = smmu::ids::StreamId::new(SID + 1);
    let _ = rig.translate(&other);
    rig.take_events();
    rig.bench.ste.set(3, 1, 0);
    rig.rewrite_stream();
    rig.command(cfgi_ste(SID));
    assert_eq!(rig.smmu.stalled(), 2, "no invalidation touches what waits");
    rig.command([0x45 | u64::from(SID) << 32, 0]);
    assert!(ends_with(&resolved(&mut rig), Response::Abort));
    assert_eq!(rig.smmu.stalled(), 1);
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
}

#[test]
fn edge_144_disabling_the_smmu_aborts_all_that_waits() {
    let mut rig = stalling();
    let first = stall(&mut rig);
    let second = rig.read(HOLE + 0x1000);
    assert!(matches!(second, Outcome::Stalled { .. }));
    rig.take_events();
    let enabled = rig.read32(CR0);
    rig.write32(CR0, enabled & !SMMUEN);
    let outcomes = resolved(&mut rig);
    assert_eq!(outcomes.len(), 2);
    assert!(
        outcomes
            .iter()
            .all(|outcome| ends_with(&[*outcome], Response::Abort))
    );
    rig.write32(CR0, enabled);
    assert_eq!(stall(&mut rig), first, "its tag is free again");
}

#[test]
fn at_most_stall_max_transactions_wait_and_their_tags_differ() {
    let mut bench = Bench::stage1().part(|part| part.stall_max = 3);
    bench.cd.bit(44, 1);
    let mut rig = Rig::new(bench);
    let tags: Vec<u64> = (0..3).map(|_| stall(&mut rig)).collect();
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
    assert_eq!(rig.read(HOLE), Outcome::Refused);
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
    rig.command(resume(SID, tags[1], ABORT));
    assert_eq!(resolved(&mut rig).len(), 1);
    assert_eq!(stall(&mut rig), tags[1]);
}

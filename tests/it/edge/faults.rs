//! Edge cases 2, 3, 135–137, 145, 146 and 161: what becomes of a fault.

use smmu::addr::Pa;
use smmu::mem::AbortRule;
use smmu::transaction::{AccessKind, Outcome, Path, Response};

use crate::support::bench::*;

fn disabled(gbpa: u64) -> Bench {
    let mut bench = Bench::bypass();
    bench.smmuen = false;
    bench.gbpa = gbpa;
    bench
}

fn is_silent_abort(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Terminated {
            response: Response::Abort,
            event: None,
            ..
        }
    )
}

#[test]
fn edge_002_gbpa_abort_aborts_without_an_event() {
    assert!(is_silent_abort(&disabled(0x1000 | 1 << 20).read(0x1000)));
}

#[test]
fn edge_003_a_disabled_smmu_still_has_an_address_size() {
    let bench = disabled(0x1000).part(|part| part.oas = 44);
    let outcome = bench.read((1 << 44) - 8);
    assert!(matches!(&outcome, Outcome::Translated(t) if t.path == Path::Disabled));
    assert!(is_silent_abort(&bench.read(1 << 44)));
}

#[test]
fn edge_135_suppressed_faults_abort_and_bad_configuration_is_recorded_all_the_same() {
    let mut bench = Bench::stage1();
    bench.cd.bit(45, 0);
    assert!(is_silent_abort(&bench.read(0x1000)));
    bench.cd.bit(31, 0);
    assert_eq!(number(&bench.read(0x1000)), C_BAD_CD);
}

#[test]
fn edge_136_a_0_reads_as_zero() {
    for (r, expected) in [(0, 0), (1, F_TRANSLATION)] {
        let mut bench = Bench::stage1();
        bench.cd.bit(46, 0).bit(45, r);
        let outcome = bench.read(0x1000);
        assert!(matches!(
            outcome,
            Outcome::Terminated {
                response: Response::RazWi,
                ..
            }
        ));
        assert_eq!(number(&outcome), expected, "R={r}");
    }
}

#[test]
fn edge_137_a_stall_is_always_recorded() {
    for (a, r) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut bench = Bench::stage1();
        bench.cd.bit(44, 1).bit(45, r).bit(46, a);
        let outcome = bench.read(0x1000);
        assert!(matches!(outcome, Outcome::Stalled { .. }), "A={a} R={r}");
        let mut expected = walk_event(F_TRANSLATION, 0, CLASS_IN, 1, 0x1000, 0);
        expected[1] |= 1 << 31;
        assert_eq!(event(&outcome), expected);
    }
}

#[test]
fn edge_145_the_stage_that_faults_decides() {
    // Stage 1 terminates, stage 2 stalls: a stage-2 fault on a stage-1 table stalls.
    let mut bench = Bench::nested();
    bench.ste.bit(185, 1);
    let slot = bench.slot(S1_ROOT, S1_SHAPE, VA, 30);
    bench.write(slot, 0x5000_0000 | 3);
    let outcome = bench.read(VA);
    assert!(matches!(outcome, Outcome::Stalled { .. }));
    assert_eq!(bits(event(&outcome), 103, 103), 1);
    assert_eq!(bits(event(&outcome), 105, 104), CLASS_TT);
    // Stage 1's own fault terminates.
    assert!(matches!(bench.read(0x1000), Outcome::Terminated { .. }));
}

#[test]
fn edge_146_an_external_abort_never_stalls() {
    let mut bench = Bench::stage1();
    bench.cd.bit(44, 1);
    bench.aborts.push(AbortRule::at(Pa::new(
        bench.slot(S1_ROOT, S1_SHAPE, VA, 12),
    )));
    let outcome = bench.access(AccessKind::Write, VA);
    assert!(matches!(
        outcome,
        Outcome::Terminated {
            response: Response::Abort,
            ..
        }
    ));
    assert_eq!(number(&outcome), F_WALK_EABT);
    assert_eq!(bits(event(&outcome), 95, 95), 0);
}

#[test]
fn edge_161_a_cd_that_stage_2_comes_to_map_is_found() {
    let mut bench = Bench::nested();
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    assert_eq!(number(&bench.read(VA)), F_TRANSLATION);
    bench.put(S2_ROOT, S2_SHAPE, 0, 30, S2_BLOCK);
    assert_eq!(pa(&bench.read(VA)), PA);
}

#[test]
fn every_access_of_a_walk_that_aborts_gives_the_right_event() {
    // A nested walk through 4 KiB pages: 1 STE, 4 of the CD's stage 2, the CD, then 24.
    let mut bench = Bench::nested();
    bench
        .ste
        .set(165, 160, 16)
        .set(167, 166, 2)
        .address(243, 196, 0x50_0000);
    let shape = Shape {
        granule: 12,
        start: 39,
        bits: 48,
    };
    for page in (0..0x60_0000).step_by(4096) {
        bench.put(0x50_0000, shape, page, 12, page | S2_PAGE);
    }
    bench.put(0x50_0000, shape, IPA, 12, PA | S2_PAGE);
    let (outcome, addresses) = bench.accesses(&read(VA));
    assert_eq!((pa(&outcome), addresses.len()), (PA, 30));
    for (k, &address) in addresses.iter().enumerate() {
        bench.aborts = vec![AbortRule::nth(k as u64)];
        let words = event(&bench.read(VA));
        let walk = |s2, class| walk_event(F_WALK_EABT, s2, class, 1, VA, address);
        let expected = match k {
            0 => [F_STE_FETCH | 5 << 32, 0, 0, address],
            1..=4 => walk(1, CLASS_CD),
            5 => [F_CD_FETCH | 5 << 32, 0, 0, address],
            // Each of four rows: four stage-2 descriptors, then the stage-1 descriptor.
            _ if k < 26 && (k - 6) % 5 == 4 => walk(0, CLASS_TT),
            _ if k < 26 => walk(1, CLASS_TT),
            _ => walk(1, CLASS_IN),
        };
        assert_eq!(words, expected, "access {k} at {address:#x}");
    }
}

//! Edge cases 166–171: translation requests and translated transactions of endpoints.

use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ats::{AtsTranslation, TranslationCompletion, TranslationRequest};
use smmu::ids::{StreamId, SubstreamId};
use smmu::transaction::{Outcome, Path, Response};

use crate::support::bench::*;
use crate::support::rig::*;

const F_BAD_ATS_TREQ: u64 = 0x05;
const F_TRANSL_FORBIDDEN: u64 = 0x07;
const DBM: u64 = 1 << 51;
const READ_ONLY: u64 = 1 << 7;

/// The bench's stream with EATS as given.
fn with_eats(mut bench: Bench, eats: u64) -> Bench {
    bench.ste.set(93, 92, eats);
    bench
}

fn request(address: u64) -> TranslationRequest {
    TranslationRequest {
        stream: StreamId::new(SID),
        substream: None,
        address: Iova::new(address),
        no_write: false,
        execute: false,
        privileged: false,
        stu_log2: 12,
    }
}

fn ask(rig: &mut Rig, request: &TranslationRequest) -> TranslationCompletion {
    rig.with_memory(|smmu, memory| smmu.ats_translate(memory, request, &mut ()))
}

fn granted(rig: &mut Rig, request: &TranslationRequest) -> AtsTranslation {
    match ask(rig, request) {
        TranslationCompletion::Success(translation) => translation,
        other => panic!("{other:?}"),
    }
}

fn translated(rig: &mut Rig, transaction: &Transaction) -> Outcome {
    rig.with_memory(|smmu, memory| smmu.translated_transaction(memory, transaction, &mut ()))
}

fn check_ats(rig: &mut Rig) {
    let enabled = rig.read32(CR0) | ATSCHK;
    rig.write32(CR0, enabled);
}

fn is_abort(outcome: &Outcome) -> bool {
    let abort = Response::Abort;
    matches!(outcome, Outcome::Terminated { response, .. } if *response == abort)
}

#[test]
fn edge_166_requests_of_streams_without_ats_are_unsupported() {
    let refused = [
        F_BAD_ATS_TREQ | u64::from(SID) << 32,
        1 | 1 << 30 | 1 << 31,
        VA,
        0,
    ];
    let mut disabled = Bench::stage1();
    disabled.smmuen = false;
    for bench in [with_eats(Bench::stage1(), 0), Bench::bypass(), disabled] {
        let mut rig = Rig::new(bench);
        assert_eq!(
            ask(&mut rig, &request(VA + 8)),
            TranslationCompletion::UnsupportedRequest
        );
        assert_eq!(rig.take_events(), [refused]);
    }
    let mut aborting = Bench::stage1();
    aborting.ste.set(3, 1, 0);
    let mut rig = Rig::new(aborting);
    assert_eq!(
        ask(&mut rig, &request(VA)),
        TranslationCompletion::UnsupportedRequest
    );
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
}

#[test]
fn edge_166_configuration_errors_are_completer_aborts_told_on_demand() {
    // CR2: RECINVSID bit 1, REC_CFG_ATS bit 3.
    for (cr2, ste_told, sid_told) in [(2, 0, 0), (8, 1, 0), (10, 1, 1)] {
        let mut bench = with_eats(Bench::stage1(), 1);
        bench.ste.bit(0, 0);
        bench.cr2 = cr2;
        let mut rig = Rig::new(bench);
        assert_eq!(
            ask(&mut rig, &request(VA)),
            TranslationCompletion::CompleterAbort
        );
        assert_eq!(rig.take_events().len(), ste_told, "CR2={cr2}");
        let beyond = TranslationRequest {
            stream: StreamId::new(64),
            ..request(VA)
        };
        assert_eq!(
            ask(&mut rig, &beyond),
            TranslationCompletion::CompleterAbort
        );
        assert_eq!(rig.take_events().len(), sid_told, "CR2={cr2}");
    }
}

#[test]
fn edge_167_a_translation_fault_grants_nothing() {
    // R=1, A=0, S=1 of the CD do not matter.
    let mut bench = with_eats(Bench::stage1(), 1);
    bench.cd.bit(45, 1).bit(46, 0).bit(44, 1);
    let mut rig = Rig::new(bench);
    let none = granted(&mut rig, &request(0x1000));
    assert!(!none.read && !none.write && !none.execute);
    assert_eq!(none.size_log2, 12);
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
    assert_eq!(rig.smmu.stalled(), 0);
}

#[test]
fn edge_167_a_request_is_answered_by_the_tlb_and_teaches_it() {
    // deviations.md D43. A driver that invalidates an endpoint's cache before the SMMU's gets the
    // old translation back into it.
    for (bench, output, address) in [
        (with_eats(Bench::stage1(), 1), IPA, IPA),
        (with_eats(Bench::nested(), 1), PA, PA),
        (with_eats(Bench::nested(), 2), PA, IPA),
    ] {
        let mut rig = Rig::new(bench);
        check_ats(&mut rig);
        let before = granted(&mut rig, &request(VA));
        assert!(before.read && before.write);
        assert_eq!(before.address, address);
        let entries = rig.smmu.cached_translations().count();
        assert!(entries > 0);
        assert_eq!(pa(&rig.read(VA)), output);
        assert_eq!(rig.smmu.cached_translations().count(), entries, "it hit");
        // The page is gone.
        rig.bench.map1(VA, 0);
        assert_eq!(granted(&mut rig, &request(VA)), before, "as cached");
        rig.command([0x30, 0]);
        let after = granted(&mut rig, &request(VA));
        assert!(!after.read && !after.write);
    }
}

#[test]
fn edge_167_faults_of_tables_and_cds_grant_nothing_and_aborts_are_aborts() {
    let mut nested = with_eats(Bench::nested(), 1);
    nested.put(S2_ROOT, S2_SHAPE, 0, 30, 0);
    let mut rig = Rig::new(nested);
    let none = granted(&mut rig, &request(VA));
    assert!(!none.read && !none.write, "the CD is not mapped");
    let mut rig = Rig::new(with_eats(Bench::stage1(), 1));
    rig.aborts = vec![smmu::mem::AbortRule::class(smmu::mem::AccessClass::Stage1)];
    assert_eq!(
        ask(&mut rig, &request(VA)),
        TranslationCompletion::CompleterAbort
    );
    assert_eq!(rig.take_events(), [[0; 4]; 0]);
}

#[test]
fn edge_168_only_a_request_to_write_marks_a_page_dirty() {
    let clean = IPA | S1_PAGE | DBM | READ_ONLY;
    for (no_write, hd, write, dirty) in [
        (true, 1, false, false),
        (false, 1, true, true),
        (false, 0, false, false),
    ] {
        let mut bench = with_eats(Bench::stage1(), 1);
        bench.cd.bit(43, 1).bit(42, hd);
        bench.map1(VA, clean);
        let mut rig = Rig::new(bench);
        let asked = TranslationRequest {
            no_write,
            ..request(VA)
        };
        let answer = granted(&mut rig, &asked);
        assert_eq!(
            (answer.read, answer.write),
            (true, write),
            "NW={no_write} HD={hd}"
        );
        assert_eq!(
            rig.bench.leaf1() & READ_ONLY == 0,
            dirty,
            "NW={no_write} HD={hd}"
        );
        // A page that is dirty already is writable whatever was asked.
        rig.bench.map1(VA, IPA | S1_PAGE | DBM);
        rig.command([0x30, 0]);
        assert!(granted(&mut rig, &asked).write);
    }
}

#[test]
fn edge_168_the_access_flag_is_set_if_anything_is_granted() {
    const AF: u64 = 1 << 10;
    let mut bench = with_eats(Bench::stage1(), 1);
    bench.cd.bit(43, 1);
    bench.map1(VA, (IPA | S1_PAGE) & !AF);
    let mut rig = Rig::new(bench);
    let asked = TranslationRequest {
        no_write: true,
        ..request(VA)
    };
    assert!(granted(&mut rig, &asked).read);
    assert_eq!(rig.bench.leaf1() & AF, AF);
    // Without HA it grants nothing.
    rig.bench.cd.bit(43, 0);
    rig.bench.map1(VA, (IPA | S1_PAGE) & !AF);
    rig.rewrite_stream();
    rig.command(cfgi_ste(SID));
    rig.command([0x30, 0]);
    let none = granted(&mut rig, &request(VA));
    assert!(!none.read && !none.write);
    assert_eq!(rig.bench.leaf1() & AF, 0);
}

#[test]
fn requests_are_granted_what_the_page_permits() {
    // (AP, Priv asked, R, W): 0 privileged only, 2 privileged read-only, 3 read-only.
    for (ap, privileged, read, write) in [
        (0, false, false, false),
        (0, true, true, true),
        (2, true, true, false),
        (3, false, true, false),
    ] {
        let mut bench = with_eats(Bench::stage1(), 1);
        bench.ste.set(63, 59, 2).set(65, 64, 2);
        bench.map1(VA, IPA | S1_PAGE & !(3 << 6) | ap << 6);
        let cd = bench.cd;
        bench.write_words(CD + 64, cd);
        let mut rig = Rig::new(bench);
        let asked = TranslationRequest {
            substream: Some(SubstreamId::new(1)),
            privileged,
            ..request(VA)
        };
        let answer = granted(&mut rig, &asked);
        assert_eq!(
            (answer.read, answer.write),
            (read, write),
            "AP={ap} Priv={privileged}"
        );
        // Without a PASID there is no privilege to ask for.
        let without = granted(
            &mut rig,
            &TranslationRequest {
                substream: None,
                ..asked
            },
        );
        assert!(!without.privileged);
        assert_eq!(without.read, ap == 3, "AP={ap}");
        assert!(!without.execute);
    }
}

#[test]
fn edge_169_translated_transactions_need_a_stream_that_has_ats_if_that_is_checked() {
    let mut rig = Rig::new(with_eats(Bench::stage1(), 0));
    let passed = translated(&mut rig, &read(PA + 8));
    assert_eq!(pa(&passed), PA + 8);
    assert!(matches!(passed, Outcome::Translated(t) if t.path == Path::AtsTranslated));
    check_ats(&mut rig);
    let forbidden = translated(&mut rig, &read(PA + 8));
    assert!(is_abort(&forbidden));
    let told = [
        F_TRANSL_FORBIDDEN | u64::from(SID) << 32,
        1 << 35,
        PA + 8,
        0,
    ];
    assert_eq!(rig.take_events(), [told]);
    let mut allowed = Rig::new(with_eats(Bench::stage1(), 1));
    check_ats(&mut allowed);
    assert_eq!(pa(&translated(&mut allowed, &write(PA))), PA);
    // SMMUEN=0 forbids them, too; Config=000 aborts silently; Config=100 forbids.
    allowed.write32(CR0, EVENTQEN);
    assert!(is_abort(&translated(&mut allowed, &write(PA))));
    assert_eq!(allowed.take_events()[0][0] & 0xff, F_TRANSL_FORBIDDEN);
    for (config, told) in [(0, vec![]), (0b100, vec![F_TRANSL_FORBIDDEN])] {
        let mut bench = with_eats(Bench::stage1(), 1);
        bench.ste.set(3, 1, config);
        let mut rig = Rig::new(bench);
        check_ats(&mut rig);
        assert!(is_abort(&translated(&mut rig, &read(PA))));
        let events = rig.take_events();
        assert_eq!(events.iter().map(|e| e[0] & 0xff).collect::<Vec<_>>(), told);
    }
}

#[test]
fn edge_169_configuration_errors_of_translated_transactions_are_told_on_demand() {
    for (cr2, told) in [(2, 0), (8, 1)] {
        let mut bench = with_eats(Bench::stage1(), 1);
        bench.ste.bit(0, 0);
        bench.cr2 = cr2;
        let mut rig = Rig::new(bench);
        check_ats(&mut rig);
        assert!(is_abort(&translated(&mut rig, &read(PA))));
        assert_eq!(rig.take_events().len(), told, "CR2={cr2}");
        // C_BAD_STREAMID does not ask for RECINVSID here.
        let mut beyond = read(PA);
        beyond.stream = StreamId::new(64);
        assert!(is_abort(&translated(&mut rig, &beyond)));
        assert_eq!(rig.take_events().len(), told, "CR2={cr2}");
    }
}

/// IDR3.PASIDTT (IHI 0070 §6.3.4).
#[test]
fn a_pasid_of_a_translated_transaction_counts_where_the_part_has_pasidtt() {
    for pasidtt in [false, true] {
        let bench = with_eats(Bench::stage1(), 1).part(|part| part.pasidtt = pasidtt);
        let mut rig = Rig::new(bench);
        check_ats(&mut rig);
        // The stream has one CD, so no substream: an error, if anybody looks.
        let answer = translated(&mut rig, &substream(read(PA), 1));
        assert_eq!(is_abort(&answer), pasidtt);
    }
}

#[test]
fn translated_addresses_must_fit_the_part() {
    // deviations.md D44
    let mut rig = Rig::new(with_eats(Bench::stage1(), 1).part(|part| part.oas = 44));
    for checked in [false, true] {
        if checked {
            check_ats(&mut rig);
        }
        let last = (1 << 44) - 8;
        assert_eq!(pa(&translated(&mut rig, &read(last))), last);
        assert!(is_abort(&translated(&mut rig, &read(1 << 44))));
        assert_eq!(rig.take_events(), [[0; 4]; 0]);
    }
}

#[test]
fn edge_170_split_stage_ats_without_checks_is_no_ats() {
    let mut rig = Rig::new(with_eats(Bench::nested(), 2));
    assert_eq!(
        ask(&mut rig, &request(VA)),
        TranslationCompletion::UnsupportedRequest
    );
    assert_eq!(rig.take_events()[0][0] & 0xff, F_BAD_ATS_TREQ);
    check_ats(&mut rig);
    rig.command(cfgi_ste(SID));
    let answer = granted(&mut rig, &request(VA));
    assert_eq!(
        (answer.address, answer.read, answer.write),
        (IPA, true, true),
        "an IPA"
    );
    let mut full = Rig::new(with_eats(Bench::nested(), 1));
    assert_eq!(granted(&mut full, &request(VA)).address, PA);
}

#[test]
fn edge_171_split_stage_addresses_go_through_stage_2() {
    let mut bench = with_eats(Bench::nested(), 2);
    bench.map2(IPA + 0x1000, (PA + 0x1000) | S2_PAGE & !(2 << 6));
    let mut rig = Rig::new(bench);
    check_ats(&mut rig);
    assert_eq!(pa(&translated(&mut rig, &read(IPA + 16))), PA + 16);
    let hole = IPA + 0x5000;
    assert!(is_abort(&translated(&mut rig, &read(hole))));
    assert_eq!(
        rig.take_events(),
        [walk_event(F_TRANSLATION, 1, CLASS_IN, 1, hole, hole)]
    );
    let read_only = IPA + 0x1000;
    assert_eq!(pa(&translated(&mut rig, &read(read_only))), PA + 0x1000);
    assert!(is_abort(&translated(&mut rig, &write(read_only))));
    let expected = walk_event(F_PERMISSION, 1, CLASS_IN, 0, read_only, read_only);
    assert_eq!(rig.take_events(), [expected]);
    // Within the IAS, beyond the tables.
    let mut small = with_eats(Bench::nested(), 2).part(|part| part.oas = 44);
    small.ste.set(178, 176, 4);
    small.cd.set(34, 32, 4);
    let mut rig = Rig::new(small);
    check_ats(&mut rig);
    assert!(is_abort(&translated(&mut rig, &read(1 << 43))));
    assert_eq!(rig.take_events()[0][0] & 0xff, F_TRANSLATION);
}

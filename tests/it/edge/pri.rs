//! Edge cases 172–174: page requests of endpoints.

use smmu::command::PriResponseCode;
use smmu::ids::{StreamId, SubstreamId};
use smmu::priq::{PageRequest, PageResponse};

use crate::support::bench::*;
use crate::support::rig::*;

fn page(last: bool) -> PageRequest {
    PageRequest {
        stream: StreamId::new(SID),
        substream: None,
        address: VA,
        group: 0x155,
        last,
        read: true,
        write: false,
        execute: false,
        privileged: false,
    }
}

fn stop_marker() -> PageRequest {
    PageRequest {
        substream: Some(SubstreamId::new(3)),
        read: false,
        ..page(true)
    }
}

fn ask_page(rig: &mut Rig, request: &PageRequest) -> Option<PageResponse> {
    rig.with_memory(|smmu, memory| smmu.page_request(memory, request))
}

fn code(response: Option<PageResponse>) -> Option<PriResponseCode> {
    response.map(|response| response.code)
}

/// Fills the PRI queue and makes it overflow.
fn overflown() -> Rig {
    let mut rig = Rig::new(Bench::stage1());
    for _ in 0..4 {
        assert_eq!(ask_page(&mut rig, &page(false)), None);
    }
    assert_eq!(rig.read32(PRIQ_PROD), 4);
    assert_eq!(ask_page(&mut rig, &page(false)), None);
    assert_eq!(rig.read32(PRIQ_PROD), OVERFLOW | 4);
    rig
}

#[test]
fn edge_172_page_requests_that_find_no_queue_are_answered() {
    for (cr0, because) in [(SMMUEN, "PRIQEN=0"), (PRIQEN, "SMMUEN=0")] {
        let mut rig = Rig::new(Bench::stage1());
        rig.write32(CR0, cr0);
        for last in [false, true] {
            let expected = PageResponse {
                substream: None,
                group: 0x155,
                code: PriResponseCode::Failure,
            };
            assert_eq!(ask_page(&mut rig, &page(last)), Some(expected), "{because}");
        }
        assert_eq!(rig.read32(PRIQ_PROD), 0);
    }
    let mut rig = overflown();
    assert_eq!(ask_page(&mut rig, &page(false)), None);
    assert_eq!(
        code(ask_page(&mut rig, &page(true))),
        Some(PriResponseCode::Success)
    );
    assert_eq!(rig.read32(PRIQ_PROD), OVERFLOW | 4, "told once");
    assert_eq!(rig.active_errors(), 0);
}

#[test]
fn edge_172_a_queue_that_cannot_be_written_fails_page_requests() {
    let mut rig = Rig::new(Bench::stage1());
    rig.aborts = vec![smmu::mem::AbortRule::class(
        smmu::mem::AccessClass::PriQueue,
    )];
    let failure = Some(PriResponseCode::Failure);
    assert_eq!(code(ask_page(&mut rig, &page(false))), failure);
    assert_eq!(
        (rig.active_errors(), rig.read32(PRIQ_PROD)),
        (PRIQ_ABT_ERR, 0)
    );
    assert_eq!(rig.smmu.take_interrupts().priq, 0);
    rig.aborts.clear();
    assert_eq!(code(ask_page(&mut rig, &page(true))), failure);
    rig.acknowledge(PRIQ_ABT_ERR);
    assert_eq!(ask_page(&mut rig, &page(true)), None);
    assert_eq!(rig.read32(PRIQ_PROD), 1);
}

#[test]
fn edge_173_an_overflow_of_page_requests_lasts_until_it_is_acknowledged() {
    let mut rig = overflown();
    rig.write32(PRIQ_CONS, 2);
    assert_eq!(ask_page(&mut rig, &page(false)), None);
    assert_eq!(rig.read32(PRIQ_PROD), OVERFLOW | 4);
    rig.write32(PRIQ_CONS, OVERFLOW | 2);
    assert_eq!(ask_page(&mut rig, &page(true)), None);
    assert_eq!(rig.read32(PRIQ_PROD), OVERFLOW | 5);
    let record = [rig.bench.peek(PRIQ), rig.bench.peek(PRIQ + 8)];
    assert_eq!(record, [u64::from(SID) | 1 << 60 | 1 << 62, 0x155 | VA]);
}

#[test]
fn edge_174_stop_markers_are_never_answered() {
    let mut rig = overflown();
    assert_eq!(ask_page(&mut rig, &stop_marker()), None);
    assert_eq!(rig.read32(PRIQ_PROD), OVERFLOW | 4);
    rig.write32(CR0, SMMUEN);
    assert_eq!(ask_page(&mut rig, &stop_marker()), None);
    // The same pattern without a PASID is a request.
    let request = PageRequest {
        substream: None,
        ..stop_marker()
    };
    assert_eq!(
        code(ask_page(&mut rig, &request)),
        Some(PriResponseCode::Failure)
    );
    // And in a queue with room it is a record.
    let mut rig = Rig::new(Bench::stage1());
    assert_eq!(ask_page(&mut rig, &stop_marker()), None);
    let words = u64::from(SID) | 3 << 32 | 1 << 62 | 1 << 63;
    assert_eq!(rig.bench.peek(PRIQ), words);
}

#[test]
fn the_pasid_of_an_overflow_response_depends_on_pps_and_ppar() {
    let pasid = Some(SubstreamId::new(9));
    let request = PageRequest {
        substream: pasid,
        ..page(true)
    };
    // (PPS, PPAR, STE.V): the PASID and the code of the answer.
    for (pps, ppar, valid, substream, code) in [
        (true, 0, 1, pasid, PriResponseCode::Success),
        (true, 0, 0, pasid, PriResponseCode::Success),
        (false, 1, 1, pasid, PriResponseCode::Success),
        (false, 0, 1, None, PriResponseCode::Success),
        (false, 1, 0, None, PriResponseCode::Failure),
    ] {
        let mut rig = overflown();
        let mut bench = rig.bench.clone().part(|part| part.pps = pps);
        bench.ste.bit(82, ppar).bit(0, valid);
        rig = Rig::new(bench);
        for _ in 0..5 {
            assert_eq!(ask_page(&mut rig, &page(false)), None);
        }
        let group = 0x155;
        let expected = PageResponse {
            substream,
            group,
            code,
        };
        assert_eq!(
            ask_page(&mut rig, &request),
            Some(expected),
            "PPS={pps} PPAR={ppar} V={valid}"
        );
        assert_eq!(rig.take_events(), [[0; 4]; 0]);
    }
}

#[test]
fn page_requests_interrupt_on_the_first_or_on_the_last_of_a_group() {
    // PRIQ_IRQ_CFG2.LO
    let mut rig = Rig::new(Bench::stage1());
    let pulses = |rig: &mut Rig, last| {
        let _ = ask_page(rig, &page(last));
        rig.smmu.take_interrupts().priq
    };
    assert_eq!(
        [false, true, false].map(|last| pulses(&mut rig, last)),
        [1, 0, 0]
    );
    rig.write32(IRQ_CTRL, 0);
    rig.write32(PRIQ_IRQ_CFG2, 1 << 31);
    rig.write32(IRQ_CTRL, 7);
    // The fourth fills the queue; the others are lost to the overflow, and Last=1 tells all the same.
    assert_eq!(
        [true, false, true].map(|last| pulses(&mut rig, last)),
        [1, 0, 1]
    );
}

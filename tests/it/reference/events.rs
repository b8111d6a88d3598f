//! The event page: which fields an event has, when it is recorded, and what the model raises.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use smmu::addr::{Iova, Ipa, Pa};
use smmu::config::SmmuConfig;
use smmu::fault::{Cause, Class, Direction, Fault, IllegalCd, IllegalSte, Site, Stage};
use smmu::ids::{StreamId, SubstreamId};
use smmu::spec::event::{Event, EventId};
use smmu::transaction::{InstructionOrData, Privilege};
use smmu_sim::decode::{Decoded, Kind, decode};

use super::is_made;

/// Every cause of a fault, with as many bits set as it can have.
fn causes() -> Vec<Cause> {
    let site = Site {
        stage: Stage::Stage2,
        class: Class::Tt,
        ipa: Ipa::new(u64::MAX),
        level: 3,
    };
    let fetch = Pa::new(u64::MAX);
    let index = SubstreamId::new(0xf_ffff);
    vec![
        Cause::BadStreamId,
        Cause::SteFetch { fetch },
        Cause::BadSte(IllegalSte::NotValid),
        Cause::TranslationForbidden,
        Cause::BadSubstreamId { index },
        Cause::StreamDisabled,
        Cause::CdFetch { fetch },
        Cause::BadCd(IllegalCd::NotValid),
        Cause::WalkEabt { site, fetch },
        Cause::Translation(site),
        Cause::AddressSize(site),
        Cause::Access(site),
        Cause::Permission {
            site,
            missing_read: false,
            table_access: Some(Direction::Read),
        },
    ]
}

fn record(cause: Cause) -> Event {
    Fault {
        cause,
        stream: StreamId::new(u32::MAX),
        substream: Some(SubstreamId::new(0xf_ffff)),
        input: Iova::new(u64::MAX),
        rnw: Direction::Read,
        ind: InstructionOrData::Instruction,
        pnu: Privilege::Privileged,
    }
    .record()
}

/// What `decode` says about an event with no other bit set.
fn decoded(id: EventId) -> Decoded {
    let word = format!("{:#x} 0 0 0", id.0);
    let mut all = decode(Kind::Event, &word, &SmmuConfig::full()).unwrap();
    all.remove(0)
}

#[test]
fn a_record_has_no_bit_outside_the_fields_its_event_has() {
    for cause in causes() {
        let record = record(cause);
        let fields = decoded(cause.event_id()).fields;
        for (i, word) in (0u32..).zip(record.words()) {
            for bit in (0..64).filter(|bit| word >> bit & 1 != 0) {
                let at = i * 64 + bit;
                assert!(
                    fields.iter().any(|f| (f.lsb..=f.msb).contains(&at)),
                    "{cause:?}: bit {at} of {record:?}"
                );
            }
        }
    }
}

#[test]
fn the_event_page_has_every_event_with_its_fields() {
    let raised: Vec<Cause> = causes();
    let mut table = String::from(
        "| no. | event | what | recorded | fields beside Type and StreamID |\n|---|---|---|---|---|\n",
    );
    let mut seen = BTreeSet::new();
    for id in (0..=u8::MAX).map(EventId) {
        let Some(name) = id.name() else {
            continue;
        };
        let cause = raised.iter().find(|cause| cause.event_id() == id);
        let recorded = match (id, cause) {
            (EventId::C_BAD_STREAMID, _) => "if CR2.RECINVSID",
            (EventId::F_BAD_ATS_TREQ, _) => "always",
            (_, Some(cause)) if cause.is_translation_related() => "if CD.R or STE.S2R, or stalled",
            (_, Some(_)) => "always",
            (_, None) => "never raised here",
        };
        seen.extend(cause.map(|_| id));
        let decoded = decoded(id);
        let fields: Vec<&str> = decoded
            .fields
            .iter()
            .map(|field| field.name)
            .filter(|name| !["Type", "StreamID"].contains(name))
            .collect();
        writeln!(
            table,
            "| {:#04x} | {name} | {} | {recorded} | {} |",
            id.0,
            decoded.notes[0],
            fields.join(", ")
        )
        .unwrap();
    }
    assert_eq!(seen.len(), raised.len(), "an event for each cause");
    is_made("reference/events.md", "events", &table);
}

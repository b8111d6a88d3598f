//! Explanations as JSON: addresses and words as hexadecimal strings.

use serde_json::{Value, json};
use smmu::Outcome;
use smmu::transaction::Response;

use super::meaning::meaning;
use super::record::{Recorded, Row};
use super::{Explained, outcome};

/// Version of the shape of this output.
const SCHEMA_VERSION: u32 = 1;

impl Explained {
    /// The translation with every access.
    pub fn to_json(&self) -> Value {
        let tx = &self.transaction;
        json!({
            "schema_version": SCHEMA_VERSION,
            "transaction": {
                "sid": hex(tx.stream.get().into()),
                "ssid": tx.substream.map(|ssid| hex(ssid.get().into())),
                "address": hex(tx.address.get()),
                "kind": outcome::kind(tx.kind),
            },
            "accesses": self.recording.rows.iter().map(|row| self.row(row)).collect::<Vec<_>>(),
            "outcome": self.outcome(),
        })
    }

    fn row(&self, row: &Row) -> Value {
        let (value, update) = match &row.recorded {
            Recorded::Word(word) => (vec![hex(*word)], None),
            Recorded::Structure(words) => (words.iter().map(|word| hex(*word)).collect(), None),
            Recorded::Update { new, done } => (vec![hex(*new)], Some(*done)),
            Recorded::Aborted => (Vec::new(), None),
        };
        json!({
            "number": row.label.to_string(),
            "what": row.what(),
            "ipa": row.ipa.map(|ipa| hex(ipa.get())),
            "pa": hex(row.pa.get()),
            "words": value,
            "updated": update,
            "aborted": row.recorded == Recorded::Aborted,
            "meaning": meaning(row, self),
        })
    }

    fn outcome(&self) -> Value {
        let event = self.outcome.event().map(|event| {
            json!({
                "type": format!("{:?}", event.dw0.r#type()),
                "fields": outcome::event_fields(event),
                "words": event.words().map(hex),
            })
        });
        let result = match &self.outcome {
            Outcome::Translated(_) => "translated",
            Outcome::Terminated {
                response: Response::Abort,
                ..
            } => "aborted",
            Outcome::Terminated {
                response: Response::RazWi,
                ..
            } => "raz-wi",
            Outcome::Stalled { .. } => "stalled",
            Outcome::Dropped => "dropped",
            Outcome::Refused => "refused",
        };
        let (attributes, span) = match &self.outcome {
            Outcome::Translated(t) => (Some(outcome::attributes(&t.attributes)), Some(t.span_log2)),
            _ => (None, None),
        };
        json!({
            "result": result,
            "pa": self.outcome.pa().map(|pa| hex(pa.get())),
            "span_log2": span,
            "attributes": attributes,
            "event": event,
            "reason": self.outcome.fault().map(outcome::reason),
        })
    }
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

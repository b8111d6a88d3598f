//! The account of QEMU against what QEMU answered to random tables.

use std::collections::BTreeSet;
use std::path::Path;

use smmu::Transaction;
use smmu::addr::Iova;
use smmu::cache::CacheConfig;
use smmu::ids::StreamId;
use smmu::regfile::Width;

use super::{Account, Fetched, Told, account};
use crate::check::golden::{Case, Scenario, decode_hex, event_words};
use crate::check::trace::line::{Access, Looks, Recorded, RegisterWrite};
use crate::check::trace::machine::Machine;
use crate::check::trace::transactions::refused;

/// Departures that the account does not tell of: no driver makes such an STE, or there is none.
const OUTSIDE: [&str; 5] = ["S2HAHD", "S2SL0_LOW", "S2T0SZ_PS", "SPAN", "RECINVSID"];

/// Departures that lead the walk astray. Beyond RAM the recording machine answers some reads with
/// ones, which a trace shows as descriptors and this test does not; and of an abort under S2BIT_TT
/// the record does not tell the place.
const ASTRAY: [&str; 5] = [
    "TABLE_OAS",
    "TTB_ALIGN",
    "S2BIT_TT",
    "S1TAB_CONTIG",
    "APTABLE_EARLY",
];

/// The address and the record an account ends with.
fn answered(account: &Account, iova: u64) -> (Option<u64>, Option<[u64; 4]>) {
    let pa = match account.answer.result {
        Told::Translated { pa, .. } => Some(pa),
        Told::Bypass => Some(iova),
        _ => None,
    };
    (pa, account.answer.record)
}

fn machine(scenario: &Scenario) -> Machine {
    let mut machine = Machine::new(&CacheConfig::OFF).unwrap();
    for &(offset, bytes, value) in &scenario.regs {
        let width = if bytes == 4 { Width::W32 } else { Width::W64 };
        machine.write_register(&RegisterWrite {
            offset,
            width,
            value,
        });
    }
    for (base, hex) in &scenario.ram {
        let bytes = decode_hex(hex).unwrap();
        for (chunk, at) in bytes.chunks(8).zip((*base..).step_by(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            machine.memory.store(at, &[u64::from_le_bytes(word)]);
        }
    }
    machine
}

/// Wherever QEMU departs from the architecture on random tables, the account gives its answer bit
/// for bit and names a departure that the recording names.
#[test]
fn the_account_is_what_qemu_answered_to_random_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden.jsonl.gz");
    let text = crate::input::read_text(&path).unwrap();
    let (mut good, mut astray) = (0, 0);
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let mut machine = machine(&case.scenario);
        for (k, (asked, out)) in case.scenario.accesses.iter().zip(&case.out).enumerate() {
            let tags: BTreeSet<&str> = out.tags.iter().map(String::as_str).collect();
            if out.agree || OUTSIDE.iter().any(|tag| tags.contains(tag)) {
                continue;
            }
            let qemu = &out.qemu;
            let record = qemu.events.first().map(|event| event_words(event).unwrap());
            if let Some(address) = record.as_ref().and_then(refused) {
                machine.memory.refuse(address);
            }
            let (stream, iova) = (StreamId::new(asked.sid), Iova::new(asked.iova));
            let (transaction, access) = if asked.write {
                (Transaction::write(stream, iova), Access::Write)
            } else {
                (Transaction::read(stream, iova), Access::Read)
            };
            let recorded = Recorded {
                stream,
                iova: asked.iova,
                access,
                stage: 0,
                looks: Looks {
                    count: 0,
                    ends_in_hit: false,
                },
                result: Told::Abort,
            };
            let (_, seen) = machine.translate_cold(&transaction);
            let account = account(&machine, &transaction, &recorded, Fetched::Before, &seen);
            let place = format!("{} out[{k}]: {tags:?}", case.id);
            let account = account.unwrap_or_else(|| panic!("{place}: no account"));
            let expected = (if qemu.ok { qemu.pa } else { qemu.trace_pa }, record);
            if answered(&account, asked.iova) == expected {
                // The recording names what the answer would be without each, this what was met.
                let names = account.departures.iter().map(|departure| departure.name());
                let names: BTreeSet<_> = names.collect();
                assert!(!names.is_disjoint(&tags), "{place}: {names:?}");
                good += 1;
            } else {
                assert!(
                    ASTRAY.iter().any(|tag| tags.contains(tag)),
                    "{place}: {expected:x?}, but {account:x?}"
                );
                astray += 1;
            }
        }
    }
    assert_eq!((good, astray), (3_772, 203));
}

//! Answers compared: whether device and software could tell them apart, and how they differ.

use super::finding::Staleness;
use crate::cache::ConfigurationEntry;
use crate::fault::{Cause, Fault, Raised};
use crate::fetch::{Configuration, StreamAction};
use crate::mem::{DryRun, PhysMem};
use crate::perm::Request;
use crate::transaction::{Outcome, Transaction, Translation};
use crate::translate::{Programmed, silent_abort};

/// What memory makes of a transaction whose configuration comes from a cache.
pub(super) fn configured<M: PhysMem + ?Sized>(
    part: &Programmed,
    mem: &mut M,
    transaction: &Transaction,
    entry: &ConfigurationEntry,
) -> Outcome {
    let stream = match &entry.stream {
        Ok(stream) => stream,
        Err(illegal) => {
            let raised = Raised::always(Cause::BadSte(*illegal));
            return part.faulted(raised, transaction, &Request::TABLE_READ);
        }
    };
    if stream.action == StreamAction::Abort {
        return silent_abort(transaction);
    }
    match &entry.stage1 {
        Err(illegal) => {
            let raised = Raised::always(Cause::BadCd(*illegal));
            part.faulted(raised, transaction, &stream.request(transaction))
        }
        Ok(stage1) => {
            let configuration = Configuration {
                stream: *stream,
                stage1: *stage1,
            };
            let mem = &mut DryRun::new(mem);
            part.translate_configured(&configuration, mem, transaction, &mut ())
        }
    }
}

/// Whether two outcomes are the same to device and software. The size of the block or page is
/// known to neither.
pub(super) fn same_answer(a: &Outcome, b: &Outcome) -> bool {
    let record = |fault: &Option<Fault>| fault.map(|fault| fault.record());
    match (a, b) {
        (Outcome::Translated(a), Outcome::Translated(b)) => {
            let span_log2 = 0;
            Translation { span_log2, ..*a } == Translation { span_log2, ..*b }
        }
        (
            Outcome::Terminated {
                response: a,
                fault: fault_a,
                event: event_a,
            },
            Outcome::Terminated {
                response: b,
                fault: fault_b,
                event: event_b,
            },
        ) => a == b && event_a == event_b && record(fault_a) == record(fault_b),
        (Outcome::Stalled { event: a, .. }, Outcome::Stalled { event: b, .. }) => a == b,
        _ => a == b,
    }
}

/// How memory differs from what was used.
pub(super) fn staleness(used: &Outcome, memory: &Outcome) -> Staleness {
    let cause = |outcome: &Outcome| outcome.fault().map(|fault| fault.cause);
    match (used, memory) {
        (Outcome::Translated(used), Outcome::Translated(memory)) => {
            if used.pa == memory.pa {
                Staleness::Attributes
            } else {
                Staleness::Remapped
            }
        }
        (_, Outcome::Translated(_)) => match cause(used) {
            Some(Cause::Permission { .. }) => Staleness::PermissionExtended,
            _ => Staleness::Remapped,
        },
        _ => match cause(memory) {
            Some(Cause::Permission { .. }) => Staleness::PermissionReduced,
            Some(Cause::Access(_)) => Staleness::AccessFlag,
            _ => Staleness::Unmapped,
        },
    }
}

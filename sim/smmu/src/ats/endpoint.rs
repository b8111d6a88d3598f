//! Endpoints that use ATS: what they ask, what they make of the answer, and what they send.

use std::collections::BTreeMap;

use super::{Atc, AtsTranslation, TranslationCompletion, TranslationRequest};
use crate::addr::Iova;
use crate::cmdq::{AtcReply, Endpoints};
use crate::command::{AtcInvalidation, PriResponse};
use crate::ids::StreamId;
use crate::mem::PhysMem;
use crate::observe::Observer;
use crate::smmu::Smmu;
use crate::transaction::{AccessKind, InstructionOrData, Outcome, Privilege, Transaction};
use crate::translate::silent_abort;

/// Requests are for whole pages (PCIe: Page Aligned Request).
const PAGE_LOG2: u32 = 12;

impl TranslationRequest {
    /// What an endpoint asks before it can make an access. Without a PASID it can ask neither for
    /// execute permission nor in privileged mode.
    pub fn before(transaction: &Transaction, stu_log2: u8) -> Self {
        let has_pasid = transaction.substream.is_some();
        Self {
            stream: transaction.stream,
            substream: transaction.substream,
            address: Iova::new(transaction.address.get() >> PAGE_LOG2 << PAGE_LOG2),
            no_write: !transaction.kind.is_write(),
            execute: has_pasid && executes(transaction),
            privileged: has_pasid && transaction.pnu == Privilege::Privileged,
            stu_log2,
        }
    }
}

fn executes(transaction: &Transaction) -> bool {
    transaction.ind == InstructionOrData::Instruction && !transaction.kind.is_write()
}

impl AtsTranslation {
    /// Whether it grants anything.
    pub fn grants(&self) -> bool {
        self.read || self.write || self.execute
    }

    /// Whether an endpoint that was told this may make an access. What was granted to privileged
    /// accesses is not granted to others (PCIe: Priv).
    pub fn allows(&self, transaction: &Transaction) -> bool {
        let has_pasid = transaction.substream.is_some();
        let privileged = has_pasid && transaction.pnu == Privilege::Privileged;
        let right = match transaction.kind {
            AccessKind::Atomic => self.read && self.write,
            kind if kind.is_write() => self.write,
            _ if has_pasid && executes(transaction) => self.execute,
            _ => self.read,
        };
        right && self.privileged == privileged
    }

    /// The access as the endpoint sends it.
    pub fn translated(&self, transaction: &Transaction) -> Transaction {
        let below = (1 << self.size_log2) - 1;
        Transaction {
            address: Iova::new(self.address | transaction.address.get() & below),
            ..*transaction
        }
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    atc: Atc,
    /// No request of its was answered as unsupported.
    uses_ats: bool,
}

/// Endpoints that translate by ATS before they send, each behind an ATC of its own. One whose
/// request is unsupported sends untranslated from then on, as if its ATS were off. One that is granted too
/// little, or told that its request was aborted, makes no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtsEndpoints {
    entries: usize,
    stu_log2: u8,
    endpoints: BTreeMap<StreamId, Endpoint>,
}

impl AtsEndpoints {
    /// Endpoints whose ATCs hold `entries` translations each, and whose smallest translation unit
    /// is 2^`stu_log2` bytes.
    pub fn new(entries: usize, stu_log2: u8) -> Self {
        Self {
            entries,
            stu_log2,
            endpoints: BTreeMap::new(),
        }
    }

    /// An endpoint makes an access: what becomes of it.
    pub fn access<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        smmu: &mut Smmu,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let stream = transaction.stream;
        let entries = self.entries;
        let endpoint = self.endpoints.entry(stream).or_insert_with(|| Endpoint {
            atc: Atc::new(stream, entries),
            uses_ats: true,
        });
        if !endpoint.uses_ats {
            return smmu.translate(mem, transaction, observer);
        }
        let (substream, input) = (transaction.substream, transaction.address.get());
        let held = endpoint.atc.lookup(substream, input);
        let held = held.map(|entry| entry.translation);
        if let Some(translation) = held.filter(|held| held.allows(transaction)) {
            let translated = translation.translated(transaction);
            return smmu.translated_transaction(mem, &translated, observer);
        }
        let request = TranslationRequest::before(transaction, self.stu_log2);
        match smmu.ats_translate(mem, &request, observer) {
            TranslationCompletion::UnsupportedRequest => {
                endpoint.uses_ats = false;
                smmu.translate(mem, transaction, observer)
            }
            TranslationCompletion::CompleterAbort => silent_abort(transaction),
            TranslationCompletion::Success(translation) => {
                endpoint.atc.insert(substream, input, translation);
                if translation.allows(transaction) {
                    let translated = translation.translated(transaction);
                    smmu.translated_transaction(mem, &translated, observer)
                } else {
                    silent_abort(transaction)
                }
            }
        }
    }
}

impl Endpoints for AtsEndpoints {
    fn invalidate_atc(&mut self, invalidation: &AtcInvalidation) -> AtcReply {
        if let Some(endpoint) = self.endpoints.get_mut(&invalidation.stream) {
            endpoint.atc.invalidate(invalidation);
        }
        AtcReply::Complete
    }

    fn respond_to_page_request(&mut self, _: &PriResponse) {}
}

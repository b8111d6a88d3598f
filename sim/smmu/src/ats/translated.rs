//! Translated transactions: an endpoint sends an address it has had translated
//! (IHI 0070 §3.9.1, §13.6.3).

use crate::addr::{Ipa, Pa};
use crate::cache::ConfigurationEntry;
use crate::fault::{Cause, Class, Disposition, Fault, Raised, Site, Stage};
use crate::fetch::{Eats, Stage1Use, StreamAction, StreamContext};
use crate::mem::PhysMem;
use crate::observe::{Observer, Purpose};
use crate::perm::Request;
use crate::smmu::Smmu;
use crate::transaction::{
    InstructionOrData, Outcome, Path, Privilege, Response, Transaction, Translation,
};
use crate::translate::cached::{self, ConfigurationFault};
use crate::translate::{Programmed, silent_abort};
use crate::walk::{Lookaside, Stage2Leaf, Walker};

impl Smmu {
    /// A transaction whose address an endpoint has had translated.
    pub fn translated_transaction<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let outcome = self.pass_translated(mem, transaction, observer);
        if let Some(event) = outcome.event() {
            self.record(mem, event);
        }
        outcome
    }

    fn pass_translated<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let part = &self.part;
        if let Some(outcome) = part.translated_unconfigured(transaction) {
            return outcome;
        }
        let looked_up = part.translated_configuration(transaction);
        let entry = part.configure(&mut self.caches, mem, &looked_up, observer);
        match part.judge_translated(transaction, entry.as_ref()) {
            Judged::Over(outcome) => outcome,
            Judged::SecondStage(stream) => {
                let entry = ConfigurationEntry::new(stream, Ok(Stage1Use::Off));
                let mut walker = cached::walker(&mut self.caches, mem, observer, &entry);
                part.second_stage(&mut walker, transaction, &stream).0
            }
        }
    }
}

/// What the configuration makes of a translated transaction.
pub(crate) enum Judged {
    /// This.
    Over(Outcome),
    /// Its address is intermediate.
    SecondStage(StreamContext),
}

impl Programmed {
    /// What becomes of a translated transaction whatever its configuration is.
    pub(crate) fn translated_unconfigured(&self, transaction: &Transaction) -> Option<Outcome> {
        let cr0 = self.regs.cr0();
        if !cr0.smmuen() {
            return Some(self.refused(transaction, Cause::TranslationForbidden, Recorded::Always));
        }
        // Beyond the physical address size: abort rather than truncate (deviations.md D44).
        if transaction.address.get() >> self.config.oas != 0 {
            return Some(silent_abort(transaction));
        }
        (!cr0.atschk()).then(|| passed(transaction, self.has_pasid(transaction)))
    }

    /// Whether a translated transaction's PASID counts.
    fn has_pasid(&self, transaction: &Transaction) -> bool {
        self.config.pasidtt && transaction.substream.is_some()
    }

    /// The transaction as its configuration is looked up.
    pub(crate) fn translated_configuration(&self, transaction: &Transaction) -> Transaction {
        let with_pasid = self.has_pasid(transaction);
        Transaction {
            substream: transaction.substream.filter(|_| with_pasid),
            ..*transaction
        }
    }

    /// What the configuration makes of a translated transaction that is checked.
    pub(crate) fn judge_translated(
        &self,
        transaction: &Transaction,
        entry: Result<&ConfigurationEntry, &ConfigurationFault>,
    ) -> Judged {
        let with_pasid = self.has_pasid(transaction);
        let wrong =
            |cause| Judged::Over(self.refused(transaction, cause, Recorded::IfConfigurationIs));
        let stream = match entry {
            Ok(entry) => match entry.stream {
                Ok(stream) => stream,
                Err(illegal) => return wrong(Cause::BadSte(illegal)),
            },
            Err(ConfigurationFault {
                found: Some(found), ..
            }) => found.0,
            Err(fault) => return wrong(fault.raised.cause),
        };
        if stream.action == StreamAction::Abort {
            return Judged::Over(silent_abort(transaction));
        }
        let eats = self.effective_eats(&stream);
        if eats == Eats::Disabled {
            let cause = Cause::TranslationForbidden;
            return Judged::Over(self.refused(transaction, cause, Recorded::Always));
        }
        if with_pasid {
            match entry {
                Err(fault) => return wrong(fault.raised.cause),
                Ok(entry) => {
                    if let Err(illegal) = entry.stage1 {
                        return wrong(Cause::BadCd(illegal));
                    }
                }
            }
        }
        match (eats, &stream.s2) {
            (Eats::SplitStage, Some(_)) => Judged::SecondStage(stream),
            _ => Judged::Over(passed(transaction, with_pasid)),
        }
    }

    /// Ends a translated transaction with an abort.
    fn refused(&self, transaction: &Transaction, cause: Cause, recorded: Recorded) -> Outcome {
        let fault = Fault::new(
            cause,
            transaction,
            &Request::TABLE_READ,
            self.config.version,
        );
        let recorded = match recorded {
            Recorded::Always => true,
            Recorded::IfConfigurationIs => self.regs.cr2().rec_cfg_ats(),
        };
        Outcome::Terminated {
            response: Response::Abort,
            fault: Some(fault),
            event: recorded.then(|| fault.record()),
        }
    }

    /// Stage 2 of an intermediate address, and the leaf it found. Faults are recorded as ever, and
    /// always abort.
    pub(crate) fn second_stage<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside>(
        &self,
        walker: &mut Walker<'_, M, O, C>,
        transaction: &Transaction,
        stream: &StreamContext,
    ) -> (Outcome, Option<Stage2Leaf>) {
        let mut transaction = *transaction;
        if !self.has_pasid(&transaction) {
            transaction.substream = None;
            transaction.pnu = Privilege::Unprivileged;
            transaction.ind = InstructionOrData::Data;
        }
        let request = stream.request(&transaction);
        let address = transaction.address;
        let raised = if address.get() >> self.config.ias() != 0 {
            Raised::always(Cause::AddressSize(Site {
                stage: Stage::Stage1,
                class: Class::In,
                ipa: Ipa::new(0),
                level: 0,
            }))
        } else {
            let Some(s2) = &stream.s2 else {
                return (silent_abort(&transaction), None);
            };
            let ipa = Ipa::new(address.get());
            match walker.stage2(s2, ipa, Purpose::Input, request) {
                Ok(leaf) => {
                    let outcome = Outcome::Translated(Translation {
                        pa: leaf.pa,
                        span_log2: leaf.span_log2,
                        kind: leaf.kind,
                        ind: request.ind,
                        pnu: request.pnu,
                        attributes: transaction.attributes.consistent(),
                        path: Path::Stage2,
                    });
                    return (outcome, Some(leaf));
                }
                Err(cause) => Raised::of_stage(cause, s2.disposition),
            }
        };
        let raised = match raised.disposition {
            Disposition::Stall => Raised::always(raised.cause),
            Disposition::Terminate { recorded, .. } => Raised {
                disposition: Disposition::Terminate {
                    response: Response::Abort,
                    recorded,
                },
                ..raised
            },
        };
        (self.faulted(raised, &transaction, &request), None)
    }
}

/// When an abort is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// Always.
    Always,
    /// With CR2.REC_CFG_ATS.
    IfConfigurationIs,
}

/// A translated transaction that goes on as it is.
fn passed(transaction: &Transaction, with_pasid: bool) -> Outcome {
    let (ind, pnu) = if with_pasid {
        (transaction.ind, transaction.pnu)
    } else {
        (InstructionOrData::Data, Privilege::Unprivileged)
    };
    Outcome::Translated(Translation {
        pa: Pa::new(transaction.address.get()),
        span_log2: 64,
        kind: transaction.kind,
        ind,
        pnu,
        attributes: transaction.attributes.consistent(),
        path: Path::AtsTranslated,
    })
}

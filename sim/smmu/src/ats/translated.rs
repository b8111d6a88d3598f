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
use crate::translate::silent_abort;

impl Smmu {
    /// A transaction whose address an endpoint has had translated.
    pub fn translated_transaction<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let outcome = match self.judge_translated(mem, transaction, observer) {
            Ok(outcome) => outcome,
            Err((cause, recorded)) => {
                let version = self.part.config.version;
                let fault = Fault::new(cause, transaction, &Request::TABLE_READ, version);
                Outcome::Terminated {
                    response: Response::Abort,
                    fault: Some(fault),
                    event: recorded.then(|| fault.record()),
                }
            }
        };
        if let Some(event) = outcome.event() {
            self.record(mem, event);
        }
        outcome
    }

    /// The outcome, or the fault that aborts it and whether it is recorded.
    fn judge_translated<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Result<Outcome, (Cause, bool)> {
        let config = &self.part.config;
        let cr0 = self.part.regs.cr0();
        if !cr0.smmuen() {
            return Err((Cause::TranslationForbidden, true));
        }
        // Beyond the physical address size: abort rather than truncate (deviations.md D44).
        if transaction.address.get() >> config.oas != 0 {
            return Ok(silent_abort(transaction));
        }
        let with_pasid = config.pasidtt && transaction.substream.is_some();
        if !cr0.atschk() {
            return Ok(passed(transaction, with_pasid));
        }
        let recorded = self.part.regs.cr2().rec_cfg_ats();
        let looked_up = Transaction {
            substream: transaction.substream.filter(|_| with_pasid),
            ..*transaction
        };
        let entry = self
            .part
            .configure(&mut self.caches, mem, &looked_up, observer);
        let stream = match &entry {
            Ok(entry) => entry
                .stream
                .map_err(|illegal| (Cause::BadSte(illegal), recorded))?,
            Err(ConfigurationFault {
                found: Some(found), ..
            }) => found.0,
            Err(fault) => return Err((fault.raised.cause, recorded)),
        };
        if stream.action == StreamAction::Abort {
            return Ok(silent_abort(transaction));
        }
        let eats = self.effective_eats(&stream);
        if eats == Eats::Disabled {
            return Err((Cause::TranslationForbidden, true));
        }
        if with_pasid {
            match &entry {
                Err(fault) => return Err((fault.raised.cause, recorded)),
                Ok(entry) => entry
                    .stage1
                    .map(|_| ())
                    .map_err(|illegal| (Cause::BadCd(illegal), recorded))?,
            }
        }
        match (eats, &stream.s2) {
            (Eats::SplitStage, Some(_)) => {
                Ok(self.second_stage(mem, transaction, &stream, with_pasid, observer))
            }
            _ => Ok(passed(transaction, with_pasid)),
        }
    }

    /// Stage 2 of an intermediate address. Faults are recorded as ever, and always abort.
    fn second_stage<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        stream: &StreamContext,
        with_pasid: bool,
        observer: &mut O,
    ) -> Outcome {
        let mut transaction = *transaction;
        if !with_pasid {
            transaction.substream = None;
            transaction.pnu = Privilege::Unprivileged;
            transaction.ind = InstructionOrData::Data;
        }
        let request = stream.request(&transaction);
        let address = transaction.address;
        let raised = if address.get() >> self.part.config.ias() != 0 {
            Raised::always(Cause::AddressSize(Site {
                stage: Stage::Stage1,
                class: Class::In,
                ipa: Ipa::new(0),
                level: 0,
            }))
        } else {
            let entry = ConfigurationEntry::new(*stream, Ok(Stage1Use::Off));
            let mut walker = cached::walker(&mut self.caches, mem, observer, &entry);
            let Some(s2) = &stream.s2 else {
                return silent_abort(&transaction);
            };
            let ipa = Ipa::new(address.get());
            match walker.stage2(s2, ipa, Purpose::Input, request) {
                Ok(leaf) => {
                    return Outcome::Translated(Translation {
                        pa: leaf.pa,
                        span_log2: leaf.span_log2,
                        kind: leaf.kind,
                        ind: request.ind,
                        pnu: request.pnu,
                        attributes: transaction.attributes.consistent(),
                        path: Path::Stage2,
                    });
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
        self.part.faulted(raised, &transaction, &request)
    }
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

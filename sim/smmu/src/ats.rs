//! PCIe address translation service: translation requests (IHI 0070 §3.9, §13.6). What endpoints
//! then send is in `translated`, what they remember in `atc`.

mod atc;
mod translated;

pub use atc::{Atc, AtcEntry};

use crate::addr::Iova;
use crate::cache::TlbStructure;
use crate::fault::{Cause, Fault, Raised};
use crate::fetch::{Eats, Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId};
use crate::mem::{DryRun, PhysMem};
use crate::observe::Observer;
use crate::perm::{DirtyState, Request};
use crate::smmu::Smmu;
use crate::spec::event::{BadAtsTreq, BadAtsTreqDw0, BadAtsTreqDw1, BadAtsTreqDw2, Event, EventId};
use crate::transaction::{AccessKind, InstructionOrData, Privilege, Transaction};
use crate::translate::cached::{ConfigurationFault, Configured, recall};
use crate::translate::hit::StageKey;
use crate::translate::{Programmed, Through};

/// An ATS translation request for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslationRequest {
    /// Whose.
    pub stream: StreamId,
    /// PASID.
    pub substream: Option<SubstreamId>,
    /// Address.
    pub address: Iova,
    /// NW: the endpoint does not mean to write.
    pub no_write: bool,
    /// Execute permission is asked for; counts only with a PASID.
    pub execute: bool,
    /// Privileged mode; counts only with a PASID.
    pub privileged: bool,
    /// log2 of the endpoint's smallest translation unit, at least 12.
    pub stu_log2: u8,
}

/// The answer to a [`TranslationRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TranslationCompletion {
    /// Unsupported Request: the stream has no ATS.
    UnsupportedRequest,
    /// Completer Abort: the configuration is broken.
    CompleterAbort,
    /// A translation, which may grant nothing.
    Success(AtsTranslation),
}

/// A translation as an endpoint gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtsTranslation {
    /// The translated address: physical, or intermediate under split-stage ATS. Aligned to the size.
    pub address: u64,
    /// log2 of the number of bytes translated.
    pub size_log2: u8,
    /// R.
    pub read: bool,
    /// W.
    pub write: bool,
    /// Exe.
    pub execute: bool,
    /// Priv: the privilege of the request.
    pub privileged: bool,
}

impl AtsTranslation {
    fn nothing(request: &TranslationRequest) -> Self {
        Self {
            address: 0,
            size_log2: request.stu_log2,
            read: false,
            write: false,
            execute: false,
            privileged: request.is_privileged(),
        }
    }
}

impl TranslationRequest {
    fn is_privileged(&self) -> bool {
        self.privileged && self.substream.is_some()
    }

    fn transaction(&self) -> Transaction {
        let mut transaction = Transaction::read(self.stream, self.address);
        transaction.substream = self.substream;
        if self.is_privileged() {
            transaction.pnu = Privilege::Privileged;
        }
        transaction
    }

    /// What an endpoint means to do with the answer: to read, and unless it says otherwise, to write.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = Transaction> {
        let read = self.transaction();
        let write = Transaction {
            kind: AccessKind::Write,
            ..read
        };
        [Some(read), (!self.no_write).then_some(write)]
            .into_iter()
            .flatten()
    }

    fn bad_request(&self) -> Event {
        let record = BadAtsTreq {
            dw0: BadAtsTreqDw0::new()
                .with_type(EventId::F_BAD_ATS_TREQ)
                .with_ssv(self.substream.is_some())
                .with_substreamid(self.substream.map_or(0, SubstreamId::get) & 0xf_ffff)
                .with_streamid(self.stream.get()),
            dw1: BadAtsTreqDw1::new()
                .with_span(1)
                .with_p(self.is_privileged())
                .with_x(self.execute && self.substream.is_some())
                .with_w(!self.no_write)
                .with_r(true),
            dw2: BadAtsTreqDw2::new().with_inputaddr(self.address.get() >> 12),
            ..BadAtsTreq::default()
        };
        Event::from_words(record.words())
    }
}

/// Why a translation request is not answered with a translation.
enum Refusal {
    /// Unsupported Request with F_BAD_ATS_TREQ.
    BadRequest,
    /// Unsupported Request, no event.
    Silent,
    /// Completer Abort; the event depends on CR2.REC_CFG_ATS.
    Configuration(Cause),
    /// Success that grants nothing.
    Nothing,
}

impl Smmu {
    /// Answers an ATS translation request, by what the caches hold and memory otherwise, as a
    /// transaction would be (deviations.md D43).
    pub fn ats_translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &TranslationRequest,
        observer: &mut O,
    ) -> TranslationCompletion {
        let refusal = match self.ats_answer(mem, request, observer) {
            Ok(translation) => return TranslationCompletion::Success(translation),
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::BadRequest => {
                self.record(mem, &request.bad_request());
                TranslationCompletion::UnsupportedRequest
            }
            Refusal::Silent => TranslationCompletion::UnsupportedRequest,
            Refusal::Configuration(cause) => {
                let cr2 = self.part.regs.cr2();
                let recorded =
                    cr2.rec_cfg_ats() && (cause != Cause::BadStreamId || cr2.recinvsid());
                if recorded {
                    let transaction = request.transaction();
                    let version = self.part.config.version;
                    let fault = Fault::new(cause, &transaction, &Request::TABLE_READ, version);
                    self.record(mem, &fault.record());
                }
                TranslationCompletion::CompleterAbort
            }
            Refusal::Nothing => TranslationCompletion::Success(AtsTranslation::nothing(request)),
        }
    }

    /// What ATS may do for a stream now: split-stage ATS needs CR0.ATSCHK.
    fn effective_eats(&self, stream: &StreamContext) -> Eats {
        match stream.eats {
            Eats::SplitStage if !self.part.regs.cr0().atschk() => Eats::Disabled,
            eats => eats,
        }
    }

    fn ats_answer<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &TranslationRequest,
        observer: &mut O,
    ) -> Result<AtsTranslation, Refusal> {
        if !self.part.regs.cr0().smmuen() {
            return Err(Refusal::BadRequest);
        }
        let transaction = request.transaction();
        let entry = self
            .part
            .configure(&mut self.caches, mem, &transaction, observer);
        // ATS is judged by the STE, before anything is said of CDs.
        let stream = match &entry {
            Ok(entry) => entry
                .stream
                .map_err(|illegal| Refusal::Configuration(Cause::BadSte(illegal)))?,
            Err(ConfigurationFault {
                found: Some(found), ..
            }) => found.0,
            Err(fault) => return Err(Refusal::Configuration(fault.raised.cause)),
        };
        if stream.action == StreamAction::Abort {
            return Err(Refusal::Silent);
        }
        let eats = self.effective_eats(&stream);
        if eats == Eats::Disabled {
            return Err(Refusal::BadRequest);
        }
        let (entry, stage1) = match entry {
            Ok(entry) => match entry.stage1 {
                Ok(stage1) => (entry, stage1),
                Err(illegal) => return Err(Refusal::Configuration(Cause::BadCd(illegal))),
            },
            Err(fault) if fault.raised.cause.is_translation_related() => {
                return Err(Refusal::Nothing);
            }
            Err(fault) => return Err(Refusal::Configuration(fault.raised.cause)),
        };
        self.grant(mem, request, (&entry, &stream, &stage1), observer)
    }

    /// Finds out what may be done at an address by trying it: each right is what a transaction
    /// that needs it would get.
    fn grant<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &TranslationRequest,
        configured: Configured<'_>,
        observer: &mut O,
    ) -> Result<AtsTranslation, Refusal> {
        let transaction = request.transaction();
        let (_, stream, stage1) = configured;
        if let (Stage1Use::Bypassed, None) = (stage1, &stream.s2) {
            if transaction.address.get() >> self.part.config.ias() != 0 {
                return Err(Refusal::Nothing);
            }
            let size_log2 = request.stu_log2;
            return Ok(AtsTranslation {
                address: transaction.address.get() >> size_log2 << size_log2,
                size_log2,
                read: true,
                write: true,
                execute: false,
                privileged: false,
            });
        }
        let pnu = stream.privcfg.unwrap_or(transaction.pnu);
        let attempt = |kind, ind| Request { kind, ind, pnu };
        let (data, instruction) = (InstructionOrData::Data, InstructionOrData::Instruction);
        let reads_as = stream.instcfg.unwrap_or(data);
        let eats = self.effective_eats(stream);
        let mut tries = Tries {
            smmu: self,
            transaction,
            configured,
            through: None,
        };
        let write = if request.no_write {
            tries.read_only_write(mem, attempt(AccessKind::Write, data), observer)?
        } else {
            tries.allowed(mem, attempt(AccessKind::Write, data), observer)?
        };
        let read = tries.allowed(mem, attempt(AccessKind::Read, reads_as), observer)?;
        let may_execute = request.execute && request.substream.is_some() && read;
        let execute = may_execute
            && (stream.instcfg.is_some()
                || tries.allowed(mem, attempt(AccessKind::Read, instruction), observer)?);
        let Some(through) = tries.through else {
            return Err(Refusal::Nothing);
        };
        let size_log2 = through.walked.span_log2;
        let output = match eats {
            Eats::SplitStage => through.stage1_output.unwrap_or(transaction.address.get()),
            _ => through.walked.pa.get(),
        };
        Ok(AtsTranslation {
            address: output >> size_log2 << size_log2,
            size_log2,
            read,
            write,
            execute,
            privileged: request.is_privileged(),
        })
    }
}

/// Attempts at one address, and the way one of them went.
struct Tries<'a> {
    smmu: &'a mut Smmu,
    transaction: Transaction,
    configured: Configured<'a>,
    through: Option<Through>,
}

impl Tries<'_> {
    /// Whether an access would be allowed. What is missing is no error; a broken table is.
    fn allowed<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: Request,
        observer: &mut O,
    ) -> Result<bool, Refusal> {
        let Smmu { part, caches, .. } = &mut *self.smmu;
        let transaction = &self.transaction;
        let through = part.through(caches, mem, self.configured, transaction, request, observer);
        self.judge(through)
    }

    /// Whether a page is writable already: no page is marked dirty, and one that is clean does not
    /// count.
    fn read_only_write<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: Request,
        observer: &mut O,
    ) -> Result<bool, Refusal> {
        let (entry, stream, stage1) = self.configured;
        let mut stream = *stream;
        if let Some(s2) = &mut stream.s2 {
            s2.dirty_state = DirtyState::Ignored;
        }
        let mut stage1 = *stage1;
        if let Stage1Use::Translates(s1) = &mut stage1 {
            s1.regime.dirty_state = false;
        }
        // Tables of stage 1 may lie in pages that are clean: only the page itself must not change,
        // and whether it is granted is all that is asked.
        let Smmu { part, caches, .. } = &mut *self.smmu;
        let mem = &mut DryRun::new(mem);
        let (transaction, combined) = (&self.transaction, TlbStructure::Combined);
        // A walk that must leave no trace in memory must leave none in the caches.
        let known = StageKey::of(&stage1, transaction, request)
            .filter(|_| caches.config.structure == combined || stream.s2.is_none())
            .and_then(|key| {
                let configured = (entry, &stream, &stage1);
                recall(
                    caches,
                    mem,
                    (configured, key),
                    transaction,
                    request,
                    observer,
                )
            });
        let through = known.unwrap_or_else(|| {
            let mut walker = Programmed::cold_walker(mem, observer);
            part.walk(&mut walker, &stream, &stage1, transaction, request)
        });
        self.judge(through)
    }

    fn judge(&mut self, through: Result<Through, Raised>) -> Result<bool, Refusal> {
        match through {
            Ok(through) => {
                self.through = Some(through);
                Ok(true)
            }
            Err(raised) if raised.cause.is_translation_related() => Ok(false),
            Err(raised) => Err(Refusal::Configuration(raised.cause)),
        }
    }
}

//! PCIe address translation service: translation requests (IHI 0070 §3.9, §13.6). What is granted is
//! found out in `grant`; what endpoints then send is in `translated`, what they remember in `atc`,
//! and how they use all of it in `endpoint`.

mod atc;
mod endpoint;
mod grant;
mod translated;

pub use atc::{Atc, AtcEntry};
pub use endpoint::AtsEndpoints;
pub(crate) use grant::Trial;
pub(crate) use translated::Judged;

use crate::addr::Iova;
use crate::cache::{ConfigurationEntry, TlbStructure};
use crate::fault::{Cause, Fault};
use crate::fetch::{Eats, Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId};
use crate::mem::{DryRun, PhysMem};
use crate::observe::Observer;
use crate::perm::Request;
use crate::smmu::Smmu;
use crate::spec::event::{BadAtsTreq, BadAtsTreqDw0, BadAtsTreqDw1, BadAtsTreqDw2, Event, EventId};
use crate::transaction::{AccessKind, Privilege, Transaction};
use crate::translate::Programmed;
use crate::translate::cached::{ConfigurationFault, Configured, recall};
use crate::translate::hit::StageKey;

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

    /// What reaches the SMMU, as it looks things up.
    pub(crate) fn transaction(&self) -> Transaction {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
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
        let answer = self.ats_answer(mem, request, observer);
        let (completion, event) = self.part.completion(request, answer);
        if let Some(event) = event {
            self.record(mem, &event);
        }
        completion
    }

    fn ats_answer<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &TranslationRequest,
        observer: &mut O,
    ) -> Result<AtsTranslation, Refusal> {
        self.part.receive(request)?;
        let transaction = request.transaction();
        let entry = self
            .part
            .configure(&mut self.caches, mem, &transaction, observer);
        let Self { part, caches, .. } = self;
        let (entry, stream, stage1) = part.judge_request(entry.as_ref())?;
        let attempt = |stream: &StreamContext, stage1: &Stage1Use, access, trial| {
            let configured = (entry, stream, stage1);
            if trial == Trial::Real {
                return part.through(caches, mem, configured, &transaction, access, observer);
            }
            let mem = &mut DryRun::new(mem);
            let combined = TlbStructure::Combined;
            // A walk that must leave no trace in memory must leave none in the caches.
            let known = StageKey::of(stage1, &transaction, access)
                .filter(|_| caches.config.structure == combined || stream.s2.is_none())
                .and_then(|key| {
                    recall(
                        caches,
                        mem,
                        (configured, key),
                        &transaction,
                        access,
                        observer,
                    )
                });
            known.unwrap_or_else(|| {
                let mut walker = Programmed::cold_walker(mem, observer);
                part.walk(&mut walker, stream, stage1, &transaction, access)
            })
        };
        part.grant(request, stream, stage1, attempt)
    }
}

impl Programmed {
    /// What can be said of a request before its configuration is known.
    pub(crate) fn receive(&self, _request: &TranslationRequest) -> Result<(), Refusal> {
        if self.regs.cr0().smmuen() {
            Ok(())
        } else {
            Err(Refusal::BadRequest)
        }
    }

    /// What ATS may do for a stream now: split-stage ATS needs CR0.ATSCHK.
    pub(crate) fn effective_eats(&self, stream: &StreamContext) -> Eats {
        match stream.eats {
            Eats::SplitStage if !self.regs.cr0().atschk() => Eats::Disabled,
            eats => eats,
        }
    }

    /// Whether the configuration lets a request be translated. ATS is judged by the STE, before
    /// anything is said of CDs.
    pub(crate) fn judge_request<'e>(
        &self,
        entry: Result<&'e ConfigurationEntry, &'e ConfigurationFault>,
    ) -> Result<Configured<'e>, Refusal> {
        let stream = match entry {
            Ok(entry) => match &entry.stream {
                Ok(stream) => stream,
                Err(illegal) => return Err(Refusal::Configuration(Cause::BadSte(*illegal))),
            },
            Err(ConfigurationFault {
                found: Some(found), ..
            }) => &found.0,
            Err(fault) => return Err(Refusal::Configuration(fault.raised.cause)),
        };
        if stream.action == StreamAction::Abort {
            return Err(Refusal::Silent);
        }
        if self.effective_eats(stream) == Eats::Disabled {
            return Err(Refusal::BadRequest);
        }
        match entry {
            Ok(entry) => match &entry.stage1 {
                Ok(stage1) => Ok((entry, stream, stage1)),
                Err(illegal) => Err(Refusal::Configuration(Cause::BadCd(*illegal))),
            },
            Err(fault) if fault.raised.cause.is_translation_related() => Err(Refusal::Nothing),
            Err(fault) => Err(Refusal::Configuration(fault.raised.cause)),
        }
    }

    /// What the endpoint is told, and the event that is recorded.
    pub(crate) fn completion(
        &self,
        request: &TranslationRequest,
        answer: Result<AtsTranslation, Refusal>,
    ) -> (TranslationCompletion, Option<Event>) {
        match answer {
            Ok(translation) => (TranslationCompletion::Success(translation), None),
            Err(Refusal::BadRequest) => (
                TranslationCompletion::UnsupportedRequest,
                Some(request.bad_request()),
            ),
            Err(Refusal::Silent) => (TranslationCompletion::UnsupportedRequest, None),
            Err(Refusal::Configuration(cause)) => {
                let cr2 = self.regs.cr2();
                let recorded =
                    cr2.rec_cfg_ats() && (cause != Cause::BadStreamId || cr2.recinvsid());
                let event = recorded.then(|| {
                    let transaction = request.transaction();
                    let version = self.config.version;
                    Fault::new(cause, &transaction, &Request::TABLE_READ, version).record()
                });
                (TranslationCompletion::CompleterAbort, event)
            }
            Err(Refusal::Nothing) => {
                let nothing = AtsTranslation::nothing(request);
                (TranslationCompletion::Success(nothing), None)
            }
        }
    }
}

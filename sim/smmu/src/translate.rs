//! The translation of one transaction, step by step (IHI 0070 §3.4, §7.3.18), by what registers and
//! memory say now. [`cached`] does the same with caches.

pub(crate) mod cached;
pub(crate) mod hit;

use crate::addr::{Ipa, Pa};
use crate::attr::Overrides;
use crate::config::{SmmuConfig, Version};
use crate::fault::{Cause, Class, Disposition, Fault, Raised, Site, Stage};
use crate::fetch::{Configuration, Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId};
use crate::mem::PhysMem;
use crate::observe::Observer;
use crate::perm::Request;
use crate::regfile::RegisterFile;
use crate::transaction::{
    AccessKind, InstructionOrData, Outcome, Path, Privilege, Response, Speculation, Transaction,
    Translation,
};
use crate::walk::{Leaves, Lookaside, Walked, Walker};

/// A part as it is programmed: its features and its registers. It has neither queues nor caches:
/// what it finds is a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programmed {
    pub(crate) config: SmmuConfig,
    pub(crate) regs: RegisterFile,
}

/// Abort without an event. A hint is dropped by whatever would stop another transaction, here and
/// by a fault (deviations.md D8).
pub(crate) fn silent_abort(transaction: &Transaction) -> Outcome {
    if transaction.kind.is_hint() {
        Outcome::Dropped
    } else {
        Outcome::Terminated {
            response: Response::Abort,
            fault: None,
            event: None,
        }
    }
}

/// Span of an output that no table translated.
const UNTRANSLATED_SPAN_LOG2: u8 = 64;

/// What the stages made of a transaction.
pub(crate) struct Through {
    pub(crate) walked: Walked,
    /// Where stage 1 led, if it translated.
    pub(crate) stage1_output: Option<u64>,
    /// What was read; nothing if a TLB knew it.
    pub(crate) leaves: Leaves,
    pub(crate) path: Path,
}

impl Programmed {
    pub(crate) fn new(config: SmmuConfig) -> Self {
        Self {
            regs: RegisterFile::new(&config),
            config,
        }
    }

    /// A walker that knows nothing but memory.
    pub(crate) fn cold_walker<'a, M: ?Sized, O: ?Sized>(
        mem: &'a mut M,
        observer: &'a mut O,
    ) -> Walker<'a, M, O, ()> {
        Walker {
            mem,
            observer,
            cache: (),
        }
    }

    /// Translates one transaction by what memory says now, caches aside.
    pub(crate) fn translate_cold<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if !self.regs.cr0().smmuen() {
            return self.disabled(transaction);
        }
        let mut walker = Self::cold_walker(mem, observer);
        // Results are borrowed, not moved: the copies would cost as much as a table access.
        let stream = walker.stream(&self.config, &self.regs, transaction.stream);
        let stream = match &stream {
            Ok(stream) => stream,
            // None of the faults that can arise before the STE is known records InD or PnU.
            Err(cause) => {
                return self.faulted(Raised::always(*cause), transaction, &Request::TABLE_READ);
            }
        };
        if stream.action == StreamAction::Abort {
            return silent_abort(transaction);
        }
        let request = stream.request(transaction);
        match &walker.stage1_use(&self.config, stream, transaction.substream) {
            Ok(stage1) => {
                let through = self.walk(&mut walker, stream, stage1, transaction, request);
                self.outcome(through, transaction, request)
            }
            Err(raised) => self.faulted(*raised, transaction, &request),
        }
    }

    /// Fetches the configuration of a stream and substream, for use with
    /// [`Self::translate_configured`]; `None` if transactions fault or abort before translation.
    pub(crate) fn configuration<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        stream: StreamId,
        substream: Option<SubstreamId>,
        observer: &mut O,
    ) -> Option<Configuration> {
        let mut walker = Self::cold_walker(mem, observer);
        let stream = walker.stream(&self.config, &self.regs, stream).ok()?;
        if stream.action == StreamAction::Abort {
            return None;
        }
        let stage1 = walker.stage1_use(&self.config, &stream, substream).ok()?;
        Some(Configuration { stream, stage1 })
    }

    /// Translates one transaction whose configuration is at hand: what a configuration cache hit
    /// does. Stale if STE, CD or registers have changed since.
    pub(crate) fn translate_configured<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        configuration: &Configuration,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let Configuration { stream, stage1 } = configuration;
        let request = stream.request(transaction);
        let mut walker = Self::cold_walker(mem, observer);
        let through = self.walk(&mut walker, stream, stage1, transaction, request);
        self.outcome(through, transaction, request)
    }

    /// Sends a transaction through the stages its stream uses.
    #[inline(always)]
    pub(crate) fn walk<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside>(
        &self,
        walker: &mut Walker<'_, M, O, C>,
        stream: &StreamContext,
        stage1: &Stage1Use,
        transaction: &Transaction,
        request: Request,
    ) -> Result<Through, Raised> {
        let input = transaction.address;
        let incoming = stream.overrides.apply(transaction.attributes);
        let bypasses_stage1 = !matches!(stage1, Stage1Use::Translates(_));
        if bypasses_stage1 && !self.bypass_in_range(stream, input.get()) {
            let site = Site {
                stage: Stage::Stage1,
                class: Class::In,
                ipa: Ipa::new(0),
                level: 0,
            };
            return Err(Raised::always(Cause::AddressSize(site)));
        }
        let (walked, path) = match (stage1, &stream.s2) {
            (Stage1Use::Translates(s1), Some(s2)) => (
                walker.walk_nested(s1, s2, input, request, incoming),
                Path::Nested,
            ),
            (Stage1Use::Translates(s1), None) => (
                walker.walk_stage1(s1, input, request, incoming),
                Path::Stage1,
            ),
            (_, Some(s2)) => (
                walker.walk_stage2(s2, input, request, incoming),
                Path::Stage2,
            ),
            (_, None) => {
                let walked = Walked {
                    pa: Pa::new(input.get()),
                    attributes: incoming,
                    span_log2: UNTRANSLATED_SPAN_LOG2,
                    // STE.DRE and DCP govern only what some stage translates.
                    kind: transaction.kind,
                };
                (Ok((walked, Leaves::default())), Path::Bypass)
            }
        };
        walked.map(|(walked, leaves)| Through {
            walked,
            stage1_output: leaves.stage1.as_ref().map(|leaf| leaf.output),
            leaves,
            path,
        })
    }

    #[inline(always)]
    #[expect(clippy::needless_pass_by_value, reason = "it ends here")]
    pub(crate) fn outcome(
        &self,
        through: Result<Through, Raised>,
        transaction: &Transaction,
        request: Request,
    ) -> Outcome {
        match through {
            Ok(Through { walked, path, .. }) => {
                Outcome::Translated(self.output(walked, request, path))
            }
            Err(raised) => self.faulted(raised, transaction, &request),
        }
    }

    /// An address that bypasses stage 1 must fit the physical address size, or the intermediate
    /// one if the stream translates at all.
    fn bypass_in_range(&self, stream: &StreamContext, input: u64) -> bool {
        let limit = match stream.action {
            StreamAction::Bypass => self.config.oas,
            StreamAction::Abort | StreamAction::Translate => self.config.ias(),
        };
        input >> limit == 0
    }

    #[inline(always)]
    pub(crate) fn output(&self, walked: Walked, request: Request, path: Path) -> Translation {
        // From SMMUv3.4 on outputs are always data and privileged (IHI 0070 §13.7).
        let (ind, pnu) = if self.config.version >= Version::V3_4 {
            (InstructionOrData::Data, Privilege::Privileged)
        } else {
            (request.ind, request.pnu)
        };
        Translation {
            pa: walked.pa,
            span_log2: walked.span_log2,
            kind: walked.kind,
            ind,
            pnu,
            attributes: walked.attributes.consistent(),
            path,
        }
    }

    /// SMMUEN=0: GBPA decides (IHI 0070 §3.11, §6.3.15). SubstreamIDs are ignored.
    pub(crate) fn disabled(&self, transaction: &Transaction) -> Outcome {
        let gbpa = self.regs.gbpa();
        if gbpa.abort() || transaction.address.get() >> self.config.oas != 0 {
            return silent_abort(transaction);
        }
        let overrides = if self.config.attr_types_ovr {
            Overrides::from_fields(
                gbpa.mtcfg(),
                gbpa.memattr().into(),
                gbpa.shcfg().into(),
                gbpa.alloccfg().into(),
            )
        } else {
            Overrides::default()
        };
        let permissions = self.config.attr_perms_ovr;
        let request = override_access(
            transaction,
            if permissions {
                instcfg(gbpa.instcfg())
            } else {
                None
            },
            if permissions {
                privcfg(gbpa.privcfg())
            } else {
                None
            },
        );
        let walked = Walked {
            pa: Pa::new(transaction.address.get()),
            attributes: overrides.apply(transaction.attributes),
            span_log2: UNTRANSLATED_SPAN_LOG2,
            kind: transaction.kind,
        };
        Outcome::Translated(self.output(walked, request, Path::Disabled))
    }

    /// What a fault makes of the transaction: answer, event, stall or nothing.
    #[cold]
    pub(crate) fn faulted(
        &self,
        raised: Raised,
        transaction: &Transaction,
        request: &Request,
    ) -> Outcome {
        let Raised { cause, disposition } = raised;
        if transaction.kind.is_hint() {
            return Outcome::Dropped;
        }
        let fault = Fault::new(cause, transaction, request, self.config.version);
        if transaction.speculation == Speculation::Speculative {
            return Outcome::Terminated {
                response: Response::Abort,
                fault: Some(fault),
                event: None,
            };
        }
        match disposition {
            Disposition::Stall => Outcome::Stalled {
                id: None,
                fault,
                event: fault.stall_record(),
            },
            Disposition::Terminate { response, recorded } => {
                let recorded =
                    recorded && (cause != Cause::BadStreamId || self.regs.cr2().recinvsid());
                let event = recorded.then(|| fault.record());
                Outcome::Terminated {
                    response,
                    fault: Some(fault),
                    event,
                }
            }
        }
    }
}

/// The access a transaction makes after INSTCFG and PRIVCFG. Writes are always data, and INSTCFG
/// changes reads only (IHI 0070 §13.1.2).
#[inline]
pub(crate) fn override_access(
    transaction: &Transaction,
    instcfg: Option<InstructionOrData>,
    privcfg: Option<Privilege>,
) -> Request {
    let ind = if transaction.kind.is_write() {
        InstructionOrData::Data
    } else {
        instcfg.unwrap_or(transaction.ind)
    };
    Request {
        kind: transaction.kind,
        ind,
        pnu: privcfg.unwrap_or(transaction.pnu),
    }
}

/// INSTCFG of an STE or of GBPA; `None` is "use incoming".
#[inline]
pub(crate) fn instcfg(encoded: u8) -> Option<InstructionOrData> {
    match encoded {
        2 => Some(InstructionOrData::Data),
        3 => Some(InstructionOrData::Instruction),
        _ => None,
    }
}

/// PRIVCFG of an STE or of GBPA; `None` is "use incoming".
#[inline]
pub(crate) fn privcfg(encoded: u8) -> Option<Privilege> {
    match encoded {
        2 => Some(Privilege::Unprivileged),
        3 => Some(Privilege::Privileged),
        _ => None,
    }
}

impl StreamContext {
    /// The access this stream's transaction makes: attribute overrides, and special accesses the
    /// STE does not allow weakened to what remains of them (STE.DRE, STE.DCP).
    #[inline(always)]
    pub(crate) fn request(&self, transaction: &Transaction) -> Request {
        let request = override_access(transaction, self.instcfg, self.privcfg);
        if matches!(request.kind, AccessKind::Read | AccessKind::Write) {
            return request;
        }
        let kind = match request.kind {
            AccessKind::DestructiveRead if !self.dre => AccessKind::Read,
            AccessKind::Invalidate if !self.dre => AccessKind::Clean,
            AccessKind::WriteDcp if !self.dcp => AccessKind::Write,
            kind => kind,
        };
        Request { kind, ..request }
    }
}

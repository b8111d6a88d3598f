//! The device: its registers and the translation of one transaction, step by step
//! (IHI 0070 §3.4, §7.3.18).

use crate::addr::{Ipa, Pa};
use crate::attr::Overrides;
use crate::config::{ConfigError, SmmuConfig, Version};
use crate::fault::{Cause, Class, Disposition, Fault, Raised, Site, Stage};
use crate::fetch::{Configuration, Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId};
use crate::mem::PhysMem;
use crate::observe::Observer;
use crate::perm::Request;
use crate::regfile::{RegisterFile, Width};
use crate::transaction::{
    AccessKind, InstructionOrData, Outcome, Path, Privilege, Response, Transaction, Translation,
};
use crate::walk::{Walked, Walker};

/// One SMMU, Non-secure programming interface. It has no memory of its own: each call names the
/// [`PhysMem`] to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smmu {
    config: SmmuConfig,
    regs: RegisterFile,
}

/// Abort without an event. A hint is dropped by whatever would stop another transaction, here and
/// by a fault (deviations.md D8).
fn silent_abort(transaction: &Transaction) -> Outcome {
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

impl Smmu {
    /// A part after reset.
    ///
    /// # Errors
    /// [`ConfigError`] with the rule that forbids the part.
    pub fn new(config: SmmuConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let regs = RegisterFile::new(&config);
        Ok(Self { config, regs })
    }

    /// What the part implements.
    pub fn config(&self) -> &SmmuConfig {
        &self.config
    }

    /// The registers.
    pub fn registers(&self) -> &RegisterFile {
        &self.regs
    }

    /// Reads a register; `offset` is from the base of page 0.
    pub fn mmio_read(&self, offset: u32, width: Width) -> u64 {
        self.regs.read(offset, width)
    }

    /// Writes a register; `offset` is from the base of page 0.
    pub fn mmio_write(&mut self, offset: u32, width: Width, value: u64) {
        self.regs.write(offset, width, value);
    }

    /// Translates one transaction; `observer` sees every access to `mem`.
    pub fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if !self.regs.cr0().smmuen() {
            return self.disabled(transaction);
        }
        let mut walker = Walker { mem, observer };
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
            Ok(stage1) => self.walk(&mut walker, stream, stage1, transaction, request),
            Err(raised) => self.faulted(*raised, transaction, &request),
        }
    }

    /// Fetches the configuration of a stream and substream, for use with
    /// [`Self::translate_configured`]; `None` if transactions fault or abort before translation.
    pub fn configuration<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        stream: StreamId,
        substream: Option<SubstreamId>,
        observer: &mut O,
    ) -> Option<Configuration> {
        let mut walker = Walker { mem, observer };
        let stream = walker.stream(&self.config, &self.regs, stream).ok()?;
        if stream.action == StreamAction::Abort {
            return None;
        }
        let stage1 = walker.stage1_use(&self.config, &stream, substream).ok()?;
        Some(Configuration { stream, stage1 })
    }

    /// Translates one transaction whose configuration is at hand: what a configuration cache hit
    /// does. Stale if STE, CD or registers have changed since.
    pub fn translate_configured<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        configuration: &Configuration,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let Configuration { stream, stage1 } = configuration;
        let request = stream.request(transaction);
        self.walk(
            &mut Walker { mem, observer },
            stream,
            stage1,
            transaction,
            request,
        )
    }

    #[inline(always)]
    fn walk<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        walker: &mut Walker<'_, M, O>,
        stream: &StreamContext,
        stage1: &Stage1Use,
        transaction: &Transaction,
        request: Request,
    ) -> Outcome {
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
            let raised = Raised::always(Cause::AddressSize(site));
            return self.faulted(raised, transaction, &request);
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
                (Ok(walked), Path::Bypass)
            }
        };
        match walked {
            Ok(walked) => Outcome::Translated(self.output(walked, request, path)),
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
    fn output(&self, walked: Walked, request: Request, path: Path) -> Translation {
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
    fn disabled(&self, transaction: &Transaction) -> Outcome {
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
    fn faulted(&self, raised: Raised, transaction: &Transaction, request: &Request) -> Outcome {
        let Raised { cause, disposition } = raised;
        if transaction.kind.is_hint() {
            return Outcome::Dropped;
        }
        let fault = Fault::new(cause, transaction, request, self.config.version);
        match disposition {
            Disposition::Stall => Outcome::Stalled {
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
    fn request(&self, transaction: &Transaction) -> Request {
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

//! Faults as values, and the one place that turns a fault into an event record.

mod illegal;

pub use illegal::{Broken, IllegalCd, IllegalSte, RuleList};

use crate::addr::{Iova, Ipa, Pa};
use crate::config::Version;
use crate::ids::{StreamId, SubstreamId};
use crate::observe::Purpose;
use crate::perm::Request;
use crate::spec::event::{Event, EventId};
use crate::transaction::{AccessKind, InstructionOrData, Privilege, Response, Transaction};

/// Translation stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Stage 1: VA to IPA, or to PA without a stage 2.
    Stage1,
    /// Stage 2: IPA to PA.
    Stage2,
}

/// CLASS of an event: what was being translated (IHI 0070 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The address of a CD or L1CD.
    Cd,
    /// The address of a stage-1 descriptor, or a descriptor itself.
    Tt,
    /// The transaction's own address.
    In,
}

impl Class {
    #[inline(always)]
    pub(crate) fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::L1Cd | Purpose::Cd => Self::Cd,
            Purpose::Stage1Descriptor(_) => Self::Tt,
            Purpose::Configuration | Purpose::Input => Self::In,
        }
    }
}

/// Direction of an access as RnW and TTRnW report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A read.
    Read,
    /// A write or atomic.
    Write,
}

impl Direction {
    #[inline(always)]
    pub(crate) fn of(kind: AccessKind) -> Self {
        if kind.is_write() {
            Self::Write
        } else {
            Self::Read
        }
    }
}

/// Where in a translation a fault arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// The stage whose tables faulted.
    pub stage: Stage,
    /// What was being translated.
    pub class: Class,
    /// Stage 2: the IPA being translated. Zero for stage 1, whose IPA field is UNKNOWN.
    pub ipa: Ipa,
    /// Level of the descriptor, −1 to 3; the start level for a range fault. No event carries it.
    pub level: i8,
}

/// Why a transaction faults, with the fields that only this fault has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// C_BAD_STREAMID: beyond the stream table.
    BadStreamId,
    /// F_STE_FETCH: an L1STD or STE could not be read.
    SteFetch {
        /// Where from.
        fetch: Pa,
    },
    /// C_BAD_STE.
    BadSte(IllegalSte),
    /// F_TRANSL_FORBIDDEN: the stream may not send translated transactions.
    TranslationForbidden,
    /// C_BAD_SUBSTREAMID.
    BadSubstreamId {
        /// The SubstreamID recorded: the input value, or the index used.
        index: SubstreamId,
    },
    /// F_STREAM_DISABLED: S1DSS forbids the transaction.
    StreamDisabled,
    /// F_CD_FETCH: an L1CD or CD could not be read.
    CdFetch {
        /// Where from.
        fetch: Pa,
    },
    /// C_BAD_CD.
    BadCd(IllegalCd),
    /// F_WALK_EABT: a descriptor could not be read or updated.
    WalkEabt {
        /// Which walk. CLASS of a stage-1 descriptor is TT.
        site: Site,
        /// Where the descriptor is.
        fetch: Pa,
    },
    /// F_TRANSLATION.
    Translation(Site),
    /// F_ADDR_SIZE.
    AddressSize(Site),
    /// F_ACCESS.
    Access(Site),
    /// F_PERMISSION.
    Permission {
        /// Where.
        site: Site,
        /// What lacks is the right to read: RnW is 1 even for an atomic (from SMMUv3.1 on).
        missing_read: bool,
        /// For CLASS=TT or CD: whether the table was to be read or written (TTRnW).
        table_access: Option<Direction>,
    },
}

impl Cause {
    /// The event this fault records.
    pub fn event_id(&self) -> EventId {
        match self {
            Self::BadStreamId => EventId::C_BAD_STREAMID,
            Self::SteFetch { .. } => EventId::F_STE_FETCH,
            Self::BadSte(_) => EventId::C_BAD_STE,
            Self::BadSubstreamId { .. } => EventId::C_BAD_SUBSTREAMID,
            Self::StreamDisabled => EventId::F_STREAM_DISABLED,
            Self::TranslationForbidden => EventId::F_TRANSL_FORBIDDEN,
            Self::CdFetch { .. } => EventId::F_CD_FETCH,
            Self::BadCd(_) => EventId::C_BAD_CD,
            Self::WalkEabt { .. } => EventId::F_WALK_EABT,
            Self::Translation(_) => EventId::F_TRANSLATION,
            Self::AddressSize(_) => EventId::F_ADDR_SIZE,
            Self::Access(_) => EventId::F_ACCESS,
            Self::Permission { .. } => EventId::F_PERMISSION,
        }
    }

    /// The site of a walk's fault; `None` for configuration faults.
    pub fn site(&self) -> Option<&Site> {
        match self {
            Self::WalkEabt { site, .. }
            | Self::Translation(site)
            | Self::AddressSize(site)
            | Self::Access(site)
            | Self::Permission { site, .. } => Some(site),
            _ => None,
        }
    }

    /// Whether this is one of the four faults that CD.{A,R,S} and STE.{S2R,S2S} govern.
    pub fn is_translation_related(&self) -> bool {
        matches!(
            self,
            Self::Translation(_) | Self::AddressSize(_) | Self::Access(_) | Self::Permission { .. }
        )
    }
}

/// What a stage's configuration makes of the four translation-related faults (IHI 0070 §3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The transaction ends.
    Terminate {
        /// How it is answered.
        response: Response,
        /// Whether an event is recorded.
        recorded: bool,
    },
    /// The transaction waits, and an event is always recorded.
    Stall,
}

impl Disposition {
    /// What every other fault gets: abort and record.
    pub(crate) const ABORT: Self = Self::Terminate {
        response: Response::Abort,
        recorded: true,
    };
}

/// A fault on its way out of the translation: what it is and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) cause: Cause,
    pub(crate) disposition: Disposition,
}

impl Raised {
    /// A fault that aborts and is recorded, whatever the configuration.
    #[cold]
    pub(crate) fn always(cause: Cause) -> Self {
        Self {
            cause,
            disposition: Disposition::ABORT,
        }
    }

    /// A fault of a stage with this disposition, which governs only translation-related faults.
    #[cold]
    pub(crate) fn of_stage(cause: Cause, disposition: Disposition) -> Self {
        if cause.is_translation_related() {
            Self { cause, disposition }
        } else {
            Self::always(cause)
        }
    }
}

/// An architectural fault with everything its event record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Why.
    pub cause: Cause,
    /// StreamID of the transaction.
    pub stream: StreamId,
    /// SubstreamID, if it had one.
    pub substream: Option<SubstreamId>,
    /// The input address, as it came in.
    pub input: Iova,
    /// RnW.
    pub rnw: Direction,
    /// InD after STE.INSTCFG; data for writes.
    pub ind: InstructionOrData,
    /// PnU after STE.PRIVCFG.
    pub pnu: Privilege,
}

impl Fault {
    pub(crate) fn new(
        cause: Cause,
        transaction: &Transaction,
        request: &Request,
        version: Version,
    ) -> Self {
        // An atomic that may write but not read reports RnW=1, but not in SMMUv3.0.
        let missing_read = matches!(
            cause,
            Cause::Permission {
                missing_read: true,
                table_access: None,
                ..
            }
        );
        let rnw = if missing_read && version >= Version::V3_1 {
            Direction::Read
        } else {
            Direction::of(transaction.kind)
        };
        Self {
            cause,
            stream: transaction.stream,
            substream: transaction.substream,
            input: transaction.address,
            rnw,
            ind: request.ind,
            pnu: request.pnu,
        }
    }

    /// The 32-byte event record (IHI 0070 §7.3), not stalled. Fields the event does not have, and
    /// fields that would be UNKNOWN, are zero.
    pub fn record(&self) -> Event {
        let event = Event::default()
            .with_type(self.cause.event_id())
            .with_streamid(self.stream.get());
        let event = match (self.cause, self.substream) {
            (Cause::StreamDisabled | Cause::TranslationForbidden, _) => event,
            (Cause::BadSubstreamId { index }, _) => event.with_substreamid(index.get()),
            (_, Some(substream)) => event.with_ssv(true).with_substreamid(substream.get()),
            (_, None) => event,
        };
        match self.cause {
            Cause::BadStreamId
            | Cause::BadSte(_)
            | Cause::BadSubstreamId { .. }
            | Cause::StreamDisabled
            | Cause::BadCd(_) => event,
            Cause::TranslationForbidden => event
                .with_rnw(self.rnw == Direction::Read)
                .with_inputaddr(self.input.get()),
            Cause::SteFetch { fetch } | Cause::CdFetch { fetch } => with_fetch(event, fetch),
            Cause::WalkEabt { site, fetch } => with_fetch(self.with_access(event, &site), fetch),
            Cause::Translation(site) | Cause::AddressSize(site) | Cause::Access(site) => {
                with_ipa(self.with_access(event, &site), &site)
            }
            Cause::Permission {
                site, table_access, ..
            } => {
                let reads_table = site.class == Class::Tt && table_access == Some(Direction::Read);
                with_ipa(self.with_access(event, &site), &site).with_ttrnw(reads_table)
            }
        }
    }

    /// The same record for a stalled transaction.
    pub fn stall_record(&self) -> Event {
        self.record().with_stall(true)
    }

    fn with_access(&self, event: Event, site: &Site) -> Event {
        event
            .with_pnu(self.pnu == Privilege::Privileged)
            .with_ind(self.ind == InstructionOrData::Instruction)
            .with_rnw(self.rnw == Direction::Read)
            .with_s2(site.stage == Stage::Stage2)
            .with_class(match site.class {
                Class::Cd => 0,
                Class::Tt => 1,
                Class::In => 2,
            })
            .with_inputaddr(self.input.get())
    }
}

fn with_fetch(event: Event, fetch: Pa) -> Event {
    event.with_fetchaddr(fetch.get() >> 3 & ((1 << 53) - 1))
}

fn with_ipa(event: Event, site: &Site) -> Event {
    match site.stage {
        Stage::Stage1 => event,
        Stage::Stage2 => event.with_ipa(site.ipa.get() >> 12 & ((1 << 44) - 1)),
    }
}

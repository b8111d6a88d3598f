//! What goes into the SMMU and what comes out: [`Transaction`] and [`Outcome`].

use crate::addr::{Iova, Pa};
use crate::attr::Attributes;
use crate::fault::Fault;
use crate::ids::{StreamId, SubstreamId};
use crate::spec::event::Event;
use crate::stall::StallId;

/// What a transaction does to memory (IHI 0070 §3.22, §13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// Ordinary read.
    Read,
    /// Ordinary write.
    Write,
    /// Atomic read-modify-write: needs write and read permission.
    Atomic,
    /// Cache maintenance that needs what a read needs: clean, clean and invalidate, clean to the
    /// point of persistence, read with clean and invalidate.
    Clean,
    /// Read with invalidate, which may drop dirty data: needs STE.DRE.
    DestructiveRead,
    /// Cache invalidate, which may drop dirty data: needs STE.DRE.
    Invalidate,
    /// Write with a directed cache prefetch: the hint needs STE.DCP.
    WriteDcp,
    /// Directed cache prefetch without a write: a hint, dropped rather than faulted.
    NoWriteDcp,
    /// Hint that may drop dirty data: dropped rather than faulted.
    DestructiveHint,
}

impl AccessKind {
    /// Whether it counts as a write for RnW, INSTCFG and InD: writes, atomics and prefetches that
    /// prepare for a write.
    #[inline]
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Write | Self::Atomic | Self::WriteDcp | Self::NoWriteDcp
        )
    }

    /// Whether the access is dropped silently where another would fault.
    #[inline]
    pub fn is_hint(self) -> bool {
        matches!(self, Self::NoWriteDcp | Self::DestructiveHint)
    }
}

/// The InD attribute: instruction or data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstructionOrData {
    /// Data.
    Data,
    /// Instruction fetch.
    Instruction,
}

/// The PnU attribute: privileged or unprivileged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// Unprivileged: PCIe without PASID is always so.
    Unprivileged,
    /// Privileged.
    Privileged,
}

/// One untranslated Non-secure transaction of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// Which device.
    pub stream: StreamId,
    /// Which of its address spaces, if it says so (SSV=1).
    pub substream: Option<SubstreamId>,
    /// The full 64-bit input address.
    pub address: Iova,
    /// What it does.
    pub kind: AccessKind,
    /// Incoming InD. Writes and atomics are data whatever is said here.
    pub ind: InstructionOrData,
    /// Incoming PnU.
    pub pnu: Privilege,
    /// Incoming memory attributes.
    pub attributes: Attributes,
    /// Whether the device wants the access, or guesses that it will.
    pub speculation: Speculation,
}

/// Whether an access is wanted for sure (IHI 0070 §3.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speculation {
    /// It is.
    Demand,
    /// It may not be: it never stalls, records nothing, and a write aborts.
    Speculative,
}

impl Transaction {
    /// An unprivileged data access of `kind` with default attributes (IHI 0070 §13.1.1).
    #[inline]
    pub fn new(stream: StreamId, address: Iova, kind: AccessKind) -> Self {
        Self {
            stream,
            substream: None,
            address,
            kind,
            ind: InstructionOrData::Data,
            pnu: Privilege::Unprivileged,
            attributes: Attributes::DEFAULT,
            speculation: Speculation::Demand,
        }
    }

    /// An unprivileged data read.
    #[inline]
    pub fn read(stream: StreamId, address: Iova) -> Self {
        Self::new(stream, address, AccessKind::Read)
    }

    /// An unprivileged data write.
    #[inline]
    pub fn write(stream: StreamId, address: Iova) -> Self {
        Self::new(stream, address, AccessKind::Write)
    }

    /// The same with a SubstreamID.
    #[inline]
    #[must_use]
    pub fn with_substream(mut self, substream: SubstreamId) -> Self {
        self.substream = Some(substream);
        self
    }

    /// The same with incoming PnU.
    #[inline]
    #[must_use]
    pub fn with_privilege(mut self, pnu: Privilege) -> Self {
        self.pnu = pnu;
        self
    }

    /// The same with incoming InD.
    #[inline]
    #[must_use]
    pub fn with_ind(mut self, ind: InstructionOrData) -> Self {
        self.ind = ind;
        self
    }

    /// The same as a guess of the device.
    #[inline]
    #[must_use]
    pub fn speculative(mut self) -> Self {
        self.speculation = Speculation::Speculative;
        self
    }

    /// The same with incoming memory attributes.
    #[inline]
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }
}

/// Which stages made an output address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// SMMUEN=0: GBPA decides.
    Disabled,
    /// STE.Config=0b100, or stage 1 bypassed by S1DSS without a stage 2.
    Bypass,
    /// Stage 1 only.
    Stage1,
    /// Stage 2 only, stage 1 bypassed or not configured.
    Stage2,
    /// Stage 1 then stage 2.
    Nested,
    /// The endpoint had the address translated by ATS.
    AtsTranslated,
}

/// A transaction that goes on to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// Where.
    pub pa: Pa,
    /// log2 of the largest naturally aligned block around the address that one entry translates:
    /// the smaller of the two stages' leaf sizes. 64 for a bypass.
    pub span_log2: u8,
    /// What is done there: the transaction's kind, or what it was downgraded to (STE.DRE, STE.DCP).
    pub kind: AccessKind,
    /// InD on the output.
    pub ind: InstructionOrData,
    /// PnU on the output.
    pub pnu: Privilege,
    /// Memory attributes on the output.
    pub attributes: Attributes,
    /// Which stages took part.
    pub path: Path,
}

/// How a terminated transaction is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Response {
    /// External abort to the device.
    Abort,
    /// Reads return zero, writes are dropped (CD.A=0).
    RazWi,
}

/// What becomes of a transaction. Every case is a normal result: faults are values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to memory.
    Translated(Translation),
    /// It ends here.
    Terminated {
        /// What the device sees.
        response: Response,
        /// Why; `None` where the configuration says abort (STE.Config=0b0xx, GBPA.ABORT).
        fault: Option<Fault>,
        /// The record for the event queue, unless recording is suppressed.
        event: Option<Event>,
    },
    /// It waits for software (CD.S or STE.S2S). The record has Stall=1 and its STAG.
    Stalled {
        /// Which it is among those that wait, for [`crate::Smmu::take_resolved`]. `None` from
        /// [`crate::Smmu::translate_cold`], which keeps no transaction; STAG is 0 then.
        id: Option<StallId>,
        /// Why.
        fault: Fault,
        /// The record for the event queue.
        event: Event,
    },
    /// It would have to wait, and the stall buffer is full: to be presented again later.
    Refused,
    /// A hint that could not be carried out and was dropped without a fault.
    Dropped,
}

impl Outcome {
    /// The output address, if there is one.
    #[inline]
    pub fn pa(&self) -> Option<Pa> {
        match self {
            Self::Translated(translation) => Some(translation.pa),
            _ => None,
        }
    }

    /// The event record, if one is recorded.
    #[inline]
    pub fn event(&self) -> Option<&Event> {
        match self {
            Self::Terminated { event, .. } => event.as_ref(),
            Self::Stalled { event, .. } => Some(event),
            Self::Translated(_) | Self::Dropped | Self::Refused => None,
        }
    }

    /// The fault, recorded or not.
    #[inline]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Terminated { fault, .. } => fault.as_ref(),
            Self::Stalled { fault, .. } => Some(fault),
            Self::Translated(_) | Self::Dropped | Self::Refused => None,
        }
    }
}

//! Commands as values: what 16 bytes of the command queue ask for, and why they may be illegal
//! (IHI 0070 §4).

mod display;
mod illegal;
mod tlbi;

#[cfg(test)]
mod tests;

pub use illegal::IllegalCommand;
pub use tlbi::{
    AsidScope, EntryKind, InvalidationScope, TlbTag, Tlbi, TlbiAddress, TlbiRegime, TlbiStage,
    VmidMask, canonical,
};

use crate::config::{SmmuConfig, StallModel};
use crate::ids::{StreamId, SubstreamId};
use crate::spec::cmd::{
    AtcInv, CfgiCd, CfgiCdAll, CfgiSte, CfgiSteRange, CmdOp, PrefetchConfig, PriResp, Resume,
    StallTerm, Sync,
};

/// Whether an invalidation is limited to the last level of a structure (`Leaf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// Leaf=1: intermediate entries may stay.
    Only,
    /// Leaf=0: intermediate entries go too.
    WithIntermediate,
}

impl Leaf {
    fn of(leaf: bool) -> Self {
        if leaf {
            Self::Only
        } else {
            Self::WithIntermediate
        }
    }
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `CMD_PREFETCH_CONFIG`, `CMD_PREFETCH_ADDR`: a hint. This model prefetches nothing.
    Prefetch {
        /// Whose configuration.
        stream: StreamId,
        /// Its substream, if any.
        substream: Option<SubstreamId>,
    },
    /// `CMD_CFGI_STE`: forget the STE and all CDs of a stream.
    CfgiSte {
        /// Whose.
        stream: StreamId,
        /// Whether L1STDs may stay.
        leaf: Leaf,
    },
    /// `CMD_CFGI_STE_RANGE`: the same for an aligned block of 2^`size_log2` streams.
    CfgiSteRange {
        /// A stream of the block.
        stream: StreamId,
        /// log2 of the number of streams, 1–32; 32 is `CMD_CFGI_ALL`.
        size_log2: u8,
    },
    /// `CMD_CFGI_CD`: forget one CD.
    CfgiCd {
        /// Whose.
        stream: StreamId,
        /// Which; 0 for a stream without substreams.
        substream: SubstreamId,
        /// Whether L1CDs may stay.
        leaf: Leaf,
    },
    /// `CMD_CFGI_CD_ALL`: forget all CDs of a stream.
    CfgiCdAll {
        /// Whose.
        stream: StreamId,
    },
    /// `CMD_TLBI_*`.
    Tlbi(Tlbi),
    /// `CMD_ATC_INV`: ask endpoints to forget translations.
    AtcInv(AtcInvalidation),
    /// `CMD_PRI_RESP`: answer a page request group.
    PriResp(PriResponse),
    /// `CMD_RESUME`: what becomes of a stalled transaction.
    Resume {
        /// Whose.
        stream: StreamId,
        /// Its tag.
        stag: u16,
        /// What to do.
        action: ResumeAction,
    },
    /// `CMD_STALL_TERM`: abort all stalled transactions of a stream.
    StallTerm {
        /// Whose.
        stream: StreamId,
    },
    /// `CMD_SYNC`: all older commands are complete.
    Sync(SyncSignal),
}

/// `CMD_RESUME.{Ac, Ab}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResumeAction {
    /// Ac=1: as if it arrived now.
    Retry,
    /// Ac=0, Ab=1: abort.
    Abort,
    /// Ac=0, Ab=0: reads return zero, writes are dropped; an abort where IDR0.TERM_MODEL is 1.
    Terminate,
}

/// How `CMD_SYNC` tells that it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncSignal {
    /// CS=0; also CS=2 on a part without SEV.
    None,
    /// CS=1: an interrupt, by message if there is one.
    Interrupt {
        /// MSIAddress and MSIData; `None` if MSIAddress is 0 or the part has no MSIs.
        msi: Option<(u64, u32)>,
    },
    /// CS=2: an event to waiting PEs.
    SendEvent,
}

/// `CMD_ATC_INV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AtcInvalidation {
    /// Whose endpoint.
    pub stream: StreamId,
    /// Which PASID; `None` for translations without one.
    pub substream: Option<SubstreamId>,
    /// G: translations of all PASIDs.
    pub global: bool,
    /// First address, aligned to the size.
    pub address: u64,
    /// log2 of the number of bytes; 64 is everything.
    pub size_log2: u8,
}

impl AtcInvalidation {
    /// Whether it names an address of the 2^`size_log2` bytes around `input`.
    pub(crate) fn meets(&self, substream: Option<SubstreamId>, input: u64, size_log2: u8) -> bool {
        let wider = u32::from(self.size_log2.max(size_log2));
        let apart = self.address ^ input;
        (self.global || self.substream == substream) && apart.checked_shr(wider).unwrap_or(0) == 0
    }
}

/// `CMD_PRI_RESP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PriResponse {
    /// Whose page request.
    pub stream: StreamId,
    /// Its PASID.
    pub substream: Option<SubstreamId>,
    /// Page request group index, 9 bits.
    pub group: u16,
    /// The answer.
    pub code: PriResponseCode,
}

/// Response codes of a page request group, as PCIe encodes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PriResponseCode {
    /// The pages are there.
    Success,
    /// Some page does not exist or does not permit the access.
    InvalidRequest,
    /// Page requests cannot be served.
    Failure,
}

impl Command {
    /// What a command asks for.
    ///
    /// # Errors
    /// The condition that makes it illegal: the queue then stops with CERROR_ILL
    /// (IHI 0070 §7.1). Reserved fields are not looked at.
    pub fn decode(words: [u64; 2], config: &SmmuConfig) -> Result<Self, IllegalCommand> {
        use IllegalCommand as I;
        let requires = |present: bool, illegal| if present { Ok(()) } else { Err(illegal) };
        let opcode = CmdOp(words[0] as u8);
        if has_ssec(opcode) && words[0] >> 10 & 1 != 0 {
            return Err(I::Secure);
        }
        match opcode {
            CmdOp::PREFETCH_CONFIG | CmdOp::PREFETCH_ADDR => {
                let fields = PrefetchConfig::from_words(words).dw0;
                Ok(Self::Prefetch {
                    stream: StreamId::new(fields.streamid()),
                    substream: substream(fields.ssv(), fields.substreamid()),
                })
            }
            CmdOp::CFGI_STE => {
                let fields = CfgiSte::from_words(words);
                Ok(Self::CfgiSte {
                    stream: StreamId::new(fields.dw0.streamid()),
                    leaf: Leaf::of(fields.dw1.leaf()),
                })
            }
            CmdOp::CFGI_STE_RANGE => {
                let fields = CfgiSteRange::from_words(words);
                Ok(Self::CfgiSteRange {
                    stream: StreamId::new(fields.dw0.streamid()),
                    size_log2: fields.dw1.range() + 1,
                })
            }
            CmdOp::CFGI_CD => {
                requires(config.s1p, I::NoStage1)?;
                let fields = CfgiCd::from_words(words);
                Ok(Self::CfgiCd {
                    stream: StreamId::new(fields.dw0.streamid()),
                    substream: SubstreamId::new(fields.dw0.substreamid()),
                    leaf: Leaf::of(fields.dw1.leaf()),
                })
            }
            CmdOp::CFGI_CD_ALL => {
                requires(config.s1p, I::NoStage1)?;
                let stream = StreamId::new(CfgiCdAll::from_words(words).dw0.streamid());
                Ok(Self::CfgiCdAll { stream })
            }
            CmdOp::ATC_INV => {
                requires(config.ats, I::NoAts)?;
                atc_invalidation(&AtcInv::from_words(words)).map(Self::AtcInv)
            }
            CmdOp::PRI_RESP => {
                requires(config.pri, I::NoPri)?;
                pri_response(&PriResp::from_words(words)).map(Self::PriResp)
            }
            CmdOp::RESUME => {
                requires(config.stall_model != StallModel::TerminateOnly, I::NoStall)?;
                let fields = Resume::from_words(words);
                Ok(Self::Resume {
                    stream: StreamId::new(fields.dw0.streamid()),
                    stag: fields.dw1.stag(),
                    action: match (fields.dw0.ac(), fields.dw0.ab()) {
                        (true, _) => ResumeAction::Retry,
                        (false, true) => ResumeAction::Abort,
                        (false, false) => ResumeAction::Terminate,
                    },
                })
            }
            CmdOp::STALL_TERM => {
                requires(config.stall_model != StallModel::TerminateOnly, I::NoStall)?;
                let stream = StreamId::new(StallTerm::from_words(words).dw0.streamid());
                Ok(Self::StallTerm { stream })
            }
            CmdOp::SYNC => sync(&Sync::from_words(words), config).map(Self::Sync),
            _ => Tlbi::decode(opcode, words, config).map(Self::Tlbi),
        }
    }

    /// Whether this is an invalidation of the SMMU's own caches.
    pub fn invalidates(&self) -> bool {
        matches!(
            self,
            Self::CfgiSte { .. }
                | Self::CfgiSteRange { .. }
                | Self::CfgiCd { .. }
                | Self::CfgiCdAll { .. }
                | Self::Tlbi(_)
        )
    }

    /// Whether an STE of `stream` goes.
    pub fn covers_ste(&self, stream: StreamId) -> bool {
        match *self {
            Self::CfgiSte { stream: named, .. } => named == stream,
            Self::CfgiSteRange {
                stream: named,
                size_log2,
            } => u64::from(named.get() ^ stream.get()) >> size_log2 == 0,
            _ => false,
        }
    }

    /// Whether the CD with `index` of `stream` goes: with its STE, or by itself.
    pub fn covers_cd(&self, stream: StreamId, index: SubstreamId) -> bool {
        match *self {
            Self::CfgiCd {
                stream: named,
                substream,
                ..
            } => named == stream && substream == index,
            Self::CfgiCdAll { stream: named } => named == stream,
            _ => self.covers_ste(stream),
        }
    }
}

/// Commands with an SSec field, which must be 0 in a Non-secure queue.
fn has_ssec(opcode: CmdOp) -> bool {
    matches!(
        opcode,
        CmdOp::PREFETCH_CONFIG
            | CmdOp::PREFETCH_ADDR
            | CmdOp::CFGI_STE
            | CmdOp::CFGI_STE_RANGE
            | CmdOp::CFGI_CD
            | CmdOp::CFGI_CD_ALL
            | CmdOp::RESUME
            | CmdOp::STALL_TERM
    )
}

fn substream(valid: bool, id: u32) -> Option<SubstreamId> {
    valid.then(|| SubstreamId::new(id))
}

/// Sizes beyond everything are illegal here (deviations.md D40).
fn atc_invalidation(fields: &AtcInv) -> Result<AtcInvalidation, IllegalCommand> {
    let (dw0, dw1) = (fields.dw0, fields.dw1);
    let size_log2 = dw1.size() + 12;
    if size_log2 > 64 {
        return Err(IllegalCommand::AtcSize);
    }
    let address = dw1.address() << 12;
    Ok(AtcInvalidation {
        stream: StreamId::new(dw0.streamid()),
        substream: substream(dw0.ssv(), dw0.substreamid()),
        global: dw0.global(),
        address: address & u64::MAX.checked_shl(size_log2.into()).unwrap_or(0),
        size_log2,
    })
}

fn pri_response(fields: &PriResp) -> Result<PriResponse, IllegalCommand> {
    let (dw0, dw1) = (fields.dw0, fields.dw1);
    let code = match dw1.resp() {
        0 => PriResponseCode::Failure,
        1 => PriResponseCode::InvalidRequest,
        2 => PriResponseCode::Success,
        _ => return Err(IllegalCommand::PriResponse),
    };
    Ok(PriResponse {
        stream: StreamId::new(dw0.streamid()),
        substream: substream(dw0.ssv(), dw0.substreamid()),
        group: dw1.prgindex(),
        code,
    })
}

fn sync(fields: &Sync, config: &SmmuConfig) -> Result<SyncSignal, IllegalCommand> {
    match fields.dw0.cs() {
        0 => Ok(SyncSignal::None),
        1 => {
            let address = fields.dw1.msiaddress() << 2;
            let msi = (config.msi && address != 0).then(|| (address, fields.dw0.msidata()));
            Ok(SyncSignal::Interrupt { msi })
        }
        2 if config.sev => Ok(SyncSignal::SendEvent),
        2 => Ok(SyncSignal::None),
        _ => Err(IllegalCommand::SyncSignal),
    }
}

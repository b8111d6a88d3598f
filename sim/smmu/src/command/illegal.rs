//! Why a command is illegal.

use thiserror::Error;

/// A condition that stops the command queue with CERROR_ILL (IHI 0070 §4, §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum IllegalCommand {
    /// No command has this opcode, or none in a Non-secure queue.
    #[error("the opcode is reserved in a Non-secure queue")]
    Opcode,
    /// SSec=1.
    #[error("SSec=1 in a Non-secure queue")]
    Secure,
    /// A command about stage 1.
    #[error("the part has no stage 1 (IDR0.S1P=0)")]
    NoStage1,
    /// A command about stage 2.
    #[error("the part has no stage 2 (IDR0.S2P=0)")]
    NoStage2,
    /// A command about EL2.
    #[error("the part has no EL2 StreamWorlds (IDR0.Hyp=0)")]
    NoEl2,
    /// A command about MPAM.
    #[error("the part has no MPAM (IDR3.MPAM=0)")]
    NoMpam,
    /// A range of one granule at no level.
    #[error("TG is set, but NUM, SCALE and TTL are all 0 (IDR3.RIL=1)")]
    EmptyRange,
    /// A command about ATS.
    #[error("the part has no ATS (IDR0.ATS=0)")]
    NoAts,
    /// `CMD_ATC_INV.Size` above 52.
    #[error("Size is larger than the address space")]
    AtcSize,
    /// A command about PRI.
    #[error("the part has no PRI (IDR0.PRI=0)")]
    NoPri,
    /// `CMD_PRI_RESP.Resp`=3.
    #[error("Resp=3 is reserved")]
    PriResponse,
    /// A command about stalled transactions.
    #[error("the part never stalls (IDR0.STALL_MODEL=1)")]
    NoStall,
    /// `CMD_SYNC.CS`=3.
    #[error("CS=3 is reserved")]
    SyncSignal,
}

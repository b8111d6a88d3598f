//! The commands the driver issues (`arm_smmu_cmdq_build_cmd`), to and from their 16 bytes.

use std::fmt;

use smmu::addr::Pa;
use smmu::ids::{Asid, StreamId, SubstreamId, Vmid};
use smmu::spec::cmd::{
    AtcInv, AtcInvDw0, AtcInvDw1, CfgiCd, CfgiCdDw0, CfgiCdDw1, CfgiSte, CfgiSteDw0, CfgiSteDw1,
    CfgiSteRange, CfgiSteRangeDw0, CfgiSteRangeDw1, CmdOp, PrefetchConfig, PrefetchConfigDw0,
    PriResp, PriRespDw0, PriRespDw1, Resume, ResumeDw0, ResumeDw1, Sync, SyncDw0, SyncDw1, TlbiAll,
    TlbiAllDw0, TlbiAsid, TlbiAsidDw0, TlbiVa, TlbiVaDw0, TlbiVaDw1,
};

/// Addresses a TLB invalidation covers, in the form of the command: one page of the smallest size,
/// or `(num + 1) << scale` of them where TG is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlbiRange {
    /// First address.
    pub address: u64,
    /// Granule code: 0 no range, 1, 2, 3 for 4, 16, 64 KiB.
    pub tg: u8,
    /// Level of the leaf, 0 unknown.
    pub ttl: u8,
    /// Multiplier minus 1.
    pub num: u8,
    /// log2 of the unit, in pages.
    pub scale: u8,
    /// How deep entries are removed.
    pub reach: Reach,
}

/// Which entries an invalidation by address removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The leaf only.
    Leaf,
    /// Cached Table descriptors on the way as well.
    Walk,
}

impl Reach {
    fn leaf(self) -> bool {
        self == Self::Leaf
    }

    fn of(leaf: bool) -> Self {
        if leaf { Self::Leaf } else { Self::Walk }
    }
}

/// Answer to a page request, `PRI_RESP.Resp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriAnswer {
    /// The device's PRI fails.
    Deny,
    /// Access is not allowed.
    Fail,
    /// Try again.
    Success,
}

/// Answer to a stalled transaction, CMD_RESUME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResumeAnswer {
    /// Retry.
    Retry,
    /// Terminate with an abort.
    Abort,
    /// Terminate, RAZ/WI.
    Terminate,
}

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "fields are those of the commands")]
pub enum Command {
    /// `PREFETCH_CFG`.
    PrefetchConfig { sid: StreamId },
    /// `CFGI_STE`.
    CfgiSte { sid: StreamId, reach: Reach },
    /// `CFGI_ALL`.
    CfgiAll,
    /// `CFGI_CD`.
    CfgiCd {
        sid: StreamId,
        ssid: SubstreamId,
        reach: Reach,
    },
    /// `TLBI_NH_ALL`.
    TlbiNhAll { vmid: Vmid },
    /// `TLBI_NH_ASID`.
    TlbiNhAsid { asid: Asid, vmid: Vmid },
    /// `TLBI_NH_VA`.
    TlbiNhVa {
        asid: Asid,
        vmid: Vmid,
        range: TlbiRange,
    },
    /// `TLBI_EL2_ALL`.
    TlbiEl2All,
    /// `TLBI_EL2_ASID`.
    TlbiEl2Asid { asid: Asid },
    /// `TLBI_EL2_VA`.
    TlbiEl2Va { asid: Asid, range: TlbiRange },
    /// `TLBI_S12_VMALL`.
    TlbiS12Vmall { vmid: Vmid },
    /// `TLBI_S2_IPA`.
    TlbiS2Ipa { vmid: Vmid, range: TlbiRange },
    /// `TLBI_NSNH_ALL`.
    TlbiNsnhAll,
    /// `ATC_INV` of `1 << size_log2` pages of 4 KiB.
    AtcInv {
        sid: StreamId,
        ssid: Option<SubstreamId>,
        address: u64,
        size_log2: u8,
    },
    /// `PRI_RESP`.
    PriResp {
        sid: StreamId,
        ssid: Option<SubstreamId>,
        group: u16,
        answer: PriAnswer,
    },
    /// `RESUME`.
    Resume {
        sid: StreamId,
        stag: u16,
        answer: ResumeAnswer,
    },
    /// `SYNC`; completion is also written to memory if `msi` names where.
    Sync { msi: Option<Pa> },
}

/// ATC_INV.Size of "everything".
pub const ATC_SIZE_ALL_LOG2: u8 = 52;

const CS_NONE_MSI: u8 = 1;
const CS_SEV: u8 = 2;
const INNER_SHAREABLE: u8 = 3;
const MSI_WRITE_BACK: u8 = 0xf;
const RANGE_ALL: u8 = 31;

impl Command {
    /// The opcode.
    pub fn opcode(&self) -> CmdOp {
        CmdOp((self.words()[0] & 0xff) as u8)
    }

    /// Whether this waits for what was issued before.
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::Sync { .. })
    }

    /// The two doublewords in the queue.
    pub fn words(&self) -> [u64; 2] {
        match *self {
            Self::PrefetchConfig { sid } => PrefetchConfig {
                dw0: PrefetchConfigDw0::new()
                    .with_opcode(CmdOp::PREFETCH_CONFIG)
                    .with_streamid(sid.get()),
                ..PrefetchConfig::default()
            }
            .words(),
            Self::CfgiSte { sid, reach } => CfgiSte {
                dw0: CfgiSteDw0::new()
                    .with_opcode(CmdOp::CFGI_STE)
                    .with_streamid(sid.get()),
                dw1: CfgiSteDw1::new().with_leaf(reach.leaf()),
            }
            .words(),
            Self::CfgiAll => CfgiSteRange {
                dw0: CfgiSteRangeDw0::new().with_opcode(CmdOp::CFGI_STE_RANGE),
                dw1: CfgiSteRangeDw1::new().with_range(RANGE_ALL),
            }
            .words(),
            Self::CfgiCd { sid, ssid, reach } => CfgiCd {
                dw0: CfgiCdDw0::new()
                    .with_opcode(CmdOp::CFGI_CD)
                    .with_substreamid(ssid.get())
                    .with_streamid(sid.get()),
                dw1: CfgiCdDw1::new().with_leaf(reach.leaf()),
            }
            .words(),
            Self::TlbiNhAll { vmid } => all(CmdOp::TLBI_NH_ALL, vmid),
            Self::TlbiEl2All => all(CmdOp::TLBI_EL2_ALL, Vmid::new(0)),
            Self::TlbiS12Vmall { vmid } => all(CmdOp::TLBI_S12_VMALL, vmid),
            Self::TlbiNsnhAll => all(CmdOp::TLBI_NSNH_ALL, Vmid::new(0)),
            Self::TlbiNhAsid { asid, vmid } => by_asid(CmdOp::TLBI_NH_ASID, asid, vmid),
            Self::TlbiEl2Asid { asid } => by_asid(CmdOp::TLBI_EL2_ASID, asid, Vmid::new(0)),
            Self::TlbiNhVa { asid, vmid, range } => by_range(CmdOp::TLBI_NH_VA, asid, vmid, range),
            Self::TlbiEl2Va { asid, range } => {
                by_range(CmdOp::TLBI_EL2_VA, asid, Vmid::new(0), range)
            }
            // Where S2_IPA has fields they are those of NH_VA.
            Self::TlbiS2Ipa { vmid, range } => {
                by_range(CmdOp::TLBI_S2_IPA, Asid::new(0), vmid, range)
            }
            Self::AtcInv {
                sid,
                ssid,
                address,
                size_log2,
            } => AtcInv {
                dw0: AtcInvDw0::new()
                    .with_opcode(CmdOp::ATC_INV)
                    .with_ssv(ssid.is_some())
                    .with_substreamid(ssid.map_or(0, SubstreamId::get))
                    .with_streamid(sid.get()),
                dw1: AtcInvDw1::new()
                    .with_size(size_log2)
                    .with_address(address >> 12),
            }
            .words(),
            Self::PriResp {
                sid,
                ssid,
                group,
                answer,
            } => PriResp {
                dw0: PriRespDw0::new()
                    .with_opcode(CmdOp::PRI_RESP)
                    .with_ssv(ssid.is_some())
                    .with_substreamid(ssid.map_or(0, SubstreamId::get))
                    .with_streamid(sid.get()),
                dw1: PriRespDw1::new()
                    .with_prgindex(group)
                    .with_resp(answer as u8),
            }
            .words(),
            Self::Resume { sid, stag, answer } => Resume {
                dw0: ResumeDw0::new()
                    .with_opcode(CmdOp::RESUME)
                    .with_ac(answer == ResumeAnswer::Retry)
                    .with_ab(answer == ResumeAnswer::Abort)
                    .with_streamid(sid.get()),
                dw1: ResumeDw1::new().with_stag(stag),
            }
            .words(),
            Self::Sync { msi } => Sync {
                dw0: SyncDw0::new()
                    .with_opcode(CmdOp::SYNC)
                    .with_cs(if msi.is_some() { CS_NONE_MSI } else { CS_SEV })
                    .with_msh(INNER_SHAREABLE)
                    .with_msiattr(MSI_WRITE_BACK),
                dw1: SyncDw1::new().with_msiaddress(msi.map_or(0, Pa::get) >> 2),
            }
            .words(),
        }
    }

    /// The command these doublewords are; `None` if the driver issues no such command.
    pub fn from_words(words: [u64; 2]) -> Option<Self> {
        let sid = StreamId::new((words[0] >> 32) as u32);
        let reach = Reach::of(words[1] & 1 != 0);
        let ssv = words[0] >> 11 & 1 != 0;
        let substream = SubstreamId::new((words[0] >> 12 & 0xf_ffff) as u32);
        let ssid = ssv.then_some(substream);
        let vmid = Vmid::new((words[0] >> 32) as u16);
        let asid = Asid::new((words[0] >> 48) as u16);
        let range = range_of(words);
        let command = match CmdOp((words[0] & 0xff) as u8) {
            CmdOp::PREFETCH_CONFIG => Self::PrefetchConfig { sid },
            CmdOp::CFGI_STE => Self::CfgiSte { sid, reach },
            CmdOp::CFGI_STE_RANGE => Self::CfgiAll,
            CmdOp::CFGI_CD => Self::CfgiCd {
                sid,
                ssid: substream,
                reach,
            },
            CmdOp::TLBI_NH_ALL => Self::TlbiNhAll { vmid },
            CmdOp::TLBI_NH_ASID => Self::TlbiNhAsid { asid, vmid },
            CmdOp::TLBI_NH_VA => Self::TlbiNhVa { asid, vmid, range },
            CmdOp::TLBI_EL2_ALL => Self::TlbiEl2All,
            CmdOp::TLBI_EL2_ASID => Self::TlbiEl2Asid { asid },
            CmdOp::TLBI_EL2_VA => Self::TlbiEl2Va { asid, range },
            CmdOp::TLBI_S12_VMALL => Self::TlbiS12Vmall { vmid },
            CmdOp::TLBI_S2_IPA => Self::TlbiS2Ipa { vmid, range },
            CmdOp::TLBI_NSNH_ALL => Self::TlbiNsnhAll,
            CmdOp::ATC_INV => Self::AtcInv {
                sid,
                ssid,
                address: words[1] & !0xfff,
                size_log2: (words[1] & 0x3f) as u8,
            },
            CmdOp::PRI_RESP => Self::PriResp {
                sid,
                ssid,
                group: (words[1] & 0x1ff) as u16,
                answer: match words[1] >> 12 & 3 {
                    0 => PriAnswer::Deny,
                    1 => PriAnswer::Fail,
                    _ => PriAnswer::Success,
                },
            },
            CmdOp::RESUME => Self::Resume {
                sid,
                stag: words[1] as u16,
                answer: match words[0] >> 12 & 3 {
                    1 => ResumeAnswer::Retry,
                    2 => ResumeAnswer::Abort,
                    _ => ResumeAnswer::Terminate,
                },
            },
            CmdOp::SYNC => {
                let address = words[1] & 0x00ff_ffff_ffff_fffc;
                Self::Sync {
                    msi: (address != 0).then(|| Pa::new(address)),
                }
            }
            _ => return None,
        };
        // Anything in a field the driver leaves 0 makes it another command.
        (command.words() == words).then_some(command)
    }
}

/// A SubstreamID, if there is one.
struct Substream(Option<SubstreamId>);

impl fmt::Display for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |ssid| write!(f, " ssid {ssid}"))
    }
}

/// All there is to a command: two that differ read differently.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.opcode())?;
        match *self {
            Self::PrefetchConfig { sid } => write!(f, " sid {sid}"),
            Self::CfgiSte { sid, reach } => write!(f, " sid {sid} {reach:?}"),
            Self::CfgiCd { sid, ssid, reach } => write!(f, " sid {sid} ssid {ssid} {reach:?}"),
            Self::TlbiNhAll { vmid } | Self::TlbiS12Vmall { vmid } => write!(f, " vmid {vmid}"),
            Self::TlbiNhAsid { asid, vmid } => write!(f, " asid {asid} vmid {vmid}"),
            Self::TlbiEl2Asid { asid } => write!(f, " asid {asid}"),
            Self::TlbiNhVa { asid, vmid, range } => write!(f, " asid {asid} vmid {vmid} {range}"),
            Self::TlbiEl2Va { asid, range } => write!(f, " asid {asid} {range}"),
            Self::TlbiS2Ipa { vmid, range } => write!(f, " vmid {vmid} {range}"),
            Self::AtcInv {
                sid,
                ssid,
                address,
                size_log2,
            } => write!(
                f,
                " sid {sid}{} {address:#x} pages 2^{size_log2}",
                Substream(ssid)
            ),
            Self::PriResp {
                sid,
                ssid,
                group,
                answer,
            } => write!(f, " sid {sid}{} group {group} {answer:?}", Substream(ssid)),
            Self::Resume { sid, stag, answer } => {
                write!(f, " sid {sid} stag {stag:#x} {answer:?}")
            }
            Self::Sync { msi: Some(msi) } => write!(f, " msi {msi}"),
            Self::CfgiAll | Self::TlbiEl2All | Self::TlbiNsnhAll | Self::Sync { msi: None } => {
                Ok(())
            }
        }
    }
}

impl fmt::Display for TlbiRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            tg,
            ttl,
            num,
            scale,
            reach,
        } = self;
        write!(
            f,
            "{address:#x} tg {tg} ttl {ttl} num {num} scale {scale} {reach:?}"
        )
    }
}

fn all(opcode: CmdOp, vmid: Vmid) -> [u64; 2] {
    TlbiAll {
        dw0: TlbiAllDw0::new().with_opcode(opcode).with_vmid(vmid.get()),
        ..TlbiAll::default()
    }
    .words()
}

fn by_asid(opcode: CmdOp, asid: Asid, vmid: Vmid) -> [u64; 2] {
    TlbiAsid {
        dw0: TlbiAsidDw0::new()
            .with_opcode(opcode)
            .with_vmid(vmid.get())
            .with_asid(asid.get()),
        ..TlbiAsid::default()
    }
    .words()
}

fn by_range(opcode: CmdOp, asid: Asid, vmid: Vmid, range: TlbiRange) -> [u64; 2] {
    TlbiVa {
        dw0: TlbiVaDw0::new()
            .with_opcode(opcode)
            .with_num(range.num)
            .with_scale(range.scale)
            .with_vmid(vmid.get())
            .with_asid(asid.get()),
        dw1: TlbiVaDw1::new()
            .with_leaf(range.reach.leaf())
            .with_ttl(range.ttl)
            .with_tg(range.tg)
            .with_address(range.address >> 12),
    }
    .words()
}

fn range_of(words: [u64; 2]) -> TlbiRange {
    TlbiRange {
        address: words[1] & !0xfff,
        tg: (words[1] >> 10 & 3) as u8,
        ttl: (words[1] >> 8 & 3) as u8,
        num: (words[0] >> 12 & 0x1f) as u8,
        scale: (words[0] >> 20 & 0x3f) as u8,
        reach: Reach::of(words[1] & 1 != 0),
    }
}

//! What a part implements: [`SmmuConfig`], its ID registers, and the rules that bind them.

mod parts;
mod rules;

pub use parts::{PARTS, Part, PartError, part};
pub use rules::ConfigError;

use serde::{Deserialize, Serialize};

use crate::spec::regs::{Aidr, Idr0, Idr1, Idr2, Idr3, Idr5};

/// Minor version of the architecture, SMMU_AIDR (IHI 0070 §6.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Version {
    /// SMMUv3.0
    #[serde(rename = "3.0")]
    V3_0,
    /// SMMUv3.1
    #[serde(rename = "3.1")]
    V3_1,
    /// SMMUv3.2
    #[serde(rename = "3.2")]
    V3_2,
    /// SMMUv3.3
    #[serde(rename = "3.3")]
    V3_3,
    /// SMMUv3.4
    #[serde(rename = "3.4")]
    V3_4,
}

impl Version {
    const ALL: [Self; 5] = [Self::V3_0, Self::V3_1, Self::V3_2, Self::V3_3, Self::V3_4];
}

/// Byte orders of translation tables that a part accepts, IDR0.TTENDIAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TableEndianness {
    /// Each CD and STE chooses.
    Mixed,
    /// Little-endian only.
    Little,
    /// Big-endian only.
    Big,
}

/// What a part can do with a faulting transaction, IDR0.STALL_MODEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StallModel {
    /// Each context chooses to stall or to terminate.
    StallAndTerminate,
    /// Faulting transactions always terminate.
    TerminateOnly,
    /// Faulting transactions always stall.
    StallForced,
}

/// Hardware update of translation tables, IDR0.HTTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Httu {
    /// None.
    None,
    /// Access flag.
    AccessFlag,
    /// Access flag and dirty state.
    Dirty,
    /// Access flag, dirty state, and the Access flag of Table descriptors.
    TableAccessFlag,
}

/// The features of a part. Field names are those of IDR0–IDR5 in lower case, so that each is found
/// in IHI 0070 §6.3 under its own name. [`SmmuConfig::validate`] says which combinations exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SmmuConfig {
    /// AIDR: architecture version.
    pub version: Version,

    /// IDR0.S1P: stage 1.
    pub s1p: bool,
    /// IDR0.S2P: stage 2.
    pub s2p: bool,
    /// IDR0.COHACC: table and queue accesses are coherent.
    pub cohacc: bool,
    /// IDR0.BTM: broadcast TLB maintenance.
    pub btm: bool,
    /// IDR0.HTTU: hardware update of Access flag and dirty state.
    pub httu: Httu,
    /// IDR0.DORMHINT: STATUSR.DORMANT.
    pub dormhint: bool,
    /// IDR0.Hyp: EL2 StreamWorlds.
    pub hyp: bool,
    /// IDR0.ATS: PCIe address translation service.
    pub ats: bool,
    /// IDR0.NS1ATS: split-stage ATS is *not* supported.
    pub ns1ats: bool,
    /// IDR0.ASID16: 16-bit ASIDs.
    pub asid16: bool,
    /// IDR0.MSI: interrupts as memory writes.
    pub msi: bool,
    /// IDR0.SEV: CMD_SYNC can send an event.
    pub sev: bool,
    /// IDR0.ATOS: address translation operations.
    pub atos: bool,
    /// IDR0.PRI: page requests.
    pub pri: bool,
    /// IDR0.VMW: VMID wildcards on invalidation.
    pub vmw: bool,
    /// IDR0.VMID16: 16-bit VMIDs.
    pub vmid16: bool,
    /// IDR0.CD2L: two-level CD tables.
    pub cd2l: bool,
    /// IDR0.VATOS: virtual ATOS page.
    pub vatos: bool,
    /// IDR0.TTENDIAN.
    pub ttendian: TableEndianness,
    /// IDR0.ATSRECERR: CR2.REC_CFG_ATS.
    pub atsrecerr: bool,
    /// IDR0.STALL_MODEL.
    pub stall_model: StallModel,
    /// IDR0.TERM_MODEL: terminated transactions always abort, CD.A must be 1.
    pub term_model: bool,
    /// IDR0.ST_LEVEL: two-level stream tables.
    pub st_level: bool,

    /// IDR1.SIDSIZE: bits of a StreamID, 0–32.
    pub sidsize: u8,
    /// IDR1.SSIDSIZE: bits of a SubstreamID, 0–20.
    pub ssidsize: u8,
    /// IDR1.PRIQS: log2 of the largest PRI queue, in entries.
    pub priqs: u8,
    /// IDR1.EVENTQS: log2 of the largest event queue, in entries.
    pub eventqs: u8,
    /// IDR1.CMDQS: log2 of the largest command queue, in entries.
    pub cmdqs: u8,
    /// IDR1.ATTR_PERMS_OVR: STE.INSTCFG and PRIVCFG work.
    pub attr_perms_ovr: bool,
    /// IDR1.ATTR_TYPES_OVR: STE.MTCFG, MemAttr, ALLOCCFG and SHCFG work.
    pub attr_types_ovr: bool,

    /// IDR2.BA_VATOS: where the VATOS page lies, in 64 KiB.
    pub ba_vatos: u16,

    /// IDR3.HAD: hierarchical attribute disable.
    pub had: bool,
    /// IDR3.PBHA: page-based hardware attributes.
    pub pbha: bool,
    /// IDR3.XNX: execute-never by privilege at stage 2.
    pub xnx: bool,
    /// IDR3.PPS: PASID in PRI overflow responses.
    pub pps: bool,
    /// IDR3.FWB: stage 2 can force write-back.
    pub fwb: bool,
    /// IDR3.STT: small translation tables.
    pub stt: bool,
    /// IDR3.RIL: range invalidation and level hints.
    pub ril: bool,
    /// IDR3.BBML: break-before-make level, 0–2.
    pub bbml: u8,
    /// IDR3.E0PD.
    pub e0pd: bool,
    /// IDR3.PTWNNC: table reads in stage-2 Device memory are done as Normal Non-cacheable.
    pub ptwnnc: bool,
    /// IDR3.PASIDTT: PASID on translated transactions.
    pub pasidtt: bool,
    /// IDR3.EPAN.
    pub epan: bool,
    /// IDR3.MTEPERM: NoTagAccess stage-2 memory attributes. Their Normal Write-Back side is
    /// modelled, allocation tags are not.
    pub mteperm: bool,

    /// IDR5.OAS: bits of a physical address; 32, 36, 40, 42, 44, 48 or 52.
    pub oas: u8,
    /// IDR5.GRAN4K.
    pub gran4k: bool,
    /// IDR5.GRAN16K.
    pub gran16k: bool,
    /// IDR5.GRAN64K.
    pub gran64k: bool,
    /// IDR5.DS: 52-bit addresses with 4 KiB and 16 KiB granules (LPA2).
    pub ds: bool,
    /// IDR5.VAX: bits of a virtual address range; 48 or 52.
    pub vax: u8,
    /// IDR5.STALL_MAX: most stalled transactions.
    pub stall_max: u16,
}

/// The ID registers, as read from a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IdRegisters {
    /// SMMU_IDR0.
    pub idr0: u32,
    /// SMMU_IDR1.
    pub idr1: u32,
    /// SMMU_IDR2.
    pub idr2: u32,
    /// SMMU_IDR3.
    pub idr3: u32,
    /// SMMU_IDR5.
    pub idr5: u32,
    /// SMMU_AIDR.
    pub aidr: u32,
}

/// Bits of a physical address for each encoding of IDR5.OAS, CD.IPS and STE.S2PS.
/// 6 and 7 both give 52: 56 bits need VMSAv9-128, which is not modelled.
pub(crate) const PS_BITS: [u8; 8] = [32, 36, 40, 42, 44, 48, 52, 52];

const TTF_AARCH64: u8 = 0b10;

impl SmmuConfig {
    /// Bits of an intermediate physical address, IAS (IHI 0070 §3.4). Without VMSAv8-32 LPAE it
    /// equals OAS.
    #[inline]
    pub fn ias(&self) -> u8 {
        self.oas
    }

    /// Whether table granule `log2` (12, 14 or 16) is implemented.
    #[inline]
    pub fn has_granule(&self, log2: u8) -> bool {
        match log2 {
            12 => self.gran4k,
            14 => self.gran16k,
            16 => self.gran64k,
            _ => false,
        }
    }

    /// The ID registers software reads.
    pub fn id_registers(&self) -> IdRegisters {
        let idr0 = Idr0::new()
            .with_s2p(self.s2p)
            .with_s1p(self.s1p)
            .with_ttf(TTF_AARCH64)
            .with_cohacc(self.cohacc)
            .with_btm(self.btm)
            .with_httu(self.httu as u8)
            .with_dormhint(self.dormhint)
            .with_hyp(self.hyp)
            .with_ats(self.ats)
            .with_ns1ats(self.ns1ats)
            .with_asid16(self.asid16)
            .with_msi(self.msi)
            .with_sev(self.sev)
            .with_atos(self.atos)
            .with_pri(self.pri)
            .with_vmw(self.vmw)
            .with_vmid16(self.vmid16)
            .with_cd2l(self.cd2l)
            .with_vatos(self.vatos)
            .with_ttendian(match self.ttendian {
                TableEndianness::Mixed => 0,
                TableEndianness::Little => 2,
                TableEndianness::Big => 3,
            })
            .with_atsrecerr(self.atsrecerr)
            .with_stall_model(self.stall_model as u8)
            .with_term_model(self.term_model)
            .with_st_level(u8::from(self.st_level));
        let idr1 = Idr1::new()
            .with_sidsize(self.sidsize)
            .with_ssidsize(self.ssidsize)
            .with_priqs(self.priqs)
            .with_eventqs(self.eventqs)
            .with_cmdqs(self.cmdqs)
            .with_attr_perms_ovr(self.attr_perms_ovr)
            .with_attr_types_ovr(self.attr_types_ovr);
        let idr2 = Idr2::new().with_ba_vatos(self.ba_vatos);
        let idr3 = Idr3::new()
            .with_had(self.had)
            .with_pbha(self.pbha)
            .with_xnx(self.xnx)
            .with_pps(self.pps)
            .with_fwb(self.fwb)
            .with_stt(self.stt)
            .with_ril(self.ril)
            .with_bbml(self.bbml)
            .with_e0pd(self.e0pd)
            .with_ptwnnc(self.ptwnnc)
            .with_pasidtt(self.pasidtt)
            .with_epan(self.epan)
            .with_mteperm(self.mteperm);
        let oas = PS_BITS
            .iter()
            .position(|&bits| bits == self.oas)
            .unwrap_or(0);
        let idr5 = Idr5::new()
            .with_oas(oas as u8)
            .with_gran4k(self.gran4k)
            .with_gran16k(self.gran16k)
            .with_gran64k(self.gran64k)
            .with_ds(self.ds)
            .with_vax(u8::from(self.vax == 52))
            .with_stall_max(self.stall_max);
        IdRegisters {
            idr0: idr0.into(),
            idr1: idr1.into(),
            idr2: idr2.into(),
            idr3: idr3.into(),
            idr5: idr5.into(),
            aidr: self.version as u32,
        }
    }

    /// The part with these ID registers, validated.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field, if a value is reserved, if it announces something this
    /// model does not have, or if the combination cannot exist.
    pub fn from_id_registers(ids: IdRegisters) -> Result<Self, ConfigError> {
        let idr0 = Idr0::from(ids.idr0);
        let idr1 = Idr1::from(ids.idr1);
        let idr2 = Idr2::from(ids.idr2);
        let idr3 = Idr3::from(ids.idr3);
        let idr5 = Idr5::from(ids.idr5);
        let reserved = |field, value: u8| ConfigError::Reserved {
            field,
            value: value.into(),
        };

        rules::refuse_unmodelled(idr0, idr1, idr3, idr5)?;
        let aidr = Aidr::from(ids.aidr);
        let version = Version::ALL
            .into_iter()
            .find(|v| *v as u8 == aidr.archminorrev() && aidr.archmajorrev() == 0)
            .ok_or(ConfigError::Reserved {
                field: "AIDR",
                value: ids.aidr,
            })?;
        let config = Self {
            version,
            s1p: idr0.s1p(),
            s2p: idr0.s2p(),
            cohacc: idr0.cohacc(),
            btm: idr0.btm(),
            httu: match idr0.httu() {
                0 => Httu::None,
                1 => Httu::AccessFlag,
                2 => Httu::Dirty,
                _ => Httu::TableAccessFlag,
            },
            dormhint: idr0.dormhint(),
            hyp: idr0.hyp(),
            ats: idr0.ats(),
            ns1ats: idr0.ns1ats(),
            asid16: idr0.asid16(),
            msi: idr0.msi(),
            sev: idr0.sev(),
            atos: idr0.atos(),
            pri: idr0.pri(),
            vmw: idr0.vmw(),
            vmid16: idr0.vmid16(),
            cd2l: idr0.cd2l(),
            vatos: idr0.vatos(),
            ttendian: match idr0.ttendian() {
                0 => TableEndianness::Mixed,
                2 => TableEndianness::Little,
                3 => TableEndianness::Big,
                value => return Err(reserved("IDR0.TTENDIAN", value)),
            },
            atsrecerr: idr0.atsrecerr(),
            stall_model: match idr0.stall_model() {
                0 => StallModel::StallAndTerminate,
                1 => StallModel::TerminateOnly,
                2 => StallModel::StallForced,
                value => return Err(reserved("IDR0.STALL_MODEL", value)),
            },
            term_model: idr0.term_model(),
            st_level: match idr0.st_level() {
                0 => false,
                1 => true,
                value => return Err(reserved("IDR0.ST_LEVEL", value)),
            },
            sidsize: idr1.sidsize(),
            ssidsize: idr1.ssidsize(),
            priqs: idr1.priqs(),
            eventqs: idr1.eventqs(),
            cmdqs: idr1.cmdqs(),
            attr_perms_ovr: idr1.attr_perms_ovr(),
            attr_types_ovr: idr1.attr_types_ovr(),
            ba_vatos: idr2.ba_vatos(),
            had: idr3.had(),
            pbha: idr3.pbha(),
            xnx: idr3.xnx(),
            pps: idr3.pps(),
            fwb: idr3.fwb(),
            stt: idr3.stt(),
            ril: idr3.ril(),
            bbml: idr3.bbml(),
            e0pd: idr3.e0pd(),
            ptwnnc: idr3.ptwnnc(),
            pasidtt: idr3.pasidtt(),
            epan: idr3.epan(),
            mteperm: idr3.mteperm(),
            oas: PS_BITS[usize::from(idr5.oas())],
            gran4k: idr5.gran4k(),
            gran16k: idr5.gran16k(),
            gran64k: idr5.gran64k(),
            ds: idr5.ds(),
            vax: match idr5.vax() {
                0 => 48,
                1 => 52,
                value => return Err(reserved("IDR5.VAX", value)),
            },
            stall_max: idr5.stall_max(),
        };
        config.validate()?;
        Ok(config)
    }
}

//! Which combinations of features the architecture allows, one rule a variant of [`ConfigError`].

use thiserror::Error;

use super::{PS_BITS, SmmuConfig, StallModel, TTF_AARCH64, Version};
use crate::spec::regs::{Idr0, Idr1, Idr3, Idr5};

/// Why a part cannot exist, or cannot be modelled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An ID register field holds a reserved encoding.
    #[error("{field} = {value:#x} is a reserved encoding")]
    Reserved {
        /// Register and field.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
    /// The part announces a feature outside this model.
    #[error("{field} = {value:#x} announces {feature}, which is not modelled")]
    NotModelled {
        /// Register and field.
        field: &'static str,
        /// What it holds.
        value: u32,
        /// The feature, in words.
        feature: &'static str,
    },
    /// A size field is larger than the architecture allows.
    #[error("{field} = {value}, but at most {limit} is allowed")]
    TooLarge {
        /// Register and field.
        field: &'static str,
        /// What it holds.
        value: u8,
        /// The largest legal value.
        limit: u8,
    },
    /// A size is not one the architecture has an encoding for.
    #[error("{field} = {value} bits has no encoding")]
    NoEncoding {
        /// Register and field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// A rule that ties fields together is broken.
    #[error("{rule} ({section})")]
    Combination {
        /// The rule, in words.
        rule: &'static str,
        /// Where the architecture states it.
        section: &'static str,
    },
}

/// One rule: what must hold of a part, in words, where it is stated, and the test.
struct Rule(&'static str, &'static str, fn(&SmmuConfig) -> bool);

const RULES: &[Rule] = &[
    Rule(
        "at least one of IDR0.S1P and IDR0.S2P must be 1",
        "IHI 0070 §6.3.1",
        |c| c.s1p || c.s2p,
    ),
    Rule(
        "at least one granule (IDR5.GRAN4K, GRAN16K, GRAN64K) must be 1",
        "IHI 0070 §6.3.6",
        |c| c.gran4k || c.gran16k || c.gran64k,
    ),
    Rule(
        "IDR0.ST_LEVEL must be 1 when IDR1.SIDSIZE is 7 or more",
        "IHI 0070 §6.3.1",
        |c| c.st_level || c.sidsize < 7,
    ),
    Rule("IDR0.PRI needs IDR0.ATS", "IHI 0070 §6.3.1", |c| {
        c.ats || !c.pri
    }),
    Rule("IDR0.ATSRECERR needs IDR0.ATS", "IHI 0070 §6.3.1", |c| {
        c.ats || !c.atsrecerr
    }),
    Rule(
        "IDR0.NS1ATS needs IDR0.ATS and both stages",
        "IHI 0070 §6.3.1",
        |c| (c.ats && c.s1p && c.s2p) || !c.ns1ats,
    ),
    Rule("IDR0.Hyp needs both stages", "IHI 0070 §6.3.1", |c| {
        (c.s1p && c.s2p) || !c.hyp
    }),
    Rule("IDR0.VMW needs IDR0.S2P", "IHI 0070 §6.3.1", |c| {
        c.s2p || !c.vmw
    }),
    Rule(
        "IDR0.VATOS needs IDR0.ATOS and both stages",
        "IHI 0070 §6.3.1",
        |c| (c.atos && c.s1p && c.s2p) || !c.vatos,
    ),
    Rule(
        "IDR5.STALL_MAX must be 0 when IDR0.STALL_MODEL is 1",
        "IHI 0070 §6.3.6",
        |c| c.stall_model != StallModel::TerminateOnly || c.stall_max == 0,
    ),
    Rule(
        "IDR5.DS needs IDR5.VAX of 52 bits and GRAN4K or GRAN16K",
        "IHI 0070 §6.3.6",
        |c| !c.ds || (c.vax == 52 && (c.gran4k || c.gran16k)),
    ),
    Rule(
        "IDR5.VAX of 52 bits needs GRAN64K or IDR5.DS",
        "IHI 0070 §6.3.6",
        |c| c.vax == 48 || c.gran64k || c.ds,
    ),
    Rule(
        "IDR5.OAS of 52 bits needs GRAN64K or IDR5.DS",
        "IHI 0070 §6.3.6",
        |c| c.oas < 52 || c.gran64k || c.ds,
    ),
    Rule(
        "SMMUv3.0 has no 52-bit addresses (IDR5.OAS, IDR5.VAX)",
        "IHI 0070 §6.3.6",
        |c| c.version >= Version::V3_1 || (c.oas < 52 && c.vax == 48),
    ),
    Rule(
        "IDR3.HAD must be 1 from SMMUv3.1 on if IDR0.S1P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_1 || !c.s1p || c.had,
    ),
    Rule(
        "IDR3.XNX must be 1 from SMMUv3.1 on if IDR0.S2P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_1 || !c.s2p || c.xnx,
    ),
    Rule(
        "IDR3.FWB must be 1 from SMMUv3.2 on if IDR0.S2P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_2 || !c.s2p || c.fwb,
    ),
    Rule(
        "IDR3.RIL must be 1 from SMMUv3.2 on",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_2 || c.ril,
    ),
    Rule(
        "IDR3.BBML must be 1 or 2 from SMMUv3.2 on",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_2 || c.bbml >= 1,
    ),
    Rule(
        "IDR0.Hyp must be 1 from SMMUv3.2 on if both stages exist",
        "IHI 0070 §6.3.1",
        |c| c.version < Version::V3_2 || !(c.s1p && c.s2p) || c.hyp,
    ),
    Rule(
        "IDR3.E0PD must be 1 from SMMUv3.3 on if IDR0.S1P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_3 || !c.s1p || c.e0pd,
    ),
    Rule(
        "IDR3.PTWNNC must be 1 from SMMUv3.3 on if IDR0.S2P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_3 || !c.s2p || c.ptwnnc,
    ),
    Rule(
        "IDR3.EPAN must be 1 from SMMUv3.4 on if IDR0.S1P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_4 || !c.s1p || c.epan,
    ),
    Rule(
        "IDR3.MTEPERM must be 1 from SMMUv3.4 on if IDR0.S2P is 1",
        "IHI 0070 §6.3.4",
        |c| c.version < Version::V3_4 || !c.s2p || c.mteperm,
    ),
];

impl SmmuConfig {
    /// Checks the part against the rules of the architecture.
    ///
    /// # Errors
    /// The first rule that is broken, with the values that break it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("IDR1.SIDSIZE", self.sidsize, 32),
            ("IDR1.SSIDSIZE", self.ssidsize, 20),
            ("IDR1.CMDQS", self.cmdqs, 19),
            ("IDR1.EVENTQS", self.eventqs, 19),
            ("IDR1.PRIQS", self.priqs, 19),
            ("IDR3.BBML", self.bbml, 2),
        ];
        for (field, value, limit) in sizes {
            if value > limit {
                return Err(ConfigError::TooLarge {
                    field,
                    value,
                    limit,
                });
            }
        }
        if !PS_BITS.contains(&self.oas) {
            return Err(ConfigError::NoEncoding {
                field: "IDR5.OAS",
                value: self.oas,
            });
        }
        if ![48, 52].contains(&self.vax) {
            return Err(ConfigError::NoEncoding {
                field: "IDR5.VAX",
                value: self.vax,
            });
        }
        if self.ba_vatos >= 1 << 10 {
            return Err(ConfigError::Reserved {
                field: "IDR2.BA_VATOS",
                value: self.ba_vatos.into(),
            });
        }
        match RULES.iter().find(|Rule(_, _, holds)| !holds(self)) {
            Some(&Rule(rule, section, _)) => Err(ConfigError::Combination { rule, section }),
            None => Ok(()),
        }
    }
}

/// Refuses ID registers that announce a feature the model would have to ignore.
pub(super) fn refuse_unmodelled(
    idr0: Idr0,
    idr1: Idr1,
    idr3: Idr3,
    idr5: Idr5,
) -> Result<(), ConfigError> {
    let ttf = idr0.ttf();
    if ttf == 0 {
        return Err(ConfigError::Reserved {
            field: "IDR0.TTF",
            value: 0,
        });
    }
    let unmodelled: [(&'static str, u32, &'static str, bool); 15] = [
        (
            "IDR0.TTF",
            ttf.into(),
            "VMSAv8-32 LPAE tables",
            ttf != TTF_AARCH64,
        ),
        (
            "IDR0.RME_IMPL",
            1,
            "the Realm Management Extension",
            idr0.rme_impl(),
        ),
        ("IDR1.ECMDQ", 1, "enhanced command queues", idr1.ecmdq()),
        (
            "IDR1.TABLES_PRESET",
            1,
            "a fixed stream table",
            idr1.tables_preset(),
        ),
        (
            "IDR1.QUEUES_PRESET",
            1,
            "fixed queues",
            idr1.queues_preset(),
        ),
        (
            "IDR3.MPAM",
            1,
            "memory partitioning and monitoring",
            idr3.mpam(),
        ),
        ("IDR3.DPT", 1, "the device permission table", idr3.dpt()),
        (
            "IDR3.S1PI",
            1,
            "stage-1 permission indirection",
            idr3.s1pi(),
        ),
        (
            "IDR3.S2PI",
            1,
            "stage-2 permission indirection",
            idr3.s2pi(),
        ),
        ("IDR3.S2PO", 1, "stage-2 permission overlays", idr3.s2po()),
        (
            "IDR3.THE",
            1,
            "the translation hardening extension",
            idr3.the(),
        ),
        ("IDR3.AIE", 1, "the attribute index extension", idr3.aie()),
        ("IDR5.D128", 1, "VMSAv9-128 tables", idr5.d128()),
        ("IDR5.OAS", 7, "56-bit addresses", idr5.oas() == 7),
        ("IDR5.VAX", 2, "56-bit virtual addresses", idr5.vax() == 2),
    ];
    match unmodelled.into_iter().find(|&(_, _, _, present)| present) {
        Some((field, value, feature, _)) => Err(ConfigError::NotModelled {
            field,
            value,
            feature,
        }),
        None => Ok(()),
    }
}

//! Which combinations of features the architecture allows, one rule a variant of [`ConfigError`].

use thiserror::Error;

use crate::cache::CacheError;

use super::{PS_BITS, SmmuConfig, StallModel, TTF_AARCH64, Version};
use crate::spec::regs::{Idr0, Idr1, Idr3, Idr5};

/// Why a part cannot exist, or cannot be modelled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A cache has an impossible shape.
    #[error(transparent)]
    Cache(#[from] CacheError),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IdRegisters;

    /// For each rule, in order, the change to a legal part that breaks it and no other.
    const BREAKERS: [fn(&mut SmmuConfig); RULES.len()] = [
        |c| (c.s1p, c.s2p, c.hyp, c.vmw, c.vatos) = (false, false, false, false, false),
        |c| {
            (c.gran4k, c.gran16k, c.gran64k) = (false, false, false);
            (c.ds, c.vax, c.oas) = (false, 48, 48);
        },
        |c| (c.st_level, c.sidsize) = (false, 7),
        |c| (c.ats, c.atsrecerr, c.pri) = (false, false, true),
        |c| (c.ats, c.atsrecerr, c.pri) = (false, true, false),
        |c| (c.ats, c.atsrecerr, c.pri, c.ns1ats) = (false, false, false, true),
        |c| (c.s2p, c.hyp, c.vmw, c.vatos) = (false, true, false, false),
        |c| (c.s2p, c.hyp, c.vmw, c.vatos) = (false, false, true, false),
        |c| (c.atos, c.vatos) = (false, true),
        |c| (c.stall_model, c.stall_max) = (StallModel::TerminateOnly, 1),
        |c| (c.gran4k, c.gran16k) = (false, false),
        |c| (c.ds, c.gran64k, c.oas) = (false, false, 48),
        |c| (c.ds, c.gran64k, c.vax) = (false, false, 48),
        |c| (c.version, c.ds, c.vax) = (Version::V3_0, false, 48),
        |c| (c.version, c.had) = (Version::V3_1, false),
        |c| (c.version, c.xnx) = (Version::V3_1, false),
        |c| (c.version, c.fwb) = (Version::V3_2, false),
        |c| (c.version, c.ril) = (Version::V3_2, false),
        |c| (c.version, c.bbml) = (Version::V3_2, 0),
        |c| (c.version, c.hyp) = (Version::V3_2, false),
        |c| (c.version, c.e0pd) = (Version::V3_3, false),
        |c| (c.version, c.ptwnnc) = (Version::V3_3, false),
        |c| (c.version, c.epan) = (Version::V3_4, false),
        |c| (c.version, c.mteperm) = (Version::V3_4, false),
    ];

    #[test]
    fn every_rule_can_be_broken_alone_and_is_named() {
        for (rule, breaks) in RULES.iter().zip(BREAKERS) {
            let mut part = SmmuConfig::full();
            assert_eq!(part.validate(), Ok(()));
            breaks(&mut part);
            let Rule(words, section, _) = *rule;
            let broken: Vec<&str> = RULES
                .iter()
                .filter(|Rule(_, _, holds)| !holds(&part))
                .map(|Rule(words, _, _)| *words)
                .collect();
            assert_eq!(broken, [words]);
            let refused = ConfigError::Combination {
                rule: words,
                section,
            };
            assert_eq!(part.validate(), Err(refused));
            assert_eq!(refused.to_string(), format!("{words} ({section})"));
        }
    }

    #[test]
    fn sizes_beyond_the_architecture_are_refused_and_the_largest_are_not() {
        type Resize = fn(&mut SmmuConfig, u8);
        let sizes: [(&str, u8, Resize); 6] = [
            ("IDR1.SIDSIZE", 32, |c, size| c.sidsize = size),
            ("IDR1.SSIDSIZE", 20, |c, size| c.ssidsize = size),
            ("IDR1.CMDQS", 19, |c, size| c.cmdqs = size),
            ("IDR1.EVENTQS", 19, |c, size| c.eventqs = size),
            ("IDR1.PRIQS", 19, |c, size| c.priqs = size),
            ("IDR3.BBML", 2, |c, size| c.bbml = size),
        ];
        for (field, limit, resize) in sizes {
            let mut part = SmmuConfig::full();
            resize(&mut part, limit);
            assert_eq!(part.validate(), Ok(()), "{field}");
            resize(&mut part, limit + 1);
            let refused = ConfigError::TooLarge {
                field,
                value: limit + 1,
                limit,
            };
            assert_eq!(part.validate(), Err(refused));
        }
    }

    #[test]
    fn address_sizes_without_an_encoding_are_refused() {
        for oas in 0..=64 {
            let mut part = SmmuConfig::full();
            part.oas = oas;
            let encoded = [32, 36, 40, 42, 44, 48, 52].contains(&oas);
            assert_eq!(part.validate().is_ok(), encoded, "OAS {oas}");
        }
        for vax in 0..=64 {
            let mut part = SmmuConfig::full();
            (part.ds, part.vax) = (vax == 52, vax);
            assert_eq!(part.validate().is_ok(), [48, 52].contains(&vax), "{vax}");
        }
    }

    /// Bits as in reference section 1.3, not through the accessors.
    #[test]
    fn features_outside_the_model_are_refused_by_name() {
        type Word = fn(&mut IdRegisters) -> &mut u32;
        const IDR0: Word = |ids| &mut ids.idr0;
        const IDR1: Word = |ids| &mut ids.idr1;
        const IDR3: Word = |ids| &mut ids.idr3;
        const IDR5: Word = |ids| &mut ids.idr5;
        // (register, bits to clear, bits to set, what the message begins with)
        let cases: [(Word, u32, u32, &str); 17] = [
            (IDR0, 3 << 2, 0, "IDR0.TTF = 0x0 is a reserved"),
            (IDR0, 3 << 2, 1 << 2, "IDR0.TTF = 0x1 announces VMSAv8-32"),
            (IDR0, 3 << 2, 3 << 2, "IDR0.TTF = 0x3 announces VMSAv8-32"),
            (IDR0, 0, 1 << 30, "IDR0.RME_IMPL"),
            (IDR1, 0, 1 << 29, "IDR1.QUEUES_PRESET"),
            (IDR1, 0, 1 << 30, "IDR1.TABLES_PRESET"),
            (IDR1, 0, 1 << 31, "IDR1.ECMDQ"),
            (IDR3, 0, 1 << 7, "IDR3.MPAM"),
            (IDR3, 0, 1 << 15, "IDR3.DPT"),
            (IDR3, 0, 1 << 18, "IDR3.S1PI"),
            (IDR3, 0, 1 << 19, "IDR3.S2PI"),
            (IDR3, 0, 1 << 20, "IDR3.S2PO"),
            (IDR3, 0, 1 << 21, "IDR3.THE"),
            (IDR3, 0, 1 << 23, "IDR3.AIE"),
            (IDR5, 0, 1 << 8, "IDR5.D128 = 0x1 announces VMSAv9-128"),
            (IDR5, 7, 7, "IDR5.OAS = 0x7"),
            (IDR5, 3 << 10, 2 << 10, "IDR5.VAX = 0x2"),
        ];
        for (register, clear, set, message) in cases {
            let mut ids = SmmuConfig::full().id_registers();
            let word = register(&mut ids);
            *word = *word & !clear | set;
            let refused = SmmuConfig::from_id_registers(ids).unwrap_err().to_string();
            assert!(refused.starts_with(message), "{refused}");
        }
    }
}

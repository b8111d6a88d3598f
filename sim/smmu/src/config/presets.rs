//! Parts that exist: real ones, QEMU's, and one with everything the model has.

use super::{Httu, IdRegisters, SmmuConfig, StallModel, TableEndianness, Version};

/// A named part: its name, how to make it, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// The part.
    pub config: fn() -> SmmuConfig,
    /// One line about it.
    pub description: &'static str,
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "full",
        config: SmmuConfig::full,
        description: "SMMUv3.4 with everything this model has",
    },
    Preset {
        name: "qemu-11",
        config: SmmuConfig::qemu_11,
        description: "QEMU 11's smmuv3 with both stages: 44-bit, no substreams, stall, HTTU or ATS",
    },
    Preset {
        name: "mmu-600",
        config: SmmuConfig::mmu_600,
        description: "Arm CoreLink MMU-600, SMMUv3.1, in an infrastructure system",
    },
    Preset {
        name: "mmu-700",
        config: SmmuConfig::mmu_700,
        description: "Arm CoreLink MMU-700, SMMUv3.2, in an infrastructure system",
    },
];

/// The preset called `name`.
pub fn preset(name: &str) -> Option<SmmuConfig> {
    PRESETS
        .iter()
        .find(|preset| preset.name == name)
        .map(|preset| (preset.config)())
}

impl SmmuConfig {
    /// SMMUv3.4 with every feature this model has, and no restriction it could do without.
    pub fn full() -> Self {
        Self {
            version: Version::V3_4,
            s1p: true,
            s2p: true,
            cohacc: true,
            btm: true,
            httu: Httu::TableAccessFlag,
            dormhint: true,
            hyp: true,
            ats: true,
            ns1ats: false,
            asid16: true,
            msi: true,
            sev: true,
            atos: true,
            pri: true,
            vmw: true,
            vmid16: true,
            cd2l: true,
            vatos: true,
            ttendian: TableEndianness::Mixed,
            atsrecerr: true,
            stall_model: StallModel::StallAndTerminate,
            term_model: false,
            st_level: true,
            sidsize: 32,
            ssidsize: 20,
            priqs: 19,
            eventqs: 19,
            cmdqs: 19,
            attr_perms_ovr: true,
            attr_types_ovr: true,
            ba_vatos: 0,
            had: true,
            pbha: true,
            xnx: true,
            pps: true,
            fwb: true,
            stt: true,
            ril: true,
            bbml: 2,
            e0pd: true,
            ptwnnc: true,
            pasidtt: true,
            epan: true,
            mteperm: true,
            oas: 52,
            gran4k: true,
            gran16k: true,
            gran64k: true,
            ds: true,
            vax: 52,
            stall_max: 256,
        }
    }

    /// The part of QEMU 11's `smmuv3` device with both stages, as its ID registers read
    /// (IDR0 0x0d44101b, IDR1 0x02730010, IDR3 0x1414, IDR5 0x74, AIDR 1).
    ///
    /// # Panics
    /// Never: the part exists, and a test says so.
    pub fn qemu_11() -> Self {
        Self::from_id_registers(IdRegisters {
            idr0: 0x0d44_101b,
            idr1: 0x0273_0010,
            idr2: 0,
            idr3: 0x1414,
            idr5: 0x74,
            aidr: 1,
        })
        .expect("the part exists")
    }

    /// Arm CoreLink MMU-600 (SMMUv3.1). IDR0 as an Agilex 5 reads it (Intel's register pages),
    /// with the pins COHACC, BTM and HTTU tied as in coherent server systems. Sizes are the
    /// product's largest. The product also walks VMSAv8-32 LPAE tables (TTF=3), the model does not
    /// (deviations.md D2).
    pub fn mmu_600() -> Self {
        Self {
            version: Version::V3_1,
            httu: Httu::Dirty,
            dormhint: false,
            ns1ats: true,
            sev: false,
            atos: false,
            vatos: false,
            atsrecerr: false,
            sidsize: 24,
            pbha: false,
            fwb: false,
            stt: false,
            ril: false,
            bbml: 0,
            e0pd: false,
            ptwnnc: false,
            pasidtt: false,
            epan: false,
            mteperm: false,
            oas: 48,
            ds: false,
            vax: 48,
            ..Self::full()
        }
    }

    /// Arm CoreLink MMU-700 (SMMUv3.2): what MMU-600 has, and what SMMUv3.2 makes mandatory, with
    /// 52-bit addresses through 64 KiB tables. Where the product's reset values are not public
    /// they are assumed equal to MMU-600's. TTF as for MMU-600 (deviations.md D2).
    pub fn mmu_700() -> Self {
        Self {
            version: Version::V3_2,
            pbha: true,
            fwb: true,
            stt: true,
            ril: true,
            bbml: 2,
            oas: 52,
            vax: 52,
            ..Self::mmu_600()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_exists_and_survives_its_id_registers() {
        for preset in PRESETS {
            let config = (preset.config)();
            assert_eq!(config.validate(), Ok(()), "{}", preset.name);
            assert_eq!(
                SmmuConfig::from_id_registers(config.id_registers()),
                Ok(config)
            );
        }
    }

    #[test]
    fn qemus_part_reads_as_qemu_does() {
        let ids = SmmuConfig::qemu_11().id_registers();
        assert_eq!(ids.idr0, 0x0d44_101b);
        assert_eq!(ids.idr1, 0x0273_0010);
        assert_eq!(ids.idr3, 0x1414);
        assert_eq!(ids.idr5, 0x74);
        assert_eq!(ids.aidr, 1);
    }
}

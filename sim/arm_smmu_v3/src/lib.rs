//! The Linux SMMUv3 driver: the only crate that sees both [`iommu_core`] and the hardware.
//!
//! At present it holds what probing reads: which page sizes an SMMU offers, as the driver derives
//! them from IDR5. Everything that writes to the hardware arrives with attach and detach.

use smmu::config::SmmuConfig;

/// Page sizes io-pgtable may use on this SMMU, as a bit mask of sizes in bytes
/// (`arm_smmu_device_hw_probe()`, `pgsize_bitmap`).
pub fn pgsize_bitmap(config: &SmmuConfig) -> u64 {
    let mut sizes = 0;
    if config.gran4k {
        sizes |= 1 << 12 | 1 << 21 | 1 << 30;
    }
    if config.gran16k {
        sizes |= 1 << 14 | 1 << 25;
    }
    if config.gran64k {
        sizes |= 1 << 16 | 1 << 29;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::pgsize_bitmap;
    use smmu::config::SmmuConfig;

    #[test]
    fn an_smmu_with_4k_tables_offers_4k_2m_and_1g() {
        let config = SmmuConfig {
            gran16k: false,
            gran64k: false,
            ..SmmuConfig::qemu_11()
        };
        assert_eq!(pgsize_bitmap(&config), 0x4020_1000);
    }
}

//! Settings of streams and tables.

use smmu::{choice, section};

choice! {
    /// Which stages translate.
    Stages {
        /// None.
        Bypass = "bypass",
        /// Stage 1.
        Stage1 = "stage1",
        /// Stage 2.
        Stage2 = "stage2",
        /// Stage 1, then stage 2.
        Nested = "nested",
    }
}

choice! {
    /// Who shares a stage 2, or a stage 1 where that is all there is.
    Sharing {
        /// Each device has its own: one VFIO container a device.
        Own = "own",
        /// All devices share one.
        Shared = "shared",
    }
}

choice! {
    /// Granule of a table.
    Granule {
        /// 4 KiB.
        K4 = "4K",
        /// 16 KiB.
        K16 = "16K",
        /// 64 KiB.
        K64 = "64K",
    }
}

impl Granule {
    /// log2 of the granule in bytes.
    pub fn log2(self) -> u32 {
        match self {
            Self::K4 => 12,
            Self::K16 => 14,
            Self::K64 => 16,
        }
    }
}

choice! {
    /// What the STEs let devices with ATS have (STE.EATS).
    Eats {
        /// What suits the devices: all if they use ATS, else nothing.
        Auto = "auto",
        /// Nothing.
        Off = "off",
        /// Physical addresses.
        Full = "full",
        /// Intermediate addresses, translated further by stage 2.
        SplitStage = "split-stage",
    }
}

choice! {
    /// Whether the SMMU looks the stream of a translated transaction up (CR0.ATSCHK).
    Atschk {
        /// It passes it as it is.
        Off = "false",
        /// It does.
        On = "true",
    }
}

section! {
    /// Streams and tables.
    MachineSection {
        streams: u32 = 1, 1..=1024, "streams",
            "Devices. One is the usual question; many ask for fairness and reach.";
        stages: Stages = Stages::Stage1, (), "",
            "Which stages translate: stage 1 is what a host's DMA API uses, nested what a guest's does.";
        sharing: Sharing = Sharing::Own, (), "",
            "Whether devices have tables, ASIDs and VMIDs of their own, as one VFIO container a device gives them.";
        granule: Granule = Granule::K4, (), "",
            "Granule of stage 1, or of stage 2 where that is all there is.";
        page_log2: u32 = 12, 12..=42, "log2 bytes",
            "Size of the pages or blocks the devices' buffers are mapped by: 12 for 4 KiB, 21 for 2 MiB of 4 KiB tables.";
        input_bits: u32 = 48, 21..=52, "bits",
            "Input size of stage 1, or of stage 2 where that is all there is, at most 44 then; it decides the number of levels. Above 48 tables are those of 52-bit addresses (LVA, LPA2), on a part that has them.";
        stage2_granule: Granule = Granule::K4, (), "",
            "Granule of stage 2 under a stage 1.";
        stage2_page_log2: u32 = 12, 12..=42, "log2 bytes",
            "Size of the pages or blocks that stage 2 maps a guest by.";
        stage2_input_bits: u32 = 44, 33..=52, "bits",
            "Input size of stage 2 under a stage 1. 44 takes four levels of 4 KiB tables; above 48 they are those of 52-bit addresses.";
        stage2_start_level: i32 = 0, -1..=3, "level",
            "Start level of stage 2 under a stage 1; up to 16 tables are concatenated there.";
        eats: Eats = Eats::Auto, (), "",
            "STE.EATS. auto is full where devices use ATS (ats.enabled), as Linux sets it, else off; split-stage needs machine.stages = nested.";
        atschk: Atschk = Atschk::On, (), "",
            "CR0.ATSCHK, where STE.EATS is not off: Linux has translated transactions checked. Without it split-stage ATS acts as off.";
    }
}

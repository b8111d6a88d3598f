//! Points of the sharing experiment: what is varied, and what is counted.

use std::time::Duration;

/// Who has a stage 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// Each container its own: one container a device, as a VMM with a virtual IOMMU has it.
    PerContainer,
    /// One for all on an SMMU, with nested domains over it: policy (C).
    Shared,
}

impl Sharing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::PerContainer, Self::Shared];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PerContainer => "per-container",
            Self::Shared => "shared",
        }
    }
}

/// Size of the pages the guest's memory is made of, and so of stage 2's leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// No two pages adjacent.
    K4,
    /// Huge pages.
    M2,
    /// Giant pages.
    G1,
}

impl PageSize {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::K4, Self::M2, Self::G1];

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::K4 => 1 << 12,
            Self::M2 => 1 << 21,
            Self::G1 => 1 << 30,
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::K4 => "4K",
            Self::M2 => "2M",
            Self::G1 => "1G",
        }
    }
}

/// Where numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model did all of it.
    Measured,
    /// From exact counts of smaller runs: too many pages to do all of it.
    Computed,
}

impl Origin {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Computed => "computed",
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes of stage-2 tables while mapped.
    pub table_bytes: u64,
    /// 64-bit stores while all groups attach.
    pub attach_stores: u64,
    /// Commands while all groups attach.
    pub attach_commands: u64,
    /// 64-bit stores while the memory is mapped.
    pub map_stores: u64,
    /// Commands while it is mapped.
    pub map_commands: u64,
    /// 64-bit stores while it is unmapped.
    pub unmap_stores: u64,
    /// Commands while it is unmapped.
    pub unmap_commands: u64,
    /// Pinned pages of 4 KiB; a page pinned twice counts twice.
    pub pinned_pages: u64,
    /// VMIDs in use.
    pub vmids: u64,
    /// TLB entries that hold the same `probes` addresses for every device.
    pub tlb_entries: u64,
    /// Addresses each device touched.
    pub probes: u64,
}

/// One point of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Devices, each alone in its group.
    pub devices: u64,
    /// Guest memory, in GiB.
    pub memory_gib: u64,
    /// Its pages.
    pub page: PageSize,
    /// Who shares.
    pub sharing: Sharing,
    /// What was counted.
    pub counts: Counts,
    /// How.
    pub origin: Origin,
    /// How long the host took to map, where it did: for people, never for files.
    pub map_time: Option<Duration>,
}

impl Point {
    /// Guest memory for which a TLB of 1024 entries can serve all devices, in bytes.
    pub fn tlb_reach_bytes(&self) -> u64 {
        let each = self.counts.tlb_entries / self.counts.probes.max(1);
        1024 / each.max(1) * self.page.bytes()
    }
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Numbers of devices.
    pub devices: Vec<u64>,
    /// Sizes of guest memory, in GiB.
    pub memory_gib: Vec<u64>,
    /// Page sizes.
    pub pages: Vec<PageSize>,
    /// Leaves beyond which a point is computed.
    pub leaves_max: u64,
}

impl Default for Grid {
    /// 1 to 64 devices, 1 to 512 GiB, every page size; up to 4 Mi leaves are really written.
    fn default() -> Self {
        Self {
            devices: vec![1, 2, 4, 8, 16, 32, 64],
            memory_gib: vec![1, 8, 64, 512],
            pages: PageSize::ALL.to_vec(),
            leaves_max: 1 << 22,
        }
    }
}

impl Counts {
    /// All but the probes.
    pub(super) fn words(&self) -> [u64; 10] {
        [
            self.table_bytes,
            self.attach_stores,
            self.attach_commands,
            self.map_stores,
            self.map_commands,
            self.unmap_stores,
            self.unmap_commands,
            self.pinned_pages,
            self.vmids,
            self.tlb_entries,
        ]
    }

    pub(super) fn from_words(words: [u64; 10]) -> Self {
        let [
            table_bytes,
            attach_stores,
            attach_commands,
            map_stores,
            map_commands,
            ..,
        ] = words;
        let [
            ..,
            unmap_stores,
            unmap_commands,
            pinned_pages,
            vmids,
            tlb_entries,
        ] = words;
        Self {
            table_bytes,
            attach_stores,
            attach_commands,
            map_stores,
            map_commands,
            unmap_stores,
            unmap_commands,
            pinned_pages,
            vmids,
            tlb_entries,
            probes: 0,
        }
    }

    pub(super) fn with_probes(self, probes: u64) -> Self {
        Self { probes, ..self }
    }
}

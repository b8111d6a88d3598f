//! What a scenario file says: the machine, its tables, and the steps.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::source::{Located, Number};
use super::step::Step;

/// A scenario: a machine, and what is done on it in order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScenarioFile {
    /// What it shows, in one line.
    pub title: String,
    /// What is to be learnt from it.
    pub teaches: Option<String>,
    /// What it rests on: sections of the specification, properties, defects.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Memory of a machine without Linux. By default 1 GiB at 0x4000_0000.
    #[serde(default)]
    pub memory: Vec<MemorySection>,
    /// The SMMUs. By default one like QEMU's.
    #[serde(default)]
    pub smmu: Vec<SmmuSection>,
    /// Stage-2 tables of a machine without Linux: a virtual machine each.
    #[serde(default)]
    pub stage2: Vec<Stage2Section>,
    /// Stage-1 tables with a context descriptor each: of a device driver, or of a guest.
    #[serde(default)]
    pub stage1: Vec<Stage1Section>,
    /// Streams of a machine without Linux.
    #[serde(default)]
    pub stream: Vec<StreamSection>,
    /// Linux with VFIO, and a process that uses it.
    pub linux: Option<Located<LinuxSection>>,
    /// PCI bridges of a machine with Linux.
    #[serde(default)]
    pub bridge: Vec<BridgeSection>,
    /// Devices of a machine with Linux. IOMMU groups follow from where they are.
    #[serde(default)]
    pub device: Vec<DeviceSection>,
    /// What is done.
    #[serde(default)]
    pub step: Vec<Located<Step>>,
}

/// A range of RAM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemorySection {
    /// Physical address, of a whole page.
    pub base: Located<Number>,
    /// Bytes, whole pages.
    pub size: Located<Number>,
}

/// An SMMU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmmuSection {
    /// What it can do: a part by name (`smmu-sim regs --help` lists them). By default qemu-11.
    pub part: Option<Located<String>>,
    /// What it remembers, the same for all SMMUs. By default as the first one; that one, everything.
    pub caches: Option<Located<Caches>>,
    /// Registers written before CR0 enables it, by name. For machines without Linux.
    #[serde(default)]
    pub registers: BTreeMap<String, Located<Number>>,
}

/// What an SMMU remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Caches {
    /// Nothing: every transaction reads its configuration and walks its tables.
    None,
    /// A few entries of everything.
    Small,
    /// Everything until invalidated.
    #[default]
    Infinite,
}

/// Stage-2 tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage2Section {
    /// What it is called.
    pub name: Located<String>,
    /// VMID. By default 1.
    pub vmid: Option<Located<Number>>,
    /// Granule: 4KiB, 16KiB or 64KiB. By default 4KiB.
    pub granule: Option<Located<Number>>,
    /// IPA bits, 64 − S2T0SZ. By default 44.
    pub input_bits: Option<Located<Number>>,
    /// Level of the start table. By default the one with a single table.
    pub start_level: Option<Located<i8>>,
    /// What is mapped: IPA to PA.
    #[serde(default)]
    pub maps: Vec<Located<MapEntry>>,
}

/// Stage-1 tables with a context descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage1Section {
    /// What it is called.
    pub name: Located<String>,
    /// ASID. By default 1.
    pub asid: Option<Located<Number>>,
    /// The stage 2 its tables and context descriptor lie behind, as a guest's do.
    pub inside: Option<Located<String>>,
    /// Where its tables and context descriptor begin: an IPA for tables inside a stage 2 or in a
    /// guest of Linux.
    pub tables: Option<Located<Number>>,
    /// Granule: 4KiB, 16KiB or 64KiB. By default 4KiB.
    pub granule: Option<Located<Number>>,
    /// Address bits, 64 − T0SZ. By default 48.
    pub input_bits: Option<Located<Number>>,
    /// What is mapped: IOVA to IPA or PA.
    #[serde(default)]
    pub maps: Vec<Located<MapEntry>>,
    /// Fields of the CD that are not as drivers leave them, by their architectural names.
    #[serde(default)]
    pub cd: BTreeMap<String, Located<Number>>,
}

/// A range of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MapEntry {
    /// First input address.
    pub from: Located<Number>,
    /// First output address.
    pub to: Located<Number>,
    /// Bytes. By default one page.
    pub size: Option<Located<Number>>,
    /// Bytes of a page or block. By default the granule.
    pub page: Option<Located<Number>>,
    /// What is allowed. By default read-write.
    #[serde(default)]
    pub access: Access,
    /// Whether entries are for every ASID (nG=0). By default they are not.
    #[serde(default)]
    pub global: bool,
    /// Whether the Access flag is clear.
    #[serde(default)]
    pub unused: bool,
    /// Whether hardware may make it writable (DBM).
    #[serde(default)]
    pub dirty_by_hardware: bool,
}

/// What a mapping allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nothing; stage 2 only.
    None,
    /// Reading.
    Read,
    /// Writing; stage 2 only.
    Write,
    /// Both.
    #[default]
    ReadWrite,
}

/// A stream: what its STE says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StreamSection {
    /// StreamID.
    pub id: Located<Number>,
    /// Number of its SMMU. By default 0.
    #[serde(default)]
    pub smmu: Option<Located<Number>>,
    /// Stage 1 of transactions without a substream.
    pub stage1: Option<Located<String>>,
    /// Stage 1 by SubstreamID.
    #[serde(default)]
    pub substreams: BTreeMap<String, Located<String>>,
    /// Stage 2.
    pub stage2: Option<Located<String>>,
    /// Fields of the STE that are not as the above leaves them, by their architectural names.
    #[serde(default)]
    pub ste: BTreeMap<String, Located<Number>>,
}

/// Linux.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinuxSection {
    /// Which: a kernel (5.10, 6.1, 6.12, 7.2), the series as posted (v11, v12, v13) or fixed, with
    /// defects added or taken away (fixed+D7, v13-D1).
    pub semantics: Located<String>,
    /// Who may have a PASID table: all domains of a container as posted, or one group only.
    #[serde(default)]
    pub policy: Option<Located<Policy>>,
    /// What SET_IOMMU asks for. By default nesting where it works.
    pub iommu: Option<Located<IommuKind>>,
    /// Containers there are, by name.
    pub containers: Vec<Located<String>>,
    /// What devices are on until VFIO takes them. By default a domain of the DMA API's.
    #[serde(default)]
    pub default_domain: DefaultDomain,
    /// Where the guest sees the process's memory. By default 0x4000_0000.
    pub guest_base: Option<Located<Number>>,
    /// Bytes of that memory. By default 256 KiB.
    pub guest_size: Option<Located<Number>>,
}

/// Where a device is that nobody has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultDomain {
    /// On a domain of the DMA API's.
    #[default]
    Dma,
    /// Passed through (`iommu.passthrough=1`).
    Identity,
}

/// Who may have a PASID table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// (A) Every domain of the container gets it.
    AllDomains,
    /// (B) Refused unless the container holds one group.
    OneGroup,
}

/// Argument of SET_IOMMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IommuKind {
    /// VFIO_TYPE1_IOMMU.
    Type1,
    /// VFIO_TYPE1v2_IOMMU.
    Type1v2,
    /// VFIO_TYPE1_NESTING_IOMMU.
    Nesting,
}

/// A PCI bridge.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BridgeSection {
    /// What it is called.
    pub name: Located<String>,
    /// What it does.
    pub kind: BridgeKind,
    /// Number of the bus below it.
    pub bus: u8,
    /// The bridge above it; none is the root complex.
    pub below: Option<Located<String>>,
}

/// What a bridge does to requests from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BridgeKind {
    /// A port with access control: requests keep their ID, and what is below is kept apart.
    IsolatingPort,
    /// A port without: what is below shares a group.
    Port,
    /// PCIe to conventional PCI: requests get the bridge's ID, and what is below shares a group.
    PcieToPci,
}

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceSection {
    /// What it is called.
    pub name: Located<String>,
    /// Slot on its bus.
    pub slot: u8,
    /// Function. By default 0.
    #[serde(default)]
    pub function: u8,
    /// The bridge above it; none is the root complex.
    pub below: Option<Located<String>>,
    /// Number of its SMMU. By default 0.
    #[serde(default)]
    pub smmu: Option<Located<Number>>,
    /// Further StreamIDs firmware lists for it, perhaps one it has already.
    #[serde(default)]
    pub aliases: Vec<Located<Number>>,
    /// Whether it is plugged in later, by a `plug` step.
    #[serde(default)]
    pub absent: bool,
}

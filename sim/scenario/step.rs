//! Steps: what is done, what is to fail, what is expected.

mod device;
mod expect;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::MapEntry;
use super::source::{Diagnostic, Located, Number, Span};

pub use device::{IrqField, IrqInfo, ReadRegion, RegionField, RegionInfo, RegionName, WriteRegion};
pub use expect::{Counter, Expect, OutcomeName};

/// A step: one thing that is done, or nothing to have a look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// What happens, in a sentence.
    pub say: Option<String>,
    /// A device's access.
    pub dma: Option<Located<Dma>>,
    /// Tables are filled, as by software that forgets no store and no TLB.
    pub map: Option<Located<Map>>,
    /// Mappings are cleared, without an invalidation.
    pub unmap: Option<Located<Unmap>>,
    /// A mapping is overwritten in one store, without an invalidation.
    pub rewrite: Option<Located<Rewrite>>,
    /// Fields of an STE are changed in memory. Machines without Linux.
    pub ste: Option<Located<ChangeSte>>,
    /// Fields of a CD are changed in memory. Machines without Linux.
    pub cd: Option<Located<ChangeCd>>,
    /// A register is written, or read. Machines without Linux.
    pub register: Option<Located<Register>>,
    /// A command is put into the queue and consumed. Machines without Linux.
    pub command: Option<Located<QueuedCommand>>,
    /// A group joins a container: GROUP_SET_CONTAINER, and SET_IOMMU for the first. Linux.
    pub attach: Option<Located<Attach>>,
    /// A group leaves its container: GROUP_UNSET_CONTAINER. Linux.
    pub detach: Option<Located<DeviceName>>,
    /// A device is unplugged. Linux.
    pub remove: Option<Located<DeviceName>>,
    /// An absent device is plugged in: the driver probes it. Linux.
    pub plug: Option<Located<DeviceName>>,
    /// A device is opened: GROUP_GET_DEVICE_FD. Linux.
    pub open_device: Option<Located<DeviceName>>,
    /// A device's file is closed. Linux.
    pub close_device: Option<Located<DeviceName>>,
    /// GET_REGION_INFO of an open device. Linux with the series.
    pub region_info: Option<Located<RegionInfo>>,
    /// GET_IRQ_INFO of an open device. Linux.
    pub irq_info: Option<Located<IrqInfo>>,
    /// Four bytes of a region of an open device are read. Linux with the series.
    pub read_region: Option<Located<ReadRegion>>,
    /// Four bytes of a region of an open device are written. Linux with the series.
    pub write_region: Option<Located<WriteRegion>>,
    /// MAP_DMA. Linux.
    pub map_dma: Option<Located<MapDma>>,
    /// UNMAP_DMA. Linux.
    pub unmap_dma: Option<Located<UnmapDma>>,
    /// SET_PASID_TABLE with flag SET. Linux with the series.
    pub set_pasid_table: Option<Located<SetPasidTable>>,
    /// SET_PASID_TABLE with flag UNSET. Linux with the series.
    pub unset_pasid_table: Option<Located<ContainerName>>,
    /// CACHE_INVALIDATE. Linux with the series.
    pub cache_invalidate: Option<Located<CacheInvalidate>>,
    /// SET_MSI_BINDING with flag BIND. Linux with the series.
    pub bind_msi: Option<Located<BindMsi>>,
    /// SET_MSI_BINDING with flag UNBIND. Linux with the series.
    pub unbind_msi: Option<Located<UnbindMsi>>,
    /// What is to fail in this step.
    pub fail: Option<Located<Fail>>,
    /// What must come of it.
    pub expect: Option<Located<Expect>>,
}

/// What a step does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation<'a> {
    Look,
    Dma(&'a Dma),
    Map(&'a Map),
    Unmap(&'a Unmap),
    Rewrite(&'a Rewrite),
    Ste(&'a ChangeSte),
    Cd(&'a ChangeCd),
    Register(&'a Register),
    Command(&'a QueuedCommand),
    Attach(&'a Attach),
    Detach(&'a DeviceName),
    Remove(&'a DeviceName),
    Plug(&'a DeviceName),
    OpenDevice(&'a DeviceName),
    CloseDevice(&'a DeviceName),
    RegionInfo(&'a RegionInfo),
    IrqInfo(&'a IrqInfo),
    ReadRegion(&'a ReadRegion),
    WriteRegion(&'a WriteRegion),
    MapDma(&'a MapDma),
    UnmapDma(&'a UnmapDma),
    SetPasidTable(&'a SetPasidTable),
    UnsetPasidTable(&'a ContainerName),
    CacheInvalidate(&'a CacheInvalidate),
    BindMsi(&'a BindMsi),
    UnbindMsi(&'a UnbindMsi),
}

/// Which machines have an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Any,
    Bare,
    Linux,
}

/// An operation with its key and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Written<'a> {
    pub(super) key: &'static str,
    pub(super) home: Home,
    pub(super) span: Span,
    pub(super) operation: Operation<'a>,
}

macro_rules! operations {
    ($step:expr, [$($field:ident $key:literal $variant:ident $home:ident),* $(,)?]) => {{
        let mut written = Vec::new();
        $(if let Some(operation) = &$step.$field {
            written.push(Written {
                key: $key,
                home: Home::$home,
                span: operation.span(),
                operation: Operation::$variant(operation),
            });
        })*
        written
    }};
}

impl Step {
    /// Everything it is told to do; more than one is a mistake.
    pub(super) fn operations(&self) -> Vec<Written<'_>> {
        operations!(self, [
            dma "dma" Dma Any,
            map "map" Map Any,
            unmap "unmap" Unmap Any,
            rewrite "rewrite" Rewrite Any,
            ste "ste" Ste Bare,
            cd "cd" Cd Bare,
            register "register" Register Bare,
            command "command" Command Bare,
            attach "attach" Attach Linux,
            detach "detach" Detach Linux,
            remove "remove" Remove Linux,
            plug "plug" Plug Linux,
            open_device "open-device" OpenDevice Linux,
            close_device "close-device" CloseDevice Linux,
            region_info "region-info" RegionInfo Linux,
            irq_info "irq-info" IrqInfo Linux,
            read_region "read-region" ReadRegion Linux,
            write_region "write-region" WriteRegion Linux,
            map_dma "map-dma" MapDma Linux,
            unmap_dma "unmap-dma" UnmapDma Linux,
            set_pasid_table "set-pasid-table" SetPasidTable Linux,
            unset_pasid_table "unset-pasid-table" UnsetPasidTable Linux,
            cache_invalidate "cache-invalidate" CacheInvalidate Linux,
            bind_msi "bind-msi" BindMsi Linux,
            unbind_msi "unbind-msi" UnbindMsi Linux,
        ])
    }
}

/// Refuses a failure that the operation cannot have.
pub(super) fn check_fail(
    fail: Option<&Located<Fail>>,
    written: &Written<'_>,
) -> Result<(), Diagnostic> {
    let Some(fail) = fail else { return Ok(()) };
    let is_dma = matches!(written.operation, Operation::Dma(_));
    let software = fail.step.is_some() || fail.nth.is_some() || fail.errno.is_some();
    let wrong = match (written.home, is_dma) {
        (_, true) if software => Some("a DMA fails at an address: say address = …"),
        (_, true) => None,
        (Home::Linux, false) if fail.address.is_some() => {
            Some("a system call fails at a step: say step = … or nth = …")
        }
        (Home::Linux, false) => None,
        (Home::Any | Home::Bare, false) => Some("only DMA and system calls are made to fail"),
    };
    match wrong {
        None => Ok(()),
        Some(help) => {
            let message = format!("{} cannot fail in this way", written.key);
            Err(Diagnostic::new(message, fail.span(), "this failure")
                .and(written.span.clone(), "of this operation")
                .help(help))
        }
    }
}

/// A device's access.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dma {
    /// StreamID, on machines without Linux.
    pub stream: Option<Located<Number>>,
    /// The device, on machines with Linux.
    pub device: Option<Located<String>>,
    /// SubstreamID (PASID).
    pub substream: Option<Located<Number>>,
    /// Input address.
    pub address: Located<Number>,
    /// What it does. By default it reads.
    #[serde(default)]
    pub access: DmaAccess,
    /// Whether it is privileged.
    #[serde(default)]
    pub privileged: bool,
    /// How often it is done; what is expected is of the last. By default once.
    pub times: Option<Located<Number>>,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DmaAccess {
    /// Reads data.
    #[default]
    Read,
    /// Writes data.
    Write,
    /// Reads, changes and writes.
    Atomic,
    /// Fetches an instruction.
    Execute,
}

/// Tables are filled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Name of a stage1 or stage2.
    pub table: Located<String>,
    /// What is mapped.
    pub entry: Located<MapEntry>,
}

/// Mappings are cleared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unmap {
    /// Name of a stage1 or stage2.
    pub table: Located<String>,
    /// First input address.
    pub from: Located<Number>,
    /// Bytes. By default what the block or page there maps.
    pub size: Option<Located<Number>>,
}

/// A mapping is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Name of a stage1 or stage2.
    pub table: Located<String>,
    /// What it maps from now on; of the size it has.
    pub entry: Located<MapEntry>,
}

/// Fields of an STE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSte {
    /// Whose.
    pub stream: Located<Number>,
    /// New values by the fields' architectural names.
    pub set: BTreeMap<String, Located<Number>>,
}

/// Fields of a CD.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCd {
    /// The stage 1 it belongs to.
    pub stage1: Located<String>,
    /// New values by the fields' architectural names.
    pub set: BTreeMap<String, Located<Number>>,
}

/// A register access.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Its name.
    pub name: Located<String>,
    /// What is written; it is read otherwise.
    pub write: Option<Located<Number>>,
    /// Number of the SMMU. By default 0.
    pub smmu: Option<Located<Number>>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuedCommand {
    /// Its name, with or without CMD_.
    pub name: Located<String>,
    /// Its fields by their architectural names; those left out are 0.
    #[serde(default)]
    pub fields: BTreeMap<String, Located<Number>>,
    /// Number of the SMMU. By default 0.
    pub smmu: Option<Located<Number>>,
}

/// A group joins a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// A device of the group.
    pub device: Located<String>,
    /// The container.
    pub container: Located<String>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceName {
    /// Its name.
    pub device: Located<String>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerName {
    /// Its name.
    pub container: Located<String>,
}

/// MAP_DMA.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapDma {
    /// The container.
    pub container: Located<String>,
    /// Address for devices. By default where the guest sees the memory.
    pub iova: Option<Located<Number>>,
    /// Which memory: the address at which the guest sees it. By default all of it.
    pub guest: Option<Located<Number>>,
    /// Bytes. By default up to the end of the guest's memory.
    pub size: Option<Located<Number>>,
    /// What devices may do. By default read and write.
    #[serde(default)]
    pub access: super::file::Access,
}

/// UNMAP_DMA.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnmapDma {
    /// The container.
    pub container: Located<String>,
    /// Address for devices.
    pub iova: Located<Number>,
    /// Bytes.
    pub size: Located<Number>,
}

/// SET_PASID_TABLE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SetPasidTable {
    /// The container.
    pub container: Located<String>,
    /// A stage1, whose context descriptor is the table.
    pub table: Option<Located<String>>,
    /// What is asked for instead of a table.
    pub config: Option<Located<PasidTableConfig>>,
    /// Number of the configuration instead of 1 (table), 2 (bypass) or 3 (abort).
    pub config_value: Option<Located<Number>>,
    /// Base_ptr instead of the table's.
    pub base_ptr: Option<Located<Number>>,
    /// log2 of the number of CDs. By default 0.
    pub pasid_bits: Option<Located<Number>>,
    /// Format of the table of CDs. By default 0, linear.
    pub s1fmt: Option<Located<Number>>,
    /// What transactions without a substream do. By default 0, which terminates them if there are
    /// substreams.
    pub s1dss: Option<Located<Number>>,
    /// Flags instead of SET (1); UNSET is 2.
    pub flags: Option<Located<Number>>,
    /// Outer argsz instead of the structure's size.
    pub argsz: Option<Located<Number>>,
}

/// What SET_PASID_TABLE asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PasidTableConfig {
    /// Stage 1 is bypassed.
    Bypass,
    /// Every transaction is aborted.
    Abort,
}

/// CACHE_INVALIDATE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheInvalidate {
    /// The container.
    pub container: Located<String>,
    /// How much.
    pub scope: Located<InvalidateScope>,
    /// Which caches, a set: 1 IOTLB, 2 device IOTLB, 4 PASID cache. By default 1.
    pub caches: Option<Located<Number>>,
    /// ASID, if it is said.
    pub asid: Option<Located<Number>>,
    /// First address.
    pub address: Option<Located<Number>>,
    /// Bytes of one entry. By default 4096.
    pub granule: Option<Located<Number>>,
    /// Entries. By default 1.
    pub count: Option<Located<Number>>,
}

/// How much is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidateScope {
    /// Everything of the guest.
    Domain,
    /// An address space.
    Pasid,
    /// Addresses in an address space.
    Address,
}

/// BIND.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindMsi {
    /// The container.
    pub container: Located<String>,
    /// Where devices of the guest write messages.
    pub iova: Located<Number>,
    /// The guest's doorbell.
    pub guest: Located<Number>,
}

/// UNBIND.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnbindMsi {
    /// The container.
    pub container: Located<String>,
    /// Where devices of the guest wrote messages.
    pub iova: Located<Number>,
}

/// What is to fail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// Linux: the first step of this name, such as iommu:copy_from_user.
    pub step: Option<Located<String>>,
    /// Linux: which of the steps of that name, or of all, counted from 1.
    pub nth: Option<Located<Number>>,
    /// Linux: with which error. By default the step's own.
    pub errno: Option<Located<String>>,
    /// Without Linux: a DMA's access to memory at this physical address is aborted.
    pub address: Option<Located<Number>>,
}

//! What the driver learns from the ID registers (`arm_smmu_device_hw_probe`), and the parameters
//! it gets from firmware, CPU and command line.

use iommu_core::Errno;
use smmu::spec::regs::{Idr0, Idr1, Idr3, Idr5};

use crate::platform::{Platform, SmmuId, Width};
use crate::regs;

/// Exception level the kernel runs at; from 5.11 on the driver uses EL2 StreamWorlds under VHE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMode {
    /// EL1, as in a virtual machine.
    El1,
    /// EL2 with the Virtualization Host Extensions.
    Vhe,
}

/// What a device attached to nothing does (`arm-smmu-v3.disable_bypass`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unattached {
    /// Aborts.
    Abort,
    /// Bypasses.
    Bypass,
}

/// How the driver waits for a SYNC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncWait {
    /// Polls CMDQ_CONS (`arm-smmu-v3.disable_msipolling`, or no MSIs).
    Cons,
    /// Polls memory that the SMMU writes, where it can.
    Msi,
}

/// Parameters of the driver that are not read from the SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Bytes of a CPU page.
    pub cpu_page: u64,
    /// Bits of a kernel virtual address: limits stage-1 input (`VA_BITS`).
    pub va_bits: u32,
    /// Where the kernel runs.
    pub cpu_mode: CpuMode,
    /// Devices attached to nothing.
    pub unattached: Unattached,
    /// Waiting for commands.
    pub sync_wait: SyncWait,
    /// log2 of the pages of the largest queue (`CONFIG_CMA_ALIGNMENT`).
    pub queue_order: u8,
    /// PREFETCH_CFG must not be sent (`ARM_SMMU_OPT_SKIP_PREFETCH`).
    pub prefetch: Prefetch,
}

/// Whether PREFETCH_CFG works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetch {
    /// After each STE write.
    Send,
    /// Never: an erratum.
    Skip,
}

impl Default for Params {
    /// An arm64 kernel with 4 KiB pages at EL1.
    fn default() -> Self {
        Self {
            cpu_page: 4096,
            va_bits: 48,
            cpu_mode: CpuMode::El1,
            unattached: Unattached::Abort,
            sync_wait: SyncWait::Cons,
            queue_order: 8,
            prefetch: Prefetch::Send,
        }
    }
}

/// What an SMMU can do, as far as the driver uses it (`smmu->features` and its neighbours).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the kernel's ARM_SMMU_FEAT_* and fields, in lower case"
)]
pub struct Features {
    pub two_level_strtab: bool,
    pub two_level_cdtab: bool,
    pub ats: bool,
    pub pri: bool,
    pub coherency: bool,
    pub msi: bool,
    pub hyp: bool,
    pub e2h: bool,
    pub stalls: bool,
    pub stall_force: bool,
    pub trans_s1: bool,
    pub trans_s2: bool,
    pub range_inv: bool,
    pub vax: bool,
    pub fwb: bool,
    pub attr_types_ovr: bool,
    pub asid_bits: u32,
    pub vmid_bits: u32,
    pub sid_bits: u32,
    pub ssid_bits: u32,
    pub ias: u32,
    pub oas: u32,
    pub pgsize_bitmap: u64,
    pub cmdq_log2: u8,
    pub evtq_log2: u8,
    pub priq_log2: u8,
}

/// Bits of a StreamID that the table of level 2 resolves (`STRTAB_SPLIT`).
pub(crate) const STRTAB_SPLIT: u32 = 8;

/// The smallest command queue: a batch and its SYNC must fit.
const CMDQ_MIN_LOG2: u8 = 6;

impl Features {
    /// Reads the ID registers.
    ///
    /// # Errors
    /// ENXIO if the part is none the driver can use: no translation, no AArch64 tables, queues
    /// that are too small or preset.
    pub fn read<P: Platform>(
        platform: &mut P,
        smmu: SmmuId,
        params: &Params,
    ) -> Result<Self, Errno> {
        let mut id = |offset| platform.mmio_read(smmu, offset, Width::W32) as u32;
        let idr0 = Idr0::from(id(regs::IDR0));
        let idr1 = Idr1::from(id(regs::IDR1));
        let idr3 = Idr3::from(id(regs::IDR3));
        let idr5 = Idr5::from(id(regs::IDR5));
        if !idr0.s1p() && !idr0.s2p() || idr0.ttf() & 2 == 0 {
            return Err(Errno::ENXIO);
        }
        if idr1.tables_preset() || idr1.queues_preset() || idr1.rel() {
            return Err(Errno::ENXIO);
        }
        let queue_bytes_log2 = params.cpu_page.trailing_zeros() as u8 + params.queue_order;
        let queue = |entry_log2: u8, part: u8| part.min(queue_bytes_log2 - entry_log2);
        let cmdq_log2 = queue(4, idr1.cmdqs());
        if cmdq_log2 <= CMDQ_MIN_LOG2 {
            return Err(Errno::ENXIO);
        }
        let mut pgsize_bitmap = 0;
        if idr5.gran64k() {
            pgsize_bitmap |= 1 << 16 | 1 << 29;
        }
        if idr5.gran16k() {
            pgsize_bitmap |= 1 << 14 | 1 << 25;
        }
        if idr5.gran4k() {
            pgsize_bitmap |= 1 << 12 | 1 << 21 | 1 << 30;
        }
        let oas = match idr5.oas() {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            6 => {
                pgsize_bitmap |= 1 << 42;
                52
            }
            _ => 48,
        };
        Ok(Self {
            two_level_strtab: idr0.st_level() == 1,
            two_level_cdtab: idr0.cd2l(),
            ats: idr0.ats(),
            pri: idr0.pri(),
            coherency: idr0.cohacc(),
            msi: idr0.msi(),
            hyp: idr0.hyp(),
            e2h: idr0.hyp() && params.cpu_mode == CpuMode::Vhe,
            stalls: matches!(idr0.stall_model(), 0 | 2),
            stall_force: idr0.stall_model() == 2,
            trans_s1: idr0.s1p(),
            trans_s2: idr0.s2p(),
            range_inv: idr3.ril(),
            vax: idr5.vax() == 1,
            fwb: idr3.fwb(),
            attr_types_ovr: idr1.attr_types_ovr(),
            asid_bits: if idr0.asid16() { 16 } else { 8 },
            vmid_bits: if idr0.vmid16() { 16 } else { 8 },
            sid_bits: idr1.sidsize().into(),
            ssid_bits: idr1.ssidsize().into(),
            // The stage-2 input size is at least 40 bits where AArch32 tables exist too.
            ias: if idr0.ttf() & 1 != 0 {
                oas.max(40)
            } else {
                oas
            },
            oas,
            pgsize_bitmap,
            cmdq_log2,
            evtq_log2: queue(5, idr1.eventqs()),
            priq_log2: queue(4, idr1.priqs()),
        })
    }

    /// Whether the stream table has two levels: only then if it is worth it.
    pub(crate) fn strtab_levels(&self) -> u32 {
        if self.two_level_strtab && self.sid_bits > STRTAB_SPLIT {
            2
        } else {
            1
        }
    }
}

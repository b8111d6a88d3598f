//! One SMMU as the driver knows it, from probe to reset (`arm_smmu_device_probe`,
//! `arm_smmu_device_reset`).

use std::collections::BTreeMap;

use iommu_core::{DeviceId, Errno};
use smmu::ids::StreamId;
use smmu::spec::attrs::Sh;
use smmu::spec::regs::{Cr0, Cr1, Cr2, Gbpa, IrqCtrl};

use crate::Command;
use crate::cmdq::{Batch, CommandQueue, Wait};
use crate::entry::Entry;
use crate::event::RecordQueue;
use crate::id_set::IdSet;
use crate::platform::{Platform, SmmuId, Width};
use crate::probe::{Features, Params};
use crate::regs;
use crate::ste::{WBRA, unattached_ste};
use crate::strtab::StreamTable;

/// One SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: SmmuId,
    pub(crate) features: Features,
    pub(crate) strtab: StreamTable,
    pub(crate) cmdq: CommandQueue,
    pub(crate) evtq: RecordQueue,
    pub(crate) priq: Option<RecordQueue>,
    pub(crate) vmids: IdSet,
    /// Whose StreamID it is: the kernel's tree of streams.
    pub(crate) streams: BTreeMap<StreamId, DeviceId>,
    /// What an STE nobody has written holds.
    pub(crate) initial: Entry,
}

/// How often an acknowledgement is polled.
const ACK_POLLS: u32 = 1000;

impl Instance {
    /// Probes and resets an SMMU.
    ///
    /// # Errors
    /// ENXIO if the driver cannot use the part, ENOMEM, ETIMEDOUT if it does not answer.
    pub(crate) fn probe<P: Platform>(
        platform: &mut P,
        id: SmmuId,
        params: &Params,
    ) -> Result<Self, Errno> {
        let features = Features::read(platform, id, params)?;
        let initial = unattached_ste(&features, params.unattached);
        let queue = |platform: &mut P, bytes| {
            platform
                .control_mut()
                .faults
                .step("driver:alloc_queue", Errno::ENOMEM)?;
            platform.alloc(bytes).ok_or(Errno::ENOMEM)
        };
        let cmdq = queue(platform, CommandQueue::bytes(features.cmdq_log2))?;
        let evtq = queue(platform, RecordQueue::event_bytes(features.evtq_log2))?;
        let priq = if features.pri {
            Some(queue(platform, RecordQueue::pri_bytes(features.priq_log2))?)
        } else {
            None
        };
        let strtab = StreamTable::new(platform, &features, &initial)?;
        let mut instance = Self {
            id,
            strtab,
            cmdq: CommandQueue::new(cmdq, features.cmdq_log2),
            evtq: RecordQueue::events(evtq, features.evtq_log2),
            priq: priq.map(|base| RecordQueue::page_requests(base, features.priq_log2)),
            vmids: IdSet::default(),
            streams: BTreeMap::new(),
            initial,
            features,
        };
        instance.reset(platform, params)?;
        Ok(instance)
    }

    /// Programs the SMMU from scratch and enables it.
    fn reset<P: Platform>(&mut self, platform: &mut P, params: &Params) -> Result<(), Errno> {
        let id = self.id;
        tracing::info!(target: "arm_smmu_v3::reset", smmu = id.0, "reset");
        let write32 = |platform: &mut P, offset, value: u32| {
            platform.mmio_write(id, offset, Width::W32, value.into());
        };
        let write64 = |platform: &mut P, offset, value| {
            platform.mmio_write(id, offset, Width::W64, value);
        };
        let cr0 = Cr0::from(platform.mmio_read(id, regs::CR0, Width::W32) as u32);
        if cr0.smmuen() {
            self.abort_when_disabled(platform)?;
        }
        self.write_acknowledged(platform, regs::CR0, 0)?;
        let cr1 = Cr1::new()
            .with_table_sh(Sh::InnerShareable.0)
            .with_table_oc(WBRA)
            .with_table_ic(WBRA)
            .with_queue_sh(Sh::InnerShareable.0)
            .with_queue_oc(WBRA)
            .with_queue_ic(WBRA);
        write32(platform, regs::CR1, cr1.into());
        let cr2 = Cr2::new()
            .with_ptm(true)
            .with_recinvsid(true)
            .with_e2h(self.features.e2h);
        write32(platform, regs::CR2, cr2.into());
        write64(platform, regs::STRTAB_BASE, self.strtab.base_register());
        write32(
            platform,
            regs::STRTAB_BASE_CFG,
            self.strtab.config_register(),
        );

        write64(platform, regs::CMDQ_BASE, self.cmdq.base_register());
        write32(platform, regs::CMDQ_PROD, 0);
        write32(platform, regs::CMDQ_CONS, 0);
        let mut enables = Cr0::new().with_cmdqen(true);
        self.write_acknowledged(platform, regs::CR0, enables.into())?;
        if self.features.msi
            && self.features.coherency
            && params.sync_wait == crate::probe::SyncWait::Msi
        {
            self.cmdq.sync_to_memory();
        }
        // A timeout is printed, and the reset goes on.
        let _logged = self.issue_sync(platform, &[Command::CfgiAll]);
        if self.features.hyp {
            let _logged = self
                .cmdq
                .issue(platform, id, &[Command::TlbiEl2All], Wait::No);
        }
        let _logged = self.issue_sync(platform, &[Command::TlbiNsnhAll]);

        write64(platform, regs::EVTQ_BASE, self.evtq.base_register());
        write32(platform, regs::EVTQ_PROD, 0);
        write32(platform, regs::EVTQ_CONS, 0);
        enables.set_eventqen(true);
        self.write_acknowledged(platform, regs::CR0, enables.into())?;
        if let Some(priq) = &self.priq {
            write64(platform, regs::PRIQ_BASE, priq.base_register());
            write32(platform, regs::PRIQ_PROD, 0);
            write32(platform, regs::PRIQ_CONS, 0);
            enables.set_priqen(true);
            self.write_acknowledged(platform, regs::CR0, enables.into())?;
        }
        if self.features.ats {
            enables.set_atschk(true);
            self.write_acknowledged(platform, regs::CR0, enables.into())?;
        }
        self.enable_interrupts(platform)?;
        enables.set_smmuen(true);
        self.write_acknowledged(platform, regs::CR0, enables.into())
    }

    /// Wired interrupts for errors and records (`arm_smmu_setup_irqs`).
    fn enable_interrupts<P: Platform>(&self, platform: &mut P) -> Result<(), Errno> {
        self.write_acknowledged(platform, regs::IRQ_CTRL, 0)?;
        platform.mmio_write(self.id, regs::GERROR_IRQ_CFG0, Width::W64, 0);
        platform.mmio_write(self.id, regs::EVTQ_IRQ_CFG0, Width::W64, 0);
        if self.priq.is_some() {
            platform.mmio_write(self.id, regs::PRIQ_IRQ_CFG0, Width::W64, 0);
        }
        let irqs = IrqCtrl::new()
            .with_gerror_irqen(true)
            .with_eventq_irqen(true)
            .with_priq_irqen(self.priq.is_some());
        self.write_acknowledged(platform, regs::IRQ_CTRL, irqs.into())
    }

    /// A disabled SMMU shall abort until it is programmed (`arm_smmu_update_gbpa`).
    fn abort_when_disabled<P: Platform>(&self, platform: &mut P) -> Result<(), Errno> {
        let gbpa = Gbpa::from(platform.mmio_read(self.id, regs::GBPA, Width::W32) as u32);
        let wanted: u32 = gbpa.with_abort(true).with_update(true).into();
        platform.mmio_write(self.id, regs::GBPA, Width::W32, wanted.into());
        for _ in 0..ACK_POLLS {
            let gbpa = Gbpa::from(platform.mmio_read(self.id, regs::GBPA, Width::W32) as u32);
            if !gbpa.update() {
                return Ok(());
            }
            platform.relax(self.id);
        }
        Err(Errno::ETIMEDOUT)
    }

    /// Writes a register whose effect shows in its neighbour (`arm_smmu_write_reg_sync`).
    fn write_acknowledged<P: Platform>(
        &self,
        platform: &mut P,
        offset: u32,
        value: u32,
    ) -> Result<(), Errno> {
        let ack = if offset == regs::CR0 {
            regs::CR0ACK
        } else {
            regs::IRQ_CTRLACK
        };
        platform.mmio_write(self.id, offset, Width::W32, value.into());
        for _ in 0..ACK_POLLS {
            if platform.mmio_read(self.id, ack, Width::W32) == u64::from(value) {
                return Ok(());
            }
            platform.relax(self.id);
        }
        Err(Errno::ETIMEDOUT)
    }

    /// Issues commands and a SYNC, and waits.
    ///
    /// # Errors
    /// ETIMEDOUT.
    pub(crate) fn issue_sync<P: Platform>(
        &mut self,
        platform: &mut P,
        commands: &[Command],
    ) -> Result<(), Errno> {
        self.cmdq.issue(platform, self.id, commands, Wait::Sync)
    }

    /// Adds a command to a batch for this SMMU.
    pub(crate) fn batch_add<P: Platform>(
        &mut self,
        platform: &mut P,
        batch: &mut Batch,
        command: Command,
    ) {
        batch.add(platform, self.id, &mut self.cmdq, command);
    }

    /// Issues what a batch holds, with a SYNC.
    ///
    /// # Errors
    /// ETIMEDOUT.
    pub(crate) fn batch_submit<P: Platform>(
        &mut self,
        platform: &mut P,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        batch.submit(platform, self.id, &mut self.cmdq)
    }
}

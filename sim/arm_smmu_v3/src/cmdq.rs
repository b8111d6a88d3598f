//! The command queue: commands go in as batches, the last of which ends in a SYNC that is waited
//! for (`arm_smmu_cmdq_issue_cmdlist`). One CPU: slots are filled and published in one go.

use iommu_core::Errno;
use smmu::addr::Pa;
use smmu::spec::regs::{CmdqBase, CmdqCons};

use crate::command::Command;
use crate::platform::{Platform, SmmuId, Width};
use crate::{gerror, regs};

/// Commands of a batch (`CMDQ_BATCH_ENTRIES`).
pub const BATCH: usize = 64;

/// How often a full or unfinished queue is polled before the driver gives up: its one second.
const POLLS: u32 = 1000;

/// Position in a queue: index, wrap bit above it (IHI 0070 §3.5).
pub(crate) fn slot(position: u32, log2: u8) -> u64 {
    u64::from(position & ((1 << log2) - 1))
}

/// The position `count` entries on.
pub(crate) fn advance(position: u32, count: u32, log2: u8) -> u32 {
    (position + count) & ((2 << log2) - 1)
}

/// Software's side of the command queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandQueue {
    base: Pa,
    log2: u8,
    prod: u32,
    cons: u32,
    /// Where a SYNC's completion is written, if the driver waits there.
    sync_to_memory: bool,
}

impl CommandQueue {
    pub(crate) fn new(base: Pa, log2: u8) -> Self {
        Self {
            base,
            log2,
            prod: 0,
            cons: 0,
            sync_to_memory: false,
        }
    }

    /// From here on SYNCs write their completion to their slot.
    pub(crate) fn sync_to_memory(&mut self) {
        self.sync_to_memory = true;
    }

    /// CMDQ_BASE.
    pub(crate) fn base_register(&self) -> u64 {
        CmdqBase::new()
            .with_log2size(self.log2)
            .with_addr(self.base.get() >> 5)
            .with_ra(true)
            .into()
    }

    /// Bytes of the queue.
    pub(crate) fn bytes(log2: u8) -> u64 {
        16 << log2
    }

    /// Where the command at `position` is.
    pub(crate) fn slot_pa(&self, position: u32) -> Pa {
        self.base.add(slot(position, self.log2) * 16)
    }

    /// Commands queued and not yet consumed, as far as is known.
    fn used(&self) -> u32 {
        self.prod.wrapping_sub(self.cons) & ((2 << self.log2) - 1)
    }

    /// Puts `commands` into the queue and publishes them; with [`Wait::Sync`], a SYNC after them,
    /// which is waited for.
    ///
    /// # Errors
    /// ETIMEDOUT if the SMMU does not consume them. What was queued stays queued.
    pub(crate) fn issue<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        commands: &[Command],
        wait: Wait,
    ) -> Result<(), Errno> {
        let sync = wait == Wait::Sync;
        let count = commands.len() as u32 + u32::from(sync);
        let space = (1 << self.log2) - count;
        self.poll(platform, smmu, |queue| queue.used() <= space)?;
        let mut position = self.prod;
        for command in commands {
            self.put(platform, smmu, position, *command);
            position = advance(position, 1, self.log2);
        }
        let sync_at = position;
        if sync {
            let msi = self.sync_to_memory.then(|| self.slot_pa(position));
            self.put(platform, smmu, position, Command::Sync { msi });
            position = advance(position, 1, self.log2);
        }
        self.prod = position;
        platform.mmio_write(smmu, regs::CMDQ_PROD, Width::W32, position.into());
        if !sync {
            return Ok(());
        }
        platform
            .control_mut()
            .step("driver:cmd_sync", Errno::ETIMEDOUT)?;
        if self.sync_to_memory {
            let at = self.slot_pa(sync_at);
            let mut done = false;
            for _ in 0..POLLS {
                platform.relax(smmu);
                // The MSI replaces the command's first word by its data, zero.
                done = platform.load(at) as u32 == 0;
                if done {
                    break;
                }
                gerror::handle(platform, smmu, self);
            }
            return if done { Ok(()) } else { Err(Errno::ETIMEDOUT) };
        }
        self.poll(platform, smmu, |queue| queue.passed(sync_at))
    }

    fn put<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        position: u32,
        command: Command,
    ) {
        platform.write_words(self.slot_pa(position), &command.words());
        platform.issued(smmu, command);
    }

    /// Whether the SMMU has consumed the command at `position`, queued earlier
    /// (`queue_consumed`).
    fn passed(&self, position: u32) -> bool {
        let behind = self.prod.wrapping_sub(position) & ((2 << self.log2) - 1);
        self.used() < behind
    }

    /// Lets the SMMU run and reads CONS until `ready`.
    fn poll<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        ready: impl Fn(&Self) -> bool,
    ) -> Result<(), Errno> {
        for _ in 0..POLLS {
            if ready(self) {
                return Ok(());
            }
            platform.relax(smmu);
            let cons = platform.mmio_read(smmu, regs::CMDQ_CONS, Width::W32) as u32;
            self.cons = CmdqCons::from(cons).rd() & ((2 << self.log2) - 1);
            if !ready(self) {
                gerror::handle(platform, smmu, self);
            }
        }
        if ready(self) {
            return Ok(());
        }
        tracing::warn!(target: "arm_smmu_v3::cmdq", smmu = smmu.0, prod = self.prod, cons = self.cons, "CMD_SYNC timeout");
        Err(Errno::ETIMEDOUT)
    }

    /// The command at `position` as it is in memory.
    pub(crate) fn command_at<P: Platform>(&self, platform: &P, position: u32) -> [u64; 2] {
        let at = self.slot_pa(position);
        [platform.load(at), platform.load(at.add(8))]
    }

    /// Overwrites the command at `position` by a SYNC.
    pub(crate) fn replace_by_sync<P: Platform>(&self, platform: &mut P, position: u32) {
        let sync = Command::Sync { msi: None };
        platform.write_words(self.slot_pa(position), &sync.words());
    }
}

/// Whether commands are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A SYNC follows and is waited for.
    Sync,
    /// More will follow.
    No,
}

/// Commands collected for one queue (`struct arm_smmu_cmdq_batch`).
#[derive(Debug)]
pub(crate) struct Batch {
    commands: Vec<Command>,
    failed: Result<(), Errno>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            commands: Vec::new(),
            failed: Ok(()),
        }
    }

    /// Whether nothing was added since the last submission.
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Adds a command; a full batch is issued first, without waiting.
    pub(crate) fn add<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        queue: &mut CommandQueue,
        command: Command,
    ) {
        if self.commands.len() == BATCH {
            let issued = queue.issue(platform, smmu, &self.commands, Wait::No);
            self.failed = self.failed.and(issued);
            self.commands.clear();
        }
        self.commands.push(command);
    }

    /// Issues what was collected, perhaps nothing, with a SYNC.
    ///
    /// # Errors
    /// ETIMEDOUT of this or an earlier part.
    pub(crate) fn submit<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        queue: &mut CommandQueue,
    ) -> Result<(), Errno> {
        let issued = queue.issue(platform, smmu, &self.commands, Wait::Sync);
        self.commands.clear();
        std::mem::replace(&mut self.failed, Ok(())).and(issued)
    }
}

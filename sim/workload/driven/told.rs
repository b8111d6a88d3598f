//! A board that tells what the driver on it does to memory and queues, in order: the operations of a
//! workload.

use std::collections::VecDeque;
use std::ops::Range;

use arm_smmu_v3::{AtsState, Command, Platform, SmmuId};
use iommu_core::{Control, Errno};
use smmu::Smmu;
use smmu::addr::Pa;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::regfile::{Width, register_offset};
use smmu::timing::Operation;

use crate::board::Board;

/// A machine on which, somewhere below, a [`Told`] is.
pub(super) trait Tells: Platform {
    /// The board that tells.
    fn told(&mut self) -> &mut Told;

    /// What has gone wrong where nobody could be told.
    ///
    /// # Errors
    /// The first of it.
    fn trouble(&self) -> Result<(), Errno>;
}

/// The bytes of the command queue that a CMDQ_BASE describes (IHI 0070 §6.3.26).
pub(super) fn queue_of(base: u64) -> Range<u64> {
    let first = base & 0x00ff_ffff_ffff_ffe0;
    first..first + (16 << (base & 0x1f))
}

/// The board.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    board: Board,
    operations: VecDeque<Operation>,
    /// Where the command queue is: commands are told as such, not as stores. `None` while the
    /// machine boots, of which nothing is told.
    queue: Option<Range<u64>>,
    /// The CPU polls for a CMD_SYNC: whatever it does next comes after that.
    waits: bool,
}

impl Told {
    pub(super) fn new(board: Board) -> Self {
        Self {
            board,
            operations: VecDeque::new(),
            queue: None,
            waits: false,
        }
    }

    /// From now on it tells. Memory as it is goes to `ram`; the SMMU, programmed, is returned.
    pub(super) fn listen(&mut self, ram: &Ram) -> Smmu {
        let base = register_offset("CMDQ_BASE")
            .map_or(0, |offset| self.mmio_read(SmmuId(0), offset, Width::W64));
        self.queue = Some(queue_of(base));
        self.waits = false;
        let mut port = ram.port();
        self.board.ram().for_each_page(|page, words| {
            for (offset, word) in (0..).step_by(8).zip(words) {
                let value = word.load(std::sync::atomic::Ordering::Relaxed);
                // Both memories have the same areas.
                let _inside = port.write64(page.add(offset), value, AccessClass::Stage1);
            }
        });
        self.board.smmu(SmmuId(0)).clone()
    }

    /// What happened since the last call follows `pending`.
    pub(super) fn take(&mut self, pending: &mut VecDeque<Operation>) {
        pending.append(&mut self.operations);
    }

    /// Stores without telling: memory that no SMMU reads.
    pub(super) fn store_aside(&mut self, pa: Pa, value: u64) {
        self.board.store(pa, value);
    }

    fn tell(&mut self, operation: Operation) {
        if self.queue.is_none() {
            return;
        }
        if std::mem::take(&mut self.waits) {
            self.operations.push_back(Operation::AwaitCommands);
        }
        self.operations.push_back(operation);
    }
}

impl Tells for Told {
    fn told(&mut self) -> &mut Told {
        self
    }

    fn trouble(&self) -> Result<(), Errno> {
        Ok(())
    }
}

impl Platform for Told {
    fn control(&self) -> &Control {
        self.board.control()
    }

    fn control_mut(&mut self) -> &mut Control {
        self.board.control_mut()
    }

    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64 {
        self.board.mmio_read(smmu, offset, width)
    }

    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64) {
        // Once the SMMU is set up only the command queue's pointer moves, which commands tell.
        self.board.mmio_write(smmu, offset, width, value);
    }

    fn relax(&mut self, smmu: SmmuId) {
        self.waits = true;
        self.board.relax(smmu);
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.board.alloc(bytes)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        // The board clears what is freed: whoever has the page next finds zeros.
        for offset in (0..bytes).step_by(8) {
            let at = pa.add(offset);
            if self.board.load(at) != 0 {
                self.store(at, 0);
            }
        }
        self.board.free(pa, bytes);
    }

    fn load(&self, pa: Pa) -> u64 {
        self.board.load(pa)
    }

    fn store(&mut self, pa: Pa, value: u64) {
        self.board.store(pa, value);
        let in_queue = |queue: &Range<u64>| queue.contains(&pa.get());
        if !self.queue.as_ref().is_some_and(in_queue) {
            self.tell(Operation::Store { pa, value });
        }
    }

    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.board.set_ats(smmu, stream, state)
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        self.board.issued(smmu, command);
        self.tell(Operation::Command(command.words()));
    }
}

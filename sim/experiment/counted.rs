//! A board that counts what the driver does to it.

use arm_smmu_v3::{AtsState, Command, Platform, SmmuId};
use iommu_core::{Control, Errno};
use smmu::addr::Pa;
use smmu::ids::StreamId;
use smmu::regfile::Width;

use crate::board::Board;

/// The board, with counters of 64-bit stores and of commands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    pub(super) board: Board,
    pub(super) stores: u64,
    pub(super) commands: u64,
}

impl Counted {
    pub(super) fn new(board: Board) -> Self {
        Self {
            board,
            stores: 0,
            commands: 0,
        }
    }
}

impl Platform for Counted {
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
        self.board.mmio_write(smmu, offset, width, value);
    }

    fn relax(&mut self, smmu: SmmuId) {
        self.board.relax(smmu);
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.board.alloc(bytes)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        self.board.free(pa, bytes);
    }

    fn load(&self, pa: Pa) -> u64 {
        self.board.load(pa)
    }

    fn store(&mut self, pa: Pa, value: u64) {
        self.stores += 1;
        self.board.store(pa, value);
    }

    fn read_words(&self, pa: Pa, words: &mut [u64]) {
        self.board.read_words(pa, words);
    }

    fn write_words(&mut self, pa: Pa, words: &[u64]) {
        self.stores += words.len() as u64;
        self.board.write_words(pa, words);
    }

    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.board.set_ats(smmu, stream, state)
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        self.commands += 1;
        self.board.issued(smmu, command);
    }
}

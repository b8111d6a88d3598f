//! The real driver over the real SMMU model as the machine below VFIO.

use arm_smmu_v3::{Driver, Firmware, Params, SmmuId, Support};
use iommu_core::ops::{Prot, ResvRegion};
use iommu_core::{Control, Errno, Paddr};
use smmu::Transaction;
use smmu::addr::Iova;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;

use super::bus::{Bus, Endpoint};
use super::machine::{Hardware, MachineConfig, Slot, Topology};
use crate::board::{Board, BoardConfig};

impl Bus for Driver<Board> {
    fn access(&mut self, endpoint: &Endpoint, iova: u64, wanted: Prot) -> Option<Paddr> {
        let stream = StreamId::new(endpoint.stream);
        let transaction = if wanted.contains(Prot::WRITE) {
            Transaction::write(stream, Iova::new(iova))
        } else {
            Transaction::read(stream, Iova::new(iova))
        };
        let outcome = self
            .platform_mut()
            .access(SmmuId(endpoint.smmu), &transaction);
        outcome.pa().map(|pa| Paddr(pa.get()))
    }
}

impl Hardware for Driver<Board> {
    fn build(config: &MachineConfig) -> Result<Self, Errno> {
        let both = SmmuConfig::qemu_11();
        let second = match config.topology {
            Topology::One => None,
            Topology::Two => Some(both.clone()),
            Topology::Mixed => Some(SmmuConfig {
                s1p: false,
                ..both.clone()
            }),
        };
        let parts: Vec<SmmuConfig> = [both].into_iter().chain(second).collect();
        let count = parts.len() as u32;
        let control = Control::new(config.semantics.clone());
        // The parts are presets, and RAM is where the board has it by default.
        let board = Board::new(control, &BoardConfig::new(parts)).map_err(|_| Errno::ENODEV)?;
        let params = Params {
            cpu_page: config.page_size,
            ..Params::default()
        };
        Self::probe(board, params, count)
    }

    fn firmware(slot: &Slot, reserved: Vec<ResvRegion>) -> Firmware {
        Firmware {
            reserved,
            // QEMU's firmware tables do not claim it (IORT: CANWBS).
            coherent: Support::No,
            ..Firmware::new(SmmuId(slot.smmu), StreamId::new(slot.stream))
        }
    }
}

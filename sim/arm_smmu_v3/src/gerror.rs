//! Global errors (`arm_smmu_gerror_handler`) and what is done about a command the SMMU refuses
//! (`__arm_smmu_cmdq_skip_err`).

use smmu::spec::regs::{CmdqCons, Gerror};

use crate::cmdq::CommandQueue;
use crate::platform::{Platform, SmmuId, Width};
use crate::regs;

const CERROR_NONE: u8 = 0;
const CERROR_ABT: u8 = 2;
const CERROR_ATC_INV: u8 = 3;

/// What one run of the handler found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalError {
    /// Nothing: the interrupt was spurious.
    None,
    /// Something was handled and acknowledged.
    Handled(Gerror),
    /// Service failure mode: the SMMU has been disabled.
    ServiceFailure,
}

/// Handles and acknowledges active global errors.
pub(crate) fn handle<P: Platform>(
    platform: &mut P,
    smmu: SmmuId,
    queue: &mut CommandQueue,
) -> GlobalError {
    let gerror = platform.mmio_read(smmu, regs::GERROR, Width::W32) as u32;
    let gerrorn = platform.mmio_read(smmu, regs::GERRORN, Width::W32) as u32;
    let active = Gerror::from(gerror ^ gerrorn);
    if u32::from(active) & KNOWN == 0 {
        return GlobalError::None;
    }
    tracing::debug!(target: "arm_smmu_v3::gerror", smmu = smmu.0, gerror, "global error");
    if active.sfm_err() {
        platform.mmio_write(smmu, regs::CR0, Width::W32, 0);
        return GlobalError::ServiceFailure;
    }
    if active.cmdq_err() {
        skip_error(platform, smmu, queue);
    }
    platform.mmio_write(smmu, regs::GERRORN, Width::W32, gerror.into());
    GlobalError::Handled(active)
}

/// The bits the driver knows (`GERROR_ERR_MASK`).
const KNOWN: u32 = 0x1fd;

/// An illegal command is overwritten by a SYNC; an abort is retried as it is, and so is the SYNC
/// that waited in vain for an ATC invalidation.
fn skip_error<P: Platform>(platform: &mut P, smmu: SmmuId, queue: &CommandQueue) {
    let cons = CmdqCons::from(platform.mmio_read(smmu, regs::CMDQ_CONS, Width::W32) as u32);
    match cons.err() {
        CERROR_NONE | CERROR_ABT | CERROR_ATC_INV => {}
        // CERROR_ILL, and codes the driver does not know.
        _ => {
            let command = queue.command_at(platform, cons.rd());
            tracing::debug!(target: "arm_smmu_v3::gerror", smmu = smmu.0, opcode = command[0] & 0xff, "skipping command in error state");
            queue.replace_by_sync(platform, cons.rd());
        }
    }
}

//! What a driver does to a board, beside the journal of its calls.

use arm_smmu_v3::{Command, SmmuId};
use smmu::addr::Pa;

/// What the driver did to the hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A word stored to memory.
    Store {
        /// Where.
        pa: Pa,
        /// What.
        value: u64,
    },
    /// A command issued.
    Command {
        /// To which SMMU.
        smmu: SmmuId,
        /// Which.
        command: Command,
    },
}

/// What the journal held when something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Calls that had returned.
    pub calls: usize,
    /// Steps that had been made to fail.
    pub failures: usize,
}

/// Deeds in order. History, not state: any two are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Deeds {
    pub(super) list: Vec<(Moment, Deed)>,
}

impl PartialEq for Deeds {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

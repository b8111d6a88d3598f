//! The device a trace drives: bare, or with the sanitizer beside it.

use smmu::cache::{CacheConfig, CacheError};
use smmu::mem::PhysMem;
use smmu::observe::Observer;
use smmu::regfile::Width;
use smmu::sanitize::{Finding, Sanitizer, SanitizerConfig};
use smmu::{CommandStep, Outcome, Smmu, Transaction};

/// Whether mistakes of the driver are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// No.
    Off,
    /// The sanitizer runs beside the device.
    Sanitizer,
}

/// The device.
#[derive(Debug)]
pub(super) enum Device {
    Bare(Box<Smmu>),
    Watched(Box<Sanitizer>),
}

impl Device {
    pub(super) fn new(smmu: Smmu, watch: Watch) -> Result<Self, CacheError> {
        Ok(match watch {
            Watch::Off => Self::Bare(Box::new(smmu)),
            Watch::Sanitizer => {
                let config = SanitizerConfig {
                    shadow: CacheConfig::INFINITE,
                    ..SanitizerConfig::default()
                };
                Self::Watched(Box::new(Sanitizer::new(smmu, &config)?))
            }
        })
    }

    pub(super) fn smmu(&self) -> &Smmu {
        match self {
            Self::Bare(smmu) => smmu,
            Self::Watched(sanitizer) => sanitizer.smmu(),
        }
    }

    pub(super) fn mmio_write(&mut self, offset: u32, width: Width, value: u64) {
        match self {
            Self::Bare(smmu) => smmu.mmio_write(offset, width, value),
            Self::Watched(sanitizer) => sanitizer.mmio_write(offset, width, value),
        }
    }

    pub(super) fn step_command<M: PhysMem>(&mut self, mem: &mut M) -> CommandStep {
        match self {
            Self::Bare(smmu) => smmu.step_command(mem, &mut ()),
            Self::Watched(sanitizer) => sanitizer.step_command(mem, &mut ()),
        }
    }

    pub(super) fn translate<M: PhysMem, O: Observer>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        match self {
            Self::Bare(smmu) => smmu.translate(mem, transaction, observer),
            Self::Watched(sanitizer) => sanitizer.translate(mem, transaction, observer),
        }
    }

    /// What the sanitizer has found since the last call.
    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        match self {
            Self::Bare(_) => Vec::new(),
            Self::Watched(sanitizer) => sanitizer.take_findings(),
        }
    }
}

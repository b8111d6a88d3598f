//! The hardware: a bit-exact model of the Arm SMMUv3 (IHI 0070) and its VMSAv8-64 table walks.
//!
//! Software programs it only through memory ([`mem::PhysMem`]) and registers
//! ([`Smmu::mmio_write`]); a device's transaction goes in through [`Smmu::translate`] and comes out
//! as an [`Outcome`]. An architectural fault is a value. Nothing here knows an operating system.
//!
//! Reading order: [`config`] (what the part can do), [`regfile`], [`fetch`] (from StreamID to
//! context), [`walk`] (from address to address), [`fault`] (from fault to event record).

#![deny(clippy::float_arithmetic)]

pub mod addr;
mod atos;
pub mod ats;
pub mod attr;
pub mod bare;
pub mod cache;
mod cmdq;
pub mod command;
pub mod config;
mod eventq;
pub mod fault;
pub mod fetch;
pub mod ids;
mod irq;
pub mod mem;
pub mod observe;
pub mod perm;
pub mod prelude;
pub mod priq;
pub mod queue;
pub mod regfile;
pub mod sanitize;
pub mod shared;
mod smmu;
pub mod spec;
pub mod stall;
pub mod tables;
pub mod timing;
pub mod transaction;
mod translate;
#[cfg(feature = "vm-memory")]
pub mod vm_memory;
pub mod walk;

pub use cmdq::{AtcReply, CommandError, CommandStep, Endpoints};
pub use irq::Interrupts;
pub use smmu::Smmu;
pub use transaction::{Outcome, Transaction};

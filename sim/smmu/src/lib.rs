//! The hardware: a bit-exact model of the Arm SMMUv3 (IHI 0070) and its VMSAv8-64 table walks.
//!
//! Software programs it only through memory ([`mem::PhysMem`]) and registers
//! ([`Smmu::mmio_write`]); a device's transaction goes in through [`Smmu::translate`] and comes out
//! as an [`Outcome`]. An architectural fault is a value. Nothing here knows an operating system.
//!
//! A machine in a few lines is [`bare::BareMachine`]; [`prelude`] has what most programs use.
//!
//! ```
//! use smmu::prelude::*;
//!
//! let device = StreamId::new(8);
//! let page = Mappings::new().map(Iova::new(0x1000), Pa::new(0x5000_0000), 4096, Allow::Read);
//! let mut machine = BareMachine::builder().stage1(device, page).build()?;
//! assert_eq!(machine.read(device, Iova::new(0x1234)).pa(), Some(Pa::new(0x5000_0234)));
//!
//! // A fault is a value, and leaves a record where the architecture says.
//! assert!(machine.write(device, Iova::new(0x1234)).fault().is_some());
//! assert_eq!(machine.take_events().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
mod perm;
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

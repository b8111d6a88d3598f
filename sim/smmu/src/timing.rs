//! Time: resources, latencies and the scheduler that charge a translation's work in cycles.
//!
//! [`Machine`] runs a [`Workload`] on an SMMU whose caches, links, slots and memory are what a
//! [`TimingConfig`] says, and counts where the cycles go. Time is an integer number of cycles; a run
//! is named by its inputs. The translation itself is the functional model's.

mod config;
mod machine;
mod memory;
mod operation;
mod probe;
mod resource;
mod scheduler;
mod statistics;
mod steps;

pub use config::*;
pub use machine::{Machine, Report, ResourceUsage};
pub use memory::MemoryCounts;
pub use operation::{Arrival, Completed, Operation, Workload};
pub use probe::{Probe, Slice, Track};
pub use resource::Usage;
pub use scheduler::Cycle;
pub use statistics::*;

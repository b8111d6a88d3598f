//! Time: resources, latencies and the scheduler that charge a translation's work in cycles.
mod config;
mod operation;
mod resource;
mod memory;
mod scheduler;
mod statistics;

pub use config::*;
pub use memory::MemoryCounts;
pub use operation::{Arrival, Completed, Operation, Workload};
pub use resource::Usage;
pub use scheduler::Cycle;
pub use statistics::*;

//! Time: resources, latencies and the scheduler that charge a translation's work in cycles.
mod config;
mod resource;
mod memory;
mod scheduler;
mod statistics;

pub use config::*;
pub use memory::MemoryCounts;
pub use resource::Usage;
pub use scheduler::Cycle;
pub use statistics::*;

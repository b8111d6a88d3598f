//! What most programs need: `use smmu::prelude::*;`.
//!
//! A machine, what goes in and what comes out, and the types of addresses and names. Whatever is
//! used in one place only is left to be imported by its path.

pub use crate::addr::{Iova, Ipa, Pa};
pub use crate::bare::{Allow, BareMachine, Leaves, Mappings};
pub use crate::cache::CacheConfig;
pub use crate::config::SmmuConfig;
pub use crate::fault::Stage;
pub use crate::ids::{Asid, StreamId, SubstreamId, Vmid};
pub use crate::mem::{PhysMem, Ram};
pub use crate::observe::Observer;
pub use crate::regfile::{Width, register_offset};
pub use crate::transaction::AccessKind;
pub use crate::{Outcome, Smmu, Transaction};

//! The script language of the recorded VFIO sessions, played on the model.
//!
//! A script is a list of tests, each a list of operations; each test is played by a process of its
//! own on one machine, as the recorder did it. [`play`] answers with the recorder's JSON lines.

mod bench;
mod bus;
mod expr;
mod hardware;
mod machine;
mod ops;
mod player;
mod record;
mod user;

pub use bus::{Bus, Endpoint};
pub use machine::{ContainerFile, Hardware, LabelError, MachineConfig, Slot, Topology};
pub use player::{Player, play};
pub use record::Record;

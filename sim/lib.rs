//! smmu-sim: machines, snapshots, recordings and explanations around the [`smmu`] model.
//!
//! This crate does all input and output; the model crates do none. [`prelude`] has what most programs
//! use: hardware alone is [`smmu::bare::BareMachine`], hardware under Linux [`linux::LinuxMachine`].
//! The programs in `examples/` are in reading order.
//!
//! ```
//! use smmu_sim::prelude::*;
//!
//! let (device, buffer) = (StreamId::new(8), Iova::new(0xffff_c000));
//! let guest = Mappings::new().map(buffer, Ipa::new(0x8031_2000), 4096, Allow::ReadWrite);
//! let host = Mappings::new().map(Ipa::new(0x8000_0000), Pa::new(0x6000_0000), 8 << 20, Allow::ReadWrite);
//! let machine = BareMachine::builder().nested(device, guest, host).build()?;
//!
//! // Every access of the walk, its grid and its outcome, in words.
//! let read = Transaction::read(device, buffer.add(0x678));
//! let explained = explain(&machine.smmu, &mut machine.ram.port(), &read);
//! assert!(explained.to_text().contains("pa 0x60312678 (stage 1 and stage 2)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod board;
pub mod check;
pub mod cli;
pub mod decode;
pub mod experiment;
pub mod explain;
pub mod input;
pub mod linux;
pub mod live;
pub mod machine;
pub mod prelude;
pub mod report;
pub mod scenario;
pub mod simulate;
pub mod snapshot;
mod style;
pub mod suggest;
pub mod topology;
pub mod type1;
pub mod unwind;
pub mod validate;
pub mod workload;

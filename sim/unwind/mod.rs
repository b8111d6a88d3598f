//! Attach, detach, SET and their undoing, explored: every order of operations up to a bound, every
//! step of each made to fail, and what is then in the STEs, on the bus and in the books.
//!
//! Nothing is taken from the software's own records where hardware can be asked: the state of a
//! domain is read from STEs in memory, what a device reaches from [`smmu::Smmu::translate`].

mod explore;
mod finding;
mod guest;
mod html;
mod json;
mod layout;
mod named;
mod op;
mod shared;
mod steps;
mod text;
mod view;
mod world;

pub use explore::{Exploration, Failed, Finding, Plan, explore};
pub use finding::Objection;
pub use guest::Asids;
pub use html::page;
pub use json::to_json;
pub use layout::{GroupPlace, Layout, LayoutError};
pub use named::{Named, Policy, semantics};
pub use op::{Op, OpError, OpKind, Stage1, Table, parse_list};
pub use steps::{Phase, Step};
pub use text::{to_text, witness};
pub use view::{ContainerView, DomainView, Reach, Resources, SteState, StreamView, View};
pub use world::World;

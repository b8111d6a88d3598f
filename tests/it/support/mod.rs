//! What the tests share: an oracle and generators that know nothing of the model's types.

pub(crate) mod bench;
pub(crate) mod drive;
pub(crate) mod oracle;
pub(crate) mod rig;
pub(crate) mod strategies;
pub(crate) mod warm;

//! What can be expected of a step.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::source::{Located, Number};

/// What must come of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// Physical address that an access reaches.
    pub pa: Option<Located<Number>>,
    /// Linux: address at which the guest sees what an access reaches.
    pub guest: Option<Located<Number>>,
    /// What becomes of an access, or of the stalled one that a command resolves.
    pub outcome: Option<Located<OutcomeName>>,
    /// Name of the event that is recorded, or none.
    pub event: Option<Located<String>>,
    /// Fields of its record, by their architectural names.
    #[serde(default)]
    pub event_fields: BTreeMap<String, Located<Number>>,
    /// Accesses to memory that a DMA takes: structures, descriptors, and updates of them.
    pub accesses: Option<Located<Number>>,
    /// Error of a system call, or "none".
    pub errno: Option<Located<String>>,
    /// Linux: name of the step that failed.
    pub failed_step: Option<Located<String>>,
    /// Linux: function of the kernel in which it stopped for good, or "none".
    pub kernel_bug: Option<Located<String>>,
    /// Value of a register, of a region's bytes, or of a field of an ioctl's answer.
    pub value: Option<Located<Number>>,
    /// Commands consumed in the step, in order.
    pub commands: Option<Located<Vec<String>>>,
    /// Error at which the command queue stopped: CERROR_ILL, CERROR_ABT, CERROR_ATC_INV_SYNC, or none.
    pub command_error: Option<Located<String>>,
    /// Cache entries that commands of the step removed.
    pub removed: Option<Located<Number>>,
    /// What the sanitizer finds in the step, by name.
    pub findings: Option<Located<Vec<String>>>,
    /// Whether tables, domains and books are as before the step. Without Linux: all of memory.
    pub unchanged: Option<Located<bool>>,
    /// What STEs in memory say, by device or StreamID: invalid, abort, bypass, stage 1, stage 2,
    /// stage 1 and 2; for a table of the guest its name.
    #[serde(default)]
    pub streams: BTreeMap<String, Located<String>>,
    /// Fields of STEs in memory by their architectural names, by device or StreamID.
    #[serde(default)]
    pub ste: BTreeMap<String, BTreeMap<String, Located<Number>>>,
    /// Linux: domains of containers, newest first, each with the devices that are in it.
    #[serde(default)]
    pub domains: BTreeMap<String, Located<Vec<Vec<String>>>>,
    /// Linux: number of mappings of containers.
    #[serde(default)]
    pub mappings: BTreeMap<String, Located<Number>>,
    /// Numbers to be looked up in the machine.
    #[serde(default)]
    pub counters: BTreeMap<Counter, Located<Number>>,
}

/// What becomes of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeName {
    /// It goes on to memory.
    Translated,
    /// The device sees an abort.
    Aborted,
    /// The device reads zeroes; its writes go nowhere.
    RazWi,
    /// It waits for CMD_RESUME.
    Stalled,
    /// It would have to wait, and there is no room.
    Refused,
    /// A hint that nothing came of.
    Dropped,
}

/// A number to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counter {
    /// Translations that the caches of all SMMUs hold.
    CachedTranslations,
    /// Configurations that the caches of all SMMUs hold.
    CachedConfigurations,
    /// Transactions that wait.
    Stalled,
    /// Linux: pages pinned.
    PinnedPages,
    /// Linux: pages charged to the process.
    LockedPages,
    /// Linux: VMIDs in use, over all SMMUs.
    Vmids,
    /// Linux: ASIDs in use.
    Asids,
    /// Linux: domains.
    Domains,
    /// Linux: bytes of tables and queues.
    TableBytes,
}

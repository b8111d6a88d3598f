//! A transaction on its way, and where it is.

use super::super::operation::Arrival;
use super::super::scheduler::Cycle;
use super::super::statistics::LatencyClass;
use super::devices::Leg;
use crate::cache::{ConfigurationEntry, Context, IpaEntry, VaEntry};
use crate::transaction::Outcome;

/// What happens when the transaction is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The device's ATC look-up is over.
    Atc,
    /// Another translation request for the same unit has its answer.
    AtcMerged,
    /// It may send a translation request.
    AtsRequest,
    /// The translation request has reached the SMMU.
    AtsAtTcu,
    /// Its answer has reached the device.
    AtsAnswered,
    /// A translated transaction's look-up of its configuration is over.
    Translated,
    /// Its look-up in the main TLB is over.
    TranslatedMainTlb,
    /// Another miss of the same page has its answer.
    TranslatedMerged,
    /// In line for a TBU slot.
    Arrived,
    /// The micro TLB lookup is over.
    MicroTlb,
    /// The main TLB lookup is over.
    MainTlb,
    /// Another miss of the same page has its answer.
    Merged,
    /// The request has reached the TCU.
    AtTcu,
    /// It has a request slot.
    Requested,
    /// The configuration cache lookup is over.
    Configuration,
    /// It has a configuration slot.
    Fetching,
    /// Steps of the configuration fetch.
    FetchSteps,
    /// It has a walk slot.
    Walking,
    /// Steps of the walk.
    WalkSteps,
    /// The answer has reached the TBU.
    Answered,
    /// The output port is done with it.
    Sent,
    /// The device has its completion.
    Returned,
}

/// What one transaction needs at each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) arrival: Arrival,
    pub(super) index: u64,
    pub(super) arrived: Cycle,
    /// Up to when its time is accounted for.
    pub(super) since: Cycle,
    pub(super) state: State,
    pub(super) class: LatencyClass,
    pub(super) leg: Leg,
    pub(super) tbu: u32,
    /// Place of its stream's counts.
    pub(super) stream: u32,
    /// Which slot its steps are in.
    pub(super) slot: u32,
    /// Which miss of its TBU it is, if others wait for it.
    pub(super) miss: Option<u32>,
    /// It has looked at translations: a CMD_SYNC waits for it.
    pub(super) touched: bool,
    /// A CMD_SYNC waits for it.
    pub(super) awaited: bool,
    /// It has its outcome and waits for earlier ones.
    pub(super) ready: bool,
    /// Invalidations carried out before its walk began.
    pub(super) began: u64,
    /// Configuration invalidations carried out before its fetch began.
    pub(super) fetched: u64,
    pub(super) outcome: Outcome,
}

/// What an answer teaches the TBU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lesson {
    /// Nothing.
    #[default]
    Nothing,
    /// A translation by VA.
    Va {
        context: Context,
        input: u64,
        size_log2: u8,
        entry: VaEntry,
    },
    /// A translation by IPA.
    Ipa {
        context: Context,
        input: u64,
        size_log2: u8,
        entry: IpaEntry,
    },
}

/// The bulky part of a transaction that missed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Luggage {
    pub(super) configuration: ConfigurationEntry,
    /// Whether the configuration may be kept by the TBU.
    pub(super) keep: bool,
    pub(super) lesson: Lesson,
}

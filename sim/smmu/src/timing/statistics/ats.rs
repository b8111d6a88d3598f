//! Counts of devices with ATS, and of what the SMMU does for them.

/// All devices together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AtsCounts {
    /// Look-ups in ATCs.
    pub atc_lookups_count: u64,
    /// Look-ups that found no translation that allows the access.
    pub atc_misses_count: u64,
    /// Misses that waited for another's request instead of sending one.
    pub atc_merged_count: u64,
    /// Translation requests that reached the SMMU (architected event 6).
    pub translation_requests_count: u64,
    /// Translated transactions that passed through the SMMU (architected event 7).
    pub translated_transactions_count: u64,
    /// Requests answered as unsupported: the device sends untranslated from then on.
    pub unsupported_count: u64,
    /// Requests answered with Completer Abort: the access is not made.
    pub aborted_count: u64,
    /// Requests that were granted too little: the access is not made.
    pub denied_count: u64,
    /// Answers not used, and asked for again, because an ATC invalidation had come in between.
    pub discarded_count: u64,
    /// CMD_ATC_INV sent to devices.
    pub invalidations_count: u64,
    /// ATC entries that they removed.
    pub invalidated_count: u64,
    /// Cycles from the sending of each CMD_ATC_INV to its completion, summed.
    pub invalidation_cycles: u64,
}

//! What a run counts: by TBU, TCU, stream and cause. Names follow the performance events of the
//! architecture (IHI 0070 §10.4) and of MMU-600/700.

mod ats;

pub use ats::AtsCounts;

use hdrhistogram::Histogram;

use super::scheduler::Cycle;

/// A kind of transaction, by how it got its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LatencyClass {
    /// Micro TLB hit.
    MicroTlb,
    /// Main TLB hit.
    MainTlb,
    /// Waited for another miss of the same translation.
    Merged,
    /// Walked stage 1.
    Stage1,
    /// Walked stage 2.
    Stage2,
    /// Walked both.
    Nested,
    /// No stage translated it.
    Bypass,
    /// Its configuration had to be fetched first.
    Configuration,
    /// It faulted or was aborted.
    Fault,
    /// ATC hit: sent translated.
    AtcHit,
    /// Sent translated after a translation request of its own.
    AtcMiss,
    /// Sent translated after another's translation request for the same unit.
    AtcMerged,
}

impl LatencyClass {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// All, in the order of the enumeration.
    pub const ALL: [Self; Self::COUNT] = [
        Self::MicroTlb,
        Self::MainTlb,
        Self::Merged,
        Self::Stage1,
        Self::Stage2,
        Self::Nested,
        Self::Bypass,
        Self::Configuration,
        Self::Fault,
        Self::AtcHit,
        Self::AtcMiss,
        Self::AtcMerged,
    ];

    /// Name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::MicroTlb => "micro_tlb_hit",
            Self::MainTlb => "main_tlb_hit",
            Self::Merged => "merged",
            Self::Stage1 => "stage1_walk",
            Self::Stage2 => "stage2_walk",
            Self::Nested => "nested_walk",
            Self::Bypass => "bypass",
            Self::Configuration => "configuration_miss",
            Self::Fault => "fault",
            Self::AtcHit => "atc_hit",
            Self::AtcMiss => "atc_miss",
            Self::AtcMerged => "atc_merged",
        }
    }
}

/// What a transaction's cycles are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// In line for a translation slot of the TBU.
    TbuSlot,
    /// The input port: in line, and its cycles.
    Port,
    /// Micro TLB: in line, and the lookup.
    MicroTlb,
    /// Main TLB: in line, and the lookup.
    MainTlb,
    /// Another miss of the same translation.
    Hazard,
    /// The link: in line, and both ways.
    Link,
    /// In line for a request slot of the TCU.
    RequestSlot,
    /// The configuration cache.
    ConfigurationCache,
    /// In line for a configuration fetch, one's own or another's of the same stream.
    ConfigurationSlot,
    /// Reads of STE and CD, and of the tables on the way.
    ConfigurationRead,
    /// In line for a walk slot.
    WalkSlot,
    /// Walk cache probes.
    WalkCache,
    /// Work on descriptors.
    WalkStep,
    /// Descriptor reads.
    MemoryRead,
    /// In line for memory.
    MemoryQueue,
    /// Earlier transactions that must leave first.
    Order,
    /// The output port.
    Output,
    /// The device's ATC: in line, and the look-up.
    Atc,
    /// Another translation request for the same unit.
    AtcHazard,
    /// In line for a translation request that the device may have outstanding.
    AtsRequest,
    /// The link between device and SMMU: in line, and both ways.
    AtsLink,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 21;

    /// All, in the order of the enumeration.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TbuSlot,
        Self::Port,
        Self::MicroTlb,
        Self::MainTlb,
        Self::Hazard,
        Self::Link,
        Self::RequestSlot,
        Self::ConfigurationCache,
        Self::ConfigurationSlot,
        Self::ConfigurationRead,
        Self::WalkSlot,
        Self::WalkCache,
        Self::WalkStep,
        Self::MemoryRead,
        Self::MemoryQueue,
        Self::Order,
        Self::Output,
        Self::Atc,
        Self::AtcHazard,
        Self::AtsRequest,
        Self::AtsLink,
    ];

    /// Name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::TbuSlot => "tbu_slot",
            Self::Port => "port",
            Self::MicroTlb => "micro_tlb",
            Self::MainTlb => "main_tlb",
            Self::Hazard => "hazard",
            Self::Link => "link",
            Self::RequestSlot => "request_slot",
            Self::ConfigurationCache => "configuration_cache",
            Self::ConfigurationSlot => "configuration_slot",
            Self::ConfigurationRead => "configuration_read",
            Self::WalkSlot => "walk_slot",
            Self::WalkCache => "walk_cache",
            Self::WalkStep => "walk_step",
            Self::MemoryRead => "memory_read",
            Self::MemoryQueue => "memory_queue",
            Self::Order => "order",
            Self::Output => "output",
            Self::Atc => "atc",
            Self::AtcHazard => "atc_hazard",
            Self::AtsRequest => "ats_request",
            Self::AtsLink => "ats_link",
        }
    }
}

/// Cycles by cause: a latency stack. The sum is the sum of all latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LatencyStack([u64; Cause::COUNT]);

impl LatencyStack {
    /// Adds cycles.
    #[inline(always)]
    pub(super) fn add(&mut self, cause: Cause, cycles: Cycle) {
        self.0[cause as usize] += cycles;
    }

    /// Cycles of one cause.
    pub fn get(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    /// Cycles of all causes.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another stack.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// Longest latency told apart; longer ones count as this.
const LONGEST_CYCLES: u64 = 1 << 40;

/// Latencies in cycles, to two significant digits; the least, the most and the sum exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    histogram: Histogram<u64>,
    total_cycles: Cycle,
    least_cycles: Cycle,
    most_cycles: Cycle,
}

impl Default for Latencies {
    fn default() -> Self {
        // Grown as values come: most classes stay empty.
        let histogram = Histogram::new_with_bounds(1, LONGEST_CYCLES, 2);
        Self {
            histogram: histogram.expect("the bounds are in order"),
            total_cycles: 0,
            least_cycles: Cycle::MAX,
            most_cycles: 0,
        }
    }
}

impl Latencies {
    #[inline(always)]
    pub(super) fn record(&mut self, cycles: Cycle) {
        self.histogram.saturating_record(cycles);
        self.total_cycles += cycles;
        self.least_cycles = self.least_cycles.min(cycles);
        self.most_cycles = self.most_cycles.max(cycles);
    }

    /// Adds all of another.
    ///
    /// # Panics
    /// Never: all have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        added.expect("equal bounds");
        self.total_cycles += other.total_cycles;
        self.least_cycles = self.least_cycles.min(other.least_cycles);
        self.most_cycles = self.most_cycles.max(other.most_cycles);
    }

    /// The shortest; `None` if there are none.
    pub fn least_cycles(&self) -> Option<Cycle> {
        (self.least_cycles != Cycle::MAX).then_some(self.least_cycles)
    }

    /// The longest; 0 if there are none.
    pub fn most_cycles(&self) -> Cycle {
        self.most_cycles
    }

    /// All of them together; divided by their number, the mean.
    pub fn total_cycles(&self) -> Cycle {
        self.total_cycles
    }

    /// What this many percent do not exceed, to two significant digits and never above the longest.
    pub fn percentile_cycles(&self, percent: f64) -> Cycle {
        let value = self.histogram.value_at_percentile(percent);
        value.min(self.most_cycles)
    }

    /// The histogram.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

/// Counts of one TBU, named after MMU-600/700 TBU events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TbuCounts {
    /// Transactions (architected event 1).
    pub transactions_count: u64,
    /// Bytes of transactions that were translated.
    pub transferred_bytes: u64,
    /// Micro TLB lookups (0x83).
    pub micro_tlb_lookups_count: u64,
    /// Micro TLB misses (0x84).
    pub micro_tlb_misses_count: u64,
    /// Main TLB lookups (0x80).
    pub main_tlb_lookups_count: u64,
    /// Main TLB misses (0x81).
    pub main_tlb_misses_count: u64,
    /// Misses that waited for another instead of going to the TCU.
    pub merged_count: u64,
    /// Requests sent to the TCU.
    pub requests_count: u64,
    /// TLB fills left out because an invalidation had come in between.
    pub suppressed_fills_count: u64,
    /// Entries that invalidations removed from the TLBs.
    pub invalidated_count: u64,
}

/// Counts of the TCU, named after the architected and MMU-600/700 TCU events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcuCounts {
    /// Requests from TBUs, and translation requests of devices.
    pub requests_count: u64,
    /// Configuration cache lookups (0x92).
    pub configuration_lookups_count: u64,
    /// Configuration cache misses (architected event 3; 0x94).
    pub configuration_misses_count: u64,
    /// Configuration misses that waited for a fetch of the same stream.
    pub configuration_merged_count: u64,
    /// L1STD, STE, L1CD and CD reads (architected event 5).
    pub configuration_reads_count: u64,
    /// Descriptor reads (architected event 4).
    pub walk_reads_count: u64,
    /// Walks.
    pub walks_count: u64,
    /// Requests that found no free walk slot (0x91, buffered translations).
    pub buffered_count: u64,
    /// Walk cache lookups by stage, all levels at once (0x80–0x8f).
    pub walk_cache_lookups_count: [u64; 2],
    /// Walk cache hits by stage and level of the deepest table found, level −1 first.
    pub walk_cache_hits_count: [[u64; 5]; 2],
    /// Descriptor reads by stage and level, level −1 first.
    pub reads_by_level_count: [[u64; 5]; 2],
    /// Stage-2 TLB lookups by IPA.
    pub stage2_tlb_lookups_count: u64,
    /// Stage-2 TLB misses.
    pub stage2_tlb_misses_count: u64,
    /// Cache fills left out because an invalidation had come in between.
    pub suppressed_fills_count: u64,
    /// Hardware updates of descriptors.
    pub updates_count: u64,
    /// Event records written.
    pub events_count: u64,
    /// Commands carried out.
    pub commands_count: u64,
    /// Of these, TLB invalidations.
    pub tlb_invalidations_count: u64,
    /// Of these, configuration invalidations.
    pub configuration_invalidations_count: u64,
    /// Of these, CMD_SYNC.
    pub syncs_count: u64,
    /// Cycles from the start of each CMD_SYNC to its completion, summed.
    pub sync_cycles: u64,
}

/// Counts of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Transactions that are over.
    pub transactions_count: u64,
    /// Bytes of those that were translated.
    pub transferred_bytes: u64,
    /// Of these, how many by each way: see [`LatencyClass`].
    pub by_class_count: [u64; LatencyClass::COUNT],
    /// Sum of their latencies.
    pub latency_cycles: u64,
    /// The longest.
    pub latency_cycles_max: u64,
    /// Descriptor reads for them.
    pub walk_reads_count: u64,
    /// STE and CD reads for them, and reads of the tables on the way.
    pub configuration_reads_count: u64,
    /// VMID last seen; `None` without a stage 2.
    pub vmid: Option<u16>,
    /// ASID last seen; `None` without a stage 1.
    pub asid: Option<u16>,
    /// Where the time went.
    pub stack: LatencyStack,
}

/// Parties told apart in a matrix; the last is everybody else.
pub const PARTIES: usize = 65;

/// How much one party cost another: evictions, or cycles waited. Parties beyond the first 64 are
/// counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    parties: Vec<u32>,
    cells: Vec<u64>,
    last: [(u32, usize); 2],
}

impl Default for Matrix {
    fn default() -> Self {
        Self {
            parties: Vec::new(),
            cells: vec![0; PARTIES * PARTIES],
            last: [(u32::MAX, PARTIES - 1); 2],
        }
    }
}

impl Matrix {
    fn place(&mut self, side: usize, party: u32) -> usize {
        if self.last[side].0 == party {
            return self.last[side].1;
        }
        let known = self.parties.iter().position(|&known| known == party);
        let place = known.unwrap_or_else(|| {
            if self.parties.len() < PARTIES - 1 {
                self.parties.push(party);
                self.parties.len() - 1
            } else {
                PARTIES - 1
            }
        });
        self.last[side] = (party, place);
        place
    }

    /// Adds what `by` cost `whom`.
    pub(super) fn add(&mut self, by: u32, whom: u32, amount: u64) {
        let (by, whom) = (self.place(0, by), self.place(1, whom));
        self.cells[by * PARTIES + whom] += amount;
    }

    /// Every amount that is not zero: by whom, whom (`None` is everybody else), how much.
    pub fn iter(&self) -> impl Iterator<Item = (Option<u32>, Option<u32>, u64)> + '_ {
        let party = |place: usize| self.parties.get(place).copied();
        let cells = self.cells.iter().enumerate();
        cells
            .filter(|(_, amount)| **amount != 0)
            .map(move |(at, amount)| (party(at / PARTIES), party(at % PARTIES), *amount))
    }
}

#[cfg(test)]
mod tests {
    use super::Latencies;

    #[test]
    fn sum_and_extremes_are_exact_and_no_percentile_exceeds_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(1784);
        assert_eq!(latencies.total_cycles(), 1784);
        assert_eq!(latencies.percentile_cycles(50.0), 1784);
        let mut other = Latencies::default();
        other.record(2);
        other.merge(&latencies);
        assert_eq!(other.total_cycles(), 1786);
        assert_eq!((other.least_cycles(), other.most_cycles()), (Some(2), 1784));
        assert_eq!(other.percentile_cycles(99.0), 1784);
    }
}

//! The timed machine: transactions go through TBU, link and TCU in simulated time.
//!
//! Each transaction is a small state machine in a slab; it waits for a time, for a slot of a bounded
//! resource, or for another transaction. Translation itself is the functional model's: the same
//! configuration fetch, the same walker, the same cache entries. What time adds is when each cache
//! is asked, when each read is done, and when what was learned becomes known.
//!
//! An answer cannot be stale. A walk reads memory at one instant; what it learned enters a cache only
//! if no invalidation that covers it has begun since; and a CMD_SYNC completes only when every
//! transaction that had already looked at translations is over.

mod ats;
mod commands;
mod configure;
mod devices;
mod flight;
mod front;
mod invalidate;
mod leave;
mod report;
mod tbu;
mod tcu;
mod translated;

pub use report::{Report, ResourceUsage};

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use super::config::{IndexBits, Policy, TimingConfig, WalkCacheLayout};
use super::memory::MemoryPort;
use super::operation::{Arrival, Workload};
use super::probe::{Probe, Slice, Track};
use super::resource::{Pipe, Slots};
use super::scheduler::{Cycle, Scheduler, Sleeper};
use super::statistics::{Cause, Latencies, LatencyClass, Matrix, StreamCounts, TcuCounts};
use super::steps::{Fill, ProbeCosts, Step};
use crate::cache::{
    CacheConfig, CacheError, Caches, ContiguousHint, Geometry, Indexing, Replacement, TlbStructure,
    WalkCacheConfig,
};
use crate::command::Command;
use crate::ids::StreamId;
use crate::mem::PhysMem;
use crate::smmu::Smmu;
use crate::transaction::{Outcome, Response};
use commands::CommandEngine;
use devices::{Devices, atc_shape};
use flight::{Flight, Luggage, State};
use invalidate::{INVALIDATIONS, MOST_INVALIDATIONS};
use tbu::Tbu;

/// Sleepers before the first transaction: the source of operations, the command queue, and ATC
/// invalidations.
const SOURCE: Sleeper = 0;
const COMMANDS: Sleeper = 1;
const FIRST: Sleeper = INVALIDATIONS + MOST_INVALIDATIONS;

/// Streams counted one by one; the rest are counted as one.
const STREAMS: usize = 1 << 16;

/// The shape of a cache of the functional model.
fn shape(entries: u32, ways: u32, policy: Policy, index: IndexBits, seed: u64) -> Geometry {
    if entries == 0 {
        return Geometry::OFF;
    }
    Geometry {
        entries,
        ways,
        replacement: match policy {
            Policy::RoundRobin => Replacement::RoundRobin,
            Policy::Lru => Replacement::Lru,
            Policy::PseudoLru => Replacement::PseudoLru,
            Policy::Random => Replacement::Random { seed },
            Policy::Infinite => Replacement::Infinite,
        },
        indexing: match index {
            IndexBits::Hashed => Indexing::Hashed,
            IndexBits::Low => Indexing::LowBits,
        },
    }
}

/// The caches of the TCU.
fn tcu_caches(config: &TimingConfig) -> CacheConfig {
    let seed = config.memory.seed;
    let walk = &config.walk_cache;
    let tables = shape(walk.entries, walk.ways, walk.policy, walk.index, seed);
    let own = &config.configuration_cache;
    let stage2 = &config.stage2_tlb;
    // Level −1 is left out, as products that lack 52-bit tables leave it out.
    let levels = [Geometry::OFF, tables, tables, tables];
    CacheConfig {
        configuration: shape(own.entries, own.ways, own.policy, own.index, seed),
        // A TCU keeps STE and CD together.
        ste: Geometry::OFF,
        structure: TlbStructure::Combined,
        tlb: Geometry::OFF,
        stage2_tlb: shape(
            stage2.entries,
            stage2.ways,
            stage2.policy,
            stage2.index,
            seed,
        ),
        walk: match walk.layout {
            WalkCacheLayout::PerLevel => WalkCacheConfig::PerLevel {
                stage1: levels,
                stage2: levels,
            },
            WalkCacheLayout::Unified => WalkCacheConfig::Unified(tables),
        },
        contiguous: ContiguousHint::Used,
    }
}

/// The steps of one walk or fetch being played back.
#[derive(Debug, Clone, PartialEq, Default)]
struct Play {
    steps: Vec<Step>,
    next: usize,
    fills: Vec<Fill>,
    /// Invalidations that had begun when it began.
    began: u64,
    start: Cycle,
}

impl Play {
    /// Starts afresh, after `began` invalidations; the tape its steps are to be recorded on.
    fn begin(&mut self, now: Cycle, began: u64) -> RefCell<Vec<Step>> {
        (self.start, self.next, self.began) = (now, 0, began);
        self.fills.clear();
        let mut steps = std::mem::take(&mut self.steps);
        steps.clear();
        RefCell::new(steps)
    }
}

/// What operations wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Transaction(u64),
    Commands,
    Fence,
    /// The time of the next arrival.
    Time,
    /// The end of the workload.
    End,
}

/// A machine in simulated time: the SMMU, its memory, and who watches.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine<M, P = ()> {
    config: TimingConfig,
    smmu: Smmu,
    mem: M,
    probe: P,
    scheduler: Scheduler,
    memory: MemoryPort,
    tbus: Vec<Tbu>,
    ats: Devices,
    requests: Slots,
    configuration_slots: Slots,
    walk_slots: Slots,
    configuration_pipe: Pipe,
    walk_pipe: Pipe,
    event_pipe: Pipe,
    costs: ProbeCosts,
    flights: Vec<Flight>,
    luggage: Vec<Luggage>,
    /// Places of `flights` nobody is in.
    free: Vec<u32>,
    in_flight: u32,
    /// Walks, then configuration fetches.
    plays: Vec<Play>,
    free_walks: Vec<u32>,
    free_fetches: Vec<u32>,
    /// Configuration fetches under way: whose, and who else wants it.
    fetching: Vec<(u32, Vec<Sleeper>)>,
    commands: CommandEngine,
    /// Transactions in order of arrival, for those that must leave in order; by stream, or one.
    order: Vec<VecDeque<u32>>,
    held: Held,
    waiting: Option<Arrival>,
    next_arrival: Cycle,
    arrivals: u64,
    stream_places: BTreeMap<u32, u32>,
    last_stream: (u32, u32),
    streams: Vec<(StreamId, StreamCounts)>,
    latencies: Vec<Latencies>,
    tcu: TcuCounts,
    faults: BTreeMap<u8, u64>,
    evictions: Matrix,
    walk_waits: Matrix,
    woken: Vec<Sleeper>,
    /// Whose transaction gave a walk slot up last.
    last_walker: u32,
}

impl<M: PhysMem> Machine<M> {
    /// A machine around an SMMU whose registers are set; its own caches are replaced by those of
    /// `config`, empty.
    ///
    /// # Errors
    /// [`CacheError`] naming a cache that cannot be built.
    pub fn new(smmu: Smmu, mem: M, config: &TimingConfig) -> Result<Self, CacheError> {
        Self::watched(smmu, mem, config, ())
    }
}

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// The same with a probe that sees every piece of work.
    ///
    /// # Errors
    /// [`CacheError`] naming a cache that cannot be built.
    pub fn watched(
        mut smmu: Smmu,
        mem: M,
        config: &TimingConfig,
        probe: P,
    ) -> Result<Self, CacheError> {
        let caches = tcu_caches(config);
        caches.validate()?;
        let seed = config.memory.seed;
        for (name, entries, ways, policy) in [
            (
                "micro_tlb",
                config.micro_tlb.entries,
                config.micro_tlb.ways,
                config.micro_tlb.policy,
            ),
            (
                "main_tlb",
                config.main_tlb.entries,
                config.main_tlb.ways,
                config.main_tlb.policy,
            ),
        ] {
            shape(entries, ways, policy, IndexBits::Hashed, seed).validate(name)?;
        }
        atc_shape(config).validate("ats")?;
        smmu.caches = Caches::new(&caches);
        let tcu = &config.tcu;
        let plays = tcu.walk_slots + tcu.configuration_slots;
        Ok(Self {
            scheduler: Scheduler::new(),
            memory: MemoryPort::new(&config.memory),
            tbus: (0..config.tbu.count).map(|_| Tbu::new(config)).collect(),
            ats: Devices::new(config),
            requests: Slots::new(tcu.request_slots),
            configuration_slots: Slots::new(tcu.configuration_slots),
            walk_slots: Slots::new(tcu.walk_slots),
            configuration_pipe: Pipe::new(config.configuration_cache.lookups),
            walk_pipe: Pipe::new(config.walk_cache.lookups),
            event_pipe: Pipe::new(config.events.write_slots),
            costs: ProbeCosts {
                probes: config.walk_cache.probes,
                begin_cycles: tcu.walk_start_cycles,
                walk_caches: [0, 1].map(|stage| smmu.caches.walk.is_on(stage)),
                walk_cycles: config.walk_cache.latency_cycles,
                stage2_cycles: config.stage2_tlb.latency_cycles,
            },
            flights: Vec::new(),
            luggage: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            plays: vec![Play::default(); plays as usize],
            free_walks: (0..tcu.walk_slots).rev().collect(),
            free_fetches: (tcu.walk_slots..plays).rev().collect(),
            fetching: Vec::new(),
            commands: CommandEngine::default(),
            order: Vec::new(),
            held: Held::Nothing,
            waiting: None,
            next_arrival: 0,
            arrivals: 0,
            stream_places: BTreeMap::new(),
            last_stream: (0, u32::MAX),
            streams: Vec::new(),
            latencies: vec![Latencies::default(); LatencyClass::ALL.len()],
            tcu: TcuCounts::default(),
            faults: BTreeMap::new(),
            evictions: Matrix::default(),
            walk_waits: Matrix::default(),
            woken: Vec::new(),
            last_walker: u32::MAX,
            config: config.clone(),
            smmu,
            mem,
            probe,
        })
    }

    /// The SMMU as it stands.
    pub fn smmu(&self) -> &Smmu {
        &self.smmu
    }

    /// Who watched.
    pub fn into_probe(self) -> P {
        self.probe
    }

    /// Runs until the workload ends and everything under way is over.
    pub fn run<W: Workload>(&mut self, workload: &mut W) {
        self.held = Held::Nothing;
        self.issue(workload);
        while let Some((now, sleeper)) = self.scheduler.pop() {
            match sleeper {
                SOURCE => {
                    self.held = Held::Nothing;
                    self.issue(workload);
                }
                COMMANDS => self.command_step(now, workload),
                INVALIDATIONS..FIRST => {
                    self.invalidation_step(sleeper - INVALIDATIONS, now, workload);
                }
                sleeper => self.go_on(sleeper - FIRST, now, workload),
            }
        }
        debug_assert_eq!(self.in_flight, 0, "everything that arrived has left");
    }

    /// Moves a transaction on until it waits for something.
    #[inline]
    fn go_on<W: Workload>(&mut self, id: u32, mut now: Cycle, workload: &mut W) {
        while let Some(time) = self.step(id, now, workload) {
            // If nothing else happens until then, there is nothing to wait for.
            if self.scheduler.peek().is_none_or(|next| time < next) {
                self.scheduler.advance(time);
                now = time;
            } else {
                self.scheduler.wake(id + FIRST, time);
                return;
            }
        }
    }

    /// Wakes a transaction now, after whatever is already due.
    fn resume(&mut self, id: u32, state: State) {
        self.flights[id as usize].state = state;
        self.scheduler.wake(id + FIRST, self.scheduler.now());
    }

    /// Accounts for a transaction's time up to `until`.
    #[inline(always)]
    fn charge(&mut self, id: u32, cause: Cause, until: Cycle) {
        let flight = &mut self.flights[id as usize];
        let since = flight.since;
        flight.since = until;
        self.streams[flight.stream as usize]
            .1
            .stack
            .add(cause, until - since);
        if self.probe.watches() && until > since {
            let (index, stream) = (flight.index, flight.arrival.transaction.stream.get());
            let address = flight.arrival.transaction.address.get();
            self.probe.slice(&Slice {
                track: Track::Steps(stream),
                name: cause.name(),
                begin: since,
                end: until,
                index,
                address,
            });
        }
    }

    /// The place of a stream's counts.
    #[inline]
    fn stream_place(&mut self, stream: StreamId) -> u32 {
        if self.last_stream.0 == stream.get() && self.last_stream.1 != u32::MAX {
            return self.last_stream.1;
        }
        let place = self.find_stream(stream);
        self.last_stream = (stream.get(), place);
        place
    }

    fn find_stream(&mut self, stream: StreamId) -> u32 {
        if let Some(&place) = self.stream_places.get(&stream.get()) {
            return place;
        }
        if self.streams.len() >= STREAMS {
            return STREAMS as u32 - 1;
        }
        let place = self.streams.len() as u32;
        self.streams.push((stream, StreamCounts::default()));
        self.order.push(VecDeque::new());
        self.stream_places.insert(stream.get(), place);
        place
    }

    /// Does what is due and gives the time of the next step; `None` if the transaction waits for
    /// something else, or is over.
    #[inline]
    fn step<W: Workload>(&mut self, id: u32, now: Cycle, workload: &mut W) -> Option<Cycle> {
        match self.flights[id as usize].state {
            State::Atc => self.atc(id, now),
            State::AtcMerged => self.atc_merged(id, now, workload),
            State::AtsRequest => self.ask(id, now),
            State::AtsAtTcu => self.asked(id, now),
            State::AtsAnswered => self.told(id, now, workload),
            State::Translated => self.translated(id, now, workload),
            State::TranslatedMainTlb => self.translated_main_tlb(id, now, workload),
            State::TranslatedMerged => self.translated_merged(id, now, workload),
            State::Arrived => self.enter(id, now),
            State::MicroTlb => self.micro_tlb(id, now, workload),
            State::MainTlb => self.main_tlb(id, now, workload),
            State::Merged => self.merged(id, now, workload),
            State::AtTcu => self.at_tcu(id, now),
            State::Requested => self.requested(id, now),
            State::Configuration => self.configuration(id, now),
            State::Fetching => self.fetching(id, now),
            State::FetchSteps => self.fetch_step(id, now),
            State::Walking => self.walking(id, now),
            State::WalkSteps => self.walk_step(id, now),
            State::Answered => self.answered(id, now, workload),
            State::Sent => self.sent(id, now, workload),
            State::Returned => {
                self.gone(id, workload);
                None
            }
        }
    }

    #[inline(always)]
    fn watch(
        &mut self,
        track: Track,
        name: &'static str,
        (begin, end): (Cycle, Cycle),
        index: u64,
        address: u64,
    ) {
        if self.probe.watches() {
            self.probe.slice(&Slice {
                track,
                name,
                begin,
                end,
                index,
                address,
            });
        }
    }

    /// Whether an invalidation that began after `began` covers something with this tag.
    fn is_overtaken(&self, began: u64, covers: impl Fn(&Command) -> bool) -> bool {
        self.commands
            .since(began)
            .is_none_or(|mut since| since.any(covers))
    }
}

/// A placeholder until the transaction has its outcome.
const NOT_YET: Outcome = Outcome::Terminated {
    response: Response::Abort,
    fault: None,
    event: None,
};

//! Everything a run has counted, as one value.

use super::super::memory::MemoryCounts;
use super::super::probe::Probe;
use super::super::resource::Usage;
use super::super::scheduler::Cycle;
use super::super::statistics::{
    AtsCounts, Latencies, LatencyClass, LatencyStack, Matrix, StreamCounts, TbuCounts, TcuCounts,
};
use super::Machine;
use crate::ids::StreamId;
use crate::mem::PhysMem;

/// One resource and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Its name.
    pub name: String,
    /// How many of it there are.
    pub capacity_count: u64,
    /// Its use.
    pub usage: Usage,
}

/// What a run has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Length of the run.
    pub cycles: Cycle,
    /// Transactions that are over.
    pub transactions_count: u64,
    /// Bytes of those that were translated.
    pub transferred_bytes: u64,
    /// Sum of all latencies.
    pub latency_cycles: u64,
    /// Latencies by class, in the order of [`LatencyClass::ALL`].
    pub latencies: Vec<Latencies>,
    /// Cycles by cause, all transactions together.
    pub stack: LatencyStack,
    /// TBUs.
    pub tbus: Vec<TbuCounts>,
    /// The TCU.
    pub tcu: TcuCounts,
    /// Devices with ATS; `None` if devices use none.
    pub ats: Option<AtsCounts>,
    /// Memory.
    pub memory: MemoryCounts,
    /// Streams, in the order in which they were first seen.
    pub streams: Vec<(StreamId, StreamCounts)>,
    /// Resources.
    pub resources: Vec<ResourceUsage>,
    /// Faults by event number.
    pub faults: Vec<(u8, u64)>,
    /// Cache entries that had to leave, by whose entry came and whose went: VMID above 16 bits of
    /// ASID.
    pub evictions: Matrix,
    /// Cycles waited for a walk slot, by whose walk ended the wait and who waited: StreamIDs.
    pub walk_waits: Matrix,
    /// Commands that were not legal, and did nothing.
    pub illegal_commands_count: u64,
}

impl Report {
    /// Transactions of one class.
    pub fn class(&self, class: LatencyClass) -> &Latencies {
        &self.latencies[class as usize]
    }

    /// The use of the resource with this name.
    pub fn resource(&self, name: &str) -> Option<&ResourceUsage> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// What the run has counted so far.
    pub fn report(&self) -> Report {
        let now = self.scheduler.now();
        let mut stack = LatencyStack::default();
        let mut total = StreamCounts::default();
        for (_, counts) in &self.streams {
            stack.merge(&counts.stack);
            total.transactions_count += counts.transactions_count;
            total.transferred_bytes += counts.transferred_bytes;
            total.latency_cycles += counts.latency_cycles;
        }
        Report {
            cycles: now,
            transactions_count: total.transactions_count,
            transferred_bytes: total.transferred_bytes,
            latency_cycles: total.latency_cycles,
            latencies: self.latencies.clone(),
            stack,
            tbus: self.tbus.iter().map(|unit| unit.counts).collect(),
            tcu: self.tcu,
            ats: self.ats.are_on().then_some(self.ats.counts),
            memory: self.memory.counts(),
            streams: self.streams.clone(),
            resources: self.resources(now),
            faults: self.faults.iter().map(|(&id, &n)| (id, n)).collect(),
            evictions: self.evictions.clone(),
            walk_waits: self.walk_waits.clone(),
            illegal_commands_count: self.commands.illegal(),
        }
    }

    fn resources(&self, now: Cycle) -> Vec<ResourceUsage> {
        let tcu = &self.config.tcu;
        let mut all = Vec::new();
        let mut add = |name: String, capacity: u32, usage: Usage| {
            all.push(ResourceUsage {
                name,
                capacity_count: capacity.into(),
                usage,
            });
        };
        for (number, unit) in self.tbus.iter().enumerate() {
            let name = |what: &str| format!("tbu{number}.{what}");
            add(name("slots"), self.config.tbu.slots, unit.slots.usage(now));
            add(name("port"), 1, unit.port.usage());
            let lookups = self.config.micro_tlb.lookups;
            add(name("micro_tlb"), lookups, unit.micro_pipe.usage());
            let lookups = self.config.main_tlb.lookups;
            add(name("main_tlb"), lookups, unit.main_pipe.usage());
            add(name("link_up"), 1, unit.up.usage());
            add(name("link_down"), 1, unit.down.usage());
        }
        add(
            "tcu.request_slots".into(),
            tcu.request_slots,
            self.requests.usage(now),
        );
        add(
            "tcu.configuration_cache".into(),
            self.config.configuration_cache.lookups,
            self.configuration_pipe.usage(),
        );
        add(
            "tcu.configuration_slots".into(),
            tcu.configuration_slots,
            self.configuration_slots.usage(now),
        );
        add(
            "tcu.walk_slots".into(),
            tcu.walk_slots,
            self.walk_slots.usage(now),
        );
        add(
            "tcu.walk_cache".into(),
            self.config.walk_cache.lookups,
            self.walk_pipe.usage(),
        );
        for (channel, usage) in self.memory.usage().enumerate() {
            add(format!("memory.channel{channel}"), 1, usage);
        }
        add(
            "events.write_slots".into(),
            self.config.events.write_slots,
            self.event_pipe.usage(),
        );
        if self.ats.are_on() {
            self.ats.usage(now, add);
        }
        all
    }
}

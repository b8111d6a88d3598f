//! The end of a transaction: order, output port, statistics, and what its going sets free.

use super::super::config::Completion;
use super::super::operation::{Completed, Workload};
use super::super::probe::{Probe, Track};
use super::super::scheduler::{Cycle, Sleeper};
use super::super::statistics::{Cause, LatencyClass};
use super::devices::Leg;
use super::flight::State;
use super::invalidate::{INVALIDATIONS, MOST_INVALIDATIONS};
use super::{COMMANDS, FIRST, Machine};
use crate::addr::Pa;
use crate::command::TlbTag;
use crate::ids::Asid;
use crate::mem::PhysMem;
use crate::transaction::{Outcome, Transaction};

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// The transaction has its outcome and leaves when those before it have.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    pub(super) fn ready<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let queue = match self.config.tbu.completion {
            Completion::Any => {
                self.send_out(id, now, workload);
                return None;
            }
            Completion::Stream => self.flights[id as usize].stream as usize,
            Completion::All => 0,
        };
        self.flights[id as usize].ready = true;
        while let Some(&first) = self.order[queue].front()
            && self.flights[first as usize].ready
        {
            self.order[queue].pop_front();
            // The place may be taken anew as soon as the transaction is gone.
            self.flights[first as usize].ready = false;
            self.send_out(first, now, workload);
        }
        None
    }

    fn send_out<W: Workload>(&mut self, id: u32, now: Cycle, workload: &mut W) {
        self.charge(id, Cause::Order, now);
        let cycles = self.config.tbu.output_cycles;
        if cycles == 0 {
            self.sent(id, now, workload);
            return;
        }
        let flight = &mut self.flights[id as usize];
        flight.state = State::Sent;
        let unit = &mut self.tbus[flight.tbu as usize];
        let done = unit.output.start(now, cycles) + cycles;
        self.charge(id, Cause::Output, done);
        self.scheduler.wake(id + FIRST, done);
    }

    /// The transaction leaves the SMMU.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    pub(super) fn sent<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        if self.flights[id as usize].leg != Leg::Untranslated {
            self.back_at_device(id);
        }
        let flight = &mut self.flights[id as usize];
        if !matches!(flight.outcome, Outcome::Translated(_)) {
            flight.class = LatencyClass::Fault;
            let outcome = flight.outcome;
            let transaction = flight.arrival.transaction;
            let settled = self.record(&transaction, outcome, now);
            self.flights[id as usize].outcome = settled;
        }
        let flight = &mut self.flights[id as usize];
        let (tbu, stream) = (flight.tbu as usize, flight.stream as usize);
        let latency = now - flight.arrived;
        let class = flight.class;
        let counts = &mut self.streams[stream].1;
        counts.transactions_count += 1;
        counts.by_class_count[class as usize] += 1;
        counts.latency_cycles += latency;
        counts.latency_cycles_max = counts.latency_cycles_max.max(latency);
        if class != LatencyClass::Fault {
            let bytes = u64::from(flight.arrival.bytes);
            counts.transferred_bytes += bytes;
            self.tbus[tbu].counts.transferred_bytes += bytes;
        }
        self.latencies[class as usize].record(latency);
        if flight.awaited {
            self.looks_no_more(id, now);
        }
        if self.probe.watches() {
            let flight = &self.flights[id as usize];
            let (begin, index) = (flight.arrived, flight.index);
            let transaction = &flight.arrival.transaction;
            let (stream, address) = (transaction.stream.get(), transaction.address.get());
            let track = Track::Stream(stream);
            self.watch(track, class.name(), (begin, now), index, address);
        }
        let flight = &self.flights[id as usize];
        workload.completed(&Completed {
            index: flight.index,
            arrival: &flight.arrival,
            outcome: &flight.outcome,
            latency_cycles: latency,
            time: now,
        });
        if flight.leg != Leg::Ended
            && let Some((next, _)) = self.tbus[tbu].slots.release(now)
        {
            self.resume(next, State::Arrived);
        }
        match self.config.device.round_trip_cycles {
            0 => self.gone(id, workload),
            cycles => {
                self.flights[id as usize].state = State::Returned;
                self.scheduler.wake(id + FIRST, now + cycles);
            }
        }
        None
    }

    /// It looks at translations no more: a CMD_SYNC that waited for it may complete.
    pub(super) fn looks_no_more(&mut self, id: u32, now: Cycle) {
        let flight = &mut self.flights[id as usize];
        flight.touched = false;
        if std::mem::take(&mut flight.awaited) && self.commands.arrived() {
            self.scheduler.wake(COMMANDS, now);
        }
    }

    /// The device is done with the transaction; another may arrive.
    pub(super) fn gone<W: Workload>(&mut self, id: u32, workload: &mut W) {
        if self.flights[id as usize].leg != Leg::Untranslated {
            self.over_at_device(id);
        }
        self.flights[id as usize].index = u64::MAX;
        self.free.push(id);
        self.in_flight -= 1;
        self.issue(workload);
    }

    /// Counts a fault, and writes the event it records or keeps the transaction that stalls.
    #[cold]
    fn record(&mut self, transaction: &Transaction, outcome: Outcome, now: Cycle) -> Outcome {
        if let Some(fault) = outcome.fault() {
            let event = fault.cause.event_id();
            *self.faults.entry(event.0).or_default() += 1;
        }
        if outcome.event().is_some() {
            self.write_event(now);
        }
        self.smmu.settle(&mut self.mem, transaction, outcome)
    }

    /// An event record is written: one at a time, and nobody waits for it but the next one.
    pub(super) fn write_event(&mut self, now: Cycle) {
        self.tcu.events_count += 1;
        let bytes = self.config.events.record_bytes;
        let served = self.memory.write(now, Pa::new(0), bytes);
        self.event_pipe.start(now, served.done - now);
    }

    /// Counts who made whom leave a cache.
    pub(super) fn evicted(&mut self, by: &TlbTag, whom: &TlbTag) {
        self.evictions.add(owner(by), owner(whom), 1);
    }
}

/// Whose a translation is: its VMID, above 16 bits of ASID.
fn owner(tag: &TlbTag) -> u32 {
    let asid = tag.asid.map_or(0, Asid::get);
    u32::from(tag.vmid.get()) << 16 | u32::from(asid)
}

/// A sleeper is a transaction's place behind the machine's own engines.
const _: () = assert!(INVALIDATIONS == COMMANDS + 1 && size_of::<Sleeper>() == 4);
const _: () = assert!(FIRST == INVALIDATIONS + MOST_INVALIDATIONS);

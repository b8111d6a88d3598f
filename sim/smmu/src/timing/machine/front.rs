//! The way in: operations as they are issued, and a transaction through port and TLBs of its TBU.

use super::super::config::Completion;
use super::super::operation::{Arrival, Operation, Workload};
use super::super::probe::{Probe, Track};
use super::super::resource::Grant;
use super::super::scheduler::Cycle;
use super::super::statistics::{Cause, LatencyClass};
use super::devices::Leg;
use super::flight::{Flight, Luggage, State};
use super::tbu::{Hazard, Way};
use super::{FIRST, Held, Machine, NOT_YET, SOURCE};
use crate::mem::{AccessClass, PhysMem};

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// Issues operations until one has to wait.
    pub(super) fn issue<W: Workload>(&mut self, workload: &mut W) {
        loop {
            let now = self.scheduler.now();
            match self.held {
                Held::Nothing => {}
                Held::Transaction(index) if self.is_over(index) => self.held = Held::Nothing,
                Held::Commands if self.commands.is_idle() => self.held = Held::Nothing,
                Held::Fence if self.in_flight == 0 && self.commands.is_idle() => {
                    self.held = Held::Nothing;
                }
                _ => return,
            }
            if self.in_flight == self.config.device.outstanding || self.commands.is_full() {
                return;
            }
            let waiting = self.waiting.take().map(Operation::Arrive);
            let Some(operation) = waiting.or_else(|| workload.next_operation()) else {
                self.held = Held::End;
                return;
            };
            match operation {
                Operation::Arrive(arrival) => {
                    let earliest = arrival.not_before.max(self.next_arrival);
                    if earliest > now {
                        self.waiting = Some(arrival);
                        self.held = Held::Time;
                        self.scheduler.wake(SOURCE, earliest);
                        return;
                    }
                    self.next_arrival = now + self.config.device.interval_cycles;
                    self.arrive(arrival, now);
                }
                Operation::Command(words) => self.queue_command(words, now),
                Operation::Register {
                    offset,
                    width,
                    value,
                } => self.smmu.mmio_write(offset, width, value),
                Operation::Store { pa, value } => {
                    // Software's own memory: an abort is as if it were not there.
                    let class = AccessClass::Stage1;
                    let _ = self.mem.write64(pa, value, class);
                }
                Operation::AwaitTransaction(index) => self.held = Held::Transaction(index),
                Operation::AwaitCommands => self.held = Held::Commands,
                Operation::Fence => self.held = Held::Fence,
            }
        }
    }

    /// Whether a transaction is over, or has not arrived and never will before this is asked.
    fn is_over(&self, index: u64) -> bool {
        !self.flights.iter().any(|flight| flight.index == index)
    }

    /// A device sends a transaction.
    #[inline]
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Cycle) {
        let stream = self.stream_place(arrival.transaction.stream);
        let tbu = arrival.transaction.stream.get() % self.config.tbu.count;
        let flight = Flight {
            arrival,
            index: self.arrivals,
            arrived: now,
            since: now,
            state: State::Arrived,
            class: LatencyClass::Bypass,
            leg: Leg::Untranslated,
            tbu,
            stream,
            slot: 0,
            miss: None,
            touched: false,
            awaited: false,
            ready: false,
            began: 0,
            fetched: 0,
            outcome: NOT_YET,
        };
        self.arrivals += 1;
        self.in_flight += 1;
        let id = if let Some(id) = self.free.pop() {
            self.flights[id as usize] = flight;
            id
        } else {
            self.flights.push(flight);
            self.luggage.push(Luggage::default());
            self.flights.len() as u32 - 1
        };
        let step = if self.ats.are_on() {
            self.at_device(id, now)
        } else {
            self.submit(id, now)
        };
        if let Some(time) = step {
            self.scheduler.wake(id + FIRST, time);
        }
    }

    /// The transaction goes to its TBU.
    #[inline(always)]
    pub(super) fn submit(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        flight.state = State::Arrived;
        let (tbu, stream) = (flight.tbu, flight.stream);
        match self.config.tbu.completion {
            Completion::Any => {}
            Completion::Stream => self.order[stream as usize].push_back(id),
            Completion::All => self.order[0].push_back(id),
        }
        let unit = &mut self.tbus[tbu as usize];
        unit.counts.transactions_count += 1;
        match unit.slots.acquire(id, now) {
            // Nothing is decided before the lookup is over: no need to be woken for the port.
            Grant::Held => self.enter(id, now),
            Grant::InLine => None,
        }
    }

    /// Through the port and into the micro TLB.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    #[inline]
    pub(super) fn enter(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.charge(id, Cause::TbuSlot, now);
        let Flight { arrival, tbu, .. } = &self.flights[id as usize];
        let (tbu, config) = (*tbu as usize, &self.config.tbu);
        let mut busy = config.port_cycles;
        if arrival.transaction.kind.is_write() {
            busy = busy.max(arrival.bytes.div_ceil(config.beat_bytes).into());
        }
        let unit = &mut self.tbus[tbu];
        let through = unit.port.start(now, busy) + busy;
        let latency = self.config.micro_tlb.latency_cycles;
        let done = if unit.micro.is_off() {
            through
        } else {
            unit.micro_pipe.start(through, latency) + latency
        };
        self.charge(id, Cause::Port, through);
        self.charge(id, Cause::MicroTlb, done);
        let flight = &mut self.flights[id as usize];
        flight.state = match flight.leg {
            Leg::Translated => State::Translated,
            _ => State::MicroTlb,
        };
        Some(done)
    }

    #[inline]
    pub(super) fn micro_tlb<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        let transaction = &flight.arrival.transaction;
        if !self.smmu.part.regs.cr0().smmuen() {
            flight.outcome = self.smmu.part.disabled(transaction);
            return self.ready(id, now, workload);
        }
        flight.touched = true;
        let unit = &mut self.tbus[flight.tbu as usize];
        let known = unit
            .configurations
            .lookup(transaction.stream, transaction.substream);
        if !unit.micro.is_off() {
            unit.counts.micro_tlb_lookups_count += 1;
            let found = known.and_then(|known| {
                unit.micro
                    .answer(&self.smmu.part, known, &mut self.mem, transaction)
            });
            if let Some((outcome, way)) = found {
                flight.outcome = outcome;
                flight.class = match way {
                    Way::Tlb => LatencyClass::MicroTlb,
                    Way::Nothing => LatencyClass::Bypass,
                };
                return self.ready(id, now, workload);
            }
            unit.counts.micro_tlb_misses_count += 1;
        }
        flight.state = State::MainTlb;
        if unit.main.is_off() {
            return self.main_tlb(id, now, workload);
        }
        let latency = self.config.main_tlb.latency_cycles;
        let done = unit.main_pipe.start(now, latency) + latency;
        self.charge(id, Cause::MainTlb, done);
        Some(done)
    }

    #[inline]
    pub(super) fn main_tlb<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        let transaction = &flight.arrival.transaction;
        let unit = &mut self.tbus[flight.tbu as usize];
        let known = unit
            .configurations
            .lookup(transaction.stream, transaction.substream);
        if !unit.main.is_off() {
            unit.counts.main_tlb_lookups_count += 1;
            let found = known.and_then(|known| {
                unit.main
                    .answer(&self.smmu.part, known, &mut self.mem, transaction)
            });
            if let Some((outcome, way)) = found {
                flight.outcome = outcome;
                flight.class = match way {
                    Way::Tlb => LatencyClass::MainTlb,
                    Way::Nothing => LatencyClass::Bypass,
                };
                if way == Way::Tlb {
                    unit.promote(transaction);
                }
                return self.ready(id, now, workload);
            }
            unit.counts.main_tlb_misses_count += 1;
        }
        match unit.miss(id, transaction) {
            Hazard::Waits => {
                unit.counts.merged_count += 1;
                flight.state = State::Merged;
                None
            }
            Hazard::Leads(miss) => {
                flight.miss = Some(miss);
                Some(self.send(id, now))
            }
            Hazard::Alone => Some(self.send(id, now)),
        }
    }

    /// The miss it waited for is answered: what that taught the TBU may do.
    pub(super) fn merged<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        self.charge(id, Cause::Hazard, now);
        let flight = &mut self.flights[id as usize];
        let transaction = &flight.arrival.transaction;
        let unit = &mut self.tbus[flight.tbu as usize];
        let known = unit
            .configurations
            .lookup(transaction.stream, transaction.substream);
        let tlb = if unit.main.is_off() {
            &mut unit.micro
        } else {
            &mut unit.main
        };
        let found =
            known.and_then(|known| tlb.answer(&self.smmu.part, known, &mut self.mem, transaction));
        if let Some((outcome, _)) = found {
            flight.outcome = outcome;
            flight.class = LatencyClass::Merged;
            return self.ready(id, now, workload);
        }
        match unit.miss(id, transaction) {
            Hazard::Waits => None,
            Hazard::Leads(miss) => {
                flight.miss = Some(miss);
                Some(self.send(id, now))
            }
            Hazard::Alone => Some(self.send(id, now)),
        }
    }

    /// A request goes to the TCU.
    pub(super) fn send(&mut self, id: u32, now: Cycle) -> Cycle {
        let flight = &mut self.flights[id as usize];
        flight.state = State::AtTcu;
        let (tbu, index) = (flight.tbu, flight.index);
        let unit = &mut self.tbus[tbu as usize];
        unit.counts.requests_count += 1;
        let link = &self.config.link;
        let start = unit.up.start(now, link.interval_cycles);
        let done = start + link.latency_cycles;
        self.watch(Track::LinkUp(tbu), "request", (start, done), index, 0);
        self.charge(id, Cause::Link, done);
        done
    }
}

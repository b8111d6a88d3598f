//! The way of a request into the TCU: its configuration, cached or fetched.

use super::super::probe::{Probe, Track};
use super::super::resource::Grant;
use super::super::scheduler::Cycle;
use super::super::statistics::{Cause, LatencyClass};
use super::super::steps::{Recorder, TimedView};
use super::Machine;
use super::devices::Leg;
use super::flight::{Lesson, Luggage, State};
use super::tcu::{Played, Work};
use crate::cache::{ConfigurationEntry, Context};
use crate::fault::{Cause as FaultCause, Raised};
use crate::fetch::{Stage1Use, StreamAction};
use crate::mem::PhysMem;
use crate::perm::Request;
use crate::translate::silent_abort;
use crate::walk::Walker;

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// The request has reached the TCU.
    pub(super) fn at_tcu(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.flights[id as usize].state = State::Requested;
        match self.requests.acquire(id, now) {
            Grant::Held => self.requested(id, now),
            Grant::InLine => None,
        }
    }

    /// It has a request slot: the configuration cache is asked.
    pub(super) fn requested(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.charge(id, Cause::RequestSlot, now);
        self.tcu.requests_count += 1;
        self.flights[id as usize].state = State::Configuration;
        if self.smmu.caches.configuration.is_off() {
            return self.configuration(id, now);
        }
        let latency = self.config.configuration_cache.latency_cycles;
        let done = self.configuration_pipe.start(now, latency) + latency;
        self.charge(id, Cause::ConfigurationCache, done);
        Some(done)
    }

    /// The configuration cache has answered.
    pub(super) fn configuration(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.charge(id, Cause::ConfigurationSlot, now);
        let flight = &mut self.flights[id as usize];
        let transaction = flight.arrival.transaction;
        flight.touched = true;
        flight.fetched = self.commands.sequence();
        self.tcu.configuration_lookups_count += 1;
        let known = self
            .smmu
            .caches
            .configuration
            .lookup(transaction.stream, transaction.substream);
        if let Some(entry) = known {
            self.luggage[id as usize] = Luggage {
                configuration: *entry,
                keep: true,
                lesson: Lesson::Nothing,
            };
            return self.configured(id, now);
        }
        self.tcu.configuration_misses_count += 1;
        if flight.leg == Leg::Untranslated {
            flight.class = LatencyClass::Configuration;
        }
        // Another fetch of the same configuration serves this one too.
        let flights = &self.flights;
        let same = self.fetching.iter_mut().find(|(leader, _)| {
            let other = &flights[*leader as usize].arrival.transaction;
            other.stream == transaction.stream && other.substream == transaction.substream
        });
        if let Some((_, waiters)) = same {
            self.tcu.configuration_merged_count += 1;
            waiters.push(id);
            return None;
        }
        self.fetching.push((id, Vec::new()));
        self.flights[id as usize].state = State::Fetching;
        match self.configuration_slots.acquire(id, now) {
            Grant::Held => self.fetching(id, now),
            Grant::InLine => None,
        }
    }

    /// It has a configuration slot: STE and CD are read, at this instant, and charged afterwards.
    pub(super) fn fetching(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.charge(id, Cause::ConfigurationSlot, now);
        let slot = self.free_fetches.pop().expect("a slot for each grant");
        let flight = &mut self.flights[id as usize];
        flight.slot = slot;
        flight.state = State::FetchSteps;
        flight.fetched = self.commands.sequence();
        let transaction = flight.arrival.transaction;
        let play = &mut self.plays[slot as usize];
        let tape = play.begin(now, self.commands.sequence());
        let mut walker = Walker {
            mem: &mut self.mem,
            observer: &mut Recorder { tape: &tape },
            cache: TimedView::new(
                &mut self.smmu.caches,
                (Context::default(), Context::default()),
                (&tape, &mut play.fills),
                (&mut self.tcu, self.costs),
            ),
        };
        let fetched = self.smmu.part.fetch_by(&mut walker, &transaction);
        play.steps = tape.into_inner();
        let luggage = &mut self.luggage[id as usize];
        luggage.lesson = Lesson::Nothing;
        match fetched {
            Ok(entry) => {
                luggage.configuration = entry;
                luggage.keep = true;
            }
            Err(fault) if self.flights[id as usize].leg != Leg::Untranslated => {
                self.unconfigured(id, &fault);
            }
            Err(fault) => {
                let request = fault.request();
                let part = &self.smmu.part;
                self.flights[id as usize].outcome =
                    part.faulted(fault.raised, &transaction, &request);
                luggage.configuration = ConfigurationEntry::default();
                luggage.keep = false;
            }
        }
        self.fetch_step(id, now)
    }

    /// Steps of the fetch; at their end the configuration is known, to others too.
    pub(super) fn fetch_step(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        if let Played::Until(time) = self.play(id, now, Work::Fetch) {
            return Some(time);
        }
        let flight = &self.flights[id as usize];
        let (slot, index) = (flight.slot, flight.index);
        let transaction = flight.arrival.transaction;
        let play = &self.plays[slot as usize];
        let (start, began) = (play.start, play.began);
        let number = slot - self.config.tcu.walk_slots;
        let stream = transaction.stream.get();
        let track = Track::ConfigurationSlot(number);
        self.watch(track, "fetch", (start, now), index, stream.into());
        self.free_fetches.push(slot);
        if let Some((next, _)) = self.configuration_slots.release(now) {
            self.resume(next, State::Fetching);
        }
        let found = self.luggage[id as usize].keep;
        let overtaken = self.is_overtaken(began, |command| {
            let index = transaction.substream.unwrap_or_default();
            command.covers_cd(transaction.stream, index)
        });
        if found && overtaken {
            self.tcu.suppressed_fills_count += 1;
        } else if found {
            let entry = self.luggage[id as usize].configuration;
            self.smmu
                .caches
                .configuration
                .insert(transaction.stream, transaction.substream, entry);
        }
        let place = self.fetching.iter().position(|(leader, _)| *leader == id);
        if let Some(place) = place {
            let (_, waiters) = self.fetching.swap_remove(place);
            for waiter in waiters {
                self.resume(waiter, State::Configuration);
            }
        }
        if found {
            self.configured(id, now)
        } else if self.is_second_stage(id) {
            self.walk_in_turn(id, now)
        } else {
            self.reply(id, now)
        }
    }

    /// STE and CD are known: the answer, if they suffice for it, else a walk.
    fn configured(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        match self.flights[id as usize].leg {
            Leg::Untranslated => {}
            Leg::Request => return self.request_configured(id, now),
            Leg::Translated | Leg::Ended => return self.translated_configured(id, now),
        }
        let flight = &mut self.flights[id as usize];
        let transaction = &flight.arrival.transaction;
        let entry = &self.luggage[id as usize].configuration;
        let part = &self.smmu.part;
        let stream = match &entry.stream {
            Ok(stream) => stream,
            Err(illegal) => {
                let raised = Raised::always(FaultCause::BadSte(*illegal));
                flight.outcome = part.faulted(raised, transaction, &Request::TABLE_READ);
                return self.reply(id, now);
            }
        };
        if stream.action == StreamAction::Abort {
            flight.outcome = silent_abort(transaction);
            return self.reply(id, now);
        }
        let counts = &mut self.streams[flight.stream as usize].1;
        counts.vmid = stream.s2.as_ref().map(|s2| s2.vmid.get());
        let request = stream.request(transaction);
        let stage1 = match &entry.stage1 {
            Ok(stage1) => stage1,
            Err(illegal) => {
                let raised = Raised::always(FaultCause::BadCd(*illegal));
                flight.outcome = part.faulted(raised, transaction, &request);
                return self.reply(id, now);
            }
        };
        if let Stage1Use::Translates(s1) = stage1 {
            counts.asid = Some(s1.asid.get());
        } else if stream.s2.is_none() {
            let mut walker = Walker {
                mem: &mut self.mem,
                observer: &mut (),
                cache: (),
            };
            let through = part.walk(&mut walker, stream, stage1, transaction, request);
            flight.outcome = part.outcome(through, transaction, request);
            return self.reply(id, now);
        }
        self.walk_in_turn(id, now)
    }

    /// A walk is needed.
    #[inline]
    pub(super) fn walk_in_turn(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.flights[id as usize].state = State::Walking;
        match self.walk_slots.acquire(id, now) {
            Grant::Held => self.walking(id, now),
            Grant::InLine => {
                self.tcu.buffered_count += 1;
                None
            }
        }
    }
}

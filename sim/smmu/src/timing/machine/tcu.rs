//! The walk of a request, and the answer back to its TBU.

use super::super::operation::Workload;
use super::super::probe::{Probe, Track};
use super::super::scheduler::Cycle;
use super::super::statistics::{Cause, LatencyClass};
use super::super::steps::{Fill, Recorder, Step, TimedView, level_index};
use super::devices::Leg;
use super::flight::{Lesson, State};
use super::tbu::ipa_lesson;
use super::{FIRST, Machine, Play};
use crate::addr::Pa;
use crate::cache::{ConfigurationEntry, ContiguousHint, TlbStructure, tag_of};
use crate::command::Command;
use crate::fetch::Stage1Use;
use crate::mem::PhysMem;
use crate::observe::Structure;
use crate::perm::Request;
use crate::transaction::{Path, Transaction};
use crate::translate::Through;
use crate::translate::hit::{StageKey, learned};
use crate::walk::Walker;

/// How far the steps of a walk or fetch have come.
pub(super) enum Played {
    /// The next step is due then.
    Until(Cycle),
    /// All are done.
    Done,
}

/// Whose steps they are: decides what their time is charged to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Walk,
    Fetch,
}

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// It has a walk slot: the walk is made, at this instant, and charged afterwards.
    pub(super) fn walking(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        if flight.since < now && self.last_walker != u32::MAX {
            let (whom, waited) = (flight.arrival.transaction.stream.get(), now - flight.since);
            self.walk_waits.add(self.last_walker, whom, waited);
        }
        let slot = self.free_walks.pop().expect("a slot for each grant");
        flight.slot = slot;
        flight.state = State::WalkSteps;
        flight.began = self.commands.sequence();
        match flight.leg {
            Leg::Untranslated => self.walk_for(id, slot, now),
            Leg::Request => self.walk_for_request(id, slot, now),
            Leg::Translated | Leg::Ended => self.walk_for_translated(id, slot, now),
        }
        self.tcu.walks_count += 1;
        self.charge(id, Cause::WalkSlot, now);
        self.walk_step(id, now)
    }

    /// The walk of a transaction.
    #[inline(always)]
    fn walk_for(&mut self, id: u32, slot: u32, now: Cycle) {
        let transaction = self.flights[id as usize].arrival.transaction;
        let play = &mut self.plays[slot as usize];
        let tape = play.begin(now, self.commands.sequence());
        let luggage = &mut self.luggage[id as usize];
        let entry = &luggage.configuration;
        let (Ok(stream), Ok(stage1)) = (&entry.stream, &entry.stage1) else {
            unreachable!("only legal configurations walk");
        };
        let request = stream.request(&transaction);
        let mut walker = Walker {
            mem: &mut self.mem,
            observer: &mut Recorder { tape: &tape },
            cache: TimedView::new(
                &mut self.smmu.caches,
                (entry.context, entry.stage2),
                (&tape, &mut play.fills),
                (&mut self.tcu, self.costs),
            ),
        };
        let part = &self.smmu.part;
        let through = part.walk(&mut walker, stream, stage1, &transaction, request);
        play.steps = tape.into_inner();
        let path = through.as_ref().ok().map(|through| through.path);
        let lesson = match &through {
            Ok(through) => lesson(entry, through, &transaction, request),
            Err(_) => Lesson::Nothing,
        };
        luggage.lesson = lesson;
        let flight = &mut self.flights[id as usize];
        flight.outcome = part.outcome(through, &transaction, request);
        if flight.class != LatencyClass::Configuration {
            flight.class = match path {
                Some(Path::Stage1) => LatencyClass::Stage1,
                Some(Path::Stage2) => LatencyClass::Stage2,
                _ => LatencyClass::Nested,
            };
        }
    }

    /// Steps of the walk; at their end the answer goes back.
    pub(super) fn walk_step(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        if let Played::Until(time) = self.play(id, now, Work::Walk) {
            return Some(time);
        }
        let flight = &self.flights[id as usize];
        let (slot, index) = (flight.slot, flight.index);
        let transaction = &flight.arrival.transaction;
        let (stream, address) = (transaction.stream.get(), transaction.address.get());
        let start = self.plays[slot as usize].start;
        self.watch(Track::WalkSlot(slot), "walk", (start, now), index, address);
        self.free_walks.push(slot);
        self.last_walker = stream;
        if let Some((next, _)) = self.walk_slots.release(now) {
            self.resume(next, State::Walking);
        }
        self.reply(id, now)
    }

    /// Plays steps until one takes time.
    #[inline]
    pub(super) fn play(&mut self, id: u32, now: Cycle, work: Work) -> Played {
        loop {
            let slot = self.flights[id as usize].slot as usize;
            let play = &mut self.plays[slot];
            let Some(&step) = play.steps.get(play.next) else {
                return Played::Done;
            };
            play.next += 1;
            let done = match step {
                Step::Begin => {
                    let done = now + self.config.tcu.walk_start_cycles;
                    self.charge_work(id, work, Cause::WalkStep, done);
                    done
                }
                Step::Probe { cycles } => {
                    let done = self.walk_pipe.start(now, cycles) + cycles;
                    self.charge_work(id, work, Cause::WalkCache, done);
                    done
                }
                Step::Read { pa, structure } => self.read(id, now, work, (pa, structure)),
                Step::Update { pa } => {
                    self.tcu.updates_count += 1;
                    let served = self.memory.write(now, pa, 8);
                    self.charge_work(id, work, Cause::MemoryRead, served.done);
                    served.done
                }
                Step::Fill(place) => {
                    self.fill(slot, place);
                    now
                }
            };
            if done > now {
                return Played::Until(done);
            }
        }
    }

    #[inline]
    fn charge_work(&mut self, id: u32, work: Work, cause: Cause, until: Cycle) {
        let cause = match work {
            Work::Walk => cause,
            Work::Fetch => Cause::ConfigurationRead,
        };
        self.charge(id, cause, until);
    }

    /// A read of memory and the work on what it brought.
    #[inline]
    fn read(&mut self, id: u32, now: Cycle, work: Work, (pa, structure): (Pa, Structure)) -> Cycle {
        let flight = &self.flights[id as usize];
        let (place, index) = (flight.stream as usize, flight.index);
        let bytes = match structure {
            Structure::Ste | Structure::Cd => 64,
            _ => 8,
        };
        let (stage, level, name) = match structure {
            Structure::Stage1(level) => (0, level, "stage 1"),
            Structure::Stage2(level) => (1, level, "stage 2"),
            _ => (2, 0, "configuration"),
        };
        let counts = &mut self.streams[place].1;
        match work {
            Work::Walk => counts.walk_reads_count += 1,
            Work::Fetch => counts.configuration_reads_count += 1,
        }
        let mut step = 0;
        if stage < 2 {
            self.tcu.walk_reads_count += 1;
            self.tcu.reads_by_level_count[stage][level_index(level)] += 1;
            step = self.config.tcu.step_cycles;
        } else {
            self.tcu.configuration_reads_count += 1;
        }
        let served = self.memory.read(now, pa, bytes);
        if let Some(channel) = served.channel {
            let begin = now + served.queued;
            let track = Track::Memory(channel);
            self.watch(track, name, (begin, served.done), index, pa.get());
        }
        let done = served.done + step;
        if work == Work::Walk && !self.probe.watches() {
            // The three causes at once: this is the busiest place of a walk.
            let stack = &mut self.streams[place].1.stack;
            stack.add(Cause::MemoryQueue, served.queued);
            stack.add(Cause::MemoryRead, served.done - now - served.queued);
            stack.add(Cause::WalkStep, step);
            self.flights[id as usize].since = done;
            return done;
        }
        self.charge_work(id, work, Cause::MemoryQueue, now + served.queued);
        self.charge_work(id, work, Cause::MemoryRead, served.done);
        self.charge_work(id, work, Cause::WalkStep, done);
        done
    }

    /// Something learned becomes known to all, unless an invalidation has overtaken it.
    // Apart from the steps, which are many and need little of the stack.
    #[inline(never)]
    fn fill(&mut self, slot: usize, place: u32) {
        let Play { fills, began, .. } = &self.plays[slot];
        let (fill, began) = (fills[place as usize], *began);
        let tag = || match &fill {
            Fill::Table {
                context,
                input,
                entry,
                ..
            } => tag_of(*context, *input, entry.lsb, entry),
            Fill::Leaf {
                context,
                ipa,
                entry,
            } => tag_of(*context, *ipa, entry.stage2.leaf_log2, entry),
        };
        let scope = self.smmu.part.regs.invalidation_scope();
        let overtaken = self.is_overtaken(began, |command| match command {
            Command::Tlbi(tlbi) => tlbi.covers(&tag(), scope),
            _ => false,
        });
        if overtaken {
            self.tcu.suppressed_fills_count += 1;
            return;
        }
        let caches = &mut self.smmu.caches;
        let evicted = match fill {
            Fill::Table {
                stage,
                context,
                input,
                entry,
            } => caches.walk.insert(stage as usize, (context, input), entry),
            Fill::Leaf {
                context,
                ipa,
                entry,
            } => caches
                .stage2
                .insert(context, ipa, entry.stage2.leaf_log2, entry),
        };
        if let Some(evicted) = evicted {
            let tag = tag();
            self.evicted(&tag, &evicted);
        }
    }

    /// The TCU answers.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    pub(super) fn reply(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        if let Some((next, _)) = self.requests.release(now) {
            self.resume(next, State::Requested);
        }
        let flight = &mut self.flights[id as usize];
        if flight.leg == Leg::Request {
            return self.answer(id, now);
        }
        flight.state = State::Answered;
        let (tbu, index) = (flight.tbu, flight.index);
        let link = &self.config.link;
        let unit = &mut self.tbus[tbu as usize];
        let start = unit.down.start(now, link.interval_cycles);
        let done = start + link.latency_cycles;
        self.watch(Track::LinkDown(tbu), "answer", (start, done), index, 0);
        self.charge(id, Cause::Link, done);
        Some(done)
    }

    /// The answer is at the TBU, which learns from it.
    pub(super) fn answered<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let flight = &self.flights[id as usize];
        let (tbu, miss) = (flight.tbu as usize, flight.miss);
        let (fetched, began) = (flight.fetched, flight.began);
        let transaction = flight.arrival.transaction;
        if self.luggage[id as usize].keep {
            let overtaken = self.is_overtaken(fetched, |command| {
                let index = transaction.substream.unwrap_or_default();
                command.covers_cd(transaction.stream, index)
            });
            let (stream, substream) = (transaction.stream, transaction.substream);
            let unit = &mut self.tbus[tbu];
            // What is there already is as good: an invalidation would have removed it.
            if !overtaken && unit.configurations.lookup(stream, substream).is_none() {
                let entry = self.luggage[id as usize].configuration;
                unit.configurations.insert(stream, substream, entry);
            }
        }
        let lesson = std::mem::take(&mut self.luggage[id as usize].lesson);
        self.learn(tbu, &lesson, began);
        if let Some(miss) = miss {
            let mut woken = std::mem::take(&mut self.woken);
            self.tbus[tbu].answered(miss, &mut woken);
            for waiter in woken.drain(..) {
                self.scheduler.wake(waiter + FIRST, now);
            }
            self.woken = woken;
        }
        self.ready(id, now, workload)
    }

    /// A translation enters the TLBs of a TBU, unless an invalidation has overtaken it.
    fn learn(&mut self, tbu: usize, lesson: &Lesson, began: u64) {
        let tag = match lesson {
            Lesson::Nothing => return,
            Lesson::Va {
                context,
                input,
                size_log2,
                entry,
            } => tag_of(*context, *input, *size_log2, entry),
            Lesson::Ipa {
                context,
                input,
                size_log2,
                entry,
            } => tag_of(*context, *input, *size_log2, entry),
        };
        let scope = self.smmu.part.regs.invalidation_scope();
        let overtaken = self.is_overtaken(began, |command| match command {
            Command::Tlbi(tlbi) => tlbi.covers(&tag, scope),
            _ => false,
        });
        let unit = &mut self.tbus[tbu];
        if overtaken {
            unit.counts.suppressed_fills_count += 1;
            return;
        }
        unit.micro.learn(lesson);
        if let Some(evicted) = unit.main.learn(lesson) {
            self.evicted(&tag, &evicted);
        }
    }
}

/// What a walk teaches a TBU.
fn lesson(
    entry: &ConfigurationEntry,
    through: &Through,
    transaction: &Transaction,
    request: Request,
) -> Lesson {
    let (Ok(stream), Ok(stage1)) = (&entry.stream, &entry.stage1) else {
        return Lesson::Nothing;
    };
    if let Stage1Use::Translates(s1) = stage1 {
        let Some(key) = StageKey::new(s1, transaction, request) else {
            return Lesson::Nothing;
        };
        let how = (TlbStructure::Combined, ContiguousHint::Used);
        return match learned(entry, stream.s2.as_ref(), key.input, through, how) {
            Some((context, size_log2, value)) => Lesson::Va {
                context,
                input: key.input,
                size_log2,
                entry: value,
            },
            None => Lesson::Nothing,
        };
    }
    let (Some(s2), Some(leaf)) = (&stream.s2, &through.leaves.stage2) else {
        return Lesson::Nothing;
    };
    ipa_lesson(s2, entry.stage2, transaction.address.get(), leaf)
}

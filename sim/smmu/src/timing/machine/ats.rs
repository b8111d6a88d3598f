//! Translation by ATS in time: an access is looked up in its device's ATC; what it does not hold is
//! asked of the TCU, over the link and back; then the access goes to its TBU, translated.

use std::cell::RefCell;

use super::super::operation::Workload;
use super::super::probe::{Probe, Track};
use super::super::resource::Grant;
use super::super::scheduler::Cycle;
use super::super::statistics::{Cause, LatencyClass, TcuCounts};
use super::super::steps::{Recorder, Step, TimedView};
use super::devices::{AtcMiss, Leg};
use super::flight::State;
use super::{FIRST, Machine};
use crate::ats::{AtsTranslation, Refusal, TranslationCompletion, Trial};
use crate::fetch::{Stage1Use, StreamContext};
use crate::mem::{DryRun, PhysMem};
use crate::translate::silent_abort;
use crate::walk::Walker;

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// A device has an access to make.
    #[inline(never)]
    pub(super) fn at_device(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let wanted = self.flights[id as usize].arrival.transaction;
        if !self.ats.board(id, wanted) {
            return self.submit(id, now);
        }
        self.flights[id as usize].state = State::Atc;
        let latency = self.ats.config.latency_cycles;
        let (device, _) = self.ats.of(id);
        if device.atc.is_off() {
            return self.atc(id, now);
        }
        let done = device.look_up.start(now, latency) + latency;
        self.charge(id, Cause::Atc, done);
        Some(done)
    }

    /// The look-up is over.
    #[inline(never)]
    pub(super) fn atc(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let (device, wanted) = self.ats.of(id);
        if !device.uses_ats {
            return self.submit_untranslated(id, now);
        }
        if !device.atc.is_off() {
            let held = device.atc.lookup(wanted.substream, wanted.address.get());
            let held = held.filter(|held| held.allows(wanted));
            self.ats.counts.atc_lookups_count += 1;
            if let Some(translation) = held {
                self.translate(id, &translation, LatencyClass::AtcHit);
                return self.submit(id, now);
            }
            self.ats.counts.atc_misses_count += 1;
        }
        self.atc_miss(id, now)
    }

    /// The ATC cannot help: the request of another does, or one of its own.
    fn atc_miss(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let stu_log2 = self.ats.config.stu_log2;
        let (device, wanted) = self.ats.of(id);
        let (substream, unit) = (wanted.substream, wanted.address.get() >> stu_log2);
        let same = |miss: &&mut AtcMiss| miss.unit == unit && miss.substream == substream;
        if let Some(miss) = device.misses.iter_mut().find(same) {
            miss.waiters.push(id);
            self.ats.counts.atc_merged_count += 1;
            self.flights[id as usize].state = State::AtcMerged;
            return None;
        }
        device.misses.push(AtcMiss {
            leader: id,
            substream,
            unit,
            waiters: Vec::new(),
        });
        self.flights[id as usize].class = LatencyClass::AtcMiss;
        self.ask_in_turn(id, now)
    }

    fn ask_in_turn(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.flights[id as usize].state = State::AtsRequest;
        let (device, _) = self.ats.of(id);
        match device.requests.acquire(id, now) {
            Grant::Held => self.ask(id, now),
            Grant::InLine => None,
        }
    }

    /// A translation request goes to the SMMU.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    #[inline(never)]
    pub(super) fn ask(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.charge(id, Cause::AtsRequest, now);
        let request = self.ats.request(id);
        let (device, _) = self.ats.of(id);
        let sequence = device.sequence;
        self.ats.passages[id as usize].began = sequence;
        let flight = &mut self.flights[id as usize];
        flight.arrival.transaction = request.transaction();
        flight.leg = Leg::Request;
        flight.state = State::AtsAtTcu;
        let (tbu, index) = (flight.tbu, flight.index);
        let link = &mut self.ats.links[tbu as usize];
        let start = link.up.start(now, self.ats.config.link_interval_cycles);
        let done = start + self.ats.config.link_latency_cycles;
        let address = request.address.get();
        self.watch(Track::AtsUp(tbu), "request", (start, done), index, address);
        self.charge(id, Cause::AtsLink, done);
        Some(done)
    }

    /// The request has reached the SMMU.
    #[inline(never)]
    pub(super) fn asked(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.ats.counts.translation_requests_count += 1;
        let request = self.ats.request(id);
        match self.smmu.part.receive(&request) {
            Ok(()) => self.at_tcu(id, now),
            Err(refusal) => {
                self.conclude(id, Err(refusal));
                self.answer(id, now)
            }
        }
    }

    /// What the device will be told.
    pub(super) fn conclude(&mut self, id: u32, answer: Result<AtsTranslation, Refusal>) {
        let request = self.ats.request(id);
        let answer = self.smmu.part.completion(&request, answer);
        self.ats.passages[id as usize].answer = answer;
    }

    /// A request's STE and CD are known: the answer, if they suffice for it, else a walk.
    #[inline(never)]
    pub(super) fn request_configured(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let part = &self.smmu.part;
        let entry = &self.luggage[id as usize].configuration;
        let (_, stream, stage1) = match part.judge_request(Ok(entry)) {
            Ok(judged) => judged,
            Err(refusal) => {
                self.conclude(id, Err(refusal));
                return self.reply(id, now);
            }
        };
        let counts = &mut self.streams[self.flights[id as usize].stream as usize].1;
        counts.vmid = stream.s2.as_ref().map(|s2| s2.vmid.get());
        if let Stage1Use::Translates(s1) = stage1 {
            counts.asid = Some(s1.asid.get());
        } else if stream.s2.is_none() {
            let request = self.ats.request(id);
            let transaction = request.transaction();
            let mem = &mut self.mem;
            let answer = part.grant(&request, stream, stage1, |stream, stage1, access, _| {
                let mut walker = Walker {
                    mem: &mut *mem,
                    observer: &mut (),
                    cache: (),
                };
                part.walk(&mut walker, stream, stage1, &transaction, access)
            });
            self.conclude(id, answer);
            return self.reply(id, now);
        }
        self.walk_in_turn(id, now)
    }

    /// A request has a walk slot: its rights are found out at this instant, and charged afterwards as
    /// one walk.
    #[inline(never)]
    pub(super) fn walk_for_request(&mut self, id: u32, slot: u32, now: Cycle) {
        let request = self.ats.request(id);
        let transaction = request.transaction();
        let play = &mut self.plays[slot as usize];
        let tape = play.begin(now, self.commands.sequence());
        let entry = &self.luggage[id as usize].configuration;
        let (Ok(stream), Ok(stage1)) = (&entry.stream, &entry.stage1) else {
            unreachable!("only legal configurations walk");
        };
        let part = &self.smmu.part;
        let (caches, mem, fills) = (&mut self.smmu.caches, &mut self.mem, &mut play.fills);
        let (tcu, costs) = (&mut self.tcu, self.costs);
        let mut uncounted = TcuCounts::default();
        let attempt = |stream: &StreamContext, stage1: &Stage1Use, access, trial| {
            let (before, learned) = (tape.borrow().len(), fills.len());
            let counts = if before == 0 {
                &mut *tcu
            } else {
                &mut uncounted
            };
            let contexts = (entry.context, entry.stage2);
            let cache = TimedView::new(caches, contexts, (&tape, &mut *fills), (counts, costs));
            let observer = &mut Recorder { tape: &tape };
            let through = match trial {
                Trial::Real => {
                    let mut walker = Walker {
                        mem: &mut *mem,
                        observer,
                        cache,
                    };
                    part.walk(&mut walker, stream, stage1, &transaction, access)
                }
                Trial::Dry => {
                    let mut walker = Walker {
                        mem: &mut DryRun::new(&mut *mem),
                        observer,
                        cache,
                    };
                    part.walk(&mut walker, stream, stage1, &transaction, access)
                }
            };
            if trial == Trial::Dry {
                // Nothing has been updated, and what was seen may be what was not written.
                fills.truncate(learned);
            }
            fold(&tape, before, trial);
            through
        };
        let answer = part.grant(&request, stream, stage1, attempt);
        play.steps = tape.into_inner();
        self.conclude(id, answer);
    }

    /// The answer goes to the device; for the SMMU the request is over.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "every step gives the time of the next, if there is one"
    )]
    #[inline(never)]
    pub(super) fn answer(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        if let Some(event) = self.ats.passages[id as usize].answer.1.take() {
            self.write_event(now);
            self.smmu.record(&mut self.mem, &event);
        }
        self.looks_no_more(id, now);
        let flight = &mut self.flights[id as usize];
        flight.state = State::AtsAnswered;
        let (tbu, index) = (flight.tbu, flight.index);
        let address = flight.arrival.transaction.address.get();
        let link = &mut self.ats.links[tbu as usize];
        let start = link.down.start(now, self.ats.config.link_interval_cycles);
        let done = start + self.ats.config.link_latency_cycles;
        self.watch(Track::AtsDown(tbu), "answer", (start, done), index, address);
        self.charge(id, Cause::AtsLink, done);
        Some(done)
    }

    /// The answer is at the device.
    #[inline(never)]
    pub(super) fn told<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let passage = &self.ats.passages[id as usize];
        let (wanted, began, answer) = (passage.wanted, passage.began, passage.answer.0);
        let flight = &mut self.flights[id as usize];
        flight.arrival.transaction = wanted;
        flight.leg = Leg::Untranslated;
        let (device, _) = self.ats.of(id);
        let next = device.requests.release(now);
        if let TranslationCompletion::Success(translation) = &answer {
            let range = (wanted.address.get(), translation.size_log2);
            if device.is_overtaken(began, wanted.substream, range) {
                self.ats.counts.discarded_count += 1;
                if let Some((next, _)) = next {
                    self.resume(next, State::AtsRequest);
                }
                return self.ask_in_turn(id, now);
            }
            let (substream, input) = (wanted.substream, wanted.address.get());
            device.atc.insert(substream, input, *translation);
        }
        let place = device.misses.iter().position(|miss| miss.leader == id);
        let place = place.expect("a request is made for a miss");
        let waiters = device.misses.swap_remove(place).waiters;
        if let Some((next, _)) = next {
            self.resume(next, State::AtsRequest);
        }
        let request = self.ats.request(id);
        for waiter in waiters {
            if let TranslationCompletion::Success(translation) = &answer {
                let other = self.ats.passages[waiter as usize].wanted;
                let apart = other.address.get() ^ wanted.address.get();
                let covered = apart >> translation.size_log2 == 0;
                if covered && translation.allows(&other) {
                    self.translate(waiter, translation, LatencyClass::AtcMerged);
                } else if self.ats.request(waiter) == request {
                    self.ats.passages[waiter as usize].denied = true;
                }
            }
            self.scheduler.wake(waiter + FIRST, now);
        }
        match answer {
            TranslationCompletion::UnsupportedRequest => {
                self.ats.counts.unsupported_count += 1;
                self.ats.of(id).0.uses_ats = false;
                self.submit_untranslated(id, now)
            }
            TranslationCompletion::CompleterAbort => {
                self.ats.counts.aborted_count += 1;
                self.end_at_device(id, now, workload)
            }
            TranslationCompletion::Success(translation) if translation.allows(&wanted) => {
                self.translate(id, &translation, LatencyClass::AtcMiss);
                self.submit(id, now)
            }
            TranslationCompletion::Success(_) => {
                self.ats.counts.denied_count += 1;
                self.end_at_device(id, now, workload)
            }
        }
    }

    /// The request it waited for is answered.
    #[inline(never)]
    pub(super) fn atc_merged<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        self.charge(id, Cause::AtcHazard, now);
        if self.flights[id as usize].leg == Leg::Translated {
            return self.submit(id, now);
        }
        if std::mem::take(&mut self.ats.passages[id as usize].denied) {
            self.ats.counts.denied_count += 1;
            return self.end_at_device(id, now, workload);
        }
        self.atc(id, now)
    }

    /// The device sends the access with the address it was told.
    fn translate(&mut self, id: u32, translation: &AtsTranslation, class: LatencyClass) {
        let passage = &mut self.ats.passages[id as usize];
        passage.translated = translation.translated(&passage.wanted);
        let flight = &mut self.flights[id as usize];
        flight.arrival.transaction = self.smmu.part.translated_configuration(&passage.translated);
        flight.leg = Leg::Translated;
        flight.class = class;
    }

    /// The device sends the access as it is, as one without ATS does.
    fn submit_untranslated(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        self.flights[id as usize].class = LatencyClass::Bypass;
        self.submit(id, now)
    }

    /// The device does not make the access.
    fn end_at_device<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        flight.leg = Leg::Ended;
        flight.outcome = silent_abort(&flight.arrival.transaction);
        self.sent(id, now, workload)
    }
}

/// Attempts after the first read what it has read: only what is new takes time, and one look into the
/// caches serves all.
fn fold(tape: &RefCell<Vec<Step>>, before: usize, trial: Trial) {
    let mut tape = tape.borrow_mut();
    let own = tape.split_off(before);
    for step in own {
        let is_new = match step {
            Step::Read { pa, .. } => !tape
                .iter()
                .any(|known| matches!(known, Step::Read { pa: read, .. } if *read == pa)),
            Step::Update { .. } => trial == Trial::Real && !tape.contains(&step),
            Step::Begin | Step::Probe { .. } => before == 0,
            Step::Fill(_) => trial == Trial::Real,
        };
        if is_new || before == 0 && matches!(step, Step::Read { .. }) {
            tape.push(step);
        }
    }
}

//! Translated transactions in time: checked by their TBU, if what it knows suffices, else by the TCU.

use super::super::operation::Workload;
use super::super::probe::Probe;
use super::super::scheduler::Cycle;
use super::super::statistics::Cause;
use super::super::steps::{Recorder, TimedView};
use super::Machine;
use super::devices::Leg;
use super::flight::{Lesson, State};
use super::tbu::{Hazard, ipa_lesson};
use crate::ats::Judged;
use crate::cache::ConfigurationEntry;
use crate::fetch::Stage1Use;
use crate::mem::PhysMem;
use crate::transaction::Outcome;
use crate::translate::cached::ConfigurationFault;
use crate::walk::Walker;

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// Through the port and the look-up that finds its configuration.
    #[inline(never)]
    pub(super) fn translated<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let transaction = self.ats.passages[id as usize].translated;
        let part = &self.smmu.part;
        let flight = &mut self.flights[id as usize];
        if let Some(outcome) = part.translated_unconfigured(&transaction) {
            flight.outcome = outcome;
            return self.ready(id, now, workload);
        }
        flight.touched = true;
        let looked_up = &flight.arrival.transaction;
        let unit = &mut self.tbus[flight.tbu as usize];
        let known = unit
            .configurations
            .lookup(looked_up.stream, looked_up.substream);
        let Some(known) = known else {
            return Some(self.send(id, now));
        };
        let stream = match part.judge_translated(&transaction, Ok(known)) {
            Judged::Over(outcome) => {
                flight.outcome = outcome;
                return self.ready(id, now, workload);
            }
            Judged::SecondStage(stream) => stream,
        };
        if !unit.micro.is_off() {
            unit.counts.micro_tlb_lookups_count += 1;
            let whose = (known.stage2, &stream);
            let found = unit
                .micro
                .second_stage(part, whose, &mut self.mem, &transaction);
            if let Some(outcome) = found {
                flight.outcome = outcome;
                return self.ready(id, now, workload);
            }
            unit.counts.micro_tlb_misses_count += 1;
        }
        flight.state = State::TranslatedMainTlb;
        if unit.main.is_off() {
            return self.translated_main_tlb(id, now, workload);
        }
        let latency = self.config.main_tlb.latency_cycles;
        let done = unit.main_pipe.start(now, latency) + latency;
        self.charge(id, Cause::MainTlb, done);
        Some(done)
    }

    /// The main TLB's stage 2 of an intermediate address.
    #[inline(never)]
    pub(super) fn translated_main_tlb<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        let unit = &mut self.tbus[self.flights[id as usize].tbu as usize];
        if !unit.main.is_off() {
            unit.counts.main_tlb_lookups_count += 1;
            if let Some(outcome) = self.by_main_tlb(id) {
                self.flights[id as usize].outcome = outcome;
                return self.ready(id, now, workload);
            }
            let unit = &mut self.tbus[self.flights[id as usize].tbu as usize];
            unit.counts.main_tlb_misses_count += 1;
        }
        self.translated_miss(id, now)
    }

    /// The miss it waited for is answered.
    #[inline(never)]
    pub(super) fn translated_merged<W: Workload>(
        &mut self,
        id: u32,
        now: Cycle,
        workload: &mut W,
    ) -> Option<Cycle> {
        self.charge(id, Cause::Hazard, now);
        if let Some(outcome) = self.by_main_tlb(id) {
            self.flights[id as usize].outcome = outcome;
            return self.ready(id, now, workload);
        }
        self.translated_miss(id, now)
    }

    fn translated_miss(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let flight = &mut self.flights[id as usize];
        let unit = &mut self.tbus[flight.tbu as usize];
        match unit.miss(id, &flight.arrival.transaction) {
            Hazard::Waits => {
                unit.counts.merged_count += 1;
                flight.state = State::TranslatedMerged;
                return None;
            }
            Hazard::Leads(miss) => flight.miss = Some(miss),
            Hazard::Alone => {}
        }
        Some(self.send(id, now))
    }

    /// The outcome, if the main TLB, or the only one there is, holds the address.
    fn by_main_tlb(&mut self, id: u32) -> Option<Outcome> {
        let transaction = self.ats.passages[id as usize].translated;
        let flight = &self.flights[id as usize];
        let unit = &mut self.tbus[flight.tbu as usize];
        let looked_up = &flight.arrival.transaction;
        let known = unit
            .configurations
            .lookup(looked_up.stream, looked_up.substream)?;
        let part = &self.smmu.part;
        match part.judge_translated(&transaction, Ok(known)) {
            Judged::Over(outcome) => Some(outcome),
            Judged::SecondStage(stream) => {
                let context = known.stage2;
                let tlb = if unit.main.is_off() {
                    &mut unit.micro
                } else {
                    &mut unit.main
                };
                let whose = (context, &stream);
                let outcome = tlb.second_stage(part, whose, &mut self.mem, &transaction)?;
                unit.promote_ipa(context, transaction.address.get());
                Some(outcome)
            }
        }
    }

    /// STE and CD of a request or a translated transaction could not be had whole.
    #[inline(never)]
    pub(super) fn unconfigured(&mut self, id: u32, fault: &ConfigurationFault) {
        let luggage = &mut self.luggage[id as usize];
        luggage.keep = false;
        if self.flights[id as usize].leg == Leg::Request {
            if let Err(refusal) = self.smmu.part.judge_request(Err(fault)) {
                self.conclude(id, Err(refusal));
            }
            return;
        }
        let transaction = &self.ats.passages[id as usize].translated;
        match self.smmu.part.judge_translated(transaction, Err(fault)) {
            Judged::Over(outcome) => self.flights[id as usize].outcome = outcome,
            Judged::SecondStage(stream) => {
                // What stage 2 needs is known; the TBU does not learn it.
                luggage.configuration = ConfigurationEntry::new(stream, Ok(Stage1Use::Off));
                self.ats.passages[id as usize].second_stage = true;
            }
        }
    }

    /// Whether all that is needed of an incomplete configuration is its stage 2.
    #[inline(never)]
    pub(super) fn is_second_stage(&mut self, id: u32) -> bool {
        self.flights[id as usize].leg == Leg::Translated
            && std::mem::take(&mut self.ats.passages[id as usize].second_stage)
    }

    /// The configuration of a translated transaction is known: its outcome, or a walk of stage 2.
    #[inline(never)]
    pub(super) fn translated_configured(&mut self, id: u32, now: Cycle) -> Option<Cycle> {
        let transaction = &self.ats.passages[id as usize].translated;
        let entry = &self.luggage[id as usize].configuration;
        match self.smmu.part.judge_translated(transaction, Ok(entry)) {
            Judged::Over(outcome) => {
                self.flights[id as usize].outcome = outcome;
                self.reply(id, now)
            }
            Judged::SecondStage(stream) => {
                let counts = &mut self.streams[self.flights[id as usize].stream as usize].1;
                counts.vmid = stream.s2.as_ref().map(|s2| s2.vmid.get());
                self.walk_in_turn(id, now)
            }
        }
    }

    /// A translated transaction has a walk slot.
    #[inline(never)]
    pub(super) fn walk_for_translated(&mut self, id: u32, slot: u32, now: Cycle) {
        let transaction = self.ats.passages[id as usize].translated;
        let play = &mut self.plays[slot as usize];
        let tape = play.begin(now, self.commands.sequence());
        let luggage = &mut self.luggage[id as usize];
        let entry = &luggage.configuration;
        let Ok(stream) = &entry.stream else {
            unreachable!("only legal configurations walk");
        };
        let contexts = (entry.context, entry.stage2);
        let mut walker = Walker {
            mem: &mut self.mem,
            observer: &mut Recorder { tape: &tape },
            cache: TimedView::new(
                &mut self.smmu.caches,
                contexts,
                (&tape, &mut play.fills),
                (&mut self.tcu, self.costs),
            ),
        };
        let part = &self.smmu.part;
        let (outcome, leaf) = part.second_stage(&mut walker, &transaction, stream);
        play.steps = tape.into_inner();
        luggage.lesson = match (&stream.s2, &leaf) {
            (Some(s2), Some(leaf)) => ipa_lesson(s2, entry.stage2, transaction.address.get(), leaf),
            _ => Lesson::Nothing,
        };
        self.flights[id as usize].outcome = outcome;
    }

    /// A transaction of a device with ATS leaves the SMMU, or has never reached it.
    #[cold]
    pub(super) fn back_at_device(&mut self, id: u32) {
        let flight = &mut self.flights[id as usize];
        if flight.leg == Leg::Translated && matches!(flight.outcome, Outcome::Translated(_)) {
            self.ats.counts.translated_transactions_count += 1;
        }
        flight.arrival.transaction = self.ats.passages[id as usize].wanted;
    }
}

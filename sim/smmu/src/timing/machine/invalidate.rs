//! ATC invalidation in time: CMD_ATC_INV goes to the device, which forgets, waits for what still uses
//! what it forgot, and answers. A CMD_SYNC waits for the answer.

use super::super::operation::Workload;
use super::super::probe::{Probe, Track};
use super::super::resource::Grant;
use super::super::scheduler::{Cycle, Sleeper};
use super::devices::{Leg, Sent, Stage};
use super::{COMMANDS, Machine};
use crate::command::AtcInvalidation;
use crate::mem::PhysMem;

/// Sleepers of invalidations on their way: as many as there can be.
pub(super) const INVALIDATIONS: Sleeper = COMMANDS + 1;
pub(super) const MOST_INVALIDATIONS: Sleeper = 32;

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// The command at the head of the queue is sent as soon as it may. Whether it has been.
    #[inline(never)]
    pub(super) fn invalidate_in_turn(&mut self, what: &AtcInvalidation, now: Cycle) -> bool {
        match self.ats.invalidation_slots.acquire(COMMANDS, now) {
            Grant::Held => {
                self.send_invalidation(what, now);
                true
            }
            Grant::InLine => false,
        }
    }

    /// The command goes to its device.
    pub(super) fn send_invalidation(&mut self, what: &AtcInvalidation, now: Cycle) {
        let free = self.ats.invalidations.iter().position(Option::is_none);
        let place = free.expect("a place for each slot");
        self.ats.invalidations[place] = Some(Sent {
            what: *what,
            stage: Stage::ToDevice,
            awaited: 0,
            since: now,
            index: self.commands.done(),
        });
        self.ats.counts.invalidations_count += 1;
        self.commands.sent();
        let tbu = what.stream.get() % self.config.tbu.count;
        let link = &mut self.ats.links[tbu as usize];
        let start = link.down.start(now, self.ats.config.link_interval_cycles);
        let done = start + self.ats.config.link_latency_cycles;
        self.scheduler.wake(INVALIDATIONS + place as Sleeper, done);
    }

    /// The next stage of an invalidation.
    #[inline(never)]
    pub(super) fn invalidation_step<W: Workload>(
        &mut self,
        place: u32,
        now: Cycle,
        workload: &mut W,
    ) {
        let sent = self.ats.invalidations[place as usize].as_mut();
        let sent = sent.expect("an invalidation under way");
        let sleeper = INVALIDATIONS + place;
        match sent.stage {
            Stage::ToDevice => {
                sent.stage = Stage::Matching;
                let what = sent.what;
                self.forget(place, &what);
                let done = now + self.ats.config.invalidate_cycles;
                self.scheduler.wake(sleeper, done);
            }
            Stage::Matching if sent.awaited != 0 => sent.stage = Stage::InUse,
            Stage::Matching | Stage::InUse => {
                sent.stage = Stage::ToSmmu;
                let tbu = sent.what.stream.get() % self.config.tbu.count;
                let link = &mut self.ats.links[tbu as usize];
                let start = link.up.start(now, self.ats.config.link_interval_cycles);
                let done = start + self.ats.config.link_latency_cycles;
                self.scheduler.wake(sleeper, done);
            }
            Stage::ToSmmu => {
                let (since, index, address) = (sent.since, sent.index, sent.what.address);
                self.ats.counts.invalidation_cycles += now - since;
                self.ats.invalidations[place as usize] = None;
                let track = Track::Invalidation(place);
                self.watch(track, "invalidation", (since, now), index, address);
                let waits = self.ats.invalidation_slots.release(now).is_some();
                if self.commands.came_back() || waits {
                    self.scheduler.wake(COMMANDS, now);
                }
                self.issue(workload);
            }
        }
    }

    /// The device forgets what it is told to. What already uses it is waited for.
    fn forget(&mut self, place: u32, what: &AtcInvalidation) {
        let Some(device) = self.ats.find(what.stream) else {
            return;
        };
        let removed = self.ats.all[device as usize].invalidate(what);
        self.ats.counts.invalidated_count += removed;
        let mut awaited = 0;
        for (flight, passage) in self.flights.iter().zip(&mut self.ats.passages) {
            let uses = flight.index != u64::MAX && flight.leg == Leg::Translated;
            let wanted = &passage.wanted;
            if uses
                && passage.device == device
                && what.meets(wanted.substream, wanted.address.get(), 0)
            {
                passage.in_the_way_of |= 1 << place;
                awaited += 1;
            }
        }
        if let Some(sent) = &mut self.ats.invalidations[place as usize] {
            sent.awaited = awaited;
        }
    }

    /// A transaction of a device with ATS is over: invalidations that waited for it go on.
    #[cold]
    pub(super) fn over_at_device(&mut self, id: u32) {
        let now = self.scheduler.now();
        let mut places = std::mem::take(&mut self.ats.passages[id as usize].in_the_way_of);
        while places != 0 {
            let place = places.trailing_zeros();
            places &= places - 1;
            if let Some(sent) = &mut self.ats.invalidations[place as usize] {
                sent.awaited -= 1;
                if sent.awaited == 0 && sent.stage == Stage::InUse {
                    self.scheduler.wake(INVALIDATIONS + place, now);
                }
            }
        }
    }
}

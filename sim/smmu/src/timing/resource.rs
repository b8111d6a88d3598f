//! Bounded resources: slots that are held, and pipelines that start so many operations a cycle.

use std::collections::VecDeque;

use super::scheduler::{Cycle, Sleeper};

/// Use of one resource, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Times it was granted.
    pub grants_count: u64,
    /// Times somebody had to wait.
    pub waits_count: u64,
    /// Cycles waited, summed over all who waited.
    pub waited_cycles: u64,
    /// Sum over time of the number of holders: divided by the run's length, the mean occupancy.
    pub held_cycles: u64,
    /// Cycles in which no more could be granted.
    pub full_cycles: u64,
    /// Most holders at once.
    pub peak_count: u64,
}

impl Usage {
    /// Adds the use of another of the same kind; the most at once is that of the busier one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.grants_count += other.grants_count;
        self.waits_count += other.waits_count;
        self.waited_cycles += other.waited_cycles;
        self.held_cycles += other.held_cycles;
        self.full_cycles += other.full_cycles;
        self.peak_count = self.peak_count.max(other.peak_count);
    }
}

/// A number of slots, each held from acquisition to release; who finds none waits in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    capacity: u32,
    held: u32,
    line: VecDeque<(Sleeper, Cycle)>,
    since: Cycle,
    usage: Usage,
}

/// Whether a slot was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// It is held now.
    Held,
    /// The sleeper is in line and is named by a later release.
    InLine,
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity,
            held: 0,
            line: VecDeque::new(),
            since: 0,
            usage: Usage::default(),
        }
    }

    #[inline(always)]
    fn account(&mut self, now: Cycle) {
        let elapsed = now - self.since;
        self.since = now;
        self.usage.held_cycles += elapsed * u64::from(self.held);
        if self.held == self.capacity {
            self.usage.full_cycles += elapsed;
        }
    }

    /// Takes a slot for `sleeper`, or puts it in line.
    #[inline(always)]
    pub(super) fn acquire(&mut self, sleeper: Sleeper, now: Cycle) -> Grant {
        if self.held == self.capacity {
            self.usage.waits_count += 1;
            self.line.push_back((sleeper, now));
            return Grant::InLine;
        }
        self.account(now);
        self.held += 1;
        self.usage.grants_count += 1;
        self.usage.peak_count = self.usage.peak_count.max(self.held.into());
        Grant::Held
    }

    /// Gives a slot back. It passes at once to the first in line, who is returned with the time it
    /// has waited.
    #[inline(always)]
    pub(super) fn release(&mut self, now: Cycle) -> Option<(Sleeper, Cycle)> {
        debug_assert!(self.held > 0, "only a held slot is released");
        if let Some((sleeper, since)) = self.line.pop_front() {
            self.usage.grants_count += 1;
            self.usage.waited_cycles += now - since;
            return Some((sleeper, now - since));
        }
        self.account(now);
        self.held -= 1;
        None
    }

    /// Use up to `now`.
    pub(super) fn usage(&self, now: Cycle) -> Usage {
        let mut copy = self.clone();
        copy.account(now);
        copy.usage
    }
}

/// A pipeline of `lanes`, each busy for `interval` cycles with an operation: lanes divided by
/// interval operations start a cycle. Operations start in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipe {
    /// When each lane is free.
    free: Vec<Cycle>,
    next: usize,
    usage: Usage,
}

impl Pipe {
    pub(super) fn new(lanes: u32) -> Self {
        Self {
            free: vec![0; lanes as usize],
            next: 0,
            usage: Usage::default(),
        }
    }

    /// Starts an operation that keeps a lane busy for `busy` cycles; gives the time it starts.
    ///
    /// Callers ask in the order of time, so lanes become free in the order they were taken if all
    /// operations are equally long; a longer one delays those behind it, as in a pipeline.
    #[inline(always)]
    pub(super) fn start(&mut self, now: Cycle, busy: Cycle) -> Cycle {
        let lane = &mut self.free[self.next];
        let start = now.max(*lane);
        *lane = start + busy;
        self.next += 1;
        if self.next == self.free.len() {
            self.next = 0;
        }
        self.usage.grants_count += 1;
        self.usage.held_cycles += busy;
        if start > now {
            self.usage.waits_count += 1;
            self.usage.waited_cycles += start - now;
        }
        start
    }

    /// Use so far.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            peak_count: self.free.len() as u64,
            ..self.usage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_pass_to_waiters_in_the_order_they_came() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.acquire(1, 0), Grant::Held);
        assert_eq!(slots.acquire(2, 5), Grant::Held);
        assert_eq!(slots.acquire(3, 6), Grant::InLine);
        assert_eq!(slots.acquire(4, 7), Grant::InLine);
        assert_eq!(slots.release(10), Some((3, 4)));
        assert_eq!(slots.release(10), Some((4, 3)));
        assert_eq!((slots.release(12), slots.release(20)), (None, None));
        let usage = slots.usage(30);
        assert_eq!(usage.held_cycles, 5 + 7 * 2 + 8);
        assert_eq!((usage.full_cycles, usage.waited_cycles), (7, 7));
        assert_eq!(
            (usage.grants_count, usage.waits_count, usage.peak_count),
            (4, 2, 2)
        );
    }

    #[test]
    fn a_pipe_starts_lanes_over_interval_operations_a_cycle() {
        let mut pipe = Pipe::new(3);
        let starts: Vec<Cycle> = (0..7).map(|_| pipe.start(10, 3)).collect();
        assert_eq!(starts, [10, 10, 10, 13, 13, 13, 16]);
        assert_eq!(pipe.start(100, 3), 100);
        assert_eq!(pipe.usage().waited_cycles, 3 * 3 + 6);
    }
}

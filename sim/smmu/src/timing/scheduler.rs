//! What happens next: pending wake-ups in the order (time, sequence).
//!
//! A wheel of one slot a cycle holds the near future; each slot is a first-in first-out list linked
//! through the sleepers themselves, so that nothing is allocated. What lies beyond the wheel waits
//! in a heap. A sleeper has at most one wake-up pending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Who is woken: a transaction's place, or an engine of the machine.
pub(super) type Sleeper = u32;

/// Simulated time in cycles since the start.
pub type Cycle = u64;

/// Cycles the wheel spans. Most latencies are shorter; longer ones go through the heap.
const SPAN: usize = 1024;
const WORDS: usize = SPAN / 64;
const NOBODY: Sleeper = Sleeper::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct List {
    first: Sleeper,
    last: Sleeper,
}

const EMPTY: List = List {
    first: NOBODY,
    last: NOBODY,
};

/// Pending wake-ups and the time of the last one taken.
#[derive(Debug, Clone)]
pub(super) struct Scheduler {
    now: Cycle,
    wheel: Vec<List>,
    /// Bit `n` is set if slot `n` of the wheel holds somebody.
    occupied: [u64; WORDS],
    /// Bit `n` is set if word `n` of `occupied` is not 0.
    words: u16,
    next: Vec<Sleeper>,
    far: BinaryHeap<Reverse<(Cycle, u64, Sleeper)>>,
    sequence: u64,
    pending: usize,
}

/// Two schedulers are equal if the same sleepers wake at the same times in the same order.
impl PartialEq for Scheduler {
    fn eq(&self, other: &Self) -> bool {
        let order = |scheduler: &Self| {
            let mut copy = scheduler.clone();
            std::iter::from_fn(move || copy.pop()).collect::<Vec<_>>()
        };
        self.now == other.now && order(self) == order(other)
    }
}

impl Eq for Scheduler {}

impl Scheduler {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            wheel: vec![EMPTY; SPAN],
            occupied: [0; WORDS],
            words: 0,
            next: Vec::new(),
            far: BinaryHeap::new(),
            sequence: 0,
            pending: 0,
        }
    }

    /// The time of the last wake-up.
    #[inline(always)]
    pub(super) fn now(&self) -> Cycle {
        self.now
    }

    /// Wakes `sleeper` at `time`, after everybody whose wake-up at that time was asked for before.
    #[inline(always)]
    pub(super) fn wake(&mut self, sleeper: Sleeper, time: Cycle) {
        debug_assert!(time >= self.now, "nobody is woken in the past");
        self.pending += 1;
        if time - self.now >= SPAN as Cycle {
            return self.wake_far(sleeper, time);
        }
        if sleeper as usize >= self.next.len() {
            self.next.resize(sleeper as usize + 1, NOBODY);
        }
        self.next[sleeper as usize] = NOBODY;
        let slot = time as usize % SPAN;
        let list = &mut self.wheel[slot];
        if list.first == NOBODY {
            list.first = sleeper;
            self.occupied[slot / 64] |= 1 << (slot % 64);
            self.words |= 1 << (slot / 64);
        } else {
            self.next[list.last as usize] = sleeper;
        }
        list.last = sleeper;
    }

    #[cold]
    fn wake_far(&mut self, sleeper: Sleeper, time: Cycle) {
        self.far.push(Reverse((time, self.sequence, sleeper)));
        self.sequence += 1;
    }

    /// The time of the next wake-up.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<Cycle> {
        if self.pending == 0 {
            return None;
        }
        match (self.near(), self.far.peek()) {
            (Some(near), Some(Reverse((far, ..)))) => Some(near.min(*far)),
            (near, far) => near.or(far.map(|Reverse((time, ..))| *time)),
        }
    }

    /// Moves time on to `time`, at or before which nobody is to be woken.
    #[inline(always)]
    pub(super) fn advance(&mut self, time: Cycle) {
        debug_assert!(time >= self.now && self.peek().is_none_or(|next| time < next));
        self.now = time;
    }

    /// The next wake-up; time moves on to it.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<(Cycle, Sleeper)> {
        if self.pending == 0 {
            return None;
        }
        self.pending -= 1;
        let near = self.near();
        // What is in the heap for a time was asked for before anything on the wheel for that time:
        // the time was out of the wheel's reach then, and has come nearer since.
        if let Some(&Reverse((time, _, sleeper))) = self.far.peek()
            && near.is_none_or(|near| time <= near)
        {
            self.far.pop();
            self.now = time;
            return Some((time, sleeper));
        }
        let time = near?;
        self.now = time;
        let slot = time as usize % SPAN;
        let list = &mut self.wheel[slot];
        let sleeper = list.first;
        list.first = self.next[sleeper as usize];
        if list.first == NOBODY {
            list.last = NOBODY;
            let word = &mut self.occupied[slot / 64];
            *word &= !(1 << (slot % 64));
            if *word == 0 {
                self.words &= !(1 << (slot / 64));
            }
        }
        Some((time, sleeper))
    }

    /// The time of the first wake-up on the wheel.
    #[inline(always)]
    fn near(&self) -> Option<Cycle> {
        let start = self.now as usize % SPAN;
        let (word, bit) = (start / 64, start % 64);
        let first = self.occupied[word] >> bit;
        if first != 0 {
            return Some(self.now + Cycle::from(first.trailing_zeros()));
        }
        // Round the wheel: the last word is the first again, and has only slots before the start.
        let turned = self.words.rotate_right(word as u32 + 1);
        if turned == 0 {
            return None;
        }
        let at = (word + 1 + turned.trailing_zeros() as usize) % WORDS;
        let slot = at * 64 + self.occupied[at].trailing_zeros() as usize;
        let ahead = (slot + SPAN - start) % SPAN;
        Some(self.now + ahead as Cycle)
    }
}

/// The rotation above goes round all words.
const _: () = assert!(WORDS == u16::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    /// The law of the kernel: order is (time, sequence), whatever the distances.
    #[test]
    fn wake_ups_come_in_the_order_of_time_then_of_asking() {
        let mut random = 1u64;
        let mut next = move || {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            random >> 33
        };
        for spread in [1, 3, 64, 1023, 1024, 1025, 5000] {
            let mut scheduler = Scheduler::new();
            let mut model = Vec::new();
            let mut sequence = 0u64;
            let mut free: Vec<Sleeper> = (0..200).collect();
            for _ in 0..20_000 {
                let asks = next() % 3 != 0 || model.is_empty();
                if asks && !free.is_empty() {
                    let sleeper = free.swap_remove(next() as usize % free.len());
                    let time = scheduler.now() + next() % spread;
                    scheduler.wake(sleeper, time);
                    model.push((time, sequence, sleeper));
                    sequence += 1;
                } else {
                    let first = *model.iter().min().unwrap();
                    model.retain(|entry| *entry != first);
                    assert_eq!(scheduler.peek(), Some(first.0));
                    assert_eq!(scheduler.pop(), Some((first.0, first.2)));
                    free.push(first.2);
                }
            }
            model.sort_unstable();
            for (time, _, sleeper) in model {
                assert_eq!(scheduler.pop(), Some((time, sleeper)));
            }
            assert_eq!((scheduler.peek(), scheduler.pop()), (None, None));
        }
    }
}

//! A log of changes that many readers follow at their own pace: how invalidations reach the ports
//! of a [`super::SharedSmmu`].
//!
//! A writer appends a change and then raises the epoch. A reader that sees the epoch it knows has
//! missed nothing; otherwise it takes the lock and applies what it missed, in order. So a reader
//! that starts after a change was published acts upon it, and one that started before finds out
//! when it looks again at the end.

use std::collections::VecDeque;

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Changes kept; a reader further behind starts anew.
#[cfg(not(loom))]
const CAPACITY: usize = 4096;
#[cfg(loom)]
const CAPACITY: usize = 2;

/// How often a reader repeats its work because something changed meanwhile, before it makes
/// writers wait.
const ATTEMPTS: u32 = if cfg!(loom) { 1 } else { 8 };

/// The log.
#[derive(Debug)]
pub(super) struct ChangeLog<C> {
    epoch: AtomicU64,
    /// The latest changes, oldest first; the last one made the epoch what it is.
    changes: Mutex<VecDeque<C>>,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// What follows the log.
pub(super) trait Follower<C> {
    /// Acts upon one change.
    fn apply(&mut self, change: &C);
    /// Starts anew, because more changes were missed than the log keeps: where it stands then.
    fn start_anew(&mut self) -> Epoch;
}

impl<C> ChangeLog<C> {
    pub(super) fn new() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            changes: Mutex::new(VecDeque::new()),
        }
    }

    fn changes(&self) -> impl std::ops::DerefMut<Target = VecDeque<C>> {
        // The log is whole whenever the lock is free: a panic elsewhere does not spoil it.
        match self.changes.lock() {
            Ok(changes) => changes,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Where a reader stands that knows everything up to now.
    pub(super) fn now(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Publishes a change.
    pub(super) fn publish(&self, change: C) {
        let mut changes = self.changes();
        if changes.len() == CAPACITY {
            changes.pop_front();
        }
        changes.push_back(change);
        // Under the lock, so that epoch and log agree for whoever holds it.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether nothing was published since.
    #[inline(always)]
    pub(super) fn is_current(&self, epoch: Epoch) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch.0
    }

    /// Brings a follower up to now.
    fn catch_up(&self, epoch: &mut Epoch, follower: &mut impl Follower<C>) {
        {
            let changes = self.changes();
            let now = self.epoch.load(Ordering::Acquire);
            let missed = (now - epoch.0) as usize;
            if let Some(first) = changes.len().checked_sub(missed) {
                changes
                    .range(first..)
                    .for_each(|change| follower.apply(change));
                *epoch = Epoch(now);
                return;
            }
        }
        // The lock is free again: starting anew may wait for a writer, who needs it.
        *epoch = follower.start_anew();
    }

    /// Does `work` with a follower that knows everything, and repeats it if something was published
    /// meanwhile: the result is right at one moment between call and return. `None` if changes
    /// never stopped; the caller then has to make writers wait.
    pub(super) fn follow<F: Follower<C>, R>(
        &self,
        epoch: &mut Epoch,
        follower: &mut F,
        mut work: impl FnMut(&mut F) -> R,
    ) -> Option<R> {
        for _ in 0..ATTEMPTS {
            if !self.is_current(*epoch) {
                self.catch_up(epoch, follower);
            }
            let result = work(follower);
            if self.is_current(*epoch) {
                return Some(result);
            }
        }
        None
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;

    /// What is shared: a word of memory, the writers' lock, the log.
    struct World {
        memory: AtomicU64,
        writers: Mutex<()>,
        log: ChangeLog<()>,
        complete: AtomicU64,
    }

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                memory: AtomicU64::new(0),
                writers: Mutex::new(()),
                log: ChangeLog::new(),
                complete: AtomicU64::new(0),
            })
        }

        /// Changes memory, invalidates, and lets everybody know that this is complete.
        fn write(&self, value: u64) {
            self.memory.store(value, Ordering::Release);
            {
                let _writers = self.writers.lock().unwrap();
                self.log.publish(());
            }
            self.complete.store(value, Ordering::Release);
        }
    }

    /// A cache of the word.
    struct Cache {
        world: Arc<World>,
        held: Option<u64>,
        epoch: Epoch,
    }

    struct Held<'a>(&'a World, &'a mut Option<u64>);

    impl Follower<()> for Held<'_> {
        fn apply(&mut self, (): &()) {
            *self.1 = None;
        }
        fn start_anew(&mut self) -> Epoch {
            let _writers = self.0.writers.lock().unwrap();
            *self.1 = None;
            self.0.log.now()
        }
    }

    impl Cache {
        fn new(world: &Arc<World>) -> Self {
            Self {
                world: world.clone(),
                held: None,
                epoch: world.log.now(),
            }
        }

        /// Reads through the cache, as a translation does.
        fn read(&mut self) -> u64 {
            let world = &*self.world;
            let look = |held: &mut Held<'_>| {
                *held
                    .1
                    .get_or_insert_with(|| world.memory.load(Ordering::Acquire))
            };
            let mut held = Held(world, &mut self.held);
            if let Some(value) = world.log.follow(&mut self.epoch, &mut held, look) {
                return value;
            }
            let _writers = world.writers.lock().unwrap();
            *held.1 = None;
            self.epoch = world.log.now();
            look(&mut held)
        }
    }

    /// What a reader sees after an invalidation is complete is new, whatever it held or was doing.
    #[test]
    fn after_an_invalidation_nobody_sees_what_was_before() {
        loom::model(|| {
            let world = World::new();
            let mut cache = Cache::new(&world);
            let reader = loom::thread::spawn(move || {
                for _ in 0..2 {
                    let complete = cache.world.complete.load(Ordering::Acquire);
                    let value = cache.read();
                    assert!(value >= complete && value <= 1);
                }
            });
            world.write(1);
            reader.join().unwrap();
        });
    }

    /// More changes than the log keeps.
    #[test]
    fn a_reader_that_fell_behind_starts_anew() {
        loom::model(|| {
            let world = World::new();
            let mut cache = Cache::new(&world);
            assert_eq!(cache.read(), 0);
            let writer = {
                let world = world.clone();
                loom::thread::spawn(move || (1..=CAPACITY as u64 + 1).for_each(|v| world.write(v)))
            };
            let complete = world.complete.load(Ordering::Acquire);
            assert!(cache.read() >= complete);
            writer.join().unwrap();
            assert_eq!(cache.read(), CAPACITY as u64 + 1);
        });
    }
}

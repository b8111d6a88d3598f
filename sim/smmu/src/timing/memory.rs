//! Memory as the TCU sees it: channels with a width, a latency, a last-level cache in front, and
//! reads that join an identical one already under way.

use std::collections::VecDeque;

use super::config::Memory;
use super::resource::{Pipe, Usage};
use super::scheduler::Cycle;
use crate::addr::Pa;

/// log2 of the bytes of a line: what channels interleave and merged reads share.
const LINE_LOG2: u32 = 6;

/// When an access is done, and what it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    /// Time the data are there.
    pub(super) done: Cycle,
    /// Part of it spent waiting for a channel.
    pub(super) queued: Cycle,
    /// Which channel carried it; `None` if it joined another read.
    pub(super) channel: Option<u32>,
}

/// What was asked of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryCounts {
    /// Reads of tables, structures and commands, merged ones included.
    pub reads_count: u64,
    /// Writes of events and messages.
    pub writes_count: u64,
    /// Reads that joined one under way.
    pub merged_count: u64,
    /// Accesses that the last-level cache answered.
    pub cache_hits_count: u64,
    /// Bytes moved.
    pub moved_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InFlight {
    line: u64,
    done: Cycle,
}

/// Buckets that lines in flight are counted in, so that most reads need no search.
const BUCKETS: usize = 256;

/// The channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryPort {
    config: Memory,
    channels: Vec<Pipe>,
    /// Reads under way that others may join, oldest first.
    in_flight: VecDeque<InFlight>,
    /// How many of them are in each bucket.
    buckets: Vec<u16>,
    random: u64,
    counts: MemoryCounts,
}

#[inline(always)]
fn bucket(line: u64) -> usize {
    (line.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % BUCKETS
}

impl MemoryPort {
    pub(super) fn new(config: &Memory) -> Self {
        Self {
            channels: vec![Pipe::new(1); config.channels as usize],
            in_flight: VecDeque::with_capacity(config.merge_entries as usize),
            buckets: vec![0; BUCKETS],
            random: config.seed,
            counts: MemoryCounts::default(),
            config: config.clone(),
        }
    }

    /// Reads `bytes` at `pa`; every request comes in the order of time.
    #[inline(always)]
    pub(super) fn read(&mut self, now: Cycle, pa: Pa, bytes: u32) -> Served {
        self.counts.reads_count += 1;
        let line = pa.get() >> LINE_LOG2;
        if self.config.merge_entries == 0 {
            return self.access(now, line, bytes);
        }
        while let Some(oldest) = self.in_flight.front()
            && oldest.done <= now
        {
            self.buckets[bucket(oldest.line)] -= 1;
            self.in_flight.pop_front();
        }
        if self.buckets[bucket(line)] != 0 {
            let same = self
                .in_flight
                .iter()
                .find(|entry| entry.line == line && entry.done > now);
            if let Some(entry) = same {
                self.counts.merged_count += 1;
                return Served {
                    done: entry.done,
                    queued: 0,
                    channel: None,
                };
            }
        }
        let served = self.access(now, line, bytes);
        if self.in_flight.len() < self.config.merge_entries as usize {
            let done = served.done;
            self.in_flight.push_back(InFlight { line, done });
            self.buckets[bucket(line)] += 1;
        }
        served
    }

    /// Writes `bytes` at `pa`.
    pub(super) fn write(&mut self, now: Cycle, pa: Pa, bytes: u32) -> Served {
        self.counts.writes_count += 1;
        self.access(now, pa.get() >> LINE_LOG2, bytes)
    }

    #[inline(always)]
    fn access(&mut self, now: Cycle, line: u64, bytes: u32) -> Served {
        let config = &self.config;
        self.counts.moved_bytes += u64::from(bytes);
        let channel = if self.channels.len() == 1 {
            0
        } else {
            line as usize % self.channels.len()
        };
        let beats = Cycle::from(bytes.div_ceil(config.bytes_per_cycle));
        let busy = config
            .request_cycles
            .max(if config.request_cycles == 0 { 0 } else { beats });
        let start = self.channels[channel].start(now, busy);
        let latency = if config.cache_hits == 0 && config.jitter_cycles == 0 {
            config.latency_cycles
        } else {
            self.random_latency()
        };
        Served {
            done: start + self.config.request_cycles + latency,
            queued: start - now,
            channel: Some(channel as u32),
        }
    }

    #[cold]
    fn random_latency(&mut self) -> Cycle {
        let mut draw = || {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            // The output function of SplitMix64 (Steele, Lea, Flood 2014).
            let z = self.random;
            let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        let hit = draw() % 1000 < u64::from(self.config.cache_hits);
        let jitter = match self.config.jitter_cycles {
            0 => 0,
            most => draw() % (most + 1),
        };
        if hit {
            self.counts.cache_hits_count += 1;
            self.config.cache_latency_cycles + jitter
        } else {
            self.config.latency_cycles + jitter
        }
    }

    pub(super) fn counts(&self) -> MemoryCounts {
        self.counts
    }

    /// Use of each channel.
    pub(super) fn usage(&self) -> impl Iterator<Item = Usage> + '_ {
        self.channels.iter().map(Pipe::usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(change: impl FnOnce(&mut Memory)) -> MemoryPort {
        let mut config = Memory::default();
        change(&mut config);
        MemoryPort::new(&config)
    }

    #[test]
    fn an_idle_port_takes_request_and_latency() {
        let served = port(|_| {}).read(7, Pa::new(0x40), 8);
        assert_eq!((served.done, served.queued), (7 + 1 + 100, 0));
    }

    #[test]
    fn identical_lines_share_a_read_while_it_is_under_way() {
        let mut port = port(|_| {});
        let first = port.read(0, Pa::new(0x40), 8).done;
        assert_eq!(port.read(50, Pa::new(0x78), 8).done, first);
        assert_eq!(port.read(50, Pa::new(0x80), 8).done, 151);
        // Over: read anew.
        assert_eq!(port.read(first, Pa::new(0x40), 8).done, first + 101);
        assert_eq!(port.counts().merged_count, 1);
    }

    #[test]
    fn width_bounds_bandwidth_and_channels_multiply_it() {
        for channels in [1, 2, 4] {
            let mut port = port(|memory| {
                memory.channels = channels;
                memory.merge_entries = 0;
            });
            let last = (0..64)
                .map(|i| port.read(0, Pa::new(i * 64), 64).done)
                .max();
            let beats = 64 * 4 / u64::from(channels);
            assert_eq!(last, Some(beats - 4 + 101));
        }
    }

    #[test]
    fn cache_hits_come_in_the_share_asked_for_and_repeat_with_the_seed() {
        let run = |seed| {
            let mut port = port(|memory| {
                (memory.cache_hits, memory.seed) = (900, seed);
            });
            let times: Vec<Cycle> = (0..10_000)
                .map(|i| port.read(i * 200, Pa::new(i * 64), 8).done - i * 200)
                .collect();
            (times, port.counts().cache_hits_count)
        };
        let (times, hits) = run(1);
        assert!((8_900..9_100).contains(&hits), "{hits}");
        assert!(times.iter().all(|&t| t == 31 || t == 101));
        assert_eq!(run(1), (times.clone(), hits));
        assert_ne!(run(2).0, times);
    }
}

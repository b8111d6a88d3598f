//! Generated workloads: strides, random and skewed accesses, rings with unmapping, many tenants.

use std::collections::VecDeque;

use smmu::addr::{Iova, Pa};
use smmu::ids::StreamId;
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;
use smmu::{Transaction, choice, section};

use super::error::WorkloadError;
use super::random::Random;
use super::world::{FIRST_IOVA, World};

choice! {
    /// Which addresses are accessed.
    Pattern {
        /// One after another, `stride_bytes` apart, round and round.
        Stride = "stride",
        /// Any page, any line in it, each equally likely.
        Random = "random",
        /// Pages by Zipf's law, the first most often.
        Zipf = "zipf",
        /// A ring of buffers, each mapped, filled, unmapped and invalidated.
        Ring = "ring",
        /// The same by the modelled Linux driver: its stores, its commands, its waits.
        Driver = "driver",
        /// Streams take turns in bursts, each over its own ring of pages.
        Tenants = "tenants",
    }
}

choice! {
    /// When a ring's unmapped buffers are invalidated.
    Flush {
        /// At once, page by page (Linux: iommu.strict=1).
        Strict = "strict",
        /// Together, when `flush_pages` have come together (iommu.strict=0).
        Lazy = "lazy",
        /// Never: buffers stay mapped.
        Never = "never",
    }
}

section! {
    /// What devices do.
    WorkloadSection {
        pattern: Pattern = Pattern::Random, (), "",
            "Which addresses are accessed. Random is what pcie-bench measures with, and the hardest for caches.";
        transactions: u64 = 1_000_000, 1..=u64::MAX >> 1, "transactions",
            "Length of the run. A million settles every mean; memory does not grow with it.";
        pages: u64 = 1024, 1..=1 << 22, "pages",
            "Pages each stream uses: the footprint that meets the reach of the caches.";
        bytes: u32 = 64, 1..=4096, "bytes",
            "Bytes of a transaction: a cache line. It does not cross a page.";
        writes: u32 = 0, 0..=1000, "per mille",
            "Share of writes, which hold the TBU's data port longer.";
        stride_bytes: u64 = 4096, 1..=1 << 40, "bytes",
            "Distance of the stride pattern: a page by default, so that each access is to another.";
        skew: u32 = 990, 1..=5000, "per mille",
            "Exponent of Zipf's law times 1000: 0.99 is what storage benchmarks use.";
        burst: u32 = 16, 1..=1 << 20, "transactions",
            "Transactions of one tenant before the next has its turn.";
        flush: Flush = Flush::Strict, (), "",
            "How the ring pattern unmaps: strict is Linux's default on arm64.";
        flush_pages: u32 = 256, 1..=65536, "pages",
            "Buffers invalidated together in lazy mode: the size of Linux's flush queue of one CPU.";
        per_buffer: u32 = 64, 1..=65536, "transactions",
            "Transactions of the ring pattern before a buffer is done with: 64 lines fill a 4 KiB page.";
        seed: u64 = 1, 0..=i64::MAX as u64, "seed",
            "Start of the generator. The same seed gives the same workload on every machine.";
    }
}

/// CMD_TLBI_NSNH_ALL and CMD_SYNC (IHI 0070 §4.4, §4.7).
const TLBI_NSNH_ALL: u64 = 0x30;
const SYNC: u64 = 0x46;
/// All addresses of an ATC, as the size of CMD_ATC_INV (IHI 0070 §4.5.1).
const EVERYTHING: u64 = 52;

/// A generated workload.
#[derive(Debug)]
pub struct Generator {
    section: WorkloadSection,
    random: Random,
    page_bytes: u64,
    streams: u32,
    issued: u64,
    /// Cumulative weights of pages, for Zipf.
    weights: Vec<f64>,
    ring: Option<Ring>,
    invalidations: Vec<u64>,
    /// Commands that invalidate a page in the ATC of each stream's device, if they have ATS.
    atc: Vec<(u64, u64)>,
}

/// State of the ring pattern: one ring a stream, used in turn.
#[derive(Debug)]
struct Ring {
    /// Where each buffer's leaf descriptor is, and what maps it, by stream and buffer.
    leaves: Vec<Vec<(Pa, u64)>>,
    /// Low word of the command that invalidates a page, by stream.
    invalidations: Vec<u64>,
    /// Commands that invalidate a page in the ATC of each stream's device, if they have ATS.
    atc: Vec<(u64, u64)>,
    stream: usize,
    /// Next buffer of each stream.
    next: Vec<usize>,
    /// Buffers in use: stream, buffer, last transaction.
    used: VecDeque<(usize, usize, u64)>,
    /// Unmapped but not yet invalidated (lazy), by stream and buffer.
    unmapped: Vec<(usize, usize)>,
    in_buffer: u32,
    pending: VecDeque<Operation>,
}

/// Buffers of a ring that the device holds before the first is taken back.
const HELD: usize = 8;

impl Generator {
    /// A generator over the world's streams; every page it will use is mapped.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if the pages cannot be mapped.
    pub fn new(section: &WorkloadSection, world: &mut World<'_>) -> Result<Self, WorkloadError> {
        let page_bytes = world.page_bytes();
        for stream in 0..world.streams() {
            for page in 0..section.pages {
                world.map(stream, FIRST_IOVA + page * page_bytes)?;
            }
        }
        let mut total = 0.0;
        let weights = if section.pattern == Pattern::Zipf {
            let exponent = f64::from(section.skew) / 1000.0;
            (1..=section.pages)
                .map(|rank| {
                    total += (rank as f64).powf(-exponent);
                    total
                })
                .collect()
        } else {
            Vec::new()
        };
        Ok(Self {
            section: section.clone(),
            random: Random::new(section.seed),
            page_bytes,
            streams: world.streams(),
            issued: 0,
            weights,
            ring: None,
            invalidations: (0..world.streams())
                .map(|stream| world.invalidation(stream))
                .collect(),
            atc: (0..world.streams())
                .filter_map(|stream| world.atc_invalidation(stream))
                .collect(),
        })
    }

    /// The same for the ring pattern, told where each buffer's leaf descriptor is and what it holds:
    /// by stream, then by buffer.
    #[must_use]
    pub fn with_leaves(mut self, leaves: Vec<Vec<(Pa, u64)>>) -> Self {
        self.ring = Some(Ring {
            next: vec![0; leaves.len()],
            leaves,
            invalidations: self.invalidations.clone(),
            atc: self.atc.clone(),
            stream: 0,
            used: VecDeque::new(),
            unmapped: Vec::new(),
            in_buffer: 0,
            pending: VecDeque::new(),
        });
        self
    }

    /// Transactions issued so far, of how many.
    pub fn progress(&self) -> (u64, u64) {
        (self.issued, self.section.transactions)
    }

    fn arrival(&mut self, stream: u32, address: u64) -> Operation {
        let is_write =
            self.section.writes != 0 && self.random.below(1000) < u64::from(self.section.writes);
        let kind = if is_write {
            AccessKind::Write
        } else {
            AccessKind::Read
        };
        self.issued += 1;
        Operation::Arrive(Arrival {
            transaction: Transaction::new(StreamId::new(stream), Iova::new(address), kind),
            bytes: self.section.bytes,
            not_before: 0,
        })
    }

    /// A line of a page, at random.
    fn line(&mut self) -> u64 {
        let size = u64::from(self.section.bytes).next_power_of_two();
        self.random.below(self.page_bytes / size) * size
    }

    fn zipf(&mut self) -> u64 {
        let total = self.weights.last().copied().unwrap_or(1.0);
        let at = self.random.unit() * total;
        let page = self.weights.partition_point(|&weight| weight <= at);
        page.min(self.weights.len() - 1) as u64
    }
}

impl Iterator for Generator {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        if self.ring.is_some() && self.section.pattern == Pattern::Ring {
            return self.ring_operation();
        }
        if self.issued == self.section.transactions {
            return None;
        }
        let turn = self.issued;
        let streams = u64::from(self.streams);
        let (stream, address) = match self.section.pattern {
            Pattern::Stride => {
                let span = self.section.pages * self.page_bytes;
                let step = turn / streams * self.section.stride_bytes % span;
                // A transaction does not cross the end of its page.
                let size = u64::from(self.section.bytes).next_power_of_two();
                (turn % streams, step & !(size - 1))
            }
            Pattern::Random | Pattern::Ring | Pattern::Driver => {
                let stream = if streams == 1 {
                    0
                } else {
                    self.random.below(streams)
                };
                let page = self.random.below(self.section.pages);
                (stream, page * self.page_bytes + self.line())
            }
            Pattern::Zipf => {
                let page = self.zipf();
                let stream = self.random.below(streams);
                (stream, page * self.page_bytes + self.line())
            }
            Pattern::Tenants => {
                let burst = u64::from(self.section.burst);
                let stream = turn / burst % streams;
                let own = turn / (burst * streams) * burst + turn % burst;
                let size = u64::from(self.section.bytes).next_power_of_two();
                let lines = self.page_bytes / size;
                let page = own / lines % self.section.pages;
                (stream, page * self.page_bytes + own % lines * size)
            }
        };
        Some(self.arrival(stream as u32, FIRST_IOVA + address))
    }
}

impl Generator {
    fn ring_operation(&mut self) -> Option<Operation> {
        let ring = self.ring.as_mut()?;
        if let Some(operation) = ring.pending.pop_front() {
            return Some(operation);
        }
        if self.issued == self.section.transactions {
            return None;
        }
        if ring.in_buffer == 0 {
            self.take_back();
        }
        let ring = self.ring.as_mut()?;
        let (stream, buffer) = (ring.stream, ring.next[ring.stream]);
        let size = u64::from(self.section.bytes).next_power_of_two();
        let offset = u64::from(ring.in_buffer) * size % self.page_bytes;
        ring.in_buffer += 1;
        if ring.in_buffer == self.section.per_buffer {
            ring.in_buffer = 0;
            ring.used.push_back((stream, buffer, self.issued));
            ring.next[stream] = (buffer + 1) % ring.leaves[stream].len();
            ring.stream = (stream + 1) % ring.leaves.len();
        }
        let address = FIRST_IOVA + buffer as u64 * self.page_bytes + offset;
        let arrival = self.arrival(stream as u32, address);
        let ring = self.ring.as_mut()?;
        ring.pending.push_back(arrival);
        ring.pending.pop_front()
    }

    /// Unmaps buffers that are done with, invalidates, and maps the next one again.
    fn take_back(&mut self) {
        let (flush, pages) = (self.section.flush, self.section.flush_pages as usize);
        let page_bytes = self.page_bytes;
        let Some(ring) = &mut self.ring else {
            return;
        };
        if flush == Flush::Never {
            ring.used.clear();
            return;
        }
        let streams = ring.leaves.len();
        while ring.used.len() > HELD * streams
            || ring.used.front().is_some_and(|&(stream, buffer, _)| {
                (stream, buffer) == (ring.stream, ring.next[ring.stream])
            })
        {
            let Some((stream, buffer, last)) = ring.used.pop_front() else {
                break;
            };
            let (pa, _) = ring.leaves[stream][buffer];
            ring.pending.push_back(Operation::AwaitTransaction(last));
            ring.pending.push_back(Operation::Store { pa, value: 0 });
            ring.unmapped.push((stream, buffer));
            if flush == Flush::Strict {
                let iova = FIRST_IOVA + buffer as u64 * page_bytes;
                // Leaf=1: tables stay.
                ring.pending
                    .push_back(Operation::Command([ring.invalidations[stream], iova | 1]));
                ring.pending.push_back(Operation::Command([SYNC, 0]));
                // Devices forget after the SMMU: what they ask meanwhile is answered anew.
                if let Some(&(low, size)) = ring.atc.get(stream) {
                    ring.pending
                        .push_back(Operation::Command([low, iova | size]));
                    ring.pending.push_back(Operation::Command([SYNC, 0]));
                }
            }
        }
        let next = (ring.stream, ring.next[ring.stream]);
        let reused = ring.unmapped.contains(&next);
        if flush == Flush::Lazy && (reused || ring.unmapped.len() >= pages) {
            ring.pending
                .push_back(Operation::Command([TLBI_NSNH_ALL, 0]));
            ring.pending.push_back(Operation::Command([SYNC, 0]));
            for &(low, _) in &ring.atc {
                ring.pending
                    .push_back(Operation::Command([low, EVERYTHING]));
            }
            if !ring.atc.is_empty() {
                ring.pending.push_back(Operation::Command([SYNC, 0]));
            }
        }
        // An address is used again only after its invalidation is complete.
        let done = match flush {
            Flush::Strict => reused,
            _ => reused || ring.unmapped.len() >= pages,
        };
        if done {
            ring.pending.push_back(Operation::AwaitCommands);
            for (stream, buffer) in ring.unmapped.drain(..) {
                let (pa, value) = ring.leaves[stream][buffer];
                ring.pending.push_back(Operation::Store { pa, value });
            }
        }
    }
}

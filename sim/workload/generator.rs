//! Generated workloads: strides, random and skewed accesses, many tenants; and the settings of all.

use smmu::addr::Iova;
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
        /// A ring of buffers, each mapped, filled and unmapped by the modelled Linux driver: its tables,
        /// stores, commands and waits ([`super::driven`]).
        Driver = "driver",
        /// Streams take turns in bursts, each over its own ring of pages.
        Tenants = "tenants",
    }
}

choice! {
    /// When the driver's unmapped buffers are invalidated.
    Flush {
        /// At once, page by page (Linux: iommu.strict=1).
        Strict = "strict",
        /// Together, when `flush_pages` have come together (iommu.strict=0).
        Lazy = "lazy",
        /// Never: buffers are mapped when the ring is made, and stay mapped.
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
            "When the driver pattern invalidates: strict is Linux's default on arm64; never is a driver that maps its ring once.";
        flush_pages: u32 = 256, 1..=65536, "pages",
            "Buffers of a domain invalidated together in lazy mode: the size of Linux's flush queue of one CPU.";
        per_buffer: u32 = 64, 1..=65536, "transactions",
            "Transactions of the driver pattern before a buffer is done with: 64 lines fill a 4 KiB page.";
        seed: u64 = 1, 0..=i64::MAX as u64, "seed",
            "Start of the generator. The same seed gives the same workload on every machine.";
    }
}

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
}

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
        })
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
            Pattern::Random | Pattern::Driver => {
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

//! Random bytes as configuration and tables: the model must give an answer, in bounded work.
//!
//! Memory is noise, so that a table can be anywhere. Two thirds of the storms keep some legal
//! configuration in it, and half of all shape the noise so that it mostly looks like Table
//! descriptors: otherwise a walk would end at its first descriptor.

#![allow(
    clippy::cast_possible_truncation,
    reason = "32 random bits are a StreamID"
)]

use smmu::addr::Pa;
use smmu::mem::{AccessClass, BusResult, PhysMem};
use smmu::observe::{Access, Action, Observer};

use crate::support::strategies::{Memory, Rng, legal_config, transaction, world};

/// What words nobody wrote read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noise {
    /// Any bits.
    Pure,
    /// Mostly valid descriptors with addresses that fit the part.
    Descriptors,
}

/// Memory whose every word is a function of its address and a seed.
#[derive(Debug)]
struct NoisyMemory {
    written: Memory,
    seed: u64,
    noise: Noise,
    oas: u8,
}

impl NoisyMemory {
    fn word(&self, pa: u64) -> u64 {
        if let Some(&word) = self.written.words.get(&pa) {
            return word;
        }
        let mut rng = Rng::new(self.seed ^ pa.rotate_left(17));
        let word = rng.next();
        if self.noise == Noise::Pure || rng.once_in(16) {
            return word;
        }
        // Attributes of a leaf that lets everybody in, and no address bits where formats differ.
        let fits = word & ((1 << self.oas.min(48)) - 1) & !0xffff;
        let shaped = match rng.below(8) {
            0 => fits | word & (0x7f << 52) | 0x7fd,
            1 => word & 0x87ff_0000_0000_0000 | fits | word & 0xfc | 3,
            _ => fits | 0x4ff,
        };
        if rng.once_in(4) {
            shaped.swap_bytes()
        } else {
            shaped
        }
    }

    /// The SMMU never makes an access that its address bus cannot carry.
    fn check(&self, pa: Pa) -> u64 {
        assert!(
            pa.get() >> self.oas == 0,
            "access to {pa} with {} address bits",
            self.oas
        );
        pa.get()
    }
}

impl PhysMem for NoisyMemory {
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        let pa = self.check(pa);
        Ok(self.word(pa))
    }

    fn write64(&mut self, _pa: Pa, _value: u64, _class: AccessClass) -> BusResult<()> {
        unreachable!("a translation writes by compare and swap only")
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        _class: AccessClass,
    ) -> BusResult<u64> {
        let pa = self.check(pa);
        let found = self.word(pa);
        if found == current {
            self.written.words.insert(pa, new);
        }
        Ok(found)
    }
}

/// Levels of one stage, −1 to 3.
const LEVELS: u32 = 5;
/// L1STD, STE; L1CD and CD, each behind a stage-2 walk; and the walk proper, (n+1)(m+1)−1.
const MOST_READS: u32 = 2 + 2 * (1 + LEVELS) + ((LEVELS + 1) * (LEVELS + 1) - 1);
/// Each stage-1 descriptor may be updated, after a stage-2 walk of its own.
const MOST_READS_WITH_UPDATES: u32 = MOST_READS + LEVELS * LEVELS;
/// Stage-2 walks: L1CD, CD, each stage-1 descriptor to read and to update it, the final address.
/// Each stage-2 descriptor may be updated too.
const MOST_UPDATES: u32 = LEVELS + (2 + 2 * LEVELS + 1) * LEVELS;

/// Counts the accesses of one translation.
#[derive(Debug, Default)]
struct Work {
    reads: u32,
    updates: u32,
    /// Updates that found another descriptor than was read: only tables that contain themselves.
    collisions: u32,
}

impl Observer for Work {
    fn access(&mut self, access: &Access<'_>) {
        match access.action {
            Action::Read(_) | Action::ReadStructure(_) | Action::AbortedRead => self.reads += 1,
            Action::Update { old, found, .. } => {
                self.updates += 1;
                self.collisions += u32::from(old != found);
            }
            Action::AbortedUpdate => self.updates += 1,
        }
    }
}

impl Work {
    fn is_bounded(&self) -> bool {
        let rounds = self.collisions + 1;
        let reads = if self.updates == 0 {
            MOST_READS
        } else {
            MOST_READS_WITH_UPDATES
        };
        self.reads <= reads * rounds && self.updates <= MOST_UPDATES * rounds
    }
}

/// Sends `transactions` through random configurations; gives the most reads one of them made.
fn storm(transactions: u64, seed: u64) -> u32 {
    const PER_WORLD: u64 = 8;
    let mut rng = Rng::new(seed);
    let mut most_reads = 0;
    for round in 0..transactions.div_ceil(PER_WORLD) {
        let noise = rng.pick(&[Noise::Pure, Noise::Descriptors]);
        let legal = world(rng.next(), (round % 3) as u32);
        let mut smmu = legal.smmu();
        let mut written = legal.memory.clone();
        match round % 3 {
            // Nothing but noise, on another part.
            0 => {
                let config = legal_config(&mut rng);
                smmu = smmu::Smmu::new(config).expect("the generator makes legal parts");
                legal.registers.program(&mut smmu);
                written.words.clear();
            }
            // Legal STEs and CDs, tables of noise.
            1 => {
                for place in &legal.places.descriptors {
                    written.words.remove(place);
                }
            }
            // Legal tables as well, which noise continues beyond what they map.
            _ => {}
        }
        let oas = smmu.config().oas;
        let mut memory = NoisyMemory {
            written,
            seed: rng.next(),
            noise,
            oas,
        };
        for _ in 0..PER_WORLD {
            let aimed = rng.pick(&legal.transactions);
            let address = match rng.below(6) {
                0 => rng.next(),
                1 => aimed.address.get() ^ 1 << rng.below(64),
                // Within the range of either half, wherever its end is.
                2 => rng
                    .next()
                    .cast_signed()
                    .wrapping_shr(rng.within(12, 48).into())
                    .cast_unsigned(),
                3 => rng.bits(oas),
                // Near something mapped, where walks go deepest.
                _ => aimed.address.get() ^ rng.bits(24),
            };
            let sid = if rng.once_in(8) {
                rng.bits(32) as u32
            } else {
                aimed.stream.get()
            };
            let substream = aimed.substream.map(smmu::ids::SubstreamId::get);
            let transaction = transaction(&mut rng, sid, substream, address);
            let mut work = Work::default();
            smmu.translate_cold(&mut memory, &transaction, &mut work);
            assert!(
                work.is_bounded(),
                "{work:?} for {transaction:x?} on {:?}",
                smmu.config()
            );
            most_reads = most_reads.max(work.reads);
        }
    }
    most_reads
}

/// Number of transactions of a storm: 200,000, or `SMMU_SIM_STORM` up to ten million.
#[expect(
    clippy::disallowed_methods,
    reason = "chooses how much is run, not what a run does"
)]
fn storm_size() -> u64 {
    std::env::var("SMMU_SIM_STORM")
        .ok()
        .map_or(200_000, |size| {
            size.parse().expect("SMMU_SIM_STORM is a number")
        })
        .min(10_000_000)
}

#[test]
fn random_bytes_neither_panic_the_model_nor_keep_it_busy() {
    let most_reads = storm(storm_size(), 1);
    assert!(
        most_reads > 24,
        "no walk went deep: at most {most_reads} reads"
    );
}

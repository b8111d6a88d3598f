//! Machines whose walks are measured, with the answers known before anything is timed.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a bench is a test"
)]

use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId, Vmid};
use smmu::mem::Ram;
use smmu::regfile::{Width, register_offset};
use smmu::spec::attrs::Ps;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, Intermediate, LinearStreamTable, PageTable, Physical,
    SteBuilder,
};
use smmu::{Smmu, Transaction};

/// Where RAM starts.
pub(crate) const RAM_BASE: u64 = 0x4000_0000;
/// Where the device's addresses start.
const FIRST_IOVA: u64 = 0x7f00_0000_0000;
/// The measured device.
pub(crate) const STREAM: StreamId = StreamId::new(8);

/// Access flag, not global, and stage-1 AP=0b01: all may read and write.
const S1_LEAF: u64 = 1 << 11 | 1 << 10 | 1 << 6;
/// Access flag, S2AP=0b11, MemAttr=0b1111: Normal write-back.
const S2_LEAF: u64 = 1 << 10 | 3 << 6 | 0xf << 2;

/// Stages of the measured stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stages {
    Stage1,
    Stage2,
    Nested,
}

/// An SMMU, its memory, and translations with known answers.
pub(crate) struct Machine {
    pub(crate) smmu: Smmu,
    pub(crate) ram: Ram,
    /// Input page and output page of every mapping.
    pub(crate) pages: Vec<(u64, u64)>,
}

/// Frames in random order, so that no prefetcher helps.
struct Scattered {
    frames: Vec<u64>,
    large: Bump,
}

impl FrameSource for Scattered {
    fn take(&mut self, log2: u32) -> Option<u64> {
        if log2 <= 12 {
            self.frames.pop()
        } else {
            self.large.take(log2)
        }
    }
}

/// SplitMix64: a named, seeded generator, so that a run is repeatable.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

impl Machine {
    /// One page, tables packed together: everything fits the first-level cache.
    pub(crate) fn hot(stages: Stages) -> Self {
        Self::new(stages, 1, 16 << 20, 1 << 30)
    }

    /// `pages` pages of a guest of `guest_bytes`, tables in `ram_bytes`.
    pub(crate) fn new(stages: Stages, pages: u64, ram_bytes: u64, guest_bytes: u64) -> Self {
        let mut random = Random(1);
        let ram = Ram::with_regions(&[(RAM_BASE, ram_bytes)]).unwrap();
        // A quarter of RAM for the guest's tables, the rest for the hypervisor's.
        let guest_tables = ram_bytes / 4;
        let split = RAM_BASE + guest_tables;
        // The top 64 KiB stay free for queues.
        let mut host: Vec<u64> = (split + (1 << 20)..RAM_BASE + ram_bytes - 0x1_0000)
            .step_by(4096)
            .collect();
        // The guest sees its table memory at the bottom of its space.
        let mut guest: Vec<u64> = (0x10_0000..guest_tables).step_by(4096).collect();
        if pages > 1 {
            random.shuffle(&mut host);
            random.shuffle(&mut guest);
        } else {
            host.reverse();
            guest.reverse();
        }
        let mut host = Scattered {
            frames: host,
            large: Bump::new(split, split + (1 << 20)),
        };
        let mut guest = Scattered {
            frames: guest,
            large: Bump::new(0, 0x10_0000),
        };
        let to_pa = |ipa: u64| (ipa < guest_tables).then_some(RAM_BASE + ipa);

        let mut physical = Physical(ram.port());
        let mut intermediate = Intermediate {
            memory: ram.port(),
            to_pa,
        };
        let s2_shape = Geometry {
            granule_log2: 12,
            input_bits: 44,
            start_level: 0,
            lpa2: false,
        };
        let mut s2 = PageTable::new(s2_shape, &mut host).unwrap();
        let mut s1 = PageTable::new(Geometry::stage1(12, 48), &mut guest).unwrap();
        let mut mapped = Vec::new();
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..pages {
            let ipa = loop {
                let ipa = (guest_tables + random.next() % guest_bytes) & !0xfff;
                if used.insert(ipa) {
                    break ipa;
                }
            };
            let pa = random.next() & 0xfff_ffff_f000;
            // As scattered in the device's space as in the guest's.
            let iova = FIRST_IOVA + ipa;
            let (input, output) = match stages {
                Stages::Stage1 => (iova, pa),
                Stages::Stage2 => (ipa, pa),
                Stages::Nested => (iova, ipa),
            };
            if stages != Stages::Stage2 {
                s1.map(&mut intermediate, &mut guest, input, output, 12, S1_LEAF)
                    .unwrap();
            }
            if stages != Stages::Stage1 {
                s2.map(&mut physical, &mut host, ipa, pa, 12, S2_LEAF)
                    .unwrap();
            }
            mapped.push((input, pa));
        }
        let cd_ipa = guest.take(12).unwrap();
        if stages != Stages::Stage1 {
            // The guest's tables, page by page.
            ram.for_each_page(|page, _| {
                if page.get() < split {
                    let ipa = page.get() - RAM_BASE;
                    s2.map(&mut physical, &mut host, ipa, page.get(), 12, S2_LEAF)
                        .unwrap();
                }
            });
            let pa = to_pa(cd_ipa).unwrap();
            // The CD's page may not have been written yet.
            let _ = s2.map(&mut physical, &mut host, cd_ipa, pa, 12, S2_LEAF);
        }

        let mut port = ram.port();
        let streams = LinearStreamTable::new(4, &mut host).unwrap();
        // Without a stage 2 the guest's addresses are physical: the tables are told so.
        let stage1_at = |ipa: u64| match stages {
            Stages::Nested => ipa,
            _ => to_pa(ipa).unwrap(),
        };
        let mut cd = CdBuilder::new(&s1, Ps::Bits44, Asid::new(1));
        cd.0.dw1 = cd.0.dw1.with_ttb0(stage1_at(s1.root()) >> 4);
        cd.write(&mut port, Pa::new(to_pa(cd_ipa).unwrap()))
            .unwrap();
        if stages == Stages::Stage1 {
            rebase_tables(&ram, split);
        }
        let ste = SteBuilder::bypass();
        let ste = if stages == Stages::Stage2 {
            ste
        } else {
            ste.with_stage1(stage1_at(cd_ipa))
        };
        let ste = if stages == Stages::Stage1 {
            ste
        } else {
            ste.with_stage2(&s2, Ps::Bits44, Vmid::new(1))
        };
        streams.set(&mut port, STREAM, &ste.0).unwrap();

        let mut smmu = Smmu::new(SmmuConfig::qemu_11()).unwrap();
        let mut write = |name, width, value| {
            smmu.mmio_write(register_offset(name).unwrap(), width, value);
        };
        write("STRTAB_BASE", Width::W64, streams.strtab_base());
        write(
            "STRTAB_BASE_CFG",
            Width::W32,
            streams.strtab_base_cfg().into(),
        );
        write("CR0", Width::W32, 1);
        let machine = Self {
            smmu,
            ram,
            pages: mapped,
        };
        machine.verify();
        machine
    }

    /// Every mapping translates to where it was mapped.
    fn verify(&self) {
        let mut port = self.ram.port();
        for &(input, output) in &self.pages {
            let transaction = Transaction::read(STREAM, Iova::new(input | 0x123));
            let outcome = self.smmu.translate_cold(&mut port, &transaction, &mut ());
            assert_eq!(outcome.pa(), Some(Pa::new(output | 0x123)), "{outcome:?}");
        }
    }
}

/// Stage 1 alone walks physical addresses: moves the addresses in its Table descriptors, which
/// were built as the guest's, to where they are.
fn rebase_tables(ram: &Ram, split: u64) {
    use std::sync::atomic::Ordering;
    ram.for_each_page(|page, words| {
        if page.get() < split {
            for word in words {
                let descriptor = word.load(Ordering::Relaxed);
                // A Table descriptor has no attributes here; a page has its Access flag.
                if descriptor & 3 == 3 && descriptor & 1 << 10 == 0 && descriptor >> 48 == 0 {
                    word.store(descriptor + RAM_BASE, Ordering::Relaxed);
                }
            }
        }
    });
}

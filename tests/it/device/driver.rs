//! A driver in miniature, for caches to be tried with: address spaces, virtual machines and streams
//! in memory, changed in every way a driver changes them, and invalidated as the architecture asks
//! (IHI 0070 §3.17, §3.21, §4). Raw words throughout.

use std::collections::BTreeMap;

use smmu::Smmu;
use smmu::cache::{CacheConfig, ContiguousHint};
use smmu::regfile::Width;

use super::invalidate::{Extent, Place};
use super::shapes::{block, contiguous_log2, granule, mix, stage1_shape, stage2_shape};
use crate::support::bench::*;
use crate::support::rig::{CMDQ, CMDQ_BASE, CMDQEN, SMMUEN};

/// Streams 0 to 5.
pub(super) const STREAMS: u64 = 6;
/// CDs of a stream with substreams.
pub(super) const CDS: u64 = 4;
/// Address spaces of one [`Space`].
const CONTEXTS: usize = 2;
/// Single pages that an area may have.
pub(super) const PAGES: u64 = 8;

/// Log2 of an area: a piece of an address space that is mapped in one way at a time.
pub(super) const AREA: u32 = 30;
/// Upper addresses, those of TTB1.
pub(super) const UPPER: u64 = 0xffff_0000_0000_0000;

const FIRST_ROOT: u64 = 0x2000_0000;

/// What a translation regime of streams is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regime {
    /// NS-EL1, stage 1 only.
    Alone,
    /// NS-EL1, with stage 2.
    Guest,
    /// EL2, or EL2-E2H.
    Hypervisor,
}

/// Address spaces of one VMID, which share their upper half.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) regime: Regime,
    pub(super) vmid: u64,
    pub(super) granule: u32,
    pub(super) upper: u64,
    pub(super) lower: [u64; CONTEXTS],
    pub(super) stage2: u64,
    pub(super) stage2_granule: u32,
}

/// What an area of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Pages,
    Contiguous,
    Block(u32),
}

/// What the STE of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Invalid,
    Abort,
    Bypass,
    /// A context of a space.
    Stage1(usize, usize),
    /// Stage 2 alone.
    Stage2(usize),
    /// Four CDs.
    Substreams(usize, [usize; CDS as usize]),
}

/// One table, and what it is the table of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    root: u64,
    shape: Shape,
    pub(super) place: Place,
}

/// What differs from machine to machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Low bits choose granules, E2H, hardware update, VMW.
    pub(super) choices: u32,
    pub(super) caches: CacheConfig,
}

/// Memory and streams as a driver sees them.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    pub(super) bench: Bench,
    pub(super) smmu: Smmu,
    pub(super) spaces: Vec<Space>,
    pub(super) plans: Vec<Plan>,
    pub(super) e2h: bool,
    pub(super) updates: bool,
    /// Whether a clear Access flag may be of no concern.
    pub(super) affd: bool,
    /// What all streams and contexts have, and never change.
    pub(super) fixed: u64,
    /// Whether the caches take contiguous regions as one.
    pub(super) contiguous: bool,
    /// Whether it forgets to send its commands.
    pub(super) forgets: bool,
    forms: BTreeMap<(u64, u64), Form>,
    next_root: u64,
}

fn contiguous_pages(target: &Target, start: u64) -> Vec<u64> {
    let pages = 0..1 << contiguous_log2(target.shape.granule);
    pages
        .map(|n: u64| start + (n << target.shape.granule))
        .collect()
}

impl Driver {
    pub(super) fn new(setup: &Setup) -> Self {
        let bits = |lsb: u32| setup.choices >> lsb;
        let mut driver = Self {
            bench: Bench::bypass(),
            smmu: Smmu::with_caches(smmu::config::SmmuConfig::full(), &setup.caches).unwrap(),
            spaces: Vec::new(),
            plans: vec![Plan::Invalid; STREAMS as usize],
            e2h: bits(0) & 1 != 0,
            updates: bits(1) & 1 != 0,
            affd: bits(3) & 1 != 0,
            fixed: setup.choices.into(),
            contiguous: setup.caches.contiguous == ContiguousHint::Used,
            forgets: false,
            forms: BTreeMap::new(),
            next_root: FIRST_ROOT,
        };
        let regimes = [
            Regime::Alone,
            Regime::Guest,
            Regime::Guest,
            Regime::Hypervisor,
        ];
        for (regime, n) in regimes.into_iter().zip(0..) {
            let mut space = Space {
                regime,
                vmid: if regime == Regime::Hypervisor {
                    0
                } else {
                    n.into()
                },
                granule: granule(bits(4 + 4 * n)),
                upper: driver.fresh_root(),
                lower: [driver.fresh_root(), driver.fresh_root()],
                stage2: driver.fresh_root(),
                stage2_granule: granule(bits(6 + 4 * n)),
            };
            if regime == Regime::Hypervisor && !driver.e2h {
                // One world without ASIDs: one address space.
                space.lower[1] = space.lower[0];
            }
            if regime == Regime::Guest {
                driver.identity(&space);
            }
            driver.spaces.push(space);
        }
        driver.start(bits(2) & 3);
        driver
    }

    fn start(&mut self, vmw: u32) {
        let smmu = &mut self.smmu;
        for (offset, width, value) in [
            (STRTAB_BASE, Width::W64, STRTAB),
            (STRTAB_BASE_CFG, Width::W32, 6),
            (CR2, Width::W32, u64::from(self.e2h)),
            (CMDQ_BASE, Width::W64, CMDQ | 0xa),
            (CR0, Width::W32, SMMUEN | CMDQEN | u64::from(vmw) << 6),
        ] {
            smmu.mmio_write(offset, width, value);
        }
        for stream in 0..STREAMS {
            self.write_stream(stream);
        }
    }

    fn fresh_root(&mut self) -> u64 {
        self.next_root += 0x1_0000;
        self.next_root
    }

    /// Stage 2 maps the first GiB, where tables and CDs are, to itself.
    fn identity(&mut self, space: &Space) {
        let shape = stage2_shape(space.stage2_granule);
        let lsb = if shape.granule == 12 {
            30
        } else {
            block(shape.granule)
        };
        for input in (0..1 << AREA).step_by(1 << lsb) {
            self.bench
                .put(space.stage2, shape, input, lsb, input | S2_BLOCK);
        }
    }

    /// A table of stage 1: of a context's lower half, or of the shared upper half.
    pub(super) fn stage1(&self, space: usize, context: usize, upper: bool) -> Target {
        let of = &self.spaces[space];
        let one_range = of.regime == Regime::Hypervisor && !self.e2h;
        let upper = upper && !one_range;
        let (root, base) = if upper {
            (of.upper, UPPER)
        } else {
            (of.lower[context], 0)
        };
        Target {
            root,
            shape: stage1_shape(of.granule),
            place: Place {
                regime: of.regime,
                e2h: self.e2h,
                vmid: of.vmid,
                asid: Self::asid(context),
                is_global: upper || one_range,
                is_stage2: false,
                base,
                granule: of.granule,
            },
        }
    }

    /// The stage-2 table of a guest.
    pub(super) fn stage2(&self, space: usize) -> Target {
        let of = &self.spaces[space];
        Target {
            root: of.stage2,
            shape: stage2_shape(of.stage2_granule),
            place: Place {
                regime: of.regime,
                e2h: self.e2h,
                vmid: of.vmid,
                asid: 0,
                is_global: false,
                is_stage2: true,
                base: 0,
                granule: of.stage2_granule,
            },
        }
    }

    pub(super) fn asid(context: usize) -> u64 {
        context as u64 + 1
    }

    /// Leaf bits that random bits stand for, without the type.
    fn attributes(target: &Target, random: u64) -> u64 {
        let bits = |n: u64, choices: u64| mix(random, n) % choices;
        let rarely = |n: u64| u64::from(bits(n, 8) == 0);
        let common = (1 - rarely(1)) << 10 | bits(2, 2) << 51 | bits(3, 4) << 8;
        if target.place.is_stage2 {
            let memory = [0xf, 0x5, 0x1, 0xf][bits(4, 4) as usize];
            let s2ap = if bits(5, 2) == 0 { 3 } else { bits(6, 4) };
            common | memory << 2 | s2ap << 6 | rarely(7) << 54
        } else {
            let private = u64::from(!target.place.is_global) << 11;
            let ap = if bits(5, 2) == 0 { 1 } else { bits(6, 4) };
            common | private | bits(4, 3) << 2 | ap << 6 | rarely(7) << 53 | rarely(8) << 54
        }
    }

    /// Maps something in an area, break before make.
    pub(super) fn map(&mut self, target: &Target, area: u64, how: u64, random: u64) {
        let granule = target.shape.granule;
        let leaf = Self::attributes(target, mix(random, 1));
        let start = target.place.base + (area << AREA);
        // Guests have little memory, so that stage 2 often maps it.
        let guest = target.place.regime == Regime::Guest && !target.place.is_stage2;
        let (areas, pages) = if guest { (7, 7) } else { (0x3f, 0xff) };
        let output = mix(random, 2);
        let at = |lsb: u32| (output >> 8 & areas) << AREA | (output & pages) << lsb;
        let form = self.forms.get(&(target.root, area)).copied();
        match how % 4 {
            0 | 1 => {
                if form != Some(Form::Pages) {
                    self.clear(target, area, mix(random, 3));
                }
                let page = start + ((mix(random, 4) % PAGES) << granule);
                self.set_leaf(target, page, granule, 0);
                self.changed(target, vec![page], granule, false, mix(random, 5));
                self.set_leaf(target, page, granule, at(granule) | leaf | 3);
                self.forms.insert((target.root, area), Form::Pages);
            }
            2 => {
                self.clear(target, area, mix(random, 3));
                let first = at(granule + contiguous_log2(granule));
                for (n, page) in contiguous_pages(target, start).into_iter().zip(0..) {
                    let descriptor = (first + (page << granule)) | leaf | 1 << 52 | 3;
                    self.set_leaf(target, n, granule, descriptor);
                }
                self.forms.insert((target.root, area), Form::Contiguous);
            }
            _ => {
                self.clear(target, area, mix(random, 3));
                let large = granule == 12 && mix(random, 6) & 1 != 0;
                let lsb = if large { 30 } else { block(granule) };
                // There may be a table.
                self.set_leaf(target, start, lsb, 0);
                let pages = (0..PAGES).map(|n| start + (n << granule)).collect();
                self.changed(target, pages, granule, true, mix(random, 7));
                self.set_leaf(target, start, lsb, at(lsb) | leaf | 1);
                self.forms.insert((target.root, area), Form::Block(lsb));
            }
        }
    }

    /// Unmaps an area.
    pub(super) fn clear(&mut self, target: &Target, area: u64, random: u64) {
        let start = target.place.base + (area << AREA);
        let granule = target.shape.granule;
        let (leaves, lsb) = match self.forms.remove(&(target.root, area)) {
            None => return,
            Some(Form::Block(lsb)) => (vec![start], lsb),
            Some(Form::Contiguous) => (contiguous_pages(target, start), granule),
            Some(Form::Pages) => {
                let pages = (0..PAGES).map(|n| start + (n << granule));
                (pages.collect(), granule)
            }
        };
        for &leaf in &leaves {
            self.set_leaf(target, leaf, lsb, 0);
        }
        self.changed(target, leaves, lsb, false, random);
        if lsb == granule {
            self.forms.insert((target.root, area), Form::Pages);
        }
    }

    /// Changes permissions of a leaf in place, or those of a table above pages.
    pub(super) fn protect(&mut self, target: &Target, area: u64, page: u64, random: u64) {
        let start = target.place.base + (area << AREA);
        let granule = target.shape.granule;
        let (at, lsb, is_table) = match self.forms.get(&(target.root, area)) {
            Some(Form::Pages) if random & 1 != 0 && !target.place.is_stage2 => {
                (start, block(granule), true)
            }
            Some(Form::Pages) => (start + ((page % PAGES) << granule), granule, false),
            Some(Form::Block(lsb)) => (start, *lsb, false),
            Some(Form::Contiguous) | None => return,
        };
        let slot = self.bench.slot(target.root, target.shape, at, lsb);
        let descriptor = self.bench.peek(slot);
        if descriptor & 1 == 0 {
            return;
        }
        let flips = if is_table {
            (random >> 1 & 0xf) << 59
        } else if target.place.is_stage2 {
            (random >> 1 & 3) << 6
        } else {
            (random >> 1 & 3) << 6 | (random >> 3 & 3) << 53
        };
        self.bench.write(slot, descriptor ^ flips);
        let leaves = if is_table {
            (0..PAGES).map(|n| start + (n << granule)).collect()
        } else {
            vec![at]
        };
        let lsb = if is_table { granule } else { lsb };
        self.changed(target, leaves, lsb, is_table, mix(random, 8));
    }

    fn set_leaf(&mut self, target: &Target, input: u64, lsb: u32, descriptor: u64) {
        self.bench
            .put(target.root, target.shape, input, lsb, descriptor);
    }

    /// Invalidates what was changed: leaves, and a table above them if so said.
    fn changed(&mut self, target: &Target, leaves: Vec<u64>, lsb: u32, tables: bool, random: u64) {
        let place = target.place;
        let changed = Extent {
            place,
            leaves,
            lsb,
            tables,
        };
        for command in changed.commands(random) {
            self.send(command);
        }
    }

    /// A new table under an old ASID, or a new stage 2 under an old VMID.
    pub(super) fn recycle(&mut self, space: usize, context: usize, random: u64) {
        let root = self.fresh_root();
        let regime = self.spaces[space].regime;
        if regime == Regime::Guest && random & 1 != 0 {
            self.spaces[space].stage2 = root;
            let of = self.spaces[space].clone();
            self.identity(&of);
        } else {
            let of = &mut self.spaces[space];
            of.lower[context] = root;
            if regime == Regime::Hypervisor && !self.e2h {
                of.lower = [root; CONTEXTS];
            }
        }
        for stream in 0..STREAMS {
            self.write_stream(stream);
        }
        for stream in 0..STREAMS {
            self.send([0x03 | stream << 32, 0]);
        }
        let place = if regime == Regime::Guest && random & 1 != 0 {
            self.stage2(space).place
        } else {
            self.stage1(space, context, false).place
        };
        self.send(place.whole(random));
    }

    /// Gives a stream another plan.
    pub(super) fn assign(&mut self, stream: u64, plan: Plan, random: u64) {
        self.plans[stream as usize] = plan;
        self.write_stream(stream);
        let range = random >> 2 & 3;
        self.send(match random & 3 {
            0 => [0x04, 31],
            1 => [0x04 | stream << 32, range],
            _ => [0x03 | stream << 32, 0],
        });
    }

    /// Points one CD of a stream at another context.
    pub(super) fn switch(&mut self, stream: u64, index: u64, context: usize, random: u64) {
        let context = context % CONTEXTS;
        let index = index % CDS;
        let index = match &mut self.plans[stream as usize] {
            Plan::Stage1(_, current) => {
                *current = context;
                0
            }
            Plan::Substreams(_, cds) => {
                cds[index as usize] = context;
                index
            }
            _ => return,
        };
        self.write_stream(stream);
        self.send(match random & 3 {
            0 => [0x06 | stream << 32, 0],
            1 => [0x03 | stream << 32, 1],
            leaf => [0x05 | index << 12 | stream << 32, leaf & 1],
        });
    }

    /// Puts a command into the queue and runs it.
    pub(super) fn send(&mut self, words: [u64; 2]) {
        if self.forgets {
            return;
        }
        self.push(words);
        let smmu = &mut self.smmu;
        let consumed = smmu.run_until_idle(&mut self.bench.ram.port(), &mut (), 10);
        assert_eq!(consumed, 1, "{words:#x?}");
    }

    /// Puts a command into the queue.
    pub(super) fn push(&mut self, words: [u64; 2]) {
        let prod = self.smmu.mmio_read(0x98, Width::W32);
        let at = CMDQ + 16 * (prod & 0x3ff);
        self.bench.write(at, words[0]);
        self.bench.write(at + 8, words[1]);
        self.smmu.mmio_write(0x98, Width::W32, (prod + 1) & 0x7ff);
    }
}

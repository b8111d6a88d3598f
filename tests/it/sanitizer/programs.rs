//! Random driver programs, correct and careless: correct ones are silent, and where a program is
//! silent caches make no difference (IHI 0070 §3.17, §3.21; what software must invalidate).

use smmu::cache::{CacheConfig, ContiguousHint, TlbStructure};
use smmu::config::{Httu, SmmuConfig};
use smmu::sanitize::Hints;
use smmu::transaction::{AccessKind, Outcome, Translation};

use crate::support::bench::S2_PAGE;

use super::machine::{BLOCK, Machine, PAGE, Random, Space, Stage, Stages, guest_page};

const STREAMS: u32 = 3;
const SPACES: usize = 3;
/// Pages of two blocks, so that programs meet themselves.
const PAGES: u64 = 4;

/// How an invalidation is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    Proper,
    /// Not at all.
    None,
    /// Without `CMD_SYNC`.
    Unsynced,
    /// Of the next page, or the next stream.
    Beside,
    /// Of another ASID and VMID.
    Elsewhere,
}

struct Program {
    machine: Machine,
    random: Random,
    spaces: Vec<Space>,
    /// Which space a stream uses.
    attached: [Option<usize>; STREAMS as usize],
    /// One in so many invalidations is careless; 0 for none.
    careless: u64,
}

impl Program {
    fn new(seed: u64, careless: u64, hints: Hints) -> Self {
        let mut random = Random::new(seed);
        let mut caches =
            random.pick(&[CacheConfig::OFF, CacheConfig::SMALL, CacheConfig::INFINITE]);
        caches.structure = random.pick(&[TlbStructure::Combined, TlbStructure::Separate]);
        caches.contiguous = random.pick(&[ContiguousHint::Used, ContiguousHint::Ignored]);
        let mut config = random.pick(&[SmmuConfig::full, SmmuConfig::mmu_600])();
        if config.bbml != 0 {
            config.bbml = 1 + random.below(2) as u8;
        }
        let marks = random.one_in(2);
        let mut machine = Machine::new(config, &caches, hints);
        let spaces = (1..=SPACES as u64)
            .map(|id| {
                let stages = random.pick(&[Stages::One, Stages::Two, Stages::Both]);
                let mut space = machine.space(stages, id, id);
                space.marks = marks && machine.sanitizer.smmu().config().httu >= Httu::Dirty;
                space
            })
            .collect();
        let mut program = Self {
            machine,
            random,
            spaces,
            attached: [None; STREAMS as usize],
            careless,
        };
        for _ in 0..12 {
            program.map();
            program.attach();
        }
        program
    }

    fn care(&mut self) -> Care {
        if self.careless == 0 || !self.random.one_in(self.careless) {
            return Care::Proper;
        }
        self.random
            .pick(&[Care::None, Care::Unsynced, Care::Beside, Care::Elsewhere])
    }

    /// An input address, and the block it is in.
    fn input(&mut self) -> u64 {
        self.random.below(2) * BLOCK + self.random.below(PAGES) * PAGE
    }

    fn invalidate_page(&mut self, space: &Space, input: u64) {
        match self.care() {
            Care::Proper => self.machine.tlbi_page(space, input),
            Care::None => return,
            Care::Unsynced => return self.machine.tlbi_page(space, input),
            Care::Beside => self.machine.tlbi_page(space, input + PAGE),
            Care::Elsewhere => {
                let elsewhere = Space {
                    asid: space.asid + 1,
                    vmid: space.vmid + 1,
                    ..*space
                };
                self.machine.tlbi_page(&elsewhere, input);
            }
        }
        self.machine.sync();
    }

    fn invalidate_stream(&mut self, stream: u32) {
        match self.care() {
            Care::Proper => self.machine.cfgi_ste(stream),
            Care::None => return,
            Care::Unsynced => return self.machine.cfgi_ste(stream),
            Care::Beside => self.machine.cfgi_ste(stream + 1),
            Care::Elsewhere => self.machine.cfgi_cd(stream + 1),
        }
        self.machine.sync();
    }

    /// Everything of a space.
    fn invalidate_space(&mut self, space: &Space) {
        match self.care() {
            Care::Proper => {
                self.machine.tlbi_space(space);
                if space.stages == Stages::Both {
                    self.machine.tlbi_vmall(space);
                }
            }
            Care::None => return,
            Care::Unsynced => return self.machine.tlbi_space(space),
            Care::Beside => self.machine.tlbi_page(space, 0),
            Care::Elsewhere => self.machine.tlbi_nh_all(&Space { vmid: 77, ..*space }),
        }
        self.machine.sync();
    }

    /// Break, then make: `descriptor` takes the place of what is at `slot`.
    fn replace(&mut self, space: &Space, slot: u64, input: u64, descriptor: u64) {
        let old = self.machine.peek(slot);
        if old & 1 != 0 {
            if self.care() == Care::Proper {
                self.machine.write(slot, 0);
                self.sometimes_access();
            }
            if old & 3 == 3 && descriptor & 3 == 1 {
                // A table goes, with all below it.
                self.invalidate_space(space);
            } else {
                self.invalidate_page(space, input);
            }
        }
        self.machine.write(slot, descriptor);
    }

    fn descriptor(&mut self, space: &Space, output: u64) -> u64 {
        let mut leaf = match self.random.below(3) {
            0 => space.read_only(output),
            _ => space.leaf(output),
        };
        if space.marks && self.random.one_in(2) {
            leaf |= 1 << 51;
        }
        if self.random.one_in(12) {
            leaf &= !(1 << 10);
        }
        // Global pages of other spaces with the same VMID would be mistaken for this one's.
        let may_be_global = space.stages == Stages::Both || self.careless != 0;
        if may_be_global && space.outer() == Stage::One && self.random.one_in(6) {
            leaf &= !(1 << 11);
        }
        leaf
    }

    fn map(&mut self) {
        let index = self.random.below(SPACES as u64) as usize;
        let space = self.spaces[index];
        let input = self.input();
        let outer = space.outer();
        let above = self.machine.slot(&space, outer, input, 21);
        if self.random.one_in(5) {
            let output = guest_page(0) + self.random.below(4) * BLOCK;
            let block = self.descriptor(&space, output) & !2;
            return self.replace(&space, above, input, block);
        }
        if self.machine.peek(above) & 3 == 1 {
            // A block is there: it goes first.
            self.replace(&space, above, input, 0);
        }
        let slot = self.machine.page(&space, input);
        let output = guest_page(self.random.below(2 * PAGES));
        let page = self.descriptor(&space, output);
        let backing = match space.stages {
            Stages::Both => self.machine.slot(&space, Stage::Two, output, 12),
            Stages::One | Stages::Two => slot,
        };
        if self.machine.peek(backing) & 1 == 0 && space.stages == Stages::Both {
            self.machine.back(&space, output, output + (1 << 32));
        }
        self.replace(&space, slot, input, page);
    }

    fn unmap(&mut self) {
        let index = self.random.below(SPACES as u64) as usize;
        let space = self.spaces[index];
        let input = self.input();
        let above = self.machine.slot(&space, space.outer(), input, 21);
        let slot = if self.machine.peek(above) & 3 == 1 {
            above
        } else {
            self.machine.page(&space, input)
        };
        if self.machine.peek(slot) & 1 != 0 {
            self.machine.write(slot, 0);
            self.invalidate_page(&space, input);
        }
    }

    /// What stage 2 of a nested space does with a guest's page.
    fn change_stage2(&mut self) {
        let index = self.random.below(SPACES as u64) as usize;
        let space = self.spaces[index];
        if space.stages != Stages::Both {
            return;
        }
        let ipa = guest_page(self.random.below(2 * PAGES));
        let slot = self.machine.slot(&space, Stage::Two, ipa, 12);
        let new = if self.random.one_in(8) {
            0
        } else {
            (ipa + ((1 + self.random.below(3)) << 32)) | S2_PAGE
        };
        if self.machine.peek(slot) & 1 != 0 {
            self.machine.write(slot, 0);
            match self.care() {
                Care::Proper => {
                    self.machine.tlbi_ipa(&space, ipa);
                    self.machine.tlbi_nh_all(&space);
                }
                Care::None => {}
                Care::Unsynced => self.machine.tlbi_nh_all(&space),
                Care::Beside => self.machine.tlbi_ipa(&space, ipa),
                Care::Elsewhere => self.machine.tlbi_page(&space, ipa),
            }
            if self.care() == Care::Proper {
                self.machine.sync();
            }
        }
        self.machine.write(slot, new);
    }

    fn attach(&mut self) {
        let stream = self.random.below(STREAMS.into()) as u32;
        let index = self.random.below(SPACES as u64) as usize;
        let space = self.spaces[index];
        let at = self.machine.ste_at(stream);
        self.machine.write(at, 0);
        self.invalidate_stream(stream);
        self.sometimes_access();
        self.attached[stream as usize] = None;
        if self.random.one_in(9) {
            return;
        }
        let (ste, cd) = (self.machine.ste(stream, &space), self.machine.cd(&space));
        self.machine.store(self.machine.cd_at(stream), cd);
        for index in 1..8 {
            self.machine.write(at + 8 * index as u64, ste.0[index]);
        }
        self.invalidate_stream(stream);
        self.machine.write(at, ste.0[0]);
        self.invalidate_stream(stream);
        self.attached[stream as usize] = Some(index);
    }

    /// A space is given up, and a new one gets its ASID and VMID.
    fn recycle(&mut self) {
        let index = self.random.below(SPACES as u64) as usize;
        let space = self.spaces[index];
        for stream in 0..STREAMS {
            if self.attached[stream as usize] == Some(index) {
                let at = self.machine.ste_at(stream);
                self.machine.write(at, 0);
                self.invalidate_stream(stream);
                self.attached[stream as usize] = None;
            }
        }
        self.invalidate_space(&space);
        let new = self
            .machine
            .space(space.stages, space.asid, space.vmid.max(1));
        self.spaces[index] = Space {
            marks: space.marks,
            ..new
        };
    }

    fn sometimes_access(&mut self) {
        // Devices are quiet while a correct driver is at work on their tables.
        if self.careless != 0 && self.random.one_in(3) {
            self.access();
        }
    }

    /// One access: silent or not, and the outcomes warm and cold.
    fn access(&mut self) -> Verdict {
        let stream = self.random.below(STREAMS.into()) as u32;
        let kind = self
            .random
            .pick(&[AccessKind::Read, AccessKind::Write, AccessKind::Atomic]);
        let input = self.input() + self.random.below(PAGE / 8) * 8;
        let before = self.machine.sanitizer.statistics().found;
        let now = self.machine.memory_says(stream, kind, input);
        let [warm, apart] = self.machine.access(stream, kind, input);
        Verdict {
            is_silent: self.machine.sanitizer.statistics().found == before,
            warm: comparable(warm),
            now: comparable(now),
            apart: comparable(apart),
        }
    }

    fn step(&mut self) -> Option<Verdict> {
        match self.random.below(60) {
            0..16 => self.map(),
            16..20 => self.unmap(),
            20..24 => self.attach(),
            24..28 => self.change_stage2(),
            28 => {
                self.recycle();
                self.map();
                self.attach();
            }
            _ => return Some(self.access()),
        }
        None
    }
}

struct Verdict {
    is_silent: bool,
    warm: Outcome,
    /// By what memory said at that moment.
    now: Outcome,
    /// Of a device without caches, on a memory of its own.
    apart: Outcome,
}

/// What device and software can tell: not the size of the block or page, nor a fault's level.
fn comparable(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Translated(translation) => Outcome::Translated(Translation {
            span_log2: 0,
            ..translation
        }),
        Outcome::Terminated {
            response, event, ..
        } => Outcome::Terminated {
            response,
            fault: None,
            event,
        },
        other => other,
    }
}

#[test]
fn correct_programs_are_silent_and_caches_make_no_difference() {
    let mut accesses = 0;
    let mut translated = 0;
    for seed in 0..1500 {
        let mut program = Program::new(seed, 0, Hints::Off);
        for _ in 0..200 {
            if let Some(Verdict { warm, apart, .. }) = program.step() {
                assert_eq!(warm, apart, "seed {seed}");
                accesses += 1;
                translated += u64::from(matches!(warm, Outcome::Translated(_)));
            }
            program.machine.assert_silent();
        }
    }
    // Programs that never translate would show nothing.
    assert!(translated * 4 > accesses, "{translated} of {accesses}");
}

#[test]
fn correct_programs_make_no_mistake_even_if_hints_are_asked_for() {
    for seed in 0..200 {
        let mut program = Program::new(seed, 0, Hints::On);
        for _ in 0..200 {
            program.step();
        }
        program.machine.assert_no_errors();
    }
}

#[test]
fn whenever_caches_make_a_difference_the_sanitizer_has_said_so() {
    let (mut silent, mut differing, mut clean_programs) = (0, 0, 0);
    for seed in 0..1500 {
        let careless = 2 + seed % 30;
        let mut program = Program::new(seed, careless, Hints::Off);
        for step in 0..150 {
            let Some(verdict) = program.step() else {
                continue;
            };
            let Verdict {
                is_silent,
                warm,
                now,
                apart,
            } = verdict;
            if warm != now {
                differing += 1;
                assert!(!is_silent, "seed {seed}, step {step}: {warm:?}, {now:?}");
            }
            if program.machine.sanitizer.statistics().found == 0 {
                silent += 1;
                assert_eq!(warm, apart, "seed {seed}, step {step}");
            }
        }
        clean_programs += u64::from(program.machine.sanitizer.statistics().found == 0);
    }
    assert!(differing > 1000 && silent > 1000, "{differing}, {silent}");
    assert!(clean_programs > 10, "{clean_programs}");
}

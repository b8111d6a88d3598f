//! A machine with a driver: streams, address spaces, page tables and a command queue, raw words only.
//! Beside the watched device runs one without caches, on memory of its own with the same stores.

use smmu::addr::{Iova, Pa};
use smmu::ats::{TranslationCompletion, TranslationRequest};
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, DryRun, PhysMem, Ram};
use smmu::regfile::Width;
use smmu::sanitize::{Finding, Hints, Kind, Sanitizer, SanitizerConfig, Severity};
use smmu::transaction::{AccessKind, Outcome};
use smmu::{Smmu, Transaction};

use crate::support::bench::{S1_PAGE, S2_PAGE, Words};

const STRTAB: u64 = 0x10_0000;
const CDS: u64 = 0x11_0000;
const QUEUE: u64 = 0x18_0000;
const QUEUE_LOG2: u32 = 8;
const FIRST_FRAME: u64 = 0x100_0000;
/// Below this every stage 2 is the identity, so that guests' tables are where they say.
const GUEST_PAGES: u64 = 0x8000_0000;

const CR0: u32 = 0x20;
const STRTAB_BASE: u32 = 0x80;
const STRTAB_BASE_CFG: u32 = 0x88;
const CMDQ_BASE: u32 = 0x90;
const CMDQ_PROD: u32 = 0x98;

pub(super) const PAGE: u64 = 0x1000;
pub(super) const BLOCK: u64 = 0x20_0000;

/// Which stages an address space has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stages {
    One,
    Two,
    Both,
}

/// An address space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) stages: Stages,
    pub(super) root1: u64,
    pub(super) root2: u64,
    pub(super) asid: u64,
    pub(super) vmid: u64,
    /// CD.HA and HD, or S2HA and S2HD.
    pub(super) marks: bool,
}

/// Which tables of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    One,
    Two,
}

impl Space {
    /// The tables that translate what devices send.
    pub(super) fn outer(&self) -> Stage {
        match self.stages {
            Stages::One | Stages::Both => Stage::One,
            Stages::Two => Stage::Two,
        }
    }

    /// A leaf of the outer tables: read and write, at `output`.
    pub(super) fn leaf(&self, output: u64) -> u64 {
        output
            | match self.outer() {
                Stage::One => S1_PAGE | 1 << 11,
                Stage::Two => S2_PAGE,
            }
    }

    /// The same, read-only.
    pub(super) fn read_only(&self, output: u64) -> u64 {
        match self.outer() {
            Stage::One => self.leaf(output) | 1 << 7,
            Stage::Two => self.leaf(output) & !(1 << 7),
        }
    }

    fn root(&self, stage: Stage) -> u64 {
        match stage {
            Stage::One => self.root1,
            Stage::Two => self.root2,
        }
    }
}

/// The machine.
pub(super) struct Machine {
    pub(super) sanitizer: Sanitizer,
    ram: Ram,
    cold: Smmu,
    cold_ram: Ram,
    prod: u32,
    next_frame: u64,
}

impl Machine {
    pub(super) fn new(config: SmmuConfig, caches: &CacheConfig, hints: Hints) -> Self {
        let sanitizer = SanitizerConfig {
            hints,
            ..SanitizerConfig::default()
        };
        Self::with_sanitizer(config, caches, &sanitizer)
    }

    pub(super) fn with_sanitizer(
        config: SmmuConfig,
        caches: &CacheConfig,
        sanitizer: &SanitizerConfig,
    ) -> Self {
        let watched = Smmu::with_caches(config.clone(), caches).unwrap();
        let mut machine = Self {
            sanitizer: Sanitizer::new(watched, sanitizer).unwrap(),
            ram: Ram::sparse(),
            cold: Smmu::new(config).unwrap(),
            cold_ram: Ram::sparse(),
            prod: 0,
            next_frame: FIRST_FRAME,
        };
        for (offset, width, value) in [
            (STRTAB_BASE, Width::W64, STRTAB),
            (STRTAB_BASE_CFG, Width::W32, 6),
            (CMDQ_BASE, Width::W64, QUEUE | u64::from(QUEUE_LOG2)),
            (CR0, Width::W32, 0b1001),
        ] {
            machine.sanitizer.mmio_write(offset, width, value);
            machine.cold.mmio_write(offset, width, value);
        }
        machine
    }

    pub(super) fn write(&mut self, pa: u64, word: u64) {
        for ram in [&self.ram, &self.cold_ram] {
            let mut port = ram.port();
            port.write64(Pa::new(pa), word, AccessClass::Stage1)
                .unwrap();
        }
    }

    pub(super) fn peek(&mut self, pa: u64) -> u64 {
        let word = self.ram.port().read64(Pa::new(pa), AccessClass::Stage1);
        word.unwrap()
    }

    pub(super) fn frame(&mut self) -> u64 {
        self.next_frame += PAGE;
        self.next_frame - PAGE
    }

    /// A space without mappings, but for stage 2 of the memory with tables.
    pub(super) fn space(&mut self, stages: Stages, asid: u64, vmid: u64) -> Space {
        let space = Space {
            stages,
            root1: self.frame(),
            root2: self.frame(),
            asid,
            vmid: if stages == Stages::One { 0 } else { vmid },
            marks: false,
        };
        if stages == Stages::Both {
            self.write(space.root2, S2_PAGE & !2);
        }
        space
    }

    /// Where the descriptor for `input` at the level that resolves `lsb` is; tables are made.
    pub(super) fn slot(&mut self, space: &Space, stage: Stage, input: u64, lsb: u32) -> u64 {
        let (mut table, mut at) = (space.root(stage), 30);
        loop {
            let slot = table + (input >> at & 0x1ff) * 8;
            if at == lsb {
                return slot;
            }
            let found = self.peek(slot);
            table = if found & 3 == 3 {
                found & 0xffff_ffff_f000
            } else {
                let frame = self.frame();
                self.write(slot, frame | 3);
                frame
            };
            at -= 9;
        }
    }

    /// The outer descriptor of a page.
    pub(super) fn page(&mut self, space: &Space, input: u64) -> u64 {
        self.slot(space, space.outer(), input, 12)
    }

    /// Sets the outer descriptor of a page; no invalidation.
    pub(super) fn set(&mut self, space: &Space, input: u64, descriptor: u64) {
        let slot = self.page(space, input);
        self.write(slot, descriptor);
    }

    /// Backs the intermediate page of a nested space: stage 2 sends it `backing` further on.
    pub(super) fn back(&mut self, space: &Space, ipa: u64, output: u64) {
        let slot = self.slot(space, Stage::Two, ipa, 12);
        self.write(slot, output | S2_PAGE);
    }

    /// Stores words 1 to 7, then word 0.
    pub(super) fn store(&mut self, pa: u64, words: Words) {
        for index in (0..8).rev() {
            self.write(pa + 8 * index as u64, words.0[index]);
        }
    }

    /// Makes `stream` use `space`, by the book: the STE is invalid while anything changes.
    pub(super) fn attach(&mut self, stream: u32, space: &Space) {
        self.attach_by(stream, space, ste_words(stream, space));
    }

    fn attach_by(&mut self, stream: u32, space: &Space, ste: Words) {
        self.detach(stream);
        if space.stages != Stages::Two {
            let cd = cd_words(space);
            self.store(cd_address(stream), cd);
        }
        let at = ste_address(stream);
        for index in 1..8 {
            self.write(at + 8 * index as u64, ste.0[index]);
        }
        self.cfgi_ste(stream);
        self.sync();
        self.write(at, ste.0[0]);
        self.cfgi_ste(stream);
        self.sync();
    }

    /// Makes `stream` use nothing, by the book.
    pub(super) fn detach(&mut self, stream: u32) {
        self.write(ste_address(stream), 0);
        self.cfgi_ste(stream);
        self.sync();
        if self.peek(cd_address(stream)) & 1 << 31 != 0 {
            self.write(cd_address(stream), 0);
        }
    }

    /// Posts a command and has it consumed.
    pub(super) fn command(&mut self, words: [u64; 2]) {
        let index = u64::from(self.prod) & ((1 << QUEUE_LOG2) - 1);
        let at = QUEUE + 16 * index;
        for (offset, word) in [(0, words[0]), (8, words[1])] {
            self.ram
                .port()
                .write64(Pa::new(at + offset), word, AccessClass::CommandQueue)
                .unwrap();
        }
        self.prod = (self.prod + 1) & ((2 << QUEUE_LOG2) - 1);
        self.sanitizer
            .mmio_write(CMDQ_PROD, Width::W32, self.prod.into());
        assert_eq!(
            self.sanitizer
                .run_until_idle(&mut self.ram.port(), &mut (), 4),
            1
        );
    }

    pub(super) fn sync(&mut self) {
        self.command([0x46, 0]);
    }

    pub(super) fn cfgi_ste(&mut self, stream: u32) {
        self.command([0x03 | u64::from(stream) << 32, 1]);
    }

    pub(super) fn cfgi_cd(&mut self, stream: u32) {
        self.command([0x05 | u64::from(stream) << 32, 1]);
    }

    pub(super) fn cfgi_cd_all(&mut self, stream: u32) {
        self.command([0x06 | u64::from(stream) << 32, 0]);
    }

    pub(super) fn cfgi_all(&mut self) {
        self.command([0x04, 31]);
    }

    /// TLBI_NH_VA, or TLBI_S2_IPA for a space without stage 1, with its tables too.
    pub(super) fn tlbi_page(&mut self, space: &Space, input: u64) {
        match space.outer() {
            Stage::One => self.command([0x12 | space.vmid << 32 | space.asid << 48, input]),
            Stage::Two => self.command([0x2a | space.vmid << 32, input]),
        }
    }

    /// Everything of the space's outer tables: TLBI_NH_ASID or TLBI_S12_VMALL.
    pub(super) fn tlbi_space(&mut self, space: &Space) {
        match space.outer() {
            Stage::One => self.command([0x11 | space.vmid << 32 | space.asid << 48, 0]),
            Stage::Two => self.tlbi_vmall(space),
        }
    }

    pub(super) fn tlbi_vmall(&mut self, space: &Space) {
        self.command([0x28 | space.vmid << 32, 0]);
    }

    /// TLBI_S2_IPA.
    pub(super) fn tlbi_ipa(&mut self, space: &Space, ipa: u64) {
        self.command([0x2a | space.vmid << 32, ipa]);
    }

    /// TLBI_NH_ALL.
    pub(super) fn tlbi_nh_all(&mut self, space: &Space) {
        self.command([0x10 | space.vmid << 32, 0]);
    }

    /// One access by the watched device and by the one without caches: both outcomes.
    pub(super) fn access(&mut self, stream: u32, kind: AccessKind, address: u64) -> [Outcome; 2] {
        let transaction = Transaction::new(StreamId::new(stream), Iova::new(address), kind);
        let warm = self
            .sanitizer
            .translate(&mut self.ram.port(), &transaction, &mut ());
        let cold = self
            .cold
            .translate(&mut self.cold_ram.port(), &transaction, &mut ());
        [warm, cold]
    }

    pub(super) fn read(&mut self, stream: u32, address: u64) -> [Outcome; 2] {
        self.access(stream, AccessKind::Read, address)
    }

    pub(super) fn write_access(&mut self, stream: u32, address: u64) -> [Outcome; 2] {
        self.access(stream, AccessKind::Write, address)
    }

    /// Lets a stream use ATS, as it should be done.
    pub(super) fn enable_ats(&mut self, stream: u32, space: &Space) {
        let mut ste = ste_words(stream, space);
        ste.set(93, 92, 1);
        self.attach_by(stream, space, ste);
    }

    /// An endpoint asks for a translation, to read and to write by it.
    pub(super) fn request(&mut self, stream: u32, address: u64) -> TranslationCompletion {
        let request = TranslationRequest {
            stream: StreamId::new(stream),
            substream: None,
            address: Iova::new(address),
            no_write: false,
            execute: false,
            privileged: false,
            stu_log2: 12,
        };
        self.sanitizer
            .ats_translate(&mut self.ram.port(), &request, &mut ())
    }

    /// What memory says, on the watched device's own memory.
    pub(super) fn memory_says(&mut self, stream: u32, kind: AccessKind, address: u64) -> Outcome {
        let transaction = Transaction::new(StreamId::new(stream), Iova::new(address), kind);
        let mut port = self.ram.port();
        let mem = &mut DryRun::new(&mut port);
        self.sanitizer
            .smmu()
            .translate_cold(mem, &transaction, &mut ())
    }

    pub(super) fn kinds(&self) -> Vec<Kind> {
        let findings = self.sanitizer.findings();
        findings.iter().map(|finding| finding.kind).collect()
    }

    #[track_caller]
    pub(super) fn assert_silent(&self) {
        let findings: Vec<String> = self
            .sanitizer
            .findings()
            .iter()
            .map(Finding::to_string)
            .collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    /// Fails if a mistake was found; hints are none.
    #[track_caller]
    pub(super) fn assert_no_errors(&self) {
        for finding in self.sanitizer.findings() {
            assert_eq!(finding.kind.severity(), Severity::Hint, "{finding}");
        }
    }

    /// The first finding of this kind.
    #[track_caller]
    pub(super) fn found(&self, kind: Kind) -> &Finding {
        let mut findings = self.sanitizer.findings().iter();
        findings
            .find(|finding| finding.kind == kind)
            .unwrap_or_else(|| panic!("no {kind} among {:?}", self.kinds()))
    }
}

pub(super) fn ste_words(stream: u32, space: &Space) -> Words {
    let mut ste = Words::default();
    ste.bit(0, 1).set(109, 108, 1);
    if space.stages != Stages::Two {
        ste.address(55, 6, CDS + 64 * u64::from(stream));
    }
    if space.stages != Stages::One {
        ste.set(143, 128, space.vmid)
            .set(165, 160, 25)
            .set(167, 166, 1)
            .set(178, 176, 5)
            .bit(179, 1)
            .bit(186, 1)
            .address(243, 196, space.root2);
    }
    if space.stages == Stages::Two && space.marks {
        ste.bit(183, 1).bit(184, 1);
    }
    let config = match space.stages {
        Stages::One => 0b101,
        Stages::Two => 0b110,
        Stages::Both => 0b111,
    };
    ste.set(3, 1, config);
    ste
}

pub(super) fn cd_words(space: &Space) -> Words {
    let mut cd = Words::default();
    cd.set(5, 0, 25)
        .bit(30, 1)
        .bit(31, 1)
        .set(34, 32, 5)
        .bit(41, 1)
        .bit(45, 1)
        .bit(46, 1)
        .set(63, 48, space.asid)
        .address(115, 68, space.root1);
    // Attribute 0: Normal write-back. 1: Device-nGnRE. 2: Normal Non-cacheable.
    cd.set(223, 192, 0x0044_04ff);
    if space.marks {
        cd.bit(43, 1).bit(42, 1);
    }
    cd
}

pub(super) fn ste_address(stream: u32) -> u64 {
    STRTAB + 64 * u64::from(stream)
}

pub(super) fn cd_address(stream: u32) -> u64 {
    CDS + 64 * u64::from(stream)
}

/// A frame that guests may use as intermediate page.
pub(super) fn guest_page(number: u64) -> u64 {
    GUEST_PAGES + number * PAGE
}

/// Seeded numbers (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

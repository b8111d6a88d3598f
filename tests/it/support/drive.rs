//! Bytes as a program for the device: registers, stores, commands, transactions, page requests.
//! The fuzz targets run it, and the tests run it over their corpus and over random bytes.

use smmu::addr::{Iova, Pa};
use smmu::ats::TranslationRequest;
use smmu::cache::{CacheConfig, TlbStructure};
use smmu::config::SmmuConfig;
use smmu::ids::{StreamId, SubstreamId};
use smmu::mem::{AbortInjector, AbortRule, AccessClass, PhysMem, Ram, RamPort};
use smmu::priq::PageRequest;
use smmu::regfile::{Width, registers};
use smmu::transaction::{AccessKind, InstructionOrData, Privilege};
use smmu::{Smmu, Transaction};

/// All memory there is.
const RAM_BYTES: u64 = 1 << 20;
/// Where the queues and tables of a set-up device are.
const COMMANDS: u64 = 0x1000;
const EVENTS: u64 = 0x2000;
const REQUESTS: u64 = 0x3000;
const STREAMS: u64 = 0x4000;
const CD: u64 = 0x8000;
const TABLES: u64 = 0x1_0000;
/// Operations of one program at most.
const OPERATIONS: usize = 4096;

/// Reads the program; zeros after its end.
struct Program<'a> {
    bytes: &'a [u8],
}

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    fn word(&mut self, bytes: u32) -> u64 {
        (0..bytes).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// An address that is often small, often in RAM, sometimes anything.
    fn address(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => self.word(2) << 3,
            1 => (self.word(3) % RAM_BYTES) & !7,
            2 => TABLES | self.word(2) << 3,
            _ => self.word(8),
        }
    }
}

struct Driven<'a> {
    smmu: Smmu,
    memory: AbortInjector<RamPort<'a>>,
    program: Program<'a>,
}

fn part(choice: u8) -> SmmuConfig {
    match choice % 4 {
        0 => SmmuConfig::full(),
        1 => SmmuConfig::qemu_11(),
        2 => SmmuConfig::mmu_600(),
        _ => SmmuConfig::mmu_700(),
    }
}

fn caches(choice: u8) -> CacheConfig {
    match choice % 4 {
        0 => CacheConfig::OFF,
        1 => CacheConfig::INFINITE,
        2 => CacheConfig::SMALL,
        _ => CacheConfig {
            structure: TlbStructure::Separate,
            ..CacheConfig::SMALL
        },
    }
}

/// Runs `bytes` against a device after reset.
pub(crate) fn anything(bytes: &[u8]) {
    run(bytes, |_| {});
}

/// Runs `bytes` against a device whose queues and streams are set up and enabled.
pub(crate) fn commands(bytes: &[u8]) {
    run(bytes, |driven| {
        for (offset, width, value) in [
            (0x90, Width::W64, COMMANDS | 6),
            (0xa0, Width::W64, EVENTS | 4),
            (0xc0, Width::W64, REQUESTS | 4),
            (0x80, Width::W64, STREAMS),
            (0x88, Width::W32, 4),
            (0x2c, Width::W32, 0xa),
            (0x50, Width::W32, 7),
            (0x20, Width::W32, 0x1f),
        ] {
            driven.smmu.mmio_write(offset, width, value);
        }
        // Stream n: stage 1 for odd n, stage 2 for even, both for multiples of 3; stalls allowed.
        for stream in 0..16u64 {
            let config = match stream {
                s if s % 3 == 0 => 0b111,
                s if s % 2 == 1 => 0b101,
                _ => 0b110,
            };
            let stage2 = 0x14 | 2 << 6 | 5 << 16 | 1 << 19 | (stream & 4) << 23 | 1 << 26;
            let words = [1 | config << 1 | CD, 1 << 44, stream | stage2 << 32, TABLES];
            driven.store(STREAMS + 64 * stream, &words);
        }
        let cd = 16 | 1 << 30 | 1 << 31 | 5 << 32 | 1 << 41 | 7 << 44 | 1 << 48;
        driven.store(CD, &[cd, TABLES + 0x1000, 0, 0xff]);
        // Each table points to itself and to the other: walks of any depth, leaves everywhere.
        for entry in 0..512u64 {
            let leaf = (entry << 12) | 1 << 10 | 3 << 6 | 3;
            let next = (TABLES + 0x1000 * (entry % 2)) | 3;
            let word = if entry % 8 == 7 { leaf | 2 } else { next };
            driven.store(TABLES + 8 * entry, &[word | (entry & 1) << 10]);
            driven.store(TABLES + 0x1000 + 8 * entry, &[word | 0x4c0]);
        }
    });
}

fn run(bytes: &[u8], set_up: impl FnOnce(&mut Driven<'_>)) {
    let mut program = Program { bytes };
    let (choice, rule) = (program.byte(), program.byte());
    let ram = Ram::with_regions(&[(0, RAM_BYTES)]).expect("one whole region");
    let smmu = Smmu::with_caches(part(choice), &caches(choice >> 2)).expect("presets are legal");
    // Some programs meet an access that aborts.
    let rules = (rule >= 0xc0).then(|| AbortRule::nth(u64::from(rule & 0x3f)));
    let mut driven = Driven {
        smmu,
        memory: AbortInjector::new(ram.port(), rules),
        program,
    };
    set_up(&mut driven);
    for _ in 0..OPERATIONS {
        if driven.program.bytes.is_empty() {
            break;
        }
        driven.operation();
    }
    // Whatever happened, what is pending comes to an end.
    driven
        .smmu
        .run_until_idle(&mut driven.memory, &mut (), 1 << 20);
    driven.smmu.take_resolved();
}

impl Driven<'_> {
    fn store(&mut self, at: u64, words: &[u64]) {
        for (&word, offset) in words.iter().zip((0..).step_by(8)) {
            // What is outside memory is lost, as a program's stray store is.
            let _ = self
                .memory
                .write64(Pa::new(at + offset), word, AccessClass::Stage1);
        }
    }

    fn operation(&mut self) {
        match self.program.byte() % 16 {
            0 | 1 => {
                let all = registers();
                let register = all[usize::from(self.program.byte()) % all.len()];
                let value = self.program.word(8);
                self.smmu.mmio_write(register.offset, register.width, value);
            }
            2 => {
                let (offset, value) = (self.program.word(3) as u32, self.program.word(4));
                let width = if value & 1 == 0 {
                    Width::W32
                } else {
                    Width::W64
                };
                self.smmu.mmio_read(offset, width);
                self.smmu.mmio_write(offset, width, value);
            }
            3 | 4 => {
                let (at, word) = (self.program.address(), self.program.word(8));
                self.store(at & !7, &[word]);
            }
            // A command where the device will fetch it, and the doorbell.
            5..=8 => {
                let prod = self.smmu.mmio_read(0x98, Width::W32);
                let base = self.smmu.mmio_read(0x90, Width::W64) & 0xf_ffe0;
                let words = [self.program.word(8), self.program.word(8)];
                self.store(base + 16 * (prod & 0x3f), &words);
                self.smmu.mmio_write(0x98, Width::W32, prod + 1);
                self.smmu.step_command(&mut self.memory, &mut ());
            }
            9 => {
                // Errors are acknowledged, so that commands go on.
                let gerror = self.smmu.mmio_read(0x60, Width::W32);
                self.smmu.mmio_write(0x64, Width::W32, gerror);
                self.smmu.run_until_idle(&mut self.memory, &mut (), 64);
            }
            10..=12 => {
                let transaction = self.transaction();
                self.smmu.translate(&mut self.memory, &transaction, &mut ());
            }
            13 => {
                let transaction = self.transaction();
                self.smmu
                    .translated_transaction(&mut self.memory, &transaction, &mut ());
            }
            14 => {
                let transaction = self.transaction();
                let flags = self.program.byte();
                let request = TranslationRequest {
                    stream: transaction.stream,
                    substream: transaction.substream,
                    address: transaction.address,
                    no_write: flags & 1 != 0,
                    execute: flags & 2 != 0,
                    privileged: flags & 4 != 0,
                    stu_log2: 12 + (flags >> 4),
                };
                self.smmu.ats_translate(&mut self.memory, &request, &mut ());
            }
            _ => {
                let transaction = self.transaction();
                let flags = self.program.byte();
                let request = PageRequest {
                    stream: transaction.stream,
                    substream: transaction.substream,
                    address: transaction.address.get(),
                    group: flags.into(),
                    last: flags & 1 != 0,
                    read: flags & 2 != 0,
                    write: flags & 4 != 0,
                    execute: flags & 8 != 0,
                    privileged: flags & 16 != 0,
                };
                self.smmu.page_request(&mut self.memory, &request);
                self.smmu.take_resolved();
            }
        }
    }

    fn transaction(&mut self) -> Transaction {
        let (flags, stream) = (self.program.byte(), self.program.byte());
        let kind = [
            AccessKind::Read,
            AccessKind::Write,
            AccessKind::Atomic,
            AccessKind::Clean,
            AccessKind::DestructiveRead,
            AccessKind::Invalidate,
            AccessKind::WriteDcp,
            AccessKind::DestructiveHint,
        ][usize::from(flags & 7)];
        let mut transaction = Transaction::new(
            StreamId::new(u32::from(stream & 0x1f)),
            Iova::new(self.program.address()),
            kind,
        );
        if flags & 8 != 0 {
            transaction = transaction.with_substream(SubstreamId::new(u32::from(stream >> 5)));
        }
        if flags & 16 != 0 {
            transaction = transaction.with_privilege(Privilege::Privileged);
        }
        if flags & 32 != 0 {
            transaction = transaction.with_ind(InstructionOrData::Instruction);
        }
        if flags & 64 != 0 {
            transaction = transaction.speculative();
        }
        transaction
    }
}

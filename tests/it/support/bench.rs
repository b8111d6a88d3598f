//! A bench for one stream: raw words set by bit number, raw descriptors, defaults for everything.
//! A test sets only what it is about. Bit positions come from the reference, never from accessors.

use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::{StreamId, SubstreamId};
use smmu::mem::{AbortInjector, AbortRule, AccessClass, PhysMem, Ram};
use smmu::observe::{Access, AccessCounts, Observer};
use smmu::regfile::Width;
use smmu::transaction::{AccessKind, InstructionOrData, Privilege};
use smmu::{Outcome, Smmu, Transaction};

/// A 64-byte structure, by structure-absolute bit numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) [u64; 8]);

impl Words {
    /// Sets bits `msb:lsb`, which lie in one doubleword.
    pub(crate) fn set(&mut self, msb: u32, lsb: u32, value: u64) -> &mut Self {
        let width = msb - lsb + 1;
        let mask = if width == 64 {
            u64::MAX
        } else {
            (1 << width) - 1
        };
        assert!(value <= mask, "[{msb}:{lsb}] cannot hold {value:#x}");
        let word = &mut self.0[(lsb / 64) as usize];
        *word = *word & !(mask << (lsb % 64)) | value << (lsb % 64);
        self
    }

    /// Sets or clears one bit.
    pub(crate) fn bit(&mut self, bit: u32, value: u64) -> &mut Self {
        self.set(bit, bit, value)
    }

    /// Sets an address field in place: bits `msb:lsb` of the doubleword hold the same address bits.
    pub(crate) fn address(&mut self, msb: u32, lsb: u32, address: u64) -> &mut Self {
        self.set(
            msb,
            lsb,
            address >> (lsb % 64) & ((1 << (msb - lsb + 1)) - 1),
        )
    }
}

/// The stream all tests use.
pub(crate) const SID: u32 = 5;
/// Where its input page, intermediate page and output page are.
pub(crate) const VA: u64 = 0x8000_0000;
pub(crate) const IPA: u64 = 0x9000_0000;
pub(crate) const PA: u64 = 0xa000_0000;

pub(crate) const STRTAB: u64 = 0x10_0000;
pub(crate) const CD: u64 = 0x11_0000;
pub(crate) const S1_ROOT: u64 = 0x12_0000;
pub(crate) const S2_ROOT: u64 = 0x13_0000;
const FIRST_FRAME: u64 = 0x20_0000;

/// AF=1, SH=ISH, AP=0b01 (all may read and write), attribute 0, page or table type.
pub(crate) const S1_PAGE: u64 = 1 << 10 | 3 << 8 | 1 << 6 | 3;
/// The same as a block.
pub(crate) const S1_BLOCK: u64 = S1_PAGE & !2;
/// AF=1, SH=ISH, S2AP=0b11, MemAttr write-back, page type.
pub(crate) const S2_PAGE: u64 = 1 << 10 | 3 << 8 | 3 << 6 | 0xf << 2 | 3;
/// The same as a block.
pub(crate) const S2_BLOCK: u64 = S2_PAGE & !2;

pub(crate) const CR0: u32 = 0x20;
pub(crate) const CR2: u32 = 0x2c;
pub(crate) const GBPA: u32 = 0x44;
pub(crate) const STRTAB_BASE: u32 = 0x80;
pub(crate) const STRTAB_BASE_CFG: u32 = 0x88;

/// Shape of a set of tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) granule: u32,
    /// Lowest input bit the start table resolves.
    pub(crate) start: u32,
    /// Input bits.
    pub(crate) bits: u32,
}

pub(crate) const S1_SHAPE: Shape = Shape {
    granule: 12,
    start: 39,
    bits: 48,
};
pub(crate) const S2_SHAPE: Shape = Shape {
    granule: 12,
    start: 30,
    bits: 39,
};

/// One stream on one SMMU.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) config: SmmuConfig,
    pub(crate) ste: Words,
    pub(crate) cd: Words,
    pub(crate) ram: Ram,
    /// STRTAB_BASE_CFG, CR2 and CR0 are written in this order, CR0 last.
    pub(crate) strtab_base: u64,
    pub(crate) strtab_base_cfg: u64,
    pub(crate) cr2: u64,
    pub(crate) gbpa: u64,
    pub(crate) smmuen: bool,
    pub(crate) aborts: Vec<AbortRule>,
    next_frame: u64,
}

impl Bench {
    /// A valid STE that bypasses, on a part with everything; RECINVSID=1.
    pub(crate) fn bypass() -> Self {
        let mut ste = Words::default();
        ste.bit(0, 1).set(3, 1, 0b100).set(109, 108, 1);
        Self {
            config: SmmuConfig::full(),
            ste,
            cd: Words::default(),
            ram: Ram::sparse(),
            strtab_base: STRTAB,
            strtab_base_cfg: 6,
            cr2: 0b10,
            gbpa: 0x1000,
            smmuen: true,
            aborts: Vec::new(),
            next_frame: FIRST_FRAME,
        }
    }

    /// Stage 1: 48-bit VA, 4K; VA maps to IPA (here the output). A=1, R=1, ASID 1.
    pub(crate) fn stage1() -> Self {
        let mut bench = Self::bypass();
        bench.ste.set(3, 1, 0b101).address(55, 6, CD);
        bench
            .cd
            .set(5, 0, 16)
            .bit(30, 1)
            .bit(31, 1)
            .set(34, 32, 5)
            .bit(41, 1);
        bench
            .cd
            .bit(45, 1)
            .bit(46, 1)
            .set(63, 48, 1)
            .address(115, 68, S1_ROOT);
        // Attribute 0: Normal write-back. 1: Device-nGnRE. 2: Normal Non-cacheable.
        bench.cd.set(223, 192, 0x0044_04ff);
        bench.map1(VA, IPA | S1_PAGE);
        bench
    }

    /// Stage 2: 39-bit IPA, 4K, one start table; IPA maps to PA, the bottom 1 GiB to itself. S2R=1.
    pub(crate) fn stage2() -> Self {
        let mut bench = Self::bypass();
        bench.with_stage2();
        bench.ste.set(3, 1, 0b110);
        bench
    }

    /// Both.
    pub(crate) fn nested() -> Self {
        let mut bench = Self::stage1();
        bench.with_stage2();
        bench.ste.set(3, 1, 0b111);
        bench
    }

    fn with_stage2(&mut self) {
        self.ste
            .set(143, 128, 7)
            .set(165, 160, 25)
            .set(167, 166, 1)
            .set(178, 176, 5);
        self.ste.bit(179, 1).bit(186, 1).address(243, 196, S2_ROOT);
        self.put(S2_ROOT, S2_SHAPE, 0, 30, S2_BLOCK);
        self.map2(IPA, PA | S2_PAGE);
    }

    /// A part with other features.
    pub(crate) fn part(mut self, change: impl FnOnce(&mut SmmuConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the stage-1 descriptor of the page at `va`.
    pub(crate) fn map1(&mut self, va: u64, descriptor: u64) {
        self.put(S1_ROOT, S1_SHAPE, va, 12, descriptor);
    }

    /// Sets the stage-2 descriptor of the page at `ipa`.
    pub(crate) fn map2(&mut self, ipa: u64, descriptor: u64) {
        self.put(S2_ROOT, S2_SHAPE, ipa, 12, descriptor);
    }

    /// Sets the descriptor of `input` at the level that resolves `lsb`, making tables on the way.
    pub(crate) fn put(&mut self, root: u64, shape: Shape, input: u64, lsb: u32, descriptor: u64) {
        let stride = shape.granule - 3;
        let mut table = root;
        let mut at = shape.start;
        loop {
            let bits = if at == shape.start {
                shape.bits - at
            } else {
                stride
            };
            let slot = table + (input >> at & ((1 << bits) - 1)) * 8;
            if at == lsb {
                return self.write(slot, descriptor);
            }
            let found = self.peek(slot);
            table = if found & 3 == 3 {
                found & 0xffff_ffff_f000 & !((1 << shape.granule) - 1)
            } else {
                let size = 1 << shape.granule;
                let frame = self.next_frame.next_multiple_of(size);
                self.next_frame = frame + size;
                self.write(slot, frame | 3);
                frame
            };
            at -= stride;
        }
    }

    pub(crate) fn write(&mut self, pa: u64, word: u64) {
        self.ram
            .port()
            .write64(Pa::new(pa), word, AccessClass::Stage1)
            .unwrap();
    }

    pub(crate) fn peek(&self, pa: u64) -> u64 {
        self.ram
            .port()
            .read64(Pa::new(pa), AccessClass::Stage1)
            .unwrap()
    }

    /// Writes a structure elsewhere.
    pub(crate) fn write_words(&mut self, pa: u64, words: Words) {
        for (i, word) in (0..).zip(words.0) {
            self.write(pa + 8 * i, word);
        }
    }

    /// Where the descriptor that translates `input` at the level of `lsb` is.
    pub(crate) fn slot(&self, root: u64, shape: Shape, input: u64, lsb: u32) -> u64 {
        let stride = shape.granule - 3;
        let (mut table, mut at) = (root, shape.start);
        loop {
            let bits = if at == shape.start {
                shape.bits - at
            } else {
                stride
            };
            let slot = table + (input >> at & ((1 << bits) - 1)) * 8;
            if at == lsb {
                return slot;
            }
            table = self.peek(slot) & 0xffff_ffff_f000;
            at -= stride;
        }
    }

    /// The leaf descriptor of VA, as memory holds it now.
    pub(crate) fn leaf1(&self) -> u64 {
        self.peek(self.slot(S1_ROOT, S1_SHAPE, VA, 12))
    }

    /// The SMMU, its registers written.
    pub(crate) fn smmu(&self) -> Smmu {
        let mut smmu = Smmu::new(self.config.clone()).unwrap();
        smmu.mmio_write(STRTAB_BASE, Width::W64, self.strtab_base);
        smmu.mmio_write(STRTAB_BASE_CFG, Width::W32, self.strtab_base_cfg);
        smmu.mmio_write(CR2, Width::W32, self.cr2);
        smmu.mmio_write(GBPA, Width::W32, self.gbpa | 1 << 31);
        smmu.mmio_write(CR0, Width::W32, self.smmuen.into());
        smmu
    }

    /// Writes STE and CD, and translates.
    pub(crate) fn translate(&self, transaction: &Transaction) -> Outcome {
        self.observe(transaction, &mut ())
    }

    pub(crate) fn observe(
        &self,
        transaction: &Transaction,
        observer: &mut impl Observer,
    ) -> Outcome {
        let mut writer = self.ram.port();
        for (at, words) in [(STRTAB + 64 * u64::from(SID), self.ste), (CD, self.cd)] {
            for (i, word) in (0..).zip(words.0) {
                if at == CD && words == Words::default() {
                    continue;
                }
                writer
                    .write64(Pa::new(at + 8 * i), word, AccessClass::Ste)
                    .unwrap();
            }
        }
        let mut memory = AbortInjector::new(self.ram.port(), self.aborts.iter().cloned());
        self.smmu()
            .translate_cold(&mut memory, transaction, observer)
    }

    pub(crate) fn access(&self, kind: AccessKind, address: u64) -> Outcome {
        self.translate(&transaction(kind, address))
    }

    pub(crate) fn read(&self, address: u64) -> Outcome {
        self.access(AccessKind::Read, address)
    }

    /// Addresses accessed, in order.
    pub(crate) fn accesses(&self, transaction: &Transaction) -> (Outcome, Vec<u64>) {
        struct Seen(Vec<u64>);
        impl Observer for Seen {
            fn access(&mut self, access: &Access<'_>) {
                self.0.push(access.pa.get());
            }
        }
        let mut seen = Seen(Vec::new());
        let outcome = self.observe(transaction, &mut seen);
        (outcome, seen.0)
    }

    pub(crate) fn counts(&self, transaction: &Transaction) -> (Outcome, AccessCounts) {
        let mut counts = AccessCounts::default();
        let outcome = self.observe(transaction, &mut counts);
        (outcome, counts)
    }
}

pub(crate) fn transaction(kind: AccessKind, address: u64) -> Transaction {
    Transaction::new(StreamId::new(SID), Iova::new(address), kind)
}

pub(crate) fn read(address: u64) -> Transaction {
    transaction(AccessKind::Read, address)
}

pub(crate) fn write(address: u64) -> Transaction {
    transaction(AccessKind::Write, address)
}

pub(crate) fn privileged(transaction: Transaction) -> Transaction {
    transaction.with_privilege(Privilege::Privileged)
}

pub(crate) fn fetch(address: u64) -> Transaction {
    read(address).with_ind(InstructionOrData::Instruction)
}

pub(crate) fn substream(transaction: Transaction, ssid: u32) -> Transaction {
    transaction.with_substream(SubstreamId::new(ssid))
}

/// The output address.
pub(crate) fn pa(outcome: &Outcome) -> u64 {
    outcome.pa().unwrap_or_else(|| panic!("{outcome:?}")).get()
}

/// The event record's words.
pub(crate) fn event(outcome: &Outcome) -> [u64; 4] {
    outcome
        .event()
        .unwrap_or_else(|| panic!("{outcome:?}"))
        .words()
}

/// The event number; 0 if none is recorded.
pub(crate) fn number(outcome: &Outcome) -> u64 {
    outcome.event().map_or(0, |event| event.words()[0] & 0xff)
}

/// Fields of an event record by bit number.
pub(crate) fn bits(words: [u64; 4], msb: u32, lsb: u32) -> u64 {
    let width = msb - lsb + 1;
    let mask = if width == 64 {
        u64::MAX
    } else {
        (1 << width) - 1
    };
    words[(lsb / 64) as usize] >> (lsb % 64) & mask
}

/// Event words expected: number, (S2, CLASS), RnW, InputAddr, dword 3.
pub(crate) fn walk_event(
    number: u64,
    s2: u64,
    class: u64,
    rnw: u64,
    input: u64,
    dw3: u64,
) -> [u64; 4] {
    [
        number | u64::from(SID) << 32,
        s2 << 39 | class << 40 | rnw << 35,
        input,
        dw3,
    ]
}

pub(crate) const CLASS_CD: u64 = 0;
pub(crate) const CLASS_TT: u64 = 1;
pub(crate) const CLASS_IN: u64 = 2;

pub(crate) const C_BAD_STREAMID: u64 = 0x02;
pub(crate) const F_STE_FETCH: u64 = 0x03;
pub(crate) const C_BAD_STE: u64 = 0x04;
pub(crate) const F_STREAM_DISABLED: u64 = 0x06;
pub(crate) const C_BAD_SUBSTREAMID: u64 = 0x08;
pub(crate) const F_CD_FETCH: u64 = 0x09;
pub(crate) const C_BAD_CD: u64 = 0x0a;
pub(crate) const F_WALK_EABT: u64 = 0x0b;
pub(crate) const F_TRANSLATION: u64 = 0x10;
pub(crate) const F_ADDR_SIZE: u64 = 0x11;
pub(crate) const F_ACCESS: u64 = 0x12;
pub(crate) const F_PERMISSION: u64 = 0x13;

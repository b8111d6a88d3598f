//! Random worlds: a part, its registers, tables in memory, and transactions aimed at them.
//!
//! A world is named by a seed and a number of corruptions, so that proptest has two integers to
//! shrink and a failure is replayed from its message. Tables are raw words written by bit number
//! from the architecture (IHI 0070 §5.2–5.4, DDI 0487 §D8.3): nothing here is shared with the
//! model's layouts. Without corruptions almost every walk reaches a leaf; permissions, Access
//! flags, memory types and configuration fields are random all the same, so most kinds of fault
//! arise in healthy worlds. Corruptions supply the rest.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "fields are cut out of random words on purpose"
)]
#![allow(
    clippy::too_many_lines,
    reason = "one structure, one function: field after field"
)]

use std::collections::{BTreeMap, BTreeSet};

use smmu::addr::{Iova, Pa};
use smmu::attr::{Attributes, MemoryType, Shareability};
use smmu::config::{Httu, SmmuConfig, StallModel, TableEndianness, Version};
use smmu::ids::{StreamId, SubstreamId};
use smmu::mem::{AccessClass, BusAbort, BusResult, PhysMem};
use smmu::regfile::Width;
use smmu::transaction::{AccessKind, InstructionOrData, Privilege, Speculation};
use smmu::{Smmu, Transaction};

/// SplitMix64: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number of `bits` bits.
    pub(crate) fn bits(&mut self, bits: u8) -> u64 {
        match bits {
            0 => 0,
            bits => self.next() >> (64 - bits),
        }
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: u8, high: u8) -> u8 {
        low + self.below(u64::from(high - low) + 1) as u8
    }

    /// True once in `n` on average.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.once_in(2)
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Physical memory as a map of words. Words never written read as zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// Words by address, little-endian.
    pub(crate) words: BTreeMap<u64, u64>,
    /// Pages of 4 KiB, by number, that abort every access.
    pub(crate) holes: BTreeSet<u64>,
}

impl Memory {
    /// The word at `pa`, or `None` for an abort.
    pub(crate) fn read(&self, pa: u64) -> Option<u64> {
        (!self.holes.contains(&(pa >> 12)))
            .then(|| self.words.get(&(pa & !7)).copied().unwrap_or(0))
    }

    /// Compare and swap at `pa`; gives the word found, or `None` for an abort.
    pub(crate) fn swap(&mut self, pa: u64, current: u64, new: u64) -> Option<u64> {
        let found = self.read(pa)?;
        if found == current {
            self.words.insert(pa & !7, new);
        }
        Some(found)
    }
}

impl PhysMem for Memory {
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        self.read(pa.get()).ok_or(BusAbort)
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
        self.swap(pa.get(), current, new).ok_or(BusAbort)
    }
}

/// What software wrote to the registers a translation depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) cr0: u32,
    pub(crate) cr1: u32,
    pub(crate) cr2: u32,
    pub(crate) gbpa: u32,
    pub(crate) strtab_base: u64,
    pub(crate) strtab_base_cfg: u32,
}

impl Registers {
    /// Writes them, CR0 last, since it guards others.
    pub(crate) fn program(&self, smmu: &mut Smmu) {
        for (offset, value) in [
            (0x28, self.cr1),
            (0x2c, self.cr2),
            (0x44, self.gbpa | 1 << 31),
            (0x88, self.strtab_base_cfg),
        ] {
            smmu.mmio_write(offset, Width::W32, value.into());
        }
        smmu.mmio_write(0x80, Width::W64, self.strtab_base);
        smmu.mmio_write(0x20, Width::W32, self.cr0.into());
    }
}

/// Everything that decides the outcome of a few transactions.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) config: SmmuConfig,
    pub(crate) registers: Registers,
    pub(crate) memory: Memory,
    pub(crate) transactions: Vec<Transaction>,
    /// Where the STEs, CDs and descriptors are, for messages.
    pub(crate) places: Places,
}

impl World {
    /// The part, programmed.
    pub(crate) fn smmu(&self) -> Smmu {
        let mut smmu = Smmu::new(self.config.clone()).expect("the generator makes legal parts");
        self.registers.program(&mut smmu);
        smmu
    }
}

/// Physical addresses of what was built, by kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) l1stds: Vec<u64>,
    pub(crate) stes: Vec<u64>,
    pub(crate) l1cds: Vec<u64>,
    pub(crate) cds: Vec<u64>,
    pub(crate) descriptors: Vec<u64>,
}

/// The world of `seed`, with `corruptions` of its words, registers or pages spoilt.
pub(crate) fn world(seed: u64, corruptions: u32) -> World {
    let mut rng = Rng::new(seed);
    let config = legal_config(&mut rng);
    let mut builder = Builder {
        rarity: rng.pick(&[0, 0, 160, 40, 12]),
        rng,
        config,
        memory: Memory::default(),
        taken: Vec::new(),
        places: Places::default(),
    };
    let (mut registers, streams) = builder.stream_table();
    let transactions = (0..8).map(|_| builder.transaction(&streams)).collect();
    for _ in 0..corruptions {
        builder.corrupt(&mut registers);
    }
    let Builder {
        config,
        memory,
        places,
        ..
    } = builder;
    World {
        config,
        registers,
        memory,
        transactions,
        places,
    }
}

/// A part that [`SmmuConfig::validate`] accepts: every feature at random, then made consistent.
pub(crate) fn legal_config(rng: &mut Rng) -> SmmuConfig {
    use Version::{V3_0, V3_1, V3_2, V3_3, V3_4};
    let version = rng.pick(&[V3_0, V3_1, V3_2, V3_3, V3_4]);
    let (s1p, s2p) = rng.pick(&[
        (true, true),
        (true, true),
        (true, true),
        (true, false),
        (false, true),
    ]);
    let both = s1p && s2p;
    let ats = rng.flip();
    let atos = rng.flip();
    let stall_model = rng.pick(&[
        StallModel::StallAndTerminate,
        StallModel::StallAndTerminate,
        StallModel::TerminateOnly,
        StallModel::StallForced,
    ]);
    let granules = rng.pick(&[7, 7, 7, 1, 2, 4, 3, 5, 6]);
    let (gran4k, gran16k, gran64k) = (granules & 1 != 0, granules & 2 != 0, granules & 4 != 0);
    let recent = version >= V3_1;
    let ds = recent && (gran4k || gran16k) && rng.flip();
    let wide = recent && (gran64k || ds);
    let vax = if ds || wide && rng.flip() { 52 } else { 48 };
    let oas = if wide && rng.flip() {
        52
    } else {
        rng.pick(&[32, 36, 40, 42, 44, 48, 48, 48])
    };
    let sidsize = if rng.once_in(8) {
        rng.within(0, 32)
    } else {
        rng.within(2, 16)
    };
    let ssidsize = if rng.once_in(4) { 0 } else { rng.within(1, 20) };
    let config = SmmuConfig {
        version,
        s1p,
        s2p,
        cohacc: rng.flip(),
        btm: rng.flip(),
        httu: rng.pick(&[
            Httu::None,
            Httu::AccessFlag,
            Httu::Dirty,
            Httu::Dirty,
            Httu::TableAccessFlag,
        ]),
        dormhint: rng.flip(),
        hyp: both && (version >= V3_2 || rng.flip()),
        ats,
        ns1ats: ats && both && rng.flip(),
        asid16: rng.flip(),
        msi: rng.flip(),
        sev: rng.flip(),
        atos,
        pri: ats && rng.flip(),
        vmw: s2p && rng.flip(),
        vmid16: rng.flip(),
        cd2l: rng.flip(),
        vatos: atos && both && rng.flip(),
        ttendian: rng.pick(&[
            TableEndianness::Mixed,
            TableEndianness::Mixed,
            TableEndianness::Little,
            TableEndianness::Big,
        ]),
        atsrecerr: ats && rng.flip(),
        stall_model,
        term_model: rng.once_in(3),
        st_level: sidsize >= 7 || rng.flip(),
        sidsize,
        ssidsize,
        priqs: rng.within(0, 19),
        eventqs: rng.within(0, 19),
        cmdqs: rng.within(0, 19),
        attr_perms_ovr: rng.flip(),
        attr_types_ovr: rng.flip(),
        ba_vatos: rng.bits(10) as u16,
        had: version >= V3_1 || rng.flip(),
        pbha: rng.flip(),
        xnx: version >= V3_1 || rng.flip(),
        pps: rng.flip(),
        fwb: version >= V3_2 || rng.flip(),
        stt: rng.flip(),
        ril: version >= V3_2 || rng.flip(),
        bbml: rng.within(u8::from(version >= V3_2), 2),
        e0pd: version >= V3_3 || rng.flip(),
        ptwnnc: version >= V3_3 || rng.flip(),
        pasidtt: rng.flip(),
        epan: version >= V3_4 || rng.flip(),
        mteperm: version >= V3_4 || rng.flip(),
        oas,
        gran4k,
        gran16k,
        gran64k,
        ds,
        vax,
        stall_max: if stall_model == StallModel::TerminateOnly {
            0
        } else {
            16
        },
    };
    config.validate().expect("the generator knows the rules");
    config
}

/// Incoming memory attributes of every kind. The byte is a way to name a type, not a claim about
/// MAIR: model and oracle are handed what it decodes to.
pub(crate) fn attributes(rng: &mut Rng) -> Attributes {
    let byte = if rng.once_in(4) {
        at(rng.bits(2), 2)
    } else {
        rng.bits(8)
    };
    let memory = MemoryType::from_mair(byte as u8);
    let shareability = rng.pick(&[
        Shareability::NonShareable,
        Shareability::OuterShareable,
        Shareability::InnerShareable,
    ]);
    Attributes {
        memory,
        shareability,
    }
}

/// A transaction of any kind by `stream` to `address`.
pub(crate) fn transaction(
    rng: &mut Rng,
    stream: u32,
    substream: Option<u32>,
    address: u64,
) -> Transaction {
    let kind = rng.pick(&[
        AccessKind::Read,
        AccessKind::Read,
        AccessKind::Read,
        AccessKind::Write,
        AccessKind::Write,
        AccessKind::Write,
        AccessKind::Atomic,
        AccessKind::Clean,
        AccessKind::DestructiveRead,
        AccessKind::Invalidate,
        AccessKind::WriteDcp,
        AccessKind::NoWriteDcp,
        AccessKind::DestructiveHint,
    ]);
    Transaction {
        stream: StreamId::new(stream),
        substream: substream.map(SubstreamId::new),
        address: Iova::new(address),
        kind,
        ind: rng.pick(&[
            InstructionOrData::Data,
            InstructionOrData::Data,
            InstructionOrData::Instruction,
        ]),
        pnu: rng.pick(&[Privilege::Unprivileged, Privilege::Privileged]),
        speculation: Speculation::Demand,
        attributes: if rng.once_in(3) {
            Attributes::DEFAULT
        } else {
            attributes(rng)
        },
    }
}

/// Sizes of IDR5.OAS, CD.IPS and STE.S2PS by code.
const SIZES: [u8; 7] = [32, 36, 40, 42, 44, 48, 52];

/// `value` in the field that starts at `lsb`.
fn at(value: impl Into<u64>, lsb: u32) -> u64 {
    value.into() << lsb
}

/// Address bits `[high:low]`.
fn address_bits(address: u64, high: u32, low: u32) -> u64 {
    address & (u64::MAX >> (63 - high)) & !((1 << low) - 1)
}

/// One stage's tables: what one needs to know to write them.
#[derive(Debug, Clone)]
struct Tables {
    stage: u8,
    granule: u8,
    start: i8,
    base: u64,
    input_bits: u8,
    /// Bits an output address can have.
    output_bits: u8,
    /// Bits the generator lets it have: smaller if a second stage's input is.
    space_bits: u8,
    /// The DS format, with SH in the configuration and address bits in its place.
    ds: bool,
    big_endian: bool,
    /// Leaf blocks of the sizes that need a 52-bit part exist.
    large_blocks: bool,
    fwb: bool,
}

impl Tables {
    fn stride(&self) -> u8 {
        self.granule - 3
    }

    fn lsb(&self, level: i8) -> u8 {
        self.granule + self.stride() * (3 - level) as u8
    }

    /// log2 of the start table's alignment.
    fn base_align(&self) -> u8 {
        let entries = self.input_bits - self.lsb(self.start);
        (entries + 3).max(if self.output_bits == 52 { 6 } else { 4 })
    }

    fn has_blocks(&self, level: i8) -> bool {
        match (self.granule, level) {
            (12, 1 | 2) | (14 | 16, 2) => true,
            (12, 0) | (14, 1) => self.ds,
            (16, 1) => self.large_blocks,
            _ => false,
        }
    }

    /// A leaf or table address as it is placed in a descriptor.
    fn encode(&self, address: u64) -> u64 {
        let low = self.granule.into();
        match self.granule {
            16 => address_bits(address, 47, low) | (address >> 48 & 0xf) << 12,
            _ if self.ds => address_bits(address, 49, low) | (address >> 50 & 3) << 8,
            _ => address_bits(address, 47, low),
        }
    }

    fn decode(&self, descriptor: u64) -> u64 {
        let low = self.granule.into();
        match self.granule {
            16 => address_bits(descriptor, 47, low) | (descriptor >> 12 & 0xf) << 48,
            _ if self.ds => address_bits(descriptor, 49, low) | (descriptor >> 8 & 3) << 50,
            _ => address_bits(descriptor, 47, low),
        }
    }

    /// Descriptor as it lies in memory, or the reverse.
    fn order(&self, descriptor: u64) -> u64 {
        if self.big_endian {
            descriptor.swap_bytes()
        } else {
            descriptor
        }
    }
}

/// What a stage-2 page is mapped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Holds CDs or stage-1 tables: mapped so that they can be read, as a rule.
    Structures,
    /// Where transactions end.
    Data,
}

/// A stream that transactions can be aimed at.
#[derive(Debug, Clone)]
struct Stream {
    sid: u32,
    /// Bits of a sensible SubstreamID; 0 if there are none.
    substream_bits: u8,
    /// Mapped addresses, with the CD index that maps them.
    targets: Vec<(u32, u64)>,
}

/// Which space an allocation is made in: stage 2's input is one of its own per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Physical,
    Intermediate(u64),
}

struct Builder {
    rng: Rng,
    config: SmmuConfig,
    memory: Memory,
    taken: Vec<(Space, u64, u64)>,
    places: Places,
    /// Faulty attributes are put in place once in so many; never if 0.
    rarity: u64,
}

impl Builder {
    /// Whether to put something faulty here.
    fn rare(&mut self) -> bool {
        self.rarity != 0 && self.rng.once_in(self.rarity)
    }

    /// An address of `bits` bits, aligned to 2^`size_log2`, that is free if one is found quickly.
    fn allocate(&mut self, space: Space, bits: u8, size_log2: u8) -> u64 {
        if size_log2 >= bits {
            return 0;
        }
        let size = 1 << size_log2;
        let mut start = 0;
        for _ in 0..16 {
            start = self.rng.bits(bits) & !(size - 1);
            let free = |&(other, from, to): &(Space, u64, u64)| {
                other != space || to <= start || start + size <= from
            };
            if self.taken.iter().all(free) {
                break;
            }
        }
        self.taken.push((space, start, start + size));
        start
    }

    /// Where tables of `tables`' stage and its outputs are allocated.
    fn space(within: Option<&Tables>) -> Space {
        within.map_or(Space::Physical, |s2| Space::Intermediate(s2.base))
    }

    /// The physical address of `address`, mapping it if there is a stage 2.
    fn physical(&mut self, within: Option<&Tables>, address: u64) -> u64 {
        match within {
            None => address,
            Some(s2) => self.map(s2, None, address, Use::Structures),
        }
    }

    /// Writes `words` at `address` and tells where they lie physically.
    fn store(&mut self, within: Option<&Tables>, address: u64, words: &[u64]) -> u64 {
        let pa = self.physical(within, address);
        for (word, offset) in words.iter().zip((0..).step_by(8)) {
            self.memory.words.insert(pa + offset, *word);
        }
        pa
    }

    /// Makes `input` reach a leaf, adding tables as needed, and gives the output address.
    fn map(&mut self, tables: &Tables, within: Option<&Tables>, input: u64, purpose: Use) -> u64 {
        let space = Self::space(within);
        let input = input & (u64::MAX >> (64 - tables.input_bits));
        let (mut level, mut table) = (tables.start, tables.base);
        loop {
            let lsb = tables.lsb(level);
            let bits = if level == tables.start {
                64
            } else {
                lsb + tables.stride()
            };
            let index = (input & (u64::MAX >> (64 - bits))) >> lsb;
            let pa = self.physical(within, table + 8 * index);
            let found = self
                .memory
                .words
                .get(&pa)
                .map_or(0, |&raw| tables.order(raw));
            let leaf_here = level == 3 || found & 3 == 1;
            if found & 1 != 0 {
                let address = tables.decode(found);
                if leaf_here {
                    let offset = (1 << lsb) - 1;
                    return address & !offset | input & offset;
                }
                table = address;
            } else {
                let block =
                    tables.has_blocks(level) && lsb + 2 < tables.space_bits && self.rng.once_in(4);
                let size_log2 = if block { lsb } else { tables.granule };
                let address = self.allocate(space, tables.space_bits, size_log2);
                let encoded = tables.encode(address);
                let descriptor = if level == 3 || block {
                    encoded | at(u64::from(level == 3), 1) | self.leaf(tables, lsb, purpose) | 1
                } else {
                    encoded | 3 | self.table_bits(tables)
                };
                self.memory.words.insert(pa, tables.order(descriptor));
                self.places.descriptors.push(pa);
                if level == 3 || block {
                    return address | input & ((1 << lsb) - 1);
                }
                table = address;
            }
            level += 1;
        }
    }

    /// Attributes of a Table descriptor: hierarchical permissions, AF, and bits that mean nothing.
    fn table_bits(&mut self, tables: &Tables) -> u64 {
        let mut bits = at(self.rng.bits(1), 10) | at(self.rng.bits(7), 52);
        if tables.stage == 1 {
            for bit in 59..64 {
                if self.rng.once_in(24) {
                    bits |= 1 << bit;
                }
            }
        }
        bits
    }

    /// Attributes of a leaf: all bits but the address and the type.
    fn leaf(&mut self, tables: &Tables, lsb: u8, purpose: Use) -> u64 {
        let structures = purpose == Use::Structures;
        let rare = self.rare();
        let rng = &mut self.rng;
        let accessed = if structures { !rare } else { !rng.once_in(8) };
        let mut bits = at(u64::from(accessed), 10) | at(rng.bits(1), 11);
        bits |= at(rng.bits(1), 51) | at(u64::from(rng.once_in(8)), 52);
        bits |= at(rng.bits(9) & if rng.flip() { 0 } else { 0x1ff }, 55);
        if lsb > 16 && tables.granule < 16 {
            bits |= at(rng.bits(1), 16); // nT
        }
        if !tables.ds || tables.granule == 16 {
            bits |= at(rng.bits(2), 8);
        }
        if rng.once_in(3) {
            bits |= at(rng.bits(2), 53); // execute-never
        }
        if tables.stage == 1 {
            let ap: u64 = rng.pick(&[1, 1, 1, 0, 2, 3, 3]);
            bits | at(rng.bits(3), 2) | at(rng.bits(1), 5) | at(ap, 6) | at(rng.bits(1), 50)
        } else {
            let healthy: u64 = if tables.fwb {
                rng.pick(&[6, 6, 7, 5])
            } else {
                rng.pick(&[15, 15, 5, 10, 7])
            };
            let ordinary = if structures { !rare } else { rng.flip() };
            let memattr = if ordinary { healthy } else { rng.bits(4) };
            let s2ap: u64 = match (structures, rare) {
                (true, false) => rng.pick(&[3, 3, 3, 3, 1]),
                (true, true) => rng.bits(2),
                (false, _) => rng.pick(&[3, 3, 3, 3, 1, 1, 2, 0]),
            };
            bits | at(memattr, 2) | at(s2ap, 6)
        }
    }

    /// Code and size of an output address size, mostly the part's own.
    fn output_size(&mut self) -> (u64, u8) {
        let own = SIZES
            .iter()
            .position(|&size| size == self.config.oas)
            .unwrap_or(0) as u64;
        let code = match self.rng.below(8) {
            0 => self.rng.bits(3),
            1 | 2 => self.rng.below(own + 1),
            _ => own,
        };
        (code, SIZES[code.min(6) as usize].min(self.config.oas))
    }

    fn granule(&mut self) -> u8 {
        let config = &self.config;
        let have: Vec<u8> = [
            (12, config.gran4k),
            (14, config.gran16k),
            (16, config.gran64k),
        ]
        .into_iter()
        .filter_map(|(granule, present)| present.then_some(granule))
        .collect();
        self.rng.pick(&have)
    }

    fn big_endian(&mut self) -> bool {
        match self.config.ttendian {
            TableEndianness::Mixed => self.rng.flip(),
            TableEndianness::Little => false,
            TableEndianness::Big => true,
        }
    }

    /// Hardware update bits {HA, HD} and HAFT that the part accepts.
    fn hardware_update(&mut self) -> (u64, u64, u64) {
        let httu = self.config.httu;
        let ha = u64::from(httu >= Httu::AccessFlag && !self.rng.once_in(3));
        let hd = u64::from(httu >= Httu::Dirty && !self.rng.once_in(3));
        let haft = u64::from(httu == Httu::TableAccessFlag && ha == 1 && self.rng.flip());
        (ha, hd, haft)
    }

    fn stalls(&mut self) -> bool {
        match self.config.stall_model {
            StallModel::StallAndTerminate => self.rng.once_in(4),
            StallModel::TerminateOnly => false,
            StallModel::StallForced => true,
        }
    }

    /// A legal stage 2: its tables and the STE's doublewords 2 and 3.
    fn stage2(&mut self, nested: bool, fwb: bool) -> (Tables, u64, u64) {
        let oas = self.config.oas;
        let (granule, ds, start, t0sz) = loop {
            let granule = self.granule();
            let ds = self.config.ds && self.rng.flip();
            let wide = granule == 16 || ds;
            let lowest = (64 - oas).max(if wide { 12 } else { 16 });
            let highest = match (self.config.stt, granule) {
                (false, _) => 39,
                (true, 16) => 47,
                (true, _) => 48,
            };
            let levels: &[i8] = match (granule, oas) {
                (12, ..=42) => &[1, 2, 3],
                (12, ..=48) => &[0, 1, 2, 3],
                (12, _) => &[-1, 0, 1, 2, 3],
                (14, ..=40) => &[2, 3],
                (14, ..=48) => &[1, 2, 3],
                (14, _) => &[0, 1, 2, 3],
                (_, ..=42) => &[2, 3],
                _ => &[1, 2, 3],
            };
            let start = self.rng.pick(levels);
            let stride = granule - 3;
            let lsb = granule + stride * (3 - start) as u8;
            let needs_ds = start == -1 || granule == 14 && start == 0;
            let needs_stt = granule == 12 && start == 3;
            let most = if needs_ds {
                52
            } else {
                (lsb + stride + 4).min(52)
            };
            let from = lowest.max(64 - most);
            let to = highest.min(64 - (lsb + 1));
            if from > to || needs_ds && !ds || needs_stt && !self.config.stt {
                continue;
            }
            let t0sz = self.rng.within(from, to);
            // A small IPA space has no room for stage-1 tables.
            if !nested || t0sz <= 36 || self.rng.once_in(32) {
                break (granule, ds, start, t0sz);
            }
            if from > 36 && self.rng.once_in(64) {
                break (granule, ds, start, t0sz);
            }
        };
        let (ps, ps_bits) = self.output_size();
        let plain = granule != 16 && !ds;
        let output_bits = if plain { ps_bits.min(48) } else { ps_bits };
        let mut tables = Tables {
            stage: 2,
            granule,
            start,
            base: 0,
            input_bits: 64 - t0sz,
            output_bits,
            space_bits: output_bits,
            ds: ds && granule != 16,
            big_endian: self.big_endian(),
            large_blocks: oas == 52 && ps_bits == 52,
            fwb,
        };
        tables.base = self.allocate(Space::Physical, output_bits, tables.base_align());
        let sl: u64 = match (granule, start) {
            (12, 2) => 0,
            (12, 1) => 1,
            (12, 0) => 2,
            (12, 3) => 3,
            (12, _) => 4,
            _ => (3 - start) as u64,
        };
        let tg: u64 = match granule {
            12 => 0,
            14 => 2,
            _ => 1,
        };
        let (ha, hd, haft) = self.hardware_update();
        let vmid = self.rng.bits(if self.config.vmid16 { 16 } else { 8 });
        let rng = &mut self.rng;
        let dw2 = vmid
            | at(t0sz, 32)
            | at(sl & 3, 38)
            | at(rng.bits(6), 40)
            | at(tg, 46)
            | at(ps, 48)
            | at(1u8, 51)
            | at(u64::from(tables.big_endian), 52)
            | at(u64::from(rng.once_in(3)), 53)
            | at(rng.bits(1), 54)
            | at(hd, 55)
            | at(ha, 56)
            | at(u64::from(!rng.once_in(4)), 58)
            | at(haft, 59);
        let dw2 = dw2 | at(u64::from(self.stalls()), 57);
        let dw3 = tables.base | at(sl >> 2, 2) | at(u64::from(ds), 3);
        (tables, dw2, dw3)
    }

    /// One half of a stage 1: its tables and TxSZ.
    fn half(&mut self, within: Option<&Tables>, ps_bits: u8, ds: bool, big_endian: bool) -> Tables {
        let granule = self.granule();
        let wide = if granule == 16 {
            self.config.vax == 52
        } else {
            ds
        };
        let lowest = if wide { 12 } else { 16 };
        let highest = match (self.config.stt, granule) {
            (false, _) => 39,
            (true, 16) => 47,
            (true, _) => 48,
        };
        let txsz = self.rng.within(lowest, highest);
        let start = 3 - ((64 - txsz - 1 - granule) / (granule - 3)) as i8;
        let plain = granule != 16 && !ds;
        let output_bits = if plain { ps_bits.min(48) } else { ps_bits };
        let mut tables = Tables {
            stage: 1,
            granule,
            start,
            base: 0,
            input_bits: 64 - txsz,
            output_bits,
            space_bits: within.map_or(output_bits, |s2| s2.input_bits.min(output_bits)),
            ds: ds && granule != 16,
            big_endian,
            large_blocks: self.config.oas == 52 && ps_bits == 52,
            fwb: false,
        };
        tables.base = self.allocate(Self::space(within), tables.space_bits, tables.base_align());
        tables
    }

    /// A legal CD and the addresses its tables map.
    fn context(
        &mut self,
        within: Option<&Tables>,
        ranges: u8,
        stalld: bool,
    ) -> ([u64; 8], Vec<u64>) {
        let (ips, ps_bits) = self.output_size();
        let ds = self.config.ds && self.rng.flip();
        let big_endian = self.big_endian();
        let (ha, hd, haft) = self.hardware_update();
        let stalls = !stalld && self.stalls();
        let aborts = self.config.term_model || self.rng.flip();
        let mut cd = [0; 8];
        let mut targets = Vec::new();
        cd[0] = at(1u8, 31)
            | at(u64::from(big_endian), 15)
            | at(ips, 32)
            | at(u64::from(self.rng.once_in(3)), 35) // AFFD
            | at(u64::from(self.rng.once_in(4)), 36) // WXN
            | at(self.rng.bits(1), 37)
            | at(self.rng.bits(2), 38) // TBI
            | at(u64::from(self.rng.once_in(3)), 40) // PAN
            | at(1u8, 41)
            | at(hd, 42)
            | at(ha, 43)
            | at(u64::from(stalls), 44)
            | at(u64::from(!self.rng.once_in(4)), 45)
            | at(u64::from(aborts), 46)
            | at(self.rng.bits(1), 47)
            | at(self.rng.bits(if self.config.asid16 { 16 } else { 8 }), 48);
        for upper in [false, true] {
            let (fields, disable, word) = if upper { (16, 30, 2) } else { (0, 14, 1) };
            if upper && ranges == 1 {
                // RES0 to a regime with one range; whatever is there does not count.
                cd[0] |= at(self.rng.bits(14), 16);
                continue;
            }
            let disabled = self.rng.once_in(16) && ranges == 2;
            cd[0] |= at(u64::from(disabled), disable) | at(self.rng.bits(6), fields + 8);
            if disabled && self.rng.flip() {
                // Nothing is checked of a disabled half.
                cd[0] |= at(self.rng.bits(8), fields);
                cd[word] |= address_bits(self.rng.next(), 51, 4);
                continue;
            }
            let tables = self.half(within, ps_bits, ds, big_endian);
            let tg: u64 = match (tables.granule, upper) {
                (12, false) => 0,
                (16, false) | (14, true) => 1,
                (14, false) | (12, true) => 2,
                _ => 3,
            };
            cd[0] |= at(64 - tables.input_bits, fields) | at(tg, fields + 6);
            cd[word] |= tables.base;
            for _ in 0..=self.rng.below(2) {
                let low = self.rng.bits(tables.input_bits);
                let output = self.map(&tables, within, low, Use::Data);
                if let Some(s2) = within {
                    self.map(s2, None, output, Use::Data);
                }
                let high = if upper {
                    u64::MAX << tables.input_bits
                } else {
                    0
                };
                targets.push(high | low);
            }
        }
        let rng = &mut self.rng;
        cd[1] |= at(u64::from(self.config.had && rng.once_in(3)), 1)
            | at(u64::from(self.config.e0pd && rng.once_in(5)), 2)
            | at(haft, 3)
            | at(u64::from(self.config.epan && rng.flip()), 59);
        cd[2] |= at(u64::from(self.config.had && rng.once_in(3)), 1)
            | at(u64::from(self.config.e0pd && rng.once_in(5)), 2)
            | at(u64::from(ds), 58);
        for byte in 0..8 {
            const USUAL: [u64; 10] = [0xff, 0xff, 0x44, 0x00, 0x04, 0x0c, 0xbb, 0x77, 0x4f, 0xf4];
            let attribute = if rng.once_in(3) {
                rng.bits(8)
            } else {
                rng.pick(&USUAL)
            };
            cd[3] |= at(attribute, 8 * byte);
        }
        // IMPLEMENTATION DEFINED attributes and fields of features this part lacks.
        if rng.flip() {
            cd[4] = rng.next();
            cd[5] = rng.next();
        }
        (cd, targets)
    }

    /// CDs of a stream; gives S1ContextPtr, and fills in the stream's targets.
    fn contexts(
        &mut self,
        within: Option<&Tables>,
        format: u64,
        cdmax: u8,
        ranges: u8,
        stalld: bool,
        stream: &mut Stream,
    ) -> u64 {
        let bits = within.map_or(self.config.oas, |s2| s2.input_bits.min(self.config.oas));
        let (leaf_bits, split) = match format {
            _ if cdmax == 0 => (6, None),
            1 => (12, Some(6)),
            2 => (16, Some(10)),
            _ => (6 + cdmax, None),
        };
        let space = Self::space(within);
        let pointer_align = split
            .map_or(leaf_bits, |split| cdmax.saturating_sub(split) + 3)
            .max(6);
        let pointer = self.allocate(space, bits, pointer_align);
        let mut indexes = vec![0];
        if cdmax > 0 {
            indexes.extend([self.rng.bits(cdmax) as u32, self.rng.bits(cdmax) as u32]);
            indexes.sort_unstable();
            indexes.dedup();
        }
        let mut leaves = BTreeMap::new();
        for index in indexes {
            let (cd, targets) = self.context(within, ranges, stalld);
            let address = match split {
                None => pointer + 64 * u64::from(index),
                Some(split) => {
                    let upper = index >> split;
                    let leaf = *leaves.entry(upper).or_insert_with(|| {
                        let leaf = self.allocate(space, bits, leaf_bits);
                        let place = pointer + 8 * u64::from(upper);
                        let pa = self.store(within, place, &[leaf | 1]);
                        self.places.l1cds.push(pa);
                        leaf
                    });
                    leaf + 64 * u64::from(index & ((1 << split) - 1))
                }
            };
            let pa = self.store(within, address, &cd);
            self.places.cds.push(pa);
            stream
                .targets
                .extend(targets.into_iter().map(|target| (index, target)));
        }
        pointer
    }

    /// A legal STE for `sid`, and what it leads to.
    fn stream(&mut self, sid: u32, e2h: bool) -> ([u64; 8], Stream) {
        let mut stream = Stream {
            sid,
            substream_bits: 0,
            targets: Vec::new(),
        };
        let choice: u64 = match self.rng.below(24) {
            0 => self.rng.pick(&[0, 0, 1, 2, 3]),
            1 => 4,
            2..7 => 6,
            7..13 => 5,
            _ => 7,
        };
        let config = match choice {
            5.. if !self.config.s1p => 6,
            5.. if !self.config.s2p => 5,
            choice => choice,
        };
        let translates1 = config & 5 == 5;
        let translates2 = config & 6 == 6;
        let fwb = self.config.fwb && self.rng.flip();
        let mut ste = [0; 8];
        ste[0] = 1 | at(config, 1);
        let rng = &mut self.rng;
        // Fields that are legal whatever they hold. SHCFG 1 is "use incoming".
        ste[1] = rng.bits(2) // S1DSS
            | at(rng.bits(6), 2)
            | at(rng.bits(5), 13) // CONT, DCP
            | at(rng.bits(6), 18)
            | at(u64::from(fwb), 25)
            | at(rng.bits(4), 32)
            | at(rng.bits(1), 36)
            | at(rng.bits(4), 37)
            | at(if rng.flip() { 1 } else { rng.bits(2) }, 44)
            | at(rng.bits(2), 46)
            | at(if rng.flip() { 0 } else { rng.bits(2) }, 48)
            | at(if rng.flip() { 0 } else { rng.bits(2) }, 50)
            | at(rng.bits(12), 52);
        ste[1] |= at(rng.bits(1), 12); // DRE
        if self.config.version < Version::V3_1 {
            ste[1] &= !(1 << 12 | 1 << 17); // DRE and DCP came with SMMUv3.1
        }
        let el2 = config == 5 && self.config.hyp && rng.once_in(3);
        let ranges = if el2 && !e2h { 1 } else { 2 };
        ste[1] |= at(if el2 { 2u8 } else { 0 }, 30);
        let mut s2stalls = false;
        let mut stage2 = None;
        if translates2 {
            let (tables, dw2, dw3) = self.stage2(translates1, fwb);
            s2stalls = dw2 >> 57 & 1 != 0;
            (ste[2], ste[3]) = (dw2, dw3);
            if !translates1 {
                for _ in 0..2 {
                    let input = self.rng.bits(tables.input_bits);
                    self.map(&tables, None, input, Use::Data);
                    stream.targets.push((0, input));
                }
            }
            stage2 = Some(tables);
        } else {
            ste[2] = self.rng.bits(if self.config.vmid16 { 16 } else { 8 });
        }
        if translates1 {
            let bits = stage2
                .as_ref()
                .map_or(self.config.oas, |s2: &Tables| s2.input_bits);
            let stalld =
                self.config.stall_model == StallModel::StallAndTerminate && self.rng.once_in(3);
            ste[1] |= at(u64::from(stalld), 27);
            let room = bits.saturating_sub(9);
            let cdmax = if self.rng.flip() {
                self.rng.within(0, self.config.ssidsize.min(room))
            } else {
                0
            };
            let format = if self.config.cd2l {
                self.rng.bits(2)
            } else {
                self.rng.pick(&[0, 3])
            };
            let pointer =
                self.contexts(stage2.as_ref(), format, cdmax, ranges, stalld, &mut stream);
            ste[0] |= at(format, 4) | pointer | at(cdmax, 59);
            stream.substream_bits = cdmax;
            if cdmax > 0 && self.rng.flip() {
                ste[1] = ste[1] & !3 | 2;
            }
        }
        if self.config.ats {
            let eats: u64 = match self.rng.below(4) {
                0 => 1,
                1 => 2,
                _ => 0,
            };
            let legal = match eats {
                1 => !s2stalls,
                2 => config == 7 && !s2stalls && !self.config.ns1ats,
                _ => true,
            };
            ste[1] |= at(if legal { eats } else { 0 }, 28);
        }
        if self.rng.once_in(3) {
            ste[4] |= self.rng.bits(16); // IMPLEMENTATION DEFINED
            ste[2] |= at(self.rng.bits(16), 16);
        }
        if stream.targets.is_empty() || self.rng.once_in(8) {
            let address = self.rng.bits(self.config.oas);
            stream.targets.push((0, address));
        }
        (ste, stream)
    }

    /// Stream table, STEs and registers.
    fn stream_table(&mut self) -> (Registers, Vec<Stream>) {
        let rng = &mut self.rng;
        let e2h = self.config.hyp && rng.flip();
        let mut registers = Registers {
            cr0: u32::from(!rng.once_in(48)) | rng.pick(&[0, 0x0c, 0x1c, 0x4c]),
            cr1: rng.bits(12) as u32,
            cr2: u32::from(e2h) | u32::from(!rng.once_in(4)) << 1 | (rng.bits(2) as u32) << 2,
            gbpa: (rng.bits(20) as u32 | u32::from(rng.once_in(3)) << 20) & 0x001f_3f1f,
            strtab_base: at(rng.bits(1), 62),
            strtab_base_cfg: 0,
        };
        let two_level = self.config.st_level && rng.flip();
        let split: u8 = if rng.once_in(8) {
            rng.bits(5) as u8
        } else {
            rng.pick(&[6, 8, 10])
        };
        let effective_split = if matches!(split, 8 | 10) { split } else { 6 };
        let overhead = if two_level { 3 } else { 6 };
        let beyond = if rng.once_in(8) { 2 } else { 0 };
        let log2size = (self.config.sidsize + beyond).min(self.config.oas - overhead - 2);
        let effective_size = log2size.min(self.config.sidsize);
        let align = if two_level {
            (log2size.saturating_sub(effective_split) + 3).max(6)
        } else {
            log2size + 6
        };
        let base = self.allocate(Space::Physical, self.config.oas, align);
        registers.strtab_base |= base;
        let format = match (two_level, self.config.st_level) {
            (true, _) => 1,
            (false, true) => self.rng.pick(&[0, 2, 3]),
            (false, false) => self.rng.bits(2) as u32,
        };
        registers.strtab_base_cfg = format << 16 | u32::from(split) << 6 | u32::from(log2size);

        let mut streams = Vec::new();
        let mut leaves: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let count = self.rng.below(2) + 1;
        for _ in 0..count {
            let sid = self.rng.bits(effective_size) as u32;
            let (ste, stream) = self.stream(sid, e2h);
            let place = if two_level {
                let upper = sid >> effective_split;
                let lower = u64::from(sid & ((1 << effective_split) - 1));
                let (leaf, entries) = *leaves.entry(upper).or_insert_with(|| {
                    let needed = 64 - lower.leading_zeros() as u8;
                    let entries_log2 = self.rng.within(needed, effective_split);
                    let leaf = self.allocate(Space::Physical, self.config.oas, 6 + entries_log2);
                    let place = base + 8 * u64::from(upper);
                    self.memory
                        .words
                        .insert(place, leaf | u64::from(entries_log2 + 1));
                    self.places.l1stds.push(place);
                    (leaf, 1 << entries_log2)
                });
                if lower >= entries {
                    streams.push(stream); // beyond the leaf: C_BAD_STREAMID
                    continue;
                }
                leaf + 64 * lower
            } else {
                base + 64 * u64::from(sid)
            };
            self.store(None, place, &ste);
            self.places.stes.push(place);
            streams.push(stream);
        }
        (registers, streams)
    }

    /// A transaction aimed at something mapped, or near it.
    fn transaction(&mut self, streams: &[Stream]) -> Transaction {
        let rng = &mut self.rng;
        let stream = &streams[rng.below(streams.len() as u64) as usize];
        let (index, target) = rng.pick(&stream.targets);
        let sid = match rng.below(64) {
            0 => stream.sid ^ 1 << rng.below(32),
            1 => rng.bits(self.config.sidsize) as u32,
            _ => stream.sid,
        };
        let substream = match (stream.substream_bits, rng.below(32)) {
            (_, 0) => Some(rng.bits(20) as u32),
            (0, _) | (_, 1) => None,
            (bits, 2) => Some(rng.bits(bits) as u32),
            _ if index == 0 && rng.flip() => None,
            _ => Some(index),
        };
        let address = match rng.below(32) {
            0 => rng.next(),
            1 => target ^ 1 << rng.below(64),
            2..5 => target ^ at(rng.bits(8), 56),
            5 => (target | 0xfff).wrapping_add(1),
            6 => (target & !0xfff).wrapping_sub(1),
            7 => target | 0xfff,
            8 => target & !0xfff,
            9 => rng.bits(self.config.oas) | at(rng.bits(1), self.config.oas.into()),
            _ => target,
        };
        transaction(rng, sid, substream, address)
    }

    /// Spoils one thing.
    fn corrupt(&mut self, registers: &mut Registers) {
        let places = &self.places;
        let rng = &mut self.rng;
        // Descriptors thrice, since a walk passes most of them.
        let kinds: [(&[u64], u64); 7] = [
            (&places.l1stds, 1),
            (&places.stes, 8),
            (&places.l1cds, 1),
            (&places.cds, 8),
            (&places.descriptors, 1),
            (&places.descriptors, 1),
            (&places.descriptors, 1),
        ];
        let choices: Vec<_> = kinds
            .into_iter()
            .filter(|(list, _)| !list.is_empty())
            .collect();
        if choices.is_empty() || rng.once_in(12) {
            let bit = rng.below(32);
            match rng.below(6) {
                0 => registers.cr0 ^= 1 << bit,
                1 => registers.cr1 ^= 1 << bit,
                2 => registers.cr2 ^= 1 << bit,
                3 => registers.gbpa ^= 1 << bit,
                4 => registers.strtab_base ^= 1 << rng.below(64),
                _ => registers.strtab_base_cfg ^= 1 << bit,
            }
            return;
        }
        let (list, words) = rng.pick(&choices);
        let start = rng.pick(list);
        let place = start + 8 * rng.below(words);
        match rng.below(8) {
            0 => {
                self.memory.holes.insert(place >> 12);
            }
            // Address bits beyond the part.
            1 => {
                let bit = rng.pick(&[
                    8, 9, 12, 13, 14, 15, 32, 36, 40, 42, 44, 47, 48, 50, 51, 52, 55,
                ]);
                *self.memory.words.entry(place).or_default() |= 1 << bit;
            }
            2 => {
                *self.memory.words.entry(place).or_default() = rng.next();
            }
            3 => {
                self.memory.words.insert(place, 0);
            }
            _ => {
                *self.memory.words.entry(place).or_default() ^= 1 << rng.below(64);
            }
        }
    }
}

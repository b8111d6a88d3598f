//! Everything a walk needs to know of one set of translation tables, worked out once.
//!
//! The legality of TxSZ, granule, start level and table base is decided here, from DDI 0487
//! §D8.2 and IHI 0070 §5.2, §5.4; [`TableParams`] then cannot express an illegal table.

use crate::config::{PS_BITS, SmmuConfig};

/// log2 of the granule: 12, 14 or 16.
pub type GranuleLog2 = u8;

/// Why tables are illegal: the STE or CD that names them is then illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IllegalTable {
    /// Reserved TG encoding, or a granule that IDR5 does not offer.
    Granule,
    /// TxSZ outside the legal range.
    Size,
    /// Stage-2 start level reserved, inconsistent with S2T0SZ or not permitted for the PA size.
    StartLevel,
    /// Table base beyond the output size.
    Base,
}

/// Where bits above bit 47 of an output address lie in a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HighAddressBits {
    /// Nowhere: 48-bit descriptors of 4 KiB and 16 KiB tables.
    None,
    /// OA\[51:48\] in bits \[15:12\]: 64 KiB tables.
    At12,
    /// OA\[51:50\] in bits \[9:8\]: 4 KiB and 16 KiB tables with DS=1 (LPA2).
    At8,
}

/// Translation tables of one stage, ready to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableParams {
    base: u64,
    granule_log2: GranuleLog2,
    /// Input bits one full table resolves.
    stride: u8,
    input_bits: u8,
    start_lsb: u8,
    start_level: i8,
    output_bits: u8,
    high_bits: HighAddressBits,
    big_endian: bool,
    haft: bool,
    /// See [`Self::is_plain`].
    plain: bool,
    /// Bit `lsb` is set if a block descriptor may resolve down to `lsb`.
    block_lsbs: u64,
    /// Mask of an index into the start table, concatenated tables included.
    start_index_mask: u64,
    /// Mask of an index into any other table.
    index_mask: u64,
    /// Bits of a descriptor that are the output address, but for those `high_bits` has.
    address_mask: u64,
    /// Bits no output address may have.
    beyond_output: u64,
}

/// What a descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Invalid, reserved, or a block where none may be.
    Invalid,
    /// The next table's address.
    Table(u64),
    /// The address of the block or page, whose size is that of the level.
    Leaf(u64),
}

/// Where a walk stands: at which table, and which bits of the input index it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    table: u64,
    index_mask: u64,
    pub(super) lsb: u8,
    pub(super) level: i8,
}

impl Cursor {
    /// Address of the descriptor that translates `input`.
    #[inline(always)]
    pub(super) fn descriptor_address(&self, input: u64) -> u64 {
        self.table | (shift_right(input, self.lsb) & self.index_mask) << 3
    }

    /// One level down, to the table at `next`.
    #[inline(always)]
    pub(super) fn descend(&mut self, tables: &TableParams, next: u64) {
        self.table = next;
        self.index_mask = tables.index_mask;
        self.lsb = self.lsb.wrapping_sub(tables.stride);
        self.level = self.level.wrapping_add(1);
    }

    /// The bits of `input` below the table's reach: the offset in a block or page of this level.
    #[inline(always)]
    pub(super) fn offset(&self, input: u64) -> u64 {
        input & below(self.lsb)
    }
}

/// `value >> bits`, for a shift known to be less than 64.
#[inline(always)]
const fn shift_right(value: u64, bits: u8) -> u64 {
    value.wrapping_shr(bits as u32)
}

/// Bits `[bits-1:0]`, for a number of bits known to be less than 64.
#[inline(always)]
const fn below(bits: u8) -> u64 {
    1u64.wrapping_shl(bits as u32).wrapping_sub(1)
}

impl TableParams {
    /// Address of the start table, aligned to its size: a PA, or an IPA for a nested stage 1.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// log2 of the granule.
    #[inline]
    pub fn granule_log2(&self) -> GranuleLog2 {
        self.granule_log2
    }

    /// Input address bits resolved: 64 − TxSZ.
    #[inline]
    pub fn input_bits(&self) -> u8 {
        self.input_bits
    }

    /// Output address bits: min(PS, OAS).
    #[inline]
    pub fn output_bits(&self) -> u8 {
        self.output_bits
    }

    /// Where OA bits above 47 are.
    #[inline]
    pub fn high_bits(&self) -> HighAddressBits {
        self.high_bits
    }

    /// Whether descriptors are big-endian.
    #[inline(always)]
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// Whether hardware sets the Access flag of Table descriptors (CD.HAFT, STE.S2HAFT).
    #[inline(always)]
    pub fn marks_tables(&self) -> bool {
        self.haft
    }

    /// Whether descriptors need nothing done that is rare: they are little-endian, keep no high
    /// address bits elsewhere, and Table descriptors are not updated. Walks of plain tables are
    /// compiled apart, without these cases.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether SH of a descriptor is address bits, so that CD.SHx or STE.S2SH0 rules all pages.
    #[inline]
    pub fn takes_shareability_bits(&self) -> bool {
        self.high_bits == HighAddressBits::At8
    }

    /// The start level.
    #[inline(always)]
    pub fn start_level(&self) -> i8 {
        self.start_level
    }

    /// Lowest input bit the start level resolves.
    #[inline]
    pub fn start_lsb(&self) -> u8 {
        self.start_lsb
    }

    /// Levels from the start table down to pages.
    #[inline]
    pub fn levels(&self) -> u8 {
        self.start_level.abs_diff(3) + 1
    }

    /// Index bits of the start table, concatenated tables included.
    #[inline]
    pub fn start_index_bits(&self) -> u8 {
        self.input_bits - self.start_lsb
    }

    /// The walk's first table.
    #[inline(always)]
    pub(super) fn start(&self) -> Cursor {
        Cursor {
            table: self.base,
            index_mask: self.start_index_mask,
            lsb: self.start_lsb,
            level: self.start_level,
        }
    }

    /// A walk that goes on at the table at `next`, which a descriptor of `level` pointed to.
    #[inline(always)]
    pub(super) fn resume(&self, next: u64, level: i8) -> Cursor {
        let level = level + 1;
        Cursor {
            table: next,
            index_mask: self.index_mask,
            lsb: lsb_of(self.granule_log2, level),
            level,
        }
    }

    /// Whether the tables resolve `input`.
    #[inline(always)]
    pub(super) fn resolves(&self, input: u64) -> bool {
        shift_right(input, self.input_bits) == 0
    }

    /// Reads a descriptor of the table under the cursor (DDI 0487 §D8.3).
    #[inline(always)]
    pub(super) fn step<const PLAIN: bool>(&self, descriptor: u64, cursor: &Cursor) -> Step {
        let address = self.address::<PLAIN>(descriptor);
        if descriptor & 3 == 3 {
            return if cursor.level == 3 {
                Step::Leaf(address)
            } else {
                Step::Table(address)
            };
        }
        // Level 3 is never among the block levels: 0b01 is reserved there.
        if descriptor & 1 != 0 && shift_right(self.block_lsbs, cursor.lsb) & 1 != 0 {
            return Step::Leaf(address & !below(cursor.lsb));
        }
        Step::Invalid
    }

    /// Output address and log2 of the size of a block or page, if `descriptor` is one at `level`.
    pub(crate) fn leaf(&self, descriptor: u64, level: i8) -> Option<(u64, u8)> {
        let cursor = self.resume(0, level - 1);
        match self.step::<false>(descriptor, &cursor) {
            Step::Leaf(address) => Some((address, cursor.lsb)),
            Step::Table(_) | Step::Invalid => None,
        }
    }

    /// The output address of a descriptor, down to the granule.
    #[inline(always)]
    fn address<const PLAIN: bool>(&self, descriptor: u64) -> u64 {
        let low = descriptor & self.address_mask;
        match self.high_bits {
            _ if PLAIN => low,
            HighAddressBits::None => low,
            HighAddressBits::At12 => low | (descriptor >> 12 & 0xf) << 48,
            HighAddressBits::At8 => low | (descriptor >> 8 & 3) << 50,
        }
    }

    /// Whether an output address fits the output size.
    #[inline(always)]
    pub(super) fn in_range(&self, address: u64) -> bool {
        address & self.beyond_output == 0
    }
}

/// What CD and STE fields say about tables, before any check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableFields {
    /// Decoded TG; `None` for a reserved encoding.
    pub granule_log2: Option<GranuleLog2>,
    /// TxSZ.
    pub tsz: u8,
    /// Raw table base address.
    pub base: u64,
    /// Raw PS encoding.
    pub ps: u8,
    /// CD.DS or STE.S2DS, if IDR5.DS.
    pub ds: bool,
    /// ENDI.
    pub big_endian: bool,
    /// CD.HAFT or STE.S2HAFT, if effective.
    pub haft: bool,
}

/// The stage-2 start level field, {S2SL0_2, S2SL0}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartLevel {
    /// Stage 1: the level follows from TxSZ.
    FromSize,
    /// Stage 2.
    Encoded(u8),
}

impl TableFields {
    fn granule(&self, config: &SmmuConfig) -> Option<GranuleLog2> {
        self.granule_log2.filter(|&log2| config.has_granule(log2))
    }

    fn output_bits(&self, config: &SmmuConfig) -> u8 {
        PS_BITS[usize::from(self.ps & 7)].min(config.oas)
    }

    /// The tables, if legal. Reports all that is illegal about them, in an order without
    /// architectural meaning, and gives `None` then.
    #[inline(always)]
    pub(crate) fn resolve(
        &self,
        config: &SmmuConfig,
        start: StartLevel,
        mut report: impl FnMut(IllegalTable),
    ) -> Option<TableParams> {
        let output_bits = self.output_bits(config);
        let wide = self.granule_log2 == Some(16) || self.ds;
        let base_fits =
            self.base & !below(output_bits) == 0 && (wide || self.base & !below(48) == 0);
        if !base_fits {
            report(IllegalTable::Base);
        }
        let Some(granule) = self.granule(config) else {
            report(IllegalTable::Granule);
            return None;
        };
        if !self.size_is_legal(config, granule, start) {
            report(IllegalTable::Size);
            return None;
        }
        let input_bits = 64 - self.tsz;
        let stride = granule - 3;
        let level = match start {
            StartLevel::FromSize => 3 - ((input_bits - 1 - granule) / stride) as i8,
            StartLevel::Encoded(sl0) => {
                let Some(level) = self.stage2_start_level(config, granule, sl0) else {
                    report(IllegalTable::StartLevel);
                    return None;
                };
                level
            }
        };
        base_fits.then(|| self.params(config, granule, level, output_bits))
    }

    /// The tables, all checks passed.
    #[inline(always)]
    fn params(
        &self,
        config: &SmmuConfig,
        granule_log2: GranuleLog2,
        start_level: i8,
        output_bits: u8,
    ) -> TableParams {
        let input_bits = 64 - self.tsz;
        let stride = granule_log2 - 3;
        let start_lsb = lsb_of(granule_log2, start_level);
        let high_bits = match granule_log2 {
            16 => HighAddressBits::At12,
            _ if self.ds => HighAddressBits::At8,
            _ => HighAddressBits::None,
        };
        // A table whose output can be 52 bits wide keeps its base in bits [51:6] at least.
        let size_log2 = input_bits - start_lsb + 3;
        let wide = high_bits != HighAddressBits::None && output_bits == 52;
        let align_log2 = if wide { size_log2.max(6) } else { size_log2 };
        let block_lsbs = match granule_log2 {
            12 if self.ds => 1 << 21 | 1 << 30 | 1 << 39,
            12 => 1 << 21 | 1 << 30,
            14 if self.ds => 1 << 25 | 1 << 36,
            14 => 1 << 25,
            _ if config.oas == 52 => 1 << 29 | 1 << 42,
            _ => 1 << 29,
        };
        let address_top = if high_bits == HighAddressBits::At8 {
            50
        } else {
            48
        };
        TableParams {
            base: self.base & !below(align_log2),
            granule_log2,
            stride,
            input_bits,
            start_lsb,
            start_level,
            output_bits,
            high_bits,
            address_mask: below(address_top) & !below(granule_log2),
            big_endian: self.big_endian,
            haft: self.haft,
            plain: !self.big_endian && !self.haft && high_bits == HighAddressBits::None,
            block_lsbs,
            start_index_mask: below(input_bits - start_lsb),
            index_mask: below(stride),
            beyond_output: !below(output_bits),
        }
    }

    /// IHI 0070 §5.2 and §5.4, STE.S2T0SZ and CD.T0SZ.
    fn size_is_legal(&self, config: &SmmuConfig, granule: GranuleLog2, start: StartLevel) -> bool {
        let largest = match (config.stt, granule) {
            (false, _) => 39,
            (true, 16) => 47,
            (true, _) => 48,
        };
        let smallest = match (start, granule) {
            (StartLevel::FromSize, 16) if config.vax == 52 => 12,
            (StartLevel::FromSize, 16) => 16,
            (StartLevel::Encoded(_), 16) => (64 - config.ias()).max(12),
            (StartLevel::FromSize, _) if self.ds => 12,
            (StartLevel::FromSize, _) => 16,
            (StartLevel::Encoded(_), _) if self.ds => (64 - config.ias()).max(12),
            (StartLevel::Encoded(_), _) => (64 - config.ias()).max(16),
        };
        (smallest..=largest).contains(&self.tsz)
    }

    /// The start level that {S2SL0_2, S2SL0} names, if it exists, fits S2T0SZ with at most 16
    /// concatenated tables, and is permitted for the PA size (DDI 0487 §D8.2.8).
    fn stage2_start_level(&self, config: &SmmuConfig, granule: GranuleLog2, sl0: u8) -> Option<i8> {
        let level: i8 = match (granule, sl0) {
            (12, 0) => 2,
            (12, 1) => 1,
            (12, 2) => 0,
            (12, 3) if config.stt => 3,
            (12, 4) if self.ds => -1,
            (14 | 16, 0) => 3,
            (14 | 16, 1) => 2,
            (14 | 16, 2) => 1,
            (14, 3) if self.ds => 0,
            _ => return None,
        };
        let smallest_pa = match (granule, level) {
            (12, -1) | (14, 0) => 52,
            (12, 0) | (16, 1) => 44,
            (14, 1) => 42,
            _ => 32,
        };
        let lsb = lsb_of(granule, level);
        // Level −1 of 4 KiB and level 0 of 16 KiB end at bit 51 and are never concatenated.
        let top = (lsb + (granule - 3) + 4).min(52);
        let fits = (lsb + 1..=top).contains(&(64 - self.tsz));
        (fits && config.oas >= smallest_pa).then_some(level)
    }
}

/// Lowest input bit that `level` resolves.
#[inline]
fn lsb_of(granule_log2: GranuleLog2, level: i8) -> u8 {
    granule_log2 + (granule_log2 - 3) * level.abs_diff(3)
}

/// log2 of the number of descriptors that a Contiguous bit at `level` joins; 0 where the bit has no
/// meaning (DDI 0487 §D8.6.1).
pub(crate) fn contiguous_log2(granule_log2: GranuleLog2, level: i8) -> u8 {
    match (granule_log2, level) {
        (12, 1..=3) => 4,
        (14, 2) | (16, 2 | 3) => 5,
        (14, 3) => 7,
        _ => 0,
    }
}

//! Which rule an illegal STE or CD breaks.
//!
//! Numbers are those of the condition lists in IHI 0070 §5.2.2 and §5.4.1 as this project counts
//! them (`docs/src/reference/illegal.md`). Conditions of the Secure and Realm programming
//! interfaces and of features [`crate::config::SmmuConfig`] refuses cannot arise and have no
//! variant.

use core::marker::PhantomData;

/// A list of rules that a structure can break, in an order of their own.
pub trait RuleList: Copy + 'static {
    /// All rules, in order; at most 32.
    const RULES: &'static [Self];

    /// Place of a rule in the list.
    fn index(self) -> u32;
}

/// The rules a structure breaks: a set, so that checking takes no branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken<R> {
    bits: u32,
    rules: PhantomData<R>,
}

impl<R> Default for Broken<R> {
    fn default() -> Self {
        Self {
            bits: 0,
            rules: PhantomData,
        }
    }
}

impl<R: RuleList> Broken<R> {
    /// Just `rule`.
    pub(crate) fn only(rule: R) -> Self {
        let mut broken = Self::default();
        broken.note(true, rule);
        broken
    }

    /// Adds `rule` if it `is_broken`.
    #[inline(always)]
    pub(crate) fn note(&mut self, is_broken: bool, rule: R) {
        self.bits |= u32::from(is_broken) << rule.index();
    }

    /// The first rule broken.
    #[inline]
    pub fn first(self) -> Option<R> {
        R::RULES.get(self.bits.trailing_zeros() as usize).copied()
    }

    /// The rules broken, in order.
    pub fn iter(self) -> impl Iterator<Item = R> {
        R::RULES
            .iter()
            .copied()
            .filter(move |rule| self.bits >> rule.index() & 1 != 0)
    }
}

/// Why an STE is illegal (C_BAD_STE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IllegalSte {
    /// V=0.
    NotValid,
    /// Config enables stage 1, which the part does not have.
    Stage1Absent,
    /// Config enables stage 2, which the part does not have.
    Stage2Absent,
    /// EATS=0b10 (split-stage) needs Config=0b111, S2S=0 and IDR0.NS1ATS=0.
    SplitStageAts,
    /// EATS=0b01 with stage 2 and S2S=1.
    FullAtsWithStage2Stall,
    /// STRW=0bx1 is reserved.
    StreamWorldReserved,
    /// S1STALLD=1 on a part that does not let software choose.
    Stage1StallDisable,
    /// S1CDMax exceeds IDR1.SSIDSIZE.
    CdTableTooLarge,
    /// S1Fmt asks for a two-level CD table.
    TwoLevelCdTable,
    /// S1ContextPtr lies beyond the physical (stage 1 only) or intermediate (nested) address size.
    S1ContextPtrRange,
    /// S2S=1 on a part that only terminates.
    Stage2StallForbidden,
    /// S2S=0 on a part that always stalls.
    Stage2StallRequired,
    /// S2AA64=0 selects VMSAv8-32 LPAE tables.
    Stage2Lpae,
    /// S2HA or S2HD set without hardware update.
    Stage2HttuAbsent,
    /// S2HD set without hardware update of dirty state.
    Stage2DirtyAbsent,
    /// S2HAFT=1 with S2HA=0.
    Stage2HaftWithoutHa,
    /// S2TG is reserved or names a granule the part does not have.
    Stage2Granule,
    /// S2TTB lies beyond the stage-2 output size, or beyond 48 bits without S2DS.
    S2TtbRange,
    /// S2T0SZ lies outside the legal range.
    S2T0SzRange,
    /// S2SL0 is reserved, does not fit S2T0SZ, or starts at a level not permitted for the PA size.
    Stage2StartLevel,
    /// S2ENDI asks for a byte order the part does not have.
    Stage2Endianness,
    /// S2VMID\[15:8\] must be zero.
    VmidRange,
}

impl IllegalSte {
    /// Every rule, in the order of the list.
    pub const ALL: [Self; 22] = [
        Self::NotValid,
        Self::Stage1Absent,
        Self::Stage2Absent,
        Self::SplitStageAts,
        Self::FullAtsWithStage2Stall,
        Self::StreamWorldReserved,
        Self::Stage1StallDisable,
        Self::CdTableTooLarge,
        Self::TwoLevelCdTable,
        Self::S1ContextPtrRange,
        Self::Stage2StallForbidden,
        Self::Stage2StallRequired,
        Self::Stage2Lpae,
        Self::Stage2HttuAbsent,
        Self::Stage2DirtyAbsent,
        Self::Stage2HaftWithoutHa,
        Self::Stage2Granule,
        Self::S2TtbRange,
        Self::S2T0SzRange,
        Self::Stage2StartLevel,
        Self::Stage2Endianness,
        Self::VmidRange,
    ];

    #[expect(clippy::too_many_lines, reason = "one row a rule")]
    const fn row(self) -> (u8, &'static str, &'static str, &'static str) {
        match self {
            Self::NotValid => (1, "V", "V=0", "—"),
            Self::Stage1Absent => (
                2,
                "Config",
                "Config enables stage 1, which the part does not have",
                "IDR0.S1P",
            ),
            Self::Stage2Absent => (
                3,
                "Config",
                "Config enables stage 2, which the part does not have",
                "IDR0.S2P",
            ),
            Self::SplitStageAts => (
                6,
                "EATS",
                "EATS=0b10 (split-stage) needs Config=0b111, S2S=0 and IDR0.NS1ATS=0",
                "IDR0.ATS, IDR0.NS1ATS",
            ),
            Self::FullAtsWithStage2Stall => {
                (7, "EATS", "EATS=0b01 with stage 2 and S2S=1", "IDR0.ATS")
            }
            Self::StreamWorldReserved => (10, "STRW", "STRW=0bx1 is reserved", "IDR0.Hyp"),
            Self::Stage1StallDisable => (
                12,
                "S1STALLD",
                "S1STALLD=1 on a part that does not let software choose",
                "IDR0.STALL_MODEL",
            ),
            Self::CdTableTooLarge => (
                13,
                "S1CDMax",
                "S1CDMax exceeds IDR1.SSIDSIZE",
                "IDR1.SSIDSIZE",
            ),
            Self::TwoLevelCdTable => (
                14,
                "S1Fmt",
                "S1Fmt asks for a two-level CD table",
                "IDR0.CD2L",
            ),
            Self::S1ContextPtrRange => (
                15,
                "S1ContextPtr",
                "S1ContextPtr lies beyond the physical (stage 1 only) or intermediate (nested) address size",
                "IDR5.OAS",
            ),
            Self::Stage2StallForbidden => (
                17,
                "S2S",
                "S2S=1 on a part that only terminates",
                "IDR0.STALL_MODEL",
            ),
            Self::Stage2StallRequired => (
                18,
                "S2S",
                "S2S=0 on a part that always stalls",
                "IDR0.STALL_MODEL",
            ),
            Self::Stage2Lpae => (
                19,
                "S2AA64",
                "S2AA64=0 selects VMSAv8-32 LPAE tables",
                "IDR0.TTF",
            ),
            Self::Stage2HttuAbsent => (
                20,
                "S2HA",
                "S2HA or S2HD set without hardware update",
                "IDR0.HTTU",
            ),
            Self::Stage2DirtyAbsent => (
                21,
                "S2HD",
                "S2HD set without hardware update of dirty state",
                "IDR0.HTTU",
            ),
            Self::Stage2HaftWithoutHa => (22, "S2HAFT", "S2HAFT=1 with S2HA=0", "IDR0.HTTU"),
            Self::Stage2Granule => (
                23,
                "S2TG",
                "S2TG is reserved or names a granule the part does not have",
                "IDR5.GRAN4K, GRAN16K, GRAN64K",
            ),
            Self::S2TtbRange => (
                24,
                "S2TTB",
                "S2TTB lies beyond the stage-2 output size, or beyond 48 bits without S2DS",
                "IDR5.OAS",
            ),
            Self::S2T0SzRange => (
                25,
                "S2T0SZ",
                "S2T0SZ lies outside the legal range",
                "IDR5.OAS, IDR3.STT, IDR5.DS",
            ),
            Self::Stage2StartLevel => (
                26,
                "S2SL0",
                "S2SL0 is reserved, does not fit S2T0SZ, or starts at a level not permitted for the PA size",
                "IDR5.OAS, IDR5.DS, IDR3.STT",
            ),
            Self::Stage2Endianness => (
                28,
                "S2ENDI",
                "S2ENDI asks for a byte order the part does not have",
                "IDR0.TTENDIAN",
            ),
            Self::VmidRange => (31, "S2VMID", "S2VMID[15:8] must be zero", "IDR0.VMID16"),
        }
    }

    /// Number of the condition in the list.
    pub const fn number(self) -> u8 {
        self.row().0
    }

    /// The field that is wrong.
    pub const fn field(self) -> &'static str {
        self.row().1
    }

    /// What is wrong, in words.
    pub const fn reason(self) -> &'static str {
        self.row().2
    }

    /// The ID register fields that decide.
    pub const fn depends_on(self) -> &'static str {
        self.row().3
    }
}

/// Why a CD is illegal (C_BAD_CD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IllegalCd {
    /// V=0.
    NotValid,
    /// S=1 although STE.S1STALLD=1.
    StallDisabledByStream,
    /// A=0 on a part that can only abort.
    TerminateModel,
    /// S=1 on a part that only terminates.
    StallForbidden,
    /// S=0 on a part that always stalls.
    StallRequired,
    /// ENDI asks for a byte order the part does not have.
    Endianness,
    /// AA64=0 selects VMSAv8-32 LPAE tables.
    Lpae,
    /// HA or HD set without hardware update.
    HttuAbsent,
    /// HD set without hardware update of dirty state.
    DirtyAbsent,
    /// HAFT=1 with HA=0.
    HaftWithoutHa,
    /// ASID\[15:8\] must be zero.
    AsidRange,
    /// T0SZ lies outside the legal range.
    T0SzRange,
    /// T1SZ lies outside the legal range.
    T1SzRange,
    /// TG0 is reserved or names a granule the part does not have.
    Granule0,
    /// TG1 is reserved or names a granule the part does not have.
    Granule1,
    /// TTB0 lies beyond IPS, or beyond 48 bits without DS.
    Ttb0Range,
    /// TTB1 lies beyond IPS, or beyond 48 bits without DS.
    Ttb1Range,
}

impl IllegalCd {
    /// Every rule, in the order of the list.
    pub const ALL: [Self; 17] = [
        Self::NotValid,
        Self::StallDisabledByStream,
        Self::TerminateModel,
        Self::StallForbidden,
        Self::StallRequired,
        Self::Endianness,
        Self::Lpae,
        Self::HttuAbsent,
        Self::DirtyAbsent,
        Self::HaftWithoutHa,
        Self::AsidRange,
        Self::T0SzRange,
        Self::T1SzRange,
        Self::Granule0,
        Self::Granule1,
        Self::Ttb0Range,
        Self::Ttb1Range,
    ];

    const fn row(self) -> (u8, &'static str, &'static str, &'static str) {
        match self {
            Self::NotValid => (1, "V", "V=0", "—"),
            Self::StallDisabledByStream => (2, "S", "S=1 although STE.S1STALLD=1", "—"),
            Self::TerminateModel => (
                3,
                "A",
                "A=0 on a part that can only abort",
                "IDR0.TERM_MODEL",
            ),
            Self::StallForbidden => (
                4,
                "S",
                "S=1 on a part that only terminates",
                "IDR0.STALL_MODEL",
            ),
            Self::StallRequired => (
                4,
                "S",
                "S=0 on a part that always stalls",
                "IDR0.STALL_MODEL",
            ),
            Self::Endianness => (
                5,
                "ENDI",
                "ENDI asks for a byte order the part does not have",
                "IDR0.TTENDIAN",
            ),
            Self::Lpae => (
                6,
                "AA64",
                "AA64=0 selects VMSAv8-32 LPAE tables",
                "IDR0.TTF",
            ),
            Self::HttuAbsent => (8, "HA", "HA or HD set without hardware update", "IDR0.HTTU"),
            Self::DirtyAbsent => (
                8,
                "HD",
                "HD set without hardware update of dirty state",
                "IDR0.HTTU",
            ),
            Self::HaftWithoutHa => (8, "HAFT", "HAFT=1 with HA=0", "IDR0.HTTU"),
            Self::AsidRange => (9, "ASID", "ASID[15:8] must be zero", "IDR0.ASID16"),
            Self::T0SzRange => (
                10,
                "T0SZ",
                "T0SZ lies outside the legal range",
                "IDR5.VAX, IDR3.STT, IDR5.DS",
            ),
            Self::T1SzRange => (
                10,
                "T1SZ",
                "T1SZ lies outside the legal range",
                "IDR5.VAX, IDR3.STT, IDR5.DS",
            ),
            Self::Granule0 => (
                11,
                "TG0",
                "TG0 is reserved or names a granule the part does not have",
                "IDR5.GRAN4K, GRAN16K, GRAN64K",
            ),
            Self::Granule1 => (
                11,
                "TG1",
                "TG1 is reserved or names a granule the part does not have",
                "IDR5.GRAN4K, GRAN16K, GRAN64K",
            ),
            Self::Ttb0Range => (
                12,
                "TTB0",
                "TTB0 lies beyond IPS, or beyond 48 bits without DS",
                "IDR5.OAS",
            ),
            Self::Ttb1Range => (
                12,
                "TTB1",
                "TTB1 lies beyond IPS, or beyond 48 bits without DS",
                "IDR5.OAS",
            ),
        }
    }

    /// Number of the condition in the list.
    pub const fn number(self) -> u8 {
        self.row().0
    }

    /// The field that is wrong.
    pub const fn field(self) -> &'static str {
        self.row().1
    }

    /// What is wrong, in words.
    pub const fn reason(self) -> &'static str {
        self.row().2
    }

    /// The ID register fields that decide.
    pub const fn depends_on(self) -> &'static str {
        self.row().3
    }
}

impl RuleList for IllegalSte {
    const RULES: &'static [Self] = &Self::ALL;

    #[inline(always)]
    fn index(self) -> u32 {
        self as u32
    }
}

impl RuleList for IllegalCd {
    const RULES: &'static [Self] = &Self::ALL;

    #[inline(always)]
    fn index(self) -> u32 {
        self as u32
    }
}

const _: () = assert!(IllegalSte::ALL.len() <= 32 && IllegalCd::ALL.len() <= 32);

#[cfg(test)]
mod tests {
    use super::{IllegalCd, IllegalSte, RuleList};

    #[test]
    fn every_rule_stands_at_its_index() {
        for (i, rule) in (0..).zip(IllegalSte::ALL) {
            assert_eq!(rule.index(), i);
        }
        for (i, rule) in (0..).zip(IllegalCd::ALL) {
            assert_eq!(rule.index(), i);
        }
    }
}

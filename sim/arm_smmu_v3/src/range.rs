//! Address ranges as invalidation commands: NUM, SCALE, TG, TTL of TLBI
//! (`__arm_smmu_tlb_inv_range`), Size of ATC_INV (`arm_smmu_atc_inv_to_cmd`).

use iommu_core::KernelBug;
use iommu_core::semantics::InvalidationRange;

use crate::command::{ATC_SIZE_ALL_LOG2, Reach, TlbiRange};

/// `CMDQ_TLBI_RANGE_NUM_MAX`.
const NUM_MAX: u64 = 31;

/// What to invalidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlbSpan {
    /// First address.
    pub iova: u64,
    /// Bytes, not 0.
    pub size: u64,
    /// Bytes of a leaf.
    pub granule: u64,
    /// How deep.
    pub reach: Reach,
}

/// How an SMMU is told about ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeForm {
    /// One command for each granule.
    Single,
    /// Range fields, in pages of this size, a power of two of bytes.
    Range {
        /// Smallest page of the domain.
        page_log2: u32,
        /// When TTL is given.
        ttl: InvalidationRange,
    },
}

/// The commands' ranges that cover a span, in order. An iterator, so that 16 million of them need
/// no memory.
#[derive(Debug, Clone)]
pub struct TlbRanges {
    span: TlbSpan,
    form: RangeForm,
    at: u64,
    /// Bytes not covered yet.
    left: u64,
    pages: u64,
}

/// A loop of the kernel that does not end.
pub const ENDLESS_RANGE: KernelBug = KernelBug {
    at: "__arm_smmu_tlb_inv_range",
    what: "no page is left to invalidate, but bytes are: the loop does not end",
};

impl TlbRanges {
    /// The ranges of a span.
    pub fn new(span: TlbSpan, form: RangeForm) -> Self {
        let mut pages = 0;
        if let RangeForm::Range { page_log2, ttl } = form {
            pages = span.size >> page_log2;
            let leaf_only = ttl == InvalidationRange::TtlLeafOnly;
            // TG without TTL, NUM and SCALE is an illegal command: ask for a page more.
            if leaf_only && span.reach == Reach::Walk && pages & NUM_MAX == 1 {
                pages += 1;
            }
        }
        Self {
            span,
            form,
            at: span.iova,
            left: span.size,
            pages,
        }
    }

    fn step(&mut self, page_log2: u32, ttl: InvalidationRange) -> (TlbiRange, u64) {
        let scale = self.pages.trailing_zeros();
        let count = self.pages >> scale & NUM_MAX;
        self.pages -= count << scale;
        let leaf = self.span.reach == Reach::Leaf;
        let ttl = if leaf || ttl == InvalidationRange::TtlAlways {
            4 - (self.span.granule.trailing_zeros() - 3) / (page_log2 - 3)
        } else {
            0
        };
        let range = TlbiRange {
            address: self.at & !0xfff,
            tg: ((page_log2 - 10) / 2) as u8,
            ttl: ttl as u8 & 3,
            num: (count - 1) as u8,
            scale: scale as u8,
            reach: self.span.reach,
        };
        (range, count << (scale + page_log2))
    }
}

impl Iterator for TlbRanges {
    type Item = Result<TlbiRange, KernelBug>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let (range, bytes) = match self.form {
            RangeForm::Range { page_log2, ttl } => {
                if self.pages == 0 {
                    self.left = 0;
                    return Some(Err(ENDLESS_RANGE));
                }
                self.step(page_log2, ttl)
            }
            RangeForm::Single => {
                if self.span.granule == 0 {
                    self.left = 0;
                    return Some(Err(ENDLESS_RANGE));
                }
                let range = TlbiRange {
                    address: self.at & !0xfff,
                    tg: 0,
                    ttl: 0,
                    num: 0,
                    scale: 0,
                    reach: self.span.reach,
                };
                (range, self.span.granule)
            }
        };
        self.at = self.at.wrapping_add(bytes);
        self.left = self.left.saturating_sub(bytes);
        Some(Ok(range))
    }
}

/// First address and log2 of the 4 KiB pages of the smallest aligned power of two that contains
/// `[iova, iova + size)`; everything if `size` is 0.
pub fn atc_range(iova: u64, size: u64) -> (u64, u8) {
    if size == 0 {
        return (0, ATC_SIZE_ALL_LOG2);
    }
    let first = iova >> 12;
    let last = iova.wrapping_add(size - 1) >> 12;
    let span_log2 = 64 - (first ^ last).leading_zeros();
    let start = first
        & !(u64::MAX
            .checked_shl(span_log2)
            .map_or(u64::MAX, |above| !above));
    (start << 12, span_log2 as u8)
}

#[cfg(test)]
mod tests {
    use super::{RangeForm, TlbRanges, TlbSpan, atc_range};
    use crate::command::Reach;
    use iommu_core::semantics::InvalidationRange;
    use proptest::prelude::*;

    fn forms() -> impl Strategy<Value = (u32, InvalidationRange)> {
        (
            prop::sample::select(vec![12, 14, 16]),
            prop::sample::select(vec![
                InvalidationRange::TtlAlways,
                InvalidationRange::TtlLeafOnly,
            ]),
        )
    }

    proptest! {
        // linux-iommu.md 4.7: P113.
        #[test]
        fn p113_ranges_cover_the_span_exactly(
            (page_log2, ttl) in forms(),
            first in 0u64..1 << 30,
            pages in 1u64..1 << 22,
            reach in prop::sample::select(vec![Reach::Leaf, Reach::Walk]),
        ) {
            let span = TlbSpan {
                iova: first << page_log2,
                size: pages << page_log2,
                granule: 1 << page_log2,
                reach,
            };
            let ranges: Vec<_> = TlbRanges::new(span, RangeForm::Range { page_log2, ttl })
                .collect::<Result<_, _>>()
                .unwrap();
            let mut at = span.iova;
            let mut scale_before = None;
            for range in &ranges {
                prop_assert_eq!(range.address, at);
                prop_assert!(range.num <= 31 && range.scale <= 31);
                prop_assert_eq!(u32::from(range.tg), (page_log2 - 10) / 2);
                // Each range takes the lowest bits that are left: the scale only grows.
                prop_assert!(scale_before.is_none_or(|before| before < range.scale));
                scale_before = Some(range.scale);
                at += (u64::from(range.num) + 1) << (u32::from(range.scale) + page_log2);
                // TG without NUM, SCALE and TTL is CERROR_ILL (IHI 0070 §4.4.1).
                prop_assert!(range.num != 0 || range.scale != 0 || range.ttl != 0 || range.tg == 0);
            }
            let more = ttl == InvalidationRange::TtlLeafOnly
                && reach == Reach::Walk
                && pages % 32 == 1;
            let extra = if more { 1 << page_log2 } else { 0 };
            // The loop ends once the span is covered, so the page more may need no command.
            prop_assert!(at == span.iova + span.size || at == span.iova + span.size + extra);
        }

        // linux-iommu.md 4.7: P113, without range invalidation.
        #[test]
        fn p113_without_ranges_each_granule_has_a_command(
            first in 0u64..1 << 30, pages in 1u64..600,
        ) {
            let span = TlbSpan {
                iova: first << 12,
                size: pages << 12,
                granule: 4096,
                reach: Reach::Leaf,
            };
            let addresses: Vec<u64> = TlbRanges::new(span, RangeForm::Single)
                .map(|range| range.unwrap().address)
                .collect();
            let expected: Vec<u64> = (first..first + pages).map(|page| page << 12).collect();
            prop_assert_eq!(addresses, expected);
        }

        // linux-iommu.md 4.7: P114.
        #[test]
        fn p114_an_atc_range_is_an_aligned_power_of_two_around_the_span(
            a in any::<u64>(), b in any::<u64>(),
        ) {
            let (first, last) = (a.min(b), a.max(b));
            let Some(size) = (last - first).checked_add(1) else { return Ok(()) };
            let (address, size_log2) = atc_range(first, size);
            let bytes_log2 = u32::from(size_log2) + 12;
            let end = u128::from(address) + (1u128 << bytes_log2);
            prop_assert!(size_log2 <= 52);
            prop_assert_eq!(u128::from(address) % (1 << bytes_log2), 0);
            prop_assert!(address <= first && u128::from(last) < end);
            // Half of it would not do.
            let half = 1u128 << (bytes_log2 - 1);
            prop_assert!(size_log2 == 0 || u128::from(first) / half != u128::from(last) / half);
        }
    }

    // linux-iommu.md 4.7: atc.size 52 is everything.
    #[test]
    fn an_atc_range_of_size_0_is_everything() {
        assert_eq!(atc_range(0x1234_5000, 0), (0, 52));
    }

    // linux-iommu.md D14, R:Kunkun-05.
    #[test]
    fn a_span_smaller_than_a_page_is_a_loop_that_never_ends() {
        let span = TlbSpan {
            iova: 0,
            size: 3000,
            granule: 3000,
            reach: Reach::Leaf,
        };
        let form = RangeForm::Range {
            page_log2: 12,
            ttl: InvalidationRange::TtlLeafOnly,
        };
        let all: Vec<_> = TlbRanges::new(span, form).collect();
        assert_eq!(all, [Err(super::ENDLESS_RANGE)]);
    }
}

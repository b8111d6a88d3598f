//! The addresses a container may map: what its domains can translate, less what is reserved.

use iommu_core::ops::{ResvRegion, ResvType};
use iommu_core::{Errno, Iova};

/// A range of addresses, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IovaRange {
    /// First.
    pub start: u64,
    /// Last.
    pub end: u64,
}

/// Sorted ranges; empty means no restriction at all (`struct vfio_iommu.iova_list`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IovaList(Vec<IovaRange>);

impl IovaList {
    /// The ranges.
    pub fn ranges(&self) -> &[IovaRange] {
        &self.0
    }

    /// First and last address of all.
    pub fn bounds(&self) -> Option<IovaRange> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some(IovaRange {
            start: first.start,
            end: last.end,
        })
    }

    /// Whether `[start, end]` may be mapped: it lies in one range, or there is no restriction
    /// (`vfio_iommu_iova_dma_valid()`).
    pub fn allows(&self, start: u64, end: u64) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|range| start >= range.start && end <= range.end)
    }

    /// Cuts the list to `[start, end]`; an empty list becomes that range
    /// (`vfio_iommu_aper_resize()`).
    pub fn resize(&mut self, start: u64, end: u64) {
        if self.0.is_empty() {
            self.0.push(IovaRange { start, end });
            return;
        }
        // A range that consists of the new start alone goes as well: the kernel compares with <.
        let keep = self
            .0
            .iter()
            .position(|range| start < range.end || start < range.start)
            .unwrap_or(self.0.len());
        self.0.drain(..keep);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(start);
        }
        self.0.retain_mut(|range| {
            if end <= range.start && end < range.end {
                return false;
            }
            range.end = range.end.min(end);
            true
        });
    }

    /// Takes reserved regions out (`vfio_iommu_resv_exclude()`).
    ///
    /// # Errors
    /// EINVAL: nothing is left.
    pub fn exclude(&mut self, regions: &[ResvRegion]) -> Result<(), Errno> {
        for region in regions {
            if region.kind == ResvType::DirectRelaxable {
                continue;
            }
            let (Iova(start), Iova(end)) = (region.start, region.end());
            let mut cut = Vec::with_capacity(self.0.len() + 1);
            for range in &self.0 {
                if start > range.end || end < range.start {
                    cut.push(*range);
                    continue;
                }
                if start > range.start {
                    cut.push(IovaRange {
                        start: range.start,
                        end: start - 1,
                    });
                }
                if end < range.end {
                    cut.push(IovaRange {
                        start: end + 1,
                        end: range.end,
                    });
                }
            }
            self.0 = cut;
        }
        if self.0.is_empty() {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }

    /// Moves the outer ends (`vfio_iommu_aper_expand()`).
    pub fn stretch(&mut self, start: u64, end: u64) {
        if let Some(first) = self.0.first_mut() {
            first.start = start;
        }
        if let Some(last) = self.0.last_mut() {
            last.end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IovaList, IovaRange};
    use iommu_core::ops::{ResvRegion, ResvType};
    use iommu_core::{Errno, Iova};

    fn list(ranges: &[(u64, u64)]) -> IovaList {
        let range = |(start, end): &(u64, u64)| IovaRange {
            start: *start,
            end: *end,
        };
        IovaList(ranges.iter().map(range).collect())
    }

    fn region(start: u64, length: u64, kind: ResvType) -> ResvRegion {
        ResvRegion {
            start: Iova(start),
            length,
            kind,
        }
    }

    #[test]
    fn clamping_trims_and_deletes_at_both_ends() {
        let mut ranges = list(&[(0, 9), (20, 29), (40, 49)]);
        ranges.resize(5, 44);
        assert_eq!(ranges, list(&[(5, 9), (20, 29), (40, 44)]));
        ranges.resize(20, 40);
        assert_eq!(ranges, list(&[(20, 29)]));
        let mut empty = IovaList::default();
        empty.resize(3, 7);
        assert_eq!(empty, list(&[(3, 7)]));
    }

    #[test]
    fn p74_reserved_regions_over_the_whole_aperture_are_refused() {
        let mut ranges = list(&[(0, 0xffff)]);
        let all = region(0, 0x10000, ResvType::Reserved);
        assert_eq!(ranges.exclude(&[all]), Err(Errno::EINVAL));
        let mut ranges = list(&[(0, 0xffff)]);
        let relaxable = region(0, 0x10000, ResvType::DirectRelaxable);
        assert_eq!(ranges.exclude(&[relaxable]), Ok(()));
        assert_eq!(ranges, list(&[(0, 0xffff)]));
        ranges
            .exclude(&[region(0x1000, 0x1000, ResvType::SwMsi)])
            .unwrap();
        assert_eq!(ranges, list(&[(0, 0xfff), (0x2000, 0xffff)]));
    }

    #[test]
    fn a_range_must_not_straddle_two_nodes_even_if_they_touch() {
        let ranges = list(&[(0, 9), (10, 19)]);
        assert!(ranges.allows(0, 9) && ranges.allows(10, 19));
        assert!(!ranges.allows(9, 10));
        assert!(IovaList::default().allows(0, u64::MAX));
    }
}

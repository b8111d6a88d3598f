//! Reserved regions of a group (`iommu_get_group_resv_regions()`).

use crate::ops::ResvRegion;

/// Adds `new` to `regions`, which stay sorted by start and type; regions of one type that overlap
/// or touch become one (`iommu_insert_resv_region()`).
pub fn insert_resv_region(new: ResvRegion, regions: &mut Vec<ResvRegion>) {
    let at = regions.partition_point(|old| {
        old.start < new.start || (old.start == new.start && old.kind <= new.kind)
    });
    regions.insert(at, new);

    let mut merged: Vec<ResvRegion> = Vec::with_capacity(regions.len());
    for region in regions.drain(..) {
        // Regions of other types may lie between two of one type.
        let same = merged
            .iter_mut()
            .rev()
            .find(|old| old.kind == region.kind)
            .filter(|old| region.start.0 <= old.end().0.saturating_add(1));
        match same {
            None => merged.push(region),
            Some(old) => {
                let end = old.end().max(region.end());
                old.length = (end.0 - old.start.0) + 1;
            }
        }
    }
    *regions = merged;
}

#[cfg(test)]
mod tests {
    use super::insert_resv_region;
    use crate::Iova;
    use crate::ops::{ResvRegion, ResvType};

    fn region(start: u64, length: u64, kind: ResvType) -> ResvRegion {
        ResvRegion {
            start: Iova(start),
            length,
            kind,
        }
    }

    #[test]
    fn regions_of_one_type_merge_when_they_touch_and_others_do_not() {
        use ResvType::{Direct, SwMsi};
        let mut regions = Vec::new();
        for new in [
            region(0x3000, 0x1000, Direct),
            region(0x1000, 0x1000, Direct),
            region(0x1800, 0x100, SwMsi),
            region(0x2000, 0x1000, Direct),
            region(0x8000, 0x1000, Direct),
        ] {
            insert_resv_region(new, &mut regions);
        }
        assert_eq!(
            regions,
            [
                region(0x1000, 0x3000, Direct),
                region(0x1800, 0x100, SwMsi),
                region(0x8000, 0x1000, Direct),
            ]
        );
    }

    #[test]
    fn a_region_inside_another_of_its_type_changes_nothing() {
        let mut regions = vec![region(0, 0x10000, ResvType::Reserved)];
        insert_resv_region(region(0x1000, 0x1000, ResvType::Reserved), &mut regions);
        assert_eq!(regions, [region(0, 0x10000, ResvType::Reserved)]);
    }
}

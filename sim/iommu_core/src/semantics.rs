//! How the software behaves where published versions differ: one plain value, with named presets.
//!
//! Every layer asks this value; each difference is decided at one place. [`SWITCHES`] lists them
//! with the property that shows each.

mod core;
mod defect;
mod driver;
mod series;
mod table;
mod vfio;

pub use self::core::{AttachUnwind, CoreRules, DomainAlloc, MapShape, Ownership};
pub use defect::{Defect, Defects};
pub use driver::{
    AttachOrder, BlockSplit, Concatenation, DriverRules, EntryWriter, EventReports, FreedTable,
    Invalidation, InvalidationRange, NoAccess, SidConflict, ZeroSize,
};
pub use series::{LaterGroup, MsiBinding, PasidPolicy, Series, SeriesIo, SeriesVfio};
pub use table::{SWITCHES, Switch};
pub use vfio::{
    CapabilityPadding, Coherency, FineSuperpages, GroupLayer, Iommufd, LateAttachFailure,
    NestingType, PinFailure, ReadOnlyPin, RegionSearch, UserVaddr, VfioRules,
};

/// A published kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// 5.10 stable (5.10.262): the base of the nested-stage series.
    V5_10,
    /// 6.1 stable (6.1.192).
    V6_1,
    /// 6.12 stable (6.12.117).
    V6_12,
    /// 7.2 stable (7.2.13).
    V7_2,
}

impl Kernel {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7_2];
}

/// One version of all the software that drives an IOMMU.
///
/// A value, not a set of flags to be interpreted by version: the presets fill it, and any field may
/// then be changed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semantics {
    /// Attach, detach, ownership, map and unmap.
    pub core: CoreRules,
    /// The user API.
    pub vfio: VfioRules,
    /// The SMMUv3 driver.
    pub driver: DriverRules,
    /// The nested-stage series, if its patches are applied.
    pub series: Option<Series>,
    /// Which of the series' known defects are present.
    pub defects: Defects,
}

impl Semantics {
    /// A kernel as released, without the series.
    pub const fn kernel(kernel: Kernel) -> Self {
        Self {
            core: CoreRules::kernel(kernel),
            vfio: VfioRules::kernel(kernel),
            driver: DriverRules::kernel(kernel),
            series: None,
            defects: Defects::NONE,
        }
    }

    /// The series as posted, on 5.10: VFIO half `vfio` with the IOMMU half it was built on.
    pub const fn as_posted(vfio: SeriesVfio) -> Self {
        let io = match vfio {
            SeriesVfio::V11 => SeriesIo::V12,
            SeriesVfio::V12 => SeriesIo::V14,
            SeriesVfio::V13 => SeriesIo::V15,
        };
        Self::posted_pair(vfio, io)
    }

    /// Any VFIO half on any IOMMU half, with the defects of the two.
    pub const fn posted_pair(vfio: SeriesVfio, io: SeriesIo) -> Self {
        Self {
            series: Some(Series::new(vfio, io)),
            defects: Defects::posted(vfio, io),
            ..Self::kernel(Kernel::V5_10)
        }
    }

    /// Our own answer: the interface of v13, without its defects. SET is transactional over the
    /// domain list, later domains receive the table, invalidation is scoped, nothing leaks.
    pub const fn fixed() -> Self {
        Self {
            series: Some(Series {
                msi: MsiBinding::ByIoctl,
                ..Series::new(SeriesVfio::V13, SeriesIo::V16)
            }),
            defects: Defects::NONE,
            driver: DriverRules::fixed(),
            core: CoreRules::fixed(),
            vfio: VfioRules::fixed(),
        }
    }

    /// Whether a defect is present.
    #[inline]
    pub const fn has(&self, defect: Defect) -> bool {
        self.defects.contains(defect)
    }

    /// The IOMMU half of the series, if applied.
    pub const fn io(&self) -> Option<SeriesIo> {
        match &self.series {
            Some(series) => Some(series.io),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, Kernel, Semantics, SeriesIo, SeriesVfio};

    #[test]
    fn released_kernels_carry_no_defect_of_the_series() {
        for kernel in Kernel::ALL {
            let semantics = Semantics::kernel(kernel);
            assert!(Defect::ALL.iter().all(|defect| !semantics.has(*defect)));
            assert_eq!(semantics.io(), None);
        }
        assert!(Defect::ALL.iter().all(|d| !Semantics::fixed().has(*d)));
    }

    #[test]
    fn each_posted_pair_has_the_defects_of_its_halves() {
        let v11 = Semantics::as_posted(SeriesVfio::V11);
        assert_eq!(v11.io(), Some(SeriesIo::V12));
        assert!(v11.has(Defect::UnwindAborts) && v11.has(Defect::UnknownFlagsAccepted));
        let v13 = Semantics::as_posted(SeriesVfio::V13);
        assert_eq!(v13.io(), Some(SeriesIo::V15));
        assert!(!v13.has(Defect::UnwindAborts) && !v13.has(Defect::UnknownFlagsAccepted));
        assert!(v13.has(Defect::FailedSetDetaches));
    }
}

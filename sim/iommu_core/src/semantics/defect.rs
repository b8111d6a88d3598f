//! Defects visible in the posted code, each a switch.

use super::{SeriesIo, SeriesVfio};

macro_rules! defects {
    ($($name:ident = $number:literal, $what:literal, $property:literal;)*) => {
        /// A defect of the posted series, numbered as in the review notes (D1…D29); D30 we found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Defect {
            $(#[doc = concat!("D", $number, ": ", $what)] $name = $number,)*
        }

        impl Defect {
            /// All, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Number of the defect: 7 for D7.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// What it does.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }

            /// The property or test that shows it.
            pub const fn shown_by(self) -> &'static str {
                match self {
                    $(Self::$name => $property,)*
                }
            }
        }
    };
}

defects! {
    FailedSetDetaches = 1, "a failed SET leaves earlier domains detached instead of as they were", "P37, P39";
    UnwindAborts = 2, "the unwind of a failed SET leaves earlier domains aborting", "P37";
    ConfigReadPerDomain = 3, "the configuration is read from user memory once for each domain", "P33, P40";
    OuterSizeUnchecked = 4, "the outer argsz is not related to the configuration's size", "P6";
    UnknownFlagsAccepted = 5, "unknown flag bits beside SET or UNSET are accepted", "P5";
    UnsetCannotFail = 6, "UNSET reports success whatever happened", "P42";
    LaterDomainsMissTable = 7, "a domain created after SET has no table", "P39, P41";
    InvalidateMasksErrors = 8, "CACHE_INVALIDATE reports the last domain's result only and repeats the command for each device", "P47, P48";
    ConfigRangeUnchecked = 9, "the core's check of the configuration can never be true", "P10";
    AsidInvalidationLost = 10, "NH_ASID is built but never queued", "P49";
    ErrorAfterSideEffect = 11, "-ENOENT after the IOTLB was invalidated", "P50";
    GlobalInvalidationUnscoped = 12, "a guest's global invalidation is NSNH_ALL: other VMs' entries go too", "P51";
    SizeShifted = 13, "an unsupported granule makes the invalidated size too small", "P54";
    GranuleUnchecked = 14, "granule 0, size 0 and overflow are not refused", "P52, P53";
    CombinedEntriesStay = 15, "unmapping stage 2 leaves combined entries and ATC entries of guest addresses", "P115";
    NoInvalidationOnSet = 16, "SET and UNSET invalidate no translation", "P26, P27";
    StaleStage1Fields = 17, "an STE that becomes stage 2 only keeps its stage-1 fields", "P28";
    SharedSidRewritten = 18, "a second master with the same StreamID first detaches the first's STE", "d18_the_second_device_detaches_the_stream_of_the_first_and_set_finds_stage_1_live";
    VmidLeaks = 19, "a nested attach failing after finalisation leaks the VMID (IO12: the stage-1 configuration on free)", "P118";
    FailedAttachDetaches = 20, "a failed nested attach leaves the device detached", "P107";
    MsiUnwindRemovesOld = 21, "unwinding BIND removes an earlier binding; a duplicate BIND ignores the new gpa", "P58, P59, P60";
    BasePtrUnchecked = 22, "base_ptr is checked neither for alignment nor for range", "P16";
    FaultQueueDrops = 23, "a full fault region drops events with no sign to user space", "P65";
    RegionErrorPaths = 24, "a response region whose work item cannot be had is registered with freed memory; no work item is ever freed", "d24_a_response_region_without_its_work_item_has_freed_pages";
    IrqInfoUninitialised = 25, "GET_IRQ_INFO copies four uninitialised bytes", "d25_an_interrupt_without_capabilities_shows_four_bytes_of_stack";
    TailOvershoot = 26, "a tail beyond the head of the fault region is accepted", "P68";
    RegionIdsCollide = 27, "region type and capability numbers of v11 collide with others", "a_nested_device_has_two_regions_and_one_interrupt_more";
    FieldsUnchecked = 28, "padding, s1fmt and s1dss are not checked", "P11";
    SidTreeRefusesOwn = 29, "a master's own duplicate StreamID fails its probe, and the unwind corrupts the tree", "P29, P117";
    HostGranuleNamed = 30, "a guest's range is invalidated with the granule of the host's stage 2: entries of another granule stay, and a page smaller than the host's never ends", "a_guests_range_names_the_guests_granule";
}

/// A set of defects.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects(u32);

impl Defects {
    /// None.
    pub const NONE: Self = Self(0);

    /// Those visible in these two halves.
    pub const fn posted(vfio: SeriesVfio, io: SeriesIo) -> Self {
        use Defect as D;
        let mut set = Self::NONE
            .with(D::FailedSetDetaches)
            .with(D::ConfigReadPerDomain)
            .with(D::OuterSizeUnchecked)
            .with(D::UnsetCannotFail)
            .with(D::LaterDomainsMissTable)
            .with(D::InvalidateMasksErrors)
            .with(D::GlobalInvalidationUnscoped)
            .with(D::CombinedEntriesStay)
            .with(D::NoInvalidationOnSet)
            .with(D::StaleStage1Fields)
            .with(D::VmidLeaks)
            .with(D::FailedAttachDetaches)
            .with(D::BasePtrUnchecked)
            .with(D::FaultQueueDrops)
            .with(D::RegionErrorPaths)
            .with(D::IrqInfoUninitialised)
            .with(D::TailOvershoot)
            .with(D::FieldsUnchecked)
            .with(D::SidTreeRefusesOwn)
            .with(D::HostGranuleNamed);
        if matches!(vfio, SeriesVfio::V11) {
            set = set.with(D::UnknownFlagsAccepted).with(D::RegionIdsCollide);
        }
        if matches!(io, SeriesIo::V12) {
            set = set.with(D::ConfigRangeUnchecked);
        }
        if matches!(io, SeriesIo::V12 | SeriesIo::V13) {
            set = set
                .with(D::UnwindAborts)
                .with(D::AsidInvalidationLost)
                .with(D::ErrorAfterSideEffect);
        }
        if matches!(io, SeriesIo::V15) {
            set = set.with(D::SizeShifted);
        }
        if !matches!(io, SeriesIo::V16) {
            set = set.with(D::GranuleUnchecked).with(D::MsiUnwindRemovesOld);
        }
        set
    }

    /// This set and `defect`.
    #[must_use]
    pub const fn with(self, defect: Defect) -> Self {
        Self(self.0 | 1 << defect.number())
    }

    /// This set without `defect`.
    #[must_use]
    pub const fn without(self, defect: Defect) -> Self {
        Self(self.0 & !(1 << defect.number()))
    }

    /// Whether `defect` is in the set.
    #[inline]
    pub const fn contains(self, defect: Defect) -> bool {
        self.0 & 1 << defect.number() != 0
    }

    /// Whether the set is empty.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The defects in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        Defect::ALL
            .iter()
            .copied()
            .filter(move |defect| self.contains(*defect))
    }
}

impl std::fmt::Debug for Defects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, Defects};

    #[test]
    fn defects_are_numbered_1_to_30_and_sets_hold_each_apart() {
        assert_eq!(Defect::ALL.len(), 30);
        for (number, defect) in (1..).zip(Defect::ALL) {
            assert_eq!(defect.number(), number);
            let set = Defects::NONE.with(*defect);
            assert_eq!(set.iter().collect::<Vec<_>>(), [*defect]);
            assert_eq!(set.without(*defect), Defects::NONE);
        }
    }
}

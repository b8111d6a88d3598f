//! Versions of the nested-stage series and the policies its review asked about.

use crate::Errno;

/// Version of the VFIO half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesVfio {
    /// 2020-11-16.
    V11,
    /// 2021-02-23.
    V12,
    /// 2021-04-11.
    V13,
}

impl SeriesVfio {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V11, Self::V12, Self::V13];
}

/// Version of the IOMMU half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesIo {
    /// 2020-11-16.
    V12,
    /// 2020-11-18.
    V13,
    /// 2021-02-23.
    V14,
    /// 2021-04-11.
    V15,
    /// 2021-10-27, RFC.
    V16,
}

impl SeriesIo {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::V12, Self::V13, Self::V14, Self::V15, Self::V16];
}

/// What a group joining a container later gets under [`PasidPolicy::OneGroup`] (P45).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaterGroup {
    /// It may not join while a table is set.
    Refuse(Errno),
    /// It joins without the table.
    WithoutTable,
}

/// Who shares a PASID table: the question of the review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasidPolicy {
    /// (A) All domains of the container, as posted.
    AllDomains,
    /// (B) SET is refused unless the container holds exactly one group.
    OneGroup {
        /// The refusal; nobody proposed a number.
        refusal: Errno,
        /// A second group after SET.
        later: LaterGroup,
    },
    /// (C) Stage 2 is shared across containers: one stage-2 domain and VMID for each SMMU, and a
    /// table for each container.
    SharedStage2,
}

/// Whether a guest binds its MSI doorbells by ioctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsiBinding {
    /// By SET_MSI_BINDING (IO12 to IO15).
    ByIoctl,
    /// Not at all: the guest maps the window flat (IO16).
    Flat,
}

/// The series as applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Version of the VFIO half: ioctl numbers, flag checks, regions.
    pub vfio: SeriesVfio,
    /// Version of the IOMMU half: structure layout, checks, commands.
    pub io: SeriesIo,
    /// Who shares a table.
    pub policy: PasidPolicy,
    /// Where doorbells go.
    pub msi: MsiBinding,
}

impl Series {
    /// Two halves, with the posted policy.
    pub const fn new(vfio: SeriesVfio, io: SeriesIo) -> Self {
        Self {
            vfio,
            io,
            policy: PasidPolicy::AllDomains,
            msi: match io {
                SeriesIo::V16 => MsiBinding::Flat,
                SeriesIo::V12 | SeriesIo::V13 | SeriesIo::V14 | SeriesIo::V15 => {
                    MsiBinding::ByIoctl
                }
            },
        }
    }
}

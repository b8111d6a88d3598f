//! The type1 backend of a container: its domains, its mappings, the addresses it may map
//! (`drivers/vfio/vfio_iommu_type1.c`).

mod attach;
mod detach;
mod dirty;
mod external;
mod info;
mod ioctl;
mod iova_list;
mod map;
mod series;
mod unmap;

use std::collections::BTreeMap;

use iommu_core::ops::Prot;
use iommu_core::semantics::NestingType;
use iommu_core::uapi::PasidTableConfig;
use iommu_core::{Call, DomainId, Errno, GroupId, IommuCore, IommuOps, Paddr, Semantics};

use crate::abi::extension;
use crate::host::Host;
use crate::process::{Pid, PinMode, PinWrite};

pub(crate) use attach::interrupts_isolated;
pub(crate) use info::Caps;
pub use iova_list::{IovaList, IovaRange};
pub(crate) use map::prot_of;
pub use series::{BIND, SET, SeriesNumbers, UNBIND, UNSET};

/// What an operation works on beside the container itself.
pub(crate) struct Ctx<'a, O: IommuOps> {
    pub(crate) core: &'a mut IommuCore<O>,
    pub(crate) host: &'a mut Host,
    /// Who calls.
    pub(crate) pid: Pid,
}

impl<O: IommuOps> Ctx<'_, O> {
    #[inline]
    pub(crate) fn step(&mut self, name: &'static str, natural: Errno) -> Result<(), Errno> {
        self.core.ops_mut().control_mut().step(name, natural)
    }

    pub(crate) fn semantics(&self) -> &Semantics {
        &self.core.ops().control().semantics
    }

    /// How memory is pinned for devices that may do this.
    #[inline]
    pub(crate) fn pin_mode(&self, prot: Prot) -> PinMode {
        PinMode {
            write: if prot.contains(Prot::WRITE) {
                PinWrite::Yes
            } else {
                PinWrite::No
            },
            read_only: self.semantics().vfio.read_only_pin,
            zero_frame: self.host.zero_frame().0,
            page_size: self.host.page_size(),
        }
    }

    /// Unpins a run of pages; how many of them were counted.
    #[inline]
    pub(crate) fn unpin_run(&mut self, paddr: Paddr, pages: u64) -> u64 {
        let unlocked = self.host.unpin(paddr, pages);
        self.core.ops_mut().control_mut().journal.note(|| Call {
            op: "vfio:unpin",
            device: None,
            domain: None,
            address: paddr.0,
            size: pages,
            result: Ok(unlocked),
        });
        unlocked
    }
}

/// First or second version: what UNMAP may do to mappings, and what is supported at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `VFIO_TYPE1_IOMMU`.
    V1,
    /// `VFIO_TYPE1v2_IOMMU`.
    V2,
}

/// Whether the container's domains are stage 2 under somebody else's stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// Ordinary domains.
    Off,
    /// `VFIO_TYPE1_NESTING_IOMMU`.
    On,
}

/// Where a mapping's user address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaddrState {
    /// Usable.
    Valid,
    /// Withdrawn by UNMAP_DMA with flag VADDR.
    Withdrawn,
}

/// Whether a mapping is in the container's domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// Only remembered: the container has had no IOMMU domain.
    No,
    /// In every domain, all pages pinned.
    Yes,
}

/// A page pinned by a device that needs no IOMMU (`struct vfio_pfn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ExternalPin {
    paddr: Paddr,
    count: u32,
}

/// One mapping (`struct vfio_dma`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dma {
    size: u64,
    vaddr: u64,
    prot: Prot,
    mapped: Mapped,
    /// CAP_IPC_LOCK when it was mapped: the limit does not count.
    lock_cap: LockCap,
    pid: Pid,
    vaddr_state: VaddrState,
    /// Pages charged for it.
    locked: i64,
    /// Externally pinned pages, by address.
    pinned: BTreeMap<u64, ExternalPin>,
    /// Dirty bits, if tracked; one word longer than needed, as shifting wants.
    bitmap: Option<Vec<u64>>,
}

impl Dma {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Address in the process.
    pub fn vaddr(&self) -> u64 {
        self.vaddr
    }

    /// What the device may do.
    pub fn prot(&self) -> Prot {
        self.prot
    }

    /// Whether it is in the domains.
    pub fn mapped(&self) -> Mapped {
        self.mapped
    }

    /// Whether its user address is usable.
    pub fn vaddr_state(&self) -> VaddrState {
        self.vaddr_state
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockCap {
    Unlimited,
    Limited,
}

/// A group in a domain (`struct vfio_iommu_group`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    group: GroupId,
    /// It has never pinned pages itself: all of memory counts as dirty.
    scope: DirtyScope,
}

/// What a group may have made dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirtyScope {
    Everything,
    PinnedOnly,
}

/// Whether pages are unmapped one by one, as larger entries could not be cut (`fgsp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FineGrained {
    /// Run by run.
    No,
    /// Page by page: runs use large pages only where both addresses allow it.
    Yes,
}

/// A domain of the container (`struct vfio_domain`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Type1Domain {
    domain: DomainId,
    /// Newest first.
    members: Vec<Member>,
    fine: FineGrained,
    /// 5.10: whether mappings are coherent; later: whether coherency is enforced.
    coherent: Coherent,
    /// The guest's stage 1, as last set; kept without defect D7 or D1 only.
    pasid: Option<PasidTableConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coherent {
    No,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tracking {
    Off,
    On,
}

/// Whether a group has an IOMMU of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// Behind an IOMMU.
    Iommu,
    /// A mediated device: its driver pins the pages it uses.
    Emulated,
}

/// The backend of a container (`struct vfio_iommu`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type1 {
    version: Version,
    nesting: Nesting,
    /// Newest first.
    domains: Vec<Type1Domain>,
    emulated: Vec<Member>,
    iova_list: IovaList,
    /// By address, never overlapping.
    dma: BTreeMap<u64, Dma>,
    dma_avail: u32,
    pgsize_bitmap: u64,
    tracking: Tracking,
    /// Groups that may have written anywhere.
    non_pinned_groups: u32,
    vaddr_invalid: u32,
    /// The guest's stage 1, as last set; kept without defect D7 only.
    pasid: Option<PasidTableConfig>,
}

impl Type1 {
    /// Opens the backend for SET_IOMMU's `arg` (`vfio_iommu_type1_open()`).
    ///
    /// # Errors
    /// EINVAL: not a type of this backend. ENOMEM.
    pub(crate) fn open<O: IommuOps>(ctx: &mut Ctx<'_, O>, arg: u64) -> Result<Self, Errno> {
        ctx.step("vfio:alloc_iommu", Errno::ENOMEM)?;
        let nesting_known = ctx.semantics().vfio.nesting != NestingType::Gone;
        let (version, nesting) = match arg {
            extension::TYPE1 => (Version::V1, Nesting::Off),
            extension::TYPE1V2 => (Version::V2, Nesting::Off),
            extension::NESTING if nesting_known => (Version::V2, Nesting::On),
            _ => return Err(Errno::EINVAL),
        };
        Ok(Self {
            version,
            nesting,
            domains: vec![],
            emulated: vec![],
            iova_list: IovaList::default(),
            dma: BTreeMap::new(),
            dma_avail: ctx.host.params.dma_entry_limit,
            pgsize_bitmap: !(ctx.host.page_size() - 1),
            tracking: Tracking::Off,
            non_pinned_groups: 0,
            vaddr_invalid: 0,
            pasid: None,
        })
    }

    /// Closes the backend: everything is unmapped, unpinned, detached and freed
    /// (`vfio_iommu_type1_release()`).
    pub(crate) fn release<O: IommuOps>(mut self, ctx: &mut Ctx<'_, O>) {
        self.emulated.clear();
        self.unmap_unpin_all(ctx);
        for domain in std::mem::take(&mut self.domains) {
            for member in &domain.members {
                ctx.core.detach_group(domain.domain, member.group);
            }
            ctx.core.domain_free(domain.domain);
        }
    }

    /// Answers CHECK_EXTENSION; without an open backend there is none to ask about.
    pub(crate) fn check_extension(backend: Option<&Self>, semantics: &Semantics, arg: u64) -> u64 {
        use iommu_core::semantics::UserVaddr;
        let replaceable = semantics.vfio.user_vaddr == UserVaddr::Replaceable;
        let yes = match arg {
            extension::TYPE1 | extension::TYPE1V2 => true,
            extension::NESTING => semantics.vfio.nesting != NestingType::Gone,
            extension::UNMAP_ALL => replaceable,
            extension::UPDATE_VADDR => {
                replaceable && backend.is_some_and(|backend| backend.emulated.is_empty())
            }
            extension::DMA_CC => backend.is_some_and(|backend| {
                let mut domains = backend.domains.iter();
                domains.all(|domain| domain.coherent == Coherent::Yes)
            }),
            _ => false,
        };
        u64::from(yes)
    }

    /// First or second version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether domains are stage 2 under a guest's stage 1.
    pub fn nesting(&self) -> Nesting {
        self.nesting
    }

    /// Domains and the groups in each, newest first.
    pub fn domains(&self) -> impl Iterator<Item = (DomainId, Vec<GroupId>)> {
        self.domains.iter().map(|domain| {
            let groups = domain.members.iter().map(|member| member.group);
            (domain.domain, groups.collect())
        })
    }

    /// Mappings by address.
    pub fn mappings(&self) -> impl Iterator<Item = (u64, &Dma)> {
        self.dma.iter().map(|(iova, dma)| (*iova, dma))
    }

    /// How many more mappings there may be.
    pub fn dma_avail(&self) -> u32 {
        self.dma_avail
    }

    /// Addresses that may be mapped.
    pub fn iova_list(&self) -> &IovaList {
        &self.iova_list
    }

    /// Page sizes all domains have.
    pub fn pgsize_bitmap(&self) -> u64 {
        self.pgsize_bitmap
    }

    /// The smallest page size, in bytes.
    fn pgsize(&self) -> u64 {
        1 << self.pgsize_bitmap.trailing_zeros()
    }

    /// `vfio_update_pgsize_bitmap()`: sizes all domains have; those below a CPU page are replaced
    /// by it.
    fn update_pgsize_bitmap<O: IommuOps>(&mut self, ctx: &Ctx<'_, O>) {
        let page_size = ctx.host.page_size();
        let all = self.domains.iter().fold(u64::MAX, |bitmap, domain| {
            bitmap & ctx.core.ops().pgsize_bitmap(domain.domain)
        });
        let page_mask = !(page_size - 1);
        self.pgsize_bitmap = if all & !page_mask == 0 {
            all
        } else {
            all & page_mask | page_size
        };
    }

    /// The mapping that meets `[start, start + size)`, as the kernel's tree search finds one; a
    /// range that ends at 2^64 meets nothing, as its end wraps to 0 (`vfio_find_dma()`).
    fn find_dma(&self, start: u64, size: u64) -> Option<(u64, &Dma)> {
        let end = start.wrapping_add(size);
        if size != 0 && end <= start {
            return None;
        }
        let last = if size == 0 { start } else { end - 1 };
        let (iova, dma) = self.dma.range(..=last).next_back()?;
        // In the middle of being mapped it has size 0 and meets nothing.
        (start < iova.wrapping_add(dma.size) || iova.wrapping_add(dma.size) < *iova)
            .then_some((*iova, dma))
    }
}

//! A virtual machine whose kernel drives a virtual SMMU: its memory is a process's on the host, each
//! assigned device has a VFIO container that nests, and its commands are trapped and forwarded, as
//! QEMU does with the nested-stage series.

use std::ops::Range;

use arm_smmu_v3::{AtsState, Command, Params, Platform, SmmuId};
use iommu_core::uapi::{CacheInvalidateInfo, InvalidateScope, PasidTableConfig};
use iommu_core::{Control, Errno, Kernel, Semantics};
use smmu::CommandStep;
use smmu::addr::Pa;
use smmu::cache::CacheConfig;
use smmu::command::{AsidScope, Command as Seen, Leaf, Tlbi, TlbiAddress};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::regfile::Width;
use vfio_type1::RegionConfig;

use super::layout::{GUEST_RAM, GuestMemory};
use super::told::{Tells, Told, queue_of};
use super::{WorkloadError, wrong};
use crate::board::{Board, BoardConfig};
use crate::linux::{ContainerFd, LinuxMachine};
use crate::topology::PciAddress;
use crate::workload::world::{DRIVER_TABLES, MachineSection};

/// A device of the host that the guest has.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Assigned {
    stream: StreamId,
    container: ContainerFd,
    /// What its stage 1 was last set to.
    stage1: Option<PasidTableConfig>,
}

/// The machine as the guest's kernel has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct VirtualMachine {
    /// Memory and virtual SMMU, by guest physical addresses.
    seen: Board,
    host: LinuxMachine<Told>,
    /// Virtual addresses, in the VMM, of equal pieces of the guest's memory.
    pieces: Vec<u64>,
    piece_bytes: u64,
    assigned: Vec<Assigned>,
    /// Where the virtual command queue is, which only the VMM reads.
    queue: Range<u64>,
    trouble: Result<(), Errno>,
}

/// Registers of the virtual SMMU that the VMM acts upon (IHI 0070 §6.3).
const CR0: u32 = 0x20;
const CMDQ_BASE: u32 = 0x90;
const CMDQ_PROD: u32 = 0x98;

impl VirtualMachine {
    /// A host with as many devices as there are streams, all of them given to one guest: a container
    /// each, as under a virtual SMMU each device has an address space of its own.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if the host cannot have it.
    pub(super) fn new(
        machine: &MachineSection,
        memory: &GuestMemory,
    ) -> Result<Self, WorkloadError> {
        let devices: Vec<PciAddress> = (0..machine.streams).map(address).collect();
        let params = Params {
            cpu_page: 1 << machine.stage2_granule.log2(),
            ..Params::default()
        };
        let (process_base, process_bytes) = memory.process();
        let builder = LinuxMachine::builder(Semantics::fixed())
            .smmus([SmmuConfig::qemu_11()])
            .caches(CacheConfig::OFF)
            .driver(params)
            .tables(DRIVER_TABLES.0, DRIVER_TABLES.1)
            .process_memory(process_base, process_bytes);
        let builder = devices.iter().fold(builder, |builder, device| {
            builder.device(*device, SmmuId(0))
        });
        let mut host = builder.build_on(Told::new).map_err(wrong)?;
        let pieces = allocate(&mut host, memory).map_err(wrong)?;
        let mut assigned = Vec::new();
        for device in devices {
            let container = host.open_container().map_err(wrong)?;
            host.attach(device, container).map_err(wrong)?;
            for (piece, vaddr) in (0..).zip(&pieces) {
                let ipa = smmu::addr::Iova::new(GUEST_RAM + piece * memory.piece_bytes());
                host.map(container, ipa, *vaddr, memory.piece_bytes())
                    .map_err(wrong)?;
            }
            assigned.push(Assigned {
                stream: host.place(device).stream,
                container,
                stage1: None,
            });
        }
        let mut part = SmmuConfig::qemu_11();
        // The virtual SMMU has stage 1 only: its guest has no guests.
        part.s2p = false;
        let config = BoardConfig {
            caches: CacheConfig::OFF,
            tables: memory.tables(),
            ..BoardConfig::new(vec![part])
        };
        let control = Control::new(Semantics::kernel(Kernel::V6_12));
        Ok(Self {
            seen: Board::new(control, &config).map_err(wrong)?,
            host,
            pieces,
            piece_bytes: memory.piece_bytes(),
            assigned,
            queue: 0..0,
            trouble: Ok(()),
        })
    }

    /// Where a guest physical address is for the host.
    fn frame(&self, ipa: Pa) -> Option<Pa> {
        let offset = ipa.get().checked_sub(GUEST_RAM)?;
        let piece = self.pieces.get((offset / self.piece_bytes) as usize)?;
        self.host.frame(piece + offset % self.piece_bytes)
    }

    fn host_told(&mut self) -> &mut Told {
        self.host.vfio.core_mut().ops_mut().platform_mut()
    }

    /// The VMM consumes the virtual command queue, as it does within the write to CMDQ_PROD that the
    /// guest's CPU is stopped in.
    fn consume(&mut self) {
        while let CommandStep::Consumed { command, .. } = self.seen.step_command(SmmuId(0)) {
            self.forward(&command);
        }
    }

    /// A guest's command on its way to the host. CD and SYNC need no ioctl: a CD changes before its
    /// STE does, and each ioctl waits for its own CMD_SYNC.
    fn forward(&mut self, command: &Seen) {
        match command {
            Seen::CfgiSte { stream, .. } => self.update(|device| device.stream == *stream),
            Seen::CfgiSteRange { .. } => self.update(|_| true),
            Seen::Tlbi(tlbi) => {
                let info = CacheInvalidateInfo {
                    cache: IOTLB,
                    scope: scope(tlbi),
                };
                // Each device's address space is told, whoever's ASID it is.
                for at in 0..self.assigned.len() {
                    let container = self.assigned[at].container.0;
                    let result = self.host.caller().cache_invalidate(container, &info);
                    self.trouble = self.trouble.and(result);
                }
            }
            _ => {}
        }
    }

    /// The guest has changed STEs: the VMM reads them and sets what is new.
    fn update(&mut self, which: impl Fn(&Assigned) -> bool) {
        for at in 0..self.assigned.len() {
            let device = self.assigned[at];
            if !which(&device) {
                continue;
            }
            let wanted = self.stage1_of(device.stream);
            if device.stage1 == Some(wanted) {
                continue;
            }
            self.assigned[at].stage1 = Some(wanted);
            let result = self.host.set_pasid_table(device.container, &wanted);
            self.trouble = self.trouble.and(result);
        }
    }

    /// What a guest's STE makes of stage 1.
    fn stage1_of(&self, stream: StreamId) -> PasidTableConfig {
        let smmu = self.seen.smmu(SmmuId(0));
        if smmu.mmio_read(CR0, Width::W32) & 1 == 0 {
            return PasidTableConfig::bypass();
        }
        let mut port = self.seen.ram().port();
        match smmu.configuration(&mut port, stream, None, &mut ()) {
            None => PasidTableConfig::abort(),
            Some(configuration) => configuration
                .stream
                .cds
                .map_or(PasidTableConfig::bypass(), |cds| {
                    PasidTableConfig::translate(cds.s1contextptr)
                }),
        }
    }
}

/// IOMMU_CACHE_INV_TYPE_IOTLB.
const IOTLB: u8 = 1;
/// IOMMU_INV_PASID_FLAGS_ARCHID and IOMMU_INV_ADDR_FLAGS_ARCHID.
const ARCHID: u32 = 1 << 1;
/// IOMMU_INV_ADDR_FLAGS_LEAF.
const LEAF: u32 = 1 << 2;

/// A guest's TLB invalidation as CACHE_INVALIDATE has it.
fn scope(tlbi: &Tlbi) -> InvalidateScope {
    let (AsidScope::Only(asid) | AsidScope::OrGlobal(asid)) = tlbi.asid else {
        return InvalidateScope::Domain;
    };
    let archid = asid.get().into();
    let TlbiAddress::Range {
        first,
        last,
        granule_log2,
        level: Some(level),
        leaf,
    } = tlbi.address
    else {
        // Without the level of a leaf there is no granule to name.
        return InvalidateScope::Pasid {
            flags: ARCHID,
            archid,
            pasid: 0,
        };
    };
    let granule_log2 = u32::from(granule_log2);
    let above = 3 - u32::from(level.clamp(0, 3).unsigned_abs());
    let page_log2 = granule_log2 + above * (granule_log2 - 3);
    InvalidateScope::Addr {
        flags: ARCHID | if leaf == Leaf::Only { LEAF } else { 0 },
        archid,
        pasid: 0,
        addr: first,
        granule_size: 1 << page_log2,
        nb_granules: ((last - first) >> page_log2) + 1,
    }
}

/// The function whose requester ID is a stream's number.
fn address(stream: u32) -> PciAddress {
    let [_, _, bus, function] = stream.to_be_bytes();
    PciAddress::new(bus, function >> 3, function & 7)
}

/// Memory for the guest, in pieces whose pages the host's driver can map by one descriptor each, and
/// of which no two follow each other.
fn allocate(host: &mut LinuxMachine<Told>, memory: &GuestMemory) -> Result<Vec<u64>, Errno> {
    let region = RegionConfig {
        placement: memory.placement(),
        ..RegionConfig::ordinary(memory.piece_bytes())
    };
    let pid = host.pid;
    let align = memory.page_bytes();
    (0..memory.pieces())
        .map(|_| host.vfio.host_mut().map_memory(pid, &region, align))
        .collect()
}

impl Tells for VirtualMachine {
    fn told(&mut self) -> &mut Told {
        self.host_told()
    }

    fn trouble(&self) -> Result<(), Errno> {
        self.trouble
    }
}

impl Platform for VirtualMachine {
    fn control(&self) -> &Control {
        self.seen.control()
    }

    fn control_mut(&mut self) -> &mut Control {
        self.seen.control_mut()
    }

    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64 {
        self.seen.mmio_read(smmu, offset, width)
    }

    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64) {
        self.seen.mmio_write(smmu, offset, width, value);
        match offset {
            CMDQ_BASE => self.queue = queue_of(value),
            CMDQ_PROD => self.consume(),
            _ => {}
        }
    }

    fn relax(&mut self, _smmu: SmmuId) {
        // What was queued was consumed when CMDQ_PROD was written.
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.seen.alloc(bytes)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        for offset in (0..bytes).step_by(8) {
            let at = pa.add(offset);
            if self.seen.load(at) != 0 {
                self.store(at, 0);
            }
        }
        self.seen.free(pa, bytes);
    }

    fn load(&self, pa: Pa) -> u64 {
        self.seen.load(pa)
    }

    /// The guest's CPU stores: what it sees there is what the SMMU's stage 2 leads to.
    fn store(&mut self, pa: Pa, value: u64) {
        self.seen.store(pa, value);
        let Some(frame) = self.frame(pa) else {
            return;
        };
        if self.queue.contains(&pa.get()) {
            self.host_told().store_aside(frame, value);
        } else {
            self.host_told().store(frame, value);
        }
    }

    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.seen.set_ats(smmu, stream, state)
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        self.seen.issued(smmu, command);
    }
}

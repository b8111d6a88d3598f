//! Where the memory of a driven machine is, and what of it can be had.

use smmu::mem::Ram;
use vfio_type1::Placement;

use super::{WorkloadError, wrong};
use crate::workload::generator::{Flush, WorkloadSection};
use crate::workload::world::{
    BUFFERS, DRIVER_TABLES, FIRST_IOVA, Granule, MachineSection, Sharing, Stages,
};

/// Buffers that a stream's device holds before the first is taken back.
pub(super) const HELD: u64 = 8;
/// Buffers a ring must have: those held, one ahead, and some that rest.
const LEAST_PAGES: u64 = 16;
/// Bytes of device addresses, and so of buffers, of all streams together.
const MOST_BYTES: u64 = 1 << 42;
/// Descriptors that the host's stage 2 may need, all devices together.
const MOST_DESCRIPTORS: u64 = 1 << 24;

/// Guest physical address of a guest's memory, as QEMU's `virt` has it.
pub(super) const GUEST_RAM: u64 = 0x4000_0000;
/// Host physical address of memory for the process that is the guest.
const PROCESS: u64 = 0x4_0000_0000;
/// A guest's queues and stream table at their largest.
const GUEST_QUEUES_BYTES: u64 = 64 << 20;

/// The rings, as they are laid out in device addresses and in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rings {
    streams: u64,
    /// Buffers of a ring.
    pages: u64,
    /// Device addresses of a ring, in buffers: as many more as may rest in a flush queue.
    addresses: u64,
    pub(super) page_bytes: u64,
    sharing: Sharing,
    /// Where buffers are for the kernel.
    buffers: u64,
}

impl Rings {
    /// The rings that settings ask for.
    ///
    /// # Errors
    /// [`WorkloadError::World`] naming the setting the driver cannot do with.
    pub(super) fn new(
        machine: &MachineSection,
        section: &WorkloadSection,
    ) -> Result<Self, WorkloadError> {
        if section.pages < LEAST_PAGES {
            return Err(wrong(format_args!(
                "workload.pages is at least {LEAST_PAGES}"
            )));
        }
        let smallest = machine.granule.log2();
        if machine.page_log2 < smallest {
            return Err(wrong(format_args!(
                "machine.page_log2 is at least {smallest} with machine.granule = {}K: the kernel has no smaller pages",
                kib(machine.granule),
            )));
        }
        let resting = match section.flush {
            Flush::Lazy => section.flush_pages.into(),
            Flush::Strict | Flush::Never => 0,
        };
        let streams = u64::from(machine.streams);
        let addresses = section.pages + resting;
        let page_bytes = 1u64 << machine.page_log2;
        let bytes = (streams * addresses).checked_mul(page_bytes);
        if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(wrong(format_args!(
                "{streams} streams with {addresses} addresses of 2^{} bytes are more than 2^{}: fewer or smaller pages",
                machine.page_log2,
                MOST_BYTES.ilog2(),
            )));
        }
        let mut rings = Self {
            streams,
            pages: section.pages,
            addresses,
            page_bytes,
            sharing: machine.sharing,
            // No SMMU reads them: they need not be in anybody's RAM.
            buffers: BUFFERS + (1 << 40),
        };
        if machine.stages == Stages::Nested {
            rings.buffers = GUEST_RAM + tables_bytes(machine, addresses);
        }
        rings.buffers = rings.buffers.next_multiple_of(page_bytes);
        Ok(rings)
    }

    /// The stream that has the buffer with this number.
    pub(super) fn stream(&self, number: u64) -> usize {
        (number % self.streams) as usize
    }

    /// Where a buffer is for its device: the address that has rested longest. Devices that share a
    /// domain have addresses of their own.
    pub(super) fn iova(&self, number: u64) -> u64 {
        let first = match self.sharing {
            Sharing::Own => 0,
            Sharing::Shared => number % self.streams * self.addresses,
        };
        FIRST_IOVA + (first + number / self.streams % self.addresses) * self.page_bytes
    }

    /// Where a buffer is for its kernel.
    pub(super) fn address(&self, number: u64) -> u64 {
        let first = number % self.streams * self.pages;
        self.buffers + (first + number / self.streams % self.pages) * self.page_bytes
    }

    /// All buffers, by number.
    pub(super) fn numbers(&self) -> std::ops::Range<u64> {
        0..self.streams * self.pages
    }

    fn end(&self) -> u64 {
        self.buffers + self.streams * self.pages * self.page_bytes
    }
}

/// A granule in KiB.
fn kib(granule: Granule) -> u64 {
    1 << (granule.log2() - 10)
}

/// What a guest's tables take: queues, and a leaf descriptor for each device address.
fn tables_bytes(machine: &MachineSection, addresses: u64) -> u64 {
    let granule = 1u64 << machine.granule.log2();
    let size = page_sizes(machine.granule).into_iter();
    let leaf = size.filter(|log2| *log2 <= machine.page_log2).max();
    let descriptors = addresses << (machine.page_log2 - leaf.unwrap_or(machine.page_log2));
    // As much again for tables that are not full, and those above.
    let of_a_stream = 16 * descriptors + 8 * granule;
    (GUEST_QUEUES_BYTES + u64::from(machine.streams) * of_a_stream).next_multiple_of(1 << 21)
}

/// log2 of the bytes one descriptor can map, as the driver uses them below 52-bit addresses.
fn page_sizes(granule: Granule) -> Vec<u32> {
    match granule {
        Granule::K4 => vec![12, 21, 30],
        Granule::K16 => vec![14, 25],
        Granule::K64 => vec![16, 29],
    }
}

/// A guest's memory and the process's that it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuestMemory {
    tables_bytes: u64,
    bytes: u64,
    page_bytes: u64,
    placement: Placement,
}

impl GuestMemory {
    /// Memory for these rings.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if the host cannot map it as asked for.
    pub(super) fn new(machine: &MachineSection, rings: &Rings) -> Result<Self, WorkloadError> {
        if machine.sharing == Sharing::Shared && machine.streams > 1 {
            return Err(wrong(
                "machine.sharing = shared with machine.stages = nested: a container has one stage 1, and a guest's devices have one each",
            ));
        }
        let sizes = page_sizes(machine.stage2_granule);
        if !sizes.contains(&machine.stage2_page_log2) {
            let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
            return Err(wrong(format_args!(
                "machine.stage2_page_log2 is {} with machine.stage2_granule = {}K",
                sizes.join(" or "),
                kib(machine.stage2_granule),
            )));
        }
        let page_bytes = 1u64 << machine.stage2_page_log2;
        let bytes = (rings.end() - GUEST_RAM).next_multiple_of(page_bytes);
        let descriptors = u64::from(machine.streams) * (bytes / page_bytes);
        if descriptors > MOST_DESCRIPTORS {
            return Err(wrong(format_args!(
                "stage 2 needs {descriptors} descriptors, more than {MOST_DESCRIPTORS}: fewer buffers, or a larger machine.stage2_page_log2"
            )));
        }
        Ok(Self {
            tables_bytes: rings.buffers - GUEST_RAM,
            bytes,
            page_bytes,
            placement: if machine.stage2_page_log2 == machine.stage2_granule.log2() {
                Placement::Scattered
            } else {
                Placement::Contiguous
            },
        })
    }

    /// Where the guest's kernel has its tables and queues, by guest physical address.
    pub(super) fn tables(&self) -> (u64, u64) {
        (GUEST_RAM, self.tables_bytes)
    }

    /// How the host's pages of a piece lie: scattered if each is one descriptor's.
    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    /// Bytes the host shall map by one descriptor.
    pub(super) fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// Bytes that are allocated at once.
    pub(super) fn piece_bytes(&self) -> u64 {
        match self.placement {
            Placement::Scattered => self.bytes,
            Placement::Contiguous => self.page_bytes,
        }
    }

    /// How often.
    pub(super) fn pieces(&self) -> u64 {
        self.bytes / self.piece_bytes()
    }

    /// Host physical memory of the process: a page after each piece stays free, and aligning the
    /// next one can waste as much as it has.
    pub(super) fn process(&self) -> (u64, u64) {
        (PROCESS, 2 * self.bytes + 4 * self.page_bytes)
    }
}

/// Memory for a driven machine, in large pieces: what its SMMU reads is nowhere else.
pub fn memory(machine: &MachineSection, section: &WorkloadSection) -> Ram {
    let mut regions = vec![DRIVER_TABLES];
    if machine.stages == Stages::Nested {
        let rings = Rings::new(machine, section);
        let guest = rings.and_then(|rings| GuestMemory::new(machine, &rings));
        // Settings that are refused are refused by whoever boots the machine.
        regions.extend(guest.ok().map(|guest| guest.process()));
    }
    Ram::with_regions(&regions).unwrap_or_else(|_| Ram::sparse())
}

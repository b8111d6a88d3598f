//! Rings of buffers that the modelled Linux driver maps and unmaps: its stores and its commands are
//! the workload's. The kernel is a host's, with one stage, or a guest's, with the host's stage 2 below.
//!
//! One CPU and the devices work side by side. The CPU maps a buffer before its device has it, takes
//! back one that the device is done with, and does nothing else while it waits for a CMD_SYNC; the
//! device goes on with buffers that it has. What the CPU does takes no time but that waiting: no time
//! for a trap into the VMM either.

mod guest;
mod kernel;
mod layout;
mod told;

use std::collections::{BTreeMap, VecDeque};

use arm_smmu_v3::Support;
use iommu_core::{Control, DomainId, Kernel, Semantics};
use smmu::addr::Iova;
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::Ram;
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;
use smmu::{Smmu, Transaction};

use super::error::WorkloadError;
use super::generator::{Flush, WorkloadSection};
use super::random::Random;
use super::world::{Atschk, DRIVER_TABLES, Eats, MachineSection, Stages};
use crate::board::{Board, BoardConfig};

use guest::VirtualMachine;
use kernel::{DmaApi, boot};
pub use layout::memory;
use layout::{GuestMemory, HELD, Rings};
use told::Told;

/// The workload.
#[derive(Debug)]
pub struct Driven {
    kernel: Box<dyn DmaApi>,
    section: WorkloadSection,
    random: Random,
    rings: Rings,
    /// Where each stream's buffers are mapped.
    domains: Vec<DomainId>,
    issued: u64,
    /// Buffers of each domain that are unmapped and not yet invalidated (lazy): a domain has a flush
    /// queue for each CPU.
    queued: BTreeMap<DomainId, u32>,
    pending: VecDeque<Operation>,
}

fn wrong(what: impl std::fmt::Display) -> WorkloadError {
    WorkloadError::World {
        what: format!("workload.pattern = driver: {what}"),
    }
}

/// Whether devices and part have ATS. The driver switches it on where both do, in full and checked.
fn with_ats(machine: &MachineSection) -> Result<Support, WorkloadError> {
    match (machine.eats, machine.atschk) {
        (Eats::Auto | Eats::Off, _) => Ok(Support::No),
        (Eats::SplitStage, _) => Err(wrong("machine.eats is auto, full or off")),
        (Eats::Full, Atschk::Off) => Err(wrong("machine.atschk is true")),
        // What a VMM would have to forward of ATS nobody has posted.
        (Eats::Full, _) if machine.stages == Stages::Nested => {
            Err(wrong("machine.eats is auto or off where stages are nested"))
        }
        (Eats::Full, Atschk::On) => Ok(Support::Yes),
    }
}

/// The machine of a host's kernel.
fn host(part: SmmuConfig) -> Result<Told, WorkloadError> {
    let config = BoardConfig {
        caches: CacheConfig::OFF,
        tables: DRIVER_TABLES,
        ..BoardConfig::new(vec![part])
    };
    let control = Control::new(Semantics::kernel(Kernel::V6_12));
    Ok(Told::new(Board::new(control, &config).map_err(wrong)?))
}

impl Driven {
    /// Boots a kernel whose devices use the DMA API, leaves memory as it is then in `ram`, and gives
    /// the SMMU, programmed.
    ///
    /// # Errors
    /// [`WorkloadError::World`] naming the setting the driver cannot do with.
    pub fn new(
        ram: &Ram,
        machine: &MachineSection,
        section: &WorkloadSection,
    ) -> Result<(Self, Smmu), WorkloadError> {
        let rings = Rings::new(machine, section)?;
        let ats = with_ats(machine)?;
        let (kernel, domains) = match machine.stages {
            Stages::Bypass => return Err(wrong("machine.stages is stage1, stage2 or nested")),
            Stages::Stage1 | Stages::Stage2 => {
                let mut part = SmmuConfig::qemu_11();
                // A driver without stage 1 maps for the DMA API at stage 2.
                part.s1p = machine.stages == Stages::Stage1;
                part.ats = ats == Support::Yes;
                boot(host(part)?, machine, section.flush, ats)?
            }
            Stages::Nested => {
                let memory = GuestMemory::new(machine, &rings)?;
                let guest = VirtualMachine::new(machine, &memory)?;
                boot(guest, machine, section.flush, ats)?
            }
        };
        let mut driven = Self {
            kernel,
            section: section.clone(),
            random: Random::new(section.seed),
            rings,
            domains,
            issued: 0,
            queued: BTreeMap::new(),
            pending: VecDeque::new(),
        };
        if section.flush == Flush::Never {
            // Mapped when the ring is made, as receive rings with a page pool are.
            for number in rings.numbers() {
                driven.map(number)?;
            }
        }
        let smmu = driven.kernel.told().listen(ram);
        if section.flush != Flush::Never {
            driven.map(0)?;
        }
        Ok((driven, smmu))
    }

    /// Transactions issued so far, of how many.
    pub fn progress(&self) -> (u64, u64) {
        (self.issued, self.section.transactions)
    }

    /// What the driver did since the last call follows.
    fn collect(&mut self) {
        self.kernel.told().take(&mut self.pending);
    }

    /// The CPU maps a buffer.
    fn map(&mut self, number: u64) -> Result<(), WorkloadError> {
        let domain = self.domains[self.rings.stream(number)];
        let (iova, at) = (self.rings.iova(number), self.rings.address(number));
        let bytes = self.rings.page_bytes;
        self.kernel.map(domain, iova, at, bytes).map_err(wrong)?;
        self.collect();
        Ok(())
    }

    /// The device is done with a buffer: the CPU unmaps it.
    fn unmap(&mut self, number: u64) -> Result<(), WorkloadError> {
        let last = (number + 1) * u64::from(self.section.per_buffer) - 1;
        self.pending.push_back(Operation::AwaitTransaction(last));
        let domain = self.domains[self.rings.stream(number)];
        let (iova, bytes) = (self.rings.iova(number), self.rings.page_bytes);
        if self.section.flush == Flush::Strict {
            self.kernel.unmap(domain, iova, bytes).map_err(wrong)?;
        } else {
            let kernel = &mut self.kernel;
            kernel.unmap_deferred(domain, iova, bytes).map_err(wrong)?;
            let queued = self.queued.entry(domain).or_default();
            *queued += 1;
            if *queued >= self.section.flush_pages {
                *queued = 0;
                self.kernel.flush(domain).map_err(wrong)?;
            }
        }
        self.collect();
        Ok(())
    }

    /// The next operation.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if the driver runs out of memory.
    pub fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        if let Some(operation) = self.pending.pop_front() {
            return Ok(Some(operation));
        }
        if self.issued == self.section.transactions {
            return Ok(None);
        }
        let per_buffer = u64::from(self.section.per_buffer);
        let (number, within) = (self.issued / per_buffer, self.issued % per_buffer);
        let size = u64::from(self.section.bytes).next_power_of_two();
        let address = Iova::new(self.rings.iova(number) + within * size % self.rings.page_bytes);
        let writes = u64::from(self.section.writes);
        let kind = if writes != 0 && self.random.below(1000) < writes {
            AccessKind::Write
        } else {
            AccessKind::Read
        };
        let stream = StreamId::new(self.rings.stream(number) as u32);
        if within == 0 && self.section.flush != Flush::Never {
            self.map(number + 1)?;
            if let Some(done) = number.checked_sub(HELD * self.domains.len() as u64) {
                self.unmap(done)?;
            }
        }
        self.issued += 1;
        self.pending.push_back(Operation::Arrive(Arrival {
            transaction: Transaction::new(stream, address, kind),
            bytes: self.section.bytes,
            not_before: 0,
        }));
        Ok(self.pending.pop_front())
    }
}

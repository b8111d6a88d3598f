//! A ring of buffers that the modelled Linux driver maps and unmaps: its stores and its commands are
//! the workload's, in strict and in lazy mode.
//!
//! One CPU and the device work side by side. The CPU maps a buffer before the device has it, takes
//! back one that the device is done with, and does nothing else while it waits for a CMD_SYNC; the
//! device goes on with buffers that it has.

use std::collections::VecDeque;

use arm_smmu_v3::{AtsState, Command, Driver, Firmware, Params, Platform, SmmuId, Support};
use iommu_core::ops::{DomainKind, Gather, IommuOps, Prot};
use iommu_core::{
    Control, CoreConfig, DeviceConfig, DeviceId, DomainId, Errno, Grouping, IommuCore, Kernel,
    Paddr, Semantics,
};
use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::regfile::{Width, register_offset};
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;
use smmu::{Smmu, Transaction};

use super::error::WorkloadError;
use super::generator::{Flush, WorkloadSection};
use super::random::Random;
use super::world::{
    Atschk, BUFFERS, DRIVER_TABLES, Eats, FIRST_IOVA, MachineSection, Sharing, Stages,
};
use crate::board::{Board, BoardConfig};

/// A board that tells what the driver does to it, in order.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    board: Board,
    operations: VecDeque<Operation>,
    /// Where the command queue is: commands are told as such, not as stores.
    queue: (u64, u64),
    /// The CPU polls for a CMD_SYNC: whatever it does next comes after that.
    waits: bool,
}

impl Told {
    fn tell(&mut self, operation: Operation) {
        if std::mem::take(&mut self.waits) {
            self.operations.push_back(Operation::AwaitCommands);
        }
        self.operations.push_back(operation);
    }
}

impl Platform for Told {
    fn control(&self) -> &Control {
        self.board.control()
    }

    fn control_mut(&mut self) -> &mut Control {
        self.board.control_mut()
    }

    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64 {
        self.board.mmio_read(smmu, offset, width)
    }

    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64) {
        // Once the SMMU is set up only the command queue's pointer moves, which commands tell.
        self.board.mmio_write(smmu, offset, width, value);
    }

    fn relax(&mut self, smmu: SmmuId) {
        self.waits = true;
        self.board.relax(smmu);
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.board.alloc(bytes)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        self.board.free(pa, bytes);
    }

    fn load(&self, pa: Pa) -> u64 {
        self.board.load(pa)
    }

    fn store(&mut self, pa: Pa, value: u64) {
        self.board.store(pa, value);
        if !(self.queue.0..self.queue.1).contains(&pa.get()) {
            self.tell(Operation::Store { pa, value });
        }
    }

    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.board.set_ats(smmu, stream, state)
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        self.board.issued(smmu, command);
        self.tell(Operation::Command(command.words()));
    }
}

/// The workload.
#[derive(Debug)]
pub struct Driven {
    core: IommuCore<Driver<Told>>,
    section: WorkloadSection,
    random: Random,
    page_bytes: u64,
    /// Where each stream's buffers are mapped.
    domains: Vec<DomainId>,
    sharing: Sharing,
    issued: u64,
    /// Unmapped and not yet invalidated (lazy), by number.
    queued: Vec<u64>,
    pending: VecDeque<Operation>,
}

/// Buffers that a stream's device holds before the first is taken back.
const HELD: u64 = 8;
/// Buffers a ring must have: those held, one ahead, and some whose addresses rest.
const LEAST_PAGES: u64 = 16;

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
        (Eats::Full, Atschk::On) => Ok(Support::Yes),
    }
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
        let mut part = SmmuConfig::qemu_11();
        match machine.stages {
            Stages::Stage1 => {}
            // A driver without stage 1 maps for the DMA API at stage 2.
            Stages::Stage2 => part.s1p = false,
            Stages::Bypass | Stages::Nested => {
                return Err(wrong("machine.stages is stage1 or stage2"));
            }
        }
        let ats = with_ats(machine)?;
        part.ats = ats == Support::Yes;
        if section.pages < LEAST_PAGES {
            return Err(wrong(format_args!(
                "workload.pages is at least {LEAST_PAGES}"
            )));
        }
        let page_bytes = 1u64 << machine.page_log2;
        let kind = match section.flush {
            Flush::Strict => DomainKind::Dma,
            Flush::Lazy => DomainKind::DmaFq,
            Flush::Never => return Err(wrong("workload.flush is strict or lazy")),
        };
        let config = BoardConfig {
            caches: CacheConfig::OFF,
            tables: DRIVER_TABLES,
            ..BoardConfig::new(vec![part])
        };
        let control = Control::new(Semantics::kernel(Kernel::V6_12));
        let told = Told {
            board: Board::new(control, &config).map_err(wrong)?,
            operations: VecDeque::new(),
            queue: (0, 0),
            waits: false,
        };
        let params = Params {
            cpu_page: 1 << machine.granule.log2(),
            va_bits: machine.input_bits.min(48),
            ..Params::default()
        };
        let driver = Driver::probe(told, params, 1).map_err(wrong)?;
        let core_config = CoreConfig {
            default_domain: kind,
            page_size: 1 << machine.granule.log2(),
        };
        let mut core = IommuCore::new(driver, core_config);
        let mut devices: Vec<DeviceId> = Vec::new();
        for stream in 0..machine.streams {
            let grouping = match (machine.sharing, devices.first()) {
                (Sharing::Shared, Some(first)) => Grouping::With(*first),
                _ => Grouping::Own,
            };
            let device = DeviceConfig {
                grouping,
                ..DeviceConfig::pci(&format!("stream {stream}"))
            };
            let firmware = Firmware {
                ats,
                ..Firmware::new(SmmuId(0), StreamId::new(stream))
            };
            devices.push(core.add_device(device, &firmware).map_err(wrong)?);
        }
        let domain = |device: &DeviceId| {
            let group = core.device(*device)?.group;
            core.group(group)?.default_domain
        };
        let domains: Option<Vec<DomainId>> = devices.iter().map(domain).collect();
        let domains = domains.ok_or_else(|| wrong(Errno::ENODEV))?;

        let told = core.ops_mut().platform_mut();
        told.operations.clear();
        told.waits = false;
        let base = register_offset("CMDQ_BASE")
            .map_or(0, |offset| told.mmio_read(SmmuId(0), offset, Width::W64));
        let queue = base & 0x00ff_ffff_ffff_ffe0;
        told.queue = (queue, queue + (16 << (base & 0x1f)));
        let mut port = ram.port();
        told.board.ram().for_each_page(|page, words| {
            for (offset, word) in (0..).step_by(8).zip(words) {
                let value = word.load(std::sync::atomic::Ordering::Relaxed);
                // Both memories have the area for tables.
                let _inside = port.write64(page.add(offset), value, AccessClass::Stage1);
            }
        });
        let smmu = told.board.smmu(SmmuId(0)).clone();
        let mut driven = Self {
            core,
            section: section.clone(),
            random: Random::new(section.seed),
            page_bytes,
            domains,
            sharing: machine.sharing,
            issued: 0,
            queued: Vec::new(),
            pending: VecDeque::new(),
        };
        driven.map(0)?;
        Ok((driven, smmu))
    }

    /// Transactions issued so far, of how many.
    pub fn progress(&self) -> (u64, u64) {
        (self.issued, self.section.transactions)
    }

    /// The stream that uses the buffer with this number, and which of its ring's it is.
    fn place(&self, number: u64) -> (usize, u64) {
        let streams = self.domains.len() as u64;
        (
            (number % streams) as usize,
            number / streams % self.section.pages,
        )
    }

    /// Where a buffer is for its device: devices that share a domain have addresses of their own.
    fn iova(&self, number: u64) -> u64 {
        let (stream, buffer) = self.place(number);
        let first = match self.sharing {
            Sharing::Own => 0,
            Sharing::Shared => stream as u64 * self.section.pages,
        };
        FIRST_IOVA + (first + buffer) * self.page_bytes
    }

    /// What the driver did since the last call follows.
    fn collect(&mut self) {
        let told = self.core.ops_mut().platform_mut();
        self.pending.append(&mut told.operations);
    }

    /// The CPU maps a buffer; one whose address still rests in the flush queue has it flushed.
    fn map(&mut self, number: u64) -> Result<(), WorkloadError> {
        let (stream, buffer) = self.place(number);
        if self
            .queued
            .iter()
            .any(|queued| self.place(*queued) == (stream, buffer))
        {
            self.flush();
        }
        let frame = stream as u64 * self.section.pages + buffer;
        let paddr = Paddr(
            (BUFFERS + (1 << 40)).next_multiple_of(self.page_bytes) + frame * self.page_bytes,
        );
        let (domain, iova) = (self.domains[stream], iommu_core::Iova(self.iova(number)));
        let prot = Prot::READ | Prot::WRITE;
        self.core
            .map(domain, iova, paddr, self.page_bytes, prot)
            .map_err(wrong)?;
        self.collect();
        Ok(())
    }

    /// The device is done with a buffer: the CPU unmaps it.
    fn unmap(&mut self, number: u64) {
        let last = (number + 1) * u64::from(self.section.per_buffer) - 1;
        self.pending.push_back(Operation::AwaitTransaction(last));
        let (stream, _) = self.place(number);
        let (domain, iova) = (self.domains[stream], iommu_core::Iova(self.iova(number)));
        if self.section.flush == Flush::Strict {
            self.core.unmap(domain, iova, self.page_bytes);
        } else {
            let mut gather = Gather::default();
            self.core
                .unmap_fast(domain, iova, self.page_bytes, &mut gather);
            self.queued.push(number);
            if self.queued.len() >= self.section.flush_pages as usize {
                self.flush();
            }
        }
        self.collect();
    }

    /// The flush queue is emptied, one domain after another.
    fn flush(&mut self) {
        let queued = std::mem::take(&mut self.queued);
        let streams = queued.iter().map(|number| self.place(*number).0);
        let mut domains: Vec<DomainId> = streams.map(|stream| self.domains[stream]).collect();
        domains.sort_unstable();
        domains.dedup();
        for domain in domains {
            self.core.ops_mut().flush_iotlb_all(domain);
        }
        self.collect();
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
        let (stream, _) = self.place(number);
        let size = u64::from(self.section.bytes).next_power_of_two();
        let address = Iova::new(self.iova(number) + within * size % self.page_bytes);
        let writes = u64::from(self.section.writes);
        let kind = if writes != 0 && self.random.below(1000) < writes {
            AccessKind::Write
        } else {
            AccessKind::Read
        };
        let transaction = Transaction::new(StreamId::new(stream as u32), address, kind);
        if within == 0 {
            self.map(number + 1)?;
            if let Some(done) = number.checked_sub(HELD * self.domains.len() as u64) {
                self.unmap(done);
            }
        }
        self.issued += 1;
        self.pending.push_back(Operation::Arrive(Arrival {
            transaction,
            bytes: self.section.bytes,
            not_before: 0,
        }));
        Ok(self.pending.pop_front())
    }
}

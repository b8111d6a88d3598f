//! A machine for the driver's tests: RAM, SMMUs with the device model's registers and walks, and
//! a command queue consumer that only records. Every store to a watched STE is looked at by the
//! device model, which shares no code with the driver.

use std::collections::BTreeMap;

use iommu_core::Semantics;
use iommu_core::{Control, Errno};
use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::{Outcome, Smmu, Transaction};

use crate::entry::Entry;
use crate::{AtsState, Command, Platform, SmmuId};
use smmu::regfile::Width;

/// What the driver did, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Mmio(SmmuId, u32, u64),
    Command(SmmuId, Command),
    Store(u64, u64),
    Ats(StreamId, AtsState),
}

/// An SMMU: the model's registers, and what the model does not have yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestSmmu {
    pub(crate) smmu: Smmu,
    cons: u32,
    pub(crate) prod: u32,
    error: u32,
    gerror: u32,
    gerrorn: u32,
    event_prod: u32,
    /// Opcodes that stop the queue, each with its error code, once.
    pub(crate) refuse: Vec<(u8, u32)>,
}

/// A look at one STE after each store to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    pub(crate) ste: Pa,
    pub(crate) stream: StreamId,
    pub(crate) iova: u64,
    pub(crate) seen: Vec<(Entry, Outcome)>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Machine {
    control: Control,
    pub(crate) ram: Ram,
    next: u64,
    free: BTreeMap<u64, Vec<u64>>,
    pub(crate) allocated_bytes: u64,
    pub(crate) smmus: Vec<TestSmmu>,
    pub(crate) recording: bool,
    pub(crate) done: Vec<Done>,
    pub(crate) watch: Option<Watch>,
}

/// First byte of RAM.
pub(crate) const RAM: u64 = 1 << 32;

impl Machine {
    pub(crate) fn new(semantics: Semantics, configs: &[SmmuConfig]) -> Self {
        Self {
            control: Control::new(semantics),
            ram: Ram::with_regions(&[(RAM, 1 << 36)]).unwrap(),
            next: RAM,
            free: BTreeMap::new(),
            allocated_bytes: 0,
            smmus: configs
                .iter()
                .map(|config| TestSmmu {
                    smmu: Smmu::new(config.clone()).unwrap(),
                    cons: 0,
                    prod: 0,
                    error: 0,
                    gerror: 0,
                    gerrorn: 0,
                    event_prod: 0,
                    refuse: Vec::new(),
                })
                .collect(),
            recording: true,
            done: Vec::new(),
            watch: None,
        }
    }

    /// The commands since the last call, of all SMMUs.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.done
            .iter()
            .filter_map(|done| match done {
                Done::Command(_, command) => Some(*command),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn word(&self, pa: Pa) -> u64 {
        self.ram.port().read64(pa, AccessClass::Ste).unwrap()
    }

    pub(crate) fn entry(&self, pa: Pa) -> Entry {
        self.ram.port().read_line(pa, AccessClass::Ste).unwrap()
    }

    /// What a device's read does, by the device model.
    pub(crate) fn dma(&self, smmu: SmmuId, stream: StreamId, iova: u64) -> Outcome {
        self.access(smmu, &Transaction::read(stream, Iova::new(iova)))
    }

    pub(crate) fn access(&self, smmu: SmmuId, transaction: &Transaction) -> Outcome {
        self.smmus[smmu.0 as usize]
            .smmu
            .translate_cold(&mut self.ram.port(), transaction, &mut ())
    }

    /// The hardware puts a record into the event queue.
    pub(crate) fn push_event(&mut self, smmu: SmmuId, record: [u64; 4]) {
        let base = self.smmus[smmu.0 as usize]
            .smmu
            .mmio_read(crate::regs::EVTQ_BASE, Width::W64);
        let (pa, log2) = (base & 0x00ff_ffff_ffff_ffe0, base & 0x1f);
        let at = &mut self.smmus[smmu.0 as usize].event_prod;
        let slot = u64::from(*at) & ((1 << log2) - 1);
        *at += 1;
        let mut port = self.ram.port();
        for (offset, word) in (0..).step_by(8).zip(record) {
            port.write64(Pa::new(pa + slot * 32 + offset), word, AccessClass::Ste)
                .unwrap();
        }
    }

    fn look(&mut self, pa: Pa) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        if pa.get() >> 6 == watch.ste.get() >> 6 {
            let outcome = self.dma(SmmuId(0), watch.stream, watch.iova);
            watch.seen.push((self.entry(watch.ste), outcome));
        }
        self.watch = Some(watch);
    }
}

fn size_class(bytes: u64) -> u64 {
    bytes.next_power_of_two().max(4096)
}

impl Platform for Machine {
    fn control(&self) -> &Control {
        &self.control
    }

    fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64 {
        let smmu = &self.smmus[smmu.0 as usize];
        match offset {
            crate::regs::CMDQ_CONS => u64::from(smmu.cons | smmu.error << 24),
            crate::regs::GERROR => smmu.gerror.into(),
            crate::regs::GERRORN => smmu.gerrorn.into(),
            crate::regs::EVTQ_PROD => smmu.event_prod.into(),
            _ => smmu.smmu.mmio_read(offset, width),
        }
    }

    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64) {
        if self.recording {
            self.done.push(Done::Mmio(smmu, offset, value));
        }
        let smmu = &mut self.smmus[smmu.0 as usize];
        match offset {
            crate::regs::CMDQ_PROD => smmu.prod = value as u32,
            crate::regs::CMDQ_CONS => smmu.cons = value as u32,
            crate::regs::GERRORN => smmu.gerrorn = value as u32,
            _ => smmu.smmu.mmio_write(offset, width, value),
        }
    }

    fn relax(&mut self, smmu: SmmuId) {
        let ram = &self.ram;
        let smmu = &mut self.smmus[smmu.0 as usize];
        let base = smmu.smmu.mmio_read(crate::regs::CMDQ_BASE, Width::W64);
        let (pa, log2) = (base & 0x00ff_ffff_ffff_ffe0, base & 0x1f);
        while smmu.cons != smmu.prod && smmu.gerror == smmu.gerrorn {
            let slot = u64::from(smmu.cons) & ((1 << log2) - 1);
            let word = ram
                .port()
                .read64(Pa::new(pa + slot * 16), AccessClass::Ste)
                .unwrap();
            let refused = smmu
                .refuse
                .iter()
                .position(|(opcode, _)| *opcode == word as u8);
            if let Some(at) = refused {
                smmu.error = smmu.refuse.remove(at).1;
                smmu.gerror ^= 1;
                return;
            }
            smmu.cons = (smmu.cons + 1) & ((2 << log2) - 1);
        }
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        let class = size_class(bytes);
        self.allocated_bytes += bytes;
        if let Some(pa) = self.free.get_mut(&class).and_then(Vec::pop) {
            for offset in (0..bytes).step_by(8) {
                self.ram
                    .port()
                    .write64(Pa::new(pa + offset), 0, AccessClass::Ste)
                    .ok()?;
            }
            return Some(Pa::new(pa));
        }
        let pa = self.next.next_multiple_of(class);
        self.next = pa + class;
        (self.next <= RAM + (1 << 36)).then(|| Pa::new(pa))
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        self.allocated_bytes -= bytes;
        self.free
            .entry(size_class(bytes))
            .or_default()
            .push(pa.get());
    }

    fn load(&self, pa: Pa) -> u64 {
        self.word(pa)
    }

    fn store(&mut self, pa: Pa, value: u64) {
        self.ram
            .port()
            .write64(pa, value, AccessClass::Ste)
            .unwrap();
        if self.recording {
            self.done.push(Done::Store(pa.get(), value));
        }
        if self.watch.is_some() {
            self.look(pa);
        }
    }

    fn set_ats(&mut self, _smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.done.push(Done::Ats(stream, state));
        Ok(())
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        if self.recording {
            self.done.push(Done::Command(smmu, command));
        }
    }
}

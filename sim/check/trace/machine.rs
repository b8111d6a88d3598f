//! The machine a trace is replayed on: the model, and memory as the trace tells of it.

use std::collections::BTreeSet;

use smmu::addr::Pa;
use smmu::cache::CacheConfig;
use smmu::config::{ConfigError, SmmuConfig};
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, BusAbort, BusResult, PhysMem, Ram, RamPort};
use smmu::observe::{Access, Action, CacheEvent, Observer, Structure};
use smmu::queue::Ring;
use smmu::regfile::{Width, register_offset};
use smmu::sanitize::Finding;
use smmu::{CommandStep, Outcome, Smmu, Transaction};

use super::device::{Device, Watch};
use super::line::{Consumed, Fetched, RegisterWrite};
use crate::check::report::Found;
use crate::report::caches::Looks;

/// Registers of page 1 that a trace has folded onto page 0: queue pointers.
const PAGE_1: [u32; 4] = [0xa8, 0xac, 0xc8, 0xcc];
const PAGE_1_BASE: u32 = 0x1_0000;
/// CR0.EVENTQEN.
const EVENTQEN: u64 = 1 << 2;

/// Memory: what the trace shows, zero elsewhere, and refusals where faults tell of one.
#[derive(Debug)]
pub(super) struct Memory {
    ram: Ram,
    refused: BTreeSet<u64>,
}

impl Memory {
    fn new() -> Self {
        Self {
            ram: Ram::sparse(),
            refused: BTreeSet::new(),
        }
    }

    /// A connection to it.
    pub(super) fn port(&self) -> Port<'_> {
        Port {
            ram: self.ram.port(),
            refused: &self.refused,
        }
    }

    /// Words at `pa`, which lies in the 52-bit space.
    pub(super) fn store(&mut self, pa: u64, words: &[u64]) {
        for (&word, at) in words.iter().zip((pa..).step_by(8)) {
            self.refused.remove(&at);
            // Nothing aborts here: the sparse space has no end that `pa` could be beyond.
            let written = self
                .ram
                .port()
                .write64(Pa::new(at), word, AccessClass::Stage1);
            debug_assert!(written.is_ok(), "{at:#x} lies in the 52-bit space");
        }
    }

    /// The word at `pa` aborts until it is stored to.
    pub(super) fn refuse(&mut self, pa: u64) {
        self.refused.insert(pa & !7);
    }
}

/// A connection to [`Memory`].
pub(super) struct Port<'a> {
    ram: RamPort<'a>,
    refused: &'a BTreeSet<u64>,
}

impl PhysMem for Port<'_> {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        if !self.refused.is_empty() && self.refused.contains(&(pa.get() & !7)) {
            return Err(BusAbort);
        }
        self.ram.read64(pa, class)
    }

    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        self.ram.write64(pa, value, class)
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        self.ram.compare_exchange64(pa, current, new, class)
    }
}

/// What a translation read on its way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Number of accesses.
    pub(super) accesses: u64,
    /// The STE.
    pub(super) ste: Option<[u64; 8]>,
    /// The CD.
    pub(super) cd: Option<[u64; 8]>,
    /// The last stage-1 descriptor.
    pub(super) stage1: Option<u64>,
    /// The last stage-2 descriptor.
    pub(super) stage2: Option<u64>,
}

impl Observer for Seen {
    fn access(&mut self, access: &Access<'_>) {
        self.accesses += 1;
        match (access.structure, access.action) {
            (Structure::Ste, Action::ReadStructure(words)) => self.ste = Some(*words),
            (Structure::Cd, Action::ReadStructure(words)) => self.cd = Some(*words),
            (Structure::Stage1(_), Action::Read(word)) => self.stage1 = Some(word),
            (Structure::Stage2(_), Action::Read(word)) => self.stage2 = Some(word),
            _ => {}
        }
    }
}

/// What a translation read, and what it met in the caches if that is wanted.
struct Watched<'a> {
    seen: Seen,
    looks: &'a mut Option<Looks>,
}

impl Observer for Watched<'_> {
    fn access(&mut self, access: &Access<'_>) {
        self.seen.access(access);
    }

    fn watches_caches(&self) -> bool {
        self.looks.is_some()
    }

    fn cache(&mut self, event: &CacheEvent) {
        if let Some(looks) = self.looks {
            looks.cache(event);
        }
    }
}

/// The model's answer to a transaction.
pub(super) struct Answered {
    pub(super) outcome: Outcome,
    /// The record that is now in the event queue.
    pub(super) record: Option<[u64; 4]>,
    pub(super) found: Found,
}

/// The model and its memory. Every call that reaches the device goes through
/// [`Self::write_register`], [`Self::step_command`] or [`Self::translate`].
#[derive(Debug)]
pub(super) struct Machine {
    device: Device,
    pub(super) memory: Memory,
}

impl Machine {
    /// QEMU's part after reset. A part with one stage less answers its drivers alike: they use
    /// nothing it lacks.
    pub(super) fn new(caches: &CacheConfig, watch: Watch) -> Result<Self, ConfigError> {
        let smmu = Smmu::with_caches(SmmuConfig::qemu_11(), caches)?;
        Ok(Self {
            device: Device::new(smmu, watch)?,
            memory: Memory::new(),
        })
    }

    /// The device, to look at.
    pub(super) fn smmu(&self) -> &Smmu {
        self.device.smmu()
    }

    /// What the sanitizer has found since the last call.
    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        self.device.take_findings()
    }

    /// A register write of software.
    pub(super) fn write_register(&mut self, write: &RegisterWrite) {
        let offset = if PAGE_1.contains(&write.offset) {
            write.offset + PAGE_1_BASE
        } else {
            write.offset
        };
        self.device.mmio_write(offset, write.width, write.value);
    }

    /// Puts an STE, CD or descriptor into memory.
    pub(super) fn fetched(&mut self, fetched: &Fetched) {
        if let Some(words) = &fetched.words {
            self.memory.store(fetched.pa, words);
        }
    }

    /// A trace does not show L1STDs: makes one that leads from `stream` to its STE at `pa`.
    pub(super) fn link(&mut self, stream: StreamId, pa: u64) {
        let regs = self.smmu().registers();
        let cfg = regs.strtab_base_cfg();
        if cfg.fmt() != 1 {
            return;
        }
        let split = match cfg.split() {
            split @ (8 | 10) => u32::from(split),
            _ => 6,
        };
        let sid = u64::from(stream.get());
        let index = sid & ((1 << split) - 1);
        let Some(array) = pa.checked_sub(index << 6) else {
            return;
        };
        let align_log2 = (u32::from(cfg.log2size()).saturating_sub(split) + 3).max(6);
        let base = regs.strtab_base().addr() << 6 >> align_log2 << align_log2;
        let l1std = base + (sid >> split << 3);
        // Span is one more than the log2 of the number of STEs.
        let words = [array | u64::from(split + 1)];
        if l1std >> 52 == 0 {
            self.memory.store(l1std, &words);
        }
    }

    /// Puts a command into its slot of the command queue.
    pub(super) fn queue_command(&mut self, command: &Consumed) {
        let base = self.register("CMDQ_BASE", Width::W64);
        let ring = Ring::new((base & 0x1f) as u8, self.smmu().config().cmdqs);
        let at = ring.address(base & 0x00ff_ffff_ffff_ffe0, command.slot, 4);
        if at >> 52 == 0 {
            self.memory.store(at, &command.words);
        }
    }

    /// Rings the doorbell for one more command.
    pub(super) fn ring_once(&mut self) {
        let base = self.register("CMDQ_BASE", Width::W64);
        let ring = Ring::new((base & 0x1f) as u8, self.smmu().config().cmdqs);
        let cons = self.register("CMDQ_CONS", Width::W32) as u32;
        self.set_register("CMDQ_PROD", ring.next(cons).into());
    }

    /// One step of the command queue.
    pub(super) fn step_command(&mut self) -> CommandStep {
        self.device.step_command(&mut self.memory.port())
    }

    /// Recovers from CERROR_ILL as software does: puts another command in the place of the illegal
    /// one and acknowledges the error. Whether that command is then consumed.
    pub(super) fn replace_command(&mut self, command: &Consumed) -> bool {
        self.queue_command(command);
        let errors = self.register("GERROR", Width::W32);
        self.set_register("GERRORN", errors);
        matches!(self.step_command(), CommandStep::Consumed { .. })
    }

    /// Translates with caches, and reads back what is new in the event queue. `looks` is told what
    /// the caches did, if it is there.
    pub(super) fn translate(
        &mut self,
        transaction: &Transaction,
        looks: &mut Option<Looks>,
    ) -> Answered {
        let mut seen = Watched {
            seen: Seen::default(),
            looks,
        };
        let before = self.event_prod();
        let mut port = self.memory.port();
        let outcome = self.device.translate(&mut port, transaction, &mut seen);
        let record = (self.event_prod() != before).then(|| {
            let base = self.register("EVENTQ_BASE", Width::W64);
            let at = self.event_ring();
            let at = at.address(base & 0x00ff_ffff_ffff_ffe0, before, 5);
            [0, 8, 16, 24].map(|offset| {
                port.read64(Pa::new(at + offset), AccessClass::EventQueue)
                    .unwrap_or(u64::MAX)
            })
        });
        Answered {
            outcome,
            record,
            found: if seen.seen.accesses == 0 {
                Found::Cached
            } else {
                Found::Walked
            },
        }
    }

    /// Translates by what memory says now, without caches or queue.
    pub(super) fn translate_cold(&self, transaction: &Transaction) -> (Outcome, Seen) {
        let mut seen = Seen::default();
        let mut port = self.memory.port();
        let outcome = self
            .smmu()
            .translate_cold(&mut port, transaction, &mut seen);
        (outcome, seen)
    }

    fn register(&self, name: &str, width: Width) -> u64 {
        register_offset(name).map_or(0, |offset| self.smmu().mmio_read(offset, width))
    }

    fn set_register(&mut self, name: &str, value: u64) {
        if let Some(offset) = register_offset(name) {
            self.device.mmio_write(offset, Width::W32, value);
        }
    }

    fn event_ring(&self) -> Ring {
        let base = self.register("EVENTQ_BASE", Width::W64);
        Ring::new((base & 0x1f) as u8, self.smmu().config().eventqs)
    }

    /// EVENTQ_PROD without its overflow flag.
    pub(super) fn event_prod(&self) -> u32 {
        self.register("EVENTQ_PROD", Width::W32) as u32 & !(1 << 31)
    }

    /// Makes the event queue's producer stand one after `before`, or at it, as QEMU's does: where
    /// QEMU departs from the architecture one of the two has recorded an event more. Done as
    /// software would, with the queue disabled.
    pub(super) fn settle_events(&mut self, before: u32, recorded: Recording) {
        let prod = match recorded {
            Recording::One => self.event_ring().next(before),
            Recording::None => before,
        };
        if self.event_prod() == prod {
            return;
        }
        let overflow = self.register("EVENTQ_PROD", Width::W32) & 1 << 31;
        let cr0 = self.register("CR0", Width::W32);
        self.set_register("CR0", cr0 & !EVENTQEN);
        self.set_register("EVENTQ_PROD", overflow | u64::from(prod));
        self.set_register("CR0", cr0);
    }
}

/// Whether QEMU wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// It did.
    One,
    /// It did not.
    None,
}

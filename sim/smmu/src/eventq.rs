//! The event queue: which records get in, and what becomes of those that do not
//! (IHI 0070 §3.5, §7.2).

use crate::addr::Pa;
use crate::irq::{GlobalError, Source};
use crate::mem::{AccessClass, BusResult, PhysMem};
use crate::queue::{Fill, Ring};
use crate::regfile::Slot;
use crate::smmu::Smmu;
use crate::spec::event::Event;

/// xQ_PROD.OVFLG and xQ_CONS.OVACKFLG.
pub(crate) const OVERFLOW: u32 = 1 << 31;
const EVENT_LOG2: u32 = 5;

/// An output queue as its registers describe it.
pub(crate) struct OutputQueue {
    base: u64,
    ring: Ring,
    prod: Slot,
    cons: Slot,
    entry_log2: u32,
    class: AccessClass,
}

impl OutputQueue {
    pub(crate) fn new(
        base: u64,
        limit: u8,
        (prod, cons): (Slot, Slot),
        entry_log2: u32,
        class: AccessClass,
    ) -> Self {
        Self {
            base: base & 0x00ff_ffff_ffff_ffe0,
            ring: Ring::new((base & 0x1f) as u8, limit),
            prod,
            cons,
            entry_log2,
            class,
        }
    }

    pub(crate) fn fill(&self, smmu: &Smmu) -> Fill {
        let regs = &smmu.part.regs;
        self.ring.fill(regs.get32(self.prod), regs.get32(self.cons))
    }

    /// Whether an overflow is not yet acknowledged.
    pub(crate) fn overflowed(&self, smmu: &Smmu) -> bool {
        let regs = &smmu.part.regs;
        (regs.get32(self.prod) ^ regs.get32(self.cons)) & OVERFLOW != 0
    }

    /// Notes that a record was lost because the queue is full.
    pub(crate) fn overflow(&self, smmu: &mut Smmu) {
        if !self.overflowed(smmu) {
            let prod = smmu.part.regs.get32(self.prod) ^ OVERFLOW;
            smmu.part.regs.set(self.prod, prod.into());
        }
    }

    /// Writes a record and moves PROD past it; OVFLG stays as it is.
    pub(crate) fn push<M: PhysMem + ?Sized>(
        &self,
        smmu: &mut Smmu,
        mem: &mut M,
        words: &[u64],
    ) -> BusResult<()> {
        let prod = smmu.part.regs.get32(self.prod);
        let at = Pa::new(self.ring.address(self.base, prod, self.entry_log2));
        for (&word, offset) in words.iter().zip((0..).step_by(8)) {
            mem.write64(at.add(offset), word, self.class)?;
        }
        let moved = self.ring.next(prod) | prod & OVERFLOW;
        smmu.part.regs.set(self.prod, moved.into());
        Ok(())
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It is in the queue.
    Written,
    /// It is lost, or for a stalled transaction: not yet in the queue.
    NotWritten,
}

impl Smmu {
    fn event_queue(&self) -> OutputQueue {
        OutputQueue::new(
            self.part.regs.get(Slot::EventqBase),
            self.part.config.eventqs,
            (Slot::EventqProd, Slot::EventqCons),
            EVENT_LOG2,
            AccessClass::EventQueue,
        )
    }

    /// Whether a record could be written now.
    pub(crate) fn event_queue_is_writable(&self) -> bool {
        let regs = &self.part.regs;
        let fill = self.event_queue().fill(self);
        regs.cr0().eventqen()
            && !regs.active_errors().eventq_abt_err()
            && matches!(fill, Fill::Empty | Fill::Partly)
    }

    /// Records the event of a transaction that ended. Lost if the queue is disabled, broken or
    /// full; the last is an overflow.
    pub(crate) fn record<M: PhysMem + ?Sized>(&mut self, mem: &mut M, event: &Event) -> Recorded {
        let queue = self.event_queue();
        let regs = &self.part.regs;
        if regs.cr0().eventqen()
            && !regs.active_errors().eventq_abt_err()
            && matches!(queue.fill(self), Fill::Full | Fill::Inconsistent)
        {
            queue.overflow(self);
        }
        self.record_stalled(mem, event)
    }

    /// Records the event of a transaction that waits, which is never an overflow.
    pub(crate) fn record_stalled<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        event: &Event,
    ) -> Recorded {
        if !self.event_queue_is_writable() {
            return Recorded::NotWritten;
        }
        let queue = self.event_queue();
        let was_empty = queue.fill(self) == Fill::Empty;
        if queue.push(self, mem, &event.words()).is_err() {
            self.global_error(mem, GlobalError::EventqAbort);
            return Recorded::NotWritten;
        }
        if was_empty {
            self.interrupt(mem, Source::Eventq);
        }
        Recorded::Written
    }
}

//! Interrupts: wired pulses, messages, and the errors that raise them (IHI 0070 §3.18, §6.3.17).

use crate::addr::Pa;
use crate::mem::{AccessClass, PhysMem};
use crate::regfile::Slot;
use crate::smmu::Smmu;

/// Interrupts and events signalled over wires, counted since they were last taken. What goes out as
/// a message is a memory write and not counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interrupts {
    /// Global error.
    pub gerror: u32,
    /// Event queue not empty any more.
    pub eventq: u32,
    /// PRI queue: see `PRIQ_IRQ_CFG2.LO`.
    pub priq: u32,
    /// `CMD_SYNC` with CS=1.
    pub cmd_sync: u32,
    /// `CMD_SYNC` with CS=2: an event to waiting PEs.
    pub sev: u32,
}

/// Bits of GERROR (IHI 0070 §6.3.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum GlobalError {
    Cmdq = 0,
    EventqAbort = 2,
    PriqAbort = 3,
    MsiCmdqAbort = 4,
    MsiEventqAbort = 5,
    MsiPriqAbort = 6,
    MsiGerrorAbort = 7,
}

/// Sources of interrupts that software enables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Gerror,
    Eventq,
    Priq,
}

impl Smmu {
    /// Interrupts signalled over wires since the last call.
    pub fn take_interrupts(&mut self) -> Interrupts {
        std::mem::take(&mut self.interrupts)
    }

    /// Activates a global error and interrupts, unless it is active already.
    pub(crate) fn global_error<M: PhysMem + ?Sized>(&mut self, mem: &mut M, error: GlobalError) {
        let is_new = self.part.regs.activate_error(error as u32);
        // The error of the error interrupt's own message interrupts nobody.
        if is_new && error != GlobalError::MsiGerrorAbort {
            self.interrupt(mem, Source::Gerror);
        }
    }

    /// Interrupts, if software enabled this source: by message if it set one up, else by wire.
    pub(crate) fn interrupt<M: PhysMem + ?Sized>(&mut self, mem: &mut M, source: Source) {
        let enables = self.part.regs.irq_ctrl();
        let (enabled, address, data, error) = match source {
            Source::Gerror => (
                enables.gerror_irqen(),
                Slot::GerrorIrqCfg0,
                Slot::GerrorIrqCfg1,
                GlobalError::MsiGerrorAbort,
            ),
            Source::Eventq => (
                enables.eventq_irqen(),
                Slot::EventqIrqCfg0,
                Slot::EventqIrqCfg1,
                GlobalError::MsiEventqAbort,
            ),
            Source::Priq => (
                enables.priq_irqen(),
                Slot::PriqIrqCfg0,
                Slot::PriqIrqCfg1,
                GlobalError::MsiPriqAbort,
            ),
        };
        if !enabled {
            return;
        }
        let address = self.part.regs.get(address);
        if address != 0 {
            let data = self.part.regs.get32(data);
            self.message(mem, address, data, error);
            return;
        }
        let wire = match source {
            Source::Gerror => &mut self.interrupts.gerror,
            Source::Eventq => &mut self.interrupts.eventq,
            Source::Priq => &mut self.interrupts.priq,
        };
        *wire = wire.saturating_add(1);
    }

    /// Sends a message; if memory refuses, that is a global error.
    pub(crate) fn message<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        address: u64,
        data: u32,
        on_abort: GlobalError,
    ) {
        if mem
            .write32(Pa::new(address), data, AccessClass::Msi)
            .is_err()
        {
            self.global_error(mem, on_abort);
        }
    }
}

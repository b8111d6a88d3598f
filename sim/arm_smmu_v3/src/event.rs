//! The event and page request queues: ring arithmetic and draining (`arm_smmu_evtq_thread`,
//! `arm_smmu_priq_thread`).

use smmu::addr::Pa;
use smmu::spec::regs::{EventqBase, EventqCons, EventqProd};

use crate::cmdq::{advance, slot};
use crate::platform::{Platform, SmmuId, Width};
use crate::regs;

/// Whether the SMMU had to drop records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// None was dropped.
    No,
    /// Some were; the driver logs it.
    Yes,
}

/// Software's side of a queue the SMMU fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordQueue {
    base: Pa,
    log2: u8,
    /// Words of a record.
    words: u64,
    prod_register: u32,
    cons_register: u32,
    cons: u32,
    /// OVACKFLG as last written.
    acknowledged: bool,
}

impl RecordQueue {
    pub(crate) fn events(base: Pa, log2: u8) -> Self {
        Self {
            base,
            log2,
            words: 4,
            prod_register: regs::EVTQ_PROD,
            cons_register: regs::EVTQ_CONS,
            cons: 0,
            acknowledged: false,
        }
    }

    pub(crate) fn page_requests(base: Pa, log2: u8) -> Self {
        Self {
            words: 2,
            prod_register: regs::PRIQ_PROD,
            cons_register: regs::PRIQ_CONS,
            ..Self::events(base, log2)
        }
    }

    /// Bytes of an event queue.
    pub(crate) fn event_bytes(log2: u8) -> u64 {
        32 << log2
    }

    /// Bytes of a page request queue.
    pub(crate) fn pri_bytes(log2: u8) -> u64 {
        16 << log2
    }

    /// EVENTQ_BASE or PRIQ_BASE.
    pub(crate) fn base_register(&self) -> u64 {
        EventqBase::new()
            .with_log2size(self.log2)
            .with_addr(self.base.get() >> 5)
            .with_wa(true)
            .into()
    }

    /// Takes every record there is, oldest first, telling the SMMU after each. The loop ends: it
    /// takes at most what was there when it began, twice over.
    pub(crate) fn drain<P: Platform>(
        &mut self,
        platform: &mut P,
        smmu: SmmuId,
        mut each: impl FnMut(&mut P, [u64; 4]),
    ) -> Overflow {
        let mask = (2 << self.log2) - 1;
        let mut overflow = Overflow::No;
        for _ in 0..2u32 << self.log2 {
            let prod = platform.mmio_read(smmu, self.prod_register, Width::W32) as u32;
            let prod = EventqProd::from(prod);
            if prod.ovflg() != self.acknowledged {
                overflow = Overflow::Yes;
            }
            if prod.wr() & mask == self.cons {
                // Caught up: the overflow, if any, is acknowledged.
                if prod.ovflg() != self.acknowledged {
                    self.acknowledged = prod.ovflg();
                    self.write_cons(platform, smmu);
                }
                break;
            }
            let at = self.base.add(slot(self.cons, self.log2) * self.words * 8);
            let mut record = [0; 4];
            platform.read_words(at, &mut record[..self.words as usize]);
            self.cons = advance(self.cons, 1, self.log2);
            self.write_cons(platform, smmu);
            each(platform, record);
        }
        overflow
    }

    fn write_cons<P: Platform>(&self, platform: &mut P, smmu: SmmuId) {
        let cons: u32 = EventqCons::new()
            .with_rd(self.cons)
            .with_ovackflg(self.acknowledged)
            .into();
        platform.mmio_write(smmu, self.cons_register, Width::W32, cons.into());
    }
}

//! A whole device around one [`Bench`]: queues in memory, commands pushed as raw words, events read
//! back, registers by offset. Numbers come from the reference, never from accessors.

use smmu::addr::Pa;
use smmu::cache::CacheConfig;
use smmu::mem::{AbortInjector, AbortRule, AccessClass, PhysMem, Ram, RamPort};
use smmu::regfile::Width;
use smmu::{CommandStep, Outcome, Smmu, Transaction};

use super::bench::*;

pub(crate) const CR0ACK: u32 = 0x24;
pub(crate) const CR1: u32 = 0x28;
pub(crate) const IRQ_CTRL: u32 = 0x50;
pub(crate) const GERROR: u32 = 0x60;
pub(crate) const GERRORN: u32 = 0x64;
pub(crate) const GERROR_IRQ_CFG0: u32 = 0x68;
pub(crate) const GERROR_IRQ_CFG1: u32 = 0x70;
pub(crate) const CMDQ_BASE: u32 = 0x90;
pub(crate) const CMDQ_PROD: u32 = 0x98;
pub(crate) const CMDQ_CONS: u32 = 0x9c;
pub(crate) const EVENTQ_BASE: u32 = 0xa0;
pub(crate) const EVENTQ_IRQ_CFG0: u32 = 0xb0;
pub(crate) const PRIQ_BASE: u32 = 0xc0;
pub(crate) const PRIQ_IRQ_CFG2: u32 = 0xdc;
pub(crate) const EVENTQ_PROD: u32 = 0x1_00a8;
pub(crate) const EVENTQ_CONS: u32 = 0x1_00ac;
pub(crate) const PRIQ_PROD: u32 = 0x1_00c8;
pub(crate) const PRIQ_CONS: u32 = 0x1_00cc;

/// CR0 bits.
pub(crate) const SMMUEN: u64 = 1 << 0;
pub(crate) const PRIQEN: u64 = 1 << 1;
pub(crate) const EVENTQEN: u64 = 1 << 2;
pub(crate) const CMDQEN: u64 = 1 << 3;
pub(crate) const ATSCHK: u64 = 1 << 4;

/// Where the queues are, and where messages go.
pub(crate) const CMDQ: u64 = 0x4000_0000;
pub(crate) const EVENTQ: u64 = 0x4100_0000;
pub(crate) const PRIQ: u64 = 0x4200_0000;
pub(crate) const MSI: u64 = 0x4300_0000;

/// log2 of the sizes of the queues.
const CMDQ_LOG2: u64 = 6;
const EVENTQ_LOG2: u64 = 4;
const PRIQ_LOG2: u64 = 2;

pub(crate) const OVERFLOW: u64 = 1 << 31;

/// Bit of GERROR of each error.
pub(crate) const CMDQ_ERR: u64 = 1 << 0;
pub(crate) const EVENTQ_ABT_ERR: u64 = 1 << 2;
pub(crate) const PRIQ_ABT_ERR: u64 = 1 << 3;
pub(crate) const MSI_CMDQ_ABT_ERR: u64 = 1 << 4;
pub(crate) const MSI_GERROR_ABT_ERR: u64 = 1 << 7;

/// One device, all queues enabled.
#[derive(Debug, Clone)]
pub(crate) struct Rig {
    pub(crate) bench: Bench,
    pub(crate) smmu: Smmu,
    /// Applied to every access of the device while they are here.
    pub(crate) aborts: Vec<AbortRule>,
}

impl Rig {
    /// The bench's stream, infinite caches, all queues and interrupts enabled.
    pub(crate) fn new(bench: Bench) -> Self {
        Self::cached(bench, &CacheConfig::INFINITE)
    }

    pub(crate) fn cached(bench: Bench, caches: &CacheConfig) -> Self {
        bench.write_stream();
        let smmu = bench.program(Smmu::with_caches(bench.config.clone(), caches).unwrap());
        let mut rig = Self {
            bench,
            smmu,
            aborts: Vec::new(),
        };
        rig.write64(CMDQ_BASE, CMDQ | CMDQ_LOG2);
        rig.write64(EVENTQ_BASE, EVENTQ | EVENTQ_LOG2);
        rig.write64(PRIQ_BASE, PRIQ | PRIQ_LOG2);
        rig.write32(IRQ_CTRL, 7);
        let enables = PRIQEN | EVENTQEN | CMDQEN;
        let enabled = rig.read32(CR0) | enables;
        rig.write32(CR0, enabled);
        rig
    }

    pub(crate) fn read32(&self, offset: u32) -> u64 {
        self.smmu.mmio_read(offset, Width::W32)
    }

    pub(crate) fn read64(&self, offset: u32) -> u64 {
        self.smmu.mmio_read(offset, Width::W64)
    }

    pub(crate) fn write32(&mut self, offset: u32, value: u64) {
        self.smmu.mmio_write(offset, Width::W32, value);
    }

    pub(crate) fn write64(&mut self, offset: u32, value: u64) {
        self.smmu.mmio_write(offset, Width::W64, value);
    }

    /// Writes the STE and CD as the bench has them now.
    pub(crate) fn rewrite_stream(&self) {
        self.bench.write_stream();
    }

    /// Lets the device do something with its memory.
    pub(crate) fn with_memory<T>(
        &mut self,
        act: impl FnOnce(&mut Smmu, &mut AbortInjector<RamPort<'_>>) -> T,
    ) -> T {
        let mut memory = AbortInjector::new(self.bench.ram.port(), self.aborts.iter().cloned());
        act(&mut self.smmu, &mut memory)
    }

    pub(crate) fn translate(&mut self, transaction: &Transaction) -> Outcome {
        self.with_memory(|smmu, memory| smmu.translate(memory, transaction, &mut ()))
    }

    pub(crate) fn read(&mut self, address: u64) -> Outcome {
        self.translate(&read(address))
    }

    /// Puts a command behind the last one; does not carry it out.
    pub(crate) fn push(&mut self, words: [u64; 2]) {
        let base = self.read64(CMDQ_BASE);
        let log2 = base & 0x1f;
        let prod = self.read32(CMDQ_PROD);
        let at = (base & 0x00ff_ffff_ffff_ffe0) + (prod & ((1 << log2) - 1)) * 16;
        self.bench.write(at, words[0]);
        self.bench.write(at + 8, words[1]);
        self.write32(CMDQ_PROD, (prod + 1) & ((2 << log2) - 1));
    }

    pub(crate) fn step(&mut self) -> CommandStep {
        self.with_memory(|smmu, memory| smmu.step_command(memory, &mut ()))
    }

    /// Everything that waits to be done.
    pub(crate) fn run(&mut self) {
        self.with_memory(|smmu, memory| smmu.run_until_idle(memory, &mut (), 1000));
    }

    /// Pushes a command and a `CMD_SYNC`, and runs both.
    pub(crate) fn command(&mut self, words: [u64; 2]) {
        self.push(words);
        self.push([0x46, 0]);
        self.run();
        assert_eq!(self.active_errors(), 0, "{words:#x?}");
    }

    /// CERROR of a command: runs it, gives CMDQ_CONS.ERR, and makes the queue usable again.
    pub(crate) fn cerror(&mut self, words: [u64; 2]) -> u64 {
        let before = self.read32(CMDQ_CONS) & 0xf_ffff;
        self.push(words);
        self.run();
        if self.active_errors() & CMDQ_ERR == 0 {
            return 0;
        }
        let cons = self.read32(CMDQ_CONS);
        assert_eq!(cons & 0xf_ffff, before, "CONS stays at the command");
        self.write32(CMDQ_PROD, before);
        self.acknowledge(CMDQ_ERR);
        cons >> 24 & 0x7f
    }

    /// Errors that software has not acknowledged.
    pub(crate) fn active_errors(&self) -> u64 {
        self.read32(GERROR) ^ self.read32(GERRORN)
    }

    /// Toggles bits of GERRORN.
    pub(crate) fn acknowledge(&mut self, errors: u64) {
        let toggled = self.read32(GERRORN) ^ errors;
        self.write32(GERRORN, toggled);
    }

    /// The records between EVENTQ_CONS and EVENTQ_PROD; they stay.
    pub(crate) fn pending_events(&self) -> Vec<[u64; 4]> {
        let base = self.read64(EVENTQ_BASE);
        let mask = (2 << (base & 0x1f)) - 1;
        let (prod, mut at) = (self.read32(EVENTQ_PROD), self.read32(EVENTQ_CONS));
        let mut events = Vec::new();
        while (prod ^ at) & mask != 0 {
            let entry = (base & 0x00ff_ffff_ffff_ffe0) + (at & (mask >> 1)) * 32;
            events.push([0, 8, 16, 24].map(|word| self.bench.peek(entry + word)));
            at += 1;
        }
        events
    }

    /// Takes all records out of the event queue; acknowledges no overflow.
    pub(crate) fn take_events(&mut self) -> Vec<[u64; 4]> {
        let events = self.pending_events();
        let prod = self.read32(EVENTQ_PROD) & 0xf_ffff;
        let flag = self.read32(EVENTQ_CONS) & OVERFLOW;
        self.write32(EVENTQ_CONS, prod | flag);
        events
    }

    /// Pulses of the event queue's wire since they were last taken.
    pub(crate) fn event_pulses(&mut self) -> u32 {
        self.smmu.take_interrupts().eventq
    }
}

/// An address as TLBI commands hold it: bits \[127:76\], with Leaf as given.
pub(crate) fn tlbi(opcode: u64, vmid: u64, asid: u64, leaf: u64, address: u64) -> [u64; 2] {
    [opcode | vmid << 32 | asid << 48, leaf | address & !0xfff]
}

/// `CMD_CFGI_STE` with Leaf=0.
pub(crate) fn cfgi_ste(stream: u32) -> [u64; 2] {
    [0x03 | u64::from(stream) << 32, 0]
}

/// The words of two memories that differ: address, first, second.
pub(crate) fn differences(first: &Ram, second: &Ram) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    for (a, b) in [(first, second), (second, first)] {
        let (mut here, mut there) = (a.port(), b.port());
        let mut pages = Vec::new();
        a.for_each_page(|page, _| pages.push(page.get()));
        for at in pages
            .into_iter()
            .flat_map(|page| (page..page + 4096).step_by(8))
        {
            let word = |port: &mut RamPort<'_>| port.read64(Pa::new(at), AccessClass::Stage1);
            let (x, y) = (word(&mut here).unwrap(), word(&mut there).unwrap());
            if x != y {
                found.push((at, x, y));
            }
        }
    }
    found
}

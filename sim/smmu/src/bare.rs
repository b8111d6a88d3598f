//! A machine without software: memory, one SMMU, and streams whose tables are there already.
//!
//! For the first ten minutes, for tests and for tools that ask what hardware does. Everything the
//! [`MachineBuilder`] makes lies in simulated memory, bit for bit as software would have written it,
//! and can be changed there. A nested translation takes five lines:
//!
//! ```
//! use smmu::prelude::*;
//!
//! let device = StreamId::new(8);
//! let guest = Mappings::new().map(Iova::new(0xffff_c000), Ipa::new(0x8031_2000), 4096, Allow::ReadWrite);
//! let host = Mappings::new().map(Ipa::new(0x8000_0000), Pa::new(0x6000_0000), 8 << 20, Allow::ReadWrite);
//! let mut machine = BareMachine::builder().nested(device, guest, host).build()?;
//! assert_eq!(machine.read(device, Iova::new(0xffff_c678)).pa(), Some(Pa::new(0x6031_2678)));
//!
//! // What is not mapped faults, and leaves an event in the queue.
//! let outcome = machine.write(device, Iova::new(0x1000));
//! assert_eq!(machine.take_events(), [*outcome.event().ok_or("no event")?]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Address spaces are types: a stage 1 alone maps [`Iova`] to [`Pa`], a guest's stage 1 to
//! [`Ipa`](crate::addr::Ipa),
//! and one cannot be given where the other belongs.

mod builder;
mod mappings;
mod site;

pub use builder::{BuildError, MachineBuilder};
pub use mappings::{Allow, Leaves, Mappings};

use crate::addr::{Iova, Pa};
use crate::cmdq::CommandError;
use crate::fault::Stage;
use crate::ids::StreamId;
use crate::mem::{AccessClass, BusResult, DryRun, PhysMem, Ram};
use crate::observe::{Access, Observer, Structure};
use crate::queue::Ring;
use crate::regfile::{Width, register_offset};
use crate::smmu::Smmu;
use crate::spec::event::Event;
use crate::transaction::{Outcome, Transaction};

/// Memory and one SMMU, both open to whoever wants to do more than the methods here.
#[derive(Debug, Clone, PartialEq)]
pub struct BareMachine {
    /// The SMMU, enabled, with command queue and event queue.
    pub smmu: Smmu,
    /// Memory, with tables and queues in it.
    pub ram: Ram,
}

impl BareMachine {
    /// Begins a machine.
    pub fn builder() -> MachineBuilder {
        MachineBuilder::default()
    }

    /// A device reads.
    pub fn read(&mut self, stream: StreamId, address: Iova) -> Outcome {
        self.translate(&Transaction::read(stream, address))
    }

    /// A device writes.
    pub fn write(&mut self, stream: StreamId, address: Iova) -> Outcome {
        self.translate(&Transaction::write(stream, address))
    }

    /// A device does anything else.
    pub fn translate(&mut self, transaction: &Transaction) -> Outcome {
        self.observe(transaction, &mut ())
    }

    /// The same, with an eye on every access to memory and every look into a cache.
    pub fn observe(&mut self, transaction: &Transaction, observer: &mut impl Observer) -> Outcome {
        self.smmu
            .translate(&mut self.ram.port(), transaction, observer)
    }

    /// Carries out a command given as its two doublewords (IHI 0070 §4), past the command queue;
    /// how many cache entries it removed.
    ///
    /// # Errors
    /// [`CommandError`] if it is illegal.
    pub fn command(&mut self, words: [u64; 2]) -> Result<u64, CommandError> {
        self.smmu.execute_command(&mut self.ram.port(), words)
    }

    /// Takes the records out of the event queue, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        let smmu = &mut self.smmu;
        let read = |name| register_offset(name).map_or(0, |at| smmu.mmio_read(at, Width::W32));
        let (prod, mut cons) = (read("EVENTQ_PROD") as u32, read("EVENTQ_CONS") as u32);
        let base = register_offset("EVENTQ_BASE").map_or(0, |at| smmu.mmio_read(at, Width::W64));
        let ring = Ring::new((base & 0x1f) as u8, smmu.config().eventqs);
        let mut port = self.ram.port();
        let mut events = Vec::new();
        for _ in 0..ring.pending(prod, cons) {
            let at = Pa::new(ring.address(base & EVENTQ_ADDRESS, cons, EVENT_LOG2));
            let mut words = [0; 4];
            for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
                // The queue lies in memory: the builder put it there.
                *word = port
                    .read64(at.add(offset), AccessClass::EventQueue)
                    .unwrap_or(0);
            }
            events.push(Event::from_words(words));
            cons = ring.next(cons);
        }
        if let Some(at) = register_offset("EVENTQ_CONS") {
            // Whatever was lost before is acknowledged with what was read.
            let cons = cons | prod & crate::eventq::OVERFLOW;
            smmu.mmio_write(at, Width::W32, cons.into());
        }
        events
    }

    /// Software reads a word of memory.
    ///
    /// # Errors
    /// [`BusAbort`](crate::mem::BusAbort) where there is none.
    pub fn load(&self, pa: Pa) -> BusResult<u64> {
        self.ram.port().read64(pa, AccessClass::Stage1)
    }

    /// Software writes a word of memory, and tells nobody.
    ///
    /// # Errors
    /// [`BusAbort`](crate::mem::BusAbort) where there is none.
    pub fn store(&mut self, pa: Pa, value: u64) -> BusResult<()> {
        self.ram.port().write64(pa, value, AccessClass::Stage1)
    }

    /// Where the descriptor is that maps an address at a stage: the last that a walk reads there for
    /// the address itself. `None` if the stage takes no part.
    pub fn leaf(&self, stream: StreamId, address: Iova, stage: Stage) -> Option<Pa> {
        struct Last(Stage, Option<Pa>);
        impl Observer for Last {
            fn access(&mut self, access: &Access<'_>) {
                let stage = match access.structure {
                    Structure::Stage1(_) => Stage::Stage1,
                    Structure::Stage2(_) => Stage::Stage2,
                    _ => return,
                };
                if stage == self.0 && access.purpose == crate::observe::Purpose::Input {
                    self.1 = Some(access.pa);
                }
            }
        }
        let mut last = Last(stage, None);
        let transaction = Transaction::read(stream, address);
        let mut port = self.ram.port();
        let mut port = DryRun::new(&mut port);
        self.smmu.translate_cold(&mut port, &transaction, &mut last);
        last.1
    }
}

/// EVENTQ_BASE.ADDR, and log2 of the bytes of a record (IHI 0070 §6.3.26, §7.3).
const EVENTQ_ADDRESS: u64 = 0x00ff_ffff_ffff_ffe0;
const EVENT_LOG2: u32 = 5;

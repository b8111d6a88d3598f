//! Event queue, PRI queue and command queue against plain queues of values: random sizes, wrapping,
//! overflow, acknowledgement, disabling, and accesses that abort (IHI 0070 §3.5, §7.2, §8.2).

use std::collections::VecDeque;

use proptest::prelude::*;
use smmu::command::PriResponseCode;
use smmu::ids::StreamId;
use smmu::mem::{AbortRule, AccessClass};
use smmu::priq::PageRequest;

use crate::support::bench::*;
use crate::support::rig::*;

/// An output queue as software knows it.
#[derive(Debug, Clone)]
struct Model {
    /// Records that are in memory and not consumed, oldest first.
    records: VecDeque<[u64; 2]>,
    size: u64,
    /// Records ever written and consumed: pointers are these modulo twice the size.
    written: u64,
    consumed: u64,
    overflow: bool,
    acknowledged: bool,
    enabled: bool,
    /// The abort error is active.
    broken: bool,
    /// Interrupts expected since they were last taken.
    pulses: u32,
    errors: u32,
}

impl Model {
    fn new(log2: u32) -> Self {
        Self {
            records: VecDeque::new(),
            size: 1 << log2,
            written: 0,
            consumed: 0,
            overflow: false,
            acknowledged: false,
            enabled: true,
            broken: false,
            pulses: 0,
            errors: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() as u64 == self.size
    }

    fn overflowed(&self) -> bool {
        self.overflow != self.acknowledged
    }

    fn note_overflow(&mut self) {
        if !self.overflowed() {
            self.overflow = !self.overflow;
        }
    }

    fn write(&mut self, record: [u64; 2], aborts: bool) {
        if aborts {
            self.broken = true;
            self.errors += 1;
            return;
        }
        if self.records.is_empty() {
            self.pulses += 1;
        }
        self.records.push_back(record);
        self.written += 1;
    }

    fn consume(&mut self, n: u64) {
        let n = n.min(self.records.len() as u64);
        self.records.drain(..n as usize);
        self.consumed += n;
    }

    fn pointer(&self, count: u64, flag: bool) -> u64 {
        (count % (2 * self.size)) | (u64::from(flag) << 31)
    }

    fn prod(&self) -> u64 {
        self.pointer(self.written, self.overflow)
    }

    fn cons(&self) -> u64 {
        self.pointer(self.consumed, self.acknowledged)
    }
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Something for the queue; whether the write would abort.
    Record { aborts: bool },
    /// Software takes up to so many records.
    Consume(u64),
    /// Software acknowledges an overflow.
    AcknowledgeOverflow,
    /// Software acknowledges an abort.
    AcknowledgeError,
    /// The enable bit is written.
    Enable(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Record { aborts: false }),
        1 => Just(Step::Record { aborts: true }),
        3 => (0u64..5).prop_map(Step::Consume),
        1 => Just(Step::AcknowledgeOverflow),
        2 => Just(Step::AcknowledgeError),
        1 => any::<bool>().prop_map(Step::Enable),
        1 => Just(Step::Enable(true)),
    ]
}

/// Registers and error bits of one of the two output queues.
#[derive(Clone, Copy)]
struct Registers {
    enable: u64,
    base: u32,
    memory: u64,
    prod: u32,
    cons: u32,
    error: u64,
    entry_log2: u64,
}

const EVENTS: Registers = Registers {
    enable: EVENTQEN,
    base: EVENTQ_BASE,
    memory: EVENTQ,
    prod: EVENTQ_PROD,
    cons: EVENTQ_CONS,
    error: EVENTQ_ABT_ERR,
    entry_log2: 5,
};

const PAGES: Registers = Registers {
    enable: PRIQEN,
    base: PRIQ_BASE,
    memory: PRIQ,
    prod: PRIQ_PROD,
    cons: PRIQ_CONS,
    error: PRIQ_ABT_ERR,
    entry_log2: 4,
};

impl Registers {
    /// A device whose queue has 2^`log2` entries, its limit being `limit`.
    fn rig(&self, log2: u32, limit: u8) -> Rig {
        let bench = Bench::stage1().part(|part| {
            part.eventqs = limit;
            part.priqs = limit;
        });
        let mut rig = Rig::new(bench);
        let enabled = rig.read32(CR0);
        rig.write32(CR0, enabled & !self.enable);
        rig.write64(self.base, self.memory | u64::from(log2));
        rig.write32(CR0, enabled);
        rig
    }

    /// What software does to the queue, to the device and to the model.
    fn software(&self, rig: &mut Rig, model: &mut Model, step: Step) {
        match step {
            Step::Record { .. } => {}
            Step::Consume(n) => {
                model.consume(n);
                rig.write32(self.cons, model.cons());
            }
            Step::AcknowledgeOverflow => {
                model.acknowledged = model.overflow;
                rig.write32(self.cons, model.cons());
            }
            Step::AcknowledgeError => {
                if model.broken {
                    rig.acknowledge(self.error);
                }
                model.broken = false;
            }
            Step::Enable(enabled) => {
                model.enabled = enabled;
                let others = rig.read32(CR0) & !self.enable;
                rig.write32(CR0, others | if enabled { self.enable } else { 0 });
            }
        }
    }

    /// Compares registers, memory and interrupts.
    fn compare(&self, rig: &mut Rig, model: &mut Model) -> Result<(), TestCaseError> {
        prop_assert_eq!(rig.read32(self.prod), model.prod());
        prop_assert_eq!(rig.read32(self.cons), model.cons());
        let error = if model.broken { self.error } else { 0 };
        prop_assert_eq!(rig.active_errors(), error);
        for (n, record) in model.records.iter().enumerate() {
            let index = (model.consumed + n as u64) % model.size;
            let at = self.memory + (index << self.entry_log2);
            let found = match self.entry_log2 {
                5 => [rig.bench.peek(at), rig.bench.peek(at + 16)],
                _ => [rig.bench.peek(at), rig.bench.peek(at + 8)],
            };
            prop_assert_eq!(found, *record, "record {}", n);
        }
        let seen = rig.smmu.take_interrupts();
        let pulses = if self.entry_log2 == 5 {
            seen.eventq
        } else {
            seen.priq
        };
        prop_assert_eq!(pulses, std::mem::take(&mut model.pulses));
        prop_assert_eq!(seen.gerror, std::mem::take(&mut model.errors));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_event_queue_is_a_queue(
        log2 in 0u32..5,
        limit in 0u8..5,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut rig = EVENTS.rig(log2, limit);
        let mut model = Model::new(log2.min(limit.into()));
        for (n, step) in (1u64..).zip(steps) {
            if let Step::Record { aborts } = step {
                rig.aborts.extend(aborts.then(|| AbortRule::class(AccessClass::EventQueue)));
                let address = n << 12;
                let outcome = rig.read(address);
                prop_assert_eq!(number(&outcome), F_TRANSLATION);
                rig.aborts.clear();
                if model.enabled && !model.broken {
                    if model.is_full() {
                        model.note_overflow();
                    } else {
                        model.write([F_TRANSLATION | u64::from(SID) << 32, address], aborts);
                    }
                }
            }
            EVENTS.software(&mut rig, &mut model, step);
            EVENTS.compare(&mut rig, &mut model)?;
        }
    }

    #[test]
    fn the_pri_queue_is_a_queue_that_an_overflow_closes(
        log2 in 0u32..4,
        limit in 0u8..4,
        steps in prop::collection::vec((step(), any::<bool>()), 1..60),
    ) {
        let mut rig = PAGES.rig(log2, limit);
        let mut model = Model::new(log2.min(limit.into()));
        for (n, (step, last)) in (1u64..).zip(steps) {
            if let Step::Record { aborts } = step {
                rig.aborts.extend(aborts.then(|| AbortRule::class(AccessClass::PriQueue)));
                let request = PageRequest {
                    stream: StreamId::new(SID),
                    substream: None,
                    address: n << 12,
                    group: n as u16,
                    last,
                    read: true,
                    write: false,
                    execute: true,
                    privileged: true,
                };
                let answer =
                    rig.with_memory(|smmu, memory| smmu.page_request(memory, &request));
                rig.aborts.clear();
                let failure = Some(PriResponseCode::Failure);
                let expected = if !model.enabled || model.broken {
                    failure
                } else if model.is_full() || model.overflowed() {
                    model.note_overflow();
                    last.then_some(PriResponseCode::Success)
                } else {
                    let record = u64::from(SID) | 1 << 60 | u64::from(last) << 62;
                    model.write([record, n | n << 12], aborts);
                    if aborts { failure } else { None }
                };
                prop_assert_eq!(answer.map(|answer| answer.code), expected);
            }
            PAGES.software(&mut rig, &mut model, step);
            PAGES.compare(&mut rig, &mut model)?;
        }
    }
}

/// What a command in the queue is, as far as this model goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// CMD_SYNC with an interrupt.
    Sync,
    /// An opcode that does not exist.
    Bad,
}

#[derive(Debug, Clone, Copy)]
enum CommandEvent {
    Push(Kind),
    /// The SMMU takes a step; whether the fetch aborts.
    Step {
        aborts: bool,
    },
    /// Software mends the command at CONS, if it is bad.
    Mend,
    Acknowledge,
    /// Software takes back everything not consumed, while an error is active.
    TakeBack,
    Enable(bool),
}

fn command_event() -> impl Strategy<Value = CommandEvent> {
    prop_oneof![
        6 => Just(CommandEvent::Push(Kind::Sync)),
        1 => Just(CommandEvent::Push(Kind::Bad)),
        6 => Just(CommandEvent::Step { aborts: false }),
        1 => Just(CommandEvent::Step { aborts: true }),
        1 => Just(CommandEvent::Mend),
        2 => Just(CommandEvent::Acknowledge),
        1 => Just(CommandEvent::TakeBack),
        1 => any::<bool>().prop_map(CommandEvent::Enable),
        1 => Just(CommandEvent::Enable(true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_command_queue_is_a_queue_that_an_error_stops(
        log2 in 0u32..5,
        limit in 0u8..5,
        events in prop::collection::vec(command_event(), 1..80),
    ) {
        let mut rig = Rig::new(Bench::stage1().part(|part| part.cmdqs = limit));
        let enabled = rig.read32(CR0);
        rig.write32(CR0, enabled & !CMDQEN);
        rig.write64(CMDQ_BASE, CMDQ | u64::from(log2));
        rig.write32(CR0, enabled);
        let size = 1u64 << log2.min(limit.into());
        let mut waiting: VecDeque<Kind> = VecDeque::new();
        let (mut consumed, mut code, mut stopped, mut running) = (0u64, 0u64, false, true);
        for event in events {
            let (mut syncs, mut errors) = (0, 0);
            let prod = |consumed: u64, waiting: &VecDeque<Kind>| {
                (consumed + waiting.len() as u64) % (2 * size)
            };
            match event {
                CommandEvent::Push(kind) if (waiting.len() as u64) < size => {
                    let word = if kind == Kind::Sync { 0x46 | 1 << 12 } else { 0xff };
                    let at = CMDQ + 16 * (prod(consumed, &waiting) % size);
                    rig.bench.write(at, word);
                    rig.bench.write(at + 8, 0);
                    waiting.push_back(kind);
                    rig.write32(CMDQ_PROD, prod(consumed, &waiting));
                }
                CommandEvent::Push(_) => {}
                CommandEvent::Step { aborts } => {
                    rig.aborts.extend(aborts.then(|| AbortRule::class(AccessClass::CommandQueue)));
                    rig.step();
                    rig.aborts.clear();
                    if running && !stopped {
                        match waiting.front() {
                            None => {}
                            Some(Kind::Sync) if !aborts => {
                                waiting.pop_front();
                                consumed += 1;
                                syncs = 1;
                            }
                            Some(_) => {
                                stopped = true;
                                code = if aborts { 2 } else { 1 };
                                errors = 1;
                            }
                        }
                    }
                }
                CommandEvent::Mend => {
                    if let Some(front) = waiting.front_mut() {
                        *front = Kind::Sync;
                        rig.bench.write(CMDQ + 16 * (consumed % size), 0x46 | 1 << 12);
                    }
                }
                CommandEvent::Acknowledge => {
                    if stopped {
                        rig.acknowledge(CMDQ_ERR);
                    }
                    stopped = false;
                }
                CommandEvent::TakeBack => {
                    if stopped {
                        waiting.clear();
                        rig.write32(CMDQ_PROD, consumed % (2 * size));
                    }
                }
                CommandEvent::Enable(on) => {
                    running = on;
                    let others = rig.read32(CR0) & !CMDQEN;
                    rig.write32(CR0, others | if on { CMDQEN } else { 0 });
                }
            }
            let cons = rig.read32(CMDQ_CONS);
            prop_assert_eq!(cons & 0xf_ffff, consumed % (2 * size));
            if stopped {
                prop_assert_eq!(cons >> 24 & 0x7f, code);
            }
            prop_assert_eq!(rig.active_errors(), if stopped { CMDQ_ERR } else { 0 });
            let seen = rig.smmu.take_interrupts();
            prop_assert_eq!((seen.cmd_sync, seen.gerror), (syncs, errors));
        }
    }
}

#[test]
fn pointers_further_apart_than_the_queue_stop_it() {
    // deviations.md D39
    let mut rig = Rig::new(Bench::stage1());
    rig.bench.write(CMDQ, 0x46);
    rig.write32(CMDQ_PROD, 64 + 1);
    rig.run();
    assert_eq!((rig.read32(CMDQ_CONS), rig.active_errors()), (0, 0));
    rig.write32(CMDQ_PROD, 1);
    rig.run();
    assert_eq!(rig.read32(CMDQ_CONS), 1);
    // Of an output queue: full.
    rig.write32(EVENTQ_CONS, 16 - 1);
    assert_eq!(number(&rig.read(0x1000)), F_TRANSLATION);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW);
    rig.write32(EVENTQ_CONS, 0);
    assert_eq!(number(&rig.read(0x1000)), F_TRANSLATION);
    assert_eq!(rig.read32(EVENTQ_PROD), OVERFLOW | 1);
}

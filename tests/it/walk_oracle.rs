//! The walker against an independent oracle, over all configurations at once.
//!
//! Each case is a random world of [`crate::support::strategies`]. Model and oracle translate the same
//! transactions on copies of its memory and must agree on the reply, the output address and
//! attributes, the event record, every access in its order, and memory afterwards. Then each access
//! of the walk in turn is made to abort, and they must agree again.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use smmu::addr::Pa;
use smmu::attr::{Attributes, Cacheability, Device, MemoryKind, Policy, Shareability};
use smmu::mem::{AccessClass, BusAbort, BusResult, PhysMem};
use smmu::observe::{Access, Action, Observer, Structure};
use smmu::transaction::{AccessKind, InstructionOrData, Path, Privilege, Response};
use smmu::{Outcome, Smmu, Transaction};

use crate::support::oracle::{self, Answer, Attrs, Cache, Ids, Kind, Regs, Reply, Tx, Type};
use crate::support::strategies::{Memory, World, world};

/// The `nth` access (from 0) to the word at `pa`: the same in model and oracle, however many words
/// of a structure each reads at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Touch {
    pa: u64,
    nth: u32,
}

/// Memory that refuses one access, and keeps a list of all.
#[derive(Debug, Clone)]
struct Bus {
    memory: Memory,
    refused: Option<Touch>,
    touches: BTreeMap<u64, u32>,
    /// First word of each structure or descriptor accessed.
    accesses: Vec<Touch>,
}

impl Bus {
    fn new(memory: &Memory, refused: Option<Touch>) -> Self {
        Self {
            memory: memory.clone(),
            refused,
            touches: BTreeMap::new(),
            accesses: Vec::new(),
        }
    }

    /// Counts an access to `pa` and says whether it is refused.
    fn touch(&mut self, pa: u64) -> (Touch, bool) {
        let count = self.touches.entry(pa).or_default();
        let touch = Touch { pa, nth: *count };
        *count += 1;
        (touch, self.refused == Some(touch))
    }

    fn read_word(&mut self, pa: u64) -> BusResult<u64> {
        match self.touch(pa) {
            (_, true) => Err(BusAbort),
            (_, false) => self.memory.read(pa).ok_or(BusAbort),
        }
    }

    fn swap(&mut self, pa: u64, current: u64, new: u64) -> (Touch, BusResult<u64>) {
        match self.touch(pa) {
            (touch, true) => (touch, Err(BusAbort)),
            (touch, false) => (touch, self.memory.swap(pa, current, new).ok_or(BusAbort)),
        }
    }

    fn start(&mut self, pa: u64) {
        let nth = self.touches.get(&pa).copied().unwrap_or(0);
        self.accesses.push(Touch { pa, nth });
    }
}

impl PhysMem for Bus {
    fn read64(&mut self, pa: Pa, _class: AccessClass) -> BusResult<u64> {
        self.start(pa.get());
        self.read_word(pa.get())
    }

    fn write64(&mut self, _pa: Pa, _value: u64, _class: AccessClass) -> BusResult<()> {
        unreachable!("a translation writes by compare and swap only")
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        _class: AccessClass,
    ) -> BusResult<u64> {
        self.start(pa.get());
        self.swap(pa.get(), current, new).1
    }

    fn read_line(&mut self, pa: Pa, _class: AccessClass) -> BusResult<[u64; 8]> {
        let pa = pa.align_down(6).get();
        self.start(pa);
        let mut words = [0; 8];
        for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
            *word = self.read_word(pa + offset)?;
        }
        Ok(words)
    }
}

impl oracle::Mem for Bus {
    fn read(&mut self, pa: u64) -> Option<u64> {
        self.read_word(pa).ok()
    }

    fn cas(&mut self, pa: u64, old: u64, new: u64) -> Option<bool> {
        self.swap(pa, old, new).1.ok().map(|found| found == old)
    }
}

/// The accesses of the model in the oracle's notation.
#[derive(Debug, Default)]
struct Trace {
    reads: Vec<(char, u64)>,
    writes: Vec<u64>,
}

impl Observer for Trace {
    fn access(&mut self, access: &Access<'_>) {
        let pa = access.pa.get();
        let letter = match access.structure {
            Structure::L1Std => 'L',
            Structure::Ste => 'S',
            Structure::L1Cd => 'l',
            Structure::Cd => 'C',
            Structure::Stage1(_) => '1',
            Structure::Stage2(_) => '2',
        };
        match access.action {
            Action::Read(_) | Action::ReadStructure(_) | Action::AbortedRead => {
                self.reads.push((letter, pa));
            }
            Action::Update { old, found, .. } if found == old => self.writes.push(pa),
            Action::Update { .. } | Action::AbortedUpdate => {}
        }
    }
}

fn oracle_cache(level: Cacheability) -> Cache {
    let policy = match level.policy() {
        Policy::NonCacheable => oracle::Policy::Nc,
        Policy::WriteThrough => oracle::Policy::Wt,
        Policy::WriteBack => oracle::Policy::Wb,
    };
    Cache {
        policy,
        ra: level.read_allocate(),
        wa: level.write_allocate(),
        tr: level.is_transient(),
    }
}

fn oracle_attributes(attributes: Attributes) -> Attrs {
    let ty = match attributes.memory.kind() {
        MemoryKind::Device(Device::NGnRnE) => Type::Device(0),
        MemoryKind::Device(Device::NGnRE) => Type::Device(1),
        MemoryKind::Device(Device::NGRE) => Type::Device(2),
        MemoryKind::Device(Device::GRE) => Type::Device(3),
        MemoryKind::Normal { inner, outer } => Type::Normal {
            inner: oracle_cache(inner),
            outer: oracle_cache(outer),
        },
    };
    let sh = match attributes.shareability {
        Shareability::NonShareable => 0,
        Shareability::OuterShareable => 2,
        Shareability::InnerShareable => 3,
    };
    Attrs { ty, sh }
}

fn oracle_transaction(transaction: &Transaction) -> Tx {
    let kind = match transaction.kind {
        AccessKind::Read => Kind::Read,
        AccessKind::Write => Kind::Write,
        AccessKind::Atomic => Kind::Atomic,
        AccessKind::Clean => Kind::Clean,
        AccessKind::DestructiveRead => Kind::DestructiveRead,
        AccessKind::Invalidate => Kind::Invalidate,
        AccessKind::WriteDcp => Kind::WriteDcp,
        AccessKind::NoWriteDcp => Kind::NoWriteDcp,
        AccessKind::DestructiveHint => Kind::DestructiveHint,
    };
    Tx {
        sid: transaction.stream.get(),
        ssid: transaction.substream.map(smmu::ids::SubstreamId::get),
        addr: transaction.address.get(),
        kind,
        instruction: transaction.ind == InstructionOrData::Instruction,
        privileged: transaction.pnu == Privilege::Privileged,
        attrs: oracle_attributes(transaction.attributes),
    }
}

fn oracle_reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Translated(translation) => Reply::Done {
            pa: translation.pa.get(),
            attrs: oracle_attributes(translation.attributes),
            instruction: translation.ind == InstructionOrData::Instruction,
            privileged: translation.pnu == Privilege::Privileged,
        },
        Outcome::Terminated {
            response: Response::Abort,
            ..
        } => Reply::Abort,
        Outcome::Terminated {
            response: Response::RazWi,
            ..
        } => Reply::RazWi,
        Outcome::Stalled { .. } => Reply::Stall,
        Outcome::Dropped => Reply::NoOp,
        Outcome::Refused => unreachable!("a cold translation keeps no transaction"),
    }
}

fn event_words(outcome: &Outcome) -> Option<[u64; 4]> {
    outcome.event().map(|e| {
        [
            e.dw0.into_bits(),
            e.dw1.into_bits(),
            e.dw2.into_bits(),
            e.dw3.into_bits(),
        ]
        .map(u64::from)
    })
}

/// The model's answer in the oracle's terms, and its bus.
fn model_answer(
    smmu: &Smmu,
    memory: &Memory,
    transaction: &Transaction,
    refused: Option<Touch>,
) -> (Answer, Bus) {
    let mut bus = Bus::new(memory, refused);
    let mut trace = Trace::default();
    let outcome = smmu.translate_cold(&mut bus, transaction, &mut trace);
    let answer = Answer {
        reply: oracle_reply(&outcome),
        event: event_words(&outcome),
        reads: trace.reads,
        writes: trace.writes,
    };
    (answer, bus)
}

fn oracle_answer(
    world: &World,
    transaction: &Transaction,
    refused: Option<Touch>,
) -> (Answer, Bus) {
    let ids = world.config.id_registers();
    let ids = Ids {
        idr0: ids.idr0,
        idr1: ids.idr1,
        idr3: ids.idr3,
        idr5: ids.idr5,
        aidr: ids.aidr,
    };
    let registers = &world.registers;
    let registers = Regs {
        cr0: registers.cr0,
        cr1: registers.cr1,
        cr2: registers.cr2,
        gbpa: registers.gbpa,
        strtab_base: registers.strtab_base,
        strtab_base_cfg: registers.strtab_base_cfg,
    };
    let mut bus = Bus::new(&world.memory, refused);
    let answer = oracle::translate(&ids, &registers, &mut bus, &oracle_transaction(transaction));
    (answer, bus)
}

/// Compares the two on one transaction; gives the accesses made.
fn agree(
    world: &World,
    smmu: &Smmu,
    transaction: &Transaction,
    refused: Option<Touch>,
) -> Result<Vec<Touch>, String> {
    let (model, model_bus) = model_answer(smmu, &world.memory, transaction, refused);
    let (oracle, oracle_bus) = oracle_answer(world, transaction, refused);
    let difference = if model.reply != oracle.reply {
        "replies"
    } else if model.event != oracle.event {
        "event records"
    } else if model.reads != oracle.reads {
        "reads"
    } else if model.writes != oracle.writes {
        "hardware updates"
    } else if model_bus.memory != oracle_bus.memory {
        "memory afterwards"
    } else {
        return Ok(model_bus.accesses);
    };
    Err(report(
        world,
        transaction,
        refused,
        difference,
        &model,
        &oracle,
    ))
}

/// All that is needed to settle a disagreement by hand.
fn report(
    world: &World,
    transaction: &Transaction,
    refused: Option<Touch>,
    difference: &str,
    model: &Answer,
    oracle: &Answer,
) -> String {
    let mut text = format!("model and oracle differ in {difference}\n");
    let mut line = |name: &str, value: &dyn Debug| {
        writeln!(text, "{name:12} {value:x?}").expect("a String takes any text");
    };
    line("config", &world.config);
    line("registers", &world.registers);
    line("transaction", transaction);
    line("refused", &refused);
    let words = |place: u64, count: u64| {
        (0..count)
            .map(|i| world.memory.read(place + 8 * i))
            .collect::<Vec<_>>()
    };
    for (who, answer) in [("model", model), ("oracle", oracle)] {
        line(who, &answer.reply);
        line("  event", &answer.event);
        for &(letter, pa) in &answer.reads {
            let count = if matches!(letter, 'S' | 'C') { 8 } else { 1 };
            line(&format!("  read {letter}"), &(pa, words(pa, count)));
        }
        line("  writes", &answer.writes);
    }
    text
}

/// Compares model and oracle on every transaction of a world, undisturbed and with each access in
/// turn aborting.
fn check(seed: u64, corruptions: u32) -> Result<(), String> {
    let world = world(seed, corruptions);
    let smmu = world.smmu();
    for transaction in &world.transactions {
        for access in agree(&world, &smmu, transaction, None)? {
            agree(&world, &smmu, transaction, Some(access))?;
        }
    }
    Ok(())
}

proptest! {
    // A failure is replayed from the seed in its message, so none is kept in a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// IHI 0070 §3.4, §7.3, §13; DDI 0487 §D8: whatever the configuration.
    #[test]
    fn the_model_and_the_oracle_agree(seed in any::<u64>(), corruptions in 0..5_u32) {
        check(seed, corruptions).map_err(TestCaseError::fail)?;
    }
}

/// What a transaction came to, at the grain at which the generator must reach everything.
fn label(outcome: &Outcome) -> String {
    match (event_words(outcome), outcome) {
        (Some([number, flags, ..]), _) => {
            let number = number & 0xff;
            if number < 0x0b {
                return format!("event {number:02x}");
            }
            let class = ["CD", "TT", "IN", "??"][(flags >> 40 & 3) as usize];
            let stage = 1 + (flags >> 39 & 1);
            format!("event {number:02x} S{stage} {class}")
        }
        (None, Outcome::Translated(translation)) => match translation.path {
            Path::Disabled => "disabled".into(),
            Path::Bypass => "bypass".into(),
            Path::Stage1 => "stage 1".into(),
            Path::Stage2 => "stage 2".into(),
            Path::Nested => "nested".into(),
            Path::AtsTranslated => unreachable!("an untranslated transaction"),
        },
        (None, Outcome::Terminated { fault: None, .. }) => "abort by configuration".into(),
        (None, Outcome::Terminated { .. }) => "fault not recorded".into(),
        (None, _) => "hint dropped".into(),
    }
}

/// Counts of everything reached by the healthy and the corrupted worlds of `seeds`.
fn coverage(seeds: u64) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut count = |label: String| *counts.entry(label).or_default() += 1;
    for seed in 0..seeds {
        let world = world(seed, (seed % 5) as u32);
        let smmu = world.smmu();
        for transaction in &world.transactions {
            let mut trace = Trace::default();
            let outcome = smmu.translate_cold(&mut world.memory.clone(), transaction, &mut trace);
            count(label(&outcome));
            count(format!(
                "reply {}",
                match oracle_reply(&outcome) {
                    Reply::Done { .. } => "done",
                    Reply::Abort => "abort",
                    Reply::RazWi => "RAZ/WI",
                    Reply::Stall => "stall",
                    Reply::NoOp => "no-op",
                }
            ));
            if event_words(&outcome).is_some_and(|[number, flags, ..]| {
                number & 0xff == 0x13 && flags >> 40 & 3 == 1 && flags >> 44 & 1 == 0
            }) {
                count("table write refused".into());
            }
            if !trace.writes.is_empty() {
                count("hardware update".into());
            }
        }
    }
    counts
}

#[test]
fn the_generator_reaches_every_event_class_and_reply() {
    const EXPECTED: [&str; 42] = [
        "abort by configuration",
        "bypass",
        "disabled",
        "event 02",
        "event 03",
        "event 04",
        "event 06",
        "event 08",
        "event 09",
        "event 0a",
        "event 0b S1 TT",
        "event 0b S2 CD",
        "event 0b S2 IN",
        "event 0b S2 TT",
        "event 10 S1 IN",
        "event 10 S2 CD",
        "event 10 S2 IN",
        "event 10 S2 TT",
        "event 11 S1 IN",
        "event 11 S2 CD",
        "event 11 S2 IN",
        "event 11 S2 TT",
        "event 12 S1 IN",
        "event 12 S2 CD",
        "event 12 S2 IN",
        "event 12 S2 TT",
        "event 13 S1 IN",
        "event 13 S2 CD",
        "event 13 S2 IN",
        "event 13 S2 TT",
        "fault not recorded",
        "hardware update",
        "hint dropped",
        "nested",
        "reply RAZ/WI",
        "reply abort",
        "reply done",
        "reply no-op",
        "reply stall",
        "stage 1",
        "stage 2",
        "table write refused",
    ];
    const LEAST: u32 = 30;
    let counts = coverage(6000);
    let missing: Vec<_> = EXPECTED
        .iter()
        .filter(|label| counts.get(**label).is_none_or(|&count| count < LEAST))
        .collect();
    assert!(
        missing.is_empty(),
        "fewer than {LEAST} of {missing:?} in {counts:#?}"
    );
    let surprises: Vec<_> = counts
        .keys()
        .filter(|label| !EXPECTED.contains(&label.as_str()))
        .collect();
    assert!(
        surprises.is_empty(),
        "labels that no rule allows: {surprises:?}"
    );
}

//! One run: the machine a workload needs, the workload through it, and everything that was counted.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use smmu::Outcome;
use smmu::Smmu;
use smmu::ats::AtsEndpoints;
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::spec::event::Event;
use smmu::timing::{Completed, Machine, Operation, Probe, Report, UseOfAts, Workload};
use thiserror::Error;

use super::settings::{RunSettings, SettingsError};
use crate::workload::driven::{self, Driven};
use crate::workload::error::WorkloadError;
use crate::workload::generator::{Generator, Pattern};
use crate::workload::open::{Format, Source, open};
use crate::workload::recorded::Comparison;
use crate::workload::world::{self, World};

/// What a run is driven by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A trace file.
    Trace(PathBuf),
    /// The generator that the settings describe.
    Generated,
}

/// Why there is no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The workload cannot be used.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A cache cannot be built.
    #[error("the settings describe a cache that cannot be built")]
    Cache(#[from] smmu::cache::CacheError),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The workload was carried out to its end.
    Complete,
    /// It was interrupted; what was under way was carried out.
    Interrupted,
}

/// A run and what came of it.
#[derive(Debug)]
pub struct RunResult<P = ()> {
    /// What was counted.
    pub report: Report,
    /// How it ended.
    pub ending: Ending,
    /// A digest of every outcome: equal to the functional model's if all outcomes are.
    pub digest: u64,
    /// How answers compare with recorded ones.
    pub comparison: Option<Comparison>,
    /// Who watched.
    pub probe: P,
}

/// What a caller sees of a run under way, and how it stops it.
pub trait Watch {
    /// Called now and then with the number of transactions issued and, if known, of all.
    fn progress(&mut self, done: u64, all: Option<u64>);
}

impl Watch for () {
    fn progress(&mut self, _done: u64, _all: Option<u64>) {}
}

/// Operations between two looks at the outside world.
const LOOK_EVERY: u64 = 1 << 14;

/// A workload that ends when it is told to.
struct Stoppable<'s, 'w, W> {
    source: Source<'s>,
    stop: &'w AtomicBool,
    watch: &'w mut W,
    count: u64,
    stopped: bool,
    digest: u64,
}

impl<W: Watch> Workload for Stoppable<'_, '_, W> {
    fn next_operation(&mut self) -> Option<Operation> {
        if self.count.is_multiple_of(LOOK_EVERY) {
            self.stopped |= self.stop.load(Ordering::Relaxed);
            let (done, all) = self.source.progress();
            self.watch.progress(done, all);
        }
        self.count += 1;
        if self.stopped {
            return None;
        }
        self.source.next_operation()
    }

    fn completed(&mut self, completed: &Completed<'_>) {
        self.digest ^= digest(completed.index, completed.outcome);
        self.source.completed(completed);
    }
}

fn memory_of(settings: &RunSettings, input: &Input) -> Ram {
    match input {
        // A trace may bring tables of its own, wherever they are.
        Input::Trace(_) => Ram::sparse(),
        Input::Generated if settings.workload.pattern == Pattern::Driver => {
            driven::memory(&settings.machine, &settings.workload)
        }
        Input::Generated => world::memory(&settings.machine),
    }
}

/// A machine ready for a workload: who drives it, and the SMMU as software has left it.
fn prepare<'a>(
    ram: &'a Ram,
    shadow: &'a Ram,
    settings: &RunSettings,
    input: &Input,
) -> Result<(Source<'a>, Smmu), RunError> {
    let Input::Trace(path) = input else {
        if settings.workload.pattern == Pattern::Driver {
            let (driven, smmu) = Driven::new(ram, &settings.world(), &settings.workload)?;
            return Ok((Source::driven(driven), smmu));
        }
        let (mut world, smmu) = World::new(ram, &settings.world())?;
        let generator = Generator::new(&settings.workload, &mut world)?;
        return Ok((Source::generated(generator), smmu));
    };
    let (format, bytes) = open(path)?;
    let mut source = Source::trace(path, format, bytes, (ram, shadow));
    if format == Format::Recorded || source.sets_up() {
        if settings.timing.ats.enabled == UseOfAts::On {
            let what = "ats.enabled = true: the trace sets up an SMMU without ATS".to_owned();
            return Err(WorkloadError::World { what }.into());
        }
        let smmu = Smmu::new(SmmuConfig::qemu_11()).map_err(|error| WorkloadError::World {
            what: error.to_string(),
        })?;
        return Ok((source, smmu));
    }
    let (world, smmu) = World::new(ram, &settings.world())?;
    Ok((source.on(world), smmu))
}

/// Runs a workload through the timed machine.
///
/// # Errors
/// [`RunError`]: the settings or the workload are wrong, perhaps only at a later line.
pub fn timed<P: Probe, W: Watch>(
    settings: &RunSettings,
    input: &Input,
    probe: P,
    (stop, watch): (&AtomicBool, &mut W),
) -> Result<RunResult<P>, RunError> {
    let (ram, shadow) = (memory_of(settings, input), Ram::sparse());
    let (source, smmu) = prepare(&ram, &shadow, settings, input)?;
    let mut workload = Stoppable {
        source,
        stop,
        watch,
        count: 0,
        stopped: false,
        digest: 0,
    };
    let mut machine = Machine::watched(smmu, ram.port(), &settings.timing, probe)?;
    machine.run(&mut workload);
    let ending = if workload.stopped {
        Ending::Interrupted
    } else {
        Ending::Complete
    };
    let comparison = workload.source.comparison().cloned();
    let digest = workload.digest;
    if let Some(error) = workload.source.error() {
        return Err(error.into());
    }
    Ok(RunResult {
        report: machine.report(),
        ending,
        digest,
        comparison,
        probe: machine.into_probe(),
    })
}

/// What the functional model made of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionalResult {
    /// Transactions.
    pub transactions_count: u64,
    /// Of these, translated.
    pub translated_count: u64,
    /// Commands.
    pub commands_count: u64,
    /// A digest of every outcome, in the order of arrival.
    pub digest: u64,
    /// How answers compare with recorded ones.
    pub comparison: Option<Comparison>,
}

/// Runs a workload through the functional model: each operation at once, in order.
///
/// # Errors
/// [`RunError`] as [`timed`].
pub fn functional(
    settings: &RunSettings,
    input: &Input,
    caches: &CacheConfig,
) -> Result<FunctionalResult, RunError> {
    let (ram, shadow) = (memory_of(settings, input), Ram::sparse());
    let (mut source, smmu) = prepare(&ram, &shadow, settings, input)?;
    let mut smmu = smmu.with_other_caches(caches)?;
    let mut port = ram.port();
    let mut result = FunctionalResult::default();
    let ats = &settings.timing.ats;
    let mut devices = (ats.enabled == UseOfAts::On)
        .then(|| AtsEndpoints::new(ats.entries as usize, ats.stu_log2 as u8));
    while let Some(operation) = source.next_operation() {
        match operation {
            Operation::Arrive(arrival) => {
                let transaction = &arrival.transaction;
                let outcome = match &mut devices {
                    Some(devices) => devices.access(&mut smmu, &mut port, transaction, &mut ()),
                    None => smmu.translate(&mut port, transaction, &mut ()),
                };
                let index = result.transactions_count;
                result.digest ^= digest(index, &outcome);
                result.transactions_count += 1;
                result.translated_count += u64::from(outcome.pa().is_some());
                let completed = Completed {
                    index,
                    arrival: &arrival,
                    outcome: &outcome,
                    latency_cycles: 0,
                    time: 0,
                };
                source.completed(&completed);
            }
            Operation::Command(words) => {
                result.commands_count += 1;
                // An illegal command of a trace does nothing, timed or not.
                let _ = match &mut devices {
                    Some(devices) => smmu.execute_command_with(&mut port, devices, words),
                    None => smmu.execute_command(&mut port, words),
                };
            }
            Operation::Register {
                offset,
                width,
                value,
            } => smmu.mmio_write(offset, width, value),
            Operation::Store { pa, value } => {
                let _ = port.write64(pa, value, AccessClass::Stage1);
            }
            Operation::AwaitTransaction(_) | Operation::AwaitCommands | Operation::Fence => {}
        }
    }
    result.comparison = source.comparison().cloned();
    match source.error() {
        Some(error) => Err(error.into()),
        None => Ok(result),
    }
}

/// A number that says what became of the transaction with this index: equal outcomes of equal
/// transactions give equal numbers, in whatever order they are put together.
pub fn digest(index: u64, outcome: &Outcome) -> u64 {
    let mut hash = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut mix = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 29;
    };
    match outcome {
        Outcome::Translated(translation) => {
            mix(1);
            mix(translation.pa.get());
            mix(u64::from(translation.span_log2));
        }
        Outcome::Terminated { event, .. } => {
            mix(2);
            for word in event.iter().flat_map(Event::words) {
                mix(word);
            }
        }
        Outcome::Stalled { event, .. } => {
            mix(3);
            event.words().into_iter().for_each(mix);
        }
        Outcome::Dropped => mix(4),
        Outcome::Refused => mix(5),
    }
    hash
}

/// The input a name on the command line means: a pattern, a workload file, or a trace.
///
/// # Errors
/// [`RunError`] if it is none of them.
pub fn input_of(name: &str, settings: &mut RunSettings) -> Result<Input, RunError> {
    let path = Path::new(name);
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        settings.apply_file(path)?;
        return Ok(Input::Generated);
    }
    let value = smmu::timing::Value::Word(name.to_owned());
    if !path.exists() && settings.set("workload.pattern", &value).is_ok() {
        return Ok(Input::Generated);
    }
    Ok(Input::Trace(path.to_owned()))
}

//! The machine of a scenario, what a step does to it, and what it looks like afterwards.

use std::collections::{BTreeMap, BTreeSet};

use arm_smmu_v3::SmmuId;
use iommu_core::{Control, Errno, KernelBug};
use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::config::{self, PARTS, SmmuConfig};
use smmu::ids::SubstreamId;
use smmu::mem::AbortRule;
use smmu::sanitize::{Finding, SanitizerConfig};
use smmu::spec::attrs::SteConfig;
use smmu::spec::ste::Ste;
use smmu::transaction::{AccessKind, InstructionOrData, Privilege};
use smmu::{CommandError, Outcome, Transaction};

use super::bare::Bare;
use super::file::{Caches, ScenarioFile, SmmuSection};
use super::linux::Linux;
use super::names;
use super::source::{Diagnostic, Located, Span};
use super::step::{Counter, Dma, DmaAccess, Fail, Home, Operation, Step, check_fail};
use crate::board::{Board, BoardConfig};
use crate::explain::{Explained, Recording};
use crate::report::caches::Looks;

/// The SMMU of a file that names none.
const PART: &str = "qemu-11";
/// Memory of a file that names none.
const MEMORY: (u64, u64) = (0x4000_0000, 0x4000_0000);
/// Least memory: tables have the second to eighth mebibyte of the first range.
const MEMORY_MIN: u64 = 0x100_0000;

/// How often a DMA is repeated at most.
const TIMES_MAX: u64 = 4096;

/// What a step was seen to do.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The access, with every access to memory on the way.
    pub explained: Option<Explained>,
    /// What it met in the caches of which SMMU.
    pub looks: Option<(SmmuId, Looks)>,
    /// What became of it, or of the stalled one that a command resolved.
    pub outcome: Option<Outcome>,
    /// Where the guest sees what was reached.
    pub guest: Option<u64>,
    /// What a system call returned.
    pub result: Option<Result<(), Errno>>,
    /// The step that was made to fail.
    pub failed_step: Option<&'static str>,
    /// Where the kernel stopped in this step.
    pub bug: Option<KernelBug>,
    /// A register's value, or another number that was asked for.
    pub value: Option<u64>,
    /// Commands consumed.
    pub commands: Vec<&'static str>,
    /// Cache entries they removed.
    pub removed: u64,
    /// Why the command queue stopped.
    pub command_error: Option<CommandError>,
    /// What the sanitizer found.
    pub findings: Vec<(SmmuId, Finding)>,
}

/// What a machine looks like, caches aside.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// STEs, by device or StreamID.
    pub stes: BTreeMap<String, [u64; 8]>,
    /// The same in words.
    pub streams: BTreeMap<String, String>,
    /// Domains of containers, newest first.
    pub domains: BTreeMap<String, Vec<Vec<String>>>,
    /// Mappings of containers.
    pub mappings: BTreeMap<String, u64>,
    /// Books.
    pub counters: BTreeMap<Counter, u64>,
}

/// Hardware alone, or under Linux.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Bare(Box<Bare>),
    Linux(Box<Linux>),
}

/// The machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine(Kind);

impl Machine {
    /// The machine that a file describes.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub fn new(file: &ScenarioFile) -> Result<Self, Diagnostic> {
        names::distinct("stage1", file.stage1.iter().map(|stage1| &stage1.name))?;
        names::distinct("stage2", file.stage2.iter().map(|stage2| &stage2.name))?;
        names::distinct("device", file.device.iter().map(|device| &device.name))?;
        names::distinct("bridge", file.bridge.iter().map(|bridge| &bridge.name))?;
        let kind = match &file.linux {
            None => {
                if let Some(bridge) = file.bridge.first() {
                    let message = "bridges are for machines with Linux";
                    return Err(Diagnostic::new(message, bridge.name.span(), "this bridge"));
                }
                if let Some(device) = file.device.first() {
                    let message = "devices are for machines with Linux";
                    return Err(Diagnostic::new(message, device.name.span(), "this device")
                        .help("add [linux], or declare a [[stream]] instead"));
                }
                Kind::Bare(Box::new(Bare::new(file)?))
            }
            Some(linux) => {
                let wrong = file.stage2.first().map(|stage2| stage2.name.span());
                let wrong = wrong.or(file.stream.first().map(|stream| stream.id.span()));
                let wrong = wrong.or(file.memory.first().map(|memory| memory.base.span()));
                let mut registers = file.smmu.iter().flat_map(|smmu| smmu.registers.values());
                if let Some(span) = wrong.or(registers.next().map(Located::span)) {
                    let message = "Linux sees to streams, stage 2, memory and registers itself";
                    return Err(
                        Diagnostic::new(message, span, "declared here").and(linux.span(), "Linux")
                    );
                }
                names::distinct("container", linux.containers.iter())?;
                Kind::Linux(Box::new(Linux::new(file, linux)?))
            }
        };
        let mut machine = Self(kind);
        let watched = machine.board_mut().watch(&SanitizerConfig::default());
        watched.map_err(|error| Diagnostic::new(error.to_string(), 0..0, "here"))?;
        Ok(machine)
    }

    /// The hardware.
    pub fn board(&self) -> &Board {
        match &self.0 {
            Kind::Bare(bare) => &bare.board,
            Kind::Linux(linux) => linux.board(),
        }
    }

    fn board_mut(&mut self) -> &mut Board {
        match &mut self.0 {
            Kind::Bare(bare) => &mut bare.board,
            Kind::Linux(linux) => linux.board_mut(),
        }
    }

    /// Does what a step says.
    ///
    /// # Errors
    /// A mistake of the file; what the machine makes of the operation is no error.
    pub fn run(&mut self, step: &Located<Step>) -> Result<Seen, Diagnostic> {
        let operation = self.operation(step)?;
        let mut seen = Seen::default();
        let fail = step.fail.as_ref();
        match (&mut self.0, operation) {
            (_, Operation::Dma(dma)) => self.dma(dma, fail, &mut seen)?,
            (kind, Operation::Map(map)) => {
                kind.edit(|tables, ram, frames| tables.map(map, ram, frames))?;
            }
            (kind, Operation::Unmap(unmap)) => {
                kind.edit(|tables, ram, frames| tables.unmap(unmap, ram, frames))?;
            }
            (kind, Operation::Rewrite(rewrite)) => {
                kind.edit(|tables, ram, frames| tables.rewrite(rewrite, ram, frames))?;
            }
            (Kind::Bare(bare), Operation::Ste(change)) => bare.change_ste(change)?,
            (Kind::Bare(bare), Operation::Cd(change)) => {
                bare.edit(|tables, ram, _| tables.change_cd(change, ram))?;
            }
            (Kind::Bare(bare), Operation::Register(access)) => {
                bare.access_register(access, &mut seen)?;
            }
            (Kind::Bare(bare), Operation::Command(command)) => {
                bare.queue_command(command, &mut seen)?;
            }
            (Kind::Linux(linux), call) => linux.call(call, fail, &mut seen)?,
            (Kind::Bare(_), _) => {}
        }
        if let Kind::Linux(linux) = &mut self.0 {
            let commands = linux.board_mut().take_commands();
            let names = commands.iter().map(|(_, command)| command.opcode());
            seen.commands = names.map(|op| op.name().unwrap_or("reserved")).collect();
        }
        seen.findings = self.board_mut().take_findings();
        Ok(seen)
    }

    /// The one thing a step does, if this machine can do it.
    fn operation<'a>(&self, step: &'a Located<Step>) -> Result<Operation<'a>, Diagnostic> {
        let written = step.operations();
        let written = match written.as_slice() {
            [] => {
                if let Some(fail) = &step.fail {
                    let message = "nothing is done that could fail";
                    return Err(Diagnostic::new(message, fail.span(), "this is to fail"));
                }
                return Ok(Operation::Look);
            }
            [one] => one.clone(),
            [first, second, ..] => {
                let message = format!("a step does one thing: {} or {}", first.key, second.key);
                let (a, b) = (first.span.clone(), second.span.clone());
                return Err(Diagnostic::new(message, b, "the second").and(a, "the first"));
            }
        };
        let home = match self.0 {
            Kind::Bare(_) => Home::Bare,
            Kind::Linux(_) => Home::Linux,
        };
        if written.home != Home::Any && written.home != home {
            let message = format!(
                "{} is for machines {}",
                written.key,
                match home {
                    Home::Bare | Home::Any => "with Linux: there is no [linux]",
                    Home::Linux => "without Linux, whose driver does this itself",
                }
            );
            return Err(Diagnostic::new(message, written.span, "not on this one"));
        }
        check_fail(step.fail.as_ref(), &written)?;
        Ok(written.operation)
    }

    fn dma(
        &mut self,
        dma: &Dma,
        fail: Option<&Located<Fail>>,
        seen: &mut Seen,
    ) -> Result<(), Diagnostic> {
        let (smmu, stream) = match (&self.0, &dma.stream, &dma.device) {
            (Kind::Bare(bare), Some(stream), None) => bare.smmu_of(stream)?,
            (Kind::Linux(linux), None, Some(device)) => linux.stream_of(device)?,
            (Kind::Bare(_), _, _) => {
                let message = "which stream?";
                return Err(Diagnostic::new(message, dma.address.span(), "an access of")
                    .help("say stream = STREAMID, and no device"));
            }
            (Kind::Linux(_), _, _) => {
                let message = "which device?";
                return Err(Diagnostic::new(message, dma.address.span(), "an access of")
                    .help("say device = NAME, and no stream"));
            }
        };
        let kind = match dma.access {
            DmaAccess::Read | DmaAccess::Execute => AccessKind::Read,
            DmaAccess::Write => AccessKind::Write,
            DmaAccess::Atomic => AccessKind::Atomic,
        };
        let mut transaction = Transaction::new(stream, Iova::new(dma.address.0), kind);
        if dma.access == DmaAccess::Execute {
            transaction = transaction.with_ind(InstructionOrData::Instruction);
        }
        if dma.privileged {
            transaction = transaction.with_privilege(Privilege::Privileged);
        }
        if let Some(substream) = &dma.substream {
            let ssid = names::within(Some(substream), 0, 0..=0xf_ffff)?;
            transaction = transaction.with_substream(SubstreamId::new(ssid as u32));
        }
        let address = fail.and_then(|fail| fail.address.as_ref());
        let aborts = address.map(|address| AbortRule::at(Pa::new(address.0)));
        let mut eyes = (Recording::default(), Looks::default());
        for _ in 1..names::within(dma.times.as_ref(), 1, 1..=TIMES_MAX)? {
            let _like_the_last = self.board_mut().access(smmu, &transaction);
            self.handle_interrupts();
        }
        let board = self.board_mut();
        let outcome = board.access_observed(smmu, &transaction, aborts, &mut eyes);
        self.handle_interrupts();
        let (recording, looks) = eyes;
        seen.looks = Some((smmu, looks));
        seen.outcome = Some(outcome);
        if let (Kind::Linux(linux), Some(pa)) = (&self.0, outcome.pa()) {
            seen.guest = linux.tables.guest.of_pa(pa.get());
        }
        seen.explained = Some(Explained {
            transaction,
            outcome,
            recording,
        });
        Ok(())
    }

    /// What Linux does when an access has ended, if there is a Linux.
    fn handle_interrupts(&mut self) {
        if let Kind::Linux(linux) = &mut self.0 {
            linux.run_event_threads();
        }
    }

    /// What the machine looks like.
    pub fn state(&self) -> State {
        let board = self.board();
        let smmus = || (0..board.smmus()).map(|smmu| board.smmu(SmmuId(smmu)));
        let count = |each: fn(&smmu::Smmu) -> usize| smmus().map(each).sum::<usize>() as u64;
        let mut counters = BTreeMap::from([
            (
                Counter::CachedTranslations,
                count(|smmu| smmu.cached_translations().count()),
            ),
            (
                Counter::CachedConfigurations,
                count(|smmu| smmu.cached_configurations().count()),
            ),
            (Counter::Stalled, count(smmu::Smmu::stalled)),
        ]);
        let stes: BTreeMap<String, [u64; 8]> = match &self.0 {
            Kind::Bare(bare) => {
                let stes = bare.stes().into_iter();
                stes.map(|(id, _, words)| (id.to_string(), words)).collect()
            }
            Kind::Linux(linux) => linux.stes().into_iter().collect(),
        };
        let words = |words: &[u64; 8]| {
            let known = match &self.0 {
                Kind::Bare(_) => None,
                Kind::Linux(linux) => linux.ste_words(words),
            };
            known.unwrap_or_else(|| ste_words(words).to_owned())
        };
        let streams = stes.iter().map(|(name, ste)| (name.clone(), words(ste)));
        let streams = streams.collect();
        let (domains, mappings) = match &self.0 {
            Kind::Bare(_) => (BTreeMap::new(), BTreeMap::new()),
            Kind::Linux(linux) => {
                let names = [
                    Counter::PinnedPages,
                    Counter::LockedPages,
                    Counter::Vmids,
                    Counter::Asids,
                    Counter::Domains,
                    Counter::TableBytes,
                ];
                counters.extend(names.into_iter().zip(linux.resources()));
                (linux.domains(), linux.mappings())
            }
        };
        State {
            stes,
            streams,
            domains,
            mappings,
            counters,
        }
    }

    /// Whether tables, domains and books are as they were in `before`; without Linux, memory.
    pub fn is_as(&self, before: &Self) -> bool {
        match (&self.0, &before.0) {
            (Kind::Bare(now), Kind::Bare(before)) => now.board.ram() == before.board.ram(),
            _ => self.state().lasting() == before.state().lasting(),
        }
    }
}

impl State {
    /// Without what caches hold.
    fn lasting(mut self) -> Self {
        let passing = BTreeSet::from([Counter::CachedTranslations, Counter::CachedConfigurations]);
        self.counters
            .retain(|counter, _| !passing.contains(counter));
        self
    }
}

impl Kind {
    fn edit(
        &mut self,
        work: impl FnOnce(
            &mut super::tables::Tables,
            &smmu::mem::Ram,
            &mut smmu::tables::Bump,
        ) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        match self {
            Self::Bare(bare) => bare.edit(work),
            Self::Linux(linux) => linux.edit(work),
        }
    }
}

/// What an STE says.
fn ste_words(words: &[u64; 8]) -> &'static str {
    let ste = Ste::from_words(*words);
    if !ste.dw0.v() {
        return "invalid";
    }
    match ste.dw0.config() {
        SteConfig::Bypass => "bypass",
        SteConfig::Stage1 => "stage 1",
        SteConfig::Stage2 => "stage 2",
        SteConfig::Nested => "stage 1 and 2",
        config if config.0 & 0b100 == 0 => "abort",
        _ => "reserved",
    }
}

/// RAM of a machine without Linux.
pub(super) fn memory_regions(file: &ScenarioFile) -> Result<Vec<(u64, u64)>, Diagnostic> {
    if file.memory.is_empty() {
        return Ok(vec![MEMORY]);
    }
    for number in file.memory.iter().flat_map(|m| [&m.base, &m.size]) {
        names::within(Some(number), 0, 0..=1 << 52)?;
    }
    let regions: Vec<(u64, u64)> = file.memory.iter().map(|m| (m.base.0, m.size.0)).collect();
    if regions[0].1 < MEMORY_MIN {
        let message = "the first range of memory holds tables and queues";
        return Err(Diagnostic::new(
            message,
            file.memory[0].size.span(),
            "at least 16MiB",
        ));
    }
    Ok(regions)
}

/// The part of an SMMU.
pub(super) fn part(section: &SmmuSection) -> Result<SmmuConfig, Diagnostic> {
    let name = match &section.part {
        None => PART,
        Some(name) => {
            names::known("part", name, PARTS.iter().map(|(name, _)| *name))?;
            name.as_str()
        }
    };
    let part = config::part(name).map(|part| part.features);
    Ok(part.expect("the parts that come with the model exist"))
}

/// The board of a file: all its SMMUs have the caches of the first.
pub(super) fn board_config(
    file: &ScenarioFile,
    ram: Vec<(u64, u64)>,
) -> Result<BoardConfig, Diagnostic> {
    let default = [SmmuSection::default()];
    let sections = if file.smmu.is_empty() {
        &default[..]
    } else {
        &file.smmu
    };
    let parts = sections.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let first = sections[0].caches.as_ref();
    let kind = first.map_or(Caches::default(), |caches| **caches);
    let others = sections
        .iter()
        .filter_map(|section| section.caches.as_ref());
    if let Some(other) = others.into_iter().find(|caches| ***caches != kind) {
        let message = "all SMMUs of a scenario have the same caches";
        let diagnostic = Diagnostic::new(message, other.span(), "other than the first one's");
        return Err(match first {
            Some(first) => diagnostic.and(first.span(), "these"),
            None => diagnostic,
        });
    }
    let caches = match kind {
        Caches::None => CacheConfig::OFF,
        Caches::Small => CacheConfig::SMALL,
        Caches::Infinite => CacheConfig::INFINITE,
    };
    Ok(BoardConfig {
        caches,
        ram,
        ..BoardConfig::new(parts)
    })
}

/// Puts the hardware together.
pub(super) fn board(
    file: &ScenarioFile,
    control: Control,
    config: &BoardConfig,
) -> Result<Board, Diagnostic> {
    let span: Span = file
        .memory
        .first()
        .map_or(0..0, |memory| memory.base.span());
    Board::new(control, config)
        .map_err(|error| Diagnostic::new(error.to_string(), span, "for this machine"))
}

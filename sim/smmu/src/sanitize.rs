//! A sanitizer for drivers: it runs beside the device and tells which stale entry was used, or
//! could have been, and why.
//!
//! [`Sanitizer`] owns an [`Smmu`] and takes its calls. Beside the device it keeps a shadow: caches
//! as large as the architecture allows, whose invalidations take effect as late as it allows, when
//! their `CMD_SYNC` is consumed. Each transaction is translated three times: by memory as it is now,
//! by the shadow, and by the device. Where they differ, some SMMU would go wrong on this driver, and
//! a [`Finding`] names the entry, what made it, what memory says now and the commands since.
//! Nothing is judged but what the SMMU reads: stores to memory are not seen, their effects are.
//!
//! ```
//! use smmu::addr::{Iova, Pa};
//! use smmu::ids::{Asid, StreamId};
//! use smmu::mem::{AccessClass, PhysMem, Ram};
//! use smmu::regfile::Width;
//! use smmu::sanitize::{Kind, Sanitizer, SanitizerConfig, Staleness};
//! use smmu::spec::attrs::Ps;
//! use smmu::tables::{Bump, CdBuilder, Geometry, LinearStreamTable, PageTable, Physical, SteBuilder};
//! use smmu::{Smmu, Transaction};
//!
//! // One stream whose page 0x1000 leads to 0x8000_0000.
//! let ram = Ram::sparse();
//! let (mut memory, mut frames) = (Physical(ram.port()), Bump::new(0x10_0000, 0x20_0000));
//! let mut pages = PageTable::new(Geometry::stage1(12, 39), &mut frames)?;
//! pages.map(&mut memory, &mut frames, 0x1000, 0x8000_0000, 12, 0xf40)?;
//! let streams = LinearStreamTable::new(4, &mut frames)?;
//! CdBuilder::new(&pages, Ps::Bits44, Asid::new(1)).write(&mut memory.0, Pa::new(0x9_0000))?;
//! let ste = SteBuilder::bypass().with_stage1(0x9_0000).0;
//! streams.set(&mut memory.0, StreamId::new(5), &ste)?;
//!
//! let device = Smmu::new(smmu::config::SmmuConfig::mmu_600())?;
//! let mut watched = Sanitizer::new(device, &SanitizerConfig::default())?;
//! watched.mmio_write(0x80, Width::W64, streams.strtab_base());
//! watched.mmio_write(0x88, Width::W32, streams.strtab_base_cfg().into());
//! watched.mmio_write(0x20, Width::W32, 1);
//! let access = Transaction::read(StreamId::new(5), Iova::new(0x1000));
//! watched.translate(&mut ram.port(), &access, &mut ());
//!
//! // The driver gives up all tables and forgets to say so.
//! for entry in 0..512 {
//!     let at = Pa::new(pages.root() + 8 * entry);
//!     memory.0.write64(at, 0, AccessClass::Stage1)?;
//! }
//! watched.translate(&mut ram.port(), &access, &mut ());
//! let findings = watched.take_findings();
//! assert_eq!(findings[0].kind, Kind::StaleTranslation(Staleness::Unmapped));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod display;
mod finding;
mod judge;
mod leaf;
mod live;
mod shadow;
mod torn;
mod trail;

pub use finding::{
    BrokenRule, Change, Creator, Exposure, Finding, Issued, Kind, Severity, Staleness,
};

use std::collections::VecDeque;

use crate::ats::{TranslationCompletion, TranslationRequest};
use crate::cache::{CacheConfig, CacheError};
use crate::cmdq::{CommandStep, Endpoints};
use crate::command::Command;
use crate::mem::{DryRun, PhysMem};
use crate::observe::Observer;
use crate::regfile::Width;
use crate::smmu::Smmu;
use crate::transaction::{Outcome, Transaction};

use shadow::Shadow;
use torn::Observations;

/// Whether remarks that are no mistakes are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hints {
    /// Only mistakes.
    Off,
    /// Commands that were not needed, too.
    On,
}

/// What a [`Sanitizer`] keeps, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanitizerConfig {
    /// Caches of the shadow. An entry that they evict is no longer watched.
    pub shadow: CacheConfig,
    /// Commands kept to be shown with findings; older ones are only counted.
    pub history: usize,
    /// Invalidations that may wait for their `CMD_SYNC`. One more, and the oldest counts as
    /// complete: a transaction that depends on it is no longer told from one that does not.
    pub unsynced: usize,
    /// Streams and substreams whose STE and CD are compared from fetch to fetch. One more, and the
    /// one seen longest ago is forgotten.
    pub structures: usize,
    /// Findings kept until they are taken. Further ones are only counted.
    pub findings: usize,
    /// Whether remarks that are no mistakes are reported.
    pub hints: Hints,
}

impl Default for SanitizerConfig {
    fn default() -> Self {
        Self {
            shadow: CacheConfig::INFINITE,
            history: 64,
            unsynced: 4096,
            structures: 4096,
            findings: 1024,
            hints: Hints::Off,
        }
    }
}

/// What a [`Sanitizer`] has seen. A finding is reported once for an entry, and counted each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Transactions translated.
    pub transactions: u64,
    /// Commands consumed.
    pub commands: u64,
    /// Times that something was found, repetitions among them.
    pub found: u64,
    /// Findings that had no place ([`SanitizerConfig::findings`]).
    pub dropped: u64,
}

/// An [`Smmu`] whose driver is watched.
///
/// Plain data, like the device. Memory must not change during a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitizer {
    smmu: Smmu,
    config: SanitizerConfig,
    /// What an SMMU may still hold: invalidations that wait for a `CMD_SYNC` have not taken effect.
    late: Shadow,
    /// The same with all of them in effect; made when a transaction arrives while some wait.
    prompt: Option<Shadow>,
    unsynced: VecDeque<Issued>,
    observations: Observations,
    history: VecDeque<Issued>,
    findings: Vec<Finding>,
    statistics: Statistics,
    /// Number of the transaction or command at hand, from 1.
    moment: u64,
}

impl Sanitizer {
    /// Watches the driver of `smmu` from now on: entries that its caches hold already have no known
    /// origin.
    ///
    /// # Errors
    /// [`CacheError`] if the shadow cannot be built.
    pub fn new(smmu: Smmu, config: &SanitizerConfig) -> Result<Self, CacheError> {
        config.shadow.validate()?;
        Ok(Self {
            smmu,
            late: Shadow::new(&config.shadow),
            prompt: None,
            unsynced: VecDeque::new(),
            observations: Observations::new(config.structures),
            history: VecDeque::new(),
            findings: Vec::new(),
            statistics: Statistics::default(),
            moment: 0,
            config: *config,
        })
    }

    /// The device.
    pub fn smmu(&self) -> &Smmu {
        &self.smmu
    }

    /// The device, for calls that the sanitizer does not watch: translated transactions, PRI,
    /// interrupts, stalled transactions. A transaction or command given to it directly is not judged.
    pub fn smmu_mut(&mut self) -> &mut Smmu {
        &mut self.smmu
    }

    /// The device, no longer watched.
    pub fn into_smmu(self) -> Smmu {
        self.smmu
    }

    /// Findings not taken yet, oldest first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Takes the findings, oldest first.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// What has been seen so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// [`Smmu::mmio_read`].
    pub fn mmio_read(&self, offset: u32, width: Width) -> u64 {
        self.smmu.mmio_read(offset, width)
    }

    /// [`Smmu::mmio_write`].
    pub fn mmio_write(&mut self, offset: u32, width: Width, value: u64) {
        self.smmu.mmio_write(offset, width, value);
    }

    /// [`Smmu::translate`], judged. The outcome is the device's.
    pub fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        self.moment += 1;
        self.statistics.transactions += 1;
        if !self.smmu.part.regs.cr0().smmuen() {
            return self.smmu.translate(mem, transaction, observer);
        }
        let outcome = self.judge(mem, transaction, observer);
        if let Outcome::Translated(_) = outcome {
            return outcome;
        }
        self.smmu.settle(mem, transaction, outcome)
    }

    /// [`Smmu::ats_translate`], judged as the accesses it asks leave for: an endpoint must not be told
    /// what is no longer so. The completion is the device's.
    pub fn ats_translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        request: &TranslationRequest,
        observer: &mut O,
    ) -> TranslationCompletion {
        let completion = self.smmu.ats_translate(mem, request, observer);
        if let TranslationCompletion::Success(_) = completion {
            for access in request.accesses() {
                self.moment += 1;
                self.statistics.transactions += 1;
                // The device has made its updates.
                self.judge(&mut DryRun::new(mem), &access, &mut ());
            }
        }
        completion
    }

    /// [`Smmu::step_command`], judged. A stalled transaction that `CMD_RESUME` retries is not.
    pub fn step_command<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
    ) -> CommandStep {
        let step = self.smmu.step_command(mem, endpoints);
        if let CommandStep::Consumed { command, removed } = step {
            self.moment += 1;
            self.statistics.commands += 1;
            let issued = Issued {
                moment: self.moment,
                command,
                removed,
            };
            self.history.push_back(issued);
            if self.history.len() > self.config.history {
                self.history.pop_front();
            }
            self.consumed(mem, issued);
        }
        step
    }

    /// [`Smmu::run_until_idle`], judged.
    pub fn run_until_idle<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
        limit: u64,
    ) -> u64 {
        self.smmu.run_until_idle(mem, endpoints, 0);
        let mut consumed = 0;
        while consumed < limit {
            match self.step_command(mem, endpoints) {
                CommandStep::Consumed { .. } => consumed += 1,
                CommandStep::Idle | CommandStep::Stopped(_) => break,
            }
        }
        consumed
    }

    fn consumed<M: PhysMem + ?Sized>(&mut self, mem: &mut M, issued: Issued) {
        match issued.command {
            Command::Sync(_) => self.synced(),
            Command::CfgiSte { .. }
            | Command::CfgiSteRange { .. }
            | Command::CfgiCd { .. }
            | Command::CfgiCdAll { .. } => {
                self.observe_named(mem, &issued.command);
                self.wait_for_sync(issued);
            }
            Command::Tlbi(_) => {
                self.find_unbroken(mem, &issued.command);
                self.wait_for_sync(issued);
            }
            _ => {}
        }
    }

    /// An invalidation takes effect at once in one shadow and waits in the other.
    fn wait_for_sync(&mut self, issued: Issued) {
        if let Some(prompt) = &mut self.prompt {
            let scope = self.smmu.part.regs.invalidation_scope();
            let removed = prompt.invalidate(&issued.command, scope);
            self.judge_need(issued, removed);
        }
        self.unsynced.push_back(issued);
        if self.unsynced.len() > self.config.unsynced
            && let Some(oldest) = self.unsynced.pop_front()
        {
            let removed = self.take_effect(oldest);
            if self.prompt.is_none() {
                self.judge_need(oldest, removed);
            }
        }
    }

    /// Carries out an invalidation in the late shadow.
    fn take_effect(&mut self, issued: Issued) -> u64 {
        let scope = self.smmu.part.regs.invalidation_scope();
        self.late.invalidate(&issued.command, scope)
    }

    /// Every invalidation before a `CMD_SYNC` is complete.
    fn synced(&mut self) {
        if let Some(prompt) = self.prompt.take() {
            self.late = prompt;
            self.unsynced.clear();
            return;
        }
        while let Some(issued) = self.unsynced.pop_front() {
            let removed = self.take_effect(issued);
            self.judge_need(issued, removed);
        }
    }

    /// Both shadows, apart while invalidations wait.
    fn part_shadows(&mut self) {
        if self.unsynced.is_empty() || self.prompt.is_some() {
            return;
        }
        let scope = self.smmu.part.regs.invalidation_scope();
        let mut prompt = self.late.clone();
        for index in 0..self.unsynced.len() {
            let issued = self.unsynced[index];
            let removed = prompt.invalidate(&issued.command, scope);
            self.judge_need(issued, removed);
        }
        self.prompt = Some(prompt);
    }
}

//! The device: registers in, transactions in, outcomes out.

use crate::cache::{CacheConfig, CacheError, Cached, Caches};
use crate::command::TlbTag;
use crate::config::{ConfigError, SmmuConfig};
use crate::fetch::Configuration;
use crate::ids::{StreamId, SubstreamId};
use crate::irq::Interrupts;
use crate::mem::PhysMem;
use crate::observe::{CacheKind, Observer};
use crate::regfile::{RegisterFile, Width, Written};
use crate::stall::StallBuffer;
use crate::transaction::{Outcome, Transaction};
use crate::translate::Programmed;

/// One SMMU, Non-secure programming interface. It has no memory of its own: each call names the
/// [`PhysMem`] to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smmu {
    pub(crate) part: Programmed,
    pub(crate) caches: Caches,
    pub(crate) stalls: StallBuffer,
    /// Signalled over wires and not taken yet.
    pub(crate) interrupts: Interrupts,
    /// An endpoint left an invalidation unanswered since the last `CMD_SYNC`.
    pub(crate) atc_timed_out: bool,
}

impl Smmu {
    /// A part after reset, without caches.
    ///
    /// # Errors
    /// [`ConfigError`] with the rule that forbids the part.
    pub fn new(config: SmmuConfig) -> Result<Self, ConfigError> {
        Self::with_caches(config, &CacheConfig::OFF)
    }

    /// A part after reset, its caches empty.
    ///
    /// # Errors
    /// [`ConfigError`] with the rule that forbids the part or the caches.
    pub fn with_caches(config: SmmuConfig, caches: &CacheConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        caches.validate()?;
        Ok(Self {
            part: Programmed::new(config),
            caches: Caches::new(caches),
            stalls: StallBuffer::default(),
            interrupts: Interrupts::default(),
            atc_timed_out: false,
        })
    }

    /// The same part as it is programmed, with other caches, empty.
    ///
    /// # Errors
    /// [`CacheError`] naming the cache that cannot be built.
    pub fn with_other_caches(mut self, caches: &CacheConfig) -> Result<Self, CacheError> {
        caches.validate()?;
        self.caches = Caches::new(caches);
        Ok(self)
    }

    /// What the part implements.
    pub fn config(&self) -> &SmmuConfig {
        &self.part.config
    }

    /// The registers.
    pub fn registers(&self) -> &RegisterFile {
        &self.part.regs
    }

    /// Reads a register; `offset` is from the base of page 0.
    pub fn mmio_read(&self, offset: u32, width: Width) -> u64 {
        self.part.regs.read(offset, width)
    }

    /// Writes a register; `offset` is from the base of page 0. What it sets going (commands,
    /// translation operations) is done by [`Self::step_command`], [`Self::run_atos`] or
    /// [`Self::run_until_idle`].
    pub fn mmio_write(&mut self, offset: u32, width: Width, value: u64) {
        let state = self.part.regs.translation_state();
        let written = self.part.regs.write(offset, width, value);
        if self.part.regs.translation_state() != state {
            self.caches.forget_recent();
        }
        if let Written::Cr0(before) = written {
            let enabled = self.part.regs.cr0().smmuen();
            if before.smmuen() && !enabled {
                self.stalls.terminate(|_| true);
                self.stop_atos();
            }
        }
    }

    /// Translates one transaction; `observer` sees every access to `mem`. An event goes into the
    /// event queue, and a transaction that stalls is kept until software resolves it.
    // A hit is some thirty instructions; passing a transaction and its outcome through memory would
    // take as long again.
    #[inline(always)]
    pub fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if !observer.watches_caches()
            && let Some(translation) = self.part.hit(&mut self.caches, transaction)
        {
            return Outcome::Translated(translation);
        }
        self.translate_otherwise(mem, transaction, observer)
    }

    #[inline(never)]
    fn translate_otherwise<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        let outcome = self
            .part
            .translate(&mut self.caches, mem, transaction, observer);
        self.settle(mem, transaction, outcome)
    }

    /// Records the event of an outcome, or keeps the transaction that stalls.
    pub(crate) fn settle<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        outcome: Outcome,
    ) -> Outcome {
        match &outcome {
            Outcome::Stalled { .. } => self.stall(mem, transaction, outcome),
            Outcome::Terminated {
                event: Some(event), ..
            } => {
                self.record(mem, event);
                outcome
            }
            _ => outcome,
        }
    }

    /// Every translation and table that the caches hold.
    pub fn cached_translations(&self) -> impl Iterator<Item = (CacheKind, TlbTag)> {
        self.caches.translations()
    }

    /// Every stream and substream whose configuration is cached.
    pub fn cached_configurations(
        &self,
    ) -> impl Iterator<Item = (StreamId, Option<SubstreamId>)> + '_ {
        self.caches.configurations()
    }

    /// Everything that the caches hold now. Looking counts as no use: no replacement is affected.
    ///
    /// ```
    /// # use smmu::{Smmu, cache::CacheConfig, config::SmmuConfig};
    /// let smmu = Smmu::with_caches(SmmuConfig::full(), &CacheConfig::SMALL)?;
    /// assert!(smmu.cached().is_empty());
    /// # Ok::<(), smmu::config::ConfigError>(())
    /// ```
    pub fn cached(&self) -> Cached {
        self.caches.listing()
    }

    /// Translates one transaction by what registers and memory say now: no cache is looked into or
    /// filled, no event is written, nothing stalls. Hardware update of tables takes place.
    pub fn translate_cold<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        self.part.translate_cold(mem, transaction, observer)
    }

    /// Fetches the configuration of a stream and substream, for use with
    /// [`Self::translate_configured`]; `None` if transactions fault or abort before translation.
    pub fn configuration<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        stream: StreamId,
        substream: Option<SubstreamId>,
        observer: &mut O,
    ) -> Option<Configuration> {
        self.part.configuration(mem, stream, substream, observer)
    }

    /// Translates one transaction whose configuration is at hand, as [`Self::translate_cold`]
    /// does. Stale if STE, CD or registers have changed since.
    pub fn translate_configured<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        configuration: &Configuration,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        self.part
            .translate_configured(configuration, mem, transaction, observer)
    }
}

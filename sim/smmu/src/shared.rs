//! An SMMU that many threads use at once: the device behind a lock, and for each thread a
//! [`Port`] with caches of its own, as the translation buffer units of real parts have them.
//!
//! A hit takes no lock and writes nothing that another thread reads. Commands and register writes
//! reach every port by way of a log: when [`SharedSmmu::step_command`] returns, no translation that
//! starts afterwards uses what it invalidated, and one that is under way either began before or is
//! repeated. So after a `CMD_SYNC` has been consumed nobody gets an old answer; whoever still holds
//! one from before must have used it up, as a real endpoint's writes must be complete.

mod log;

use std::sync::{Arc, Mutex};

use crate::ats::{TranslationCompletion, TranslationRequest};
use crate::cache::{CacheConfig, CacheError, Caches};
use crate::cmdq::{CommandError, CommandStep, Endpoints};
use crate::command::{Command, InvalidationScope};
use crate::config::{ConfigError, SmmuConfig};
use crate::irq::Interrupts;
use crate::mem::PhysMem;
use crate::observe::Observer;
use crate::priq::{PageRequest, PageResponse};
use crate::regfile::{RegisterFile, Width};
use crate::smmu::Smmu;
use crate::stall::Resolved;
use crate::transaction::{Outcome, Transaction};
use crate::translate::Programmed;
use log::{ChangeLog, Epoch, Follower};

/// What a port must know of.
#[derive(Debug, Clone)]
enum Change {
    /// Registers that translations depend on.
    Registers(Box<RegisterFile>),
    /// An invalidation.
    Invalidate(Command, InvalidationScope),
}

/// The device, shared.
#[derive(Debug)]
pub struct SharedSmmu {
    device: Mutex<Smmu>,
    changes: ChangeLog<Change>,
    caches: CacheConfig,
}

impl SharedSmmu {
    /// A part after reset; each of its ports has caches of this shape.
    ///
    /// # Errors
    /// [`ConfigError`] with the rule that forbids the part or the caches.
    pub fn new(config: SmmuConfig, caches: &CacheConfig) -> Result<Self, ConfigError> {
        caches.validate()?;
        Ok(Self {
            // Ports translate; the device itself answers ATS translation requests.
            device: Mutex::new(Smmu::with_caches(config, caches)?),
            changes: ChangeLog::new(),
            caches: *caches,
        })
    }

    /// A device that is programmed already; what its own caches hold is forgotten.
    ///
    /// # Errors
    /// [`CacheError`] naming the cache that cannot be built.
    pub fn of(device: Smmu, caches: &CacheConfig) -> Result<Self, CacheError> {
        caches.validate()?;
        Ok(Self {
            device: Mutex::new(device.with_other_caches(caches)?),
            changes: ChangeLog::new(),
            caches: *caches,
        })
    }

    fn device(&self) -> impl std::ops::DerefMut<Target = Smmu> {
        // Each call leaves the device whole; a panic in a caller's memory does not spoil it.
        match self.device.lock() {
            Ok(device) => device,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// A port for one thread, its caches empty.
    pub fn port(self: &Arc<Self>) -> Port {
        let device = self.device();
        Port {
            epoch: self.changes.now(),
            view: View {
                shared: self.clone(),
                part: device.part.clone(),
                caches: Caches::new(&self.caches),
            },
        }
    }

    /// [`Smmu::mmio_read`].
    pub fn mmio_read(&self, offset: u32, width: Width) -> u64 {
        self.device().mmio_read(offset, width)
    }

    /// [`Smmu::mmio_write`].
    pub fn mmio_write(&self, offset: u32, width: Width, value: u64) {
        let mut device = self.device();
        let before = device.registers().translation_state();
        device.mmio_write(offset, width, value);
        if device.registers().translation_state() != before {
            let registers = Box::new(device.registers().clone());
            self.changes.publish(Change::Registers(registers));
        }
    }

    /// [`Smmu::step_command`].
    pub fn step_command<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &self,
        mem: &mut M,
        endpoints: &mut E,
    ) -> CommandStep {
        let mut device = self.device();
        let scope = device.registers().invalidation_scope();
        let step = device.step_command(mem, endpoints);
        if let CommandStep::Consumed { command, .. } = step
            && command.invalidates()
        {
            self.changes.publish(Change::Invalidate(command, scope));
        }
        step
    }

    /// [`Smmu::execute_command`].
    ///
    /// # Errors
    /// [`CommandError`] if it is illegal or fails.
    pub fn execute_command<M: PhysMem + ?Sized>(
        &self,
        mem: &mut M,
        words: [u64; 2],
    ) -> Result<u64, CommandError> {
        let mut device = self.device();
        let scope = device.registers().invalidation_scope();
        let command = Command::decode(words, device.config()).map_err(CommandError::Illegal)?;
        let removed = device.execute_command(mem, words)?;
        if command.invalidates() {
            self.changes.publish(Change::Invalidate(command, scope));
        }
        Ok(removed)
    }

    /// Carries out what is pending, as [`Smmu::run_until_idle`] does, one command at a time.
    pub fn run_until_idle<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &self,
        mem: &mut M,
        endpoints: &mut E,
        limit: u64,
    ) -> u64 {
        {
            let mut device = self.device();
            device.run_atos(mem);
            device.retry_unreported(mem);
        }
        let mut consumed = 0;
        while consumed < limit {
            match self.step_command(mem, endpoints) {
                CommandStep::Consumed { .. } => consumed += 1,
                CommandStep::Idle | CommandStep::Stopped(_) => break,
            }
        }
        consumed
    }

    /// [`Smmu::take_interrupts`].
    pub fn take_interrupts(&self) -> Interrupts {
        self.device().take_interrupts()
    }

    /// [`Smmu::take_resolved`].
    pub fn take_resolved(&self) -> Vec<Resolved> {
        self.device().take_resolved()
    }

    /// [`Smmu::ats_translate`].
    pub fn ats_translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        request: &TranslationRequest,
        observer: &mut O,
    ) -> TranslationCompletion {
        self.device().ats_translate(mem, request, observer)
    }

    /// [`Smmu::translated_transaction`].
    pub fn translated_transaction<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        self.device()
            .translated_transaction(mem, transaction, observer)
    }

    /// [`Smmu::page_request`].
    pub fn page_request<M: PhysMem + ?Sized>(
        &self,
        mem: &mut M,
        request: &PageRequest,
    ) -> Option<PageResponse> {
        self.device().page_request(mem, request)
    }
}

/// What a port knows of the device.
#[derive(Debug)]
struct View {
    shared: Arc<SharedSmmu>,
    part: Programmed,
    caches: Caches,
}

impl View {
    /// Copies the device's registers and forgets everything else.
    fn renew(&mut self, device: &Smmu) -> Epoch {
        self.part.regs.clone_from(device.registers());
        self.caches = Caches::new(&self.shared.caches);
        self.shared.changes.now()
    }
}

impl Follower<Change> for View {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Registers(registers) => {
                self.part.regs.clone_from(registers);
                self.caches.forget_recent();
            }
            Change::Invalidate(command, scope) => {
                self.caches.invalidate(command, *scope);
            }
        }
    }

    fn start_anew(&mut self) -> Epoch {
        let shared = self.shared.clone();
        let device = shared.device();
        self.renew(&device)
    }
}

/// One thread's way to translate.
#[derive(Debug)]
pub struct Port {
    epoch: Epoch,
    view: View,
}

impl Port {
    /// [`Smmu::translate`]: by the caches of this port, else by memory. Events and stalled
    /// transactions go to the device.
    #[inline]
    pub fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if self.view.shared.changes.is_current(self.epoch)
            && !observer.watches_caches()
            && let Some(translation) = self.view.part.hit(&mut self.view.caches, transaction)
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
        let Self { epoch, view } = self;
        let shared = view.shared.clone();
        let mut translate = |view: &mut View| {
            view.part
                .translate(&mut view.caches, mem, transaction, observer)
        };
        let followed = shared.changes.follow(epoch, view, &mut translate);
        let outcome = followed.unwrap_or_else(|| {
            // Changes never stop: writers wait for this one.
            let device = shared.device();
            *epoch = view.renew(&device);
            translate(view)
        });
        if let Outcome::Translated(_) = outcome {
            return outcome;
        }
        shared.device().settle(mem, transaction, outcome)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Port, SharedSmmu};

    #[test]
    fn threads_may_share_the_device_and_move_ports() {
        fn send_and_sync<T: Send + Sync>() {}
        fn send<T: Send>() {}
        send_and_sync::<SharedSmmu>();
        send_and_sync::<crate::Smmu>();
        send::<Port>();
    }
}

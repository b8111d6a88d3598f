//! The command queue: fetching commands one at a time and carrying them out (IHI 0070 §3.5.1, §4,
//! §7.1).

use crate::addr::Pa;
use crate::command::{AtcInvalidation, Command, IllegalCommand, PriResponse, SyncSignal};
use crate::irq::GlobalError;
use crate::mem::{AccessClass, PhysMem};
use crate::queue::{Fill, Ring};
use crate::regfile::Slot;
use crate::smmu::Smmu;
use crate::spec::regs::CmdqCons;

const COMMAND_LOG2: u32 = 4;

/// The endpoints beyond the SMMU, for commands that are sent on to them. `()` has none: every
/// invalidation completes at once.
pub trait Endpoints {
    /// `CMD_ATC_INV`: the endpoint forgets translations.
    fn invalidate_atc(&mut self, invalidation: &AtcInvalidation) -> AtcReply;
    /// `CMD_PRI_RESP`: a page request group is answered.
    fn respond_to_page_request(&mut self, response: &PriResponse);
}

impl Endpoints for () {
    fn invalidate_atc(&mut self, _: &AtcInvalidation) -> AtcReply {
        AtcReply::Complete
    }

    fn respond_to_page_request(&mut self, _: &PriResponse) {}
}

/// An endpoint's answer to an invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtcReply {
    /// Done.
    Complete,
    /// None came in time: the next `CMD_SYNC` fails with CERROR_ATC_INV_SYNC.
    Timeout,
}

/// Why the command queue stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CommandError {
    /// CERROR_ILL.
    #[error("CERROR_ILL: {0}")]
    Illegal(IllegalCommand),
    /// CERROR_ABT: the command could not be fetched.
    #[error("CERROR_ABT: the command could not be read")]
    Abort,
    /// CERROR_ATC_INV_SYNC: an endpoint did not answer an earlier invalidation.
    #[error("CERROR_ATC_INV_SYNC: an endpoint did not answer")]
    AtcInvSync,
}

impl CommandError {
    /// CMDQ_CONS.ERR.
    pub fn code(self) -> u8 {
        match self {
            Self::Illegal(_) => 1,
            Self::Abort => 2,
            Self::AtcInvSync => 3,
        }
    }
}

/// What one step of the command queue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandStep {
    /// Nothing: the queue is empty, disabled, inconsistent, or stopped by an error that software
    /// has not acknowledged.
    Idle,
    /// It carried out a command.
    Consumed {
        /// Which.
        command: Command,
        /// Cache entries it removed.
        removed: u64,
    },
    /// It found an error and stopped.
    Stopped(CommandError),
}

impl Smmu {
    /// Fetches one command and carries it out.
    pub fn step_command<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
    ) -> CommandStep {
        let regs = &self.part.regs;
        if !regs.cr0().cmdqen() || regs.active_errors().cmdq_err() {
            return CommandStep::Idle;
        }
        let base = regs.get(Slot::CmdqBase);
        let ring = Ring::new((base & 0x1f) as u8, self.part.config.cmdqs);
        let (prod, cons) = (regs.get32(Slot::CmdqProd), regs.get32(Slot::CmdqCons));
        match ring.fill(prod, cons) {
            Fill::Empty | Fill::Inconsistent => return CommandStep::Idle,
            Fill::Partly | Fill::Full => {}
        }
        let at = ring.address(base & 0x00ff_ffff_ffff_ffe0, cons, COMMAND_LOG2);
        match self.fetch_and_execute(mem, endpoints, Pa::new(at)) {
            Ok((command, removed)) => {
                let next = u64::from(ring.next(cons));
                self.part.regs.set(Slot::CmdqCons, next);
                CommandStep::Consumed { command, removed }
            }
            Err(error) => {
                // The reason is there before the error is seen.
                let cons = CmdqCons::from(cons).with_err(error.code());
                self.part.regs.set(Slot::CmdqCons, u32::from(cons).into());
                self.global_error(mem, GlobalError::Cmdq);
                CommandStep::Stopped(error)
            }
        }
    }

    /// Does all that is pending: commands, translation operations, stalled transactions whose
    /// record had no place. Gives the number of commands consumed, at most `limit`.
    pub fn run_until_idle<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
        limit: u64,
    ) -> u64 {
        self.run_atos(mem);
        self.retry_unreported(mem);
        let mut consumed = 0;
        while consumed < limit {
            match self.step_command(mem, endpoints) {
                CommandStep::Consumed { .. } => consumed += 1,
                CommandStep::Idle | CommandStep::Stopped(_) => break,
            }
        }
        consumed
    }

    /// Carries out a command that was not fetched from the queue, as a replayed trace has it.
    ///
    /// # Errors
    /// [`CommandError`] if it is illegal or fails; the queue does not stop.
    pub fn execute_command<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        words: [u64; 2],
    ) -> Result<u64, CommandError> {
        self.execute_command_with(mem, &mut (), words)
    }

    /// The same with endpoints that the command may be sent on to.
    ///
    /// # Errors
    /// As [`Self::execute_command`].
    pub fn execute_command_with<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
        words: [u64; 2],
    ) -> Result<u64, CommandError> {
        let command = Command::decode(words, &self.part.config).map_err(CommandError::Illegal)?;
        self.execute(mem, endpoints, &command)
    }

    fn fetch_and_execute<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
        at: Pa,
    ) -> Result<(Command, u64), CommandError> {
        let mut word = |offset| {
            mem.read64(at.add(offset), AccessClass::CommandQueue)
                .map_err(|_| CommandError::Abort)
        };
        let words = [word(0)?, word(8)?];
        let command = Command::decode(words, &self.part.config).map_err(CommandError::Illegal)?;
        let removed = self.execute(mem, endpoints, &command)?;
        Ok((command, removed))
    }

    pub(crate) fn execute<M: PhysMem + ?Sized, E: Endpoints + ?Sized>(
        &mut self,
        mem: &mut M,
        endpoints: &mut E,
        command: &Command,
    ) -> Result<u64, CommandError> {
        let enabled = self.part.regs.cr0().smmuen();
        match command {
            // A hint: this model prefetches nothing (deviations.md D41).
            Command::Prefetch { .. } => {}
            Command::CfgiSte { .. }
            | Command::CfgiSteRange { .. }
            | Command::CfgiCd { .. }
            | Command::CfgiCdAll { .. }
            | Command::Tlbi(_) => {
                let scope = self.part.regs.invalidation_scope();
                return Ok(self.caches.invalidate(command, scope));
            }
            Command::AtcInv(invalidation) if enabled => {
                if endpoints.invalidate_atc(invalidation) == AtcReply::Timeout {
                    self.atc_timed_out = true;
                }
            }
            Command::PriResp(response) if enabled => {
                endpoints.respond_to_page_request(response);
            }
            Command::AtcInv(_) | Command::PriResp(_) => {}
            Command::Resume {
                stream,
                stag,
                action,
            } => self.resume(mem, *stream, *stag, *action),
            Command::StallTerm { stream } => self.stalls.terminate(|s| s == *stream),
            Command::Sync(signal) => self.sync(mem, *signal)?,
        }
        Ok(0)
    }

    /// All older commands are complete already: signals so.
    fn sync<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        signal: SyncSignal,
    ) -> Result<(), CommandError> {
        if std::mem::take(&mut self.atc_timed_out) {
            return Err(CommandError::AtcInvSync);
        }
        let wires = &mut self.interrupts;
        match signal {
            SyncSignal::None => {}
            SyncSignal::Interrupt { msi: None } => {
                wires.cmd_sync = wires.cmd_sync.saturating_add(1);
            }
            SyncSignal::Interrupt {
                msi: Some((address, data)),
            } => self.message(mem, address, data, GlobalError::MsiCmdqAbort),
            SyncSignal::SendEvent => wires.sev = wires.sev.saturating_add(1),
        }
        Ok(())
    }
}

//! The command queue in time: one command after another, invalidations through every TBU and back.

use std::collections::VecDeque;

use super::super::operation::Workload;
use super::super::probe::{Probe, Track};
use super::super::scheduler::Cycle;
use super::flight::State;
use super::{COMMANDS, Machine};
use crate::addr::Pa;
use crate::command::{Command, SyncSignal};
use crate::mem::PhysMem;

/// Invalidations remembered; a walk older than the oldest of them learns nothing.
const REMEMBERED: usize = 256;
/// Commands waiting in the queue.
const QUEUE: usize = 1 << 12;
const COMMAND_BYTES: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    /// The command is being read.
    Fetching,
    /// It is being decoded and carried out.
    Executing,
    /// An invalidation is on its way to the TBUs.
    ToTbus,
    /// The TBUs have done it; their acknowledgement is on its way back.
    Acknowledged,
    /// A CMD_ATC_INV waits until it may be sent.
    AtcSlot,
    /// A CMD_SYNC waits for transactions and ATC invalidations.
    Syncing,
    /// A CMD_SYNC reports.
    Reporting,
}

/// State of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CommandEngine {
    queue: VecDeque<[u64; 2]>,
    phase: Phase,
    current: Option<Command>,
    /// Commands of the last read that have not been taken yet.
    read_ahead: u32,
    /// Invalidations begun so far.
    sequence: u64,
    log: VecDeque<Command>,
    /// Transactions a CMD_SYNC still waits for.
    awaited: u32,
    /// ATC invalidations that have been sent and not completed.
    outstanding: u32,
    started: Cycle,
    done: u64,
    illegal: u64,
}

impl CommandEngine {
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.outstanding == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE
    }

    /// Invalidations begun so far.
    #[inline(always)]
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The invalidations begun after the first `began`; `None` if some are forgotten.
    #[inline(always)]
    pub(super) fn since(&self, began: u64) -> Option<impl Iterator<Item = &Command>> {
        let count = (self.sequence - began) as usize;
        let skipped = self.log.len().checked_sub(count)?;
        Some(self.log.iter().skip(skipped))
    }

    /// An awaited transaction is over. Whether it was the last.
    pub(super) fn arrived(&mut self) -> bool {
        self.awaited -= 1;
        self.phase == Phase::Syncing && self.is_synced()
    }

    /// Whether there is nothing a CMD_SYNC has to wait for.
    fn is_synced(&self) -> bool {
        self.awaited == 0 && self.outstanding == 0
    }

    /// An ATC invalidation has been sent.
    pub(super) fn sent(&mut self) {
        self.outstanding += 1;
    }

    /// An ATC invalidation is complete. Whether a CMD_SYNC waited for this last one.
    pub(super) fn came_back(&mut self) -> bool {
        self.outstanding -= 1;
        self.phase == Phase::Syncing && self.is_synced()
    }

    /// Commands carried out.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Commands that were not legal, and did nothing.
    pub(super) fn illegal(&self) -> u64 {
        self.illegal
    }
}

impl<M: PhysMem, P: Probe> Machine<M, P> {
    /// Software puts a command into the queue.
    pub(super) fn queue_command(&mut self, words: [u64; 2], now: Cycle) {
        self.commands.queue.push_back(words);
        if self.commands.phase == Phase::Idle {
            self.fetch_command(now);
        }
    }

    fn fetch_command(&mut self, now: Cycle) {
        self.commands.started = now;
        self.commands.phase = Phase::Fetching;
        let done = if self.commands.read_ahead > 0 {
            self.commands.read_ahead -= 1;
            now
        } else {
            let bytes = self.config.commands.fetch_bytes;
            let at_once = (bytes / COMMAND_BYTES).min(self.commands.queue.len() as u32);
            self.commands.read_ahead = at_once.max(1) - 1;
            let address = self.commands.done * u64::from(COMMAND_BYTES);
            self.memory.read(now, Pa::new(address), bytes).done
        };
        self.scheduler.wake(COMMANDS, done);
    }

    /// The next phase of the command at the head of the queue.
    pub(super) fn command_step<W: Workload>(&mut self, now: Cycle, workload: &mut W) {
        match self.commands.phase {
            Phase::Idle => {}
            Phase::Fetching => {
                let words = self.commands.queue.pop_front();
                let words = words.expect("a command for each fetch");
                self.commands.current = Command::decode(words, &self.smmu.part.config).ok();
                self.commands.illegal += u64::from(self.commands.current.is_none());
                self.commands.phase = Phase::Executing;
                let done = now + self.config.commands.execute_cycles;
                self.scheduler.wake(COMMANDS, done);
            }
            Phase::Executing => self.execute(now, workload),
            Phase::ToTbus => {
                if let Some(command) = self.commands.current {
                    let scope = self.smmu.part.regs.invalidation_scope();
                    for unit in &mut self.tbus {
                        unit.invalidate(&command, scope);
                    }
                }
                self.commands.phase = Phase::Acknowledged;
                let back = self.config.link.latency_cycles;
                let done = now + self.config.commands.invalidate_cycles + back;
                self.scheduler.wake(COMMANDS, done);
            }
            Phase::Syncing => {
                let signal = self.commands.current;
                self.carry_out();
                let mut done = now;
                if let Some(Command::Sync(SyncSignal::Interrupt { msi: Some((at, _)) })) = signal {
                    let cycles = self.config.commands.sync_write_cycles;
                    done = self.memory.write(now, Pa::new(at), 4).done + cycles;
                }
                self.commands.phase = Phase::Reporting;
                self.scheduler.wake(COMMANDS, done);
            }
            Phase::Reporting => {
                self.tcu.syncs_count += 1;
                self.tcu.sync_cycles += now - self.commands.started;
                self.finish_command(now, workload);
            }
            Phase::AtcSlot => {
                if let Some(Command::AtcInv(what)) = self.commands.current {
                    self.send_invalidation(&what, now);
                }
                self.finish_command(now, workload);
            }
            Phase::Acknowledged => self.finish_command(now, workload),
        }
    }

    fn execute<W: Workload>(&mut self, now: Cycle, workload: &mut W) {
        match self.commands.current {
            Some(
                command @ (Command::Tlbi(_)
                | Command::CfgiSte { .. }
                | Command::CfgiSteRange { .. }
                | Command::CfgiCd { .. }
                | Command::CfgiCdAll { .. }),
            ) => {
                if let Command::Tlbi(_) = command {
                    self.tcu.tlb_invalidations_count += 1;
                } else {
                    self.tcu.configuration_invalidations_count += 1;
                }
                self.commands.sequence += 1;
                if self.commands.log.len() == REMEMBERED {
                    self.commands.log.pop_front();
                }
                self.commands.log.push_back(command);
                self.carry_out();
                self.commands.current = Some(command);
                self.commands.phase = Phase::ToTbus;
                let link = self.config.link.clone();
                let arrives = self
                    .tbus
                    .iter_mut()
                    .map(|unit| unit.down.start(now, link.interval_cycles))
                    .max();
                let arrives = arrives.unwrap_or(now) + link.latency_cycles;
                self.scheduler.wake(COMMANDS, arrives);
            }
            Some(Command::Sync(_)) => {
                let mut awaited = 0;
                for flight in &mut self.flights {
                    if flight.index != u64::MAX && flight.touched && flight.state != State::Returned
                    {
                        flight.awaited = true;
                        awaited += 1;
                    }
                }
                self.commands.awaited = awaited;
                self.commands.phase = Phase::Syncing;
                if self.commands.is_synced() {
                    self.scheduler.wake(COMMANDS, now);
                }
            }
            Some(Command::AtcInv(what))
                if self.ats.are_on() && self.smmu.part.regs.cr0().smmuen() =>
            {
                if self.invalidate_in_turn(&what, now) {
                    self.finish_command(now, workload);
                } else {
                    self.commands.phase = Phase::AtcSlot;
                }
            }
            Some(_) => {
                self.carry_out();
                self.finish_command(now, workload);
            }
            None => self.finish_command(now, workload),
        }
    }

    /// Does what the functional model does for the command; its caches are the TCU's.
    fn carry_out(&mut self) {
        if let Some(command) = self.commands.current.take() {
            // Devices answer every ATC invalidation: nothing fails.
            let _ = self.smmu.execute(&mut self.mem, &mut (), &command);
        }
    }

    fn finish_command<W: Workload>(&mut self, now: Cycle, workload: &mut W) {
        self.tcu.commands_count += 1;
        let (begin, index) = (self.commands.started, self.commands.done);
        self.watch(Track::Commands, "command", (begin, now), index, 0);
        self.commands.done += 1;
        self.commands.current = None;
        if self.commands.queue.is_empty() {
            self.commands.phase = Phase::Idle;
            self.commands.read_ahead = 0;
        } else {
            self.fetch_command(now);
        }
        self.issue(workload);
    }
}

//! The commands of a trace: the model consumes what QEMU consumed, and nothing else.

use smmu::command::{Command, IllegalCommand};
use smmu::spec::cmd::{CmdOp, Sync, TlbiVa};
use smmu::{CommandError, CommandStep};

use super::line::Consumed;
use super::{COMMANDS, Replay};

/// Commands that may be consumed within one register write: the largest queue.
pub(super) const MOST_COMMANDS: usize = 1 << 19;

/// Whether software's write of CMDQ_PROD has been told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doorbell {
    /// It has.
    Rung,
    /// It comes later in the trace: something was told of while commands were consumed.
    Early,
}

/// What QEMU makes of a command the architecture calls illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    /// Commands of features the part does not have, and reserved PRI responses, do nothing.
    Ignored,
    /// A TLBI with TG but NUM=SCALE=TTL=0 invalidates at its address.
    EmptyRange,
    /// CMD_SYNC with CS=3 completes.
    SyncSignal,
}

impl Departure {
    fn of(illegal: IllegalCommand) -> Option<Self> {
        match illegal {
            IllegalCommand::NoEl2
            | IllegalCommand::NoAts
            | IllegalCommand::NoPri
            | IllegalCommand::PriResponse
            | IllegalCommand::NoStall => Some(Self::Ignored),
            IllegalCommand::EmptyRange => Some(Self::EmptyRange),
            IllegalCommand::SyncSignal => Some(Self::SyncSignal),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ignored => "CMD_IGNORED",
            Self::EmptyRange => "TLBI_RANGE",
            Self::SyncSignal => "SYNC_CS3",
        }
    }

    /// A legal command that does what QEMU does.
    fn instead(self, command: &Consumed) -> Consumed {
        let words = match self {
            Self::EmptyRange => {
                let mut tlbi = TlbiVa::from_words(command.words);
                tlbi.dw1 = tlbi.dw1.with_tg(0);
                tlbi.words()
            }
            // A CMD_SYNC that tells nobody.
            Self::Ignored | Self::SyncSignal => {
                let mut sync = Sync::from_words([0; 2]);
                sync.dw0 = sync.dw0.with_opcode(CmdOp::SYNC);
                sync.words()
            }
        };
        Consumed { words, ..*command }
    }
}

impl Replay<'_> {
    /// Has the model consume the commands that wait, and asks that it finds no others.
    pub(super) fn run_commands(&mut self, doorbell: Doorbell) {
        let mut expected = std::mem::take(&mut self.commands);
        for command in expected.drain(..) {
            if doorbell == Doorbell::Early {
                self.machine.ring_once();
            }
            self.run_command(&command);
        }
        self.commands = expected;
        if doorbell == Doorbell::Rung {
            let step = self.machine.step_command();
            if step != CommandStep::Idle {
                let example = self.example("no more commands".into(), format!("{step:?}"));
                let kind = "the end of the command queue expected".into();
                self.report.difference(COMMANDS, kind, || example);
            }
        }
    }

    fn run_command(&mut self, command: &Consumed) {
        let decoded = Command::decode(command.words, self.machine.smmu().config());
        let is_sync = matches!(decoded, Ok(Command::Sync(_)));
        if let Some(shown) = self.shown.as_mut().filter(|_| !is_sync) {
            shown.begins(&self.machine);
        }
        let step = self.machine.step_command();
        if let (Some(shown), CommandStep::Consumed { command, .. }, false) =
            (&mut self.shown, &step, is_sync)
        {
            shown.command(&self.machine, command);
        }
        self.collect_findings();
        let agrees = match (decoded, step) {
            (Ok(expected), CommandStep::Consumed { command, .. }) => expected == command,
            _ => false,
        };
        let [w0, w1] = command.words;
        let opcode = CmdOp(w0 as u8);
        if agrees {
            if let Ok(Command::Tlbi(tlbi)) = &decoded {
                self.globals.invalidate(tlbi);
            }
            self.report.agreement(COMMANDS);
            return;
        }
        let slot = command.slot;
        let expected = format!("{opcode:?} ({w0:016x} {w1:016x}) at slot {slot:#x}");
        let example = self.example(expected, format!("{step:?}"));
        match (decoded, step) {
            // The queue has stopped at this very command.
            (Err(illegal), CommandStep::Stopped(CommandError::Illegal(found)))
                if illegal == found =>
            {
                if let Some(departure) = Departure::of(illegal) {
                    let instead = departure.instead(command);
                    if self.machine.replace_command(&instead) {
                        self.summary.count_departure(departure.name());
                        let names = [departure.name()];
                        self.report.departure(COMMANDS, names, || example.clone());
                        return;
                    }
                }
            }
            _ => {}
        }
        let kind = format!("{opcode:?} expected, something else consumed");
        self.report.difference(COMMANDS, kind, || example);
    }
}

//! Stalled transactions: those that wait, their tags, and what resolves them (IHI 0070 §3.12.2,
//! §4.6).

use crate::command::ResumeAction;
use crate::eventq::Recorded;
use crate::fault::Fault;
use crate::ids::StreamId;
use crate::mem::PhysMem;
use crate::smmu::Smmu;
use crate::transaction::{Outcome, Response, Transaction};

/// A transaction that waits, or waited until its outcome is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StallId(u64);

/// A transaction that no longer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// Which.
    pub id: StallId,
    /// The transaction.
    pub transaction: Transaction,
    /// What became of it; never stalled.
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its record is in the event queue.
    Reported { stag: u16, fault: Fault },
    /// Its record found no place: it is retried when there is one.
    Unreported { fault: Fault },
    /// It is over, and its outcome has not been taken.
    Resolved(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: StallId,
    transaction: Transaction,
    state: State,
}

/// The stall buffer: IDR5.STALL_MAX entries, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StallBuffer {
    entries: Vec<Entry>,
    next_id: u64,
}

impl StallBuffer {
    /// The lowest tag that no reported transaction has.
    fn free_tag(&self) -> u16 {
        let used = |tag| {
            let has =
                |entry: &Entry| matches!(entry.state, State::Reported { stag, .. } if stag == tag);
            self.entries.iter().any(has)
        };
        // There are fewer entries than tags.
        (0..=u16::MAX).find(|&tag| !used(tag)).unwrap_or(u16::MAX)
    }

    /// Ends every waiting transaction that `meant` names, with an abort.
    pub(crate) fn terminate(&mut self, meant: impl Fn(StreamId) -> bool) {
        for entry in &mut self.entries {
            let (State::Reported { fault, .. } | State::Unreported { fault }) = entry.state else {
                continue;
            };
            if meant(entry.transaction.stream) {
                entry.state = State::Resolved(terminated(Response::Abort, fault));
            }
        }
    }
}

fn terminated(response: Response, fault: Fault) -> Outcome {
    Outcome::Terminated {
        response,
        fault: Some(fault),
        event: None,
    }
}

impl Smmu {
    /// Number of transactions that wait.
    pub fn stalled(&self) -> usize {
        let waits = |entry: &&Entry| !matches!(entry.state, State::Resolved(_));
        self.stalls.entries.iter().filter(waits).count()
    }

    /// Stalled transactions that are over, oldest first. Until they are taken they keep their place
    /// in the stall buffer.
    pub fn take_resolved(&mut self) -> Vec<Resolved> {
        let mut taken = Vec::new();
        self.stalls.entries.retain(|entry| match entry.state {
            State::Resolved(outcome) => {
                taken.push(Resolved {
                    id: entry.id,
                    transaction: entry.transaction,
                    outcome,
                });
                false
            }
            State::Reported { .. } | State::Unreported { .. } => true,
        });
        taken
    }

    /// Makes a transaction wait, if there is room.
    pub(crate) fn stall<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        outcome: Outcome,
    ) -> Outcome {
        let Outcome::Stalled { fault, event, .. } = outcome else {
            return outcome;
        };
        if self.stalls.entries.len() >= usize::from(self.part.config.stall_max) {
            return Outcome::Refused;
        }
        let stag = self.stalls.free_tag();
        let event = event.with_stag(stag);
        let state = match self.record_stalled(mem, &event) {
            Recorded::Written => State::Reported { stag, fault },
            Recorded::NotWritten => State::Unreported { fault },
        };
        let id = StallId(self.stalls.next_id);
        self.stalls.next_id += 1;
        self.stalls.entries.push(Entry {
            id,
            transaction: *transaction,
            state,
        });
        Outcome::Stalled {
            id: Some(id),
            fault,
            event,
        }
    }

    /// `CMD_RESUME`. Without effect unless a reported transaction has this tag and stream.
    pub(crate) fn resume<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        stream: StreamId,
        stag: u16,
        action: ResumeAction,
    ) {
        let meant = |entry: &Entry| {
            let tagged = matches!(entry.state, State::Reported { stag: tag, .. } if tag == stag);
            tagged && entry.transaction.stream == stream
        };
        let Some(index) = self.stalls.entries.iter().position(meant) else {
            return;
        };
        let State::Reported { fault, .. } = self.stalls.entries[index].state else {
            return;
        };
        let response = match action {
            ResumeAction::Retry => return self.retry(mem, index),
            ResumeAction::Terminate if !self.part.config.term_model => Response::RazWi,
            ResumeAction::Terminate | ResumeAction::Abort => Response::Abort,
        };
        self.stalls.entries[index].state = State::Resolved(terminated(response, fault));
    }

    /// Retries transactions whose record found no place, while there is one.
    pub(crate) fn retry_unreported<M: PhysMem + ?Sized>(&mut self, mem: &mut M) {
        for index in 0..self.stalls.entries.len() {
            let state = self.stalls.entries[index].state;
            if matches!(state, State::Unreported { .. }) && self.event_queue_is_writable() {
                self.retry(mem, index);
            }
        }
    }

    /// Treats a stalled transaction as if it arrived now.
    fn retry<M: PhysMem + ?Sized>(&mut self, mem: &mut M, index: usize) {
        let transaction = self.stalls.entries[index].transaction;
        let outcome = self
            .part
            .translate(&mut self.caches, mem, &transaction, &mut ());
        // Its old tag is free for the new record.
        let Outcome::Stalled { fault, event, .. } = outcome else {
            if let Outcome::Terminated {
                event: Some(event), ..
            } = &outcome
            {
                self.record(mem, event);
            }
            self.stalls.entries[index].state = State::Resolved(outcome);
            return;
        };
        self.stalls.entries[index].state = State::Unreported { fault };
        let stag = self.stalls.free_tag();
        if self.record_stalled(mem, &event.with_stag(stag)) == Recorded::Written {
            self.stalls.entries[index].state = State::Reported { stag, fault };
        }
    }
}

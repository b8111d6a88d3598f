//! What drives the timed machine: devices' transactions, and what software does meanwhile.

use super::scheduler::Cycle;
use crate::addr::Pa;
use crate::regfile::Width;
use crate::transaction::{Outcome, Transaction};

/// A transaction that a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// What it is.
    pub transaction: Transaction,
    /// How many bytes it moves; 0 counts as one beat.
    pub bytes: u32,
    /// It does not arrive before this time.
    pub not_before: Cycle,
}

/// One operation, in program order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A device sends a transaction as soon as it may.
    Arrive(Arrival),
    /// Software queues a command; it is carried out after all before it.
    Command([u64; 2]),
    /// Software writes a register.
    Register {
        /// From the base of page 0.
        offset: u32,
        /// 32 or 64 bits.
        width: Width,
        /// The value.
        value: u64,
    },
    /// Software writes a word of memory.
    Store {
        /// Where.
        pa: Pa,
        /// The word.
        value: u64,
    },
    /// Nothing further happens until the transaction with this number, counted from 0, is over.
    AwaitTransaction(u64),
    /// Nothing further happens until all commands so far are complete.
    AwaitCommands,
    /// Nothing further happens until all transactions and commands so far are complete.
    Fence,
}

/// A transaction that is over.
#[derive(Debug, Clone, Copy)]
pub struct Completed<'a> {
    /// Its number, counted from 0 in the order of arrival.
    pub index: u64,
    /// What it was.
    pub arrival: &'a Arrival,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// From arrival to departure.
    pub latency_cycles: Cycle,
    /// When it was over.
    pub time: Cycle,
}

/// A source of operations that may watch what becomes of its transactions. It is asked for the next
/// operation only when that can happen, so a workload longer than memory streams through.
pub trait Workload {
    /// The next operation; `None` at the end.
    fn next_operation(&mut self) -> Option<Operation>;

    /// Called when a transaction is over.
    fn completed(&mut self, _completed: &Completed<'_>) {}
}

impl<I: Iterator<Item = Operation>> Workload for I {
    fn next_operation(&mut self) -> Option<Operation> {
        self.next()
    }
}

//! Recorded DMA traces, `smmu-dma-trace-1` (docs/src/reference/traces.md): what real drivers made a
//! device and an SMMU do, with the answers the SMMU gave.
//!
//! The trace says what the walker saw at each moment, not when software wrote it. Three rules keep a
//! timed replay true to it: commands wait for the transactions before them and transactions for the
//! commands before them; registers wait for both; a descriptor that had another value changes only
//! when no transaction on its page is in flight.
//!
//! Level-1 stream table descriptors are not recorded; where they must point follows from the address
//! of each STE and the StreamID it was read for.

mod compare;

use std::collections::VecDeque;
use std::path::Path;

use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram, RamPort};
use smmu::regfile::Width;
use smmu::spec::event::EventId;
use smmu::spec::regs::StrtabBaseCfg;
use smmu::timing::{Arrival, Completed, Operation};
use smmu::transaction::AccessKind;
use smmu::{Smmu, Transaction};

use super::error::{Problem, WorkloadError};
use super::fields::{Fields, Lines, Radix};
use super::input::Bytes;
use compare::{Answer, Expected, Undefined, agrees, departs};
pub use compare::{Comparison, Difference};

/// How a recorded trace begins.
pub const FIRST_LINE: &str = "# smmu-dma-trace-1";

/// Registers that move the command queue: its commands come as lines of their own.
const CMDQ_PROD: u64 = 0x98;
const CMDQ_CONS: u64 = 0x9c;
const STRTAB_BASE: u64 = 0x80;
const STRTAB_BASE_CFG: u64 = 0x88;
/// Registers of page 1, which the recording folds onto page 0.
const FOLDED: [u64; 4] = [0xa8, 0xac, 0xc8, 0xcc];
const PAGE1: u32 = 0x1_0000;

/// Pages of one leaf are at least within this.
const LARGEST_GRANULE_LOG2: u32 = 16;

/// Differences that are described one by one.
const DESCRIBED: usize = 20;

/// Reads a recorded trace and compares answers.
#[derive(Debug)]
pub struct RecordedReader<'a> {
    lines: Lines,
    line: u64,
    port: RamPort<'a>,
    pending: VecDeque<Operation>,
    /// Stores that belong to the next transaction.
    stores: Vec<Operation>,
    /// Where the next transaction's STE was read, if it was.
    ste: Option<u64>,
    strtab_base: u64,
    strtab_base_cfg: u64,
    /// A line read but not yet looked at.
    stashed: Option<String>,
    /// A transaction whose event line may follow.
    held: Option<(Transaction, u32, Expected)>,
    in_flight: Vec<Expected>,
    answered: Answered,
    transactions: u64,
    since_fence: Since,
    rewritten: Rewritten,
    comparison: Comparison,
    /// Ordinals of transactions the recording machine is known to answer wrongly, ascending.
    known: Vec<u64>,
    /// The SMMU without caches, for a second opinion on answers that differ.
    judge: Smmu,
    /// Register writes the judge has yet to learn of.
    unlearned: Vec<(u32, Width, u64)>,
    /// Words that were recorded hold 1.
    defined: RamPort<'a>,
}

/// What has been issued since the last fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    Transactions,
    Commands,
}

/// Whether transactions come back with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Yes,
    No,
}

/// Descriptors that change before the next transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewritten {
    Nothing,
    /// The last one only, which is the leaf.
    Leaf,
    /// Others, or configuration.
    Table,
}

impl<'a> RecordedReader<'a> {
    /// Reads operations from `bytes`; `path` is for messages, `ram` the memory the machine uses,
    /// `defined` memory of the same size for the reader's own use, empty.
    ///
    /// # Panics
    /// Never: the recording machine's part exists.
    pub fn new(path: &Path, bytes: Bytes, ram: &'a Ram, defined: &'a Ram) -> Self {
        Self {
            lines: Lines::new(path, bytes),
            line: 0,
            port: ram.port(),
            pending: VecDeque::new(),
            stores: Vec::new(),
            ste: None,
            strtab_base: 0,
            strtab_base_cfg: 0,
            stashed: None,
            held: None,
            in_flight: Vec::new(),
            answered: Answered::Yes,
            transactions: 0,
            since_fence: Since::Nothing,
            rewritten: Rewritten::Nothing,
            comparison: Comparison::default(),
            known: Vec::new(),
            judge: Smmu::new(SmmuConfig::qemu_11()).expect("the part exists"),
            unlearned: Vec::new(),
            defined: defined.port(),
        }
    }

    /// The same, knowing which transactions (ordinals from 1, ascending) the recording machine
    /// answered against the architecture.
    #[must_use]
    pub fn with_known(mut self, known: Vec<u64>) -> Self {
        self.known = known;
        self
    }

    /// The same for a reader whose transactions are passed on and not answered: each counts as over
    /// when the next fence is reached.
    #[must_use]
    pub fn unanswered(mut self) -> Self {
        self.answered = Answered::No;
        self
    }

    /// How answers compare so far.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// The next operation.
    ///
    /// # Errors
    /// [`WorkloadError`] naming the line and the field.
    pub fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        loop {
            if let Some(operation) = self.pending.pop_front() {
                return Ok(Some(operation));
            }
            let line = if let Some(line) = self.stashed.take() {
                line
            } else {
                let Some(line) = self.lines.next()? else {
                    self.release();
                    return Ok(self.pending.pop_front());
                };
                let line = line.trim_end().to_owned();
                self.line += 1;
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                if self.held.is_some() && !line.starts_with('E') {
                    // The line is looked at when what stands before it has been done.
                    self.release();
                    self.stashed = Some(line);
                    continue;
                }
                line
            };
            if let Err(problem) = self.parse(&line) {
                return Err(self.lines.wrong(problem));
            }
        }
    }

    fn parse(&mut self, line: &str) -> Result<(), Problem> {
        let mut fields = Fields::new(line.split(','), Radix::Hex);
        let kind = fields.word("event")?;
        if kind == "E" {
            let mut words = [0; 4];
            for word in &mut words {
                *word = fields.number("event word", u64::MAX)?;
            }
            let Some((_, _, expected)) = &mut self.held else {
                return Err(Problem::new(
                    "event",
                    line,
                    "an event follows its transaction",
                ));
            };
            expected.event = Some(words);
            return fields.end();
        }
        match kind {
            "R" => self.register(&mut fields)?,
            "C" => {
                fields.number("slot", u64::MAX)?;
                let low = fields.number("low word", u64::MAX)?;
                let command = [low, fields.number("high word", u64::MAX)?];
                if self.since_fence == Since::Transactions {
                    self.fence();
                }
                self.since_fence = Since::Commands;
                self.pending.push_back(Operation::Command(command));
            }
            "S" | "D" => {
                let pa = fields.number("address", u64::MAX)?;
                if kind == "S" {
                    self.ste = Some(pa);
                }
                if let Some(first) = fields.optional() {
                    let mut words = [fields.parse("word", first, u64::MAX)?; 8];
                    for word in &mut words[1..] {
                        *word = fields.number("word", u64::MAX)?;
                    }
                    for (word, at) in words.into_iter().zip((pa..).step_by(8)) {
                        self.store(at, word, Rewritten::Table);
                    }
                }
            }
            "M" => {
                let pa = fields.number("address", u64::MAX)?;
                let value = fields.number("value", u64::MAX)?;
                self.store(pa, value, Rewritten::Leaf);
            }
            "T" => {
                self.transaction(&mut fields)?;
                // Lookups and reads of the recording machine follow.
                return Ok(());
            }
            // Points where snapshots were taken, and errors that do not occur.
            "K" | "G" | "Z" => return Ok(()),
            other => {
                return Err(Problem::new(
                    "event",
                    other,
                    "R, C, S, D, M, T, E, K, G or Z",
                ));
            }
        }
        fields.end()
    }

    fn fence(&mut self) {
        self.pending.push_back(Operation::Fence);
        self.since_fence = Since::Nothing;
        if self.answered == Answered::No {
            self.in_flight.clear();
        }
    }

    fn register<'b>(
        &mut self,
        fields: &mut Fields<'b, impl Iterator<Item = &'b str>>,
    ) -> Result<(), Problem> {
        let offset = fields.number("offset", 0xffff_ffff)?;
        let value = fields.number("value", u64::MAX)?;
        let width = match fields.word("size")? {
            "4" => Width::W32,
            "8" => Width::W64,
            other => return Err(Problem::new("size", other, "4 or 8")),
        };
        match offset {
            STRTAB_BASE => self.strtab_base = value,
            STRTAB_BASE_CFG => self.strtab_base_cfg = value,
            _ => {}
        }
        if [CMDQ_PROD, CMDQ_CONS].contains(&offset) {
            return Ok(());
        }
        let folded = FOLDED.contains(&offset);
        // Where software has read up to in a queue changes no translation.
        if !folded {
            self.fence();
        }
        let offset = offset as u32 | if folded { PAGE1 } else { 0 };
        self.unlearned.push((offset, width, value));
        self.pending.push_back(Operation::Register {
            offset,
            width,
            value,
        });
        Ok(())
    }

    fn store(&mut self, pa: u64, value: u64, kind: Rewritten) {
        let before = self.port.read64(Pa::new(pa), AccessClass::Stage1);
        let known = self.defined.read64(Pa::new(pa), AccessClass::Stage1) == Ok(1);
        let changes = known && before != Ok(value);
        self.rewritten = match (changes, self.rewritten, kind) {
            (true, Rewritten::Nothing, kind) => kind,
            (true, ..) => Rewritten::Table,
            // More came after what was taken for the leaf.
            (false, Rewritten::Leaf, _) => Rewritten::Table,
            (false, rewritten, _) => rewritten,
        };
        let pa = Pa::new(pa);
        // A word never recorded reads as zero from sparse memory, and stays distinct here.
        let _ = self.defined.write64(pa, 1, AccessClass::Stage1);
        self.stores.push(Operation::Store { pa, value });
    }

    fn transaction<'b>(
        &mut self,
        fields: &mut Fields<'b, impl Iterator<Item = &'b str>>,
    ) -> Result<(), Problem> {
        let stream = StreamId::new(fields.number("sid", 0xffff_ffff)? as u32);
        let address = Iova::new(fields.number("iova", u64::MAX)?);
        // What the device still wants from here; one transaction ends with its page.
        let wanted = fields.number("len", u64::MAX)?;
        let bytes = wanted.min(4096 - address.get() % 4096) as u32;
        let kind = match fields.word("rw")? {
            "r" => AccessKind::Read,
            "w" => AccessKind::Write,
            other => return Err(Problem::new("rw", other, "r or w")),
        };
        let status = fields.word("status")?;
        let answer = match status {
            "s" => Answer::Translated(Pa::new(fields.number("pa", u64::MAX)?)),
            "a" => Answer::Abort,
            "b" => Answer::Bypass,
            "d" => Answer::Disabled,
            "e" => {
                // pa, mask, perm, stage, tlb, nwalk stand before the event.
                for _ in 0..6 {
                    fields.word("column")?;
                }
                let event = fields.number("evt", 0xff)? as u8;
                Answer::Fault((event != 0).then_some(EventId(event)))
            }
            other => return Err(Problem::new("status", other, "s, e, a, b or d")),
        };
        if let Some(pa) = self.ste.take() {
            self.point_to(stream, pa);
        }
        let expected = Expected {
            index: self.transactions,
            page: address.get() >> LARGEST_GRANULE_LOG2,
            line: self.line,
            answer,
            event: None,
        };
        self.transactions += 1;
        self.held = Some((Transaction::new(stream, address, kind), bytes, expected));
        Ok(())
    }

    /// Points the level-1 descriptor of a stream to the table its STE at `pa` is in.
    fn point_to(&mut self, stream: StreamId, pa: u64) {
        let config = StrtabBaseCfg::from(self.strtab_base_cfg as u32);
        let split = u32::from(config.split());
        if config.fmt() != 1 || split > 16 {
            return;
        }
        let within = u64::from(stream.get()) & ((1 << split) - 1);
        let table = pa.wrapping_sub(within * 64);
        let l1 = self.strtab_base & 0x000f_ffff_ffff_ffc0;
        let at = l1 + (u64::from(stream.get()) >> split) * 8;
        // Span counts 2^(Span-1) STEs (IHI 0070 §5.1).
        self.store(at, table | u64::from(split + 1), Rewritten::Table);
    }

    /// Issues the transaction held back, after what it has to wait for.
    fn release(&mut self) {
        let Some((transaction, bytes, expected)) = self.held.take() else {
            return;
        };
        for (offset, width, value) in self.unlearned.drain(..) {
            self.judge.mmio_write(offset, width, value);
        }
        let same_page = |other: &Expected| other.page == expected.page;
        let in_the_way = match self.rewritten {
            Rewritten::Nothing => false,
            Rewritten::Leaf => self.in_flight.iter().any(same_page),
            Rewritten::Table => !self.in_flight.is_empty(),
        };
        self.rewritten = Rewritten::Nothing;
        if in_the_way || self.since_fence == Since::Commands {
            self.fence();
        }
        self.pending.extend(self.stores.drain(..));
        self.since_fence = Since::Transactions;
        self.in_flight.push(expected);
        self.pending.push_back(Operation::Arrive(Arrival {
            transaction,
            bytes,
            not_before: 0,
        }));
    }

    /// Compares an answer with the recorded one.
    pub fn completed(&mut self, completed: &Completed<'_>) {
        let place = self
            .in_flight
            .iter()
            .position(|e| e.index == completed.index);
        let Some(place) = place else {
            return;
        };
        let expected = self.in_flight.swap_remove(place);
        if agrees(&expected, completed.outcome) {
            self.comparison.equal_count += 1;
            return;
        }
        let mut reads = Undefined {
            defined: &mut self.defined,
            found: false,
        };
        let transaction = &completed.arrival.transaction;
        let cold = self
            .judge
            .translate_cold(&mut self.port, transaction, &mut reads);
        if reads.found {
            self.comparison.undefined_count += 1;
            return;
        }
        if agrees(&expected, &cold) {
            self.comparison.cached_count += 1;
            return;
        }
        let known = self.known.binary_search(&(expected.index + 1)).is_ok();
        if known || departs(expected.answer, &cold) {
            self.comparison.known_count += 1;
            return;
        }
        self.comparison.different_count += 1;
        if self.comparison.differences.len() < DESCRIBED {
            self.comparison.differences.push(Difference {
                line: expected.line,
                recorded: format!("{:?}", expected.answer),
                model: format!("{:?}", completed.outcome),
            });
        }
    }
}

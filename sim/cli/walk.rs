//! `smmu-sim walk`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ids::{StreamId, SubstreamId};
use smmu::transaction::{AccessKind, InstructionOrData, Privilege};

use super::source::{SourceOptions, parse_u64};
use super::terminal::Progress;
use super::{Failure, Format, Verdict, write_json};
use crate::explain::{Explained, html};

/// Translate transactions through a snapshot, raw images, a core or a QEMU that runs.
///
/// The machine comes from one of `--snapshot`, `--image` (with `--reg`), `--core` (with `--regs`) and
/// `--qmp`; nothing is ever written to it. Transactions come from `--sid` and addresses, or from a
/// file with one a line: `SID[.SSID] r|w ADDRESS`. All numbers are hexadecimal, with or without 0x.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim walk --snapshot machine.json --sid 28 b000 --explain
  smmu-sim walk --image tables.bin@0x40000000 --reg STRTAB_BASE=40000000 --reg CR0=1 --sid 0 1234
  smmu-sim walk --qmp vm.sock --sid 8 ffff0000 --access write --html walk.html
  smmu-sim walk --core vm.elf --regs smmu.regs --transactions - --format json

Exit code 0 also if transactions fault: the fault is the answer. 2 for bad input.")]
pub(super) struct Walk {
    #[command(flatten)]
    source: SourceOptions,
    /// StreamID
    #[arg(long, value_name = "HEX", value_parser = parse_u32, required_unless_present = "transactions")]
    sid: Option<u32>,
    /// SubstreamID (PASID)
    #[arg(long, value_name = "HEX", value_parser = parse_u32)]
    ssid: Option<u32>,
    /// What the transactions do
    #[arg(long, value_enum, default_value_t = Kind::Read)]
    access: Kind,
    /// The transactions are privileged
    #[arg(long)]
    privileged: bool,
    /// The transactions are instruction fetches
    #[arg(long)]
    instruction: bool,
    /// File of transactions, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sid", "ssid", "addresses"])]
    transactions: Option<PathBuf>,
    /// Show every memory access, and the grid of a nested walk
    #[arg(long)]
    explain: bool,
    /// Write the explanation as one self-contained page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Input addresses
    #[arg(value_name = "ADDRESS", value_parser = parse_u64, required_unless_present = "transactions")]
    addresses: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Ordinary read
    Read,
    /// Ordinary write
    Write,
    /// Atomic read-modify-write
    Atomic,
    /// Cache clean
    Clean,
    /// Read that may drop dirty data
    DestructiveRead,
    /// Cache invalidate
    Invalidate,
    /// Write with directed cache prefetch
    WriteDcp,
    /// Directed cache prefetch without a write
    NoWriteDcp,
    /// Hint that may drop dirty data
    DestructiveHint,
}

impl From<Kind> for AccessKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Read => Self::Read,
            Kind::Write => Self::Write,
            Kind::Atomic => Self::Atomic,
            Kind::Clean => Self::Clean,
            Kind::DestructiveRead => Self::DestructiveRead,
            Kind::Invalidate => Self::Invalidate,
            Kind::WriteDcp => Self::WriteDcp,
            Kind::NoWriteDcp => Self::NoWriteDcp,
            Kind::DestructiveHint => Self::DestructiveHint,
        }
    }
}

fn parse_u32(text: &str) -> Result<u32, String> {
    parse_u64(text)?
        .try_into()
        .map_err(|_| "more than 32 bits".into())
}

/// Most bits a SubstreamID can have.
const SUBSTREAM_BITS: u32 = 20;

/// Transactions between two reports of progress.
const TRANSACTIONS_A_SAY: usize = 1000;

impl Walk {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let transactions = self.transactions()?;
        let progress = Progress::new();
        progress.say("reading the machine");
        let mut machine = self.source.machine().map_err(anyhow::Error::from)?;
        let mut explained: Vec<Explained> = Vec::new();
        for (i, transaction) in transactions.iter().enumerate() {
            if i.is_multiple_of(TRANSACTIONS_A_SAY) {
                progress.say(&format!("transaction {i} of {}", transactions.len()));
            }
            let one = machine.explain(self.source.smmu, transaction);
            explained.push(one.map_err(anyhow::Error::from)?);
        }
        drop(progress);
        if let Some(path) = &self.html {
            fs::write(path, html::page("smmu-sim walk", &explained))
                .with_context(|| format!("--html {}", path.display()))?;
        }
        match format {
            Format::Json => {
                let json: Vec<_> = explained.iter().map(Explained::to_json).collect();
                write_json(out, &json)?;
            }
            Format::Text => {
                for (i, explained) in explained.iter().enumerate() {
                    if self.explain {
                        if i != 0 {
                            writeln!(out)?;
                        }
                        write!(out, "{}", explained.to_styled_text())?;
                    } else {
                        writeln!(out, "{}", explained.summary())?;
                    }
                }
            }
        }
        Ok(Verdict::Fine)
    }

    fn transactions(&self) -> anyhow::Result<Vec<Transaction>> {
        let Some(path) = &self.transactions else {
            let sid = self.sid.unwrap_or_default();
            let kind = self.access.into();
            return self
                .addresses
                .iter()
                .map(|&address| self.transaction(sid, self.ssid, kind, address))
                .collect();
        };
        let text = if path.as_os_str() == "-" {
            io::read_to_string(io::stdin()).context("standard input")?
        } else {
            fs::read_to_string(path).with_context(|| path.display().to_string())?
        };
        let mut transactions = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let transaction = self
                    .parse_line(line)
                    .with_context(|| format!("{}:{}", path.display(), i + 1))?;
                transactions.push(transaction);
            }
        }
        Ok(transactions)
    }

    /// `SID[.SSID] r|w ADDRESS`
    fn parse_line(&self, line: &str) -> anyhow::Result<Transaction> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [stream, direction, address] = fields[..] else {
            bail!(
                "expected SID[.SSID] r|w ADDRESS, found {} words",
                fields.len()
            );
        };
        let (sid, ssid) = match stream.split_once('.') {
            Some((sid, ssid)) => (sid, Some(ssid)),
            None => (stream, None),
        };
        let number = |what: &str, text: &str| {
            parse_u32(text).map_err(|error| anyhow!("{what} {text:?}: {error}"))
        };
        let sid = number("SID", sid)?;
        let ssid = ssid.map(|ssid| number("SSID", ssid)).transpose()?;
        let kind = match direction {
            "r" => AccessKind::Read,
            "w" => AccessKind::Write,
            other => bail!("{other:?} is neither r nor w"),
        };
        let address = parse_u64(address).map_err(|error| anyhow!("{address:?}: {error}"))?;
        self.transaction(sid, ssid, kind, address)
    }

    fn transaction(
        &self,
        sid: u32,
        ssid: Option<u32>,
        kind: AccessKind,
        address: u64,
    ) -> anyhow::Result<Transaction> {
        let mut transaction = Transaction::new(StreamId::new(sid), Iova::new(address), kind);
        if let Some(ssid) = ssid {
            if ssid >> SUBSTREAM_BITS != 0 {
                bail!("SSID {ssid:#x}: a SubstreamID has at most {SUBSTREAM_BITS} bits");
            }
            transaction = transaction.with_substream(SubstreamId::new(ssid));
        }
        if self.privileged {
            transaction = transaction.with_privilege(Privilege::Privileged);
        }
        if self.instruction {
            transaction = transaction.with_ind(InstructionOrData::Instruction);
        }
        Ok(transaction)
    }
}

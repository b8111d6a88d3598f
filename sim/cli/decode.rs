//! `smmu-sim decode`.

use std::io::{self, Write};

use anyhow::Context;
use clap::{Args, ValueEnum};
use smmu::config::SmmuConfig;

use super::source::parts;
use super::{Failure, Format, Verdict, write_json};
use crate::decode::{Decoded, Kind, Show, Table, decode, decode_register};

/// Decode raw words into named fields, with meaning and what is illegal about them.
///
/// Words are hexadecimal, with or without 0x, 64 bits or 32-bit halves (low half first), and may
/// stand in a kernel log. Without words they are read from standard input.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dmesg | smmu-sim decode event
  smmu-sim decode ste 000000004001100f 80 0 0 0 0 0 0 --part mmu-600
  smmu-sim decode pte 603127ff --stage 2 --level 3
  smmu-sim decode reg IDR5 74")]
pub(super) struct Decode {
    /// What the words are
    #[arg(value_enum)]
    kind: Structure,
    /// The words; for reg a name and a value
    words: Vec<String>,
    /// The part that decides what is illegal
    #[arg(long, value_parser = parts(), default_value = "full")]
    part: SmmuConfig,
    /// Stage of a pte
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: u8,
    /// Granule of a pte
    #[arg(long, value_enum, default_value_t = Granule::K4)]
    granule: Granule,
    /// Level of a pte
    #[arg(long, default_value_t = 3, allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-1..=3))]
    level: i8,
    /// The pte has a 52-bit address in 4 KiB or 16 KiB tables (DS=1)
    #[arg(long)]
    ds: bool,
    /// Show fields that are zero, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Structure {
    /// Stream table entry
    Ste,
    /// Context descriptor
    Cd,
    /// Level-1 stream table descriptor
    L1std,
    /// Level-1 context descriptor
    L1cd,
    /// Command
    Cmd,
    /// Event record
    Event,
    /// PRI queue record
    Pri,
    /// Translation table descriptor
    Pte,
    /// Register
    Reg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Granule {
    /// 4 KiB
    #[value(name = "4k")]
    K4,
    /// 16 KiB
    #[value(name = "16k")]
    K16,
    /// 64 KiB
    #[value(name = "64k")]
    K64,
}

impl Decode {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let text = if self.words.is_empty() {
            io::read_to_string(io::stdin())
                .context("standard input")
                .map_err(Failure::Input)?
        } else {
            self.words.join(" ")
        };
        let decoded = self.decode(&text)?;
        match format {
            Format::Json => write_json(out, &decoded)?,
            Format::Text => {
                let show = if self.all { Show::All } else { Show::Set };
                for decoded in &decoded {
                    write!(out, "{}", decoded.to_styled_text(show))?;
                }
            }
        }
        Ok(Verdict::Fine)
    }

    fn decode(&self, text: &str) -> anyhow::Result<Vec<Decoded>> {
        let kind = match self.kind {
            Structure::Reg => return Ok(vec![decode_register(text)?]),
            Structure::Ste => Kind::Ste,
            Structure::Cd => Kind::Cd,
            Structure::L1std => Kind::L1Std,
            Structure::L1cd => Kind::L1Cd,
            Structure::Cmd => Kind::Cmd,
            Structure::Event => Kind::Event,
            Structure::Pri => Kind::Pri,
            Structure::Pte => Kind::Pte(Table {
                stage: self.stage,
                granule_log2: match self.granule {
                    Granule::K4 => 12,
                    Granule::K16 => 14,
                    Granule::K64 => 16,
                },
                level: self.level,
                format: if self.ds {
                    crate::decode::Format::Lpa2
                } else {
                    crate::decode::Format::Bits48
                },
            }),
        };
        Ok(decode(kind, text, &self.part)?)
    }
}

//! `smmu-sim regs`: the register table.

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::json;
use smmu::regfile::{Presence, RegisterInfo, Width, registers};

use super::{Failure, Format, Verdict, write_json};

/// Print the register table: offsets, widths, what guards them, which parts have them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim regs
  smmu-sim regs --format json
  smmu-sim regs --table markdown > registers.md")]
pub(super) struct Regs {
    /// Write the table as a Markdown page, for documentation
    #[arg(long, value_enum)]
    table: Option<Table>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    Markdown,
}

fn width(register: &RegisterInfo) -> u32 {
    match register.width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

fn presence(presence: Presence) -> String {
    match presence {
        Presence::Always => String::new(),
        Presence::Msi => "MSI".into(),
        Presence::Pri => "PRI".into(),
        Presence::PriMsi => "PRI, MSI".into(),
        Presence::Atos => "ATOS".into(),
        Presence::Vatos => "VATOS".into(),
        Presence::Unmodelled(feature) => format!("RES0: {feature} is not modelled"),
    }
}

impl Regs {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let all = registers();
        match (self.table, format) {
            (Some(Table::Markdown), _) => {
                writeln!(
                    out,
                    "| offset | register | bits | writable | read-only while | parts with | what |"
                )?;
                writeln!(out, "|---|---|---|---|---|---|---|")?;
                for register in &all {
                    writeln!(
                        out,
                        "| {:#07x} | {} | {} | {:#x} | {} | {} | {} |",
                        register.offset,
                        register.name,
                        width(register),
                        register.writable,
                        register.guard,
                        presence(register.presence),
                        register.summary
                    )?;
                }
            }
            (None, Format::Json) => {
                let rows: Vec<_> = all
                    .iter()
                    .map(|register| {
                        json!({
                            "offset": format!("{:#x}", register.offset),
                            "name": register.name,
                            "bits": width(register),
                            "writable": format!("{:#x}", register.writable),
                            "guard": register.guard,
                            "parts": presence(register.presence),
                            "summary": register.summary,
                        })
                    })
                    .collect();
                write_json(out, &rows)?;
            }
            (None, Format::Text) => {
                for register in &all {
                    writeln!(
                        out,
                        "{:#07x} {:<17} {:>2} {:>18} {:<44} {:<10} {}",
                        register.offset,
                        register.name,
                        width(register),
                        format!("{:#x}", register.writable),
                        register.guard,
                        presence(register.presence),
                        register.summary
                    )?;
                }
            }
        }
        Ok(Verdict::Fine)
    }
}

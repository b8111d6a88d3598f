//! From one trace format to another, as a stream.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::timing::{Operation, Workload};
use thiserror::Error;

use super::binary::BinaryWriter;
use super::error::WorkloadError;
use super::open::{Source, open};
use super::text;

/// What a trace can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `smmu-trace-1`.
    Text,
    /// `SMMUTRC1`.
    Binary,
}

/// What was read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// The format read.
    pub from: &'static str,
    /// Operations of any kind.
    pub operations_count: u64,
    /// Of these, transactions.
    pub transactions_count: u64,
    /// Of these, commands.
    pub commands_count: u64,
}

/// Why there is no whole trace.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// What was read, and where.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// It cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

enum Writer<W> {
    Text(W),
    Binary(BinaryWriter<W>),
}

/// Writes every operation of the trace at `input`. Memory is that of the words it stores, whatever its
/// length.
///
/// A recorded trace becomes the operations of its replay; the answers it was recorded with, and which
/// of them are known to be wrong, are left behind.
///
/// # Errors
/// [`ConvertError`] naming the line or byte; what was written until then is no whole trace.
pub fn convert(
    input: &Path,
    target: Target,
    mut out: impl Write,
) -> Result<Converted, ConvertError> {
    let (ram, shadow) = (Ram::sparse(), Ram::sparse());
    let (format, bytes) = open(input)?;
    let mut source = Source::trace(input, format, bytes, (&ram, &shadow)).unanswered();
    let mut writer = match target {
        Target::Text => {
            writeln!(out, "{}", text::FIRST_LINE)?;
            Writer::Text(out)
        }
        Target::Binary => Writer::Binary(BinaryWriter::new(out)?),
    };
    let mut converted = Converted {
        from: format.word(),
        operations_count: 0,
        transactions_count: 0,
        commands_count: 0,
    };
    let mut port = ram.port();
    while let Some(operation) = source.next_operation() {
        if operation == Operation::Fence && converted.operations_count == 0 {
            // Nothing to wait for; a trace that sets up the SMMU begins with a register.
            continue;
        }
        converted.operations_count += 1;
        match operation {
            Operation::Arrive(_) => converted.transactions_count += 1,
            Operation::Command(_) => converted.commands_count += 1,
            Operation::Store { pa, value } => {
                // The reader of a recording compares what it finds with what was there before.
                let _outside = port.write64(pa, value, AccessClass::Stage1);
            }
            _ => {}
        }
        match &mut writer {
            Writer::Text(out) => text::write(out, &operation)?,
            Writer::Binary(writer) => writer.write(&operation)?,
        }
    }
    if let Some(error) = source.error() {
        return Err(error.into());
    }
    match writer {
        Writer::Text(mut out) => out.flush()?,
        Writer::Binary(writer) => writer.finish()?.flush()?,
    }
    Ok(converted)
}

//! Files of register values: text, a register a line, or JSON
//! (`docs/src/reference/formats.md`, "Register values").

use std::fmt::Write as _;

use serde_json::{Map, Value};
use smmu::regfile::Presence;
use thiserror::Error;

use crate::machine::{RegisterError, Registers, hex};

/// Why a file of registers cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterFileError {
    /// A line is not `NAME = VALUE`.
    #[error("line {line}: {what}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It begins as JSON but is not.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A field has the wrong type or value.
    #[error("{field}: {what}")]
    Field {
        /// The path of the field.
        field: String,
        /// What is wrong.
        what: String,
    },
    /// An SMMU lacks a register.
    #[error("SMMU {index}")]
    Smmu {
        /// Which, from 0.
        index: usize,
        /// What it lacks.
        source: RegisterError,
    },
}

/// Whether the architecture has a register that no part of this model has; a file may list it.
fn is_unmodelled(name: &str) -> bool {
    smmu::regfile::registers().iter().any(|register| {
        matches!(register.presence, Presence::Unmodelled(_))
            && register.name.eq_ignore_ascii_case(name)
    })
}

/// The registers of each SMMU in `text`: one for text, one or more for JSON.
///
/// # Errors
/// [`RegisterFileError`] naming the line or the field.
pub fn parse(text: &str) -> Result<Vec<Registers>, RegisterFileError> {
    if text.trim_start().starts_with('{') {
        parse_json(&serde_json::from_str(text)?)
    } else {
        Ok(vec![parse_text(text)?])
    }
}

/// `NAME = VALUE` a line, as [`parse`] reads it back.
pub fn to_text(registers: &Registers) -> String {
    let mut out = String::new();
    for (name, value) in registers.iter() {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name:<16} = {value:#x}");
    }
    out
}

fn parse_text(text: &str) -> Result<Registers, RegisterFileError> {
    let mut registers = Registers::default();
    for (i, line) in text.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default().trim();
        if words.is_empty() {
            continue;
        }
        let wrong = |what: String| RegisterFileError::Line { line: i + 1, what };
        let (key, value) = words
            .split_once(['=', ':'])
            .or_else(|| words.split_once(char::is_whitespace))
            .ok_or_else(|| wrong(format!("expected NAME = VALUE, found {words:?}")))?;
        let (key, value) = (key.trim(), value.trim());
        let value = hex(value)
            .ok_or_else(|| wrong(format!("{key}: {value:?} is not a hexadecimal number")))?;
        set(&mut registers, key, value).map_err(wrong)?;
    }
    Ok(registers)
}

fn parse_json(value: &Value) -> Result<Vec<Registers>, RegisterFileError> {
    let wrong_type = |field: &str, what: &str| RegisterFileError::Field {
        field: field.into(),
        what: what.into(),
    };
    let Some(smmus) = value.get("smmus") else {
        return Ok(vec![parse_smmu("", value)?]);
    };
    let smmus = smmus
        .as_array()
        .ok_or_else(|| wrong_type("smmus", "not an array"))?;
    if smmus.is_empty() {
        return Err(wrong_type("smmus", "empty"));
    }
    (0..)
        .zip(smmus)
        .map(|(i, smmu)| parse_smmu(&format!("smmus[{i}]."), smmu))
        .collect()
}

/// One SMMU: an object of registers, or an object that has one under `raw32_nonzero` or `regs`.
fn parse_smmu(prefix: &str, value: &Value) -> Result<Registers, RegisterFileError> {
    for (key, absent) in [("raw32_nonzero", Absent::Zero), ("regs", Absent::Unknown)] {
        if let Some(inner) = value.get(key) {
            return parse_object(&format!("{prefix}{key}"), inner, absent);
        }
    }
    parse_object(prefix.trim_end_matches('.'), value, Absent::Unknown)
}

/// What it means that a register is not listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Zero,
    Unknown,
}

fn parse_object(
    place: &str,
    value: &Value,
    absent: Absent,
) -> Result<Registers, RegisterFileError> {
    let field = |key: &str, what: String| RegisterFileError::Field {
        field: match (place, key) {
            ("", key) => key.into(),
            (place, "") => place.into(),
            (place, key) => format!("{place}.{key}"),
        },
        what,
    };
    let object: &Map<String, Value> = value
        .as_object()
        .ok_or_else(|| field("", "not an object of registers".into()))?;
    let mut registers = Registers::default();
    if absent == Absent::Zero {
        for name in smmu::regfile::register_names() {
            // Every name in the table is known, and zero fits every register.
            let _ = registers.set(name, 0);
        }
    }
    for (key, value) in object {
        let number = match value {
            Value::String(text) => hex(text),
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        let number = number.ok_or_else(|| {
            field(
                key,
                format!("{value} is neither a hexadecimal string nor a number"),
            )
        })?;
        set(&mut registers, key, number).map_err(|what| field(key, what))?;
    }
    Ok(registers)
}

/// Sets what `key` names: a register, or with `0x…` the 32-bit word at that offset.
fn set(registers: &mut Registers, key: &str, value: u64) -> Result<(), String> {
    if key.starts_with("0x") {
        let offset = hex(key)
            .and_then(|offset| u32::try_from(offset).ok())
            .filter(|offset| offset % 4 == 0)
            .ok_or_else(|| format!("{key} is not the offset of a 32-bit word"))?;
        let word = u32::try_from(value)
            .map_err(|_| format!("{value:#x} does not fit the 32-bit word at {key}"))?;
        registers.set_word(offset, word);
        return Ok(());
    }
    let name = key.strip_prefix("SMMU_").unwrap_or(key);
    if is_unmodelled(name) {
        return Ok(());
    }
    registers
        .set(name, value)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_both_kinds_of_json_say_the_same() {
        let text =
            "# a comment\nIDR0 = 0d44101b\nSMMU_CR0: 0x1 # enabled\nSTRTAB_BASE 4000000040bcd000\n";
        let words =
            r#"{"0x00000": "0x0d44101b", "0x20": 1, "0x80": "40bcd000", "0x84": "0x40000000"}"#;
        let names = r#"{"IDR0": "0x0d44101b", "CR0": 1, "STRTAB_BASE": "0x4000000040bcd000"}"#;
        let expected = parse(text).unwrap();
        assert_eq!(expected[0].get("STRTAB_BASE"), Some(0x4000_0000_40bc_d000));
        assert_eq!(parse(words).unwrap(), expected);
        assert_eq!(parse(names).unwrap(), expected);
        assert_eq!(parse(&to_text(&expected[0])).unwrap(), expected);
    }

    #[test]
    fn a_manifest_lists_what_is_not_zero() {
        let manifest = format!(
            r#"{{"smmus": [{{"raw32_nonzero": {{"0x20": "0x1"}}, "regs": {}}}]}}"#,
            "{}"
        );
        let registers = &parse(&manifest).unwrap()[0];
        assert_eq!(registers.get("CR0"), Some(1));
        assert_eq!(registers.get("STRTAB_BASE"), Some(0));
        let named = r#"{"regs": {"CR0": "0x1", "AGBPA": "0x0"}}"#;
        assert_eq!(parse(named).unwrap()[0].get("STRTAB_BASE"), None);
    }

    #[test]
    fn errors_name_the_line_or_the_field() {
        for (text, message) in [
            (
                "\nCRO = 1",
                "line 2: there is no register CRO; did you mean CR0?",
            ),
            ("CR0 = x", "line 1: CR0: \"x\" is not a hexadecimal number"),
            ("CR0", "line 1: expected NAME = VALUE"),
            ("0x81 = 1", "0x81 is not the offset"),
            ("0x80 = 100000000", "does not fit the 32-bit word at 0x80"),
            ("{\"CR0\": true}", "CR0: true is neither"),
            (
                "{\"smmus\": [{\"regs\": {\"CRO\": 1}}]}",
                "smmus[0].regs.CRO: there is no",
            ),
            (
                "{\"smmus\": [{\"regs\": 1}]}",
                "smmus[0].regs: not an object",
            ),
            ("{\"smmus\": []}", "smmus: empty"),
            ("{\"smmus\": 1}", "smmus: not an array"),
            ("{", "EOF while parsing"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}

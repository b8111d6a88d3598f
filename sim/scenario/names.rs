//! Names a scenario uses, and what is said when there is no such thing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use smmu::spec::{Field, Layout};

use super::source::{Diagnostic, Located, Number, Span};
use crate::suggest;

/// Fields of a structure by name.
pub(super) type Fields = BTreeMap<String, Located<Number>>;

/// Names that a message lists.
const LISTED_MAX: usize = 40;

/// Checks that `name` is one of `known` things of a kind.
pub(super) fn known<'a>(
    kind: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'a str>,
) -> Result<(), Diagnostic> {
    chosen(kind, name, name.span(), known).map(drop)
}

/// The one of `known` that `name` is.
pub(super) fn chosen<'a>(
    kind: &str,
    name: &str,
    span: Span,
    known: impl Iterator<Item = &'a str>,
) -> Result<&'a str, Diagnostic> {
    let all: Vec<&str> = known.collect();
    if let Some(found) = all.iter().find(|known| **known == name) {
        return Ok(found);
    }
    let diagnostic = Diagnostic::new(format!("there is no {kind} {name:?}"), span, "unknown");
    let nearest = suggest::nearest_of(name, all.iter().copied());
    let mut help = nearest.map_or_else(String::new, |name| format!("did you mean {name:?}? "));
    if all.is_empty() {
        help = "the file declares none".into();
    } else if all.len() <= LISTED_MAX {
        help.push_str("known are ");
        help.push_str(&all.join(", "));
    }
    Err(if help.is_empty() {
        diagnostic
    } else {
        diagnostic.help(help.trim_end())
    })
}

/// Fields that hold the upper bits of an address. Files have the address.
const ADDRESSES: [&str; 9] = [
    "Address",
    "FetchAddr",
    "IPA",
    "L2Ptr",
    "S1ContextPtr",
    "S2TTB",
    "TTB0",
    "TTB1",
    "VMSPtr",
];

/// log2 of what one stands for in a field.
fn unit_log2(field: &Field) -> u32 {
    if ADDRESSES.contains(&field.name) {
        field.lsb % 64
    } else {
        0
    }
}

/// A field's value as files have it.
pub(super) fn value_of(field: &Field, words: &[u64]) -> u64 {
    (field.read)(words) << unit_log2(field)
}

/// The field of a structure and the bits that say `value`, if it fits.
pub(super) fn field<'a>(
    layout: &'a Layout,
    name: &str,
    value: &Located<Number>,
) -> Result<(&'a Field, u64), Diagnostic> {
    let names = layout.fields.iter().map(|field| field.name);
    let kind = format!("field of {} called", layout.structure);
    chosen(&kind, name, value.span(), names)?;
    let field = layout.fields.iter().find(|field| field.name == name);
    let field = field.expect("it is known");
    let bits = field.msb - field.lsb + 1;
    let unit_log2 = unit_log2(field);
    let raw = value.0 >> unit_log2;
    if raw << unit_log2 != value.0 || bits < 64 && raw >> bits != 0 {
        let message = format!("{:#x} does not fit {name}", value.0);
        let label = match unit_log2 {
            0 => format!("{bits} bits"),
            _ => format!("an address of bits {} to {unit_log2}", bits + unit_log2 - 1),
        };
        return Err(Diagnostic::new(message, value.span(), label));
    }
    Ok((field, raw))
}

/// A number within bounds.
pub(super) fn within(
    given: Option<&Located<Number>>,
    default: u64,
    bounds: RangeInclusive<u64>,
) -> Result<u64, Diagnostic> {
    let Some(given) = given else {
        return Ok(default);
    };
    if bounds.contains(&given.0) {
        return Ok(given.0);
    }
    let label = format!("expected {} to {}", bounds.start(), bounds.end());
    Err(Diagnostic::new(
        format!("{} is out of range", given.0),
        given.span(),
        label,
    ))
}

/// Checks that no two things have one name.
pub(super) fn distinct<'a>(
    kind: &str,
    names: impl Iterator<Item = &'a Located<String>>,
) -> Result<(), Diagnostic> {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.insert(name.as_str(), name.span()) {
            let message = format!("two {kind}s are called {:?}", &**name);
            return Err(Diagnostic::new(message, name.span(), "the second").and(first, "the first"));
        }
    }
    Ok(())
}

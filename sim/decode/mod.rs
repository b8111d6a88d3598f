//! Raw words, as engineers paste them from kernel logs, into named fields with their meaning, and
//! what is illegal about them.

pub(crate) mod meaning;
mod text;
mod words;

use serde::Serialize;
use smmu::config::SmmuConfig;
use smmu::fault::{IllegalCd, IllegalSte};
use smmu::fetch::{StreamContext, cd_violations, resolve_ste, ste_violations};
use smmu::spec::cd::Cd;
use smmu::spec::cmd::{CmdOp, layout_of};
use smmu::spec::event::{BadAtsTreq, Event, EventId, PageRequest};
use smmu::spec::regs::Cr2;
use smmu::spec::ste::Ste;
use smmu::spec::{Field, Layout, layouts};
use smmu::tables::SteBuilder;
use thiserror::Error;

pub use words::WordError;

use crate::suggest;

/// What the words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stream table entry: 8 words.
    Ste,
    /// Context descriptor: 8 words.
    Cd,
    /// Level-1 stream table descriptor.
    L1Std,
    /// Level-1 context descriptor.
    L1Cd,
    /// Command: 2 words.
    Cmd,
    /// Event record: 4 words.
    Event,
    /// PRI queue record: 2 words.
    Pri,
    /// Translation table descriptor.
    Pte(Table),
}

/// Where a translation table descriptor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// 1 or 2.
    pub stage: u8,
    /// log2 of the granule.
    pub granule_log2: u8,
    /// Level, −1 to 3.
    pub level: i8,
    /// Whether the format is that of DS=1 (LPA2).
    pub format: Format,
}

/// Format of 4 KiB and 16 KiB descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 48-bit addresses.
    Bits48,
    /// 52-bit addresses, DS=1.
    Lpa2,
}

impl Kind {
    fn words(self) -> usize {
        match self {
            Self::Ste | Self::Cd => 8,
            Self::Event => 4,
            Self::Cmd | Self::Pri => 2,
            Self::L1Std | Self::L1Cd | Self::Pte(_) => 1,
        }
    }
}

/// Why words cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text is not a list of words of the right number.
    #[error(transparent)]
    Words(#[from] WordError),
    /// There is no such register.
    #[error("there is no register {name}{}", suggest::hint(suggestion.as_deref()))]
    UnknownRegister {
        /// The name given.
        name: String,
        /// A register of a similar name.
        suggestion: Option<String>,
    },
    /// A register is not given as `NAME VALUE` or `NAME=VALUE`.
    #[error("expected a register name and a value, as in CR0 0xd or CR0=0xd")]
    RegisterForm,
    /// A value has more bits than its register.
    #[error("{value:#x} does not fit the {bits} bits of {name}")]
    TooLarge {
        /// The register.
        name: String,
        /// The value.
        value: u64,
        /// The register's size.
        bits: u32,
    },
}

/// A field with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldValue {
    /// The architecture's name.
    pub name: &'static str,
    /// Highest bit.
    pub msb: u32,
    /// Lowest bit.
    pub lsb: u32,
    /// The value.
    pub value: u64,
    /// What it says; empty for plain numbers.
    pub meaning: String,
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Illegal {
    /// The field that is wrong.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// The ID register fields that decide.
    pub depends_on: String,
}

/// A structure in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decoded {
    /// What it is.
    pub title: String,
    /// Its words.
    pub words: Vec<String>,
    /// Its fields, ascending by position.
    pub fields: Vec<FieldValue>,
    /// What the fields say together.
    pub notes: Vec<String>,
    /// What is illegal about it.
    pub illegal: Vec<Illegal>,
}

/// Which fields a text shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Those that are not zero.
    Set,
    /// All.
    All,
}

/// Decodes every structure of `kind` in `text`; `part` decides what is illegal.
///
/// # Errors
/// [`DecodeError::Words`] naming the token, or how many words were expected and found.
pub fn decode(kind: Kind, text: &str, part: &SmmuConfig) -> Result<Vec<Decoded>, DecodeError> {
    let words = words::parse(text, kind.words())?;
    Ok(words
        .chunks_exact(kind.words())
        .map(|words| structure(kind, words, part))
        .collect())
}

/// One structure; `words` are as many as its kind has.
pub(crate) fn structure(kind: Kind, words: &[u64], part: &SmmuConfig) -> Decoded {
    match kind {
        Kind::Ste => ste(words, part),
        Kind::Cd => cd(words, part),
        Kind::L1Std => plain("L1STD", "L1Std", words),
        Kind::L1Cd => plain("L1CD", "L1Cd", words),
        Kind::Pri => plain("PRI queue record", "PriRecord", words),
        Kind::Cmd => command(words),
        Kind::Event => event(words),
        Kind::Pte(table) => meaning::descriptor(table, words[0]),
    }
}

/// The layout called `structure`.
fn layout(structure: &str) -> Option<&'static Layout> {
    layouts().find(|layout| layout.structure == structure)
}

/// A structure whose fields speak for themselves.
fn plain(title: &str, structure: &str, words: &[u64]) -> Decoded {
    layout(structure).map_or_else(
        || empty(title, words),
        |layout| decoded(title, layout, words),
    )
}

fn empty(title: &str, words: &[u64]) -> Decoded {
    Decoded {
        title: title.into(),
        words: words.iter().map(|word| format!("{word:#018x}")).collect(),
        fields: Vec::new(),
        notes: Vec::new(),
        illegal: Vec::new(),
    }
}

fn decoded(title: &str, layout: &Layout, words: &[u64]) -> Decoded {
    let mut decoded = empty(title, words);
    decoded.fields = layout
        .fields
        .iter()
        .map(|field| field_value(layout.structure, field, words))
        .collect();
    if let Some(bits) = undefined_bits(layout, words) {
        decoded
            .notes
            .push(format!("undefined bits are set: {bits}"));
    }
    decoded
}

fn field_value(structure: &str, field: &Field, words: &[u64]) -> FieldValue {
    let value = (field.read)(words);
    FieldValue {
        name: field.name,
        msb: field.msb,
        lsb: field.lsb,
        value,
        meaning: meaning::of(structure, field.name, field.lsb, value),
    }
}

/// Set bits that no field covers, as ranges.
fn undefined_bits(layout: &Layout, words: &[u64]) -> Option<String> {
    let covered = |bit: u32| layout.fields.iter().any(|f| (f.lsb..=f.msb).contains(&bit));
    let set = |bit: u32| words[(bit / 64) as usize] >> (bit % 64) & 1 != 0;
    let bits: Vec<_> = (0..layout.bits)
        .filter(|&bit| set(bit) && !covered(bit))
        .map(|bit| bit.to_string())
        .collect();
    (!bits.is_empty()).then(|| bits.join(", "))
}

fn ste(words: &[u64], part: &SmmuConfig) -> Decoded {
    let mut raw = [0; 8];
    raw.copy_from_slice(words);
    let ste = Ste::from_words(raw);
    let mut decoded = plain("STE", "Ste", words);
    meaning::ste_notes(&ste, &mut decoded.notes);
    ste_violations(&ste, part, |illegal: IllegalSte| {
        decoded.illegal.push(Illegal {
            field: illegal.field().into(),
            reason: format!("rule {}: {}", illegal.number(), illegal.reason()),
            depends_on: illegal.depends_on().into(),
        });
    });
    decoded
}

/// A stage-1-only stream of EL1: what a CD on its own is judged for.
fn plain_stream(part: &SmmuConfig) -> Option<StreamContext> {
    let ste = SteBuilder::bypass().with_stage1(0).0;
    resolve_ste(&ste, part, Cr2::default()).ok()
}

fn cd(words: &[u64], part: &SmmuConfig) -> Decoded {
    let mut raw = [0; 8];
    raw.copy_from_slice(words);
    let cd = Cd::from_words(raw);
    let mut decoded = plain("CD", "Cd", words);
    meaning::cd_notes(&cd, &mut decoded.notes);
    match plain_stream(part) {
        Some(stream) => cd_violations(&cd, part, &stream, |illegal: IllegalCd| {
            decoded.illegal.push(Illegal {
                field: illegal.field().into(),
                reason: format!("rule {}: {}", illegal.number(), illegal.reason()),
                depends_on: illegal.depends_on().into(),
            });
        }),
        None => decoded
            .notes
            .push("this part has no stage 1: no CD is ever read".into()),
    }
    decoded
}

fn command(words: &[u64]) -> Decoded {
    let op = CmdOp((words[0] & 0xff) as u8);
    let illegal = |field: &str, reason: &str, depends_on: &str| Illegal {
        field: field.into(),
        reason: format!("CERROR_ILL: {reason}"),
        depends_on: depends_on.into(),
    };
    let Some(layout) = layout_of(op) else {
        let mut decoded = empty(&format!("command {op:?}"), words);
        let reason = if op.name().is_some() {
            "not a command of the Non-secure queue, or of a feature that is not modelled"
        } else {
            "reserved opcode"
        };
        decoded.illegal.push(illegal("Opcode", reason, "—"));
        return decoded;
    };
    let mut decoded = decoded(&format!("CMD_{op:?}"), layout, words);
    if op == CmdOp::CFGI_STE_RANGE && words[1] & 0x1f == 31 {
        decoded.title = "CMD_CFGI_ALL".into();
    }
    let value = |name: &str| {
        decoded
            .fields
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.value)
    };
    let mut broken = Vec::new();
    if value("SSec") == Some(1) {
        broken.push(illegal("SSec", "SSec=1 on the Non-secure queue", "—"));
    }
    if value("CS") == Some(3) {
        broken.push(illegal("CS", "CS=3 is reserved", "—"));
    }
    if value("Resp") == Some(3) {
        broken.push(illegal("Resp", "Resp=3 is reserved", "—"));
    }
    if [
        ("TG", true),
        ("NUM", false),
        ("SCALE", false),
        ("TTL", false),
    ]
    .iter()
    .all(|(name, set)| value(name).is_some_and(|value| (value != 0) == *set))
    {
        broken.push(illegal(
            "TG",
            "TG≠0 with NUM=0, SCALE=0 and TTL=0",
            "IDR3.RIL",
        ));
    }
    decoded.illegal = broken;
    decoded
}

fn event(words: &[u64]) -> Decoded {
    let id = EventId((words[0] & 0xff) as u8);
    let layout = match id {
        EventId::F_BAD_ATS_TREQ => &BadAtsTreq::LAYOUT,
        EventId::E_PAGE_REQUEST => &PageRequest::LAYOUT,
        _ => &Event::LAYOUT,
    };
    let mut decoded = decoded(&format!("event {id:?}"), layout, words);
    let carries = meaning::event_fields(id);
    if let Some(carried) = carries {
        let stray: Vec<_> = decoded
            .fields
            .iter()
            .filter(|f| f.value != 0 && !carried.contains(&f.name))
            // Fields share bits: what another field of this event covers is not stray.
            .filter(|f| {
                !layout
                    .fields
                    .iter()
                    .any(|g| carried.contains(&g.name) && g.lsb <= f.lsb && f.lsb <= g.msb)
                    && !layout
                        .fields
                        .iter()
                        .any(|g| carried.contains(&g.name) && f.lsb <= g.lsb && g.lsb <= f.msb)
            })
            .map(|f| f.name)
            .collect();
        if !stray.is_empty() {
            decoded.notes.push(format!(
                "not fields of this event, yet set: {}",
                stray.join(", ")
            ));
        }
        decoded.fields.retain(|f| carried.contains(&f.name));
        decoded.notes.insert(0, meaning::event_note(id).into());
    } else {
        decoded.illegal.push(Illegal {
            field: "Type".into(),
            reason: "reserved or IMPLEMENTATION DEFINED event number".into(),
            depends_on: "—".into(),
        });
    }
    decoded
}

/// Decodes a register: `NAME VALUE` or `NAME=VALUE`, with or without the `SMMU_` prefix.
///
/// # Errors
/// [`DecodeError`] naming the register or the value.
pub fn decode_register(text: &str) -> Result<Decoded, DecodeError> {
    let parts: Vec<_> = text
        .split(|c: char| c == '=' || c.is_whitespace())
        .filter(|s| !s.is_empty())
        .collect();
    let [name, value] = parts[..] else {
        return Err(DecodeError::RegisterForm);
    };
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SMMU_").unwrap_or(&name);
    let value = words::parse(value, 1)?[0];
    let layout = register_layout(name).ok_or_else(|| DecodeError::UnknownRegister {
        name: name.into(),
        suggestion: suggest::nearest(name, smmu::regfile::register_names()),
    })?;
    if layout.bits < 64 && value >> layout.bits != 0 {
        return Err(DecodeError::TooLarge {
            name: name.into(),
            value,
            bits: layout.bits,
        });
    }
    let mut decoded = decoded(&format!("SMMU_{name}"), layout, &[value]);
    decoded.words = vec![format!("{value:#x}")];
    Ok(decoded)
}

/// The layout of a register; several registers share one.
fn register_layout(name: &str) -> Option<&'static Layout> {
    let shared = match name {
        "CR0ACK" => "CR0",
        "IRQ_CTRLACK" => "IRQ_CTRL",
        "GERRORN" => "GERROR",
        "PRIQ_BASE" => "EVENTQ_BASE",
        "PRIQ_PROD" => "EVENTQ_PROD",
        "PRIQ_CONS" => "EVENTQ_CONS",
        "GERROR_IRQ_CFG0" | "EVENTQ_IRQ_CFG0" | "PRIQ_IRQ_CFG0" => "IRQ_CFG0",
        "GERROR_IRQ_CFG1" | "EVENTQ_IRQ_CFG1" | "PRIQ_IRQ_CFG1" => "IRQ_CFG1",
        "GERROR_IRQ_CFG2" | "EVENTQ_IRQ_CFG2" => "IRQ_CFG2",
        other => other,
    };
    let plain = shared.replace('_', "");
    smmu::spec::regs::LAYOUTS
        .iter()
        .copied()
        .find(|layout| layout.structure.eq_ignore_ascii_case(&plain))
}

#[cfg(test)]
mod tests;

//! Where things are written in a scenario file, and messages that show the place.

use std::fmt;
use std::ops::{Deref, Range};

use annotate_snippets::renderer::DEFAULT_TERM_WIDTH;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// Bytes of the file.
pub type Span = Range<usize>;

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T>(Spanned<T>);

impl<T> Located<T> {
    /// Where it is written.
    pub fn span(&self) -> Span {
        self.0.span()
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A place of the file with a few words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    span: Span,
    label: String,
}

/// What a [`Diagnostic`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    message: String,
    primary: Note,
    /// What it contradicts, if that is elsewhere.
    secondary: Option<Note>,
    /// What to do about it.
    help: Option<String>,
}

/// Something wrong with a file, or with what a run of it gave, and the places of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic(Box<Said>);

impl Diagnostic {
    /// `message` about the place `span`, where `label` is to be read.
    pub fn new(message: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        Self(Box::new(Said {
            message: message.into(),
            primary: Note {
                span,
                label: label.into(),
            },
            secondary: None,
            help: None,
        }))
    }

    /// The same with a second place.
    #[must_use]
    pub fn and(mut self, span: Span, label: impl Into<String>) -> Self {
        self.0.secondary = Some(Note {
            span,
            label: label.into(),
        });
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// With the lines of the file it is about, coloured.
    pub fn render(&self, path: &str, text: &str) -> String {
        let Said {
            message,
            primary,
            secondary,
            help,
        } = &*self.0;
        let place = AnnotationKind::Primary.span(within(text, &primary.span));
        let mut snippet = Snippet::source(text)
            .path(path)
            .annotation(place.label(&primary.label));
        if let Some(note) = secondary {
            let context = AnnotationKind::Context.span(within(text, &note.span));
            snippet = snippet.annotation(context.label(&note.label));
        }
        let mut group = Level::ERROR.primary_title(message).element(snippet);
        if let Some(help) = help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = Renderer::styled().term_width(DEFAULT_TERM_WIDTH);
        renderer.render(&[group])
    }
}

/// The span, of at least one character and within the text.
fn within(text: &str, span: &Span) -> Span {
    let start = span.start.min(text.len());
    start..span.end.clamp(start, text.len())
}

/// A number: a TOML integer, or text with hexadecimal digits or a binary unit (`"0xffff_8000_0000_0000"`,
/// `"64KiB"`), as TOML's integers end at 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.replace('_', "");
        if let Some(hex) = digits.strip_prefix("0x") {
            let all_digits = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = u64::from_str_radix(hex, 16).ok()?;
            return all_digits.then_some(Self(value));
        }
        let unit = UNITS.iter().find(|(unit, _)| digits.ends_with(unit));
        let (digits, shift) = match unit {
            Some((unit, shift)) => (digits.strip_suffix(unit)?, *shift),
            None => (digits.as_str(), 0),
        };
        let all_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
        let value: u64 = digits.parse().ok()?;
        let shifted = value.checked_mul(1 << shift)?;
        all_digits.then_some(Self(shifted))
    }
}

impl fmt::LowerHex for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

struct NumberVisitor;

impl serde::de::Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of at most 64 bits, such as 4096, 0x1000, \"4KiB\" or \"0xffff_8000_0000_0000\"")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Number, E> {
        let negative = serde::de::Unexpected::Signed(value);
        u64::try_from(value)
            .map(Number)
            .map_err(|_| E::invalid_value(negative, &self))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Number, E> {
        Ok(Number(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
        let wrong = serde::de::Unexpected::Str(text);
        Number::parse(text).ok_or_else(|| E::invalid_value(wrong, &self))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "boolean" },
                { "type": "string", "pattern": "^(0x[0-9a-fA-F_]+|[0-9_]+(KiB|MiB|GiB|TiB)?)$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn numbers_are_read_with_units_and_to_the_last_bit() {
        for (text, value) in [
            ("0x10", 16),
            ("4KiB", 4096),
            ("2MiB", 2 << 20),
            ("1_000", 1000),
            ("0xffff_ffff_ffff_ffff", u64::MAX),
        ] {
            assert_eq!(Number::parse(text), Some(Number(value)), "{text}");
        }
        for text in [
            "",
            "0x",
            "+1",
            "-1",
            "0x+1",
            "1.5",
            "KiB",
            "4 KiB",
            "4kb",
            "0x1_0000_0000_0000_0000",
            "99999999TiB",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}

//! Settings of a run: presets and files in TOML, `key=value` on the command line, and what has been
//! resolved, written with every result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use smmu::timing::{
    Field, Section as _, SettingError, Settings as _, TimingConfig, UseOfAts, Value,
};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::suggest;
use crate::workload::generator::WorkloadSection;
use crate::workload::world::{Eats, MachineSection};

/// Everything that names a run: the timed machine, its streams and tables, and the workload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunSettings {
    /// The timed machine.
    pub timing: TimingConfig,
    /// What a generated workload does.
    pub workload: WorkloadSection,
    /// Streams and tables of generated workloads and bare traces.
    pub machine: MachineSection,
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML, or a setting in it cannot be.
    #[error("{source_name}:{line}:{column}: {what}")]
    File {
        /// Which file or preset.
        source_name: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// An argument is not `KEY=VALUE`, or cannot be.
    #[error("--set {argument}: {what}")]
    Argument {
        /// The argument.
        argument: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// There is no such preset.
    #[error("--config {name}: neither a file nor one of {}{}", known.join(", "), suggest::hint(suggestion.as_deref()))]
    Preset {
        /// The name.
        name: String,
        /// The presets there are.
        known: Vec<&'static str>,
        /// A preset of a similar name.
        suggestion: Option<String>,
    },
}

/// A named part.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub toml: &'static str,
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "default",
        toml: include_str!("../../presets/timing/default.toml"),
    },
    Preset {
        name: "mmu-600",
        toml: include_str!("../../presets/timing/mmu-600.toml"),
    },
    Preset {
        name: "mmu-700",
        toml: include_str!("../../presets/timing/mmu-700.toml"),
    },
    Preset {
        name: "gem5",
        toml: include_str!("../../presets/timing/gem5.toml"),
    },
    Preset {
        name: "intel-vtd",
        toml: include_str!("../../presets/timing/intel-vtd.toml"),
    },
];

impl RunSettings {
    /// Streams and tables as they are made: with what suits the devices.
    pub fn world(&self) -> MachineSection {
        let mut machine = self.machine.clone();
        if machine.eats == Eats::Auto {
            machine.eats = match self.timing.ats.enabled {
                UseOfAts::On => Eats::Full,
                UseOfAts::Off => Eats::Off,
            };
        }
        machine
    }

    /// The settings of a preset on top of the defaults.
    ///
    /// # Errors
    /// [`SettingsError::Preset`] with the names there are.
    pub fn preset(name: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        settings.apply_preset(name)?;
        Ok(settings)
    }

    /// Applies a preset, or a file if there is no such preset.
    ///
    /// # Errors
    /// [`SettingsError`] naming the preset, or the line of the file.
    pub fn apply(&mut self, name: &str) -> Result<(), SettingsError> {
        let path = Path::new(name);
        if PRESETS.iter().any(|preset| preset.name == name) || !path.exists() {
            return self.apply_preset(name);
        }
        self.apply_file(path)
    }

    fn apply_preset(&mut self, name: &str) -> Result<(), SettingsError> {
        let known = || PRESETS.iter().map(|preset| preset.name);
        let preset = PRESETS.iter().find(|preset| preset.name == name);
        let preset = preset.ok_or_else(|| SettingsError::Preset {
            name: name.to_owned(),
            known: known().collect(),
            suggestion: suggest::nearest(name, known()),
        })?;
        self.apply_toml(name, preset.toml)
    }

    /// Applies a file.
    ///
    /// # Errors
    /// [`SettingsError`] naming the line.
    pub fn apply_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.apply_toml(&path.display().to_string(), &text)
    }

    /// Applies settings in TOML; `source_name` is for messages.
    ///
    /// # Errors
    /// [`SettingsError::File`] naming the line.
    pub fn apply_toml(&mut self, source_name: &str, text: &str) -> Result<(), SettingsError> {
        let wrong = |at: usize, what: String| {
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            SettingsError::File {
                source_name: source_name.to_owned(),
                line,
                column,
                what,
            }
        };
        let document = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(at, error.message().to_owned())
        })?;
        for (section, fields) in document.get_ref() {
            let name: &str = section.get_ref();
            if !Self::sections().any(|known| known == name) {
                let hint = suggest::hint(suggest::nearest(name, Self::sections()).as_deref());
                let known: Vec<_> = Self::sections().collect();
                let what = format!(
                    "there is no section {name}{hint}; sections are {}",
                    known.join(", ")
                );
                return Err(wrong(section.span().start, what));
            }
            let DeValue::Table(fields) = fields.get_ref() else {
                let what = format!("{name} is a section: [{name}]");
                return Err(wrong(section.span().start, what));
            };
            for (field, value) in fields {
                let key = format!("{name}.{}", field.get_ref());
                let parsed = value_of(value)
                    .ok_or_else(|| wrong(value.span().start, Self::allowed(&key)))?;
                self.set(&key, &parsed).map_err(|error| {
                    let at = match error {
                        SettingError::NotAllowed { .. } => value.span().start,
                        _ => field.span().start,
                    };
                    wrong(at, with_suggestion(&error))
                })?;
            }
        }
        Ok(())
    }

    /// What may stand at `key`, for a value that is neither a number nor a word.
    fn allowed(key: &str) -> String {
        match Self::fields().iter().find(|field| field.key() == key) {
            Some(field) => format!("{key}: allowed is {}", field.allowed),
            None => format!("there is no setting {key}"),
        }
    }

    /// Applies `KEY=VALUE`.
    ///
    /// # Errors
    /// [`SettingsError::Argument`] with what is allowed.
    pub fn apply_argument(&mut self, argument: &str) -> Result<(), SettingsError> {
        let wrong = |what| SettingsError::Argument {
            argument: argument.to_owned(),
            what,
        };
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| wrong("expected KEY=VALUE, such as tcu.walk_slots=8".to_owned()))?;
        let value = value.trim();
        let parsed = match value.replace('_', "").parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Word(value.to_owned()),
        };
        self.set(key.trim(), &parsed)
            .map_err(|error| wrong(with_suggestion(&error)))
    }

    /// Gives a setting a value.
    ///
    /// # Errors
    /// [`SettingError`]: there is no such setting, or what it may be.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), SettingError> {
        let unknown = || SettingError::Unknown {
            key: key.to_owned(),
        };
        let (section, name) = key.split_once('.').ok_or_else(unknown)?;
        let result = match section {
            "workload" => self.workload.set(name, value),
            "machine" => self.machine.set(name, value),
            _ => return self.timing.set(key, value),
        };
        result
            .ok_or_else(unknown)?
            .map_err(|allowed| SettingError::NotAllowed {
                key: key.to_owned(),
                value: value.clone(),
                allowed,
            })
    }

    /// The value of a setting.
    pub fn get(&self, key: &str) -> Option<Value> {
        let (section, name) = key.split_once('.')?;
        match section {
            "workload" => self.workload.get(name),
            "machine" => self.machine.get(name),
            _ => self.timing.get(key),
        }
    }

    fn sections() -> impl Iterator<Item = &'static str> {
        let timing = TimingConfig::SECTIONS.iter().copied();
        ["workload", "machine"].into_iter().chain(timing)
    }

    /// Every setting there is.
    pub fn fields() -> Vec<Field> {
        let mut fields = Vec::new();
        WorkloadSection::fields(&mut fields, "workload");
        MachineSection::fields(&mut fields, "machine");
        fields.extend(TimingConfig::fields());
        fields
    }

    /// The settings as a file, each with unit, default and reason.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for field in Self::fields() {
            if field.section != section {
                section = field.section;
                let _ = writeln!(text, "\n[{section}]");
            }
            let value = self.get(&field.key()).unwrap_or(field.default.clone());
            let unit = if field.unit.is_empty() {
                String::new()
            } else {
                format!(" {};", field.unit)
            };
            let _ = writeln!(text, "# {}", field.reason);
            let _ = writeln!(text, "#{unit} {}; default {}", field.allowed, field.default);
            let _ = match value {
                Value::Number(number) => writeln!(text, "{} = {number}", field.name),
                Value::Word(word) => writeln!(text, "{} = \"{word}\"", field.name),
            };
        }
        text.trim_start().to_owned()
    }
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match value.get_ref() {
        DeValue::String(word) => Some(Value::Word(word.to_string())),
        DeValue::Boolean(word) => Some(Value::Word(word.to_string())),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str(), number.radix());
            match u64::from_str_radix(digits, radix) {
                Ok(number) => Some(Value::Number(number)),
                // Below zero.
                Err(_) => Some(Value::Word(digits.to_owned())),
            }
        }
        _ => None,
    }
}

/// The error, with the setting that was probably meant.
fn with_suggestion(error: &SettingError) -> String {
    let SettingError::Unknown { key } = error else {
        return error.to_string();
    };
    let keys: Vec<String> = RunSettings::fields().iter().map(Field::key).collect();
    let nearest = suggest::nearest_of(key, keys.iter().map(String::as_str));
    format!("{error}{}", suggest::hint(nearest.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_legal_and_resolved_settings_read_back() {
        for preset in PRESETS {
            let settings = RunSettings::preset(preset.name).unwrap();
            let mut again = RunSettings::default();
            again.apply_toml("resolved", &settings.to_toml()).unwrap();
            assert_eq!(again, settings, "{}", preset.name);
        }
        assert_eq!(
            RunSettings::preset("default").unwrap(),
            RunSettings::default()
        );
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_line_and_what_is_allowed() {
        let message = |text| {
            let mut settings = RunSettings::default();
            settings.apply_toml("x.toml", text).unwrap_err().to_string()
        };
        assert_eq!(
            message("[tcu]\nwalk_slots = 0\n"),
            "x.toml:2:14: tcu.walk_slots = 0: allowed is 1 to 4096"
        );
        assert_eq!(
            message("[tcu]\nwalk_slot = 4\n"),
            "x.toml:2:1: there is no setting tcu.walk_slot; did you mean tcu.walk_slots?"
        );
        assert!(
            message("[tuc]\n")
                .starts_with("x.toml:1:2: there is no section tuc; did you mean tcu?")
        );
        assert_eq!(
            message("[micro_tlb]\npolicy = \"fifo\"\n"),
            "x.toml:2:10: micro_tlb.policy = fifo: allowed is round-robin, lru, pseudo-lru, random, infinite"
        );
        assert_eq!(
            message("[micro_tlb]\nentries = -1\n"),
            "x.toml:2:11: micro_tlb.entries = -1: allowed is 0 to 1048576"
        );
        assert!(message("[tcu\n").starts_with("x.toml:1:"));
        assert_eq!(message("tcu = 1\n"), "x.toml:1:1: tcu is a section: [tcu]");
        let mut settings = RunSettings::default();
        assert_eq!(
            settings
                .apply_argument("tcu.walk_slots")
                .unwrap_err()
                .to_string(),
            "--set tcu.walk_slots: expected KEY=VALUE, such as tcu.walk_slots=8"
        );
        settings
            .apply_argument("workload.transactions=1_000")
            .unwrap();
        assert_eq!(settings.workload.transactions, 1000);
    }
}

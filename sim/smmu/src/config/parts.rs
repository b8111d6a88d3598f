//! Parts that exist: real ones, QEMU's, one with everything the model has and one with the least.
//! Each is a file of `parts/`, embedded; users write their own in the same form.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

use super::{ConfigError, SmmuConfig};
use crate::cache::CacheConfig;

/// A part: what it implements, and what caches it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// One line about it.
    pub description: String,
    /// What it implements.
    pub features: SmmuConfig,
    /// Its caches.
    pub caches: CacheConfig,
}

macro_rules! parts {
    ($($name:literal),* $(,)?) => {
        /// Names of the embedded parts, and their files.
        pub const PARTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../parts/", $name, ".toml")))),*];
    };
}

parts!("full", "minimal", "qemu-11", "mmu-600", "mmu-700");

/// Why a part file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PartError {
    /// It is no TOML, or a value is missing, unknown or of the wrong kind; the message shows where.
    #[error("{0}")]
    Syntax(toml::de::Error),
    /// `base` names no embedded part.
    #[error("base = {0:?}: there is no such part")]
    UnknownBase(String),
    /// The part cannot exist.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The embedded part called `name`.
///
/// # Panics
///
/// If its file is not a part, which the tests rule out for every embedded one.
pub fn part(name: &str) -> Option<Part> {
    let (_, file) = PARTS.iter().find(|(known, _)| *known == name)?;
    Some(Part::parse(file).unwrap_or_else(|error| panic!("parts/{name}.toml: {error}")))
}

impl Part {
    /// A part from the text of its file. With `base = "NAME"` it has what that embedded part has,
    /// but for what the file says.
    ///
    /// # Errors
    /// [`PartError`] saying which line, key or rule.
    pub fn parse(text: &str) -> Result<Self, PartError> {
        let mut table: Table = toml::from_str(text).map_err(PartError::Syntax)?;
        let part: Self = match table.remove("base") {
            // Parsed from the text, so that errors show the line.
            None => toml::from_str(text).map_err(PartError::Syntax)?,
            Some(base) => {
                let name = base.as_str().unwrap_or_default();
                let known = PARTS.iter().find(|(known, _)| *known == name);
                let (_, file) = known.ok_or_else(|| PartError::UnknownBase(name.into()))?;
                let mut whole: Table = toml::from_str(file).map_err(PartError::Syntax)?;
                overlay(&mut whole, table);
                Value::Table(whole).try_into().map_err(PartError::Syntax)?
            }
        };
        part.features.validate()?;
        part.caches.validate().map_err(ConfigError::from)?;
        Ok(part)
    }
}

/// Puts the values of `over` into `table`, tables of known keys entry by entry. Shapes of caches
/// are replaced whole.
fn overlay(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) if !inner.contains_key("entries") => {
                overlay(inner, value);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// The features of an embedded part, parsed once.
fn features(once: &OnceLock<SmmuConfig>, name: &str) -> SmmuConfig {
    once.get_or_init(|| part(name).expect("the part is embedded").features)
        .clone()
}

impl SmmuConfig {
    /// SMMUv3.4 with every feature this model has, and no restriction it could do without.
    pub fn full() -> Self {
        static ONCE: OnceLock<SmmuConfig> = OnceLock::new();
        features(&ONCE, "full")
    }

    /// The least that SMMUv3.0 allows: stage 1, 4 KiB pages, one stream.
    pub fn minimal() -> Self {
        static ONCE: OnceLock<SmmuConfig> = OnceLock::new();
        features(&ONCE, "minimal")
    }

    /// The part of QEMU 11's `smmuv3` device with both stages.
    pub fn qemu_11() -> Self {
        static ONCE: OnceLock<SmmuConfig> = OnceLock::new();
        features(&ONCE, "qemu-11")
    }

    /// Arm CoreLink MMU-600 (SMMUv3.1).
    pub fn mmu_600() -> Self {
        static ONCE: OnceLock<SmmuConfig> = OnceLock::new();
        features(&ONCE, "mmu-600")
    }

    /// Arm CoreLink MMU-700 (SMMUv3.2).
    pub fn mmu_700() -> Self {
        static ONCE: OnceLock<SmmuConfig> = OnceLock::new();
        features(&ONCE, "mmu-700")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_exists_and_survives_its_id_registers() {
        for (name, file) in PARTS {
            let config = Part::parse(file).unwrap().features;
            assert_eq!(
                SmmuConfig::from_id_registers(config.id_registers()),
                Ok(config),
                "{name}"
            );
        }
    }

    #[test]
    fn qemus_part_reads_as_qemu_does() {
        let ids = SmmuConfig::qemu_11().id_registers();
        assert_eq!(ids.idr0, 0x0d44_101b);
        assert_eq!(ids.idr1, 0x0273_0010);
        assert_eq!(ids.idr3, 0x1414);
        assert_eq!(ids.idr5, 0x74);
        assert_eq!(ids.aidr, 1);
    }

    #[test]
    fn a_part_can_be_another_with_changes() {
        let part = Part::parse(
            "base = \"mmu-700\"\n[features]\nsidsize = 8\nst_level = true\n[caches.tlb]\nentries = 16\nways = 2\nreplacement = \"lru\"",
        )
        .unwrap();
        assert_eq!(part.features.sidsize, 8);
        assert_eq!(part.features.oas, SmmuConfig::mmu_700().oas);
        assert_eq!(part.caches.tlb.entries, 16);
    }

    #[test]
    fn what_is_wrong_with_a_part_is_said() {
        let error = |text: &str| Part::parse(text).unwrap_err().to_string();
        assert!(error("base = \"mmu-800\"").contains("mmu-800"));
        assert!(error("base = \"full\"\n[features]\nsidsiez = 8").contains("sidsiez"));
        assert!(error("base = \"full\"\n[features]\nsidsize = \"a\"").contains("sidsize"));
        assert!(error("base = \"full\"\n[features]\noas = 33").contains("OAS"));
        assert!(error("description = 1").contains("line 1"));
        let odd = "base = \"full\"\n[caches.tlb]\nentries = 3\nways = 2\nreplacement = \"lru\"";
        assert!(error(odd).contains("tlb: 3 entries"));
    }
}

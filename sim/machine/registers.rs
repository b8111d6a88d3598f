//! Values of an SMMU's registers, wherever they were read, and the SMMU that has them.

use std::collections::BTreeMap;

use smmu::Smmu;
use smmu::config::{ConfigError, IdRegisters, SmmuConfig};
use smmu::regfile::{Width, register_name, register_names, register_offset, register_width};
use thiserror::Error;

use crate::suggest;

/// Why register values make no SMMU.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is no such register.
    #[error("there is no register {name}{}", suggest::hint(suggestion.as_deref()))]
    Unknown {
        /// The name.
        name: String,
        /// A register of a similar name.
        suggestion: Option<String>,
    },
    /// A value is too large for its register.
    #[error("{name}: the value does not fit the register's 32 bits")]
    TooWide {
        /// The register.
        name: &'static str,
    },
    /// A register that decides has no value.
    #[error("no value for {name}")]
    Missing {
        /// The register.
        name: &'static str,
    },
    /// The ID registers describe a part that cannot be modelled.
    #[error(transparent)]
    Part(#[from] ConfigError),
}

/// Registers that identify a part. The part decides them; software cannot write them.
const ID_REGISTERS: [&str; 6] = ["IDR0", "IDR1", "IDR2", "IDR3", "IDR5", "AIDR"];

/// Registers that guard others, written after them: IRQ_CTRL before the enables.
const GUARDS: [&str; 2] = ["IRQ_CTRL", "CR0"];

/// GBPA.Update: without it a write is ignored.
const GBPA_UPDATE: u64 = 1 << 31;

/// Values of registers. A register without a value has its reset value, an ID register zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers {
    /// By offset.
    values: BTreeMap<u32, u64>,
}

impl Registers {
    /// What identifies `part`, and nothing else.
    pub fn of_part(part: &SmmuConfig) -> Self {
        let ids = part.id_registers();
        let values = [ids.idr0, ids.idr1, ids.idr2, ids.idr3, ids.idr5, ids.aidr];
        Self {
            values: ID_REGISTERS
                .into_iter()
                .zip(values)
                .filter_map(|(name, value)| Some((register_offset(name)?, value.into())))
                .collect(),
        }
    }

    /// Sets the register called `name`, with or without the `SMMU_` prefix.
    ///
    /// # Errors
    /// [`RegisterError::Unknown`] or [`RegisterError::TooWide`].
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), RegisterError> {
        let name = name.strip_prefix("SMMU_").unwrap_or(name);
        let Some(offset) = register_offset(name) else {
            return Err(RegisterError::Unknown {
                name: name.into(),
                suggestion: suggest::nearest(name, register_names()),
            });
        };
        if register_width(offset) == Some(Width::W32) && value >> 32 != 0 {
            let name = register_name(offset).unwrap_or_default();
            return Err(RegisterError::TooWide { name });
        }
        self.values.insert(offset, value);
        Ok(())
    }

    /// Sets the 32-bit word at `offset` from the base of page 0: a register, or half of one. A word
    /// that belongs to no register this model has is ignored.
    pub fn set_word(&mut self, offset: u32, word: u32) {
        let Some(start) = register_name(offset).and_then(register_offset) else {
            return;
        };
        let shift = 8 * (offset - start);
        let value = self.values.entry(start).or_default();
        *value = *value & !(0xffff_ffff << shift) | u64::from(word) << shift;
    }

    /// The value of the register called `name`, if it has one.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(&register_offset(name)?).copied()
    }

    /// Names and values, ascending by offset.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.values
            .iter()
            .filter_map(|(offset, value)| Some((register_name(*offset)?, *value)))
    }

    /// Takes every value that `other` has.
    pub fn extend(&mut self, other: &Self) {
        self.values.extend(&other.values);
    }

    /// Checks that all of `names` have values.
    ///
    /// # Errors
    /// [`RegisterError::Missing`] with the first that has none.
    pub fn require(&self, names: &[&'static str]) -> Result<(), RegisterError> {
        match names.iter().find(|name| self.get(name).is_none()) {
            Some(name) => Err(RegisterError::Missing { name }),
            None => Ok(()),
        }
    }

    /// An SMMU of the part that the ID registers describe, every other register written as software
    /// would write it: the enables of CR0 last.
    ///
    /// # Errors
    /// [`RegisterError::TooWide`], or [`RegisterError::Part`] if there can be no such part.
    pub fn smmu(&self) -> Result<Smmu, RegisterError> {
        let id = |name: &'static str| {
            u32::try_from(self.get(name).unwrap_or_default())
                .map_err(|_| RegisterError::TooWide { name })
        };
        let part = SmmuConfig::from_id_registers(IdRegisters {
            idr0: id("IDR0")?,
            idr1: id("IDR1")?,
            idr2: id("IDR2")?,
            idr3: id("IDR3")?,
            idr5: id("IDR5")?,
            aidr: id("AIDR")?,
        })?;
        let mut smmu = Smmu::new(part)?;
        let guards = GUARDS
            .iter()
            .filter_map(|name| Some((register_offset(name)?, self.get(name)?)));
        let guarded = self.values.iter().map(|(offset, value)| (*offset, *value));
        let guarded = guarded
            .filter(|(offset, _)| !GUARDS.iter().any(|g| register_offset(g) == Some(*offset)));
        for (offset, value) in guarded.chain(guards) {
            let value = match register_name(offset) {
                Some("GBPA") => value | GBPA_UPDATE,
                // Software cannot write GERROR, which is 0: what differs is what counts.
                Some("GERRORN") => value ^ self.get("GERROR").unwrap_or_default(),
                _ => value,
            };
            let width = register_width(offset).unwrap_or(Width::W32);
            smmu.mmio_write(offset, width, value);
        }
        Ok(smmu)
    }
}

#[cfg(test)]
mod tests {
    use smmu::config::SmmuConfig;
    use smmu::regfile::{Width, register_offset};

    use super::{RegisterError, Registers};

    #[test]
    fn enables_come_last_so_that_no_guard_ignores_a_value() {
        // IHI 0070 §6.3: STRTAB_BASE and CR2 are guarded by SMMUEN, EVENTQ_IRQ_CFG0 by IRQ_CTRL.
        let mut registers = Registers::of_part(&SmmuConfig::full());
        let values = [
            ("CR0", 0xd),
            ("IRQ_CTRL", 0x5),
            ("SMMU_CR2", 0x2),
            ("STRTAB_BASE", 0x4000_0000),
            ("EVENTQ_IRQ_CFG0", 0x8020_0040),
            ("GBPA", 0x1000),
        ];
        for (name, value) in values {
            registers.set(name, value).unwrap();
        }
        let smmu = registers.smmu().unwrap();
        for (name, value) in values {
            let offset = register_offset(name.trim_start_matches("SMMU_")).unwrap();
            assert_eq!(smmu.mmio_read(offset, Width::W32), value, "{name}");
        }
    }

    #[test]
    fn acknowledged_errors_are_not_active() {
        // IHI 0070 §6.3.19: an error is active while its bits in GERROR and GERRORN differ.
        let mut registers = Registers::of_part(&SmmuConfig::full());
        for (gerror, gerrorn, active) in [(0x5, 0x5, 0), (0x5, 0x4, 0x1), (0x4, 0x5, 0x1)] {
            registers.set("GERROR", gerror).unwrap();
            registers.set("GERRORN", gerrorn).unwrap();
            let smmu = registers.smmu().unwrap();
            assert_eq!(u32::from(smmu.registers().active_errors()), active);
        }
    }

    #[test]
    fn halves_of_a_register_are_put_together() {
        let mut registers = Registers::default();
        registers.set_word(0x84, 0x4000_0000);
        registers.set_word(0x80, 0x40bc_d000);
        registers.set_word(0x1_0080, 1); // an alias of page 0, no register of its own
        registers.set_word(0xe00, 1); // nothing there
        assert_eq!(
            registers.iter().collect::<Vec<_>>(),
            [("STRTAB_BASE", 0x4000_0000_40bc_d000)]
        );
    }

    #[test]
    fn what_is_missing_or_misspelt_is_named() {
        let mut registers = Registers::default();
        assert_eq!(
            registers.require(&["CR0"]),
            Err(RegisterError::Missing { name: "CR0" })
        );
        let error = registers.set("STRTABBASE", 0).unwrap_err().to_string();
        assert!(error.contains("did you mean STRTAB_BASE?"), "{error}");
        let error = registers.set("CR0", 1 << 32).unwrap_err().to_string();
        assert!(error.contains("CR0: the value does not fit"), "{error}");
    }
}

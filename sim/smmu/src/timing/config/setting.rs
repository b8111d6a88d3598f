//! Settings as data: every field of a section with its key, unit, default, what is allowed, and why.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

/// The value of one setting, as files and command lines write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Number(u64),
    /// A word.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// One field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its section.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// What it counts, or nothing for a choice.
    pub unit: &'static str,
    /// What it is by default.
    pub default: Value,
    /// What it may be.
    pub allowed: String,
    /// What it is and why the default is what it is.
    pub reason: &'static str,
}

impl Field {
    /// `section.name`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// A value that a setting cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no such setting.
    #[error("there is no setting {key}")]
    Unknown {
        /// As asked for.
        key: String,
    },
    /// The value is not allowed.
    #[error("{key} = {value}: allowed is {allowed}")]
    NotAllowed {
        /// The setting.
        key: String,
        /// The value.
        value: Value,
        /// What may be there.
        allowed: String,
    },
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// How its values are limited.
    type Limits;

    /// The value, if it is of this type and within the limits.
    fn parse(value: &Value, limits: &Self::Limits) -> Option<Self>;

    /// As a file would write it.
    fn show(&self) -> Value;

    /// What the limits allow, in words.
    fn allowed(limits: &Self::Limits) -> String;
}

/// A group of settings, as [`section!`](crate::section) declares it.
pub trait Section: Default {
    /// Adds the section's settings to the list, under this name.
    fn fields(fields: &mut Vec<Field>, section: &'static str);

    /// The value of a field.
    fn get(&self, name: &str) -> Option<Value>;

    /// Gives a field a value. `None` if there is no such field; what is allowed if not this.
    fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), String>>;
}

/// A number of sections under their names.
pub trait Settings: Default {
    /// Names of the sections.
    const SECTIONS: &'static [&'static str];

    /// Every setting there is.
    fn fields() -> Vec<Field>;

    /// The value of `section.name`.
    fn get(&self, key: &str) -> Option<Value>;

    /// Gives `section.name` a value.
    ///
    /// # Errors
    /// [`SettingError`]: there is no such setting, or what it may be.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), SettingError>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            type Limits = RangeInclusive<$type>;

            fn parse(value: &Value, limits: &Self::Limits) -> Option<Self> {
                let Value::Number(number) = value else {
                    return None;
                };
                Self::try_from(*number).ok().filter(|number| limits.contains(number))
            }

            fn show(&self) -> Value {
                Value::Number(u64::from(*self))
            }

            fn allowed(limits: &Self::Limits) -> String {
                within(limits.start(), limits.end())
            }
        }
    )*};
}

number!(u32, u64);

/// A level of tables: below 0 it is a word in files, as no other setting is.
impl Setting for i32 {
    type Limits = RangeInclusive<i32>;

    fn parse(value: &Value, limits: &Self::Limits) -> Option<Self> {
        let number = match value {
            Value::Number(number) => Self::try_from(*number).ok(),
            Value::Word(word) => word.parse().ok(),
        };
        number.filter(|number| limits.contains(number))
    }

    fn show(&self) -> Value {
        match u64::try_from(*self) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Word(self.to_string()),
        }
    }

    fn allowed(limits: &Self::Limits) -> String {
        within(limits.start(), limits.end())
    }
}

fn within(least: impl fmt::Display, most: impl fmt::Display) -> String {
    format!("{least} to {most}")
}

/// Declares an enumeration whose variants have names in files.
#[macro_export]
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $crate::timing::Setting for $name {
            type Limits = ();

            fn parse(value: &$crate::timing::Value, (): &()) -> Option<Self> {
                match value {
                    $($crate::timing::Value::Word(word) if word == $word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn show(&self) -> $crate::timing::Value {
                $crate::timing::Value::Word(match self {
                    $(Self::$variant => $word.to_owned(),)+
                })
            }

            fn allowed((): &()) -> String {
                [$($word),+].join(", ")
            }
        }
    };
}

/// Declares a structure whose fields are settings: type, default, limits, unit, and what it is with
/// the reason of the default.
#[macro_export]
macro_rules! section {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($field:ident: $type:ty = $default:expr, $limits:expr, $unit:literal, $reason:literal;)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                #[doc = $reason]
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::timing::Section for $name {
            fn fields(fields: &mut Vec<$crate::timing::Field>, section: &'static str) {
                $(fields.push($crate::timing::Field {
                    section,
                    name: stringify!($field),
                    unit: $unit,
                    default: $crate::timing::Setting::show(&Self::default().$field),
                    allowed: <$type as $crate::timing::Setting>::allowed(&$limits),
                    reason: $reason,
                });)+
            }

            fn get(&self, name: &str) -> Option<$crate::timing::Value> {
                match name {
                    $(stringify!($field) => Some($crate::timing::Setting::show(&self.$field)),)+
                    _ => None,
                }
            }

            fn set(
                &mut self,
                name: &str,
                value: &$crate::timing::Value,
            ) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($field) => {
                        let parsed = <$type as $crate::timing::Setting>::parse(value, &$limits);
                        Some(match parsed {
                            Some(parsed) => {
                                self.$field = parsed;
                                Ok(())
                            }
                            None => Err(<$type as $crate::timing::Setting>::allowed(&$limits)),
                        })
                    })+
                    _ => None,
                }
            }
        }
    };
}

/// Declares a structure of sections.
#[macro_export]
macro_rules! settings {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $crate::timing::Settings for $name {
            const SECTIONS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn fields() -> Vec<$crate::timing::Field> {
                let mut fields = Vec::new();
                $(<$type as $crate::timing::Section>::fields(&mut fields, stringify!($field));)+
                fields
            }

            fn get(&self, key: &str) -> Option<$crate::timing::Value> {
                let (section, name) = key.split_once('.')?;
                match section {
                    $(stringify!($field) => $crate::timing::Section::get(&self.$field, name),)+
                    _ => None,
                }
            }

            fn set(
                &mut self,
                key: &str,
                value: &$crate::timing::Value,
            ) -> Result<(), $crate::timing::SettingError> {
                let unknown = || $crate::timing::SettingError::Unknown { key: key.to_owned() };
                let (section, name) = key.split_once('.').ok_or_else(unknown)?;
                let result = match section {
                    $(stringify!($field) => {
                        $crate::timing::Section::set(&mut self.$field, name, value)
                    })+
                    _ => None,
                };
                result.ok_or_else(unknown)?.map_err(|allowed| {
                    $crate::timing::SettingError::NotAllowed {
                        key: key.to_owned(),
                        value: value.clone(),
                        allowed,
                    }
                })
            }
        }
    };
}

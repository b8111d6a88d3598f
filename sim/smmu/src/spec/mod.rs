//! Bit layouts, one structure family a file. Types and positions only; no behaviour lives here.
//!
//! Every layout publishes its positions as data ([`Layout`]), so that they can be compared with
//! tables typed from the architecture by another route, and so that `decode` can show any raw word.

pub mod attrs;
pub mod cd;
pub mod cdtab;
pub mod cmd;
pub mod desc;
pub mod event;
pub mod pri;
pub mod regs;
pub mod ste;
pub mod strtab;

/// One field of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The architecture's name, in its spelling.
    pub name: &'static str,
    /// Highest bit, counted over the whole structure.
    pub msb: u32,
    /// Lowest bit, counted over the whole structure.
    pub lsb: u32,
    /// Reads the field through its accessor from the structure as native 64-bit words.
    pub read: fn(&[u64]) -> u64,
}

/// Positions of all fields of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The structure's name.
    pub structure: &'static str,
    /// Its size.
    pub bits: u32,
    /// Its fields, ascending by position. Fields of variant forms may overlap.
    pub fields: &'static [Field],
}

/// Every layout of the model.
pub fn layouts() -> impl Iterator<Item = &'static Layout> {
    let structures = [
        &ste::Ste::LAYOUT,
        &cd::Cd::LAYOUT,
        &strtab::L1Std::LAYOUT,
        &cdtab::L1Cd::LAYOUT,
        &event::Event::LAYOUT,
        &pri::PriRecord::LAYOUT,
    ];
    structures
        .into_iter()
        .chain(event::LAYOUTS.iter().copied())
        .chain(cmd::LAYOUTS.iter().copied())
        .chain(desc::LAYOUTS.iter().copied())
        .chain(regs::LAYOUTS.iter().copied())
}

/// A field's value as raw bits, whatever its type.
pub(crate) trait FieldBits {
    fn field_bits(self) -> u64;
}

macro_rules! field_bits {
    ($($int:ty)*) => {
        $(impl FieldBits for $int {
            #[inline]
            fn field_bits(self) -> u64 {
                u64::from(self)
            }
        })*
    };
}

field_bits!(bool u8 u16 u32 u64);

/// An encoding with named values that keeps reserved ones representable.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u8);

        #[allow(non_upper_case_globals, reason = "encodings are spelled as in the architecture")]
        impl $name {
            $($(#[$vdoc])* pub const $variant: Self = Self($value);)*

            /// The architecture's name of this value; `None` if it is reserved.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($variant)),)*
                    _ => None,
                }
            }

            pub(crate) const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            pub(crate) const fn into_bits(self) -> u8 {
                self.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "RESERVED({:#x})", self.0),
                }
            }
        }

        impl $crate::spec::FieldBits for $name {
            fn field_bits(self) -> u64 {
                u64::from(self.0)
            }
        }
    };
}

/// Conversions of an in-memory structure from and to native 64-bit words.
macro_rules! structure {
    ($name:ident, $words:literal { $($dw:ident: $ty:ident),* }) => {
        impl $name {
            /// The structure whose memory holds these little-endian doublewords.
            #[inline]
            pub const fn from_words(words: [u64; $words]) -> Self {
                let [$($dw),*] = words;
                Self { $($dw: $ty::from_bits(U64::new($dw))),* }
            }

            /// The structure in the first words of a slice that is long enough.
            fn from_slice(words: &[u64]) -> Self {
                let mut own = [0; $words];
                own.copy_from_slice(&words[..$words]);
                Self::from_words(own)
            }

            /// The structure's doublewords, as numbers.
            #[inline]
            pub const fn words(&self) -> [u64; $words] {
                [$(self.$dw.into_bits().get()),*]
            }
        }
    };
}

/// Publishes the positions of a structure's fields.
macro_rules! layout {
    ($name:ident, $bits:literal, [$($field:ident [$msb:literal : $lsb:literal] $($path:ident).+;)*]) => {
        impl $name {
            /// Positions of all fields.
            pub const LAYOUT: $crate::spec::Layout = $crate::spec::Layout {
                structure: stringify!($name),
                bits: $bits,
                fields: &[$($crate::spec::Field {
                    name: stringify!($field),
                    msb: $msb,
                    lsb: $lsb,
                    read: |words| {
                        let value = $name::from_slice(words);
                        $crate::spec::FieldBits::field_bits(layout!(@get value $($path).+))
                    },
                }),*],
            };
        }
    };
    (@get $value:ident $field:ident) => { $value.$field() };
    (@get $value:ident $dw:ident . $field:ident) => { $value.$dw.$field() };
}

pub(crate) use {layout, open_enum, structure};

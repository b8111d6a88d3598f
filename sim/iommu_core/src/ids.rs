//! Handles and addresses of the core.

macro_rules! handle {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
    };
}

handle! {
    /// A device behind an IOMMU. Never reused.
    DeviceId
}
handle! {
    /// An IOMMU group. Never reused.
    GroupId
}
handle! {
    /// A domain. Never reused: a stale handle names nothing rather than something else.
    DomainId
}

/// Gives out numbers that are never given out again.
///
/// How many were given out is history, not state: any two sources compare equal, so a machine
/// that tried something and took it back equals the machine that never tried.
#[derive(Debug, Clone, Default)]
pub struct IdSource(u32);

impl IdSource {
    /// The next number.
    ///
    /// # Panics
    /// After four billion of them.
    pub fn fresh(&mut self) -> u32 {
        let id = self.0;
        self.0 = id.checked_add(1).expect("ids are exhausted");
        id
    }
}

impl PartialEq for IdSource {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for IdSource {}

macro_rules! address {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl $name {
            /// The bare number.
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The address `bytes` further on; wraps as the kernel's arithmetic does.
            #[inline]
            #[must_use]
            pub const fn add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }
    };
}

address! {
    /// An address a device uses, in bytes.
    Iova
}
address! {
    /// A physical address, in bytes.
    Paddr
}

//! One walker for everybody: translation, explanation, timing and hardware update of tables.
//!
//! [`params`] holds what a walk needs to know of tables; `stage2` walks IPA to PA; `stage1` walks
//! VA to its output, each of its descriptors located through stage 2 when nested; `nested` joins
//! them into the translation of one transaction.

mod lookaside;
mod nested;
pub mod params;
mod stage1;
mod stage2;

pub use crate::perm::Stage1Regime;
pub(crate) use lookaside::{Lookaside, TableFound};
pub(crate) use nested::{Leaves, Walked};
pub(crate) use stage1::Stage1Leaf;
pub use stage1::{Half, Stage1};
pub use stage2::Stage2;
pub(crate) use stage2::Stage2Leaf;

use crate::addr::{Ipa, Pa};
use crate::mem::{BusAbort, BusResult, PhysMem};
use crate::observe::{Access, Action, Observer, Purpose, Structure};

/// How often a stage's walk starts again because a descriptor changed under a hardware update,
/// before it gives up with F_WALK_EABT (deviations.md D6).
const UPDATE_ATTEMPTS: u32 = 16;

/// Counts how often one stage's walk has started.
struct Attempts(u32);

impl Attempts {
    const fn new() -> Self {
        Self(1)
    }

    /// Whether the walk starts again after an update that found the descriptor changed; the last
    /// attempt ends like an update that memory aborted.
    fn must_restart(&mut self, updated: BusResult<bool>) -> BusResult<bool> {
        match updated? {
            true => Ok(false),
            false if self.0 == UPDATE_ATTEMPTS => Err(BusAbort),
            false => {
                self.0 += 1;
                Ok(true)
            }
        }
    }
}

/// Memory, the eyes on it and what is remembered of it, for the length of one translation.
pub(crate) struct Walker<'a, M: ?Sized, O: ?Sized, C> {
    pub(crate) mem: &'a mut M,
    pub(crate) observer: &'a mut O,
    pub(crate) cache: C,
}

/// Where a descriptor or structure is, and why it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) structure: Structure,
    pub(crate) purpose: Purpose,
    pub(crate) ipa: Option<Ipa>,
    pub(crate) pa: Pa,
}

impl Place {
    #[inline(always)]
    fn seen(self, action: Action<'_>) -> Access<'_> {
        let Self {
            structure,
            purpose,
            ipa,
            pa,
        } = self;
        Access {
            structure,
            purpose,
            ipa,
            pa,
            action,
        }
    }
}

/// Byte order of translation tables.
#[derive(Clone, Copy)]
enum Order {
    AsIs,
    Swapped,
}

impl Order {
    #[inline(always)]
    fn of<const PLAIN: bool>(tables: &params::TableParams) -> Self {
        if !PLAIN && tables.is_big_endian() {
            Self::Swapped
        } else {
            Self::AsIs
        }
    }

    #[inline(always)]
    fn convert(self, word: u64) -> u64 {
        match self {
            Self::AsIs => word,
            Self::Swapped => swapped(word),
        }
    }
}

/// Out of line, so that little-endian walks branch past it instead of waiting for a select.
#[cold]
fn swapped(word: u64) -> u64 {
    word.swap_bytes()
}

impl<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside> Walker<'_, M, O, C> {
    /// Reads a 64-bit level-1 structure, always little-endian.
    pub(crate) fn read_word(&mut self, place: Place) -> BusResult<u64> {
        self.read(place, Order::AsIs)
    }

    /// Reads a 64-byte STE or CD.
    #[inline(always)]
    pub(crate) fn read_structure(&mut self, place: Place) -> BusResult<[u64; 8]> {
        let result = self.mem.read_line(place.pa, place.structure.class());
        let action = match &result {
            Ok(words) => Action::ReadStructure(words),
            Err(_) => Action::AbortedRead,
        };
        self.observer.access(&place.seen(action));
        result
    }

    #[inline(always)]
    fn read(&mut self, place: Place, order: Order) -> BusResult<u64> {
        match self.mem.read64(place.pa, place.structure.class()) {
            Ok(word) => {
                let word = order.convert(word);
                self.observer.access(&place.seen(Action::Read(word)));
                Ok(word)
            }
            Err(abort) => {
                self.observer.access(&place.seen(Action::AbortedRead));
                Err(abort)
            }
        }
    }

    /// Shows the observer what the caches did.
    #[inline(always)]
    fn report(&mut self) {
        let Self {
            observer, cache, ..
        } = self;
        cache.report(|event| observer.cache(event));
    }

    /// Replaces the descriptor `old` by `new`; false if it was no longer `old`.
    #[cold]
    fn update(&mut self, place: Place, order: Order, old: u64, new: u64) -> BusResult<bool> {
        let class = place.structure.class();
        let result =
            self.mem
                .compare_exchange64(place.pa, order.convert(old), order.convert(new), class);
        let action = match result {
            Ok(found) => Action::Update {
                old,
                new,
                found: order.convert(found),
            },
            Err(_) => Action::AbortedUpdate,
        };
        self.observer.access(&place.seen(action));
        result.map(|found| order.convert(found) == old)
    }
}

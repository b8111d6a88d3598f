//! Whose translation an entry is: StreamWorld, VMID, ASID and what else it is tagged with
//! (IHI 0070 §3.17), in one word.

use crate::command::{AsidScope, InvalidationScope, Tlbi, TlbiRegime, TlbiStage};
use crate::fetch::StreamWorld;
use crate::ids::{Asid, Vmid};

/// Tag of an entry or of a lookup, without its address.
///
/// `[15:0]` ASID, `[31:16]` VMID, `[33:32]` StreamWorld, `[34]` looked up by IPA, `[35]` global,
/// `[36]` ASET of a global entry, `[37]` 1, `[63:38]` generation, which the cache adds. All zeros is
/// no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Context(u64);

/// A set of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    mask: u64,
    value: u64,
}

impl Meant {
    pub(super) fn world_index(self) -> usize {
        Context(self.value).world_index()
    }

    /// Bits and values of tags of this generation.
    pub(super) fn of_generation(self, generation: u32) -> (u64, u64) {
        (self.mask, Context(self.value).tagged(generation))
    }
}

const VMID_LSB: u32 = 16;
const WORLD_LSB: u32 = 32;
const BY_IPA: u64 = 1 << 34;
const GLOBAL: u64 = 1 << 35;
const ASET: u64 = 1 << 36;
const PRESENT: u64 = 1 << 37;
const GENERATION_LSB: u32 = 38;

/// StreamWorlds that two bits tell apart: one more than there are.
pub(super) const WORLDS: usize = 4;

impl Context {
    fn new(world: StreamWorld, vmid: Vmid) -> Self {
        let world = match world {
            StreamWorld::El1 => 0,
            StreamWorld::El2 => 1,
            StreamWorld::El2E2h => 2,
        };
        Self(PRESENT | world << WORLD_LSB | u64::from(vmid.get()) << VMID_LSB)
    }

    /// Entries looked up by IPA.
    pub(crate) fn stage2(vmid: Vmid) -> Self {
        Self(Self::new(StreamWorld::El1, vmid).0 | BY_IPA)
    }

    /// Non-global entries looked up by VA.
    pub(crate) fn stage1(world: StreamWorld, vmid: Vmid, asid: Asid) -> Self {
        Self(Self::new(world, vmid).0 | u64::from(asid.get()))
    }

    /// Global entries looked up by VA.
    pub(crate) fn global(world: StreamWorld, vmid: Vmid, aset: bool) -> Self {
        let aset = if aset { ASET } else { 0 };
        Self(Self::new(world, vmid).0 | GLOBAL | aset)
    }

    /// As stored in a tag.
    #[inline(always)]
    pub(super) fn tagged(self, generation: u32) -> u64 {
        self.0 | u64::from(generation) << GENERATION_LSB
    }

    /// Out of a tag.
    pub(super) fn of_tag(tag: u64) -> Self {
        Self(tag & ((1 << GENERATION_LSB) - 1))
    }

    pub(super) fn generation_of_tag(tag: u64) -> u32 {
        (tag >> GENERATION_LSB) as u32
    }

    #[inline(always)]
    pub(super) fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    #[inline(always)]
    pub(super) fn world_index(self) -> usize {
        (self.0 >> WORLD_LSB & 3) as usize
    }

    pub(super) fn world(self) -> StreamWorld {
        match self.world_index() {
            0 => StreamWorld::El1,
            1 => StreamWorld::El2,
            _ => StreamWorld::El2E2h,
        }
    }

    pub(super) fn is_ipa(self) -> bool {
        self.0 & BY_IPA != 0
    }

    pub(super) fn is_global(self) -> bool {
        self.0 & GLOBAL != 0
    }

    pub(super) fn vmid(self) -> Vmid {
        Vmid::new((self.0 >> VMID_LSB) as u16)
    }

    /// `None` for a global entry.
    pub(super) fn asid(self) -> Option<Asid> {
        (!self.is_global()).then(|| Asid::new(self.0 as u16))
    }

    /// What the tags of all entries have in common that a command without an address removes: the
    /// bits that matter, and their values but for the generation. `None` if there can be none.
    pub(super) fn meant_by(tlbi: &Tlbi, scope: InvalidationScope) -> Option<Meant> {
        let world = match (tlbi.regime, scope.e2h) {
            (TlbiRegime::El1, _) => StreamWorld::El1,
            (TlbiRegime::El2, false) => StreamWorld::El2,
            (TlbiRegime::El2, true) => StreamWorld::El2E2h,
            (TlbiRegime::AnyEl2, _) => return None,
        };
        let all_ones = !((1u64 << GENERATION_LSB) - 1);
        let mut mask = all_ones | PRESENT | 3 << WORLD_LSB;
        let mut value = Self::new(world, Vmid::new(0)).0;
        if let Some(vmid) = tlbi.vmid {
            let compared = scope.vmid_mask.compared();
            mask |= u64::from(compared) << VMID_LSB;
            value |= u64::from(vmid.get() & compared) << VMID_LSB;
        }
        match tlbi.stage {
            TlbiStage::Both => {}
            TlbiStage::Stage1 => mask |= BY_IPA,
            TlbiStage::Stage2 => (mask, value) = (mask | BY_IPA, value | BY_IPA),
        }
        if let AsidScope::Only(asid) = tlbi.asid {
            mask |= GLOBAL | BY_IPA | 0xffff;
            value |= u64::from(asid.get());
        }
        Some(Meant { mask, value })
    }

    /// The same in the other address set, for commands, which do not look at ASET.
    pub(super) fn other_aset(self) -> Self {
        Self(self.0 ^ ASET)
    }
}

//! Whose translation an entry is: StreamWorld, VMID, ASID and what else it is tagged with
//! (IHI 0070 §3.17), in one word.

use crate::fetch::StreamWorld;
use crate::ids::{Asid, Vmid};

/// Tag of an entry or of a lookup, without its address.
///
/// `[15:0]` ASID, `[31:16]` VMID, `[33:32]` StreamWorld + 1, `[34]` looked up by IPA, `[35]` global,
/// `[36]` ASET of a global entry, `[63:38]` generation, which the cache adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Context(u64);

const VMID_LSB: u32 = 16;
const WORLD_LSB: u32 = 32;
const BY_IPA: u64 = 1 << 34;
const GLOBAL: u64 = 1 << 35;
const ASET: u64 = 1 << 36;
const GENERATION_LSB: u32 = 38;

/// Number of StreamWorlds.
pub(super) const WORLDS: usize = 3;

impl Context {
    fn new(world: StreamWorld, vmid: Vmid) -> Self {
        let world = match world {
            StreamWorld::El1 => 1,
            StreamWorld::El2 => 2,
            StreamWorld::El2E2h => 3,
        };
        Self(world << WORLD_LSB | u64::from(vmid.get()) << VMID_LSB)
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

    /// 0, 1 or 2; `None` for no context.
    #[inline(always)]
    pub(super) fn world_index(self) -> Option<usize> {
        ((self.0 >> WORLD_LSB & 3) as usize).checked_sub(1)
    }

    pub(super) fn world(self) -> StreamWorld {
        match self.world_index() {
            Some(1) => StreamWorld::El2,
            Some(2) => StreamWorld::El2E2h,
            _ => StreamWorld::El1,
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

    /// The same in the other address set, for commands, which do not look at ASET.
    pub(super) fn other_aset(self) -> Self {
        Self(self.0 ^ ASET)
    }
}

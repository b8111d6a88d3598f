//! TLB invalidation: what each command must remove, and whether it removes an entry
//! (IHI 0070 §4.4).

use super::{IllegalCommand, Leaf};
use crate::config::SmmuConfig;
use crate::fetch::StreamWorld;
use crate::ids::{Asid, Vmid};
use crate::spec::cmd::{CmdOp, TlbiAsid, TlbiVa};

/// Which translation regimes a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlbiRegime {
    /// NS-EL1.
    El1,
    /// The EL2 world that CR2.E2H selects.
    El2,
    /// EL2 with and without E2H.
    AnyEl2,
}

/// Which entries a command is about, by the address they translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlbiStage {
    /// Entries looked up by VA: stage 1, and stages 1 and 2 combined.
    Stage1,
    /// Entries looked up by IPA: stage 2.
    Stage2,
    /// Both.
    Both,
}

/// How a command matches ASIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsidScope {
    /// Any ASID, and global entries.
    Any,
    /// This ASID; global entries stay.
    Only(Asid),
    /// This ASID, and global entries.
    OrGlobal(Asid),
}

/// Which addresses a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlbiAddress {
    /// All.
    All,
    /// Entries of any size that translate this address.
    Single {
        /// The address.
        address: u64,
        /// Whether walk-cache entries may stay.
        leaf: Leaf,
    },
    /// Entries of one granule that translate some address of a range (IDR3.RIL).
    Range {
        /// First address.
        first: u64,
        /// Last address.
        last: u64,
        /// log2 of the granule.
        granule_log2: u8,
        /// Level of the leaf descriptor; `None` for any.
        level: Option<i8>,
        /// Whether walk-cache entries may stay.
        leaf: Leaf,
    },
}

/// A TLB invalidation command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tlbi {
    /// Translation regime.
    pub regime: TlbiRegime,
    /// Looked up by VA or IPA.
    pub stage: TlbiStage,
    /// VMID; `None` for any.
    pub vmid: Option<Vmid>,
    /// ASID.
    pub asid: AsidScope,
    /// Addresses.
    pub address: TlbiAddress,
}

/// What a TLB entry is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlbTag {
    /// Whose translation.
    pub world: StreamWorld,
    /// Looked up by IPA, not by VA.
    pub is_ipa: bool,
    /// VMID; 0 on a part without stage 2, and outside NS-EL1.
    pub vmid: Vmid,
    /// ASID; `None` for a global entry.
    pub asid: Option<Asid>,
    /// First address of the entry; a VA with bits \[63:56\] like bit 55, as [`canonical`] makes it.
    pub input: u64,
    /// log2 of its size.
    pub span_log2: u8,
    /// log2 of the size of that block or page. The entry may cover less of it, where the other
    /// stage has smaller pages; it goes with the descriptor.
    pub leaf_log2: u8,
    /// log2 of the granule of the leaf's table.
    pub granule_log2: u8,
    /// Leaf or table.
    pub kind: EntryKind,
}

/// What an entry was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A block or page.
    Leaf {
        /// Level of its descriptor.
        level: i8,
    },
    /// A Table descriptor.
    Table {
        /// Level of its descriptor.
        level: i8,
    },
}

/// Register fields that decide what a TLB invalidation reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvalidationScope {
    /// CR0.VMW.
    pub vmid_mask: VmidMask,
    /// CR2.E2H.
    pub e2h: bool,
}

/// A VA with its top byte like bit 55: the byte is ignored under TBI, and no translation exists
/// where it differs without.
pub fn canonical(va: u64) -> u64 {
    ((va << 8) as i64 >> 8) as u64
}

/// CR0.VMW: low bits of a VMID that invalidation does not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VmidMask(u16);

impl VmidMask {
    /// Every bit is compared.
    pub const EXACT: Self = Self(!0);

    /// CR0.VMW; values from 5 on act as 0 (IHI 0070 §6.3.9).
    pub fn from_vmw(vmw: u8) -> Self {
        Self(match vmw {
            bits @ 1..=4 => !((1 << bits) - 1),
            _ => !0,
        })
    }

    fn matches(self, a: Vmid, b: Vmid) -> bool {
        (a.get() ^ b.get()) & self.0 == 0
    }
}

impl Tlbi {
    pub(super) fn decode(
        opcode: CmdOp,
        words: [u64; 2],
        config: &SmmuConfig,
    ) -> Result<Self, IllegalCommand> {
        let (regime, stage) = match opcode {
            CmdOp::TLBI_NH_ALL | CmdOp::TLBI_NH_ASID | CmdOp::TLBI_NH_VA | CmdOp::TLBI_NH_VAA => {
                (TlbiRegime::El1, TlbiStage::Stage1)
            }
            CmdOp::TLBI_EL2_ALL => (TlbiRegime::AnyEl2, TlbiStage::Stage1),
            CmdOp::TLBI_EL2_ASID | CmdOp::TLBI_EL2_VA | CmdOp::TLBI_EL2_VAA => {
                (TlbiRegime::El2, TlbiStage::Stage1)
            }
            CmdOp::TLBI_S12_VMALL | CmdOp::TLBI_NSNH_ALL => (TlbiRegime::El1, TlbiStage::Both),
            CmdOp::TLBI_S2_IPA => (TlbiRegime::El1, TlbiStage::Stage2),
            CmdOp::CFGI_VMS_PIDM => return Err(IllegalCommand::NoMpam),
            _ => return Err(IllegalCommand::Opcode),
        };
        let stage1_only = stage == TlbiStage::Stage1;
        if stage1_only && !config.s1p {
            return Err(IllegalCommand::NoStage1);
        }
        if regime != TlbiRegime::El1 && !config.hyp {
            return Err(IllegalCommand::NoEl2);
        }
        let is_nsnh_all = opcode == CmdOp::TLBI_NSNH_ALL;
        if !stage1_only && !is_nsnh_all && !config.s2p {
            return Err(IllegalCommand::NoStage2);
        }
        let fields = TlbiAsid::from_words(words).dw0;
        let asid = Asid::new(fields.asid());
        Ok(Self {
            regime,
            stage,
            vmid: (regime == TlbiRegime::El1 && config.s2p && !is_nsnh_all)
                .then(|| Vmid::new(fields.vmid())),
            asid: match opcode {
                CmdOp::TLBI_NH_ASID | CmdOp::TLBI_EL2_ASID => AsidScope::Only(asid),
                CmdOp::TLBI_NH_VA | CmdOp::TLBI_EL2_VA => AsidScope::OrGlobal(asid),
                _ => AsidScope::Any,
            },
            address: match opcode {
                CmdOp::TLBI_NH_VA
                | CmdOp::TLBI_NH_VAA
                | CmdOp::TLBI_EL2_VA
                | CmdOp::TLBI_EL2_VAA
                | CmdOp::TLBI_S2_IPA => TlbiAddress::decode(&TlbiVa::from_words(words), config)?,
                _ => TlbiAddress::All,
            },
        })
    }

    /// Whether `entry` must go: exactly what the architecture requires, and no more.
    pub fn covers(&self, entry: &TlbTag, scope: InvalidationScope) -> bool {
        let stage = match self.stage {
            TlbiStage::Stage1 => !entry.is_ipa,
            TlbiStage::Stage2 => entry.is_ipa,
            TlbiStage::Both => true,
        };
        let vmid = self
            .vmid
            .is_none_or(|named| scope.vmid_mask.matches(named, entry.vmid));
        stage
            && vmid
            && self.covers_world(entry.world, scope)
            && self.covers_asid(entry)
            && self.address.covers(entry)
    }

    /// Whether entries of `world` can be meant.
    pub(crate) fn covers_world(&self, world: StreamWorld, scope: InvalidationScope) -> bool {
        match (self.regime, world) {
            (TlbiRegime::El1, world) => world == StreamWorld::El1,
            (TlbiRegime::El2, StreamWorld::El2) => !scope.e2h,
            (TlbiRegime::El2, StreamWorld::El2E2h) => scope.e2h,
            (TlbiRegime::AnyEl2, StreamWorld::El2 | StreamWorld::El2E2h) => true,
            (TlbiRegime::El2 | TlbiRegime::AnyEl2, StreamWorld::El1) => false,
        }
    }

    fn covers_asid(&self, entry: &TlbTag) -> bool {
        // The EL2 world has no ASIDs: its entries are global, and commands by address ignore theirs.
        match (self.asid, entry.asid) {
            (AsidScope::Any, _) | (AsidScope::OrGlobal(_), None) => true,
            (AsidScope::Only(_), None) => false,
            (AsidScope::Only(named) | AsidScope::OrGlobal(named), Some(tag)) => named == tag,
        }
    }
}

impl TlbiAddress {
    /// The range fields exist with IDR3.RIL; TG=0 names a single address (IHI 0070 §4.4.1.1).
    fn decode(fields: &TlbiVa, config: &SmmuConfig) -> Result<Self, IllegalCommand> {
        let (dw0, dw1) = (fields.dw0, fields.dw1);
        let address = canonical(dw1.address() << 12);
        let leaf = Leaf::of(dw1.leaf());
        let granule_log2 = match dw1.tg() {
            _ if !config.ril => return Ok(Self::Single { address, leaf }),
            0 => return Ok(Self::Single { address, leaf }),
            1 => 12,
            2 => 14,
            _ => 16,
        };
        // Level 1 of 16 KiB tables has leaves with DS only.
        let ttl = match dw1.ttl() {
            1 if granule_log2 == 14 && !config.ds => 0,
            ttl => ttl,
        };
        if dw0.num() == 0 && dw0.scale() == 0 && ttl == 0 {
            return Err(IllegalCommand::EmptyRange);
        }
        let first = address >> granule_log2 << granule_log2;
        let granules = u128::from(dw0.num()) + 1;
        let bytes = granules << (u32::from(dw0.scale()) + u32::from(granule_log2));
        let last = (u128::from(first) + bytes - 1).min(u128::from(u64::MAX)) as u64;
        Ok(Self::Range {
            first,
            last,
            granule_log2,
            level: (ttl != 0).then_some(ttl as i8),
            leaf,
        })
    }

    fn covers(&self, entry: &TlbTag) -> bool {
        let below = 1u64
            .checked_shl(entry.leaf_log2.into())
            .map_or(u64::MAX, |size| size - 1);
        let (start, end) = (entry.input & !below, entry.input | below);
        let keeps_tables =
            |leaf| leaf == Leaf::Only && matches!(entry.kind, EntryKind::Table { .. });
        match *self {
            Self::All => true,
            Self::Single { address, leaf } => {
                !keeps_tables(leaf) && (start..=end).contains(&address)
            }
            Self::Range {
                first,
                last,
                granule_log2,
                level,
                leaf,
            } => {
                let at_level = match entry.kind {
                    EntryKind::Leaf { level: at } => level.is_none_or(|level| level == at),
                    EntryKind::Table { .. } => true,
                };
                !keeps_tables(leaf)
                    && at_level
                    && granule_log2 == entry.granule_log2
                    && start <= last
                    && first <= end
            }
        }
    }
}

//! What software must invalidate after changing tables, in every form the architecture offers
//! (IHI 0070 §4.4).

use super::driver::Regime;

/// Whose table it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) regime: Regime,
    pub(super) e2h: bool,
    pub(super) vmid: u64,
    pub(super) asid: u64,
    /// Leaves match every ASID.
    pub(super) is_global: bool,
    pub(super) is_stage2: bool,
    /// First address of the half.
    pub(super) base: u64,
    pub(super) granule: u32,
}

/// What was changed in it.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) place: Place,
    /// First address of each leaf.
    pub(super) leaves: Vec<u64>,
    /// log2 of a leaf.
    pub(super) lsb: u32,
    /// A Table descriptor was changed, too.
    pub(super) tables: bool,
}

impl Place {
    fn tag(&self) -> u64 {
        self.vmid << 32 | self.asid << 48
    }

    /// A command that removes everything of the context.
    pub(super) fn whole(&self, random: u64) -> [u64; 2] {
        let tag = self.tag();
        let word = match (self.regime, random >> 1 & 3) {
            (Regime::Hypervisor, 0) if self.e2h && !self.is_global => 0x21 | tag,
            (Regime::Hypervisor, _) => 0x20,
            (_, 0) => 0x30,
            (_, 1) => 0x28 | tag,
            _ if self.is_stage2 => 0x28 | tag,
            (_, 2) if !self.is_global => 0x11 | tag,
            _ => 0x10 | tag,
        };
        [word, 0]
    }
}

impl Extent {
    /// Commands that suffice, one way or another.
    pub(super) fn commands(&self, random: u64) -> Vec<[u64; 2]> {
        let place = &self.place;
        if place.is_stage2 && random & 7 != 0 {
            // By IPA; then the entries that hold both stages.
            let mut commands = self.by_address(0x2a | place.tag(), random >> 3);
            commands.push([0x10 | place.tag(), 0]);
            return commands;
        }
        if place.is_stage2 || random.is_multiple_of(8) {
            return vec![place.whole(random >> 3)];
        }
        let by_va = if place.regime == Regime::Hypervisor {
            0x22
        } else {
            0x12
        };
        // Tables are cached by ASID even where their leaves are global.
        let any_asid = random & 8 != 0
            || place.is_global && self.tables && by_va == 0x12
            || place.is_global && self.tables && place.e2h;
        let opcode = by_va + u64::from(any_asid);
        self.by_address(opcode | place.tag(), random >> 4)
    }

    fn by_address(&self, word: u64, random: u64) -> Vec<[u64; 2]> {
        let leaf = u64::from(!self.tables && random & 1 != 0);
        let granule = self.place.granule;
        let level = u64::from(3 - (self.lsb - granule) / (granule - 3));
        let tg = match granule {
            12 => 1,
            14 => 2,
            _ => 3,
        };
        match random >> 1 & 3 {
            // A range from the first leaf to the last page of the last.
            0 => {
                let (Some(first), Some(last)) = (self.leaves.first(), self.leaves.last()) else {
                    return Vec::new();
                };
                let granules = ((last - first) >> granule) + 1;
                let (scale, num) = match granules {
                    0..=32 => (0, granules - 1),
                    _ => (5, (granules >> 5) - 1),
                };
                let known = random >> 3 & 1 != 0 && !self.tables || (num, scale) == (0, 0);
                let ttl = if known { level } else { 0 };
                vec![[
                    word | num << 12 | scale << 20,
                    leaf | ttl << 8 | tg << 10 | first,
                ]]
            }
            // One leaf each, with or without a hint.
            hint => {
                let fields = if hint == 1 && level != 0 {
                    level << 8 | tg << 10
                } else {
                    0
                };
                let each = self.leaves.iter();
                each.map(|address| [word, leaf | fields | address])
                    .collect()
            }
        }
    }
}

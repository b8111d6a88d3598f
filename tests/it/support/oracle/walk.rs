//! The VMSAv8-64 walks of both stages, permissions, and hardware update (ref 4.3 to 4.5, 5).

use super::attr::{self, StageTwoMemAttr};
use super::cd::{Cd, Half};
use super::ste::{Ste, World};
use super::{
    Attrs, Class, F_ACCESS, F_ADDR_SIZE, F_PERMISSION, F_TRANSLATION, Kind, MAX_RESTARTS, Machine,
    RNW, Stage, Stop, TTRNW, align, beyond, bits, stage1_fault, stage2_fault,
};

/// Why stage 2 is asked for an address.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The transaction itself.
    Transaction,
    /// An L1CD or CD fetch.
    Cd,
    /// A stage-1 descriptor fetch.
    TableRead,
    /// A stage-1 descriptor update.
    TableWrite,
}

impl Purpose {
    fn class(self) -> Class {
        match self {
            Self::Transaction => Class::In,
            Self::Cd => Class::Cd,
            Self::TableRead | Self::TableWrite => Class::Tt,
        }
    }
}

/// What stage 2 found.
pub(super) struct Page {
    pub(super) pa: u64,
    pub(super) memattr: StageTwoMemAttr,
    pub(super) sh: u64,
}

/// How a walk ends short of a result.
enum Halt {
    Stop(Stop),
    /// The descriptor at this PA changed between its fetch and its update.
    Changed(u64),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// The shape of one stage's tables.
#[derive(Clone, Copy)]
struct Shape {
    /// log2 of the granule.
    g: u32,
    /// The number of input address bits the tables resolve.
    input: u32,
    start: i32,
    base: u64,
    /// Output size in bits.
    output: u32,
    /// Implemented physical address size in bits.
    oas: u32,
    /// 52-bit descriptors of the 4K and 16K granules.
    ds: bool,
    big_endian: bool,
}

/// What a descriptor is at its level.
enum Entry {
    Invalid,
    Table(u64),
    Leaf(u64),
}

impl Shape {
    /// The lowest input address bit that `level` resolves.
    fn lsb(&self, level: i32) -> u32 {
        self.g + (self.g - 3) * (3 - level) as u32
    }

    /// The start table, with the bits below its alignment cleared (ref 5.2).
    fn start_table(&self) -> u64 {
        let size = self.input - self.lsb(self.start) + 3;
        let wide = self.output == 52 && (self.g == 16 || self.ds);
        align(self.base, if wide { size.max(6) } else { size })
    }

    /// The address of the descriptor for `address` in `table`. The start table of stage 2 may be several, as one index.
    fn descriptor(&self, level: i32, table: u64, address: u64) -> u64 {
        let lsb = self.lsb(level);
        let msb = if level == self.start {
            self.input - 1
        } else {
            lsb + self.g - 4
        };
        table | bits(address, msb, lsb) << 3
    }

    /// The address field of a descriptor down to bit `lsb` (ref 5.5).
    fn output_field(&self, descriptor: u64, lsb: u32) -> u64 {
        if self.g == 16 {
            bits(descriptor, 47, lsb) << lsb | bits(descriptor, 15, 12) << 48
        } else if self.ds {
            bits(descriptor, 49, lsb) << lsb | bits(descriptor, 9, 8) << 50
        } else {
            bits(descriptor, 47, lsb) << lsb
        }
    }

    /// What `descriptor` is; a leaf's address includes the low bits of the input `address`.
    fn entry(&self, level: i32, descriptor: u64, address: u64) -> Entry {
        let lsb = self.lsb(level);
        let block_allowed = match (self.g, level) {
            (_, 2) | (12, 1) => true,
            (12, 0) | (14, 1) => self.ds,
            (16, 1) => self.oas >= 52,
            _ => false,
        };
        let leaf = || Entry::Leaf(self.output_field(descriptor, lsb) | bits(address, lsb - 1, 0));
        match (bits(descriptor, 1, 0), level) {
            (3, 3) => leaf(),
            (3, _) => Entry::Table(self.output_field(descriptor, self.g)),
            (1, 0..=2) if block_allowed => leaf(),
            _ => Entry::Invalid,
        }
    }

    /// A descriptor as the tables' byte order has it, from or to a memory word.
    fn order(&self, word: u64) -> u64 {
        if self.big_endian {
            word.swap_bytes()
        } else {
            word
        }
    }
}

/// What a leaf permits at the access' privilege.
#[derive(Clone, Copy)]
struct Rights {
    r: bool,
    w: bool,
    x: bool,
    /// `w` holds only once the descriptor has been marked dirty.
    clean: bool,
}

/// What the permission check says.
enum Verdict {
    Granted,
    /// Granted, if the descriptor is marked dirty.
    GrantedDirtying,
    /// Denied; whether an atomic failed for want of read permission only.
    Denied {
        read_only: bool,
    },
}

/// The access check of ref 4.4, for either stage.
fn check(kind: Kind, instruction: bool, rights: Rights) -> Verdict {
    let Rights { r, w, x, clean } = rights;
    let read = if instruction { x } else { r };
    let written = || {
        if clean {
            Verdict::GrantedDirtying
        } else {
            Verdict::Granted
        }
    };
    let denied = Verdict::Denied { read_only: false };
    match kind {
        Kind::Read | Kind::Clean | Kind::DestructiveRead | Kind::Invalidate if read => {
            Verdict::Granted
        }
        Kind::Write | Kind::WriteDcp if w => written(),
        Kind::Atomic if w && r => written(),
        Kind::Atomic if w => Verdict::Denied { read_only: true },
        Kind::NoWriteDcp if r || w || x => Verdict::Granted,
        Kind::DestructiveHint if read && w && !clean => Verdict::Granted,
        _ => denied,
    }
}

/// What Table descriptors on the way took away.
#[derive(Clone, Copy, Default)]
struct Hierarchy {
    no_unprivileged: bool,
    no_write: bool,
    uxn: bool,
    pxn: bool,
}

/// AF and AP[2] of a stage-1 descriptor, AF and S2AP[1] of a stage-2 one, DBM of both.
const AF: u64 = 1 << 10;
const AP2: u64 = 1 << 7;
const S2AP1: u64 = 1 << 7;
const DBM: u32 = 51;

/// What stays the same during one stage-1 walk.
struct First<'a> {
    ste: &'a Ste,
    cd: &'a Cd,
    half: &'a Half,
    shape: Shape,
    input: Attrs,
}

/// What stays the same during one stage-2 walk.
struct Second<'a> {
    ste: &'a Ste,
    shape: Shape,
    ipa: u64,
    purpose: Purpose,
}

impl Machine<'_> {
    /// Stage 1 of the transaction (ref 4.2 steps 14 to 21): its output address and attributes.
    pub(super) fn stage1(
        &mut self,
        ste: &Ste,
        cd: &Cd,
        input: Attrs,
    ) -> Result<(u64, Attrs), Stop> {
        let va = self.tx.addr;
        let upper = bits(va, 55, 55) == 1;
        let outside = || stage1_fault(cd, self.fault_event(F_TRANSLATION, Stage::One, Class::In));
        let (half, ones) = match &cd.high {
            Some(high) if upper => (high, true),
            _ => (&cd.low, false),
        };
        // Every bit from the top down to the input size must be the one that chose the half (0 where there is one half).
        let size = 64 - half.txsz;
        let top = if half.tbi { 55 } else { 63 };
        let in_range = (size..=top).all(|bit| (bits(va, bit, bit) == 1) == ones);
        if !in_range || half.epd || (half.e0pd && !self.access.privileged) {
            return Err(outside());
        }
        let Some(g) = half.granule else {
            return Err(outside()); // not reached: a half in use has a granule, or the CD is illegal
        };
        let start = 3 - ((size - 1 - g) / (g - 3)) as i32;
        let shape = Shape {
            g,
            input: size,
            start,
            base: half.ttb,
            output: self.ids.output_size(cd.ips),
            oas: self.ids.oas(),
            ds: cd.ds && g != 16,
            big_endian: cd.endi,
        };
        let first = First {
            ste,
            cd,
            half,
            shape,
            input,
        };
        let mut contested = 0;
        for _ in 0..=MAX_RESTARTS {
            match self.stage1_level(&first, start, shape.start_table(), Hierarchy::default()) {
                Ok(found) => return Ok(found),
                Err(Halt::Stop(stop)) => return Err(stop),
                Err(Halt::Changed(pa)) => contested = pa,
            }
        }
        Err(self.walk_abort(Stage::One, Class::Tt, contested))
    }

    fn stage1_level(
        &mut self,
        first: &First<'_>,
        level: i32,
        table: u64,
        above: Hierarchy,
    ) -> Result<(u64, Attrs), Halt> {
        let First {
            cd, half, shape, ..
        } = *first;
        let address = shape.descriptor(level, table, self.tx.addr);
        let pa = if first.ste.s2 {
            self.stage2(first.ste, address, Purpose::TableRead)?.pa
        } else {
            address
        };
        let Some(word) = self.read_word('1', pa) else {
            return Err(self.walk_abort(Stage::One, Class::Tt, pa).into());
        };
        let descriptor = shape.order(word);
        let fault =
            |this: &Self, number| stage1_fault(cd, this.fault_event(number, Stage::One, Class::In));
        match shape.entry(level, descriptor, self.tx.addr) {
            Entry::Invalid => Err(fault(self, F_TRANSLATION).into()),
            Entry::Table(next) => {
                if beyond(next, shape.output) {
                    return Err(fault(self, F_ADDR_SIZE).into());
                }
                if cd.haft && descriptor & AF == 0 {
                    self.stage1_update(first, address, pa, (descriptor, descriptor | AF))?;
                }
                let bit = |n| bits(descriptor, n, n) == 1 && !half.had;
                let below = Hierarchy {
                    no_unprivileged: above.no_unprivileged || bit(61),
                    no_write: above.no_write || bit(62),
                    uxn: above.uxn || bit(60),
                    pxn: above.pxn || bit(59),
                };
                self.stage1_level(first, level + 1, next, below)
            }
            Entry::Leaf(output) => {
                if beyond(output, shape.output) {
                    return Err(fault(self, F_ADDR_SIZE).into());
                }
                let mut updated = descriptor;
                if descriptor & AF == 0 {
                    if cd.ha {
                        updated |= AF;
                    } else if !cd.affd {
                        return Err(fault(self, F_ACCESS).into());
                    }
                }
                match check(
                    self.tx.kind,
                    self.access.instruction,
                    self.stage1_rights(cd, descriptor, above),
                ) {
                    Verdict::Granted => {}
                    Verdict::GrantedDirtying => updated &= !AP2,
                    Verdict::Denied { read_only } => {
                        let event = self.permission_event(Stage::One, Class::In, read_only);
                        return Err(stage1_fault(cd, event).into());
                    }
                }
                if updated != descriptor {
                    self.stage1_update(first, address, pa, (descriptor, updated))?;
                }
                let sh = if shape.ds {
                    half.sh
                } else {
                    bits(descriptor, 9, 8)
                };
                let index = 8 * bits(descriptor, 4, 2) as u32;
                Ok((
                    output,
                    attr::stage1(bits(cd.mair, index + 7, index), sh, first.input),
                ))
            }
        }
    }

    /// Direct permissions of a stage-1 leaf (ref 4.4).
    fn stage1_rights(&self, cd: &Cd, descriptor: u64, above: Hierarchy) -> Rights {
        let bit = |n| bits(descriptor, n, n) == 1;
        let clean = bit(7) && cd.ha && cd.hd && bit(DBM);
        let writable = (!bit(7) || clean) && !above.no_write;
        let uxn = bit(54) || above.uxn;
        let (mut r, mut w, mut x);
        if cd.world == World::El2 {
            (r, w, x) = (true, writable, !uxn);
        } else {
            let unprivileged = bit(6) && !above.no_unprivileged;
            let (ur, uw, ux) = (unprivileged, unprivileged && writable, !uxn);
            if self.access.privileged {
                (r, w, x) = (true, writable, !(bit(53) || above.pxn || uw));
                let pan = cd.pan && !self.access.instruction;
                if pan && (ur || uw || (cd.epan && ux)) {
                    (r, w) = (false, false);
                }
            } else {
                (r, w, x) = (ur, uw, ux);
            }
        }
        if cd.wxn && w {
            x = false;
        }
        Rights { r, w, x, clean }
    }

    /// Changes a stage-1 descriptor from `old` to `new`; nested, its page must be writable in stage 2 (ref 5.8).
    fn stage1_update(
        &mut self,
        first: &First<'_>,
        ipa: u64,
        pa: u64,
        (old, new): (u64, u64),
    ) -> Result<(), Halt> {
        if first.ste.s2 {
            self.stage2(first.ste, ipa, Purpose::TableWrite)?;
        }
        match self
            .mem
            .cas(pa, first.shape.order(old), first.shape.order(new))
        {
            None => Err(self.walk_abort(Stage::One, Class::Tt, pa).into()),
            Some(false) => Err(Halt::Changed(pa)),
            Some(true) => {
                self.writes.push(pa);
                Ok(())
            }
        }
    }

    /// Stage 2 of one address (ref 4.2 steps 22 to 24), for the transaction or for a fetch it needs.
    pub(super) fn stage2(&mut self, ste: &Ste, ipa: u64, purpose: Purpose) -> Result<Page, Stop> {
        let (class, stage) = (purpose.class(), Stage::Two { ipa });
        let outside = || stage2_fault(ste, self.fault_event(F_TRANSLATION, stage, class));
        if beyond(ipa, 64 - ste.s2t0sz) {
            return Err(outside());
        }
        let (Some(g), Some(start)) = (ste.s2_granule(self.ids), ste.s2_start(self.ids)) else {
            return Err(outside()); // not reached: the STE would be illegal
        };
        let shape = Shape {
            g,
            input: 64 - ste.s2t0sz,
            start,
            base: ste.s2ttb,
            output: self.ids.output_size(ste.s2ps),
            oas: self.ids.oas(),
            ds: ste.s2ds && g != 16,
            big_endian: ste.s2endi,
        };
        let second = Second {
            ste,
            shape,
            ipa,
            purpose,
        };
        let mut contested = 0;
        for _ in 0..=MAX_RESTARTS {
            match self.stage2_level(&second, start, shape.start_table()) {
                Ok(page) => return Ok(page),
                Err(Halt::Stop(stop)) => return Err(stop),
                Err(Halt::Changed(pa)) => contested = pa,
            }
        }
        Err(self.walk_abort(stage, class, contested))
    }

    fn stage2_level(&mut self, second: &Second<'_>, level: i32, table: u64) -> Result<Page, Halt> {
        let Second {
            ste,
            shape,
            ipa,
            purpose,
        } = *second;
        let (class, stage) = (purpose.class(), Stage::Two { ipa });
        let pa = shape.descriptor(level, table, ipa);
        let Some(word) = self.read_word('2', pa) else {
            return Err(self.walk_abort(stage, class, pa).into());
        };
        let descriptor = shape.order(word);
        let fault = |this: &Self, number| stage2_fault(ste, this.fault_event(number, stage, class));
        match shape.entry(level, descriptor, ipa) {
            Entry::Invalid => Err(fault(self, F_TRANSLATION).into()),
            Entry::Table(next) => {
                if beyond(next, shape.output) {
                    return Err(fault(self, F_ADDR_SIZE).into());
                }
                if ste.s2haft && descriptor & AF == 0 {
                    self.stage2_update(second, pa, descriptor, descriptor | AF)?;
                }
                self.stage2_level(second, level + 1, next)
            }
            Entry::Leaf(output) => {
                if beyond(output, shape.output) {
                    return Err(fault(self, F_ADDR_SIZE).into());
                }
                let mut updated = descriptor;
                if descriptor & AF == 0 {
                    if ste.s2ha {
                        updated |= AF;
                    } else if !ste.s2affd {
                        return Err(fault(self, F_ACCESS).into());
                    }
                }
                let memattr = StageTwoMemAttr {
                    bits: bits(descriptor, 5, 2),
                    mteperm: self.ids.idr3(22),
                };
                match self.stage2_verdict(ste, descriptor, memattr, purpose) {
                    Verdict::Granted => {}
                    Verdict::GrantedDirtying => updated |= S2AP1,
                    Verdict::Denied { read_only } => {
                        let mut event = self.permission_event(stage, class, read_only);
                        if matches!(purpose, Purpose::TableRead) {
                            event[1] |= TTRNW;
                        }
                        return Err(stage2_fault(ste, event).into());
                    }
                }
                if updated != descriptor {
                    self.stage2_update(second, pa, descriptor, updated)?;
                }
                let sh = if shape.ds {
                    ste.s2sh0
                } else {
                    bits(descriptor, 9, 8)
                };
                Ok(Page {
                    pa: output,
                    memattr,
                    sh,
                })
            }
        }
    }

    /// Stage-2 permissions (ref 4.5), S2PTW included.
    fn stage2_verdict(
        &self,
        ste: &Ste,
        descriptor: u64,
        memattr: StageTwoMemAttr,
        purpose: Purpose,
    ) -> Verdict {
        let bit = |n| bits(descriptor, n, n) == 1;
        let clean = !bit(7) && ste.s2ha && ste.s2hd && bit(DBM);
        let x = match (bit(54), bit(53) && self.ids.idr3(4)) {
            (false, false) => true,
            (false, true) => !self.access.privileged,
            (true, false) => false,
            (true, true) => self.access.privileged,
        };
        let rights = Rights {
            r: bit(6),
            w: bit(7) || clean,
            x,
            clean,
        };
        let (kind, instruction) = match purpose {
            Purpose::Transaction => return check(self.tx.kind, self.access.instruction, rights),
            Purpose::Cd | Purpose::TableRead => (Kind::Read, false),
            Purpose::TableWrite => (Kind::Write, false),
        };
        if ste.s1 && ste.s2ptw && attr::stage2_is_device(memattr, ste.s2fwb) {
            return Verdict::Denied { read_only: false };
        }
        check(kind, instruction, rights)
    }

    /// Changes a stage-2 descriptor from `old` to `new`.
    fn stage2_update(
        &mut self,
        second: &Second<'_>,
        pa: u64,
        old: u64,
        new: u64,
    ) -> Result<(), Halt> {
        match self
            .mem
            .cas(pa, second.shape.order(old), second.shape.order(new))
        {
            None => Err(self
                .walk_abort(Stage::Two { ipa: second.ipa }, second.purpose.class(), pa)
                .into()),
            Some(false) => Err(Halt::Changed(pa)),
            Some(true) => {
                self.writes.push(pa);
                Ok(())
            }
        }
    }

    /// F_PERMISSION; an atomic that may write but not read says RnW=1 from v3.1 on.
    fn permission_event(&self, stage: Stage, class: Class, read_only: bool) -> [u64; 4] {
        let mut event = self.fault_event(F_PERMISSION, stage, class);
        if read_only && self.ids.minor() >= 1 {
            event[1] |= RNW;
        }
        event
    }
}

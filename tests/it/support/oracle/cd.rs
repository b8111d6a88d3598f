//! Substreams and the context descriptor (ref 3).

use super::ste::{Ste, World};
use super::walk::Purpose;
use super::{
    C_BAD_CD, C_BAD_SUBSTREAMID, F_CD_FETCH, F_STREAM_DISABLED, Ids, Machine, Stop, align, beyond,
    bits, field, flag,
};

/// The fields of one of the two halves of the address space, TTB0's or TTB1's.
pub(super) struct Half {
    /// Effective EPDx.
    pub(super) epd: bool,
    pub(super) txsz: u32,
    /// log2 of the granule, if TGx names an implemented one.
    pub(super) granule: Option<u32>,
    pub(super) sh: u64,
    pub(super) tbi: bool,
    pub(super) had: bool,
    pub(super) e0pd: bool,
    pub(super) ttb: u64,
}

/// The CD fields in use. A field whose feature is absent is 0.
pub(super) struct Cd {
    v: bool,
    aa64: bool,
    pub(super) world: World,
    /// TTB0's half, and TTB1's where the StreamWorld has one.
    pub(super) low: Half,
    pub(super) high: Option<Half>,
    pub(super) ips: u64,
    pub(super) endi: bool,
    pub(super) affd: bool,
    pub(super) wxn: bool,
    pub(super) pan: bool,
    pub(super) epan: bool,
    pub(super) hd: bool,
    pub(super) ha: bool,
    pub(super) haft: bool,
    pub(super) s: bool,
    pub(super) r: bool,
    pub(super) a: bool,
    asid: u64,
    pub(super) ds: bool,
    /// MAIR1:MAIR0.
    pub(super) mair: u64,
}

impl Cd {
    fn decode(ids: &Ids, world: World, w: &[u64; 8]) -> Self {
        let two_privileges = world != World::El2;
        let had = ids.idr3(2);
        let e0pd = ids.idr3(13) && two_privileges;
        let implemented = |g: Option<u32>| g.filter(|&g| ids.granule(g));
        let low = Half {
            epd: flag(w, 14) && two_privileges,
            txsz: field(w, 5, 0) as u32,
            granule: implemented(match field(w, 7, 6) {
                0 => Some(12),
                1 => Some(16),
                2 => Some(14),
                _ => None,
            }),
            sh: field(w, 13, 12),
            tbi: flag(w, 38),
            had: had && flag(w, 65),
            e0pd: e0pd && flag(w, 66),
            ttb: field(w, 115, 68) << 4,
        };
        let high = Half {
            epd: flag(w, 30),
            txsz: field(w, 21, 16) as u32,
            granule: implemented(match field(w, 23, 22) {
                1 => Some(14),
                2 => Some(12),
                3 => Some(16),
                _ => None,
            }),
            sh: field(w, 29, 28),
            tbi: flag(w, 39),
            had: had && flag(w, 129),
            e0pd: e0pd && flag(w, 130),
            ttb: field(w, 179, 132) << 4,
        };
        Self {
            v: flag(w, 31),
            aa64: flag(w, 41),
            world,
            low,
            high: two_privileges.then_some(high),
            ips: field(w, 34, 32),
            endi: flag(w, 15),
            affd: flag(w, 35),
            wxn: flag(w, 36),
            pan: flag(w, 40) && two_privileges,
            epan: ids.idr3(17) && flag(w, 123),
            hd: flag(w, 42),
            ha: flag(w, 43),
            haft: ids.httu() == 3 && flag(w, 67),
            s: flag(w, 44),
            r: flag(w, 45),
            a: flag(w, 46),
            asid: field(w, 63, 48),
            ds: ids.ds() && flag(w, 186),
            mair: field(w, 255, 192),
        }
    }

    /// ILL-CD (ref 3.4); rows of that table are named.
    fn illegal(&self, ids: &Ids, ste: &Ste) -> bool {
        let (httu, model) = (ids.httu(), ids.stall_model());
        let term_model = ids.idr0(26, 26) == 1;
        let asid16 = ids.idr0(12, 12) == 1;
        !self.v // 1
            || (ste.s1stalld && self.s) // 2
            || (term_model && !self.a) // 3
            || (model == 1 && self.s) // 4
            || (model == 2 && !self.s) // 4
            || !self.aa64 // 6, with LPAE left out
            || !ids.ttf64() // 7
            || ((self.ha || self.hd) && httu == 0) // 8
            || (self.hd && httu == 1) // 8
            || (self.haft && !self.ha) // 8
            || (self.asid > 0xff && !asid16 && self.world != World::El2) // 9
            || self.half_illegal(ids, &self.low)
            || self.high.as_ref().is_some_and(|high| self.half_illegal(ids, high))
    }

    /// Rows 5 and 10 to 12, for one half; nothing is checked if it is disabled.
    fn half_illegal(&self, ids: &Ids, half: &Half) -> bool {
        if half.epd {
            return false;
        }
        let Some(g) = half.granule else {
            return true; // 11
        };
        let smallest = match g {
            16 if ids.idr5(11, 10) >= 1 => 12,
            12 | 14 if self.ds => 12,
            _ => 16,
        };
        let largest = match (ids.stt(), g) {
            (false, _) => 39,
            (true, 16) => 47,
            (true, _) => 48,
        };
        ids.endian_illegal(self.endi) // 5
            || half.txsz < smallest // 10
            || half.txsz > largest // 10
            || beyond(half.ttb, ids.output_size(self.ips)) // 12
            || (g != 16 && !self.ds && beyond(half.ttb, 48)) // 12
    }
}

impl Machine<'_> {
    /// The substream table of ref 3.2: the index of the CD to use, or `None` if stage 1 is not to be done.
    pub(super) fn pick_cd(&self, ste: &Ste) -> Result<Option<u64>, Stop> {
        let bad = || Err(Stop::recorded(self.substream_event(C_BAD_SUBSTREAMID)));
        let disabled = || Err(Stop::recorded(self.substream_event(F_STREAM_DISABLED)));
        match self.tx.ssid.map(u64::from) {
            Some(_) if self.ids.ssidsize() == 0 || !ste.s1 || ste.s1cdmax == 0 => bad(),
            Some(ssid) if beyond(ssid, ste.s1cdmax as u32) => bad(),
            Some(0) if ste.s1dss == 2 => disabled(),
            Some(ssid) => Ok(Some(ssid)),
            None if !ste.s1 => Ok(None),
            None if ste.s1cdmax == 0 => Ok(Some(0)),
            None => match ste.s1dss {
                1 => Ok(None),
                2 => Ok(Some(0)),
                _ => disabled(),
            },
        }
    }

    /// Steps 10 to 13 of ref 4.2: the legal CD with that index.
    pub(super) fn find_cd(&mut self, ste: &Ste, index: u64) -> Result<Cd, Stop> {
        let address = self.locate_cd(ste, index)?;
        let pa = self.cd_pa(ste, address)?;
        let Some(words) = self.read_structure('C', pa) else {
            return Err(Stop::recorded(self.fetch_event(F_CD_FETCH, pa)));
        };
        let cd = Cd::decode(self.ids, ste.world, &words);
        if cd.illegal(self.ids, ste) {
            return Err(Stop::recorded(self.event(C_BAD_CD)));
        }
        Ok(cd)
    }

    /// Address of the CD (ref 3.1): an IPA when nested, else a PA.
    fn locate_cd(&mut self, ste: &Ste, index: u64) -> Result<u64, Stop> {
        let max = ste.s1cdmax as u32;
        // log2 of the CDs in a leaf table of a two-level layout.
        let leaf = match ste.s1fmt {
            1 => 6,
            2 => 10,
            _ => return Ok(align(ste.s1contextptr, max + 6) + index * 64),
        };
        if max == 0 {
            return Ok(ste.s1contextptr);
        }
        // The level-1 array has 2^(max - leaf) entries of 8 bytes.
        let l1cd_address =
            align(ste.s1contextptr, (max + 3).saturating_sub(leaf)) + (index >> leaf) * 8;
        let pa = self.cd_pa(ste, l1cd_address)?;
        let Some(l1cd) = self.read_word('l', pa) else {
            return Err(Stop::recorded(self.fetch_event(F_CD_FETCH, pa)));
        };
        let l2ptr = bits(l1cd, 55, 12) << 12;
        let limit = if ste.s2 {
            self.ids.ias()
        } else {
            self.ids.oas()
        };
        if l1cd & 1 == 0 || beyond(l2ptr, limit) {
            return Err(Stop::recorded(self.substream_event(C_BAD_SUBSTREAMID)));
        }
        Ok(align(l2ptr, leaf + 6) + bits(index, leaf - 1, 0) * 64)
    }

    /// Where an L1CD or CD really is: through stage 2 when nested.
    fn cd_pa(&mut self, ste: &Ste, address: u64) -> Result<u64, Stop> {
        if !ste.s2 {
            return Ok(address);
        }
        Ok(self.stage2(ste, address, Purpose::Cd)?.pa)
    }
}

//! Stream table lookup and the STE (ref 2).

use super::{
    C_BAD_STE, C_BAD_STREAMID, F_STE_FETCH, Ids, Machine, Stop, align, beyond, bits, field, flag,
};

/// StreamWorld of a Non-secure stream (ref 2.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    El1,
    El2,
    El2E2h,
}

/// The STE fields in use. A field whose feature is absent is 0.
#[derive(Clone)]
pub(super) struct Ste {
    v: bool,
    pub(super) config: u64,
    pub(super) s1: bool,
    pub(super) s2: bool,
    pub(super) s1fmt: u64,
    pub(super) s1contextptr: u64,
    pub(super) s1cdmax: u64,
    pub(super) s1dss: u64,
    pub(super) s1stalld: bool,
    strw: u64,
    pub(super) world: World,
    eats: u64,
    pub(super) mtcfg: bool,
    pub(super) memattr: u64,
    pub(super) alloccfg: u64,
    pub(super) shcfg: u64,
    pub(super) privcfg: u64,
    pub(super) instcfg: u64,
    s2vmid: u64,
    pub(super) s2t0sz: u32,
    s2sl0: u64,
    s2sl0_2: bool,
    pub(super) s2sh0: u64,
    s2tg: u64,
    pub(super) s2ps: u64,
    s2aa64: bool,
    pub(super) s2endi: bool,
    pub(super) s2affd: bool,
    pub(super) s2ptw: bool,
    pub(super) s2hd: bool,
    pub(super) s2ha: bool,
    pub(super) s2haft: bool,
    pub(super) s2s: bool,
    pub(super) s2r: bool,
    pub(super) s2fwb: bool,
    pub(super) s2ds: bool,
    pub(super) s2ttb: u64,
}

impl Ste {
    fn decode(ids: &Ids, e2h: bool, w: &[u64; 8]) -> Self {
        let config = field(w, 3, 1);
        let types_ovr = ids.idr1(27, 27) == 1;
        let perms_ovr = ids.idr1(26, 26) == 1;
        let only_if = |present: bool, value: u64| if present { value } else { 0 };
        let strw_used = config == 0b101 && ids.idr0(9, 9) == 1 && ids.s1p();
        let strw = only_if(strw_used, field(w, 95, 94));
        Self {
            v: flag(w, 0),
            config,
            s1: config & 0b101 == 0b101,
            s2: config & 0b110 == 0b110,
            s1fmt: field(w, 5, 4),
            s1contextptr: field(w, 55, 6) << 6,
            s1cdmax: only_if(ids.ssidsize() != 0, field(w, 63, 59)),
            s1dss: field(w, 65, 64),
            s1stalld: flag(w, 91),
            strw,
            world: match (strw, e2h) {
                (0b10, false) => World::El2,
                (0b10, true) => World::El2E2h,
                _ => World::El1,
            },
            eats: only_if(ids.idr0(10, 10) == 1, field(w, 93, 92)),
            mtcfg: types_ovr && flag(w, 100),
            memattr: field(w, 99, 96),
            alloccfg: only_if(types_ovr, field(w, 104, 101)),
            shcfg: if types_ovr { field(w, 109, 108) } else { 1 },
            privcfg: only_if(perms_ovr, field(w, 113, 112)),
            instcfg: only_if(perms_ovr, field(w, 115, 114)),
            s2vmid: field(w, 143, 128),
            s2t0sz: field(w, 165, 160) as u32,
            s2sl0: field(w, 167, 166),
            s2sl0_2: ids.ds() && flag(w, 194),
            s2sh0: field(w, 173, 172),
            s2tg: field(w, 175, 174),
            s2ps: field(w, 178, 176),
            s2aa64: flag(w, 179),
            s2endi: flag(w, 180),
            s2affd: flag(w, 181),
            s2ptw: flag(w, 182),
            s2hd: flag(w, 183),
            s2ha: flag(w, 184),
            s2haft: ids.httu() == 3 && flag(w, 187),
            s2s: flag(w, 185),
            s2r: flag(w, 186),
            s2fwb: ids.idr3(8) && flag(w, 89),
            s2ds: ids.ds() && flag(w, 195),
            s2ttb: field(w, 243, 196) << 4,
        }
    }

    /// log2 of the stage-2 granule, if S2TG names an implemented one.
    pub(super) fn s2_granule(&self, ids: &Ids) -> Option<u32> {
        let g = match self.s2tg {
            0 => 12,
            1 => 16,
            2 => 14,
            _ => return None,
        };
        ids.granule(g).then_some(g)
    }

    /// The stage-2 start level, if S2SL0 and S2SL0_2 name one (ref 5.3).
    pub(super) fn s2_start(&self, ids: &Ids) -> Option<i32> {
        let level = match (self.s2tg, self.s2sl0_2, self.s2sl0) {
            (0, false, 0) => 2,
            (0, false, 1) => 1,
            (0, false, 2) => 0,
            (0, false, 3) if ids.stt() => 3,
            (0, true, 0) if self.s2ds => -1,
            (0, ..) => return None,
            (_, _, 0) => 3,
            (_, _, 1) => 2,
            (_, _, 2) => 1,
            (2, _, 3) if self.s2ds => 0,
            _ => return None,
        };
        Some(level)
    }

    /// ILL-STE (ref 2.5); rows of that table are named. Config=0xx is never illegal.
    fn illegal(&self, ids: &Ids) -> bool {
        if !self.v {
            return true; // 1
        }
        if self.config < 4 {
            return false;
        }
        (self.s1 && !ids.s1p()) // 2
            || (self.s2 && !ids.s2p()) // 3
            || self.strw & 1 == 1 // 10
            || self.eats_illegal(ids)
            || (self.s1 && self.stage1_illegal(ids))
            || (self.s2 && self.stage2_illegal(ids))
            || self.vmid_illegal(ids)
    }

    fn eats_illegal(&self, ids: &Ids) -> bool {
        let ns1ats = ids.idr0(11, 11) == 1;
        let dpt = ids.idr3(15);
        match self.eats {
            1 => self.s2 && self.s2s, // 7
            2 => self.config & 0b011 != 0 && (self.config != 0b111 || self.s2s || ns1ats), // 6
            3 => dpt && (self.strw != 0 || (self.s2 && self.s2s)), // 8, 8b
            _ => false,
        }
    }

    fn stage1_illegal(&self, ids: &Ids) -> bool {
        let two_level = self.s1fmt == 1 || self.s1fmt == 2;
        let cd2l = ids.idr0(19, 19) == 1;
        let limit = if self.s2 { ids.ias() } else { ids.oas() };
        (self.s1stalld && ids.stall_model() != 0) // 12
            || self.s1cdmax > ids.ssidsize() // 13; S1CDMax is 0 here if SSIDSIZE is
            || (self.s1cdmax != 0 && two_level && !cd2l) // 14
            || beyond(self.s1contextptr, limit) // 15
    }

    fn stage2_illegal(&self, ids: &Ids) -> bool {
        let httu = ids.httu();
        (self.s2s && ids.stall_model() == 1) // 17
            || (!self.s2s && ids.stall_model() == 2) // 18
            || !self.s2aa64 // 19, with LPAE left out
            || !ids.ttf64() // 19
            || ((self.s2ha || self.s2hd) && httu == 0) // 20
            || (self.s2hd && httu == 1) // 21
            || (self.s2haft && !self.s2ha) // 22
            || ids.endian_illegal(self.s2endi) // 28
            || self.stage2_tables_illegal(ids)
    }

    /// Rows 23 to 26: granule, S2TTB, S2T0SZ and start level.
    fn stage2_tables_illegal(&self, ids: &Ids) -> bool {
        let (Some(g), Some(start)) = (self.s2_granule(ids), self.s2_start(ids)) else {
            return true; // 23, 26
        };
        if beyond(self.s2ttb, ids.output_size(self.s2ps))
            || (g != 16 && !self.s2ds && beyond(self.s2ttb, 48))
        {
            return true; // 24
        }
        let smallest = if g == 16 || self.s2ds { 12 } else { 16 }.max(64 - ids.ias());
        let largest = match (ids.stt(), g) {
            (false, _) => 39,
            (true, 16) => 47,
            (true, _) => 48,
        };
        if self.s2t0sz < smallest || self.s2t0sz > largest {
            return true; // 25
        }
        // 26: at least one index bit, at most 16 concatenated tables, and a level the output size allows.
        let stride = g - 3;
        let lsb = g + stride * (3 - start) as u32;
        let ipa_bits = 64 - self.s2t0sz;
        if ipa_bits < lsb + 1 || ipa_bits > lsb + stride + 4 {
            return true;
        }
        let highest = match (g, ids.oas()) {
            (12, 0..=43) | (14, 42..=51) => 1,
            (12, 44..=51) => 0,
            (12, _) => -1,
            (14, 0..=41) => 2,
            (14, _) => 0,
            (_, 0..=43) => 2,
            _ => 1,
        };
        start < highest
    }

    /// Row 31: an S2VMID in use that does not fit.
    fn vmid_illegal(&self, ids: &Ids) -> bool {
        let used = ids.s2p() && self.config != 0b100 && self.strw == 0;
        used && ids.idr0(18, 18) == 0 && self.s2vmid > 0xff
    }
}

impl Machine<'_> {
    /// Steps 2 to 4 of ref 4.2: the legal STE of the transaction's StreamID.
    pub(super) fn find_ste(&mut self) -> Result<Ste, Stop> {
        let pa = self.locate_ste()?;
        if beyond(pa, self.ids.oas()) {
            return Err(Stop::recorded(self.fetch_event(F_STE_FETCH, pa)));
        }
        let Some(words) = self.read_structure('S', pa) else {
            return Err(Stop::recorded(self.fetch_event(F_STE_FETCH, pa)));
        };
        let ste = Ste::decode(self.ids, self.regs.cr2 & 1 == 1, &words);
        if ste.illegal(self.ids) {
            return Err(Stop::recorded(self.event(C_BAD_STE)));
        }
        Ok(ste)
    }

    fn locate_ste(&mut self) -> Result<u64, Stop> {
        let cfg = u64::from(self.regs.strtab_base_cfg);
        let sid = u64::from(self.tx.sid);
        let log2size = bits(cfg, 5, 0) as u32;
        let sidsize = self.ids.idr1(5, 0) as u32;
        let base = bits(self.regs.strtab_base, 55, 6) << 6;
        if beyond(sid, log2size.min(sidsize)) {
            return Err(self.bad_stream());
        }
        let two_level = self.ids.idr0(28, 27) != 0 && bits(cfg, 17, 16) == 1;
        if !two_level {
            return Ok(align(base, log2size + 6) + sid * 64);
        }
        let split = match bits(cfg, 10, 6) {
            8 => 8,
            10 => 10,
            _ => 6,
        };
        // The level-1 array is 8 bytes times its entries, and never less than 64-byte aligned.
        let at = align(base, (log2size + 3).saturating_sub(split).max(6)) + (sid >> split) * 8;
        if beyond(at, self.ids.oas()) {
            return Err(Stop::recorded(self.fetch_event(F_STE_FETCH, at)));
        }
        let Some(l1std) = self.read_word('L', at) else {
            return Err(Stop::recorded(self.fetch_event(F_STE_FETCH, at)));
        };
        let span = bits(l1std, 4, 0) as u32;
        let index = bits(sid, split - 1, 0);
        if span == 0 || span > 11 || span > split + 1 || beyond(index, span - 1) {
            return Err(self.bad_stream());
        }
        Ok(align(bits(l1std, 55, 6) << 6, 5 + span) + index * 64)
    }

    /// C_BAD_STREAMID, recorded only if CR2.RECINVSID is 1.
    fn bad_stream(&self) -> Stop {
        if self.regs.cr2 & 2 == 0 {
            Stop::silent()
        } else {
            Stop::recorded(self.event(C_BAD_STREAMID))
        }
    }
}

//! Event records (IHI 0070 §7.3).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Layout, layout, open_enum, structure};

open_enum! {
    /// Event number, spelled as in the architecture.
    EventId {
        /// `F_UUT`.
        F_UUT = 0x01,
        /// `C_BAD_STREAMID`.
        C_BAD_STREAMID = 0x02,
        /// `F_STE_FETCH`.
        F_STE_FETCH = 0x03,
        /// `C_BAD_STE`.
        C_BAD_STE = 0x04,
        /// `F_BAD_ATS_TREQ`.
        F_BAD_ATS_TREQ = 0x05,
        /// `F_STREAM_DISABLED`.
        F_STREAM_DISABLED = 0x06,
        /// `F_TRANSL_FORBIDDEN`.
        F_TRANSL_FORBIDDEN = 0x07,
        /// `C_BAD_SUBSTREAMID`.
        C_BAD_SUBSTREAMID = 0x08,
        /// `F_CD_FETCH`.
        F_CD_FETCH = 0x09,
        /// `C_BAD_CD`.
        C_BAD_CD = 0x0a,
        /// `F_WALK_EABT`.
        F_WALK_EABT = 0x0b,
        /// `F_TRANSLATION`.
        F_TRANSLATION = 0x10,
        /// `F_ADDR_SIZE`.
        F_ADDR_SIZE = 0x11,
        /// `F_ACCESS`.
        F_ACCESS = 0x12,
        /// `F_PERMISSION`.
        F_PERMISSION = 0x13,
        /// `F_TLB_CONFLICT`.
        F_TLB_CONFLICT = 0x20,
        /// `F_CFG_CONFLICT`.
        F_CFG_CONFLICT = 0x21,
        /// `E_PAGE_REQUEST`.
        E_PAGE_REQUEST = 0x24,
        /// `F_VMS_FETCH`.
        F_VMS_FETCH = 0x25,
    }
}

/// Event record as it lies in the event queue, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EventDw0 {
    /// `Type[7:0]`.
    #[bits(8)]
    pub r#type: EventId,
    #[bits(3)]
    _res0_10_8: u8,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Event record as it lies in the event queue, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EventDw1 {
    /// `STAG[79:64]`: or Reason, by event.
    #[bits(16)]
    pub stag: u16,
    /// `GPCF[80]`.
    pub gpcf: bool,
    #[bits(14)]
    _res0_94_81: u16,
    /// `Stall[95]`.
    pub stall: bool,
    #[bits(1)]
    _res0_96_96: bool,
    /// `PnU[97]`: privileged.
    pub pnu: bool,
    /// `InD[98]`: instruction.
    pub ind: bool,
    /// `RnW[99]`: read.
    pub rnw: bool,
    #[bits(2)]
    _res0_101_100: u8,
    /// `NSIPA[102]`.
    pub nsipa: bool,
    /// `S2[103]`.
    pub s2: bool,
    /// `CLASS[105:104]`.
    #[bits(2)]
    pub class: u8,
    #[bits(2)]
    _res0_107_106: u8,
    /// `TTRnW[108]`.
    pub ttrnw: bool,
    #[bits(19)]
    _res0_127_109: u32,
}

/// Event record as it lies in the event queue, doubleword 2.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EventDw2 {
    /// `InputAddr[191:128]`.
    #[bits(64)]
    pub inputaddr: u64,
}

/// Event record as it lies in the event queue, doubleword 3.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EventDw3 {
    #[bits(3)]
    _res0_194_192: u8,
    /// `FetchAddr[247:195]`: address bits [55:3]; IPA[55:12] in events that have one.
    #[bits(53)]
    pub fetchaddr: u64,
    #[bits(8)]
    _res0_255_248: u8,
}

/// Event record as it lies in the event queue.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Event {
    /// Doubleword 0.
    pub dw0: EventDw0,
    /// Doubleword 1.
    pub dw1: EventDw1,
    /// Doubleword 2.
    pub dw2: EventDw2,
    /// Doubleword 3.
    pub dw3: EventDw3,
}

const _: () = assert!(size_of::<Event>() == 32);

structure!(Event, 4 { dw0: EventDw0, dw1: EventDw1, dw2: EventDw2, dw3: EventDw3 });
layout!(Event, 256, [
    Type [7:0] dw0.r#type;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    STAG [79:64] dw1.stag;
    GPCF [80:80] dw1.gpcf;
    Stall [95:95] dw1.stall;
    PnU [97:97] dw1.pnu;
    InD [98:98] dw1.ind;
    RnW [99:99] dw1.rnw;
    NSIPA [102:102] dw1.nsipa;
    S2 [103:103] dw1.s2;
    CLASS [105:104] dw1.class;
    TTRnW [108:108] dw1.ttrnw;
    InputAddr [191:128] dw2.inputaddr;
    FetchAddr [247:195] dw3.fetchaddr;
    IPA [247:204] ipa;
    Reason [79:64] reason;
]);

impl Event {
    /// The record with `type` set.
    #[inline]
    #[must_use]
    pub const fn with_type(mut self, value: EventId) -> Self {
        self.dw0 = self.dw0.with_type(value);
        self
    }

    /// The record with `ssv` set.
    #[inline]
    #[must_use]
    pub const fn with_ssv(mut self, value: bool) -> Self {
        self.dw0 = self.dw0.with_ssv(value);
        self
    }

    /// The record with `substreamid` set.
    #[inline]
    #[must_use]
    pub const fn with_substreamid(mut self, value: u32) -> Self {
        self.dw0 = self.dw0.with_substreamid(value);
        self
    }

    /// The record with `streamid` set.
    #[inline]
    #[must_use]
    pub const fn with_streamid(mut self, value: u32) -> Self {
        self.dw0 = self.dw0.with_streamid(value);
        self
    }

    /// The record with `stag` set.
    #[inline]
    #[must_use]
    pub const fn with_stag(mut self, value: u16) -> Self {
        self.dw1 = self.dw1.with_stag(value);
        self
    }

    /// The record with `stall` set.
    #[inline]
    #[must_use]
    pub const fn with_stall(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_stall(value);
        self
    }

    /// The record with `pnu` set.
    #[inline]
    #[must_use]
    pub const fn with_pnu(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_pnu(value);
        self
    }

    /// The record with `ind` set.
    #[inline]
    #[must_use]
    pub const fn with_ind(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_ind(value);
        self
    }

    /// The record with `rnw` set.
    #[inline]
    #[must_use]
    pub const fn with_rnw(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_rnw(value);
        self
    }

    /// The record with `s2` set.
    #[inline]
    #[must_use]
    pub const fn with_s2(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_s2(value);
        self
    }

    /// The record with `class` set.
    #[inline]
    #[must_use]
    pub const fn with_class(mut self, value: u8) -> Self {
        self.dw1 = self.dw1.with_class(value);
        self
    }

    /// The record with `ttrnw` set.
    #[inline]
    #[must_use]
    pub const fn with_ttrnw(mut self, value: bool) -> Self {
        self.dw1 = self.dw1.with_ttrnw(value);
        self
    }

    /// The record with `inputaddr` set.
    #[inline]
    #[must_use]
    pub const fn with_inputaddr(mut self, value: u64) -> Self {
        self.dw2 = self.dw2.with_inputaddr(value);
        self
    }

    /// The record with `fetchaddr` set.
    #[inline]
    #[must_use]
    pub const fn with_fetchaddr(mut self, value: u64) -> Self {
        self.dw3 = self.dw3.with_fetchaddr(value);
        self
    }

    /// The record with IPA\[55:12\] set.
    #[inline]
    #[must_use]
    pub const fn with_ipa(self, value: u64) -> Self {
        self.with_fetchaddr(value << 9)
    }

    /// `IPA[247:204]`: address bits \[55:12\] of events that carry an IPA.
    #[inline]
    pub const fn ipa(&self) -> u64 {
        self.dw3.fetchaddr() >> 9
    }

    /// `Reason[79:64]`, the IMPLEMENTATION DEFINED reason of events without a STAG.
    #[inline]
    pub const fn reason(&self) -> u16 {
        self.dw1.stag()
    }
}

/// F_BAD_ATS_TREQ record, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BadAtsTreqDw0 {
    /// `Type[7:0]`.
    #[bits(8)]
    pub r#type: EventId,
    #[bits(3)]
    _res0_10_8: u8,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// F_BAD_ATS_TREQ record, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BadAtsTreqDw1 {
    /// `Span[67:64]`: in STUs.
    #[bits(4)]
    pub span: u8,
    #[bits(24)]
    _res0_91_68: u32,
    /// `P[92]`.
    pub p: bool,
    /// `X[93]`.
    pub x: bool,
    /// `W[94]`.
    pub w: bool,
    /// `R[95]`.
    pub r: bool,
    #[bits(32)]
    _res0_127_96: u32,
}

/// F_BAD_ATS_TREQ record, doubleword 2.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BadAtsTreqDw2 {
    #[bits(12)]
    _res0_139_128: u16,
    /// `InputAddr[191:140]`: address bits [63:12].
    #[bits(52)]
    pub inputaddr: u64,
}

/// F_BAD_ATS_TREQ record, doubleword 3.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BadAtsTreqDw3 {
    #[bits(64)]
    _res0_255_192: u64,
}

/// F_BAD_ATS_TREQ record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct BadAtsTreq {
    /// Doubleword 0.
    pub dw0: BadAtsTreqDw0,
    /// Doubleword 1.
    pub dw1: BadAtsTreqDw1,
    /// Doubleword 2.
    pub dw2: BadAtsTreqDw2,
    /// Doubleword 3.
    pub dw3: BadAtsTreqDw3,
}

const _: () = assert!(size_of::<BadAtsTreq>() == 32);

structure!(BadAtsTreq, 4 { dw0: BadAtsTreqDw0, dw1: BadAtsTreqDw1, dw2: BadAtsTreqDw2, dw3: BadAtsTreqDw3 });
layout!(BadAtsTreq, 256, [
    Type [7:0] dw0.r#type;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    Span [67:64] dw1.span;
    P [92:92] dw1.p;
    X [93:93] dw1.x;
    W [94:94] dw1.w;
    R [95:95] dw1.r;
    InputAddr [191:140] dw2.inputaddr;
]);

/// E_PAGE_REQUEST record, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PageRequestDw0 {
    /// `Type[7:0]`.
    #[bits(8)]
    pub r#type: EventId,
    #[bits(3)]
    _res0_10_8: u8,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// E_PAGE_REQUEST record, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PageRequestDw1 {
    #[bits(33)]
    _res0_96_64: u64,
    /// `uX[97]`.
    pub ux: bool,
    /// `uW[98]`.
    pub uw: bool,
    /// `uR[99]`.
    pub ur: bool,
    #[bits(1)]
    _res0_100_100: bool,
    /// `pX[101]`.
    pub px: bool,
    /// `pW[102]`.
    pub pw: bool,
    /// `pR[103]`.
    pub pr: bool,
    #[bits(4)]
    _res0_107_104: u8,
    /// `Span[115:108]`: in 4 KiB.
    #[bits(8)]
    pub span: u8,
    #[bits(12)]
    _res0_127_116: u16,
}

/// E_PAGE_REQUEST record, doubleword 2.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PageRequestDw2 {
    #[bits(12)]
    _res0_139_128: u16,
    /// `InputAddr[191:140]`: address bits [63:12].
    #[bits(52)]
    pub inputaddr: u64,
}

/// E_PAGE_REQUEST record, doubleword 3.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PageRequestDw3 {
    #[bits(64)]
    _res0_255_192: u64,
}

/// E_PAGE_REQUEST record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct PageRequest {
    /// Doubleword 0.
    pub dw0: PageRequestDw0,
    /// Doubleword 1.
    pub dw1: PageRequestDw1,
    /// Doubleword 2.
    pub dw2: PageRequestDw2,
    /// Doubleword 3.
    pub dw3: PageRequestDw3,
}

const _: () = assert!(size_of::<PageRequest>() == 32);

structure!(PageRequest, 4 { dw0: PageRequestDw0, dw1: PageRequestDw1, dw2: PageRequestDw2, dw3: PageRequestDw3 });
layout!(PageRequest, 256, [
    Type [7:0] dw0.r#type;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    uX [97:97] dw1.ux;
    uW [98:98] dw1.uw;
    uR [99:99] dw1.ur;
    pX [101:101] dw1.px;
    pW [102:102] dw1.pw;
    pR [103:103] dw1.pr;
    Span [115:108] dw1.span;
    InputAddr [191:140] dw2.inputaddr;
]);

/// Layouts of events whose fields differ from the common ones.
pub(super) const LAYOUTS: &[&Layout] = &[&BadAtsTreq::LAYOUT, &PageRequest::LAYOUT];

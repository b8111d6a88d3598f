//! VMSAv8-64 descriptors (DDI 0487 §D8.3; IHI 0070 §3.13). One layout a stage and form; the address
//! field is the widest of any level, from which the walker takes what its granule and level use.

use bitfield_struct::bitfield;

use super::attrs::Sh;
use super::{Layout, layout};

/// Stage-1 block or page, 48-bit form.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Stage1Leaf {
    /// `Type[1:0]`: bit 0 valid; bit 1 table or page, else block.
    #[bits(2)]
    pub r#type: u8,
    /// `AttrIndx[4:2]`.
    #[bits(3)]
    pub attrindx: u8,
    /// `NS[5]`.
    pub ns: bool,
    /// `AP[7:6]`.
    #[bits(2)]
    pub ap: u8,
    /// `SH[9:8]`.
    #[bits(2)]
    pub sh: Sh,
    /// `AF[10]`.
    pub af: bool,
    /// `nG[11]`.
    pub ng: bool,
    /// `OutputAddress[47:12]`: address bits [47:12].
    #[bits(36)]
    pub outputaddress: u64,
    #[bits(2)]
    _res0_49_48: u8,
    /// `GP[50]`.
    pub gp: bool,
    /// `DBM[51]`.
    pub dbm: bool,
    /// `Contiguous[52]`.
    pub contiguous: bool,
    /// `PXN[53]`.
    pub pxn: bool,
    /// `UXN[54]`.
    pub uxn: bool,
    /// `SW[58:55]`.
    #[bits(4)]
    pub sw: u8,
    /// `PBHA[62:59]`.
    #[bits(4)]
    pub pbha: u8,
    #[bits(1)]
    _res0_63_63: bool,
}

layout!(Stage1Leaf, 64, [
    Type [1:0] r#type;
    AttrIndx [4:2] attrindx;
    NS [5:5] ns;
    AP [7:6] ap;
    SH [9:8] sh;
    AF [10:10] af;
    nG [11:11] ng;
    OutputAddress [47:12] outputaddress;
    GP [50:50] gp;
    DBM [51:51] dbm;
    Contiguous [52:52] contiguous;
    PXN [53:53] pxn;
    UXN [54:54] uxn;
    SW [58:55] sw;
    PBHA [62:59] pbha;
]);

impl Stage1Leaf {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Stage-1 Table descriptor, 48-bit form.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Stage1Table {
    /// `Type[1:0]`: bit 0 valid; bit 1 table or page, else block.
    #[bits(2)]
    pub r#type: u8,
    #[bits(8)]
    _res0_9_2: u8,
    /// `AF[10]`.
    pub af: bool,
    #[bits(1)]
    _res0_11_11: bool,
    /// `NextTableAddress[47:12]`: address bits [47:12].
    #[bits(36)]
    pub nexttableaddress: u64,
    #[bits(11)]
    _res0_58_48: u16,
    /// `PXNTable[59]`.
    pub pxntable: bool,
    /// `UXNTable[60]`.
    pub uxntable: bool,
    /// `APTable[62:61]`.
    #[bits(2)]
    pub aptable: u8,
    /// `NSTable[63]`.
    pub nstable: bool,
}

layout!(Stage1Table, 64, [
    Type [1:0] r#type;
    AF [10:10] af;
    NextTableAddress [47:12] nexttableaddress;
    PXNTable [59:59] pxntable;
    UXNTable [60:60] uxntable;
    APTable [62:61] aptable;
    NSTable [63:63] nstable;
]);

impl Stage1Table {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Stage-2 block or page, 48-bit form.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Stage2Leaf {
    /// `Type[1:0]`: bit 0 valid; bit 1 table or page, else block.
    #[bits(2)]
    pub r#type: u8,
    /// `MemAttr[5:2]`.
    #[bits(4)]
    pub memattr: u8,
    /// `S2AP[7:6]`.
    #[bits(2)]
    pub s2ap: u8,
    /// `SH[9:8]`.
    #[bits(2)]
    pub sh: Sh,
    /// `AF[10]`.
    pub af: bool,
    /// `FnXS[11]`.
    pub fnxs: bool,
    /// `OutputAddress[47:12]`: address bits [47:12].
    #[bits(36)]
    pub outputaddress: u64,
    #[bits(3)]
    _res0_50_48: u8,
    /// `DBM[51]`.
    pub dbm: bool,
    /// `Contiguous[52]`.
    pub contiguous: bool,
    /// `XN[54:53]`.
    #[bits(2)]
    pub xn: u8,
    /// `NS[55]`.
    pub ns: bool,
    #[bits(2)]
    _res0_57_56: u8,
    /// `AssuredOnly[58]`.
    pub assuredonly: bool,
    /// `PBHA[62:59]`.
    #[bits(4)]
    pub pbha: u8,
    #[bits(1)]
    _res0_63_63: bool,
}

layout!(Stage2Leaf, 64, [
    Type [1:0] r#type;
    MemAttr [5:2] memattr;
    S2AP [7:6] s2ap;
    SH [9:8] sh;
    AF [10:10] af;
    FnXS [11:11] fnxs;
    OutputAddress [47:12] outputaddress;
    DBM [51:51] dbm;
    Contiguous [52:52] contiguous;
    XN [54:53] xn;
    NS [55:55] ns;
    AssuredOnly [58:58] assuredonly;
    PBHA [62:59] pbha;
]);

impl Stage2Leaf {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Stage-2 Table descriptor, 48-bit form.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Stage2Table {
    /// `Type[1:0]`: bit 0 valid; bit 1 table or page, else block.
    #[bits(2)]
    pub r#type: u8,
    #[bits(8)]
    _res0_9_2: u8,
    /// `AF[10]`.
    pub af: bool,
    #[bits(1)]
    _res0_11_11: bool,
    /// `NextTableAddress[47:12]`: address bits [47:12].
    #[bits(36)]
    pub nexttableaddress: u64,
    #[bits(16)]
    _res0_63_48: u16,
}

layout!(Stage2Table, 64, [
    Type [1:0] r#type;
    AF [10:10] af;
    NextTableAddress [47:12] nexttableaddress;
]);

impl Stage2Table {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Where 64 KiB tables keep a 52-bit address.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Granule64KAddress {
    #[bits(12)]
    _res0_11_0: u16,
    /// `Address_51_48[15:12]`.
    #[bits(4)]
    pub address_51_48: u8,
    /// `Address_47_16[47:16]`.
    #[bits(32)]
    pub address_47_16: u32,
    #[bits(16)]
    _res0_63_48: u16,
}

layout!(Granule64KAddress, 64, [
    Address_51_48 [15:12] address_51_48;
    Address_47_16 [47:16] address_47_16;
]);

impl Granule64KAddress {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Where 4 KiB and 16 KiB tables keep a 52-bit address with DS=1.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Lpa2Address {
    #[bits(8)]
    _res0_7_0: u8,
    /// `Address_51_50[9:8]`.
    #[bits(2)]
    pub address_51_50: u8,
    #[bits(2)]
    _res0_11_10: u8,
    /// `Address_49_12[49:12]`.
    #[bits(38)]
    pub address_49_12: u64,
    #[bits(14)]
    _res0_63_50: u16,
}

layout!(Lpa2Address, 64, [
    Address_51_50 [9:8] address_51_50;
    Address_49_12 [49:12] address_49_12;
]);

impl Lpa2Address {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// Every descriptor layout.
pub(super) const LAYOUTS: &[&Layout] = &[
    &Stage1Leaf::LAYOUT,
    &Stage1Table::LAYOUT,
    &Stage2Leaf::LAYOUT,
    &Stage2Table::LAYOUT,
    &Granule64KAddress::LAYOUT,
    &Lpa2Address::LAYOUT,
];

//! An independent oracle of SMMUv3 translation: one function, [`translate`], from registers, memory and one transaction to
//! the answer. It is written from `reference/smmuv3.md` alone (marked "ref" below), with 64-bit words, shifts and plain
//! structs, and shares neither types nor code with the model. It caches nothing, so it answers as a cold machine does.
//!
//! Scope: Non-secure, VMSAv8-64, untranslated and non-speculative transactions, direct permissions. Treated as absent:
//! LPAE, D128, S1PI, S2PI, S2PO, AIE, THE, RME, MPAM, ATS translation, ATOS, injected TLB and configuration conflicts.
//! The event queue is taken to be writable; STAG is 0.
//!
//! # Choices where the reference leaves room
//!
//! Stream table and STE
//! 1. L1STD or STE address beyond OAS: F_STE_FETCH with the untruncated address, no read (ref 2.1 recommends it). So
//!    FetchAddr is not masked to OAS, although ref 6.1 says bits above OAS are zero: no other fetch can be beyond OAS.
//!    IPA is not masked either: it can exceed OAS only when LPAE makes IAS > OAS.
//! 2. An L1STD fetch abort is F_STE_FETCH with the L1STD's address (ref 2.1, unconfirmed there).
//! 3. LPAE selected (S2AA64=0, CD.AA64=0) is ILLEGAL whatever TTF[0] says; TTF[0] still raises IAS to 40 (ref 0.1).
//! 4. S1ContextPtr out of range is C_BAD_STE at every version; so is a nested one at or above 2^IAS (ref 2.5 row 15).
//! 5. TxSZ out of range is ILLEGAL on v3.0 too (CU there: illegal or clamped; ref 2.5 row 25, 3.4 row 10).
//! 6. S2SL0_2 exists if IDR5.DS=1 and is looked at for the 4K granule only. With S2DS=0 the value 1 is reserved, hence
//!    ILLEGAL (ref 5.3 lists 1:00 as "S2DS only"). For 16K and 64K, ref 5.3 gives SL0 alone: S2SL0_2 is ignored.
//! 7. S2DS has no effect with the 64K granule; S2DS and CD.DS read as 0 if IDR5.DS=0.
//! 8. A start level not permitted for OAS (ref 5.3.4) is C_BAD_STE (ref marks it unconfirmed). 4K level 3 needs STT only.
//! 9. A field whose feature is absent reads as 0: STRW (Hyp=0 or S1P=0), S2FWB, S2HAFT, HADx, E0PDx, EPAN, CD.HAFT, EATS.
//!    EATS legality is checked if IDR0.ATS=1, including row 8b (EATS=3, S2S=1, Config=11x; the field text says illegal,
//!    the validity function does not).
//! 10. GBPA obeys IDR1.ATTR_TYPES_OVR and ATTR_PERMS_OVR like the STE (ref 2.2 says it of the STE only).
//!
//! Context descriptors
//! 11. L2Ptr beyond OAS (IAS when nested) is C_BAD_SUBSTREAMID on v3.0 too. The check uses L2Ptr[55:12] as it stands,
//!     before S1Fmt=2 ignores bits 15:12.
//! 12. SubstreamID in C_BAD_SUBSTREAMID is the transaction's, 0 without one; SSV (bit 11) is always 0.
//! 13. The PS fields and OAS: the reserved code 7 means 56 and is then capped by OAS; VMSAv8-64 output is capped at 52.
//!
//! Walk
//! 14. "Output address beyond PS" for a leaf looks at the whole output address, input bits included. It matters only where
//!     a block is larger than the PS space (4K level 0 or 16K level 1 blocks with DS and a small PS field).
//! 15. "64K level-1 block only if PA size >= 52" means the implemented size, OAS (edge case 89), not the PS field.
//! 16. 64K descriptor bits [15:12] are always address bits [51:48]; below a 52-bit PS they give F_ADDR_SIZE, as recommended.
//! 17. 64-byte alignment of a small start table applies if min(PS, OAS) = 52 and the granule is 64K or DS is 1.
//! 18. A CAS mismatch restarts that stage's walk, at most [`MAX_RESTARTS`] times; the next one is F_WALK_EABT at the
//!     contested descriptor. Memory does not change by itself in tests, so it never happens there.
//! 19. Before a stage-1 descriptor is updated under nesting, its IPA goes through a whole second stage-2 walk, as a data
//!     write of class TT. `reads` therefore shows the stage-2 descriptors of that page twice.
//! 20. An aborted update of a stage-1 descriptor is F_WALK_EABT S2=0 CLASS=TT with the PA of the descriptor; of a stage-2
//!     descriptor S2=1 with the CLASS of the access that needed it.
//! 21. HAFT sets the AF of a Table descriptor when the walk goes through it, before the next level is fetched; it stays set
//!     when a deeper level then faults. The update needs stage-2 write permission like every other.
//! 22. AF and dirty updates of stage 1 happen before stage 2 of the final IPA and stay when that stage faults (ref 5.8).
//!     There is no update of a stage whose own permission check failed.
//! 23. HA=1 with AFFD=1: the update wins (ref 5.8 names AFFD under HA=0 only).
//!
//! Permissions and special classes
//! 24. DRE and DCP do not show in the answer: they choose which operation goes out, and [`Reply`] has no operation.
//!     NoWriteDcp with DCP=0 and DestructiveHint with DRE=0 follow the last row of ref 4.4 as if the bit were 1.
//! 25. "R or X like a read" means R for Data, X for Instruction. Clean, DestructiveRead, Invalidate and DestructiveHint
//!     count as reads for INSTCFG and RnW; WriteDcp and NoWriteDcp count as writes (always Data).
//! 26. A hint (NoWriteDcp, DestructiveHint) is dropped silently by every cause that would stop another transaction,
//!     configuration errors and external aborts included: never an event, never an abort ("never a fault").
//! 27. "Any R/W/X" for NoWriteDcp is asked of each stage on its own; writable-clean counts as W; AF is updated, dirty never.
//! 28. An atomic lacking only R gives RnW=0 on v3.0 (ref 4.4 gives 1 for v3.1+ and nothing for v3.0).
//!
//! Attributes
//! 29. MTCFG: a level that was cacheable keeps its hints, a level that becomes cacheable gets RA, WA, non-transient.
//!     Inner and outer are treated apart. SHCFG and ALLOCCFG apply after MTCFG, and only if the type is then cacheable:
//!     ALLOCCFG per level, SHCFG if any level is.
//! 30. The combination of MAIR hints with cacheable input (ref 4.6, "S1 only") is done under nesting too: "from stage 1"
//!     is read as "the stage-1 result".
//! 31. FWB ignores descriptor bit 5, which gives 1110 and 1111 their MTEPERM meaning; 10xx and 110x (reserved with
//!     MTEPERM) act as their low three bits. 4 without FWB is iWB-oWB with MTEPERM, Device-nGnRnE without.
//! 32. The shareability of Device and Non-cacheable inputs and stage-1 results is kept until the final rule (ref:
//!     "normalise: no"). Incoming SH=1 acts as NSH.
//! 33. v3.4: the outgoing transaction is Data, Privileged, in every case that lets it pass, bypass included.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "fields are cut out of wider words; walk levels are small and run from -1"
)]

mod attr;
mod cd;
mod ste;
mod walk;

use cd::Cd;
use ste::Ste;

/// How often one stage's walk starts again after a compare-and-swap mismatch.
const MAX_RESTARTS: u32 = 8;

/// The ID registers the answer depends on (IHI 0070 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) idr0: u32,
    pub(crate) idr1: u32,
    pub(crate) idr3: u32,
    pub(crate) idr5: u32,
    pub(crate) aidr: u32,
}

/// The programmed registers the answer depends on (IHI 0070 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Regs {
    pub(crate) cr0: u32,
    /// Attributes of the SMMU's own accesses: nothing in the answer depends on them.
    pub(crate) cr1: u32,
    pub(crate) cr2: u32,
    pub(crate) gbpa: u32,
    pub(crate) strtab_base: u64,
    pub(crate) strtab_base_cfg: u32,
}

/// What the transaction does (IHI 0070 §3.22 for the classes after `Atomic`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Atomic,
    /// Read with clean and invalidate, and the cleaning cache maintenance operations.
    Clean,
    DestructiveRead,
    /// The Invalidate cache maintenance operation.
    Invalidate,
    /// A write with a directed cache prefetch hint.
    WriteDcp,
    /// A directed cache prefetch hint without a write.
    NoWriteDcp,
    DestructiveHint,
}

/// Cacheability of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    Nc,
    Wt,
    Wb,
}

/// One level of a Normal memory type: policy, read-allocate, write-allocate, transient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cache {
    pub(crate) policy: Policy,
    pub(crate) ra: bool,
    pub(crate) wa: bool,
    pub(crate) tr: bool,
}

/// A memory type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// 0 nGnRnE, 1 nGnRE, 2 nGRE, 3 GRE.
    Device(u8),
    Normal {
        inner: Cache,
        outer: Cache,
    },
}

/// Memory type and shareability (0 NSH, 2 OSH, 3 ISH).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attrs {
    pub(crate) ty: Type,
    pub(crate) sh: u8,
}

/// One incoming transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tx {
    pub(crate) sid: u32,
    pub(crate) ssid: Option<u32>,
    pub(crate) addr: u64,
    pub(crate) kind: Kind,
    pub(crate) instruction: bool,
    pub(crate) privileged: bool,
    pub(crate) attrs: Attrs,
}

/// Physical memory as little-endian 64-bit words at 8-byte aligned addresses; `None` is an external abort.
pub(crate) trait Mem {
    fn read(&mut self, pa: u64) -> Option<u64>;
    /// Stores `new` if the word is `old`; says whether it did.
    fn cas(&mut self, pa: u64, old: u64, new: u64) -> Option<bool>;
}

/// What the transaction's source sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Done {
        pa: u64,
        attrs: Attrs,
        instruction: bool,
        privileged: bool,
    },
    Abort,
    RazWi,
    Stall,
    /// A hint that was dropped silently.
    NoOp,
}

/// The oracle's whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// The event record, if the architecture records one.
    pub(crate) event: Option<[u64; 4]>,
    /// Every structure or descriptor read, in order: 'L' L1STD, 'S' STE, 'l' L1CD, 'C' CD, '1' and '2' descriptors.
    pub(crate) reads: Vec<(char, u64)>,
    /// Addresses of the descriptors changed by hardware update, in order.
    pub(crate) writes: Vec<u64>,
}

/// Translates one transaction (ref 4.2).
pub(crate) fn translate(ids: &Ids, regs: &Regs, mem: &mut dyn Mem, tx: &Tx) -> Answer {
    let mut machine = Machine {
        ids,
        regs,
        mem,
        tx,
        access: Access {
            instruction: tx.instruction && reads(tx.kind),
            privileged: tx.privileged,
        },
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let (reply, event) = match machine.run() {
        Ok((pa, attrs)) => {
            let v3_4 = ids.minor() >= 4;
            let Access {
                instruction,
                privileged,
            } = machine.access;
            let reply = Reply::Done {
                pa,
                attrs: attr::finish(attrs),
                instruction: instruction && !v3_4,
                privileged: privileged || v3_4,
            };
            (reply, None)
        }
        Err(_) if is_hint(tx.kind) => (Reply::NoOp, None),
        Err(stop) => (stop.reply, stop.event),
    };
    Answer {
        reply,
        event,
        reads: machine.reads,
        writes: machine.writes,
    }
}

/// Bits `hi..=lo` of a word.
fn bits(word: u64, hi: u32, lo: u32) -> u64 {
    (word >> lo) & (u64::MAX >> (63 - (hi - lo)))
}

/// Bits `hi..=lo` of a 64-byte structure, structure-absolute; a field never crosses a word.
fn field(words: &[u64; 8], hi: u32, lo: u32) -> u64 {
    bits(words[(lo / 64) as usize], hi % 64, lo % 64)
}

/// One bit of a 64-byte structure, structure-absolute.
fn flag(words: &[u64; 8], bit: u32) -> bool {
    field(words, bit, bit) == 1
}

/// `word` with its low `n` bits cleared.
fn align(word: u64, n: u32) -> u64 {
    if n >= 64 { 0 } else { word >> n << n }
}

/// Whether `address` needs more than `size` bits.
fn beyond(address: u64, size: u32) -> bool {
    size < 64 && address >> size != 0
}

/// The size in bits that an OAS, IPS or S2PS code stands for.
fn size_of(code: u64) -> u32 {
    match code {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        5 => 48,
        6 => 52,
        _ => 56,
    }
}

impl Ids {
    fn idr0(&self, hi: u32, lo: u32) -> u64 {
        bits(u64::from(self.idr0), hi, lo)
    }
    fn idr1(&self, hi: u32, lo: u32) -> u64 {
        bits(u64::from(self.idr1), hi, lo)
    }
    fn idr3(&self, bit: u32) -> bool {
        bits(u64::from(self.idr3), bit, bit) == 1
    }
    fn idr5(&self, hi: u32, lo: u32) -> u64 {
        bits(u64::from(self.idr5), hi, lo)
    }
    fn minor(&self) -> u64 {
        bits(u64::from(self.aidr), 3, 0)
    }
    fn s1p(&self) -> bool {
        self.idr0(1, 1) == 1
    }
    fn s2p(&self) -> bool {
        self.idr0(0, 0) == 1
    }
    fn httu(&self) -> u64 {
        self.idr0(7, 6)
    }
    fn stall_model(&self) -> u64 {
        self.idr0(25, 24)
    }
    fn ttf64(&self) -> bool {
        self.idr0(3, 3) == 1
    }
    fn ssidsize(&self) -> u64 {
        self.idr1(10, 6)
    }
    fn ds(&self) -> bool {
        self.idr5(7, 7) == 1
    }
    fn stt(&self) -> bool {
        self.idr3(9)
    }
    fn oas(&self) -> u32 {
        size_of(self.idr5(2, 0))
    }
    fn ias(&self) -> u32 {
        let lpae = if self.idr0(2, 2) == 1 { 40 } else { 0 };
        let long = if self.ttf64() { self.oas() } else { 0 };
        lpae.max(long)
    }
    /// The VMSAv8-64 output size that a PS code gives on this part.
    fn output_size(&self, code: u64) -> u32 {
        size_of(code).min(self.oas()).min(52)
    }
    /// Whether a granule of 2^`g` bytes is implemented.
    fn granule(&self, g: u32) -> bool {
        match g {
            12 => self.idr5(4, 4) == 1,
            14 => self.idr5(5, 5) == 1,
            _ => self.idr5(6, 6) == 1,
        }
    }
    /// Whether the descriptor byte order is one the part cannot do.
    fn endian_illegal(&self, big: bool) -> bool {
        match self.idr0(22, 21) {
            2 => big,
            3 => !big,
            _ => false,
        }
    }
}

/// Whether the class counts as a read (event RnW=1, can be an instruction fetch).
fn reads(kind: Kind) -> bool {
    match kind {
        Kind::Read
        | Kind::Clean
        | Kind::DestructiveRead
        | Kind::Invalidate
        | Kind::DestructiveHint => true,
        Kind::Write | Kind::Atomic | Kind::WriteDcp | Kind::NoWriteDcp => false,
    }
}

fn is_hint(kind: Kind) -> bool {
    matches!(kind, Kind::NoWriteDcp | Kind::DestructiveHint)
}

/// InD and PnU of the transaction, after INSTCFG and PRIVCFG once the STE is known.
#[derive(Clone, Copy)]
struct Access {
    instruction: bool,
    privileged: bool,
}

/// Why a transaction did not pass.
struct Stop {
    reply: Reply,
    event: Option<[u64; 4]>,
}

impl Stop {
    /// An abort nobody is told about.
    fn silent() -> Self {
        Self {
            reply: Reply::Abort,
            event: None,
        }
    }
    /// An abort that is always recorded.
    fn recorded(event: [u64; 4]) -> Self {
        Self {
            reply: Reply::Abort,
            event: Some(event),
        }
    }
}

/// CLASS of an event (ref 6.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Cd,
    Tt,
    In,
}

/// Which stage's tables an event is about, and for stage 2 the IPA.
#[derive(Clone, Copy)]
enum Stage {
    One,
    Two { ipa: u64 },
}

const C_BAD_STREAMID: u64 = 0x02;
const F_STE_FETCH: u64 = 0x03;
const C_BAD_STE: u64 = 0x04;
const F_STREAM_DISABLED: u64 = 0x06;
const C_BAD_SUBSTREAMID: u64 = 0x08;
const F_CD_FETCH: u64 = 0x09;
const C_BAD_CD: u64 = 0x0a;
const F_WALK_EABT: u64 = 0x0b;
const F_TRANSLATION: u64 = 0x10;
const F_ADDR_SIZE: u64 = 0x11;
const F_ACCESS: u64 = 0x12;
const F_PERMISSION: u64 = 0x13;

struct Machine<'a> {
    ids: &'a Ids,
    regs: &'a Regs,
    mem: &'a mut dyn Mem,
    tx: &'a Tx,
    access: Access,
    reads: Vec<(char, u64)>,
    writes: Vec<u64>,
}

impl Machine<'_> {
    /// The step list of ref 4.2: output address and attributes, or why not.
    fn run(&mut self) -> Result<(u64, Attrs), Stop> {
        if self.regs.cr0 & 1 == 0 {
            return self.disabled();
        }
        let ste = self.find_ste()?;
        if ste.config < 4 {
            return Err(Stop::silent());
        }
        let input = attr::over(
            self.tx.attrs,
            attr::Override {
                mtcfg: ste.mtcfg,
                memattr: ste.memattr,
                shcfg: ste.shcfg,
                alloccfg: ste.alloccfg,
            },
        );
        self.override_access(ste.instcfg, ste.privcfg);

        let Some(index) = self.pick_cd(&ste)? else {
            return self.stage1_bypassed(&ste, input);
        };
        let cd = self.find_cd(&ste, index)?;
        let first = self.stage1(&ste, &cd, input)?;
        if !ste.s2 {
            return Ok(first);
        }
        self.stage2_of_transaction(&ste, first)
    }

    /// SMMUEN=0 (ref 1.4, 4.2 step 1).
    fn disabled(&mut self) -> Result<(u64, Attrs), Stop> {
        let gbpa = |hi, lo| bits(u64::from(self.regs.gbpa), hi, lo);
        if gbpa(20, 20) == 1 || beyond(self.tx.addr, self.ids.oas()) {
            return Err(Stop::silent());
        }
        let mut over = attr::Override::INCOMING;
        if self.ids.idr1(27, 27) == 1 {
            over = attr::Override {
                mtcfg: gbpa(4, 4) == 1,
                memattr: gbpa(3, 0),
                shcfg: gbpa(13, 12),
                alloccfg: gbpa(11, 8),
            };
        }
        let (instcfg, privcfg) = if self.ids.idr1(26, 26) == 1 {
            (gbpa(19, 18), gbpa(17, 16))
        } else {
            (0, 0)
        };
        self.override_access(instcfg, privcfg);
        Ok((self.tx.addr, attr::over(self.tx.attrs, over)))
    }

    /// INSTCFG and PRIVCFG (ref 4.1).
    fn override_access(&mut self, instcfg: u64, privcfg: u64) {
        if reads(self.tx.kind) {
            match instcfg {
                2 => self.access.instruction = false,
                3 => self.access.instruction = true,
                _ => {}
            }
        }
        match privcfg {
            2 => self.access.privileged = false,
            3 => self.access.privileged = true,
            _ => {}
        }
    }

    /// Config=100, Config=110, or S1DSS bypass (ref 4.2 steps 8, 9, 22).
    fn stage1_bypassed(&mut self, ste: &Ste, input: Attrs) -> Result<(u64, Attrs), Stop> {
        let limit = if ste.config == 4 {
            self.ids.oas()
        } else {
            self.ids.ias()
        };
        if beyond(self.tx.addr, limit) {
            let event = self.fault_event(F_ADDR_SIZE, Stage::One, Class::In);
            return Err(Stop::recorded(event));
        }
        if ste.s2 {
            return self.stage2_of_transaction(ste, (self.tx.addr, input));
        }
        Ok((bits(self.tx.addr, self.ids.oas() - 1, 0), input))
    }

    fn stage2_of_transaction(
        &mut self,
        ste: &Ste,
        (ipa, first): (u64, Attrs),
    ) -> Result<(u64, Attrs), Stop> {
        let page = self.stage2(ste, ipa, walk::Purpose::Transaction)?;
        Ok((
            page.pa,
            attr::combine(first, page.memattr, page.sh, ste.s2fwb),
        ))
    }

    /// Reads a 64-byte structure; `None` if any of its words aborts. It is one entry in the log.
    fn read_structure(&mut self, what: char, pa: u64) -> Option<[u64; 8]> {
        self.reads.push((what, pa));
        let mut words = [0; 8];
        for (word, at) in words.iter_mut().zip((pa..).step_by(8)) {
            *word = self.mem.read(at)?;
        }
        Some(words)
    }

    /// Reads one word: a level-1 descriptor of a two-level table, or a translation table descriptor.
    fn read_word(&mut self, what: char, pa: u64) -> Option<u64> {
        self.reads.push((what, pa));
        self.mem.read(pa)
    }

    /// An event with the fields every event of this oracle but two shares: number, SSV, SubstreamID, StreamID.
    fn event(&self, number: u64) -> [u64; 4] {
        let ss = self
            .tx
            .ssid
            .map_or(0, |ssid| 1 << 11 | u64::from(ssid) << 12);
        [number | ss | u64::from(self.tx.sid) << 32, 0, 0, 0]
    }

    /// F_STE_FETCH and F_CD_FETCH.
    fn fetch_event(&self, number: u64, pa: u64) -> [u64; 4] {
        let mut event = self.event(number);
        event[3] = bits(pa, 55, 3) << 3;
        event
    }

    /// F_STREAM_DISABLED and C_BAD_SUBSTREAMID: no SSV, and the SubstreamID in the latter only (ref 6.2).
    fn substream_event(&self, number: u64) -> [u64; 4] {
        let ssid = if number == C_BAD_SUBSTREAMID {
            self.tx.ssid.unwrap_or(0)
        } else {
            0
        };
        [
            number | u64::from(ssid) << 12 | u64::from(self.tx.sid) << 32,
            0,
            0,
            0,
        ]
    }

    /// The four translation-related faults and F_WALK_EABT, without Stall, TTRnW and FetchAddr.
    fn fault_event(&self, number: u64, stage: Stage, class: Class) -> [u64; 4] {
        let mut event = self.event(number);
        let class = match class {
            Class::Cd => 0,
            Class::Tt => 1,
            Class::In => 2,
        };
        event[1] = u64::from(self.access.privileged) << (97 - 64)
            | u64::from(self.access.instruction) << (98 - 64)
            | u64::from(reads(self.tx.kind)) << (99 - 64)
            | class << (104 - 64);
        event[2] = self.tx.addr;
        if let Stage::Two { ipa } = stage {
            event[1] |= 1 << (103 - 64);
            event[3] = bits(ipa, 55, 12) << 12;
        }
        event
    }

    /// F_WALK_EABT: aborts and is recorded whatever A, R and S say (ref 3.5).
    fn walk_abort(&self, stage: Stage, class: Class, pa: u64) -> Stop {
        let mut event = self.fault_event(F_WALK_EABT, stage, class);
        event[3] = bits(pa, 55, 3) << 3;
        Stop::recorded(event)
    }
}

/// A stage-1 fault, answered as CD.A, R and S say (ref 3.5).
fn stage1_fault(cd: &Cd, mut event: [u64; 4]) -> Stop {
    if cd.s {
        event[1] |= STALL;
        return Stop {
            reply: Reply::Stall,
            event: Some(event),
        };
    }
    let reply = if cd.a { Reply::Abort } else { Reply::RazWi };
    Stop {
        reply,
        event: cd.r.then_some(event),
    }
}

/// A stage-2 fault, answered as S2R and S2S say (ref 3.5).
fn stage2_fault(ste: &Ste, mut event: [u64; 4]) -> Stop {
    if ste.s2s {
        event[1] |= STALL;
        return Stop {
            reply: Reply::Stall,
            event: Some(event),
        };
    }
    Stop {
        reply: Reply::Abort,
        event: ste.s2r.then_some(event),
    }
}

/// Stall, bit 95 of a record.
const STALL: u64 = 1 << (95 - 64);
/// RnW, bit 99 of a record.
const RNW: u64 = 1 << (99 - 64);
/// TTRnW, bit 108 of a record.
const TTRNW: u64 = 1 << (108 - 64);

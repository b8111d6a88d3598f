//! What values of fields say, and what fields say together.

use smmu::spec::attrs::{Ps, Tg0, Tg1};
use smmu::spec::cd::Cd;
use smmu::spec::cmd::CmdOp;
use smmu::spec::event::EventId;
use smmu::spec::ste::Ste;

use super::{Decoded, Format, Illegal, Table, empty, layout};

/// The meaning of one field's value; empty for plain numbers and flags.
#[expect(clippy::too_many_lines, reason = "one arm a field")]
pub(super) fn of(structure: &str, field: &str, lsb: u32, value: u64) -> String {
    let pick = |names: &[&str]| {
        names
            .get(value as usize)
            .map_or_else(|| "reserved".to_owned(), |name| (*name).to_owned())
    };
    let cache = [
        "Non-cacheable",
        "write-back, allocate",
        "write-through",
        "write-back, no allocate",
    ];
    let shareability = [
        "Non-shareable",
        "reserved",
        "Outer Shareable",
        "Inner Shareable",
    ];
    let sizes = [
        "32 bits", "36 bits", "40 bits", "42 bits", "44 bits", "48 bits", "52 bits", "56 bits",
    ];
    match (structure, field) {
        ("Ste", "Config") => pick(&[
            "abort, no event",
            "abort, no event",
            "abort, no event",
            "abort, no event",
            "bypass",
            "stage 1 translates",
            "stage 2 translates",
            "stage 1 and stage 2 translate",
        ]),
        ("Ste", "S1Fmt") => pick(&[
            "linear CD table",
            "two-level CD table, 4 KiB leaves",
            "two-level CD table, 64 KiB leaves",
            "linear CD table",
        ]),
        ("Ste", "S1DSS") => pick(&[
            "without substream: terminate",
            "without substream: bypass stage 1",
            "without substream: CD 0",
            "without substream: terminate",
        ]),
        ("Ste", "EATS") => pick(&[
            "ATS off",
            "full ATS",
            "split-stage ATS",
            "full ATS with DPT",
        ]),
        ("Ste", "STRW") => pick(&["EL1", "reserved", "EL2", "reserved"]),
        ("Ste", "S1CDMax") if value != 0 => format!("{} CDs", 1u64 << value.min(63)),
        ("Ste" | "Gbpa", "SHCFG") => pick(&[
            "Non-shareable",
            "use incoming",
            "Outer Shareable",
            "Inner Shareable",
        ]),
        ("Ste" | "Gbpa", "PRIVCFG") => {
            pick(&["use incoming", "use incoming", "unprivileged", "privileged"])
        }
        ("Ste" | "Gbpa", "INSTCFG") => {
            pick(&["use incoming", "use incoming", "data", "instruction"])
        }
        (_, "S2TG" | "TG0") => format!("{:?}", Tg0(value as u8)).replace('K', "") + " KiB granule",
        (_, "TG1") => format!("{:?}", Tg1(value as u8)).replace('K', "") + " KiB granule",
        (_, "S2PS" | "IPS" | "OAS") => pick(&sizes),
        (_, "S2T0SZ" | "T0SZ" | "T1SZ") if value < 64 => format!("{} input bits", 64 - value),
        (_, "S1CIR" | "S1COR" | "IR0" | "OR0" | "IR1" | "OR1" | "S2IR0" | "S2OR0") => pick(&cache),
        (_, "S1CSH" | "SH0" | "SH1" | "S2SH0" | "SH" | "TABLE_SH" | "QUEUE_SH") => {
            pick(&shareability)
        }
        (
            _,
            "S1ContextPtr" | "L2Ptr" | "S2TTB" | "TTB0" | "TTB1" | "VMSPtr" | "ADDR" | "FetchAddr"
            | "IPA" | "OutputAddress" | "NextTableAddress" | "Address" | "MSIAddress",
        ) => {
            let shift = lsb % 64;
            // Addresses lie at their own bit positions, but for the IPA and command operands.
            let shift = if matches!(field, "IPA" | "Address") {
                12
            } else {
                shift
            };
            let shift = if field == "MSIAddress" { 2 } else { shift };
            let shift = if field == "FetchAddr" { 3 } else { shift };
            format!("address {:#x}", value << shift)
        }
        ("L1Std", "Span") => match value {
            0 | 12.. => "invalid: no STEs".into(),
            span => format!("{} STEs", 1u64 << (span - 1)),
        },
        ("Cd", "AA64") => pick(&["VMSAv8-32 LPAE", "VMSAv8-64"]),
        (_, "CLASS") => pick(&[
            "CD: while locating a CD",
            "TT: while locating or reading a stage-1 descriptor",
            "IN: the transaction's own address",
            "reserved",
        ]),
        (_, "RnW" | "TTRnW") => pick(&["write", "read"]),
        (_, "InD") => pick(&["data", "instruction"]),
        (_, "PnU") => pick(&["unprivileged", "privileged"]),
        (_, "Stall") => pick(&["terminated", "stalled, waiting for CMD_RESUME"]),
        ("Event" | "BadAtsTreq" | "PageRequest", "S2") => pick(&["stage 1", "stage 2"]),
        (_, "Opcode") => format!("{:?}", CmdOp(value as u8)),
        (_, "Type") if structure.ends_with("Leaf") || structure.ends_with("Table") => {
            pick(&["invalid", "block", "invalid", "table or page"])
        }
        (_, "Type") => format!("{:?}", EventId(value as u8)),
        ("Sync", "CS") => pick(&["no signal", "interrupt", "event (SEV)", "reserved"]),
        ("StrtabBaseCfg", "FMT") => pick(&["linear", "two-level"]),
        ("Idr0", "TTF") => pick(&["reserved", "LPAE", "AArch64", "LPAE and AArch64"]),
        ("Idr0", "STALL_MODEL") => pick(&[
            "stall and terminate",
            "terminate only",
            "stall forced",
            "reserved",
        ]),
        ("Idr0", "HTTU") => pick(&[
            "none",
            "Access flag",
            "Access flag and dirty state",
            "Access flag, dirty state, table Access flag",
        ]),
        ("Idr0", "TTENDIAN") => pick(&["mixed", "reserved", "little-endian", "big-endian"]),
        ("CmdqCons", "ERR") => pick(&[
            "CERROR_NONE",
            "CERROR_ILL",
            "CERROR_ABT",
            "CERROR_ATC_INV_SYNC",
        ]),
        _ => String::new(),
    }
}

pub(crate) fn size_bits(ps: Ps) -> u32 {
    [32, 36, 40, 42, 44, 48, 52, 56][usize::from(ps.0 & 7)]
}

/// What the fields of an STE say together.
pub(super) fn ste_notes(ste: &Ste, notes: &mut Vec<String>) {
    let config = ste.dw0.config().0;
    if !ste.dw0.v() || config & 0b100 == 0 || config & 0b010 == 0 {
        return;
    }
    let dw2 = ste.dw2;
    let input = 64u32.saturating_sub(dw2.s2t0sz().into());
    let (granule, level) = match (dw2.s2tg(), dw2.s2sl0()) {
        (Tg0::K4, 3) => (12, 3),
        (Tg0::K4, sl0) if ste.dw3.s2sl0_2() => (12, -1 - i32::from(sl0)),
        (Tg0::K4, sl0) => (12, 2 - i32::from(sl0)),
        (Tg0::K16, sl0) => (14, 3 - i32::from(sl0)),
        (Tg0::K64, sl0) => (16, 3 - i32::from(sl0)),
        _ => return,
    };
    let stride = granule - 3;
    let lsb = granule + stride * (3 - level).unsigned_abs();
    let tables = 1u64 << input.saturating_sub(lsb + stride).min(32);
    notes.push(format!(
        "stage 2: {input}-bit IPA, starts at level {level} with {tables} table{}, output {} bits",
        if tables == 1 { "" } else { "s concatenated" },
        size_bits(dw2.s2ps())
    ));
}

/// What the fields of a CD say together.
pub(super) fn cd_notes(cd: &Cd, notes: &mut Vec<String>) {
    let dw0 = cd.dw0;
    if !dw0.v() {
        return;
    }
    let faults = match (dw0.s(), dw0.a(), dw0.r()) {
        (true, _, _) => "stall, always recorded",
        (false, true, true) => "abort, recorded",
        (false, true, false) => "abort, not recorded",
        (false, false, true) => "read as zero and ignore writes, recorded",
        (false, false, false) => "read as zero and ignore writes, not recorded",
    };
    notes.push(format!("translation faults: {faults}"));
    notes.push(match (dw0.ha(), dw0.hd()) {
        (false, _) => "hardware update: off".to_owned(),
        (true, false) => "hardware update: Access flag".to_owned(),
        (true, true) => "hardware update: Access flag and dirty state".to_owned(),
    });
}

const COMMON: [&str; 4] = ["Type", "SSV", "SubstreamID", "StreamID"];

/// Fields an event has beside its type and StreamID (IHI 0070 §7.3); `None` for unknown events.
pub(super) fn event_fields(id: EventId) -> Option<Vec<&'static str>> {
    let extra: &[&str] = match id {
        EventId::F_UUT => &["Reason", "PnU", "InD", "RnW", "InputAddr"],
        EventId::C_BAD_STREAMID | EventId::C_BAD_STE | EventId::C_BAD_CD => &[],
        EventId::F_STREAM_DISABLED => &[],
        EventId::C_BAD_SUBSTREAMID => &[],
        EventId::F_STE_FETCH | EventId::F_CD_FETCH | EventId::F_VMS_FETCH => {
            &["Reason", "GPCF", "FetchAddr"]
        }
        EventId::F_BAD_ATS_TREQ => &["Span", "P", "X", "W", "R", "InputAddr"],
        EventId::F_TRANSL_FORBIDDEN => &["RnW", "InputAddr"],
        EventId::F_WALK_EABT => &[
            "Reason",
            "GPCF",
            "PnU",
            "InD",
            "RnW",
            "S2",
            "CLASS",
            "InputAddr",
            "FetchAddr",
        ],
        EventId::F_TRANSLATION | EventId::F_ADDR_SIZE | EventId::F_ACCESS => &[
            "STAG",
            "Stall",
            "PnU",
            "InD",
            "RnW",
            "NSIPA",
            "S2",
            "CLASS",
            "InputAddr",
            "IPA",
        ],
        EventId::F_PERMISSION => &[
            "STAG",
            "Stall",
            "PnU",
            "InD",
            "RnW",
            "NSIPA",
            "S2",
            "CLASS",
            "TTRnW",
            "InputAddr",
            "IPA",
        ],
        EventId::F_TLB_CONFLICT => &["Reason", "PnU", "InD", "RnW", "S2", "InputAddr", "IPA"],
        EventId::F_CFG_CONFLICT => &["Reason"],
        EventId::E_PAGE_REQUEST => &["uX", "uW", "uR", "pX", "pW", "pR", "Span", "InputAddr"],
        _ => return None,
    };
    let common: &[&str] = match id {
        EventId::F_STREAM_DISABLED | EventId::F_TRANSL_FORBIDDEN => &["Type", "StreamID"],
        EventId::C_BAD_SUBSTREAMID => &["Type", "SubstreamID", "StreamID"],
        _ => &COMMON,
    };
    Some(common.iter().chain(extra).copied().collect())
}

/// An event in a sentence.
pub(super) fn event_note(id: EventId) -> &'static str {
    match id {
        EventId::F_UUT => "unsupported upstream transaction",
        EventId::C_BAD_STREAMID => "StreamID beyond the stream table",
        EventId::F_STE_FETCH => "the STE or L1STD could not be read",
        EventId::C_BAD_STE => "the STE is invalid or illegal",
        EventId::F_BAD_ATS_TREQ => "ATS translation request where none is allowed",
        EventId::F_STREAM_DISABLED => "S1DSS forbids the transaction",
        EventId::F_TRANSL_FORBIDDEN => "ATS translated transaction where none is allowed",
        EventId::C_BAD_SUBSTREAMID => "there is no CD for the SubstreamID",
        EventId::F_CD_FETCH => "the CD or L1CD could not be read",
        EventId::C_BAD_CD => "the CD is invalid or illegal",
        EventId::F_WALK_EABT => "a descriptor could not be read or updated",
        EventId::F_TRANSLATION => "no translation",
        EventId::F_ADDR_SIZE => "an address is too large",
        EventId::F_ACCESS => "the Access flag is clear",
        EventId::F_PERMISSION => "the page forbids the access",
        EventId::F_TLB_CONFLICT => "conflicting TLB entries",
        EventId::F_CFG_CONFLICT => "conflicting cached configuration",
        EventId::E_PAGE_REQUEST => "hint that a page will be needed",
        EventId::F_VMS_FETCH => "the VMS could not be read",
        _ => "",
    }
}

/// A translation table descriptor: what it is at its level, its fields, and why it is invalid.
pub(super) fn descriptor(table: Table, word: u64) -> Decoded {
    let Table {
        stage,
        granule_log2,
        level,
        format,
    } = table;
    let lpa2 = format == Format::Lpa2 && granule_log2 != 16;
    let block_here = match (granule_log2, level) {
        (12, 0) | (14, 1) => lpa2,
        (12, 1 | 2) | (14 | 16, 2) => true,
        // Only with a 52-bit PA, which a word alone does not tell.
        (16, 1) => true,
        _ => false,
    };
    let (what, problem) = match (word & 3, level) {
        (3, 3) => ("page", None),
        (3, _) => ("table", None),
        (1, 3) => ("invalid", Some("0b01 is reserved at level 3")),
        (1, _) if block_here => ("block", None),
        (1, _) => ("invalid", Some("no blocks at this level with this granule")),
        _ => ("invalid", Some("bit 0 is clear")),
    };
    let title = format!("stage {stage} level {level} {what}");
    let words = [word];
    let structure = match (stage, what) {
        (_, "invalid") => None,
        (1, "table") => Some("Stage1Table"),
        (_, "table") => Some("Stage2Table"),
        (1, _) => Some("Stage1Leaf"),
        _ => Some("Stage2Leaf"),
    };
    let mut decoded = structure.and_then(layout).map_or_else(
        || empty(&title, &words),
        |layout| super::decoded(&title, layout, &words),
    );
    // Address bits beyond bit 47 and software bits are no business of the 48-bit layout.
    decoded.notes.clear();
    decoded.words = vec![format!("{word:#018x}")];
    if structure.is_some() {
        let stride = u32::from(granule_log2) - 3;
        let below = u32::from(granule_log2) + stride * (3 - i32::from(level)).unsigned_abs();
        let lsb = if what == "table" {
            u32::from(granule_log2)
        } else {
            below
        };
        let top = if lpa2 { 50 } else { 48 };
        let low = word & ((1 << top) - 1) & (u64::MAX << lsb);
        let high = match (granule_log2, lpa2) {
            (16, _) => (word >> 12 & 0xf) << 48,
            (_, true) => (word >> 8 & 3) << 50,
            _ => 0,
        };
        let target = if what == "table" {
            "next table"
        } else {
            "output"
        };
        decoded
            .notes
            .push(format!("{target} address {:#x}", low | high));
        decoded.fields.retain(|f| !(lpa2 && f.name == "SH"));
    }
    if let Some(problem) = problem {
        decoded.illegal.push(Illegal {
            field: "Type".into(),
            reason: format!("F_TRANSLATION: {problem}"),
            depends_on: "—".into(),
        });
    }
    decoded
}

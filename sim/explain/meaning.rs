//! What a value read means, in one line.

use smmu::attr::{MemoryType, NoTagAccess, Shareability, Stage2Type};
use smmu::observe::Structure;
use smmu::spec::cd::Cd;
use smmu::spec::cdtab::L1Cd;
use smmu::spec::desc::{Stage1Leaf, Stage1Table, Stage2Leaf};
use smmu::spec::ste::Ste;
use smmu::spec::strtab::L1Std;

use super::Explained;
use super::record::{Recorded, Row};
use crate::decode::meaning::size_bits;

/// The meaning of what `row` read or did.
pub(super) fn meaning(row: &Row, explained: &Explained) -> String {
    match &row.recorded {
        Recorded::Aborted => "memory aborted the access".into(),
        Recorded::Update { new, done } => {
            let result = if *done {
                "updated to"
            } else {
                "changed meanwhile, not updated to"
            };
            format!("{result} {new:#018x}")
        }
        Recorded::Structure(words) => match row.structure {
            Structure::Cd => cd(&Cd::from_words(*words)),
            _ => ste(&Ste::from_words(*words)),
        },
        Recorded::Word(word) => match row.structure {
            Structure::L1Std => l1std(L1Std::from_words([*word])),
            Structure::L1Cd => l1cd(L1Cd::from_words([*word])),
            Structure::Stage1(level) => stage1(*word, level, explained),
            Structure::Stage2(level) => stage2(*word, level, explained),
            Structure::Ste | Structure::Cd => String::new(),
        },
    }
}

fn granule(tg: u8, encodings: [&'static str; 4]) -> &'static str {
    encodings[usize::from(tg & 3)]
}

const TG0: [&str; 4] = ["4K", "64K", "16K", "reserved"];
const TG1: [&str; 4] = ["reserved", "16K", "4K", "64K"];

fn ste(ste: &Ste) -> String {
    let (dw0, dw2) = (ste.dw0, ste.dw2);
    if !dw0.v() {
        return "V=0: invalid".into();
    }
    let config = dw0.config().0;
    let mut parts = vec![match config {
        0..4 => "abort".to_owned(),
        4 => "bypass".to_owned(),
        5 => "stage 1".to_owned(),
        6 => "stage 2".to_owned(),
        _ => "stage 1 and stage 2".to_owned(),
    }];
    if matches!(config, 5 | 7) {
        parts.push(format!("S1ContextPtr={:#x}", dw0.s1contextptr() << 6));
        if dw0.s1cdmax() != 0 {
            parts.push(format!(
                "S1CDMax={} S1DSS={}",
                dw0.s1cdmax(),
                ste.dw1.s1dss()
            ));
        }
    }
    if matches!(config, 6 | 7) {
        parts.push(format!(
            "S2TTB={:#x} S2T0SZ={} S2SL0={} S2TG={} VMID={}",
            ste.dw3.s2ttb() << 4,
            dw2.s2t0sz(),
            dw2.s2sl0(),
            granule(dw2.s2tg().0, TG0),
            dw2.s2vmid()
        ));
    }
    parts.join(", ")
}

fn cd(cd: &Cd) -> String {
    let dw0 = cd.dw0;
    if !dw0.v() {
        return "V=0: invalid".into();
    }
    let mut parts = Vec::new();
    if dw0.epd0() {
        parts.push("EPD0".to_owned());
    } else {
        let (ttb, size, tg) = (cd.dw1.ttb0() << 4, dw0.t0sz(), granule(dw0.tg0().0, TG0));
        parts.push(format!("TTB0={ttb:#x} T0SZ={size} TG0={tg}"));
    }
    if !dw0.epd1() {
        let (ttb, size, tg) = (cd.dw2.ttb1() << 4, dw0.t1sz(), granule(dw0.tg1().0, TG1));
        parts.push(format!("TTB1={ttb:#x} T1SZ={size} TG1={tg}"));
    }
    let ips = size_bits(dw0.ips());
    parts.push(format!("ASID={} IPS={ips}-bit", dw0.asid()));
    parts.push(format!(
        "A{}R{}S{}",
        u8::from(dw0.a()),
        u8::from(dw0.r()),
        u8::from(dw0.s())
    ));
    parts.join(", ")
}

fn l1std(l1std: L1Std) -> String {
    match l1std.span() {
        0 | 12.. => format!("Span={}: no STEs", l1std.span()),
        span => format!("{} STEs at {:#x}", 1u32 << (span - 1), l1std.l2ptr() << 6),
    }
}

fn l1cd(l1cd: L1Cd) -> String {
    if l1cd.v() {
        format!("CDs at {:#x}", l1cd.l2ptr() << 12)
    } else {
        "V=0: invalid".into()
    }
}

/// The address in a descriptor, where its table's granule and size put it.
fn address(word: u64, granule: &str, wide: bool) -> u64 {
    match (granule, wide) {
        ("64K", _) => word & 0xffff_ffff_0000 | (word >> 12 & 0xf) << 48,
        ("16K", true) => word & 0x3_ffff_ffff_c000 | (word >> 8 & 3) << 50,
        ("16K", false) => word & 0xffff_ffff_c000,
        (_, true) => word & 0x3_ffff_ffff_f000 | (word >> 8 & 3) << 50,
        (_, false) => word & 0xffff_ffff_f000,
    }
}

fn kind(word: u64, level: i8) -> &'static str {
    match (word & 3, level) {
        (3, 3) => "page",
        (3, _) => "table",
        (1, 3) => "reserved (0b01 at level 3)",
        (1, _) => "block",
        _ => "invalid",
    }
}

fn stage1(word: u64, level: i8, explained: &Explained) -> String {
    let kind = kind(word, level);
    let cd = explained
        .recording
        .cd()
        .map(|words| Cd::from_words(*words))
        .unwrap_or_default();
    let upper = explained.transaction.address.get() >> 55 & 1 != 0;
    let granule = if upper {
        granule(cd.dw0.tg1().0, TG1)
    } else {
        granule(cd.dw0.tg0().0, TG0)
    };
    let to = address(word, granule, cd.dw2.ds());
    match kind {
        "table" => {
            let table = Stage1Table::from_bits(word);
            let mut text = format!("table at {to:#x}");
            for (set, name) in [
                (table.aptable() & 1 != 0, "APTable: no unprivileged access"),
                (table.aptable() & 2 != 0, "APTable: read-only"),
                (table.uxntable(), "UXNTable"),
                (table.pxntable(), "PXNTable"),
            ] {
                if set {
                    text.push_str(", ");
                    text.push_str(name);
                }
            }
            text
        }
        "page" | "block" => {
            let leaf = Stage1Leaf::from_bits(word);
            let access = match leaf.ap() {
                0 => "privileged read/write",
                1 => "read/write",
                2 => "privileged read-only",
                _ => "read-only",
            };
            let mair = u64::from(cd.dw3.mair1()) << 32 | u64::from(cd.dw3.mair0());
            let index = leaf.attrindx();
            let memory = MemoryType::from_mair((mair >> (8 * u64::from(index))) as u8);
            let mut text = format!(
                "{kind} {to:#x}, {access}, attr {index}: {}, {}",
                super::outcome::memory(memory),
                super::outcome::shareability(Shareability::from_bits(u64::from(leaf.sh().0)))
            );
            push_flags(&mut text, leaf.af(), leaf.dbm(), leaf.contiguous());
            for (set, name) in [(leaf.uxn(), "UXN"), (leaf.pxn(), "PXN"), (leaf.ng(), "nG")] {
                if set {
                    text.push_str(", ");
                    text.push_str(name);
                }
            }
            text
        }
        other => other.into(),
    }
}

fn stage2(word: u64, level: i8, explained: &Explained) -> String {
    let kind = kind(word, level);
    let ste = explained
        .recording
        .ste()
        .map(|words| Ste::from_words(*words))
        .unwrap_or_default();
    let granule = granule(ste.dw2.s2tg().0, TG0);
    let to = address(word, granule, ste.dw3.s2ds());
    match kind {
        "table" => format!("table at {to:#x}"),
        "page" | "block" => {
            let leaf = Stage2Leaf::from_bits(word);
            let access =
                ["no access", "read-only", "write-only", "read/write"][usize::from(leaf.s2ap())];
            let memory = if ste.dw1.s2fwb() {
                format!("FWB {:#06b}", leaf.memattr())
            } else {
                match Stage2Type::from_memattr(leaf.memattr().into(), NoTagAccess::Absent) {
                    Stage2Type::Device(device) => {
                        format!("Device-{}", super::outcome::device(device))
                    }
                    Stage2Type::Normal { inner, outer } => format!(
                        "Normal {}/{}",
                        super::outcome::policy(inner),
                        super::outcome::policy(outer)
                    ),
                }
            };
            let mut text = format!(
                "{kind} {to:#x}, {access}, {memory}, {}",
                super::outcome::shareability(Shareability::from_bits(u64::from(leaf.sh().0)))
            );
            push_flags(&mut text, leaf.af(), leaf.dbm(), leaf.contiguous());
            if leaf.xn() != 0 {
                text.push_str(", XN=");
                text.push_str(["00", "01", "10", "11"][usize::from(leaf.xn())]);
            }
            text
        }
        other => other.into(),
    }
}

fn push_flags(text: &mut String, accessed: bool, dbm: bool, contiguous: bool) {
    for (set, name) in [
        (!accessed, "AF=0"),
        (dbm, "DBM"),
        (contiguous, "contiguous"),
    ] {
        if set {
            text.push_str(", ");
            text.push_str(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_block_bit_pattern_at_level_3_is_reserved() {
        assert_eq!(kind(1, 3), "reserved (0b01 at level 3)");
        assert_eq!(kind(1, 2), "block");
        assert_eq!(kind(3, 3), "page");
        assert_eq!(kind(3, 0), "table");
        assert_eq!(kind(2, 0), "invalid");
    }
}

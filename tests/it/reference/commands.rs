//! The command page: opcodes, fields, and where a command is illegal, found by asking the decoder.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use smmu::command::{Command, IllegalCommand};
use smmu::config::{SmmuConfig, StallModel};
use smmu::spec::Layout;
use smmu::spec::cmd::{CmdOp, layout_of};

use super::{is_made, positions};

/// What each command of a Non-secure queue is for.
const PURPOSES: &[(CmdOp, &str)] = &[
    (
        CmdOp::PREFETCH_CONFIG,
        "hint: configuration of a stream will be needed; nothing is fetched here",
    ),
    (
        CmdOp::PREFETCH_ADDR,
        "hint: translations will be needed; nothing is fetched here",
    ),
    (CmdOp::CFGI_STE, "forget the STE of a stream, and its CDs"),
    (
        CmdOp::CFGI_STE_RANGE,
        "the same for 2^(Range+1) streams; Range=31 is CMD_CFGI_ALL",
    ),
    (CmdOp::CFGI_CD, "forget one CD"),
    (CmdOp::CFGI_CD_ALL, "forget all CDs of a stream"),
    (CmdOp::TLBI_NH_ALL, "EL1, stage 1: all of a VMID"),
    (CmdOp::TLBI_NH_ASID, "EL1, stage 1: an ASID"),
    (CmdOp::TLBI_NH_VA, "EL1, stage 1: an address of an ASID"),
    (CmdOp::TLBI_NH_VAA, "EL1, stage 1: an address of every ASID"),
    (CmdOp::TLBI_EL2_ALL, "EL2: all"),
    (CmdOp::TLBI_EL2_ASID, "EL2-E2H: an ASID"),
    (CmdOp::TLBI_EL2_VA, "EL2: an address of an ASID"),
    (CmdOp::TLBI_EL2_VAA, "EL2-E2H: an address of every ASID"),
    (CmdOp::TLBI_S12_VMALL, "both stages: all of a VMID"),
    (
        CmdOp::TLBI_S2_IPA,
        "stage 2: an IPA of a VMID; entries of both stages together stay",
    ),
    (
        CmdOp::TLBI_NSNH_ALL,
        "everything Non-secure that is not EL2",
    ),
    (CmdOp::ATC_INV, "ask endpoints to forget translations"),
    (CmdOp::PRI_RESP, "answer a page request group"),
    (CmdOp::RESUME, "retry or end a stalled transaction"),
    (
        CmdOp::STALL_TERM,
        "abort all stalled transactions of a stream",
    ),
    (CmdOp::SYNC, "complete when all before it are"),
];

/// A feature taken from a part.
type Without = fn(&mut SmmuConfig);

const FEATURES: &[Without] = &[
    |part| part.s1p = false,
    |part| part.s2p = false,
    |part| part.hyp = false,
    |part| part.ats = false,
    |part| part.pri = false,
    |part| part.stall_model = StallModel::TerminateOnly,
];

fn opcodes() -> impl Iterator<Item = CmdOp> {
    (0..=u8::MAX).map(CmdOp).filter(|op| op.name().is_some())
}

fn plain(op: CmdOp) -> [u64; 2] {
    [op.0.into(), 0]
}

/// The ID register field in an error: what stands in parentheses at its end.
fn decided_by(illegal: IllegalCommand) -> String {
    let text = illegal.to_string();
    let field = text.rsplit_once('(').map(|(_, rest)| rest);
    field
        .unwrap_or_else(|| panic!("{text}"))
        .trim_end_matches(')')
        .to_owned()
}

/// Errors that a value of one field alone makes, on a part with everything.
fn value_errors(op: CmdOp, layout: &Layout) -> BTreeSet<String> {
    let part = SmmuConfig::full();
    let mut errors = BTreeSet::new();
    for field in layout.fields.iter().filter(|field| field.name != "Opcode") {
        for value in 0..1u64 << (field.msb - field.lsb + 1).min(8) {
            let mut words = plain(op);
            words[(field.lsb / 64) as usize] |= value << (field.lsb % 64);
            if let Err(illegal) = Command::decode(words, &part) {
                errors.insert(illegal.to_string());
            }
        }
    }
    errors
}

#[test]
fn the_command_page_has_every_command_with_its_legality() {
    let mut table = String::from(
        "| opcode | command | what | fields | illegal where | illegal if |\n|---|---|---|---|---|---|\n",
    );
    let mut others = String::from("| opcode | command | why |\n|---|---|---|\n");
    let mut legal = Vec::new();
    for op in opcodes() {
        let name = op.name().unwrap();
        if let Err(illegal) = Command::decode(plain(op), &SmmuConfig::full()) {
            writeln!(others, "| {:#04x} | CMD_{name} | {illegal} |", op.0).unwrap();
            continue;
        }
        legal.push(op);
        let layout = layout_of(op).unwrap();
        let places: Vec<String> = FEATURES
            .iter()
            .filter_map(|without| {
                let mut part = SmmuConfig::full();
                without(&mut part);
                Command::decode(plain(op), &part).err().map(decided_by)
            })
            .collect();
        let values: Vec<String> = value_errors(op, layout).into_iter().collect();
        let (_, purpose) = PURPOSES.iter().find(|(known, _)| *known == op).unwrap();
        writeln!(
            table,
            "| {:#04x} | CMD_{name} | {purpose} | {} | {} | {} |",
            op.0,
            positions(layout)
                .replace("Opcode [7:0], ", "")
                .replace("Opcode [7:0]", ""),
            places.join(", "),
            values.join("; ")
        )
        .unwrap();
    }
    let described: Vec<CmdOp> = PURPOSES.iter().map(|(op, _)| *op).collect();
    assert_eq!(legal, described);
    is_made("reference/commands.md", "commands", &table);
    is_made("reference/commands.md", "others", &others);
}

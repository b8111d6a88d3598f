//! Every rule an STE or CD can break: broken alone, beside the nearest structure that is legal.
//!
//! A rule that an ID register decides is shown on two parts that differ in that field and nothing
//! else, with the same words in memory. Where fields are small, all their values are tried.
//! Conditions, tables and bit positions are typed from the reference (ILL-STE, ILL-CD, TxSZ and
//! start-level tables), not from the model.

use std::collections::BTreeSet;

use smmu::config::{SmmuConfig, StallModel, Version};
use smmu::fault::{Cause, IllegalCd, IllegalSte};
use smmu::regfile::Width;
use smmu::transaction::{Outcome, Response};
use smmu::{Smmu, Transaction};

use crate::support::bench::{
    Bench, C_BAD_CD, C_BAD_STE, CD, F_ADDR_SIZE, F_TRANSLATION, IPA, SID, VA, Words, event, number,
    read, substream,
};

/// `(msb, lsb, value)` of a field of a structure.
type Field = (u32, u32, u64);

const CONFIG: (u32, u32) = (3, 1);
const S1_ONLY: u64 = 0b101;
const S2_ONLY: u64 = 0b110;
const NESTED: u64 = 0b111;

/// ID register fields that a rule reads: offset of the register, and where the field is in it.
const ID_FIELDS: &[(&str, u32, u32, u32)] = &[
    ("IDR0.S2P", 0x00, 0, 0),
    ("IDR0.S1P", 0x00, 1, 1),
    ("IDR0.TTF", 0x00, 3, 2),
    ("IDR0.HTTU", 0x00, 7, 6),
    ("IDR0.Hyp", 0x00, 9, 9),
    ("IDR0.ATS", 0x00, 10, 10),
    ("IDR0.NS1ATS", 0x00, 11, 11),
    ("IDR0.ASID16", 0x00, 12, 12),
    ("IDR0.VMID16", 0x00, 18, 18),
    ("IDR0.CD2L", 0x00, 19, 19),
    ("IDR0.TTENDIAN", 0x00, 22, 21),
    ("IDR0.STALL_MODEL", 0x00, 25, 24),
    ("IDR0.TERM_MODEL", 0x00, 26, 26),
    ("IDR1.SSIDSIZE", 0x04, 10, 6),
    ("IDR3.STT", 0x0c, 9, 9),
    ("IDR5.OAS", 0x14, 2, 0),
    ("IDR5.GRAN4K", 0x14, 4, 4),
    ("IDR5.GRAN16K", 0x14, 5, 5),
    ("IDR5.GRAN64K", 0x14, 6, 6),
    ("IDR5.DS", 0x14, 7, 7),
    ("IDR5.VAX", 0x14, 11, 10),
];

/// IDR0 to IDR5 and AIDR.
const ID_REGISTERS: [u32; 7] = [0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x1c];

/// Bits of an address for each encoding of OAS, IPS and S2PS.
const SIZES: [u32; 8] = [32, 36, 40, 42, 44, 48, 52, 56];
/// Encodings of IDR5.OAS without VMSAv9-128.
const OAS_CODES: std::ops::Range<u32> = 0..7;

/// Granules by the encoding of S2TG and TG0, and of TG1.
const G4K: u64 = 0;
const G64K: u64 = 1;
const G16K: u64 = 2;
const TG1_4K: u64 = 2;
const TG1_64K: u64 = 3;
const TG1_16K: u64 = 1;

fn id_field(name: &str) -> (u32, u32, u32) {
    let &(_, offset, msb, lsb) = ID_FIELDS
        .iter()
        .find(|(field, ..)| *field == name)
        .unwrap_or_else(|| panic!("{name} is not in the table"));
    (offset, msb, lsb)
}

fn mask(msb: u32, lsb: u32) -> u64 {
    ((1 << (msb - lsb + 1)) - 1) << lsb
}

/// The bench on the part whose ID registers differ in these fields.
fn with_ids(mut bench: Bench, fields: &[(&str, u32)]) -> Bench {
    let mut ids = bench.config.id_registers();
    for &(name, value) in fields {
        let (offset, msb, lsb) = id_field(name);
        let register = match offset {
            0x00 => &mut ids.idr0,
            0x04 => &mut ids.idr1,
            0x0c => &mut ids.idr3,
            0x14 => &mut ids.idr5,
            _ => panic!("{name}"),
        };
        let mask = mask(msb, lsb) as u32;
        assert_eq!(value << lsb & !mask, 0, "{name} = {value}");
        *register = *register & !mask | value << lsb;
    }
    bench.config = SmmuConfig::from_id_registers(ids).unwrap();
    bench
}

fn set(words: &mut Words, fields: &[Field]) {
    for &(msb, lsb, value) in fields {
        words.set(msb, lsb, value);
    }
}

fn with_ste(mut bench: Bench, fields: &[Field]) -> Bench {
    set(&mut bench.ste, fields);
    bench
}

fn with_cd(mut bench: Bench, fields: &[Field]) -> Bench {
    set(&mut bench.cd, fields);
    bench
}

/// SMMUv3.1, which may lack a stage or Hyp, without what needs both stages.
fn v3_1(bench: Bench) -> Bench {
    bench.part(|part| {
        part.version = Version::V3_1;
        part.hyp = false;
        part.vatos = false;
        part.vmw = false;
    })
}

/// A part on which any STALL_MODEL is possible.
fn any_stall_model(bench: Bench) -> Bench {
    bench.part(|part| part.stall_max = 0)
}

/// A part on which ATS is optional.
fn any_ats(bench: Bench) -> Bench {
    bench.part(|part| {
        part.pri = false;
        part.atsrecerr = false;
    })
}

/// A part of 48 bits, on which any granule is optional.
fn any_granule(bench: Bench) -> Bench {
    bench.part(|part| {
        part.ds = false;
        part.vax = 48;
        part.oas = 48;
    })
}

/// What the legal neighbour differs in.
enum Neighbour {
    /// This field of the ID registers, and nothing in memory.
    Part(&'static str),
    /// Something software writes, on the same part.
    Software,
}

/// An illegal structure and a legal one.
struct Case {
    illegal: Bench,
    legal: Bench,
    neighbour: Neighbour,
}

/// One structure on two parts.
fn by_part(bench: &Bench, name: &'static str, illegal: u32, legal: u32) -> Case {
    Case {
        illegal: with_ids(bench.clone(), &[(name, illegal)]),
        legal: with_ids(bench.clone(), &[(name, legal)]),
        neighbour: Neighbour::Part(name),
    }
}

/// Two structures on one part.
fn by_software(legal: Bench, break_it: impl FnOnce(&mut Bench)) -> Case {
    let mut illegal = legal.clone();
    break_it(&mut illegal);
    Case {
        illegal,
        legal,
        neighbour: Neighbour::Software,
    }
}

fn by_ste(legal: Bench, fields: &[Field]) -> Case {
    by_software(legal, |bench| set(&mut bench.ste, fields))
}

fn by_cd(legal: Bench, fields: &[Field]) -> Case {
    by_software(legal, |bench| set(&mut bench.cd, fields))
}

/// One bench on all these.
fn each<const N: usize>(benches: [Bench; N], case: impl Fn(Bench) -> Case) -> Vec<Case> {
    benches.into_iter().map(case).collect()
}

fn ste_cases(rule: IllegalSte) -> Vec<Case> {
    use IllegalSte as I;
    match rule {
        I::NotValid => each(
            [
                Bench::bypass(),
                Bench::stage1(),
                Bench::stage2(),
                Bench::nested(),
            ],
            |bench| by_ste(bench, &[(0, 0, 0)]),
        ),
        I::Stage1Absent => stage1_absent(),
        I::Stage2Absent => stage2_absent(),
        I::SplitStageAts => split_stage_ats(),
        I::FullAtsWithStage2Stall => full_ats_with_stage2_stall(),
        I::StreamWorldReserved => stream_world_reserved(),
        I::Stage1StallDisable => stage1_stall_disable(),
        I::CdTableTooLarge => cd_table_too_large(),
        I::TwoLevelCdTable => two_level_cd_table(),
        I::S1ContextPtrRange => s1_context_ptr_range(),
        I::Stage2StallForbidden => stage2_stall_forbidden(),
        I::Stage2StallRequired => stage2_stall_required(),
        I::Stage2Lpae => each([Bench::stage2(), Bench::nested()], |bench| {
            by_ste(bench, &[(179, 179, 0)])
        }),
        I::Stage2HttuAbsent => stage2_httu_absent(),
        I::Stage2DirtyAbsent => stage2_dirty_absent(),
        I::Stage2HaftWithoutHa => stage2_haft_without_ha(),
        I::Stage2Granule => stage2_granule(),
        I::S2TtbRange => s2ttb_range(),
        I::S2T0SzRange => s2t0sz_range(),
        I::Stage2StartLevel => stage2_start_level(),
        I::Stage2Endianness => stage2_endianness(),
        I::VmidRange => vmid_range(),
    }
}

fn stage1_absent() -> Vec<Case> {
    let without = with_ids(v3_1(Bench::stage2()), &[("IDR0.S1P", 0)]);
    vec![
        by_part(&v3_1(Bench::stage1()), "IDR0.S1P", 0, 1),
        by_part(&v3_1(Bench::nested()), "IDR0.S1P", 0, 1),
        by_ste(without.clone(), &[(3, 1, NESTED)]),
        by_ste(without, &[(3, 1, S1_ONLY)]),
    ]
}

fn stage2_absent() -> Vec<Case> {
    let without = with_ids(v3_1(Bench::stage1()), &[("IDR0.S2P", 0)]);
    vec![
        by_part(&v3_1(Bench::stage2()), "IDR0.S2P", 0, 1),
        by_part(&v3_1(Bench::nested()), "IDR0.S2P", 0, 1),
        by_ste(without.clone(), &[(3, 1, NESTED)]),
        by_ste(without, &[(3, 1, S2_ONLY)]),
    ]
}

fn split_stage_ats() -> Vec<Case> {
    let split = with_ste(any_ats(Bench::nested()), &[(93, 92, 2)]);
    let stalling = with_ste(split.clone(), &[(185, 185, 1)]);
    vec![
        by_part(&split, "IDR0.NS1ATS", 1, 0),
        by_part(&stalling, "IDR0.ATS", 1, 0),
        by_ste(split.clone(), &[(185, 185, 1)]),
        by_ste(split.clone(), &[(3, 1, S1_ONLY)]),
        by_ste(split, &[(3, 1, S2_ONLY)]),
        // EATS 1 and 3 are fine without a stage 2; 3 acts as 0 for want of a DPT.
        by_ste(with_ste(Bench::stage1(), &[(93, 92, 1)]), &[(93, 92, 2)]),
        by_ste(with_ste(Bench::stage2(), &[(93, 92, 3)]), &[(93, 92, 2)]),
    ]
}

fn full_ats_with_stage2_stall() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let full = with_ste(any_ats(bench), &[(93, 92, 1)]);
        let stalling = with_ste(full.clone(), &[(185, 185, 1)]);
        cases.push(by_part(&stalling, "IDR0.ATS", 1, 0));
        cases.push(by_ste(full, &[(185, 185, 1)]));
        // S2S=1 without ATS.
        cases.push(by_ste(with_ste(stalling, &[(93, 92, 0)]), &[(93, 92, 1)]));
    }
    // Without stage 2, S2S means nothing.
    let ignored = with_ste(
        Bench::nested(),
        &[(3, 1, S1_ONLY), (93, 92, 1), (185, 185, 1)],
    );
    cases.push(by_ste(ignored, &[(3, 1, NESTED)]));
    cases
}

fn stream_world_reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for reserved in [0b01, 0b11] {
        let bench = with_ste(v3_1(Bench::stage1()), &[(95, 94, reserved)]);
        cases.push(by_part(&bench, "IDR0.Hyp", 1, 0));
        for legal in [0b00, 0b10] {
            let bench = with_ste(Bench::stage1(), &[(95, 94, legal)]);
            cases.push(by_ste(bench, &[(95, 94, reserved)]));
        }
        // Ignored with stage 2.
        let nested = with_ste(Bench::nested(), &[(95, 94, reserved)]);
        cases.push(by_ste(nested, &[(3, 1, S1_ONLY)]));
    }
    cases
}

fn stage1_stall_disable() -> Vec<Case> {
    let stage1 = any_stall_model(Bench::stage1());
    let disabled = with_ste(stage1.clone(), &[(91, 91, 1)]);
    let nested = with_ste(any_stall_model(Bench::nested()), &[(91, 91, 1)]);
    let terminate_only = with_ids(stage1.clone(), &[("IDR0.STALL_MODEL", 1)]);
    let forced = with_cd(with_ids(stage1, &[("IDR0.STALL_MODEL", 2)]), &[(44, 44, 1)]);
    vec![
        by_part(&disabled, "IDR0.STALL_MODEL", 1, 0),
        by_part(&disabled, "IDR0.STALL_MODEL", 2, 0),
        by_part(&nested, "IDR0.STALL_MODEL", 1, 0),
        by_ste(terminate_only, &[(91, 91, 1)]),
        by_ste(forced, &[(91, 91, 1)]),
        // Ignored without stage 1.
        by_ste(
            with_ste(
                with_ids(nested, &[("IDR0.STALL_MODEL", 1)]),
                &[(3, 1, S2_ONLY)],
            ),
            &[(3, 1, NESTED)],
        ),
    ]
}

fn cd_table_too_large() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let sixteen = with_ste(bench, &[(63, 59, 4), (65, 64, 2)]);
        cases.push(by_part(&sixteen, "IDR1.SSIDSIZE", 3, 4));
        // Without substreams the field is ignored.
        cases.push(by_part(&sixteen, "IDR1.SSIDSIZE", 1, 0));
        let full = with_ids(sixteen, &[("IDR1.SSIDSIZE", 4)]);
        cases.push(by_ste(full.clone(), &[(63, 59, 5)]));
        cases.push(by_ste(full.clone(), &[(63, 59, 31)]));
        let ignored = with_ste(full, &[(63, 59, 31), (3, 1, 0b100)]);
        cases.push(by_ste(ignored, &[(3, 1, S1_ONLY)]));
    }
    cases
}

fn two_level_cd_table() -> Vec<Case> {
    const L1CD: u64 = 0x14_0000;
    let mut cases = Vec::new();
    for s1fmt in [1, 2] {
        for mut bench in [Bench::stage1(), Bench::nested()] {
            bench.write(L1CD, CD | 1);
            let bench = with_ste(
                bench,
                &[(5, 4, s1fmt), (55, 6, L1CD >> 6), (63, 59, 4), (65, 64, 2)],
            );
            cases.push(by_part(&bench, "IDR0.CD2L", 0, 1));
            // One-level tables, by either name, and a single CD, which has no table.
            let one_level = with_ids(bench, &[("IDR0.CD2L", 0)]);
            let one_level = with_ste(one_level, &[(55, 6, CD >> 6)]);
            for legal in [0, 3] {
                let bench = with_ste(one_level.clone(), &[(5, 4, legal)]);
                cases.push(by_ste(bench, &[(5, 4, s1fmt)]));
            }
            let single = with_ste(one_level, &[(63, 59, 0)]);
            cases.push(by_ste(single, &[(63, 59, 1)]));
        }
    }
    cases
}

fn s1_context_ptr_range() -> Vec<Case> {
    const BEYOND: u64 = 1 << 40;
    let mut cases = Vec::new();
    for mut bench in [Bench::stage1(), Bench::nested()] {
        bench.write_words(BEYOND, bench.cd);
        bench.write_words(BEYOND - 64, bench.cd);
        let beyond = with_ste(bench.clone(), &[(55, 6, BEYOND >> 6)]);
        cases.push(by_part(&beyond, "IDR5.OAS", 2, 3));
        cases.push(by_part(&beyond, "IDR5.OAS", 0, 6));
        let last = with_ids(bench, &[("IDR5.OAS", 2)]);
        let last = with_ste(last, &[(55, 6, (BEYOND - 64) >> 6)]);
        cases.push(by_ste(last, &[(55, 6, BEYOND >> 6)]));
    }
    cases
}

fn stage2_stall_forbidden() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let plain = any_stall_model(bench);
        let stalling = with_ste(plain.clone(), &[(185, 185, 1)]);
        cases.push(by_part(&stalling, "IDR0.STALL_MODEL", 1, 0));
        let stage1_stalls_too = with_cd(stalling, &[(44, 44, 1)]);
        cases.push(by_part(&stage1_stalls_too, "IDR0.STALL_MODEL", 1, 2));
        let terminate_only = with_ids(plain, &[("IDR0.STALL_MODEL", 1)]);
        cases.push(by_ste(terminate_only, &[(185, 185, 1)]));
    }
    cases
}

fn stage2_stall_required() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let plain = any_stall_model(bench);
        cases.push(by_part(&plain, "IDR0.STALL_MODEL", 2, 0));
        cases.push(by_part(&plain, "IDR0.STALL_MODEL", 2, 1));
        let forced = with_ids(plain, &[("IDR0.STALL_MODEL", 2)]);
        let stalling = with_cd(with_ste(forced, &[(185, 185, 1)]), &[(44, 44, 1)]);
        cases.push(by_ste(stalling, &[(185, 185, 0)]));
    }
    cases
}

const S2HD: Field = (183, 183, 1);
const S2HA: Field = (184, 184, 1);
const S2HAFT: Field = (187, 187, 1);

fn stage2_httu_absent() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let none = with_ids(bench.clone(), &[("IDR0.HTTU", 0)]);
        for (fields, legal) in [(vec![S2HA], 1), (vec![S2HD], 2), (vec![S2HA, S2HD], 2)] {
            let updating = with_ste(bench.clone(), &fields);
            cases.push(by_part(&updating, "IDR0.HTTU", 0, legal));
            cases.push(by_ste(none.clone(), &fields));
        }
    }
    cases
}

fn stage2_dirty_absent() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let access_flag = with_ids(bench.clone(), &[("IDR0.HTTU", 1)]);
        cases.push(by_ste(access_flag.clone(), &[S2HD]));
        cases.push(by_ste(with_ste(access_flag, &[S2HA]), &[S2HD]));
        let both = with_ste(bench.clone(), &[S2HA, S2HD]);
        cases.push(by_part(&both, "IDR0.HTTU", 1, 2));
        cases.push(by_part(&both, "IDR0.HTTU", 1, 3));
        cases.push(by_part(&with_ste(bench, &[S2HD]), "IDR0.HTTU", 1, 2));
    }
    cases
}

fn stage2_haft_without_ha() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let haft = with_ste(bench.clone(), &[S2HAFT]);
        // Up to HTTU=2 the field does not exist.
        for legal in 0..3 {
            cases.push(by_part(&haft, "IDR0.HTTU", 3, legal));
        }
        cases.push(by_ste(bench, &[S2HAFT]));
        cases.push(by_ste(with_ste(haft, &[S2HA]), &[(184, 184, 0)]));
    }
    cases
}

fn stage2_granule() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let bench = any_granule(bench);
        for (tg, name) in [
            (G4K, "IDR5.GRAN4K"),
            (G64K, "IDR5.GRAN64K"),
            (G16K, "IDR5.GRAN16K"),
        ] {
            // 39 bits from SL0=1 suit all three. Stage 1 uses a granule both parts have.
            let tg0 = if tg == G64K { G4K } else { G64K };
            let bench = with_cd(bench.clone(), &[(7, 6, tg0)]);
            let bench = with_ste(bench, &[(175, 174, tg)]);
            cases.push(by_part(&bench, name, 0, 1));
            cases.push(by_ste(bench, &[(175, 174, 3)]));
        }
    }
    cases
}

fn s2ttb(address: u64) -> Field {
    (243, 196, address >> 4)
}

fn s2ttb_range() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let beyond = with_ste(bench.clone(), &[s2ttb(1 << 40)]);
        cases.push(by_part(&beyond, "IDR5.OAS", 2, 4));
        cases.push(by_ste(with_ste(beyond, &[(178, 176, 3)]), &[(178, 176, 2)]));
        let last = with_ste(bench.clone(), &[s2ttb((1 << 40) - 0x1000), (178, 176, 2)]);
        cases.push(by_ste(last, &[s2ttb(1 << 40)]));
        // Beyond 48 bits, tables of 4 KiB need S2DS.
        let wide = with_ste(bench, &[s2ttb(1 << 48), (178, 176, 6)]);
        cases.push(by_ste(
            with_ste(wide.clone(), &[(195, 195, 1)]),
            &[(195, 195, 0)],
        ));
        cases.push(by_ste(
            with_ste(wide, &[(175, 174, G64K)]),
            &[(175, 174, G4K)],
        ));
    }
    cases
}

/// Stage 2 with S2TG, S2SL0 and S2T0SZ.
fn shape(bench: Bench, tg: u64, sl0: u64, t0sz: u64) -> Bench {
    with_ste(bench, &[(175, 174, tg), (167, 166, sl0), (165, 160, t0sz)])
}

const S2DS: Field = (195, 195, 1);

fn s2t0sz_range() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let bits41 = shape(bench.clone(), G4K, 1, 23);
        cases.push(by_part(&bits41, "IDR5.OAS", 2, 3));
        let bits24 = shape(bench.clone(), G4K, 0, 40);
        cases.push(by_part(&bits24, "IDR3.STT", 0, 1));
        let bits49 = with_ste(shape(bench.clone(), G4K, 2, 15), &[S2DS]);
        cases.push(by_part(&bits49, "IDR5.DS", 0, 1));
        cases.push(by_ste(bits49, &[(195, 195, 0)]));
        for (tg, sl0, last) in [(G4K, 3, 48), (G16K, 0, 48), (G64K, 0, 47)] {
            let smallest = shape(bench.clone(), tg, sl0, last);
            cases.push(by_ste(smallest, &[(165, 160, last + 1)]));
        }
        let largest = shape(bench, G64K, 2, 12);
        cases.push(by_ste(largest, &[(165, 160, 11)]));
    }
    cases
}

fn stage2_start_level() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        let bits40 = shape(bench.clone(), G4K, 2, 24);
        cases.push(by_part(&bits40, "IDR5.OAS", 3, 4));
        let level0 = with_ste(shape(bench.clone(), G16K, 3, 16), &[S2DS]);
        cases.push(by_part(&level0, "IDR5.DS", 0, 1));
        cases.push(by_ste(level0, &[(195, 195, 0)]));
        let level3 = shape(bench.clone(), G4K, 3, 39);
        cases.push(by_part(&level3, "IDR3.STT", 0, 1));
        // Too few and too many bits for the level.
        for sl0 in [0, 2] {
            cases.push(by_ste(bench.clone(), &[(167, 166, sl0)]));
        }
        // Reserved encodings.
        let large = shape(bench.clone(), G64K, 1, 25);
        cases.push(by_ste(large, &[(167, 166, 3)]));
        for sl0 in [1, 2, 3] {
            let t0sz = [0, 25, 20, 40][sl0 as usize];
            let lpa2 = with_ste(shape(bench.clone(), G4K, sl0, t0sz), &[S2DS]);
            cases.push(by_ste(lpa2, &[(194, 194, 1)]));
        }
    }
    cases
}

fn stage2_endianness() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage2(), Bench::nested()] {
        // The CD says the same, as a part with one byte order wants it.
        let big = with_cd(with_ste(bench.clone(), &[(180, 180, 1)]), &[(15, 15, 1)]);
        for (bench, illegal, legal) in [(&big, 2, 3), (&bench, 3, 2)] {
            cases.push(by_part(bench, "IDR0.TTENDIAN", illegal, 0));
            cases.push(by_part(bench, "IDR0.TTENDIAN", illegal, legal));
        }
        let little = with_ids(bench, &[("IDR0.TTENDIAN", 2)]);
        cases.push(by_ste(little, &[(180, 180, 1)]));
        let big = with_ids(big, &[("IDR0.TTENDIAN", 3)]);
        cases.push(by_ste(big, &[(180, 180, 0)]));
    }
    cases
}

fn vmid_range() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::stage2(), Bench::nested()] {
        let wide = with_ste(bench.clone(), &[(143, 128, 0x100)]);
        cases.push(by_part(&wide, "IDR0.VMID16", 0, 1));
        let narrow = with_ids(bench, &[("IDR0.VMID16", 0)]);
        let narrow = with_ste(narrow, &[(143, 128, 0xff)]);
        cases.push(by_ste(narrow, &[(143, 128, 0x80ff)]));
    }
    // EL2 has no VMIDs.
    let wide = with_ste(Bench::stage1(), &[(143, 128, 0x100), (95, 94, 0b10)]);
    let el2 = with_ids(wide, &[("IDR0.VMID16", 0)]);
    cases.push(by_ste(el2, &[(95, 94, 0)]));
    cases
}

fn cd_cases(rule: IllegalCd) -> Vec<Case> {
    use IllegalCd as I;
    let both = || [Bench::stage1(), Bench::nested()];
    match rule {
        I::NotValid => each(both(), |bench| by_cd(bench, &[(31, 31, 0)])),
        I::StallDisabledByStream => stall_disabled_by_stream(),
        I::TerminateModel => terminate_model(),
        I::StallForbidden => stall_forbidden(),
        I::StallRequired => stall_required(),
        I::Endianness => endianness(),
        I::Lpae => each(both(), |bench| by_cd(bench, &[(41, 41, 0)])),
        I::HttuAbsent => httu_absent(),
        I::DirtyAbsent => dirty_absent(),
        I::HaftWithoutHa => haft_without_ha(),
        I::AsidRange => asid_range(),
        I::T0SzRange => txsz_range(Half::Ttb0),
        I::T1SzRange => txsz_range(Half::Ttb1),
        I::Granule0 => granule(Half::Ttb0),
        I::Granule1 => granule(Half::Ttb1),
        I::Ttb0Range => ttb_range(Half::Ttb0),
        I::Ttb1Range => ttb_range(Half::Ttb1),
    }
}

const CD_S: Field = (44, 44, 1);

fn stall_disabled_by_stream() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let disabled = with_ste(bench.clone(), &[(91, 91, 1)]);
        cases.push(by_cd(disabled, &[CD_S]));
        cases.push(by_ste(with_cd(bench, &[CD_S]), &[(91, 91, 1)]));
    }
    cases
}

fn terminate_model() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let razwi = with_cd(bench.clone(), &[(46, 46, 0)]);
        cases.push(by_part(&razwi, "IDR0.TERM_MODEL", 1, 0));
        let abort_only = with_ids(bench, &[("IDR0.TERM_MODEL", 1)]);
        cases.push(by_cd(abort_only, &[(46, 46, 0)]));
    }
    cases
}

fn stall_forbidden() -> Vec<Case> {
    let stage1 = any_stall_model(Bench::stage1());
    let stalling = with_cd(stage1.clone(), &[CD_S]);
    let nested = with_cd(any_stall_model(Bench::nested()), &[CD_S]);
    vec![
        by_part(&stalling, "IDR0.STALL_MODEL", 1, 0),
        by_part(&stalling, "IDR0.STALL_MODEL", 1, 2),
        by_part(&nested, "IDR0.STALL_MODEL", 1, 0),
        by_cd(with_ids(stage1, &[("IDR0.STALL_MODEL", 1)]), &[CD_S]),
    ]
}

fn stall_required() -> Vec<Case> {
    let stage1 = any_stall_model(Bench::stage1());
    let nested = with_ste(any_stall_model(Bench::nested()), &[(185, 185, 1)]);
    let forced = with_ids(stage1.clone(), &[("IDR0.STALL_MODEL", 2)]);
    vec![
        by_part(&stage1, "IDR0.STALL_MODEL", 2, 0),
        by_part(&stage1, "IDR0.STALL_MODEL", 2, 1),
        by_part(&nested, "IDR0.STALL_MODEL", 2, 0),
        by_cd(with_cd(forced, &[CD_S]), &[(44, 44, 0)]),
    ]
}

fn endianness() -> Vec<Case> {
    let little = Bench::stage1();
    let big = with_cd(little.clone(), &[(15, 15, 1)]);
    let mut cases = Vec::new();
    for (bench, illegal, legal) in [(&big, 2, 3), (&little, 3, 2)] {
        cases.push(by_part(bench, "IDR0.TTENDIAN", illegal, 0));
        cases.push(by_part(bench, "IDR0.TTENDIAN", illegal, legal));
        // Without either table the byte order means nothing.
        let part = with_ids(bench.clone(), &[("IDR0.TTENDIAN", illegal)]);
        let neither = with_cd(part, &[(14, 14, 1)]);
        cases.push(by_cd(neither, &[(14, 14, 0)]));
    }
    cases.push(by_cd(
        with_ids(little, &[("IDR0.TTENDIAN", 2)]),
        &[(15, 15, 1)],
    ));
    cases.push(by_cd(
        with_ids(big, &[("IDR0.TTENDIAN", 3)]),
        &[(15, 15, 0)],
    ));
    cases
}

const CD_HD: Field = (42, 42, 1);
const CD_HA: Field = (43, 43, 1);
const CD_HAFT: Field = (67, 67, 1);

fn httu_absent() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let none = with_ids(bench.clone(), &[("IDR0.HTTU", 0)]);
        for (fields, legal) in [(vec![CD_HA], 1), (vec![CD_HD], 2), (vec![CD_HA, CD_HD], 2)] {
            let updating = with_cd(bench.clone(), &fields);
            cases.push(by_part(&updating, "IDR0.HTTU", 0, legal));
            cases.push(by_cd(none.clone(), &fields));
        }
    }
    cases
}

fn dirty_absent() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let access_flag = with_ids(bench.clone(), &[("IDR0.HTTU", 1)]);
        cases.push(by_cd(access_flag.clone(), &[CD_HD]));
        cases.push(by_cd(with_cd(access_flag, &[CD_HA]), &[CD_HD]));
        let both = with_cd(bench.clone(), &[CD_HA, CD_HD]);
        cases.push(by_part(&both, "IDR0.HTTU", 1, 2));
        cases.push(by_part(&both, "IDR0.HTTU", 1, 3));
        cases.push(by_part(&with_cd(bench, &[CD_HD]), "IDR0.HTTU", 1, 2));
    }
    cases
}

fn haft_without_ha() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let haft = with_cd(bench.clone(), &[CD_HAFT]);
        for legal in 0..3 {
            cases.push(by_part(&haft, "IDR0.HTTU", 3, legal));
        }
        cases.push(by_cd(bench, &[CD_HAFT]));
        cases.push(by_cd(with_cd(haft, &[CD_HA]), &[(43, 43, 0)]));
    }
    cases
}

fn asid_range() -> Vec<Case> {
    let mut cases = Vec::new();
    for bench in [Bench::stage1(), Bench::nested()] {
        let wide = with_cd(bench.clone(), &[(63, 48, 0x100)]);
        cases.push(by_part(&wide, "IDR0.ASID16", 0, 1));
        let narrow = with_ids(bench, &[("IDR0.ASID16", 0)]);
        let narrow = with_cd(narrow, &[(63, 48, 0xff)]);
        cases.push(by_cd(narrow, &[(63, 48, 0x80ff)]));
    }
    // EL2 has no ASIDs, unless E2H gives it some.
    let wide = with_cd(Bench::stage1(), &[(63, 48, 0x100)]);
    let el2 = with_ste(with_ids(wide, &[("IDR0.ASID16", 0)]), &[(95, 94, 0b10)]);
    cases.push(by_ste(el2.clone(), &[(95, 94, 0)]));
    cases.push(by_software(el2, |bench| bench.cr2 |= 1));
    cases
}

/// Which half of the address space a CD field is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Ttb0,
    Ttb1,
}

impl Half {
    /// Both tables in use: 39 bits, 4 KiB.
    fn bench(self) -> Bench {
        let mut bench = with_cd(Bench::stage1(), &[self.sz(25), self.tg(G4K)]);
        if self == Self::Ttb1 {
            bench.cd.bit(30, 0).address(179, 132, 0x16_0000);
        }
        bench
    }

    fn sz(self, value: u64) -> Field {
        match self {
            Self::Ttb0 => (5, 0, value),
            Self::Ttb1 => (21, 16, value),
        }
    }

    /// By the encoding of TG0.
    fn tg(self, granule: u64) -> Field {
        match self {
            Self::Ttb0 => (7, 6, granule),
            Self::Ttb1 => (23, 22, [TG1_4K, TG1_64K, TG1_16K][granule as usize]),
        }
    }

    fn reserved_tg(self) -> Field {
        match self {
            Self::Ttb0 => (7, 6, 3),
            Self::Ttb1 => (23, 22, 0),
        }
    }

    fn epd(self, value: u64) -> Field {
        match self {
            Self::Ttb0 => (14, 14, value),
            Self::Ttb1 => (30, 30, value),
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Ttb0 => Self::Ttb1,
            Self::Ttb1 => Self::Ttb0,
        }
    }

    fn ttb(self, address: u64) -> Field {
        match self {
            Self::Ttb0 => (115, 68, address >> 4),
            Self::Ttb1 => (179, 132, address >> 4),
        }
    }

    /// A legal neighbour that does not use the half, and one where it does not exist.
    fn unused(self, illegal: &Bench) -> Vec<Case> {
        let disabled = with_cd(illegal.clone(), &[self.epd(1)]);
        let mut cases = vec![by_cd(disabled, &[self.epd(0)])];
        let el2 = with_ste(illegal.clone(), &[(95, 94, 0b10)]);
        match self {
            // EPD0 has no effect there.
            Self::Ttb0 => {}
            Self::Ttb1 => {
                cases.push(by_ste(el2.clone(), &[(95, 94, 0)]));
                cases.push(by_software(el2, |bench| bench.cr2 |= 1));
            }
        }
        cases
    }
}

const CD_DS: Field = (186, 186, 1);

fn txsz_range(half: Half) -> Vec<Case> {
    let bench = half.bench();
    let small = with_cd(bench.clone(), &[half.sz(40)]);
    let lpa2 = with_cd(bench.clone(), &[half.sz(12), CD_DS]);
    let narrow = bench.clone().part(|part| {
        part.ds = false;
        part.oas = 48;
    });
    let large = with_cd(narrow, &[half.sz(12), half.tg(G64K)]);
    let mut cases = vec![
        by_part(&small, "IDR3.STT", 0, 1),
        by_part(&lpa2, "IDR5.DS", 0, 1),
        by_part(&large, "IDR5.VAX", 0, 1),
        by_cd(lpa2.clone(), &[(186, 186, 0)]),
        by_cd(lpa2, &[half.sz(11)]),
        by_cd(large, &[half.sz(11)]),
    ];
    for (granule, last) in [(G4K, 48), (G16K, 48), (G64K, 47)] {
        let smallest = with_cd(bench.clone(), &[half.tg(granule), half.sz(last)]);
        cases.push(by_cd(smallest, &[half.sz(last + 1)]));
    }
    cases.extend(half.unused(&with_cd(bench, &[half.sz(63)])));
    cases
}

fn granule(half: Half) -> Vec<Case> {
    let bench = any_granule(half.bench());
    let mut cases = Vec::new();
    for (granule, name) in [
        (G4K, "IDR5.GRAN4K"),
        (G64K, "IDR5.GRAN64K"),
        (G16K, "IDR5.GRAN16K"),
    ] {
        // The other half is unused: its granule need not exist.
        let bench = with_cd(bench.clone(), &[half.tg(granule), half.other().epd(1)]);
        cases.push(by_part(&bench, name, 0, 1));
        cases.push(by_cd(bench, &[half.reserved_tg()]));
    }
    cases.extend(half.unused(&with_cd(bench, &[half.reserved_tg()])));
    cases
}

fn ttb_range(half: Half) -> Vec<Case> {
    let bench = half.bench();
    let beyond = with_cd(bench.clone(), &[half.ttb(1 << 40)]);
    let last = [half.ttb((1 << 40) - 0x1000), (34, 32, 2)];
    let wide = with_cd(bench.clone(), &[half.ttb(1 << 48), (34, 32, 6)]);
    let mut cases = vec![
        by_part(&beyond, "IDR5.OAS", 2, 4),
        by_cd(with_cd(beyond.clone(), &[(34, 32, 3)]), &[(34, 32, 2)]),
        by_cd(with_cd(bench, &last), &[half.ttb(1 << 40)]),
        // Beyond 48 bits, tables of 4 KiB need DS.
        by_cd(with_cd(wide.clone(), &[CD_DS]), &[(186, 186, 0)]),
        by_cd(with_cd(wide, &[half.tg(G64K)]), &[half.tg(G4K)]),
    ];
    cases.extend(half.unused(&with_cd(beyond, &[(34, 32, 2)])));
    cases
}

fn config_of(bench: &Bench) -> u64 {
    bench.ste.0[0] >> CONFIG.1 & 7
}

/// A transaction to the page the bench maps.
fn mapped(bench: &Bench) -> Transaction {
    read(if config_of(bench) == S2_ONLY { IPA } else { VA })
}

/// An abort with this cause and this record, all 32 bytes of it.
#[track_caller]
fn assert_illegal(outcome: &Outcome, cause: Cause, number: u64, ssid: Option<u64>, what: &str) {
    let substream = ssid.map_or(0, |ssid| 1 << 11 | ssid << 12);
    let words = [number | substream | u64::from(SID) << 32, 0, 0, 0];
    assert_eq!(event(outcome), words, "{what}");
    assert_eq!(outcome.fault().unwrap().cause, cause, "{what}");
    assert!(
        matches!(
            outcome,
            Outcome::Terminated {
                response: Response::Abort,
                ..
            }
        ),
        "{what}: {outcome:?}"
    );
}

/// The structures are accepted: the page is found, or, where the case changed what the tables
/// mean, another or none is.
#[track_caller]
fn assert_legal(outcome: &Outcome, what: &str) {
    assert!(
        [0, F_TRANSLATION, F_ADDR_SIZE].contains(&number(outcome)),
        "{what}: {outcome:?}"
    );
}

/// The parts differ in one field of the ID registers, which the rule names, or not at all.
#[track_caller]
fn assert_neighbours(case: &Case, depends_on: &BTreeSet<String>, what: &str) {
    let Case { illegal, legal, .. } = case;
    let registers = |bench: &Bench| {
        let smmu = Smmu::new(bench.config.clone()).unwrap();
        ID_REGISTERS.map(|offset| smmu.mmio_read(offset, Width::W32))
    };
    let mut differences = Vec::new();
    for ((offset, a), b) in ID_REGISTERS
        .into_iter()
        .zip(registers(illegal))
        .zip(registers(legal))
    {
        if a != b {
            differences.push((offset, a ^ b));
        }
    }
    let same_words = illegal.ste == legal.ste && illegal.cd == legal.cd;
    match case.neighbour {
        Neighbour::Part(name) => {
            assert!(same_words && illegal.cr2 == legal.cr2, "{what}");
            assert!(depends_on.contains(name), "{what}: {name}, {depends_on:?}");
            let (register, msb, lsb) = id_field(name);
            assert!(
                matches!(differences[..], [(offset, bits)]
                    if offset == register && bits & !mask(msb, lsb) == 0),
                "{what}: {name}, {differences:x?}"
            );
        }
        Neighbour::Software => {
            assert_eq!(differences, [], "{what}");
            assert!(!same_words || illegal.cr2 != legal.cr2, "{what}");
        }
    }
}

/// The names in a rule's list of ID register fields; a name without a register has that of the
/// one before.
fn names(depends_on: &str) -> BTreeSet<String> {
    let mut register = "";
    let names = depends_on.split(", ").filter(|name| *name != "—");
    names
        .map(|name| {
            let (of, field) = name.split_once('.').unwrap_or((register, name));
            register = of;
            format!("{of}.{field}")
        })
        .collect()
}

/// Each field that a rule depends on is shown to decide. TTF cannot be: the model has no part
/// with VMSAv8-32 LPAE tables.
#[track_caller]
fn assert_all_fields_decide(cases: &[Case], depends_on: &BTreeSet<String>, what: &str) {
    assert!(!cases.is_empty(), "{what}");
    let shown: BTreeSet<String> = cases
        .iter()
        .filter_map(|case| match case.neighbour {
            Neighbour::Part(name) => Some(name.to_owned()),
            Neighbour::Software => None,
        })
        .collect();
    for name in depends_on {
        let _ = id_field(name);
        if name != "IDR0.TTF" {
            assert!(shown.contains(name), "{what}: {name}");
            continue;
        }
        for case in cases {
            let smmu = Smmu::new(case.illegal.config.clone()).unwrap();
            assert_eq!(smmu.mmio_read(0, Width::W32) >> 2 & 3, 0b10, "{what}");
        }
    }
}

#[test]
fn each_rule_of_an_ste_can_be_broken_alone_and_kept_nearby() {
    for rule in IllegalSte::ALL {
        let cases = ste_cases(rule);
        let depends_on = names(rule.depends_on());
        for (i, case) in cases.iter().enumerate() {
            let what = format!("{rule:?}, case {i}");
            let Case { illegal, legal, .. } = case;
            assert_neighbours(case, &depends_on, &what);
            let cause = Cause::BadSte(rule);
            let transaction = mapped(illegal);
            let outcome = illegal.translate(&transaction);
            assert_illegal(&outcome, cause, C_BAD_STE, None, &what);
            // Checked before anything about the substream.
            let outcome = illegal.translate(&substream(transaction, 0xf_0003));
            assert_illegal(&outcome, cause, C_BAD_STE, Some(0xf_0003), &what);
            assert_legal(&legal.translate(&mapped(legal)), &what);
        }
        assert_all_fields_decide(&cases, &depends_on, &format!("{rule:?}"));
    }
}

/// The bench with 16 CDs, of which the third is its CD.
fn sixteen_cds(bench: &Bench) -> Bench {
    let mut bench = with_ste(bench.clone(), &[(63, 59, 4)]);
    bench.write_words(CD + 3 * 64, bench.cd);
    bench
}

#[test]
fn each_rule_of_a_cd_can_be_broken_alone_and_kept_nearby() {
    for rule in IllegalCd::ALL {
        let cases = cd_cases(rule);
        let depends_on = names(rule.depends_on());
        for (i, case) in cases.iter().enumerate() {
            let what = format!("{rule:?}, case {i}");
            let Case { illegal, legal, .. } = case;
            assert_neighbours(case, &depends_on, &what);
            let cause = Cause::BadCd(rule);
            let outcome = illegal.read(VA);
            assert_illegal(&outcome, cause, C_BAD_CD, None, &what);
            let third = substream(read(VA), 3);
            let outcome = sixteen_cds(illegal).translate(&third);
            assert_illegal(&outcome, cause, C_BAD_CD, Some(3), &what);
            assert_legal(&legal.read(VA), &what);
            assert_legal(&sixteen_cds(legal).translate(&third), &what);
        }
        assert_all_fields_decide(&cases, &depends_on, &format!("{rule:?}"));
    }
}

/// The rule that the STE breaks, if any; the CD breaks none.
#[track_caller]
fn broken_ste(bench: &Bench, what: impl Fn() -> String) -> Option<IllegalSte> {
    let outcome = bench.translate(&mapped(bench));
    if let Some(Cause::BadSte(rule)) = outcome.fault().map(|fault| fault.cause) {
        assert_eq!(number(&outcome), C_BAD_STE, "{}", what());
        return Some(rule);
    }
    let legal = [0, F_TRANSLATION, F_ADDR_SIZE].contains(&number(&outcome));
    assert!(legal, "{}: {outcome:?}", what());
    None
}

/// The rule that the CD breaks, if any; the STE breaks none.
#[track_caller]
fn broken_cd(bench: &Bench, what: impl Fn() -> String) -> Option<IllegalCd> {
    let outcome = bench.read(VA);
    if let Some(Cause::BadCd(rule)) = outcome.fault().map(|fault| fault.cause) {
        assert_eq!(number(&outcome), C_BAD_CD, "{}", what());
        return Some(rule);
    }
    let legal = [0, F_TRANSLATION, F_ADDR_SIZE].contains(&number(&outcome));
    assert!(legal, "{}: {outcome:?}", what());
    None
}

#[track_caller]
fn assert_ste(bench: &Bench, expected: Option<IllegalSte>, what: impl Fn() -> String) {
    assert_eq!(broken_ste(bench, &what), expected, "{}", what());
}

#[track_caller]
fn assert_cd(bench: &Bench, expected: Option<IllegalCd>, what: impl Fn() -> String) {
    assert_eq!(broken_cd(bench, &what), expected, "{}", what());
}

/// `rule` if it `is_broken`.
fn if_broken<R>(is_broken: bool, rule: R) -> Option<R> {
    is_broken.then_some(rule)
}

#[test]
fn strw_is_reserved_only_where_it_is_used() {
    // Used with stage 1 alone, where Hyp allows a choice.
    for hyp in [0, 1] {
        let nested = with_ids(v3_1(Bench::nested()), &[("IDR0.Hyp", hyp)]);
        for e2h in [0, 1] {
            for config in 0..8 {
                for strw in 0..4 {
                    let mut bench = with_ste(nested.clone(), &[(3, 1, config), (95, 94, strw)]);
                    bench.cr2 |= e2h;
                    let illegal = hyp == 1 && config == S1_ONLY && strw & 1 == 1;
                    let expected = if_broken(illegal, IllegalSte::StreamWorldReserved);
                    assert_ste(&bench, expected, || {
                        format!("Hyp={hyp} E2H={e2h} Config={config:03b} STRW={strw:02b}")
                    });
                }
            }
        }
    }
}

#[test]
fn an_ste_that_aborts_or_bypasses_is_legal_whatever_else_it_says() {
    // Config=0b0xx and V=1 is never illegal; 0b100 reads none of the fields set here.
    for config in 0..=0b100 {
        let mut bench = Bench::nested();
        bench.ste.0 = [u64::MAX; 8];
        // EATS=2 and the like on a part that has next to nothing.
        for part in [SmmuConfig::full(), SmmuConfig::qemu_11()] {
            bench.config = part;
            bench.ste.set(3, 1, config);
            assert_ste(&bench, None, || format!("Config={config:03b}"));
        }
    }
}

#[test]
fn a_stage_must_exist_to_be_enabled() {
    for (s1p, s2p) in [(0, 1), (1, 0), (1, 1)] {
        let nested = v3_1(Bench::nested());
        let nested = with_ids(nested, &[("IDR0.S1P", s1p), ("IDR0.S2P", s2p)]);
        for config in 0..8 {
            let expected = match config {
                0b101 | 0b111 if s1p == 0 => Some(IllegalSte::Stage1Absent),
                0b110 | 0b111 if s2p == 0 => Some(IllegalSte::Stage2Absent),
                _ => None,
            };
            let bench = with_ste(nested.clone(), &[(3, 1, config)]);
            assert_ste(&bench, expected, || {
                format!("S1P={s1p} S2P={s2p} Config={config:03b}")
            });
        }
    }
}

#[test]
fn s1cdmax_may_reach_ssidsize_and_not_exceed_it() {
    for ssidsize in 0..=20 {
        let part = with_ids(Bench::nested(), &[("IDR1.SSIDSIZE", ssidsize)]);
        // Stage 1 bypassed without a substream, so that no CD table is read.
        let part = with_ste(part, &[(65, 64, 1)]);
        for config in 0b100..8 {
            for s1cdmax in 0..32 {
                let bench = with_ste(part.clone(), &[(3, 1, config), (63, 59, s1cdmax)]);
                let illegal = config & 1 == 1 && ssidsize != 0 && s1cdmax > ssidsize.into();
                let expected = if_broken(illegal, IllegalSte::CdTableTooLarge);
                assert_ste(&bench, expected, || {
                    format!("SSIDSIZE={ssidsize} Config={config:03b} S1CDMax={s1cdmax}")
                });
            }
        }
    }
}

#[test]
fn s1fmt_needs_cd2l_only_for_a_table_of_several_cds() {
    for (ssidsize, cd2l) in [(0, 0), (0, 1), (20, 0), (20, 1)] {
        let fields = [("IDR1.SSIDSIZE", ssidsize), ("IDR0.CD2L", cd2l)];
        let part = with_ste(with_ids(Bench::nested(), &fields), &[(65, 64, 1)]);
        for config in 0b100..8 {
            for s1cdmax in [0, 1, 20] {
                for s1fmt in 0..4 {
                    let fields = [(3, 1, config), (63, 59, s1cdmax), (5, 4, s1fmt)];
                    let bench = with_ste(part.clone(), &fields);
                    let table = config & 1 == 1 && ssidsize != 0 && s1cdmax != 0;
                    let illegal = table && cd2l == 0 && [1, 2].contains(&s1fmt);
                    let expected = if_broken(illegal, IllegalSte::TwoLevelCdTable);
                    assert_ste(&bench, expected, || {
                        format!("SSIDSIZE={ssidsize} CD2L={cd2l} {fields:?}")
                    });
                }
            }
        }
    }
}

#[test]
fn eats_is_checked_where_ats_can_use_it() {
    for (ats, ns1ats) in [(0, 0), (1, 0), (1, 1)] {
        let fields = [("IDR0.ATS", ats), ("IDR0.NS1ATS", ns1ats)];
        let part = with_ids(any_ats(Bench::nested()), &fields);
        for config in 0..8 {
            for eats in 0..4 {
                for s2s in 0..2 {
                    let fields = [(3, 1, config), (93, 92, eats), (185, 185, s2s)];
                    let bench = with_ste(part.clone(), &fields);
                    let expected = match eats {
                        _ if ats == 0 || config <= 0b100 => None,
                        2 if config != NESTED || s2s == 1 || ns1ats == 1 => {
                            Some(IllegalSte::SplitStageAts)
                        }
                        1 if config & 2 != 0 && s2s == 1 => {
                            Some(IllegalSte::FullAtsWithStage2Stall)
                        }
                        _ => None,
                    };
                    assert_ste(&bench, expected, || {
                        format!("ATS={ats} NS1ATS={ns1ats} {fields:?}")
                    });
                }
            }
        }
    }
}

#[test]
fn stalling_is_as_the_part_has_it_in_ste_and_cd() {
    for (model, value) in (0..).zip([
        StallModel::StallAndTerminate,
        StallModel::TerminateOnly,
        StallModel::StallForced,
    ]) {
        let part = any_stall_model(Bench::nested()).part(|part| part.stall_model = value);
        for bits in 0..32 {
            let (s1stalld, s2s, s) = (bits & 1, bits >> 1 & 1, bits >> 2 & 1);
            let config = [0b100, S1_ONLY, S2_ONLY, NESTED][(bits >> 3) as usize];
            let fields = [(3, 1, config), (91, 91, s1stalld), (185, 185, s2s)];
            let bench = with_cd(with_ste(part.clone(), &fields), &[(44, 44, s)]);
            let what = || format!("STALL_MODEL={model} {fields:?} S={s}");
            let (stage1, stage2) = (config & 1 == 1, config & 2 == 2);
            let ste = match model {
                1 | 2 if stage1 && s1stalld == 1 => Some(IllegalSte::Stage1StallDisable),
                1 if stage2 && s2s == 1 => Some(IllegalSte::Stage2StallForbidden),
                2 if stage2 && s2s == 0 => Some(IllegalSte::Stage2StallRequired),
                _ => None,
            };
            let cd = match model {
                _ if ste.is_some() || !stage1 => None,
                0 if s1stalld == 1 && s == 1 => Some(IllegalCd::StallDisabledByStream),
                1 if s == 1 => Some(IllegalCd::StallForbidden),
                2 if s == 0 => Some(IllegalCd::StallRequired),
                _ => None,
            };
            if cd.is_some() {
                assert_cd(&bench, cd, what);
            } else {
                assert_ste(&bench, ste, what);
            }
        }
    }
}

#[test]
fn hardware_update_is_as_the_part_has_it_in_ste_and_cd() {
    for httu in 0..4 {
        let ste_part = with_ids(Bench::stage2(), &[("IDR0.HTTU", httu)]);
        let cd_part = with_ids(Bench::stage1(), &[("IDR0.HTTU", httu)]);
        for bits in 0..8 {
            let (ha, hd, haft) = (bits & 1, bits >> 1 & 1, bits >> 2);
            let ste_fields = [(184, 184, ha), (183, 183, hd), (187, 187, haft)];
            let cd_fields = [(43, 43, ha), (42, 42, hd), (67, 67, haft)];
            let (ste, cd) = match httu {
                0 if ha == 1 || hd == 1 => (
                    Some(IllegalSte::Stage2HttuAbsent),
                    Some(IllegalCd::HttuAbsent),
                ),
                1 if hd == 1 => (
                    Some(IllegalSte::Stage2DirtyAbsent),
                    Some(IllegalCd::DirtyAbsent),
                ),
                3 if haft == 1 && ha == 0 => (
                    Some(IllegalSte::Stage2HaftWithoutHa),
                    Some(IllegalCd::HaftWithoutHa),
                ),
                _ => (None, None),
            };
            let what = || format!("HTTU={httu} HA={ha} HD={hd} HAFT={haft}");
            assert_ste(&with_ste(ste_part.clone(), &ste_fields), ste, what);
            assert_cd(&with_cd(cd_part.clone(), &cd_fields), cd, what);
        }
    }
}

#[test]
fn byte_order_is_as_the_part_has_it_where_a_table_is_used() {
    for ttendian in [0, 2, 3] {
        let ids = [("IDR0.TTENDIAN", ttendian)];
        let wrong = |endi| (ttendian == 2 && endi == 1) || (ttendian == 3 && endi == 0);
        for endi in [0, 1] {
            let bench = with_ste(with_ids(Bench::stage2(), &ids), &[(180, 180, endi)]);
            let expected = if_broken(wrong(endi), IllegalSte::Stage2Endianness);
            assert_ste(&bench, expected, || {
                format!("TTENDIAN={ttendian} S2ENDI={endi}")
            });
            for (epd0, epd1, strw) in [
                (0, 0, 0),
                (0, 1, 0),
                (1, 0, 0),
                (1, 1, 0),
                (1, 1, 2), // EPD0 counts as 0
            ] {
                let part = with_ids(Half::Ttb1.bench(), &ids);
                let fields = [(15, 15, endi), (14, 14, epd0), (30, 30, epd1)];
                let bench = with_ste(with_cd(part, &fields), &[(95, 94, strw)]);
                let used = epd0 == 0 || epd1 == 0 || strw == 2;
                let expected = if_broken(used && wrong(endi), IllegalCd::Endianness);
                assert_cd(&bench, expected, || {
                    format!("TTENDIAN={ttendian} {fields:?} STRW={strw}")
                });
            }
        }
    }
}

#[test]
fn each_bit_of_a_vmid_needs_vmid16_where_the_vmid_is_used() {
    for (vmid16, hyp, s2p) in [(0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 0)] {
        let fields = [
            ("IDR0.VMID16", vmid16),
            ("IDR0.Hyp", hyp),
            ("IDR0.S2P", s2p),
        ];
        let part = with_ids(v3_1(Bench::nested()), &fields);
        for config in 0..if s2p == 1 { 8 } else { 0b110 } {
            for strw in [0, 2] {
                for bit in 0..16 {
                    let vmid = [(3, 1, config), (95, 94, strw), (143, 128, 1 << bit)];
                    let bench = with_ste(part.clone(), &vmid);
                    let el1 = config & 2 != 0 || hyp == 0 || strw == 0;
                    let used = s2p == 1 && config > 0b100 && el1;
                    let illegal = used && vmid16 == 0 && bit >= 8;
                    let expected = if_broken(illegal, IllegalSte::VmidRange);
                    assert_ste(&bench, expected, || format!("{fields:?} {vmid:?}"));
                }
            }
        }
    }
}

#[test]
fn each_bit_of_an_asid_needs_asid16_where_there_are_asids() {
    for asid16 in [0, 1] {
        for (strw, e2h, has_asids) in [(0, 0, true), (0, 1, true), (2, 0, false), (2, 1, true)] {
            let part = with_ids(Bench::stage1(), &[("IDR0.ASID16", asid16)]);
            let mut part = with_ste(part, &[(95, 94, strw)]);
            part.cr2 |= e2h;
            for bit in 0..16 {
                let bench = with_cd(part.clone(), &[(63, 48, 1 << bit)]);
                let illegal = has_asids && asid16 == 0 && bit >= 8;
                let expected = if_broken(illegal, IllegalCd::AsidRange);
                assert_cd(&bench, expected, || {
                    format!("ASID16={asid16} STRW={strw} E2H={e2h} ASID=1<<{bit}")
                });
            }
        }
    }
}

#[test]
fn a_granule_field_must_name_a_granule_the_part_has() {
    for granules in 1..8_u32 {
        let (g4k, g16k, g64k) = (granules & 1, granules >> 1 & 1, granules >> 2);
        let fields = [
            ("IDR5.GRAN4K", g4k),
            ("IDR5.GRAN16K", g16k),
            ("IDR5.GRAN64K", g64k),
        ];
        // What each encoding names; S2TG and TG0 agree, TG1 is another.
        for (encoding, by_tg0, by_tg1) in
            [(0, g4k, 0), (1, g64k, g16k), (2, g16k, g4k), (3, 0, g64k)]
        {
            let what = || format!("{fields:?} encoding {encoding}");
            let part = with_ids(any_granule(Bench::stage2()), &fields);
            let bench = with_ste(part, &[(175, 174, encoding)]);
            let expected = if_broken(by_tg0 == 0, IllegalSte::Stage2Granule);
            assert_ste(&bench, expected, what);
            // The other half is not used, and holds nonsense.
            let part = with_ids(any_granule(Half::Ttb0.bench()), &fields);
            let bench = with_cd(part, &[(7, 6, encoding), (30, 30, 1), (23, 22, 0)]);
            let expected = if_broken(by_tg0 == 0, IllegalCd::Granule0);
            assert_cd(&bench, expected, what);
            let part = with_ids(any_granule(Half::Ttb1.bench()), &fields);
            let bench = with_cd(part, &[(23, 22, encoding), (14, 14, 1), (7, 6, 3)]);
            let expected = if_broken(by_tg1 == 0, IllegalCd::Granule1);
            assert_cd(&bench, expected, what);
        }
    }
}

/// What the part and the STE say about stage 2, where the legality of S2T0SZ and S2SL0 depends
/// on it.
#[derive(Debug, Clone, Copy)]
struct Stage2Shape {
    oas: u32,
    stt: bool,
    /// IDR5.DS.
    ds: bool,
    s2ds: u64,
    tg: u64,
    sl0_2: u64,
    sl0: u64,
    t0sz: u32,
}

/// S2T0SZ for each granule and start level, first to last, whatever else limits it.
const STAGE2_LEVELS: [(u64, i32, u32, u32); 12] = [
    (G4K, -1, 12, 15),
    (G4K, 0, 12, 24),
    (G4K, 1, 21, 33),
    (G4K, 2, 30, 42),
    (G4K, 3, 39, 48),
    (G16K, 0, 12, 16),
    (G16K, 1, 13, 27),
    (G16K, 2, 24, 38),
    (G16K, 3, 35, 48),
    (G64K, 1, 12, 21),
    (G64K, 2, 18, 34),
    (G64K, 3, 31, 47),
];

/// The start level nearest the root that each OAS permits, for 4 KiB, 64 KiB and 16 KiB.
const NEAREST_LEVEL: [(u32, [i32; 3]); 7] = [
    (32, [1, 2, 2]),
    (36, [1, 2, 2]),
    (40, [1, 2, 2]),
    (42, [1, 2, 1]),
    (44, [0, 1, 1]),
    (48, [0, 1, 1]),
    (52, [-1, 1, 0]),
];

/// The start level that S2SL0 names; `None` if reserved.
fn start_level(shape: &Stage2Shape) -> Option<i32> {
    let lpa2 = shape.ds && shape.s2ds == 1;
    match (shape.tg, shape.sl0) {
        // S2SL0_2 exists with IDR5.DS, for 4 KiB. Set, it means level -1, with S2DS=1, or nothing.
        (G4K, sl0) if shape.ds && shape.sl0_2 == 1 => (lpa2 && sl0 == 0).then_some(-1),
        (G4K, 0) => Some(2),
        (G4K, 1) => Some(1),
        (G4K, 2) => Some(0),
        (G4K, _) => shape.stt.then_some(3),
        (_, 0) => Some(3),
        (_, 1) => Some(2),
        (_, 2) => Some(1),
        (G16K, _) => lpa2.then_some(0),
        (_, _) => None,
    }
}

fn stage2_rule(shape: &Stage2Shape) -> Option<IllegalSte> {
    let lpa2 = shape.ds && shape.s2ds == 1;
    let least = if lpa2 || shape.tg == G64K { 12 } else { 16 };
    let most = match (shape.stt, shape.tg) {
        (false, _) => 39,
        (true, G64K) => 47,
        (true, _) => 48,
    };
    // Without VMSAv8-32 LPAE, IAS is OAS.
    if shape.t0sz < least.max(64 - shape.oas) || shape.t0sz > most {
        return Some(IllegalSte::S2T0SzRange);
    }
    let nearest = NEAREST_LEVEL
        .iter()
        .find(|(oas, _)| *oas == shape.oas)
        .map(|(_, levels)| levels[shape.tg as usize])
        .unwrap();
    let fits = |level| {
        STAGE2_LEVELS.iter().any(|&(tg, at, first, last)| {
            tg == shape.tg && at == level && (first..=last).contains(&shape.t0sz)
        })
    };
    let legal = start_level(shape).is_some_and(|level| level >= nearest && fits(level));
    if_broken(!legal, IllegalSte::Stage2StartLevel)
}

#[test]
fn s2t0sz_and_s2sl0_are_legal_as_the_tables_say_on_every_part() {
    let mut legal = 0;
    for part in 0..7 * 4 {
        let (oas, stt, ds) = (part >> 2, part & 1, part >> 1 & 1);
        let fields = [("IDR5.OAS", oas), ("IDR3.STT", stt), ("IDR5.DS", ds)];
        let mut bench = with_ids(Bench::stage2(), &fields);
        for fields in 0..3 * 16_u64 {
            let (tg, s2ds) = (fields >> 4, fields >> 3 & 1);
            let (sl0_2, sl0) = (fields >> 2 & 1, fields & 3);
            for t0sz in 0..64 {
                let shape = Stage2Shape {
                    oas: SIZES[oas as usize],
                    stt: stt == 1,
                    ds: ds == 1,
                    s2ds,
                    tg,
                    sl0_2,
                    sl0,
                    t0sz,
                };
                let words = [
                    (175, 174, tg),
                    (195, 195, s2ds),
                    (194, 194, sl0_2),
                    (167, 166, sl0),
                    (165, 160, t0sz.into()),
                ];
                set(&mut bench.ste, &words);
                let expected = stage2_rule(&shape);
                legal += u32::from(expected.is_none());
                assert_ste(&bench, expected, || format!("{shape:?}"));
            }
        }
    }
    assert!(legal > 1000, "{legal}");
}

#[test]
fn txsz_is_legal_as_the_tables_say_on_every_part() {
    for (ds, vax) in [(0, 0), (0, 1), (1, 1)] {
        for stt in [0, 1] {
            // The largest address size that all three have.
            let fields = [
                ("IDR5.OAS", 5),
                ("IDR5.DS", ds),
                ("IDR5.VAX", vax),
                ("IDR3.STT", stt),
            ];
            for (half, rule) in [
                (Half::Ttb0, IllegalCd::T0SzRange),
                (Half::Ttb1, IllegalCd::T1SzRange),
            ] {
                let mut bench = with_ids(half.bench(), &fields);
                for (tg, cd_ds) in [
                    (G4K, 0),
                    (G4K, 1),
                    (G16K, 0),
                    (G16K, 1),
                    (G64K, 0),
                    (G64K, 1),
                ] {
                    let wide = if tg == G64K {
                        vax == 1
                    } else {
                        ds == 1 && cd_ds == 1
                    };
                    let least = if wide { 12 } else { 16 };
                    let most = match (stt, tg) {
                        (0, _) => 39,
                        (_, G64K) => 47,
                        (_, _) => 48,
                    };
                    for txsz in 0..64 {
                        let words = [half.tg(tg), half.sz(txsz), (186, 186, cd_ds)];
                        set(&mut bench.cd, &words);
                        let legal = (least..=most).contains(&txsz);
                        assert_cd(&bench, if_broken(!legal, rule), || {
                            format!("{fields:?} {words:?}")
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn sizes_in_range_are_legal_on_smmuv3_0_too() {
    // Out of range it is CONSTRAINED UNPREDICTABLE there.
    let v3_0 = |bench: Bench| {
        any_granule(bench).part(|part| {
            part.version = Version::V3_0;
            part.stt = false;
        })
    };
    for txsz in 16..=39 {
        for half in [Half::Ttb0, Half::Ttb1] {
            let bench = with_cd(v3_0(half.bench()), &[half.sz(txsz)]);
            assert_cd(&bench, None, || format!("TxSZ={txsz}"));
        }
        let sl0 = match txsz {
            ..=24 => 2,
            25..=33 => 1,
            _ => 0,
        };
        if txsz <= 38 {
            let bench = shape(v3_0(Bench::stage2()), G4K, sl0, txsz);
            assert_ste(&bench, None, || format!("S2T0SZ={txsz}"));
        }
    }
}

/// Bits that a table's address may have: those of the output size, and not beyond 48 where the
/// format has no room for them.
fn table_bits(oas: u32, ps: u32, tg: u64, ds: u64) -> u32 {
    let size = SIZES[ps as usize].min(SIZES[oas as usize]);
    if tg != G64K && ds == 0 {
        size.min(48)
    } else {
        size
    }
}

#[test]
fn each_bit_of_a_table_address_is_legal_up_to_the_output_size() {
    for oas in OAS_CODES {
        let stage2 = with_ids(Bench::stage2(), &[("IDR5.OAS", oas)]);
        // An input size that even 32 bits of IPA allow.
        let mut stage2 = with_ste(stage2, &[(165, 160, 32)]);
        let mut halves = [
            (Half::Ttb0, IllegalCd::Ttb0Range),
            (Half::Ttb1, IllegalCd::Ttb1Range),
        ]
        .map(|(half, rule)| (half, rule, with_ids(half.bench(), &[("IDR5.OAS", oas)])));
        for ps in 0..8 {
            for (tg, ds) in [
                (G4K, 0),
                (G4K, 1),
                (G16K, 0),
                (G16K, 1),
                (G64K, 0),
                (G64K, 1),
            ] {
                let limit = table_bits(oas, ps, tg, ds);
                for bit in 12..52 {
                    let what = || format!("OAS={oas} PS={ps} TG={tg} DS={ds} 1<<{bit}");
                    let address = 1 << bit;
                    let words = [
                        (178, 176, ps.into()),
                        (175, 174, tg),
                        (195, 195, ds),
                        s2ttb(address),
                    ];
                    set(&mut stage2.ste, &words);
                    let expected = if_broken(bit >= limit, IllegalSte::S2TtbRange);
                    assert_ste(&stage2, expected, what);
                    for (half, rule, bench) in &mut halves {
                        let words = [
                            (34, 32, ps.into()),
                            half.tg(tg),
                            (186, 186, ds),
                            half.ttb(address),
                        ];
                        set(&mut bench.cd, &words);
                        assert_cd(bench, if_broken(bit >= limit, *rule), what);
                    }
                }
            }
        }
    }
}

#[test]
fn beyond_48_bits_a_small_granule_needs_the_part_to_have_lpa2() {
    // DS and S2DS mean nothing without IDR5.DS, so the same address is out of range there.
    for (ds, legal) in [(0, false), (1, true)] {
        let ids = [("IDR5.DS", ds)];
        let wide = [s2ttb(1 << 48), (178, 176, 6), S2DS];
        let bench = with_ste(with_ids(Bench::stage2(), &ids), &wide);
        let expected = if_broken(!legal, IllegalSte::S2TtbRange);
        assert_ste(&bench, expected, || format!("IDR5.DS={ds}"));
        for (half, rule) in [
            (Half::Ttb0, IllegalCd::Ttb0Range),
            (Half::Ttb1, IllegalCd::Ttb1Range),
        ] {
            let wide = [half.ttb(1 << 48), (34, 32, 6), CD_DS];
            let bench = with_cd(with_ids(half.bench(), &ids), &wide);
            assert_cd(&bench, if_broken(!legal, rule), || format!("IDR5.DS={ds}"));
        }
    }
}

#[test]
fn each_bit_of_s1contextptr_is_legal_up_to_the_address_size() {
    for oas in OAS_CODES {
        for bench in [Bench::stage1(), Bench::nested()] {
            // An input size that even 32 bits of IPA allow.
            let part = with_ids(bench, &[("IDR5.OAS", oas)]);
            let part = with_ste(part, &[(165, 160, 32)]);
            for bit in 20..56 {
                let mut bench = with_ste(part.clone(), &[(55, 6, 1 << (bit - 6))]);
                if bit < 52 {
                    bench.write_words(1 << bit, bench.cd);
                }
                let illegal = bit >= SIZES[oas as usize];
                let expected = if_broken(illegal, IllegalSte::S1ContextPtrRange);
                assert_ste(&bench, expected, || {
                    let config = config_of(&bench);
                    format!("OAS={oas} Config={config:03b} S1ContextPtr=1<<{bit}")
                });
            }
        }
    }
}

#[test]
fn a_half_out_of_use_may_hold_anything() {
    for half in [Half::Ttb0, Half::Ttb1] {
        let nonsense = [half.sz(63), half.reserved_tg(), half.ttb((1 << 52) - 16)];
        let other = [half.epd(1), half.other().epd(0), half.other().tg(G4K)];
        let sane = [half.other().sz(25), half.other().ttb(0x16_0000)];
        let bench = with_cd(Bench::stage1(), &[nonsense, other].concat());
        let bench = with_cd(bench, &sane);
        let bench = with_ids(bench, &[("IDR5.OAS", 5), ("IDR3.STT", 0)]);
        assert_cd(&bench, None, || "disabled".to_owned());
        // In use, it spoils the other half's accesses too, and any of the three is enough.
        for field in nonsense {
            let mut alone = with_cd(bench.clone(), &[half.sz(25), half.tg(G4K), half.ttb(0)]);
            set(&mut alone.cd, &[half.epd(0), field]);
            assert!(broken_cd(&alone, || format!("{field:?}")).is_some());
        }
    }
}

/// The numbers of the reference's lists, and the field each condition is about.
#[test]
fn rules_carry_the_numbers_of_the_lists() {
    let numbers = IllegalSte::ALL.map(IllegalSte::number);
    assert_eq!(
        numbers,
        [
            1, 2, 3, 6, 7, 10, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 31
        ]
    );
    let numbers = IllegalCd::ALL.map(IllegalCd::number);
    assert_eq!(
        numbers,
        [1, 2, 3, 4, 4, 5, 6, 8, 8, 8, 9, 10, 10, 11, 11, 12, 12]
    );
    for (field, reason) in IllegalSte::ALL
        .map(|rule| (rule.field(), rule.reason()))
        .into_iter()
        .chain(IllegalCd::ALL.map(|rule| (rule.field(), rule.reason())))
    {
        assert!(reason.contains(field), "{field}: {reason}");
    }
}

//! The capability table: claims in `capabilities.tsv`, values from ID registers, ours by building
//! parts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use smmu::Smmu;
use smmu::config::{ConfigError, IdRegisters, PARTS, SmmuConfig, part};
use smmu::regfile::Width;
use smmu::spec::Field;
use smmu::spec::regs::LAYOUTS;

use super::{book, is_made};

/// gem5's defaults: the parameters `smmu_idr0` … of `src/dev/arm/SMMUv3.py`.
const GEM5: IdRegisters = IdRegisters {
    idr0: 0x094c_100f,
    idr1: 0x00e0_0000,
    idr2: 0,
    idr3: 0,
    idr5: 0x55,
    aidr: 0,
};

/// OpenVMM: what `SmmuDevice::new` of `vm/devices/iommu/smmu/src/emulator.rs` sets, with 48-bit
/// output.
const OPENVMM: IdRegisters = IdRegisters {
    idr0: 1 << 1 | 2 << 2 | 1 << 4 | 1 << 12 | 2 << 21 | 1 << 24 | 1 << 26,
    idr1: 16 | 8 << 16 | 8 << 21,
    idr2: 0,
    idr3: 0,
    idr5: 5 | 1 << 4,
    aidr: 3,
};

/// One line of the table.
pub(super) struct Row {
    register: String,
    field: String,
    meaning: String,
    pub(super) ours: String,
    note: String,
    tests: Vec<String>,
    /// QEMU, gem5, OpenVMM.
    remarks: [String; 3],
    riscv: String,
    linux: String,
}

impl Row {
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.register, self.field)
    }

    fn layout(&self) -> &'static Field {
        let registers = identification();
        let (_, fields) = registers
            .iter()
            .find(|(name, _)| *name == self.register)
            .unwrap();
        fields
            .iter()
            .find(|field| field.name == self.field)
            .unwrap()
    }

    /// Size of the field.
    pub(super) fn bits(&self) -> u8 {
        let field = self.layout();
        (field.msb - field.lsb + 1) as u8
    }
}

pub(super) fn rows() -> Vec<Row> {
    let text = fs::read_to_string(book().join("reference/capabilities.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [
                name,
                meaning,
                ours,
                note,
                tests,
                qemu,
                gem5,
                openvmm,
                riscv,
                linux,
            ] = <[String; 10]>::try_from(cells).unwrap_or_else(|_| panic!("{line}: not 10 cells"));
            let (register, field) = name.split_once('.').unwrap();
            Row {
                register: register.into(),
                field: field.into(),
                meaning,
                ours,
                note,
                tests: tests.split(' ').map(str::to_owned).collect(),
                remarks: [qemu, gem5, openvmm],
                riscv,
                linux,
            }
        })
        .collect()
}

/// Identification registers of the model, with their fields.
fn identification() -> Vec<(String, &'static [Field])> {
    LAYOUTS
        .iter()
        .map(|layout| (layout.structure.to_uppercase(), layout.fields))
        .filter(|(name, _)| name.starts_with("IDR") || name == "IIDR" || name == "AIDR")
        .collect()
}

fn word<'a>(ids: &'a mut IdRegisters, register: &str) -> Option<&'a mut u32> {
    Some(match register {
        "IDR0" => &mut ids.idr0,
        "IDR1" => &mut ids.idr1,
        "IDR2" => &mut ids.idr2,
        "IDR3" => &mut ids.idr3,
        "IDR5" => &mut ids.idr5,
        "AIDR" => &mut ids.aidr,
        _ => return None,
    })
}

fn value(mut ids: IdRegisters, row: &Row) -> Option<u64> {
    let word = *word(&mut ids, &row.register)?;
    Some((row.layout().read)(&[word.into()]))
}

/// The registers with the row's field replaced; `None` for a register that parts do not choose.
pub(super) fn with_value(mut ids: IdRegisters, row: &Row, value: u64) -> Option<IdRegisters> {
    let field = row.layout();
    let mask = ((1u64 << (field.msb + 1)) - (1u64 << field.lsb)) as u32;
    let word = word(&mut ids, &row.register)?;
    *word = *word & !mask | (value << field.lsb) as u32 & mask;
    Some(ids)
}

/// What becomes of the values of a field, over parts unlike each other.
#[derive(Default)]
struct Fate {
    /// Some part with it can be built, and it reads back.
    kept: BTreeSet<u64>,
    /// Some part with it can be built, but it reads back as something else.
    dropped: BTreeSet<u64>,
    /// Refused as something that is not modelled, by the name of this field.
    refused: BTreeSet<u64>,
}

fn fate(row: &Row) -> Fate {
    let mut bases: Vec<SmmuConfig> = PARTS
        .iter()
        .map(|(name, _)| part(name).unwrap().features)
        .collect();
    let mut both = part("minimal").unwrap().features;
    both.s2p = true;
    bases.push(both);
    let mut fate = Fate::default();
    for value in 0..1u64 << row.bits() {
        for base in &bases {
            let Some(ids) = with_value(base.id_registers(), row, value) else {
                return fate;
            };
            match SmmuConfig::from_id_registers(ids) {
                Ok(built) => {
                    let read = self::value(built.id_registers(), row) == Some(value);
                    let set = if read {
                        &mut fate.kept
                    } else {
                        &mut fate.dropped
                    };
                    set.insert(value);
                }
                Err(ConfigError::NotModelled { field, .. }) if field == row.name() => {
                    fate.refused.insert(value);
                }
                Err(_) => {}
            }
        }
    }
    fate
}

/// `0, 1` or `0–6` or `0, 2, 3`.
fn ranges(values: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &value in values {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => runs.push((value, value)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => format!("{first}"),
            1 => format!("{first}, {last}"),
            _ => format!("{first}–{last}"),
        })
        .collect();
    runs.join(", ")
}

#[test]
fn every_identification_field_has_a_row_and_every_row_a_test() {
    let fields: Vec<String> = identification()
        .into_iter()
        .flat_map(|(register, fields)| {
            fields
                .iter()
                .map(move |field| format!("{register}.{}", field.name))
        })
        .collect();
    let rows = rows();
    let named: Vec<String> = rows.iter().map(Row::name).collect();
    assert_eq!(named, fields);
    for row in &rows {
        // Long enough for the test that looks for the functions pages name.
        let known = |name: &String| name.matches('_').count() >= 3;
        assert!(
            !row.tests.is_empty() && row.tests.iter().all(known),
            "{}: {:?}",
            row.name(),
            row.tests
        );
    }
}

#[test]
fn each_identification_field_takes_the_values_its_row_says() {
    let device = Smmu::new(SmmuConfig::full()).unwrap();
    for row in rows() {
        let name = row.name();
        let fate = fate(&row);
        let zero_alone = fate.kept.iter().all(|&value| value == 0);
        let told = match row.ours.as_str() {
            "modelled" | "register only" => !zero_alone && fate.dropped.is_empty(),
            "ignored" => zero_alone && !fate.dropped.is_empty(),
            // IDR6 exists where IDR1.ECMDQ is 1, which is refused.
            "refused" if row.register == "IDR6" => device.mmio_read(0x190, Width::W32) == 0,
            "refused" => zero_alone && !fate.refused.is_empty() && fate.dropped.is_empty(),
            "fixed" if row.register == "IIDR" => device.mmio_read(0x18, Width::W32) == 0,
            "fixed" => zero_alone && fate.kept.len() == 1 && fate.dropped.is_empty(),
            other => panic!("{name}: {other:?} is no word of this table"),
        };
        assert!(
            told,
            "{name} is said to be {}: kept {:?}, dropped {:?}, refused {:?}",
            row.ours, fate.kept, fate.dropped, fate.refused
        );
    }
}

fn cell(value: Option<u64>, remark: &str) -> String {
    match (value, remark) {
        (Some(value), "") => value.to_string(),
        (Some(value), _) => format!("{value}: {remark}"),
        (None, "") => "?".into(),
        (None, _) => remark.into(),
    }
}

#[test]
fn the_capability_page_is_made_of_its_table() {
    let rows = rows();
    let others = [SmmuConfig::qemu_11().id_registers(), GEM5, OPENVMM];
    let mut page = String::new();
    for rows in rows.chunk_by(|a, b| a.register == b.register) {
        writeln!(page, "\n## {}\n", rows[0].register).unwrap();
        writeln!(
            page,
            "| field | meaning | smmu-sim | QEMU 11 | gem5 24.1 | OpenVMM | RISC-V model | Linux driver | shown by |"
        )
        .unwrap();
        writeln!(page, "|---|---|---|---|---|---|---|---|---|").unwrap();
        for row in rows {
            let fate = fate(row);
            let mut ours = row.ours.clone();
            if row.ours == "modelled" {
                write!(ours, ": {}", ranges(&fate.kept)).unwrap();
            }
            if !row.note.is_empty() {
                write!(ours, "; {}", row.note).unwrap();
            }
            let theirs: Vec<String> = others
                .iter()
                .zip(&row.remarks)
                .map(|(ids, remark)| cell(value(*ids, row), remark))
                .collect();
            let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
            writeln!(
                page,
                "| {} | {} | {ours} | {} | {} | {} | {} |",
                row.field,
                row.meaning,
                theirs.join(" | "),
                row.riscv,
                row.linux,
                tests.join(", ")
            )
            .unwrap();
        }
    }
    is_made("reference/capabilities.md", "capabilities", &page);
}

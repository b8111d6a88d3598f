//! Bit positions: what `smmu::spec` declares against tables typed by someone who never saw it.
//!
//! `tests/golden/*.tsv` holds one row per field, typed from the specification, with the name and position Linux gives the
//! same field where its headers define one. The tables are data: a disagreement is settled by going back to the
//! specification and recorded in the `note` column, never by copying a position from the code.
//!
//! Names are compared exactly. Where the published name differs from the specification's, the pair is written down in one
//! of the tables below; nothing is skipped without an entry, and an entry that no longer matters fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use smmu::spec::{Layout, layouts};

/// Structures published under another name: (golden, published).
///
/// Several golden structures may share one published layout, and one golden structure may be spread over several.
const STRUCTURE_ALIASES: &[(&str, &str)] = &[
    ("IDR0", "Idr0"),
    ("IDR1", "Idr1"),
    ("IDR2", "Idr2"),
    ("IDR3", "Idr3"),
    ("IDR5", "Idr5"),
    ("IDR6", "Idr6"),
    ("IIDR", "Iidr"),
    ("AIDR", "Aidr"),
    ("CR0", "Cr0"),
    ("CR0ACK", "Cr0"),
    ("CR1", "Cr1"),
    ("CR2", "Cr2"),
    ("STATUSR", "Statusr"),
    ("GBPA", "Gbpa"),
    ("IRQ_CTRL", "IrqCtrl"),
    ("IRQ_CTRLACK", "IrqCtrl"),
    ("GERROR", "Gerror"),
    ("GERRORN", "Gerror"),
    ("STRTAB_BASE", "StrtabBase"),
    ("STRTAB_BASE_CFG", "StrtabBaseCfg"),
    ("CMDQ_BASE", "CmdqBase"),
    ("CMDQ_PROD", "CmdqProd"),
    ("CMDQ_CONS", "CmdqCons"),
    ("EVENTQ_BASE", "EventqBase"),
    ("PRIQ_BASE", "EventqBase"),
    ("EVENTQ_PROD", "EventqProd"),
    ("PRIQ_PROD", "EventqProd"),
    ("EVENTQ_CONS", "EventqCons"),
    ("PRIQ_CONS", "EventqCons"),
    ("GERROR_IRQ_CFG0", "IrqCfg0"),
    ("EVENTQ_IRQ_CFG0", "IrqCfg0"),
    ("PRIQ_IRQ_CFG0", "IrqCfg0"),
    ("GERROR_IRQ_CFG1", "IrqCfg1"),
    ("EVENTQ_IRQ_CFG1", "IrqCfg1"),
    ("PRIQ_IRQ_CFG1", "IrqCfg1"),
    ("GERROR_IRQ_CFG2", "IrqCfg2"),
    ("EVENTQ_IRQ_CFG2", "IrqCfg2"),
    ("PRIQ_IRQ_CFG2", "PriqIrqCfg2"),
    ("GATOS_CTRL", "GatosCtrl"),
    ("GATOS_SID", "GatosSid"),
    ("GATOS_ADDR", "GatosAddr"),
    ("VATOS_SEL", "VatosSel"),
    ("GATOS_PAR", "GatosPar"),
    ("GATOS_PAR", "GatosParFault"),
    ("CMD_PREFETCH_CONFIG", "PrefetchConfig"),
    ("CMD_PREFETCH_ADDR", "PrefetchAddr"),
    ("CMD_CFGI_STE", "CfgiSte"),
    ("CMD_CFGI_STE_RANGE", "CfgiSteRange"),
    ("CMD_CFGI_CD", "CfgiCd"),
    ("CMD_CFGI_CD_ALL", "CfgiCdAll"),
    ("CMD_CFGI_VMS_PIDM", "CfgiVmsPidm"),
    ("CMD_TLBI_NH_ALL", "TlbiAll"),
    ("CMD_TLBI_S12_VMALL", "TlbiAll"),
    ("CMD_TLBI_EL2_ALL", "TlbiAll"),
    ("CMD_TLBI_NSNH_ALL", "TlbiAll"),
    ("CMD_TLBI_EL3_ALL", "TlbiAll"),
    ("CMD_TLBI_NH_ASID", "TlbiAsid"),
    ("CMD_TLBI_EL2_ASID", "TlbiAsid"),
    ("CMD_TLBI_NH_VA", "TlbiVa"),
    ("CMD_TLBI_NH_VAA", "TlbiVa"),
    ("CMD_TLBI_EL2_VA", "TlbiVa"),
    ("CMD_TLBI_EL2_VAA", "TlbiVa"),
    ("CMD_TLBI_EL3_VA", "TlbiVa"),
    ("CMD_TLBI_S2_IPA", "TlbiIpa"),
    ("CMD_ATC_INV", "AtcInv"),
    ("CMD_PRI_RESP", "PriResp"),
    ("CMD_RESUME", "Resume"),
    ("CMD_STALL_TERM", "StallTerm"),
    ("CMD_SYNC", "Sync"),
    ("F_BAD_ATS_TREQ", "BadAtsTreq"),
    ("E_PAGE_REQUEST", "PageRequest"),
    ("Descriptor", "Stage1Leaf"),
    ("Descriptor", "Stage1Table"),
    ("Descriptor", "Stage2Leaf"),
    ("Descriptor", "Stage2Table"),
];

/// Fields published under another name: (golden structure or `*`, golden field, published field).
const FIELD_ALIASES: &[(&str, &str, &str)] = &[("*", "EventNumber", "Type")];

/// Golden fields that `spec` leaves out on purpose: (golden structure, golden field or `*`, reason).
const NOT_PUBLISHED: &[(&str, &str, &str)] = &[
    (
        "Stage1Leaf",
        "nT",
        "never acted on by an SMMU; the bit is an address bit of pages",
    ),
    (
        "Stage2Leaf",
        "nT",
        "never acted on by an SMMU; the bit is an address bit of pages",
    ),
    (
        "Stage1Table",
        "Protected",
        "THE is refused by the configuration",
    ),
    ("S_INIT", "*", "Secure programming interface"),
    ("S2PII", "*", "S2PI is refused by the configuration"),
    ("GMPAM", "*", "MPAM is refused by the configuration"),
    ("GBPMPAM", "*", "MPAM is refused by the configuration"),
    ("ECMDQ_PROD", "*", "ECMDQ is refused by the configuration"),
    ("ECMDQ_CONS", "*", "ECMDQ is refused by the configuration"),
    ("ECMDQ_BASE", "*", "ECMDQ is refused by the configuration"),
    ("DPT_CFG_FAR", "*", "DPT is refused by the configuration"),
    ("DPT_BASE_CFG", "*", "DPT is refused by the configuration"),
    ("DPT_BASE", "*", "DPT is refused by the configuration"),
    ("CMD_DPTI_PA", "*", "DPT is refused by the configuration"),
    ("CMD_DPTI_ALL", "*", "DPT is refused by the configuration"),
    ("CMD_TLBI_S_S2_IPA", "*", "Secure programming interface"),
    ("CMD_TLBI_S_S12_VMALL", "*", "Secure programming interface"),
    ("CMD_TLBI_S_EL2_VAA", "*", "Secure programming interface"),
    ("CMD_TLBI_S_EL2_VA", "*", "Secure programming interface"),
    ("CMD_TLBI_S_EL2_ASID", "*", "Secure programming interface"),
    ("CMD_TLBI_S_EL2_ALL", "*", "Secure programming interface"),
    ("CMD_TLBI_SNH_ALL", "*", "Secure programming interface"),
];

/// Published fields that no golden table holds on purpose: (published structure, published field or `*`, reason).
///
/// Reserved and IMPLEMENTATION DEFINED fields need no entry, see [`is_reserved`].
const NOT_GOLDEN: &[(&str, &str, &str)] = &[];

/// Registers of 64 bits (IHI 0070 §6.2); the others have 32.
const WIDE_REGISTERS: &[&str] = &[
    "CMDQ_BASE",
    "DPT_BASE",
    "DPT_CFG_FAR",
    "ECMDQ_BASE",
    "EVENTQ_BASE",
    "EVENTQ_IRQ_CFG0",
    "GATOS_ADDR",
    "GATOS_PAR",
    "GATOS_SID",
    "GERROR_IRQ_CFG0",
    "PRIQ_BASE",
    "PRIQ_IRQ_CFG0",
    "S2PII",
    "STRTAB_BASE",
];

/// One table per structure family: name, size of its structures in bits (`None`: by register), text.
const TABLES: &[(&str, Option<u32>, &str)] = &[
    ("ste", Some(512), include_str!("../golden/ste.tsv")),
    ("cd", Some(512), include_str!("../golden/cd.tsv")),
    ("strtab", Some(64), include_str!("../golden/strtab.tsv")),
    ("cdtab", Some(64), include_str!("../golden/cdtab.tsv")),
    ("desc", Some(64), include_str!("../golden/desc.tsv")),
    ("event", Some(256), include_str!("../golden/event.tsv")),
    ("cmd", Some(128), include_str!("../golden/cmd.tsv")),
    ("pri", Some(128), include_str!("../golden/pri.tsv")),
    ("regs", None, include_str!("../golden/regs.tsv")),
];

const HEADER: &str = "structure\tfield\tmsb\tlsb\tsection\tlinux\tnote";

/// Starts the note of a row whose position has no second source: the field may be absent, but may not be elsewhere.
const OPTIONAL: &str = "optional:";

/// One row of a golden table.
struct Golden {
    structure: &'static str,
    field: &'static str,
    msb: u32,
    lsb: u32,
    section: &'static str,
    note: &'static str,
    structure_bits: u32,
}

impl Golden {
    fn is_optional(&self) -> bool {
        self.note.starts_with(OPTIONAL)
    }

    fn position(&self) -> (u32, u32) {
        (self.msb, self.lsb)
    }
}

static GOLDEN: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    for &(table, bits, text) in TABLES {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER), "{table}.tsv: header");
        for (index, line) in lines.enumerate() {
            let number = index + 2;
            let columns: Vec<&'static str> = line.split('\t').collect();
            let [structure, field, msb, lsb, section, _linux, note] = columns[..] else {
                panic!(
                    "{table}.tsv:{number}: {} columns, expected 7",
                    columns.len()
                );
            };
            let bit = |text: &str| -> u32 {
                text.parse()
                    .unwrap_or_else(|error| panic!("{table}.tsv:{number}: {text:?}: {error}"))
            };
            let structure_bits = bits.unwrap_or(if WIDE_REGISTERS.contains(&structure) {
                64
            } else {
                32
            });
            rows.push(Golden {
                structure,
                field,
                msb: bit(msb),
                lsb: bit(lsb),
                section,
                note,
                structure_bits,
            });
        }
    }
    rows
});

/// A published field with the position it must have: the golden one, or its own where the tables have none.
struct Probe {
    field: &'static str,
    msb: u32,
    lsb: u32,
    read: fn(&[u64]) -> u64,
}

impl Probe {
    fn expected(&self, words: &[u64]) -> u64 {
        (self.lsb..=self.msb)
            .filter(|&bit| words[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
            .fold(0, |value, bit| value | 1 << (bit - self.lsb))
    }
}

/// Reserved and IMPLEMENTATION DEFINED ranges have no name in the specification, so no golden row either.
fn is_reserved(field: &str) -> bool {
    field.starts_with('_')
        || ["RES0", "RES1", "IMPDEF", "IMPLEMENTATION"]
            .iter()
            .any(|prefix| field.starts_with(prefix))
}

fn published_structures(golden_structure: &'static str) -> Vec<&'static str> {
    let aliased: Vec<_> = STRUCTURE_ALIASES
        .iter()
        .filter(|(golden, _)| *golden == golden_structure)
        .map(|(_, published)| *published)
        .collect();
    if aliased.is_empty() {
        vec![golden_structure]
    } else {
        aliased
    }
}

fn published_field(row: &Golden) -> &'static str {
    FIELD_ALIASES
        .iter()
        .filter(|(structure, field, _)| {
            *field == row.field && ["*", row.structure].contains(structure)
        })
        .max_by_key(|(structure, ..)| *structure != "*")
        .map_or(row.field, |(.., published)| published)
}

fn is_listed(list: &[(&str, &str, &str)], structure: &str, field: &str) -> bool {
    list.iter()
        .any(|(s, f, _)| *s == structure && ["*", field].contains(f))
}

/// The published layouts a golden structure maps to.
fn layouts_of(golden_structure: &'static str) -> Vec<&'static Layout> {
    let names = published_structures(golden_structure);
    layouts()
        .filter(|layout| names.contains(&layout.structure))
        .collect()
}

/// The golden rows that describe one published field.
fn golden_rows_of(published_structure: &str, field: &str) -> Vec<&'static Golden> {
    GOLDEN
        .iter()
        .filter(|row| {
            published_field(row) == field
                && published_structures(row.structure).contains(&published_structure)
        })
        .collect()
}

fn probes_of(layout: &Layout) -> Vec<Probe> {
    layout
        .fields
        .iter()
        .map(|field| {
            let golden = golden_rows_of(layout.structure, field.name);
            let (msb, lsb) = golden
                .first()
                .map_or((field.msb, field.lsb), |row| row.position());
            Probe {
                field: field.name,
                msb,
                lsb,
                read: field.read,
            }
        })
        .collect()
}

/// Fails with the disagreements, the first of them only when one slip shows up in hundreds of words.
fn assert_none(failures: &[String]) {
    const SHOWN: usize = 40;
    let shown = &failures[..failures.len().min(SHOWN)];
    assert!(
        failures.is_empty(),
        "{} disagreements:\n{}",
        failures.len(),
        shown.join("\n")
    );
}

#[test]
fn golden_tables_are_well_formed() {
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    for row in GOLDEN.iter() {
        let name = format!("{}.{}", row.structure, row.field);
        if !seen.insert(name.clone()) {
            failures.push(format!("{name}: two rows"));
        }
        if row.lsb > row.msb || row.msb >= row.structure_bits {
            failures.push(format!(
                "{name}: [{}:{}] does not fit {} bits",
                row.msb, row.lsb, row.structure_bits
            ));
        }
        if row.msb / 64 != row.lsb / 64 {
            failures.push(format!(
                "{name}: [{}:{}] crosses a doubleword",
                row.msb, row.lsb
            ));
        }
        if !row.section.starts_with("IHI 0070 §") && !row.section.starts_with("DDI 0487 ") {
            failures.push(format!("{name}: no section"));
        }
    }
    for name in WIDE_REGISTERS {
        if !GOLDEN.iter().any(|row| row.structure == *name) {
            failures.push(format!("{name}: wide register without a row"));
        }
    }
    assert_none(&failures);
}

#[test]
fn published_names_are_unique_and_their_fields_fit() {
    let mut structures = BTreeSet::new();
    let mut failures = Vec::new();
    for layout in layouts() {
        if !structures.insert(layout.structure) {
            failures.push(format!("{}: published twice", layout.structure));
        }
        let mut fields = BTreeMap::new();
        for field in layout.fields {
            let name = format!("{}.{}", layout.structure, field.name);
            if field.lsb > field.msb || field.msb >= layout.bits {
                failures.push(format!(
                    "{name}: [{}:{}] does not fit {} bits",
                    field.msb, field.lsb, layout.bits
                ));
            }
            if !is_reserved(field.name)
                && fields.insert(field.name, (field.msb, field.lsb)).is_some()
            {
                failures.push(format!("{name}: published twice"));
            }
        }
    }
    assert_none(&failures);
}

#[test]
fn every_golden_field_is_published_at_its_position() {
    let mut failures = BTreeSet::new();
    for row in GOLDEN.iter() {
        let found = layouts_of(row.structure);
        if found.is_empty() && !row.is_optional() && !is_listed(NOT_PUBLISHED, row.structure, "*") {
            failures.insert(format!("{}: structure not published", row.structure));
            continue;
        }
        for layout in &found {
            if layout.bits != row.structure_bits {
                failures.insert(format!(
                    "{}: {} bits, golden {}",
                    layout.structure, layout.bits, row.structure_bits
                ));
            }
        }
        let fields: Vec<_> = found
            .iter()
            .flat_map(|layout| layout.fields)
            .filter(|field| field.name == published_field(row))
            .collect();
        let absent_by_choice =
            row.is_optional() || is_listed(NOT_PUBLISHED, row.structure, row.field);
        if fields.is_empty() && !absent_by_choice {
            failures.insert(format!(
                "{}.{}: not published; golden [{}:{}], {}",
                row.structure, row.field, row.msb, row.lsb, row.section
            ));
        }
        for field in fields {
            if (field.msb, field.lsb) != row.position() {
                failures.insert(format!(
                    "{}.{}: published [{}:{}], golden [{}:{}], {} {}",
                    row.structure,
                    row.field,
                    field.msb,
                    field.lsb,
                    row.msb,
                    row.lsb,
                    row.section,
                    row.note
                ));
            }
        }
    }
    assert_none(&Vec::from_iter(failures));
}

#[test]
fn every_published_field_is_golden_or_reserved() {
    let mut failures = Vec::new();
    for layout in layouts() {
        for field in layout.fields {
            if !is_reserved(field.name)
                && golden_rows_of(layout.structure, field.name).is_empty()
                && !is_listed(NOT_GOLDEN, layout.structure, field.name)
            {
                failures.push(format!(
                    "{}.{}: [{}:{}] is in no golden table",
                    layout.structure, field.name, field.msb, field.lsb
                ));
            }
        }
    }
    assert_none(&failures);
}

/// A word with one bit set reads as that bit through each field that holds it, and as zero through all others.
#[test]
fn one_hot_words_read_through_the_right_fields_only() {
    let mut failures = Vec::new();
    for layout in layouts() {
        let probes = probes_of(layout);
        for bit in 0..layout.bits {
            let mut words = vec![0_u64; layout.bits.div_ceil(64) as usize];
            words[(bit / 64) as usize] = 1 << (bit % 64);
            for probe in &probes {
                let (got, expected) = ((probe.read)(&words), probe.expected(&words));
                if got != expected {
                    failures.push(format!(
                        "{}.{}: bit {bit} alone reads {got:#x}, expected {expected:#x}",
                        layout.structure, probe.field
                    ));
                }
            }
        }
    }
    assert_none(&failures);
}

/// With every bit set, and with every bit set but one, no field loses or gains a bit.
#[test]
fn all_ones_and_one_cold_words_read_through_the_right_fields() {
    let mut failures = Vec::new();
    for layout in layouts() {
        // A 32-bit register comes in one word with its upper half zero.
        let ones: Vec<u64> = (0..layout.bits.div_ceil(64))
            .map(|word| u64::MAX >> (64 - (layout.bits - 64 * word).min(64)))
            .collect();
        let probes = probes_of(layout);
        for cold in std::iter::once(None).chain((0..layout.bits).map(Some)) {
            let mut words = ones.clone();
            if let Some(bit) = cold {
                words[(bit / 64) as usize] &= !(1 << (bit % 64));
            }
            for probe in &probes {
                let (got, expected) = ((probe.read)(&words), probe.expected(&words));
                if got != expected {
                    failures.push(format!(
                        "{}.{}: ones except {cold:?} read {got:#x}, expected {expected:#x}",
                        layout.structure, probe.field
                    ));
                }
            }
        }
    }
    assert_none(&failures);
}

/// An exception that excuses nothing hides the next mistake, so each must still be needed.
#[test]
fn no_exception_is_stale() {
    let has_published = |structure: &str, field: &str| {
        layouts().any(|layout| {
            layout.structure == structure
                && (field == "*" || layout.fields.iter().any(|f| f.name == field))
        })
    };
    let mut failures = Vec::new();
    for (golden, published) in STRUCTURE_ALIASES {
        if !GOLDEN.iter().any(|row| row.structure == *golden) || !has_published(published, "*") {
            failures.push(format!("structure alias {golden} = {published}"));
        }
    }
    for (structure, field, published) in FIELD_ALIASES {
        let used = GOLDEN.iter().any(|row| {
            row.field == *field
                && ["*", row.structure].contains(structure)
                && layouts_of(row.structure)
                    .iter()
                    .any(|layout| has_published(layout.structure, published))
        });
        if !used {
            failures.push(format!("field alias {structure}.{field} = {published}"));
        }
    }
    for (structure, field, reason) in NOT_PUBLISHED {
        let mut rows = GOLDEN
            .iter()
            .filter(|row| row.structure == *structure && ["*", row.field].contains(field))
            .peekable();
        let needed = rows.peek().is_some()
            && rows.all(|row| {
                !layouts_of(row.structure)
                    .iter()
                    .any(|layout| has_published(layout.structure, published_field(row)))
            });
        if !needed || reason.is_empty() {
            failures.push(format!("not published: {structure}.{field} ({reason})"));
        }
    }
    for (structure, field, reason) in NOT_GOLDEN {
        if !has_published(structure, field)
            || !golden_rows_of(structure, field).is_empty()
            || reason.is_empty()
        {
            failures.push(format!("not golden: {structure}.{field} ({reason})"));
        }
    }
    assert_none(&failures);
}

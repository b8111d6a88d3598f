//! The register page: the table that `smmu-sim regs` prints, and the fields of each layout.

use std::fmt::Write as _;

use super::{is_made, positions, smmu_sim};

/// `StrtabBaseCfg` as the architecture writes it.
fn register_name(structure: &str) -> String {
    let mut name = String::new();
    for c in structure.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_uppercase());
    }
    name
}

#[test]
fn the_register_page_is_the_table_of_the_model_and_the_fields_of_every_layout() {
    let registers = smmu_sim(&["regs", "--table", "markdown"]);
    is_made("reference/registers.md", "registers", &registers);
    let mut table = String::from("| register | fields |\n|---|---|\n");
    for layout in smmu::spec::regs::LAYOUTS {
        let name = register_name(layout.structure);
        writeln!(table, "| {name} | {} |", positions(layout)).unwrap();
    }
    is_made("reference/registers.md", "fields", &table);
}

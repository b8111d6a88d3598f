//! The page of illegal STEs and CDs: every rule of the model under its number, and no other.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;

use smmu::fault::{IllegalCd, IllegalSte};

use super::book;

/// Numbers and variants that a section's table names. A row without a variant must say why.
fn told(section: &str) -> BTreeSet<(u8, String)> {
    let page = fs::read_to_string(book().join("reference/illegal.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let table = rest.split("\n## ").next().unwrap();
    let mut told = BTreeSet::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(number)) = cells.get(1).map(|cell| cell.parse::<u8>()) else {
            continue;
        };
        let variants: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        let explained = cells[4].starts_with("cannot arise") || cells[4].starts_with("covered by");
        assert!(explained || !variants.is_empty(), "{line}");
        told.extend(variants.into_iter().map(|name| (number, name.to_owned())));
    }
    told
}

fn rules<R: Debug + Copy>(all: &[R], number: impl Fn(R) -> u8) -> BTreeSet<(u8, String)> {
    all.iter()
        .map(|&rule| (number(rule), format!("{rule:?}")))
        .collect()
}

#[test]
fn the_page_of_illegal_structures_has_every_rule_under_its_number() {
    assert_eq!(told("STE"), rules(&IllegalSte::ALL, IllegalSte::number));
    assert_eq!(told("CD"), rules(&IllegalCd::ALL, IllegalCd::number));
}

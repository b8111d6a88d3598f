//! What an identification field changes: random worlds on parts that differ in it alone.

use std::collections::BTreeSet;

use smmu::config::SmmuConfig;
use smmu::{Outcome, Smmu};

use super::capabilities::{Row, rows, with_value};
use crate::support::strategies::{Memory, Rng, World, world};

/// Worlds asked, a second's worth.
const WORLDS: u64 = 4000;

/// Modelled fields that no transaction of these worlds depends on: they decide commands, queues,
/// interrupts, page requests, endpoints, operations, and how many transactions may wait. TTF has one
/// value.
const ELSEWHERE: &[&str] = &[
    "IDR0.TTF",
    "IDR0.MSI",
    "IDR0.SEV",
    "IDR0.ATOS",
    "IDR0.PRI",
    "IDR0.VMW",
    "IDR0.VATOS",
    "IDR0.ATSRECERR",
    "IDR1.PRIQS",
    "IDR1.EVENTQS",
    "IDR1.CMDQS",
    "IDR2.BA_VATOS",
    "IDR3.PPS",
    "IDR3.RIL",
    "IDR3.BBML",
    "IDR3.PASIDTT",
    "IDR5.STALL_MAX",
];

/// Every transaction of a world on `part`, each on memory as it was at first.
fn answers(world: &World, part: SmmuConfig) -> Vec<(Outcome, Memory)> {
    let mut smmu = Smmu::new(part).unwrap();
    world.registers.program(&mut smmu);
    world
        .transactions
        .iter()
        .map(|transaction| {
            let mut memory = world.memory.clone();
            let outcome = smmu.translate_cold(&mut memory, transaction, &mut ());
            (outcome, memory)
        })
        .collect()
}

/// Whether another value of the row's field, if this world's part can have one, changes an answer.
fn matters(row: &Row, world: &World, before: &[(Outcome, Memory)], rng: &mut Rng) -> bool {
    let other = rng.bits(row.bits().min(6));
    let Some(ids) = with_value(world.config.id_registers(), row, other) else {
        return false;
    };
    match SmmuConfig::from_id_registers(ids) {
        Ok(part) if part != world.config => answers(world, part) != before,
        _ => false,
    }
}

#[test]
fn fields_that_are_only_registers_change_no_translation_and_the_others_do() {
    let mut open: Vec<Row> = rows();
    open.retain(|row| row.ours == "modelled" || row.ours == "register only");
    let mut rng = Rng::new(1);
    for seed in 0..WORLDS {
        let world = world(seed, (seed % 3) as u32);
        let before = answers(&world, world.config.clone());
        open.retain(|row| !matters(row, &world, &before, &mut rng));
    }
    let silent: BTreeSet<String> = open.iter().map(Row::name).collect();
    let expected: BTreeSet<String> = rows()
        .iter()
        .filter(|row| row.ours == "register only")
        .map(Row::name)
        .chain(ELSEWHERE.iter().map(|&name| name.to_owned()))
        .collect();
    assert_eq!(silent, expected);
}

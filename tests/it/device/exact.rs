//! Invalidation is exact: a command removes what the table of the architecture names (IHI 0070 §4.3,
//! §4.4), and leaves the rest. The predicate is written from that table, over raw command words.

use std::collections::BTreeMap;

use proptest::prelude::*;
use smmu::CommandStep;
use smmu::cache::{CacheConfig, TlbStructure};
use smmu::command::{Command, EntryKind, TlbTag};
use smmu::fetch::StreamWorld;
use smmu::regfile::Width;

use super::caches::{access, populate};
use super::driver::{AREA, Driver, PAGES, Plan, STREAMS, Setup, UPPER};
use super::shapes::mix;

/// Bits `msb:lsb` of a command.
fn field(words: [u64; 2], msb: u32, lsb: u32) -> u64 {
    words[(lsb / 64) as usize] >> (lsb % 64) & ((1 << (msb - lsb + 1)) - 1)
}

/// What besides the command decides.
#[derive(Clone, Copy)]
struct Scope {
    e2h: bool,
    vmw: u64,
    ds: bool,
}

/// Whether an address, or a range of addresses, meets the leaf an entry came from.
fn meets(words: [u64; 2], entry: &TlbTag, scope: Scope) -> bool {
    let table = matches!(entry.kind, EntryKind::Table { .. });
    if field(words, 64, 64) == 1 && table {
        return false;
    }
    let size = 1u128 << entry.leaf_log2;
    let start = u128::from(entry.input) / size * size;
    let address = u128::from(words[1] & !0xfff);
    let granule: u128 = match field(words, 75, 74) {
        0 => return (start..start + size).contains(&address),
        1 => 1 << 12,
        2 => 1 << 14,
        _ => 1 << 16,
    };
    if granule != 1 << entry.granule_log2 {
        return false;
    }
    let mut ttl = field(words, 73, 72) as i8;
    if granule == 1 << 14 && ttl == 1 && !scope.ds {
        ttl = 0;
    }
    if let EntryKind::Leaf { level } = entry.kind
        && ttl != 0
        && ttl != level
    {
        return false;
    }
    let address = address / granule * granule;
    let bytes = ((u128::from(field(words, 16, 12)) + 1) << field(words, 25, 20)) * granule;
    start < address + bytes && address < start + size
}

/// Table 7.3 of the reference, row by row.
fn must_go(words: [u64; 2], entry: &TlbTag, scope: Scope) -> bool {
    let el1 = entry.world == StreamWorld::El1;
    let stage1 = !entry.is_ipa;
    let compared = if (1..=4).contains(&scope.vmw) {
        0xffff << scope.vmw & 0xffff
    } else {
        0xffff
    };
    let vmid = (field(words, 47, 32) ^ u64::from(entry.vmid.get())) & compared == 0;
    let named = field(words, 63, 48);
    let asid = entry.asid.map(|asid| u64::from(asid.get()));
    let or_global = asid.is_none_or(|asid| asid == named);
    let el2 = entry.world
        == if scope.e2h {
            StreamWorld::El2E2h
        } else {
            StreamWorld::El2
        };
    match field(words, 7, 0) {
        0x10 => el1 && stage1 && vmid,
        0x11 => el1 && stage1 && vmid && asid == Some(named),
        0x12 => el1 && stage1 && vmid && or_global && meets(words, entry, scope),
        0x13 => el1 && stage1 && vmid && meets(words, entry, scope),
        0x20 => !el1,
        0x21 => el2 && scope.e2h && asid == Some(named),
        0x22 => el2 && (or_global || !scope.e2h) && meets(words, entry, scope),
        0x23 => el2 && meets(words, entry, scope),
        0x28 => el1 && vmid,
        0x2a => el1 && entry.is_ipa && vmid && meets(words, entry, scope),
        0x30 => el1,
        _ => false,
    }
}

/// A TLB invalidation that random bits stand for, most often one that could hit something.
fn tlbi(driver: &Driver, random: u64) -> [u64; 2] {
    let bits = |n| mix(random, n);
    let opcodes = [
        0x10, 0x11, 0x12, 0x12, 0x12, 0x13, 0x13, 0x20, 0x21, 0x22, 0x22, 0x23, 0x28, 0x2a, 0x2a,
        0x2a, 0x30,
    ];
    let opcode = opcodes[bits(1) as usize % opcodes.len()];
    let (vmid, asid) = (bits(2) % 5, bits(3) % 4);
    let base = if bits(4) % 4 == 0 { UPPER } else { 0 };
    let address = base
        | (bits(5) % 8) << AREA
        | (bits(6) % (2 * PAGES)) << [12, 14, 16][bits(7) as usize % 3];
    let (mut low, mut high) = (opcode | vmid << 32 | asid << 48, address | bits(8) & 1);
    let tg = bits(9) % 8;
    if (1..4).contains(&tg) {
        let (num, scale, ttl) = (bits(10) % 32, bits(11) % 40 % 21, bits(12) % 4);
        let empty = (num, scale, ttl) == (0, 0, 0);
        low |= (num | u64::from(empty)) << 12 | scale << 20;
        high |= tg << 10 | ttl << 8;
    }
    let _ = driver;
    [low, high]
}

/// How often each entry is there: tags do not tell address sets apart.
fn census(driver: &Driver) -> BTreeMap<String, (TlbTag, u64)> {
    let mut entries = BTreeMap::new();
    for (cache, tag) in driver.smmu.cached_translations() {
        let entry = entries
            .entry(format!("{cache:?} {tag:?}"))
            .or_insert((tag, 0));
        entry.1 += 1;
    }
    entries
}

/// A driver whose caches are full of all sorts.
fn warmed(choices: u32, structure: TlbStructure) -> Driver {
    let setup = Setup {
        choices,
        caches: CacheConfig {
            structure,
            ..CacheConfig::INFINITE
        },
    };
    let mut driver = Driver::new(&setup);
    populate(&mut driver, choices.into());
    for n in 0..400 {
        let transaction = access(&driver, mix(choices.into(), n));
        let mut memory = driver.bench.ram.port();
        let _ = driver.smmu.translate(&mut memory, &transaction, &mut ());
    }
    driver
}

/// Sends one command and gives the number of entries it says it removed.
fn removed(driver: &mut Driver, words: [u64; 2]) -> u64 {
    driver.push(words);
    let mut memory = driver.bench.ram.port();
    match driver.smmu.step_command(&mut memory, &mut ()) {
        CommandStep::Consumed { removed, .. } => removed,
        other => panic!("{words:#x?}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_tlb_invalidation_removes_what_it_names_and_nothing_else(
        choices in any::<u32>(),
        separate in any::<bool>(),
        commands in prop::collection::vec(any::<u64>(), 12),
    ) {
        let structure = if separate { TlbStructure::Separate } else { TlbStructure::Combined };
        let fresh = warmed(choices, structure);
        let scope = Scope {
            e2h: fresh.e2h,
            vmw: fresh.smmu.mmio_read(0x20, Width::W32) >> 6 & 7,
            ds: true,
        };
        let before = census(&fresh);
        let configurations: Vec<_> = fresh.smmu.cached_configurations().collect();
        for random in commands {
            let mut driver = fresh.clone();
            let words = tlbi(&driver, random);
            let count = removed(&mut driver, words);
            let mut expected = before.clone();
            expected.retain(|_, (tag, _)| !must_go(words, tag, scope));
            // The predicate that others ask, which whole contexts do not go through.
            let Ok(Command::Tlbi(command)) = Command::decode(words, driver.smmu.config()) else {
                panic!("{words:#x?}");
            };
            let reach = driver.smmu.registers().invalidation_scope();
            for (tag, _) in before.values() {
                prop_assert_eq!(command.covers(tag, reach), must_go(words, tag, scope), "{:?}", tag);
            }
            let gone: u64 = before.values().map(|(_, n)| n).sum::<u64>()
                - expected.values().map(|(_, n)| n).sum::<u64>();
            prop_assert_eq!(census(&driver), expected, "{:#x?}", words);
            prop_assert_eq!(count, gone, "{:#x?}", words);
            let after: Vec<_> = driver.smmu.cached_configurations().collect();
            prop_assert_eq!(&after, &configurations);
        }
    }

    #[test]
    fn a_configuration_invalidation_removes_what_it_names_and_nothing_else(
        choices in any::<u32>(),
        commands in prop::collection::vec(any::<u64>(), 12),
    ) {
        let fresh = warmed(choices, TlbStructure::Combined);
        let before: Vec<_> = fresh.smmu.cached_configurations().collect();
        let stes = |driver: &Driver| {
            let held = driver.smmu.cached().stes;
            held.iter().map(|ste| u64::from(ste.stream.get())).collect::<Vec<_>>()
        };
        let stes_before = stes(&fresh);
        prop_assert!(!stes_before.is_empty());
        for random in commands {
            let mut driver = fresh.clone();
            let bits = |n| mix(random, n);
            let (stream, ssid, leaf) = (bits(1) % (STREAMS + 2), bits(2) % 5, bits(3) & 1);
            let range = if bits(4) % 4 == 0 { 31 } else { bits(5) % 4 };
            let words = match bits(6) % 4 {
                0 => [0x03 | stream << 32, leaf],
                1 => [0x04 | stream << 32, range],
                2 => [0x05 | ssid << 12 | stream << 32, leaf],
                _ => [0x06 | stream << 32, 0],
            };
            let count = removed(&mut driver, words);
            let mut expected = before.clone();
            expected.retain(|(sid, substream)| {
                let sid = u64::from(sid.get());
                let index = substream.map_or(0, |id| u64::from(id.get()));
                // What has no CD is nothing that CFGI_CD must find.
                let has_cd = matches!(
                    driver.plans[sid as usize],
                    Plan::Stage1(..) | Plan::Substreams(..)
                );
                !match words[0] & 0xff {
                    0x03 => sid == stream,
                    0x04 => range == 31 || sid >> (range + 1) == stream >> (range + 1),
                    0x05 => sid == stream && index == ssid && has_cd,
                    _ => sid == stream && has_cd,
                }
            });
            // What is said of CDs leaves STEs alone.
            let mut expected_stes = stes_before.clone();
            expected_stes.retain(|&sid| match words[0] & 0xff {
                0x03 => sid != stream,
                0x04 => range != 31 && sid >> (range + 1) != stream >> (range + 1),
                _ => true,
            });
            let after: Vec<_> = driver.smmu.cached_configurations().collect();
            let gone = before.len() - expected.len() + stes_before.len() - expected_stes.len();
            prop_assert_eq!(count as usize, gone, "{:#x?}", words);
            prop_assert_eq!(after, expected, "{:#x?}", words);
            prop_assert_eq!(stes(&driver), expected_stes, "{:#x?}", words);
            prop_assert_eq!(census(&driver), census(&fresh));
        }
    }
}

/// The random commands do find something, every kind of them.
#[test]
fn the_commands_hit() {
    let mut hits: BTreeMap<u64, u64> = BTreeMap::new();
    for choices in 0..12 {
        let choices = mix(choices, 3) as u32;
        let fresh = warmed(choices, TlbStructure::Separate);
        for n in 0..60 {
            let mut driver = fresh.clone();
            let words = tlbi(&driver, mix(choices.into(), 5000 + n));
            *hits.entry(words[0] & 0xff).or_default() += removed(&mut driver, words);
        }
    }
    let opcodes = [
        0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x28, 0x2a, 0x30,
    ];
    for opcode in opcodes {
        assert!(
            hits.get(&opcode).is_some_and(|hits| *hits > 5),
            "{opcode:#x}: {hits:?}"
        );
    }
}

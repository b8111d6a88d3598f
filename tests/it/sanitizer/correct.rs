//! Correct sequences that look like mistakes: none of them is reported (IHI 0070 §3.21; the orders are
//! those of Linux's arm-smmu-v3 and io-pgtable-arm).

use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::sanitize::{Hints, Kind};

use super::machine::{
    Machine, PAGE, Space, Stage, Stages, cd_address, cd_words, guest_page, ste_address, ste_words,
};

const STREAM: u32 = 5;

/// A machine, and a space with pages 0 to 15 mapped.
fn machine(stages: Stages) -> (Machine, Space) {
    let mut machine = Machine::new(SmmuConfig::full(), &CacheConfig::INFINITE, Hints::Off);
    let space = machine.space(stages, 1, 1);
    for page in 0..16 {
        let output = guest_page(page);
        machine.set(&space, page * PAGE, space.leaf(output));
        if stages == Stages::Both {
            machine.back(&space, output, output + (1 << 32));
        }
    }
    (machine, space)
}

/// Stores some words of an STE; `invalidation` follows, if the step is to be seen.
fn step(machine: &mut Machine, words: &[(u64, u64)]) {
    for &(index, word) in words {
        machine.write(ste_address(STREAM) + 8 * index, word);
    }
    machine.cfgi_ste(STREAM);
    machine.sync();
    machine.read(STREAM, 0);
}

#[test]
fn an_ste_updated_in_steps_is_not_torn() {
    for stages in [Stages::One, Stages::Two, Stages::Both] {
        let (mut machine, space) = machine(stages);
        let bypass = [1 | 0b100 << 1, 1 << 44, 0, 0];
        let cd = cd_words(&space);
        machine.store(cd_address(STREAM), cd);
        let ste = ste_words(STREAM, &space).0;
        step(&mut machine, &[(1, bypass[1]), (2, 0), (3, 0)]);
        step(&mut machine, &[(0, bypass[0])]);
        // What bypass does not use, then the word that decides; and back.
        step(&mut machine, &[(2, ste[2]), (3, ste[3])]);
        step(&mut machine, &[(0, ste[0])]);
        step(&mut machine, &[(0, bypass[0])]);
        step(&mut machine, &[(2, 0), (3, 0)]);
        // Abort is a word too.
        step(&mut machine, &[(0, 1)]);
        step(
            &mut machine,
            &[(0, ste[0] & 1), (1, ste[1]), (2, ste[2]), (3, ste[3])],
        );
        step(&mut machine, &[(0, ste[0])]);
        machine.assert_silent();
        // All at once is what it is not. S2VMID tags stage 1 alone, too.
        step(&mut machine, &[(0, bypass[0]), (2, 0), (3, 0)]);
        step(&mut machine, &[(0, ste[0]), (2, ste[2] ^ 2), (3, ste[3])]);
        assert!(machine.kinds().contains(&Kind::TornConfiguration));
    }
}

#[test]
fn tables_of_a_stream_that_was_detached_may_become_anothers() {
    // The CD's memory is used again, valid both times, with other words.
    let (mut machine, space) = machine(Stages::One);
    machine.attach(STREAM, &space);
    machine.read(STREAM, 0);
    machine.write(ste_address(STREAM), 0);
    machine.cfgi_ste(STREAM);
    machine.sync();
    let other = machine.space(Stages::One, 2, 0);
    let cd = cd_words(&other);
    machine.store(cd_address(STREAM), cd);
    let ste = ste_words(STREAM, &other);
    machine.store(ste_address(STREAM), ste);
    machine.cfgi_ste(STREAM);
    machine.sync();
    machine.read(STREAM, 0);
    machine.assert_silent();
}

#[test]
fn two_streams_may_share_an_address_space() {
    for stages in [Stages::One, Stages::Two, Stages::Both] {
        let (mut machine, space) = machine(stages);
        for stream in [STREAM, 6, 7] {
            machine.attach(stream, &space);
            for page in 0..16 {
                machine.read(stream, page * PAGE);
            }
        }
        machine.assert_silent();
    }
}

#[test]
fn dirty_pages_may_be_collected_while_devices_write_if_they_are_invalidated_after() {
    for stages in [Stages::One, Stages::Two] {
        let (mut machine, mut space) = machine(stages);
        space.marks = true;
        let clean = space.read_only(guest_page(0)) | 1 << 51;
        machine.set(&space, 0, clean);
        machine.attach(STREAM, &space);
        for _ in 0..4 {
            let slot = machine.page(&space, 0);
            machine.write_access(STREAM, 0);
            assert_ne!(machine.peek(slot), clean);
            machine.write(slot, clean);
            machine.tlbi_page(&space, 0);
            machine.sync();
        }
        machine.assert_silent();
    }
}

#[test]
fn a_page_unmapped_lazily_and_left_alone_is_no_mistake() {
    let (mut machine, space) = machine(Stages::One);
    machine.attach(STREAM, &space);
    for page in 0..16 {
        machine.read(STREAM, page * PAGE);
    }
    for page in 0..8 {
        machine.set(&space, page * PAGE, 0);
    }
    for page in 8..16 {
        machine.read(STREAM, page * PAGE);
    }
    machine.tlbi_space(&space);
    machine.sync();
    for page in 0..8 {
        machine.set(&space, page * PAGE, space.leaf(guest_page(99)));
        machine.read(STREAM, page * PAGE);
    }
    machine.assert_silent();
}

#[test]
fn a_table_may_be_used_for_something_else_once_it_is_invalidated() {
    for stages in [Stages::One, Stages::Two] {
        let (mut machine, space) = machine(stages);
        machine.attach(STREAM, &space);
        machine.read(STREAM, 0);
        let slot = machine.slot(&space, space.outer(), 0, 21);
        let table = machine.peek(slot) & 0xffff_ffff_f000;
        machine.write(slot, 0);
        machine.tlbi_page(&space, 0);
        machine.sync();
        for entry in 0..512 {
            machine.write(table + 8 * entry, !entry);
        }
        machine.read(STREAM, 0);
        machine.write(slot, space.leaf(1 << 32) & !2);
        machine.read(STREAM, 0);
        machine.tlbi_space(&space);
        machine.sync();
        machine.assert_silent();
    }
}

#[test]
fn a_contiguous_region_is_one_entry_and_no_conflict() {
    for stages in [Stages::One, Stages::Two] {
        let (mut machine, space) = machine(stages);
        machine.attach(STREAM, &space);
        for page in 0..16 {
            let leaf = space.leaf((1 << 32) + page * PAGE) | 1 << 52;
            machine.set(&space, page * PAGE, leaf);
        }
        for page in [3, 9, 15, 0] {
            machine.read(STREAM, page * PAGE);
        }
        machine.tlbi_page(&space, 0);
        machine.sync();
        machine.assert_silent();
    }
}

#[test]
fn stage_2_of_a_guest_may_change_with_both_invalidations() {
    let (mut machine, space) = machine(Stages::Both);
    machine.attach(STREAM, &space);
    for round in 0..8 {
        machine.read(STREAM, round * PAGE);
        let ipa = guest_page(round);
        let slot = machine.slot(&space, Stage::Two, ipa, 12);
        machine.write(slot, 0);
        machine.tlbi_ipa(&space, ipa);
        machine.tlbi_nh_all(&space);
        machine.sync();
        machine.read(STREAM, round * PAGE);
        machine.back(&space, ipa, ipa + (2 << 32));
        machine.read(STREAM, round * PAGE);
    }
    machine.assert_silent();
}

// DDI 0487 §D8.3: bits 58 to 55 are for software, in tables too.
#[test]
fn software_bits_of_live_descriptors_are_the_drivers_own() {
    for stages in [Stages::One, Stages::Two, Stages::Both] {
        let (mut machine, space) = machine(stages);
        machine.attach(STREAM, &space);
        machine.read(STREAM, 0);
        let lsbs = [30, 21, 12];
        for lsb in lsbs {
            let slot = machine.slot(&space, space.outer(), 0, lsb);
            let descriptor = machine.peek(slot);
            machine.write(slot, descriptor ^ 0xf << 55);
        }
        machine.read(STREAM, 0);
        machine.tlbi_page(&space, 0);
        machine.sync();
        machine.read(STREAM, 0);
        machine.assert_silent();
        // Any other bit is not: here nG or, at stage 2, a bit of the memory type.
        let slot = machine.slot(&space, space.outer(), 0, 12);
        let descriptor = machine.peek(slot);
        machine.write(slot, descriptor ^ (1 << 5 | 1 << 11));
        machine.read(STREAM, 0);
        assert!(!machine.kinds().is_empty(), "{stages:?}");
    }
}

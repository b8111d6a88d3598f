//! Live entries that should be gone: tags used again, and break-before-make; each planted 1,000 times
//! (IHI 0070 §3.17, §3.21).

use smmu::config::SmmuConfig;
use smmu::sanitize::{BrokenRule, Hints, Kind};

use super::machine::{BLOCK, Space, Stage, Stages, guest_page};
use super::scene::{OTHER, PLANTINGS, STREAM, Scene, plant};

#[test]
fn an_asid_reused_with_live_entries_is_found_even_if_the_answer_is_right() {
    plant(&[Stages::One, Stages::Both], |scene| {
        let other = Space {
            root1: scene.machine.frame(),
            ..scene.space
        };
        scene.machine.attach(STREAM, &other);
        if scene.random.one_in(2) {
            let descriptor = other.leaf(scene.output);
            scene.machine.set(&other, scene.page, descriptor);
        }
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page);
        Kind::AsidReused
    });
}

#[test]
fn a_vmid_reused_with_live_entries_is_found_even_if_the_answer_is_right() {
    plant(&[Stages::Two, Stages::Both], |scene| {
        let mut other = scene.machine.space(scene.space.stages, 0, scene.space.vmid);
        other.asid = scene.space.asid;
        other.root1 = scene.space.root1;
        scene.machine.attach(STREAM, &other);
        if scene.random.one_in(2) {
            let descriptor = other.leaf(scene.output);
            scene.machine.set(&other, scene.page, descriptor);
        }
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page);
        Kind::VmidReused
    });
}

#[test]
fn stage_1_alone_and_nested_streams_must_not_share_a_vmid() {
    plant(&[Stages::Both], |scene| {
        let alone = Space {
            stages: Stages::One,
            ..scene.space
        };
        // S2VMID tags stage 1 without stage 2, too (IHI 0070 §5.2).
        let mut ste = scene.machine.ste(OTHER, &alone);
        ste.set(143, 128, alone.vmid);
        scene.machine.detach(OTHER);
        let cd = scene.machine.cd(&alone);
        scene.machine.store(scene.machine.cd_at(OTHER), cd);
        scene.machine.store(scene.machine.ste_at(OTHER), ste);
        scene.machine.cfgi_ste(OTHER);
        scene.machine.sync();
        scene.machine.assert_silent();
        scene.machine.read(OTHER, scene.page);
        Kind::VmidReused
    });
}

#[test]
fn a_live_page_replaced_is_found_by_the_invalidation_that_comes_too_late() {
    plant(&[Stages::One, Stages::Two], |scene| {
        let leaf = scene.space.leaf(scene.output);
        let (new, rule) = match (scene.random.below(3), scene.space.outer()) {
            (0, Stage::One) => (leaf & !(1 << 11), BrokenRule::Global),
            (1, Stage::One) => (leaf | 1 << 2, BrokenRule::Attributes),
            (1, Stage::Two) => (leaf & !(0xf << 2), BrokenRule::Attributes),
            _ => (leaf ^ 1 << 24, BrokenRule::OutputAddress),
        };
        scene.set(new);
        scene.machine.assert_silent();
        scene.machine.tlbi_page(&scene.space, scene.page);
        scene.machine.sync();
        Kind::BreakBeforeMake(rule)
    });
}

/// A part with this level of break-before-make support, whose live page is replaced by a block with
/// the same output.
fn resized(seed: u64, bbml: u8, nt: u64) -> Scene {
    // No part from SMMUv3.2 on has level 0.
    let config = SmmuConfig {
        bbml,
        ..match bbml {
            0 => SmmuConfig::mmu_600(),
            _ => SmmuConfig::full(),
        }
    };
    let mut scene = Scene::on(seed, &[Stages::One, Stages::Two], config, Hints::Off);
    scene.set(0);
    scene.machine.tlbi_page(&scene.space, scene.page);
    scene.machine.sync();
    let block = scene.page & !(BLOCK - 1);
    let output = guest_page(0) + (1 << 30);
    for page in [block + 0x3000, block + 0x5000] {
        let descriptor = scene.space.leaf(output + page - block);
        scene.machine.set(&scene.space, page, 0);
        scene.machine.tlbi_page(&scene.space, page);
        scene.machine.sync();
        scene.machine.set(&scene.space, page, descriptor);
        scene.machine.read(STREAM, page);
    }
    scene.machine.assert_silent();
    let outer = scene.space.outer();
    let slot = scene.machine.slot(&scene.space, outer, block, 21);
    let leaf = scene.space.leaf(output) & !2 | nt << 16;
    scene.machine.write(slot, leaf);
    scene.page = block + 0x3000;
    scene
}

#[test]
fn a_live_page_that_becomes_part_of_a_block_is_found_unless_the_part_allows_it() {
    for seed in 0..PLANTINGS {
        let kind = Kind::BreakBeforeMake(BrokenRule::Size);
        for (bbml, nt, allowed) in [(0, 0, false), (1, 0, false), (1, 1, true), (2, 0, true)] {
            let mut scene = resized(seed, bbml, nt);
            match scene.random.below(3) {
                0 => {
                    scene.machine.read(STREAM, scene.page);
                }
                // Another page of the block, the table forgotten: the new entry covers live ones.
                1 => {
                    let page = scene.page + 0x4000;
                    scene.machine.tlbi_page(&scene.space, page);
                    scene.machine.sync();
                    scene.machine.read(STREAM, page);
                }
                _ => {
                    scene.machine.tlbi_space(&scene.space);
                    scene.machine.sync();
                }
            }
            let found = scene.machine.kinds().contains(&kind);
            assert_eq!(found, !allowed, "seed {seed}, BBML {bbml}, nT {nt}");
        }
    }
}

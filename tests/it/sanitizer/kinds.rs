//! Stale, torn, unsynced and needless: each planted 1,000 times among correct work (IHI 0070 §3.17,
//! §3.21, §4.4).

use smmu::ats::TranslationCompletion;
use smmu::config::{Httu, SmmuConfig};
use smmu::sanitize::{BrokenRule, Exposure, Hints, Kind, Staleness};

use super::machine::{Space, Stage, Stages, cd_address, cd_words, ste_address, ste_words};
use super::scene::{ANY, OTHER, PLANTINGS, STREAM, Scene, plant};

#[test]
fn a_page_unmapped_without_invalidation_is_stale_when_used() {
    plant(ANY, |scene| {
        scene.set(0);
        scene.missed_invalidation();
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page + 8);
        Kind::StaleTranslation(Staleness::Unmapped)
    });
}

#[test]
fn a_page_remapped_without_invalidation_is_stale_when_used() {
    plant(ANY, |scene| {
        let output = scene.output ^ 1 << 24;
        if scene.random.one_in(2) {
            scene.set(0);
            scene.missed_invalidation();
        }
        scene.map(scene.page, output);
        scene.machine.read(STREAM, scene.page);
        scene
            .machine
            .found(Kind::BreakBeforeMake(BrokenRule::OutputAddress));
        Kind::StaleTranslation(Staleness::Remapped)
    });
}

#[test]
fn a_permission_taken_away_without_invalidation_is_stale_when_used() {
    plant(ANY, |scene| {
        let read_only = scene.space.read_only(scene.output);
        scene.set(read_only);
        scene.missed_invalidation();
        scene.machine.read(STREAM, scene.page);
        scene.machine.assert_silent();
        scene.machine.write_access(STREAM, scene.page);
        Kind::StaleTranslation(Staleness::PermissionReduced)
    });
}

#[test]
fn a_permission_given_without_invalidation_makes_a_spurious_fault() {
    plant(ANY, |scene| {
        let read_only = scene.space.read_only(scene.output);
        scene.set(read_only);
        scene.machine.tlbi_page(&scene.space, scene.page);
        scene.machine.sync();
        scene.machine.read(STREAM, scene.page);
        let writable = scene.space.leaf(scene.output);
        scene.set(writable);
        scene.missed_invalidation();
        scene.machine.assert_silent();
        scene.machine.write_access(STREAM, scene.page);
        Kind::StaleTranslation(Staleness::PermissionExtended)
    });
}

#[test]
fn attributes_changed_without_invalidation_are_stale_when_used() {
    plant(ANY, |scene| {
        // AttrIndx 2, or MemAttr 0b0101: Normal Non-cacheable.
        let leaf = scene.space.leaf(scene.output);
        let uncached = match scene.space.outer() {
            Stage::One => leaf | 2 << 2,
            Stage::Two => leaf & !(0xf << 2) | 5 << 2,
        };
        scene.set(uncached);
        scene.missed_invalidation();
        scene.machine.read(STREAM, scene.page);
        scene
            .machine
            .found(Kind::BreakBeforeMake(BrokenRule::Attributes));
        Kind::StaleTranslation(Staleness::Attributes)
    });
}

#[test]
fn a_cleared_access_flag_that_should_fault_is_stale_when_used() {
    plant(ANY, |scene| {
        let old = scene.space.leaf(scene.output) & !(1 << 10);
        scene.set(old);
        scene.missed_invalidation();
        scene.machine.read(STREAM, scene.page);
        Kind::StaleTranslation(Staleness::AccessFlag)
    });
}

#[test]
fn a_write_that_leaves_no_mark_on_a_page_made_clean_is_remarked() {
    for seed in 0..PLANTINGS {
        let mut scene = Scene::new(seed, &[Stages::One, Stages::Two]);
        let space = Space {
            marks: true,
            ..scene.space
        };
        scene.machine.attach(STREAM, &space);
        // Writable-clean: DBM, and no write permission yet.
        let clean = space.read_only(scene.output) | 1 << 51;
        scene.set(clean);
        scene.machine.tlbi_page(&space, scene.page);
        scene.machine.sync();
        let write = |scene: &mut Scene| {
            let [warm, cold] = scene.machine.write_access(STREAM, scene.page);
            assert_eq!(warm, cold);
        };
        write(&mut scene);
        let slot = scene.machine.page(&space, scene.page);
        assert_ne!(scene.machine.peek(slot), clean, "it is dirty now");
        write(&mut scene);
        scene.machine.assert_silent();
        // Software collects the dirty pages and forgets to invalidate.
        scene.set(clean);
        scene.missed_invalidation();
        scene.machine.read(STREAM, scene.page);
        scene.machine.assert_silent();
        write(&mut scene);
        scene.expect(Kind::StaleTranslation(Staleness::DirtyState));
    }
}

#[test]
fn a_table_freed_without_invalidation_is_stale_when_used() {
    plant(ANY, |scene| {
        let outer = scene.space.outer();
        let slot = scene.machine.slot(&scene.space, outer, scene.page, 21);
        scene.machine.write(slot, 0);
        // The page's own entry goes, the table's stays: Leaf=1 was not enough.
        let (page, space) = (scene.page, scene.space);
        match outer {
            Stage::One => scene
                .machine
                .command([0x12 | space.vmid << 32 | space.asid << 48, page | 1]),
            Stage::Two => scene.machine.command([0x2a | space.vmid << 32, page | 1]),
        }
        scene.machine.sync();
        scene.machine.read(STREAM, page);
        Kind::StaleTranslation(Staleness::Unmapped)
    });
}

#[test]
fn a_stage_2_page_unmapped_without_both_invalidations_is_stale_when_used() {
    plant(&[Stages::Both], |scene| {
        let slot = scene
            .machine
            .slot(&scene.space, Stage::Two, scene.output, 12);
        scene.machine.write(slot, 0);
        match scene.random.below(3) {
            0 => {}
            // Combined entries are not found by IPA (IHI 0070 §3.17.3).
            1 => scene.machine.tlbi_ipa(&scene.space, scene.output),
            // Entries by IPA are not found by VMID and stage 1.
            _ => scene.machine.tlbi_nh_all(&scene.space),
        }
        scene.machine.sync();
        scene.machine.read(STREAM, scene.page);
        Kind::StaleTranslation(Staleness::Unmapped)
    });
}

#[test]
fn a_configuration_changed_without_invalidation_is_stale_when_used() {
    plant(ANY, |scene| {
        let at = ste_address(STREAM);
        let cd = cd_address(STREAM);
        match scene.random.below(4) {
            // Invalid.
            0 => scene.machine.write(at, 0),
            // Abort.
            1 => scene.machine.write(at, 1),
            // Bypass.
            2 => scene.machine.write(at, 1 | 0b100 << 1),
            // The CD is gone.
            _ if scene.space.outer() == Stage::One => scene.machine.write(cd, 0),
            _ => scene.machine.write(at, 0),
        }
        scene.machine.tlbi_space(&scene.space);
        scene.machine.cfgi_ste(OTHER);
        scene.machine.sync();
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page);
        Kind::StaleConfiguration
    });
}

/// linux-iommu.md P115: the SMMU is invalidated, with a `CMD_SYNC`, before endpoints are.
#[test]
fn an_endpoint_told_of_a_page_that_is_not_invalidated_yet_is_found() {
    plant(ANY, |scene| {
        let (space, page) = (scene.space, scene.page);
        scene.machine.enable_ats(STREAM, &space);
        let TranslationCompletion::Success(told) = scene.machine.request(STREAM, page) else {
            panic!("the stream has ATS");
        };
        assert!(told.read && told.write);
        scene.machine.assert_silent();
        scene.machine.set(&space, page, 0);
        // Endpoints first: the order that is wrong.
        scene
            .machine
            .command([0x40 | u64::from(STREAM) << 32, page]);
        scene.machine.sync();
        scene.machine.assert_silent();
        let again = scene.machine.request(STREAM, page);
        if scene.random.one_in(2) {
            scene.machine.tlbi_page(&space, page);
            scene.machine.sync();
        }
        assert!(matches!(again, TranslationCompletion::Success(_)));
        Kind::StaleTranslation(Staleness::Unmapped)
    });
}

#[test]
fn an_ste_changed_with_the_invalidation_of_a_cd_is_stale_when_used() {
    plant(&[Stages::One, Stages::Both], |scene| {
        let at = ste_address(STREAM);
        // Invalid, abort, bypass.
        let ste = scene.random.pick(&[0, 1, 1 | 0b100 << 1]);
        scene.machine.write(at, ste);
        scene.machine.tlbi_space(&scene.space);
        scene.machine.cfgi_cd_all(STREAM);
        scene.machine.sync();
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page);
        Kind::StaleConfiguration
    });
}

#[test]
fn a_valid_ste_without_invalidation_still_counts_as_invalid() {
    plant(ANY, |scene| {
        scene.machine.detach(STREAM);
        scene.machine.read(STREAM, scene.page);
        scene.machine.assert_silent();
        let ste = ste_words(STREAM, &scene.space);
        let cd = cd_words(&scene.space);
        scene.machine.store(cd_address(STREAM), cd);
        scene.machine.store(ste_address(STREAM), ste);
        scene.machine.read(STREAM, scene.page);
        Kind::StaleConfiguration
    });
}

#[test]
fn an_ste_or_cd_rewritten_while_valid_is_torn() {
    plant(ANY, |scene| {
        let mut other = scene
            .machine
            .space(Stages::One, 201 + scene.random.below(9), 201);
        other.stages = scene.random.pick(ANY);
        other.vmid = 201 + scene.random.below(9);
        let other_ste = ste_words(STREAM, &other);
        let at = ste_address(STREAM);
        if other.stages != Stages::Two {
            let cd = cd_words(&other);
            scene.machine.store(cd_address(STREAM), cd);
        }
        if other.stages == Stages::Both {
            scene.machine.write(other.root2, 0x7fd);
        }
        scene.machine.store(at, other_ste);
        scene.machine.assert_silent();
        // Seen at the invalidation, or by a transaction that comes before.
        if scene.random.one_in(2) {
            scene.machine.read(STREAM, scene.page);
        } else {
            scene.machine.cfgi_ste(STREAM);
            scene.machine.sync();
        }
        Kind::TornConfiguration
    });
}

#[test]
fn a_transaction_between_invalidation_and_sync_is_found() {
    plant(ANY, |scene| {
        scene.set(0);
        match scene.random.below(2) {
            0 => scene.machine.tlbi_page(&scene.space, scene.page),
            _ => scene.machine.tlbi_vmall(&Space {
                stages: Stages::Two,
                ..scene.space
            }),
        }
        scene.machine.assert_silent();
        let [warm, cold] = scene.machine.read(STREAM, scene.page);
        assert_eq!(warm, cold, "this model invalidates at once");
        let found = scene.machine.found(Kind::UnsyncedInvalidation);
        assert_eq!(found.exposure, Exposure::Possible);
        // The same after the SYNC is no mistake.
        scene.machine.sync();
        let count = scene.machine.kinds().len();
        scene.machine.read(STREAM, scene.page);
        assert_eq!(scene.machine.kinds().len(), count);
        Kind::UnsyncedInvalidation
    });
}

#[test]
fn a_transaction_between_configuration_invalidation_and_sync_is_found() {
    plant(ANY, |scene| {
        scene.machine.write(ste_address(STREAM), 0);
        scene.machine.cfgi_ste(STREAM);
        scene.machine.assert_silent();
        scene.machine.read(STREAM, scene.page);
        Kind::UnsyncedInvalidation
    });
}

#[test]
fn an_invalidation_of_what_is_gone_already_is_remarked() {
    for seed in 0..PLANTINGS {
        let mut scene = Scene::on(seed, ANY, SmmuConfig::full(), Hints::On);
        scene.machine.sanitizer.take_findings();
        scene.set(0);
        scene.machine.tlbi_page(&scene.space, scene.page);
        if scene.random.one_in(2) {
            scene.machine.sync();
        }
        scene.machine.assert_silent();
        match scene.random.below(3) {
            0 => scene.machine.tlbi_page(&scene.space, scene.page),
            1 => scene.machine.cfgi_ste(9),
            _ => scene.machine.tlbi_space(&Space {
                asid: 0x3ff,
                vmid: 0x3ff,
                ..scene.space
            }),
        }
        scene.machine.sync();
        assert_eq!(
            scene.machine.kinds(),
            [Kind::NeedlessInvalidation],
            "seed {seed}"
        );
    }
}

#[test]
fn hardware_update_needs_no_invalidation() {
    assert_eq!(SmmuConfig::full().httu, Httu::TableAccessFlag);
    for seed in 0..100 {
        let mut scene = Scene::new(seed, &[Stages::One, Stages::Two]);
        let space = Space {
            marks: true,
            ..scene.space
        };
        scene.machine.attach(STREAM, &space);
        for clear in [1 << 10, 0] {
            // Invalid to valid, Access flag clear, clean; then read, write, and software's bits.
            scene.set(0);
            scene.machine.tlbi_page(&space, scene.page);
            scene.machine.sync();
            let clean = (space.read_only(scene.output) | 1 << 51) & !clear;
            scene.set(clean);
            scene.machine.read(STREAM, scene.page);
            scene.machine.write_access(STREAM, scene.page);
            let slot = scene.machine.page(&space, scene.page);
            let now = scene.machine.peek(slot);
            scene.machine.write(slot, now | 0xf << 55);
            scene.machine.read(STREAM, scene.page);
            scene.machine.write_access(STREAM, scene.page);
        }
        scene.machine.assert_silent();
    }
}

//! Each kind of mistake, planted 1,000 times among correct work (IHI 0070 §3.17, §3.21, §4.4).

use smmu::cache::CacheConfig;
use smmu::config::{Httu, SmmuConfig};
use smmu::sanitize::{BrokenRule, Exposure, Hints, Kind, Staleness};
use smmu::transaction::{AccessKind, Outcome};

use super::machine::{BLOCK, Machine, PAGE, Random, Space, Stage, Stages, guest_page};

const PLANTINGS: u64 = 1000;
const STREAM: u32 = 5;
const OTHER: u32 = 6;

/// A machine on which correct work has been done: `space` on [`STREAM`], with a page that has been
/// read and written, and its address.
struct Scene {
    machine: Machine,
    random: Random,
    space: Space,
    page: u64,
    output: u64,
}

impl Scene {
    fn new(seed: u64, stages: &[Stages]) -> Self {
        Self::on(seed, stages, SmmuConfig::full(), Hints::Off)
    }

    fn on(seed: u64, stages: &[Stages], config: SmmuConfig, hints: Hints) -> Self {
        let mut random = Random::new(seed);
        let caches = random.pick(&[CacheConfig::OFF, CacheConfig::SMALL, CacheConfig::INFINITE]);
        let mut machine = Machine::new(config, &caches, hints);
        let stages = random.pick(stages);
        let space = machine.space(stages, 1 + random.below(200), 1 + random.below(200));
        let page = random.below(1 << 18) * PAGE;
        let output = guest_page(random.below(1 << 16));
        let mut scene = Self {
            machine,
            random,
            space,
            page,
            output,
        };
        scene.machine.attach(STREAM, &space);
        scene.map(page, output);
        scene.work();
        scene.touch();
        scene.machine.assert_no_errors();
        scene
    }

    fn map(&mut self, page: u64, output: u64) {
        let descriptor = self.space.leaf(output);
        self.machine.set(&self.space, page, descriptor);
        if self.space.stages == Stages::Both {
            self.machine.back(&self.space, output, output + (1 << 32));
        }
    }

    fn touch(&mut self) {
        for kind in [AccessKind::Read, AccessKind::Write] {
            let [warm, cold] = self.machine.access(STREAM, kind, self.page);
            assert_eq!(warm, cold);
            assert!(matches!(warm, Outcome::Translated(_)), "{warm:?}");
        }
    }

    /// A page near, but not at, the one that matters.
    fn neighbour(&mut self) -> u64 {
        self.page ^ (1 + self.random.below(100)) * PAGE
    }

    /// Correct work on other pages, and sometimes on another stream.
    fn work(&mut self) {
        for _ in 0..self.random.below(6) {
            let page = self.neighbour();
            let output = guest_page(self.random.below(1 << 16) | 1 << 16);
            self.map(page, output);
            self.machine.read(STREAM, page);
            self.machine.set(&self.space, page, 0);
            self.machine.tlbi_page(&self.space, page);
            self.machine.sync();
            self.machine.read(STREAM, page);
        }
        if self.random.one_in(2) {
            let other = self
                .machine
                .space(Stages::One, 300 + self.random.below(9), 0);
            self.machine.attach(OTHER, &other);
            self.machine.read(OTHER, self.page);
        }
    }

    /// An invalidation that does not name the page that matters, or none.
    fn missed_invalidation(&mut self) {
        match self.random.below(4) {
            0 => {}
            1 => {
                let page = self.neighbour();
                self.machine.tlbi_page(&self.space, page);
                self.machine.sync();
            }
            2 => {
                let asid = self.space.asid ^ 0x100;
                let vmid = self.space.vmid ^ 0x100;
                let wrong = Space {
                    asid,
                    vmid,
                    ..self.space
                };
                self.machine.tlbi_page(&wrong, self.page);
                self.machine.sync();
            }
            _ => self.machine.sync(),
        }
    }

    fn set(&mut self, descriptor: u64) {
        self.machine.set(&self.space, self.page, descriptor);
    }

    #[track_caller]
    fn expect(&self, kind: Kind) {
        let found = self.machine.found(kind);
        assert!(!found.to_string().is_empty());
        if let Kind::StaleTranslation(_) = kind {
            assert_eq!(found.transaction.unwrap().stream.get(), STREAM);
            assert!(found.creator.is_some() && found.entry.is_some(), "{found}");
            // A part without caches has marked the page by itself.
            let is_marked = found.exposure == Exposure::Possible
                && kind == Kind::StaleTranslation(Staleness::DirtyState);
            assert!(is_marked || !found.changes.is_empty(), "{found}");
        }
    }
}

const ANY: &[Stages] = &[Stages::One, Stages::Two, Stages::Both];

fn plant(stages: &[Stages], mistake: impl Fn(&mut Scene) -> Kind) {
    for seed in 0..PLANTINGS {
        let mut scene = Scene::new(seed, stages);
        scene.machine.assert_silent();
        let kind = mistake(&mut scene);
        let findings = scene.machine.kinds();
        assert!(findings.contains(&kind), "seed {seed}: {findings:?}");
        scene.expect(kind);
    }
}

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
        let at = scene.machine.ste_at(STREAM);
        let cd = scene.machine.cd_at(STREAM);
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

#[test]
fn a_valid_ste_without_invalidation_still_counts_as_invalid() {
    plant(ANY, |scene| {
        scene.machine.detach(STREAM);
        scene.machine.read(STREAM, scene.page);
        scene.machine.assert_silent();
        let ste = scene.machine.ste(STREAM, &scene.space);
        let cd = scene.machine.cd(&scene.space);
        scene.machine.store(scene.machine.cd_at(STREAM), cd);
        scene.machine.store(scene.machine.ste_at(STREAM), ste);
        scene.machine.read(STREAM, scene.page);
        Kind::StaleConfiguration
    });
}

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
                // Another page of the block: the new entry covers the live ones.
                1 => {
                    scene.machine.tlbi_page(&scene.space, scene.page);
                    scene.machine.sync();
                    scene.machine.read(STREAM, scene.page + 0x4000);
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

#[test]
fn an_ste_or_cd_rewritten_while_valid_is_torn() {
    plant(ANY, |scene| {
        let mut other = scene
            .machine
            .space(Stages::One, 201 + scene.random.below(9), 201);
        other.stages = scene.random.pick(ANY);
        other.vmid = 201 + scene.random.below(9);
        let other_ste = scene.machine.ste(STREAM, &other);
        let at = scene.machine.ste_at(STREAM);
        if other.stages != Stages::Two {
            let cd = scene.machine.cd(&other);
            scene.machine.store(scene.machine.cd_at(STREAM), cd);
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
        scene.machine.write(scene.machine.ste_at(STREAM), 0);
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

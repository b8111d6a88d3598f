//! Correct work, among which mistakes are planted.

use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::sanitize::{Exposure, Hints, Kind, Staleness};
use smmu::transaction::{AccessKind, Outcome};

use super::machine::{Machine, PAGE, Random, Space, Stages, guest_page};

/// Times that each mistake is planted.
pub(super) const PLANTINGS: u64 = 1000;
pub(super) const STREAM: u32 = 5;
pub(super) const OTHER: u32 = 6;

/// A machine on which correct work has been done: `space` on [`STREAM`], with a page that has been
/// read and written, and its address.
pub(super) struct Scene {
    pub(super) machine: Machine,
    pub(super) random: Random,
    pub(super) space: Space,
    pub(super) page: u64,
    pub(super) output: u64,
}

impl Scene {
    pub(super) fn new(seed: u64, stages: &[Stages]) -> Self {
        Self::on(seed, stages, SmmuConfig::full(), Hints::Off)
    }

    pub(super) fn on(seed: u64, stages: &[Stages], config: SmmuConfig, hints: Hints) -> Self {
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

    pub(super) fn map(&mut self, page: u64, output: u64) {
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
        self.page ^ ((1 + self.random.below(100)) * PAGE)
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
    pub(super) fn missed_invalidation(&mut self) {
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

    pub(super) fn set(&mut self, descriptor: u64) {
        self.machine.set(&self.space, self.page, descriptor);
    }

    #[track_caller]
    pub(super) fn expect(&self, kind: Kind) {
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

pub(super) const ANY: &[Stages] = &[Stages::One, Stages::Two, Stages::Both];

/// Plants a mistake 1,000 times; it gives the kind to be found.
pub(super) fn plant(stages: &[Stages], mistake: impl Fn(&mut Scene) -> Kind) {
    for seed in 0..PLANTINGS {
        let mut scene = Scene::new(seed, stages);
        scene.machine.assert_silent();
        let kind = mistake(&mut scene);
        let findings = scene.machine.kinds();
        assert!(findings.contains(&kind), "seed {seed}: {findings:?}");
        scene.expect(kind);
    }
}

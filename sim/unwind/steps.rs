//! An operation call by call: what each call left in the STEs, and the commands issued meanwhile.

use std::collections::BTreeMap;

use arm_smmu_v3::SmmuId;
use iommu_core::{DomainId, Errno, FaultMode};
use smmu::addr::Pa;

use super::op::Op;
use super::view::SteState;
use super::world::World;
use crate::board::{Deed, Moment};

/// Where a call stands in an operation that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It did what it was to do.
    Done,
    /// It failed, by itself or with what it called.
    Failed,
    /// It came after a failure: it undoes, or carries on.
    After,
}

/// A call across a layer boundary while the operation ran, or a step made to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `layer:function`; of a step, its name.
    pub call: &'static str,
    /// The domain, by its SMMU and groups if a container has it.
    pub domain: Option<String>,
    /// What came back.
    pub result: Result<(), Errno>,
    /// Before the first failure, a failure, or after it.
    pub phase: Phase,
    /// What each stream's STE says when the call has returned, in the order of the view before.
    pub states: Vec<SteState>,
    /// Commands issued since the last call returned.
    pub commands: Vec<String>,
}

/// The state of memory where STEs are, as stores change it.
struct Stes {
    /// Words by address.
    words: BTreeMap<Pa, [u64; 8]>,
    /// Where each stream's STE is.
    places: Vec<Option<Pa>>,
}

const STE_BYTES: u64 = 64;

impl Stes {
    fn of(world: &World) -> Self {
        let streams = world.streams();
        let place = |(smmu, stream)| world.ste_words(smmu, stream);
        let found: Vec<_> = streams.into_iter().map(place).collect();
        Self {
            places: found.iter().map(|found| found.map(|(pa, _)| pa)).collect(),
            words: found.into_iter().flatten().collect(),
        }
    }

    fn store(&mut self, pa: Pa, value: u64) {
        let start = Pa::new(pa.get() & !(STE_BYTES - 1));
        if let Some(words) = self.words.get_mut(&start) {
            words[(pa.get() % STE_BYTES / 8) as usize] = value;
        }
    }

    fn states(&self) -> Vec<SteState> {
        let state = |place: &Option<Pa>| {
            let words = place.and_then(|pa| self.words.get(&pa));
            words.map_or(SteState::Missing, |words| SteState::of(*words).0)
        };
        self.places.iter().map(state).collect()
    }
}

/// Carries out `op` on a copy of `world`, its steps failing as `mode` says.
pub(super) fn of(world: &World, op: Op, mode: FaultMode) -> Vec<Step> {
    let before = world.domain_names();
    let mut stes = Stes::of(world);
    let mut world = world.clone();
    world.fail(mode);
    world.record();
    // The caller has its result from the first time.
    let _again = world.run(op);
    let mut deeds = world.take_deeds().into_iter().peekable();
    let after = world.domain_names();
    let name = |domain: DomainId| {
        let known = before.get(&domain).or_else(|| after.get(&domain));
        known.map_or_else(|| format!("domain {}", domain.0), Clone::clone)
    };
    let journal = &world.control().journal;
    let mut steps: Vec<Step> = Vec::new();
    let mut push = |moment: Moment, call, domain, result: Result<(), Errno>| {
        let mut commands = Vec::new();
        while let Some((_, deed)) = deeds.next_if(|(done, _)| *done <= moment) {
            match deed {
                Deed::Store { pa, value } => stes.store(pa, value),
                Deed::Command { smmu, command } => commands.push(words(smmu, &command)),
            }
        }
        let phase = match result {
            Err(_) => Phase::Failed,
            Ok(()) if steps.iter().any(|step| step.phase == Phase::Failed) => Phase::After,
            Ok(()) => Phase::Done,
        };
        steps.push(Step {
            call,
            domain,
            result,
            phase,
            states: stes.states(),
            commands,
        });
    };
    let mut failures = 0;
    for (calls, call) in journal.calls().iter().enumerate() {
        while let Some(failure) = journal.failures().get(failures)
            && failure.calls <= calls
        {
            let moment = Moment {
                calls: failure.calls,
                failures,
            };
            push(moment, failure.step, None, Err(failure.errno));
            failures += 1;
        }
        let domain = call.domain.map(name);
        push(
            Moment { calls, failures },
            call.op,
            domain,
            call.result.map(drop),
        );
    }
    for (failures, failure) in journal.failures().iter().enumerate().skip(failures) {
        let moment = Moment {
            calls: failure.calls,
            failures,
        };
        push(moment, failure.step, None, Err(failure.errno));
    }
    steps
}

fn words(smmu: SmmuId, command: &arm_smmu_v3::Command) -> String {
    format!("smmu{} {command}", smmu.0)
}

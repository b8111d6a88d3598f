//! The search: breadth first over states, so that what is found first is shortest.

use std::collections::{BTreeMap, BTreeSet};

use iommu_core::{Errno, FaultMode};

use super::finding::{self, Case, Objection, Space};
use super::layout::Layout;
use super::named::Named;
use super::op::Op;
use super::steps::{self, Step};
use super::view::{Resources, View};
use super::world::World;

/// What is to be explored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The machine.
    pub layout: Layout,
    /// What is done before, without failures.
    pub prior: Vec<Op>,
    /// Operations that lead on from there, in every order, up to `bound` of them.
    pub alphabet: Vec<Op>,
    /// Operations that are examined in every state: alone, and failing at every step.
    pub examined: Vec<Op>,
    /// Most operations between `prior` and the examined one.
    pub bound: usize,
}

impl Plan {
    /// Every operation everywhere.
    pub fn everything(layout: Layout, bound: usize) -> Self {
        let all = Op::all(&layout, &super::OpKind::ALL);
        Self {
            layout,
            prior: vec![],
            alphabet: all.clone(),
            examined: all,
            bound,
        }
    }
}

/// The step that was made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Which of the operation's steps, from 0.
    pub index: u64,
    /// Its name.
    pub step: &'static str,
}

/// One objection, with the shortest way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub objection: Objection,
    /// What came before.
    pub path: Vec<Op>,
    /// The operation.
    pub op: Op,
    /// The step that failed, if one was made to.
    pub failed: Option<Failed>,
    /// What the operation returned.
    pub result: Result<(), Errno>,
    /// What was called meanwhile, in order of return, and what each call left behind.
    pub steps: Vec<Step>,
    /// Before it.
    pub before: View,
    /// After it.
    pub after: View,
    /// After everybody has left, where that is what is wrong.
    pub left: Option<Resources>,
    /// How often the same was found.
    pub count: u64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploration {
    /// Name of the semantics.
    pub name: String,
    /// The machine.
    pub layout: Layout,
    /// Different states that operations were tried in.
    pub states: u64,
    /// Operations carried out.
    pub runs: u64,
    /// Of these, with a step made to fail.
    pub failures: u64,
    /// Of those, with a SYNC that timed out and a device that reached, until the SMMU came to the
    /// end of its queue, what no mapping allows.
    pub late: u64,
    /// Each kind of objection once, with its shortest witness.
    pub findings: Vec<Finding>,
}

struct Search<'a> {
    plan: &'a Plan,
    pristine: Resources,
    space: Space,
    runs: u64,
    failures: u64,
    late: u64,
    findings: BTreeMap<(Objection, super::OpKind), Finding>,
}

/// One attempt at an operation.
struct Attempt<'a> {
    path: &'a [Op],
    before: &'a View,
    op: Op,
    failed: Option<Failed>,
    result: Result<(), Errno>,
    /// The same without a failing step.
    undisturbed: Result<(), Errno>,
    world: &'a World,
}

/// Explores; the machine is the plan's, the software `named`.
///
/// # Errors
/// What the machine or the prior operations are refused with.
pub fn explore(named: &Named, plan: &Plan) -> Result<Exploration, Errno> {
    let mut start = World::new(named.semantics.clone(), &plan.layout)?;
    let pristine = start.resources();
    for op in &plan.prior {
        start.run(*op)?;
        start.warm_up();
    }
    let shared = start.shared.is_some();
    let mut search = Search {
        plan,
        pristine,
        space: if shared {
            Space::Shared
        } else {
            Space::PerContainer
        },
        runs: 0,
        failures: 0,
        late: 0,
        findings: BTreeMap::new(),
    };
    let mut seen = BTreeSet::from([(start.view(), start.cached())]);
    let mut layer = vec![(start, plan.prior.clone())];
    let mut states = 0;
    for depth in 0..=plan.bound {
        let mut next = Vec::new();
        for (world, path) in &layer {
            states += 1;
            let view = world.view();
            for op in &plan.examined {
                search.examine(world, path, &view, *op);
            }
            if depth == plan.bound {
                continue;
            }
            for op in &plan.alphabet {
                let mut world = world.clone();
                // Refused ones change nothing that leads anywhere.
                if world.run(*op).is_err() || world.control().bug.is_some() {
                    continue;
                }
                world.warm_up();
                if seen.insert((world.view(), world.cached())) {
                    let mut path = path.clone();
                    path.push(*op);
                    next.push((world, path));
                }
            }
        }
        layer = next;
    }
    Ok(Exploration {
        name: named.name.clone(),
        layout: plan.layout.clone(),
        states,
        runs: search.runs,
        failures: search.failures,
        late: search.late,
        findings: search.findings.into_values().collect(),
    })
}

impl Search<'_> {
    /// An operation as it is, then failing at each of its steps.
    fn examine(&mut self, world: &World, path: &[Op], before: &View, op: Op) {
        debug_assert!(op.fits(&self.plan.layout));
        let mut whole = world.clone();
        whole.fail(FaultMode::Count);
        let result = whole.run(op);
        let steps = whole.control().faults.steps().to_vec();
        let undisturbed = result;
        let attempt = |failed, result| Attempt {
            path,
            before,
            op,
            failed,
            result,
            undisturbed,
            world,
        };
        let first = attempt(None, result);
        self.judge(whole, &first);
        for (index, step) in (0..).zip(steps) {
            let mut failing = world.clone();
            failing.fail(mode(Some(index)));
            let result = failing.run(op);
            self.failures += 1;
            let failed = Some(Failed { index, step });
            let attempt = attempt(failed, result);
            self.judge(failing, &attempt);
        }
    }

    fn judge(&mut self, mut world: World, attempt: &Attempt<'_>) {
        self.runs += 1;
        let failure = world.control().faults.fired_with();
        world.fail(FaultMode::Off);
        let mut after = world.view();
        if let Some(bug) = world.control().bug {
            self.note(attempt, &after, Objection::KernelBug(bug), None);
            return;
        }
        let failed = attempt.failed.map(|failed| failed.step);
        if failed == Some(finding::SYNC) {
            world.settle();
            let settled = world.view();
            self.late += u64::from(finding::late(&after, &settled, self.space));
            after = settled;
        }
        let case = Case {
            op: attempt.op,
            failed,
            failure,
            result: attempt.result,
            undisturbed: attempt.undisturbed,
            before: attempt.before,
            after: &after,
            space: self.space,
        };
        for objection in finding::objections(&case) {
            self.note(attempt, &after, objection, None);
        }
        let devices = self
            .plan
            .layout
            .groups
            .iter()
            .map(|group| group.devices as usize);
        let removed = after.streams.len() < devices.sum();
        world.tear_down();
        let left = world.resources();
        let objection = if removed {
            // Devices are gone for good, and with them what is theirs: only what is shared counts.
            (left.pins != 0 || left.locked_pages != 0).then_some(Objection::Leak)
        } else {
            finding::leaks(&self.pristine, &left)
        };
        if let Some(objection) = objection {
            self.note(attempt, &after, objection, Some(left));
        }
    }

    fn note(
        &mut self,
        attempt: &Attempt<'_>,
        after: &View,
        objection: Objection,
        left: Option<Resources>,
    ) {
        let key = (objection, attempt.op.kind());
        let entry = self.findings.entry(key).or_insert_with(|| Finding {
            objection,
            path: attempt.path.to_vec(),
            op: attempt.op,
            failed: attempt.failed,
            result: attempt.result,
            steps: {
                let failed = attempt.failed.map(|failed| failed.index);
                steps::of(attempt.world, attempt.op, mode(failed))
            },
            before: attempt.before.clone(),
            after: after.clone(),
            left,
            count: 0,
        });
        entry.count += 1;
    }
}

/// Which step fails, if one is to.
fn mode(failed: Option<u64>) -> FaultMode {
    failed.map_or(FaultMode::Off, |n| FaultMode::Nth { n, errno: None })
}

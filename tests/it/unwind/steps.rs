//! Operations call by call: what the steps of a finding say agrees with what is before and after.

use smmu_sim::unwind::{Exploration, Finding, Phase, Plan, Policy, SteState, explore, semantics};

fn explored(name: &str, topology: &str) -> Exploration {
    let plan = Plan::everything(topology.parse().unwrap(), 2);
    let named = semantics(name).unwrap().under(Policy::AllDomains);
    explore(&named, &plan).unwrap()
}

fn findings() -> Vec<Finding> {
    let explored = ["v11", "v13", "6.1"].map(|name| explored(name, "0,1"));
    explored.into_iter().flat_map(|one| one.findings).collect()
}

/// STEs of the streams before, as the view after has them.
fn after(finding: &Finding) -> Vec<SteState> {
    let streams = finding.before.streams.iter();
    let state = |stream: u32| {
        let mut after = finding.after.streams.iter();
        after
            .find(|other| other.stream == stream)
            .map(|other| other.ste)
    };
    streams.filter_map(|stream| state(stream.stream)).collect()
}

/// Stores follow from the driver's calls alone: the last step's STEs are those that memory holds.
#[test]
fn the_last_step_of_an_operation_leaves_the_stes_that_are_there_after_it() {
    let findings = findings();
    let mut changed = 0;
    for finding in &findings {
        let Some(last) = finding.steps.last() else {
            continue;
        };
        let after = after(finding);
        if after.len() != finding.before.streams.len() {
            continue; // A device has gone, and its STE with it.
        }
        assert_eq!(last.states, after, "{} {:?}", finding.op, finding.steps);
        let before: Vec<SteState> = finding
            .before
            .streams
            .iter()
            .map(|stream| stream.ste)
            .collect();
        changed += usize::from(finding.steps.iter().any(|step| step.states != before));
    }
    assert!(changed >= 4, "{changed} of {}", findings.len());
}

#[test]
fn a_step_made_to_fail_is_shown_once_and_what_follows_comes_after_it() {
    let mut undone = 0;
    for finding in findings() {
        let failing = finding.failed.map(|failed| failed.step);
        let failures: Vec<_> = finding
            .steps
            .iter()
            .filter(|step| step.phase == Phase::Failed)
            .collect();
        match failing {
            Some(step) => {
                assert_eq!(failures.first().map(|first| first.call), Some(step));
                let at = finding
                    .steps
                    .iter()
                    .position(|one| one.phase == Phase::Failed);
                let rest = &finding.steps[at.unwrap()..];
                assert!(rest.iter().all(|step| step.phase != Phase::Done));
                undone += rest
                    .iter()
                    .filter(|step| step.phase == Phase::After)
                    .count();
            }
            None => assert!(failures.iter().all(|step| step.result.is_err())),
        }
    }
    assert!(undone >= 3, "{undone}");
}

/// linux-iommu.md D1, D16: the posted unwind detaches, and the STE shows it at that call.
#[test]
fn the_call_that_detaches_is_the_one_whose_ste_changes() {
    let mut plan = Plan::everything("0,1".parse().unwrap(), 0);
    plan.prior = smmu_sim::unwind::parse_list("attach 0, attach 1, set T").unwrap();
    plan.examined = smmu_sim::unwind::parse_list("set bypass").unwrap();
    let named = semantics("v13").unwrap().under(Policy::AllDomains);
    let explored = explore(&named, &plan).unwrap();
    let finding = explored
        .findings
        .iter()
        .find(|finding| finding.failed.is_some())
        .unwrap();
    let states: Vec<(&str, Vec<SteState>)> = finding
        .steps
        .iter()
        .map(|step| (step.call, step.states.clone()))
        .collect();
    let before: Vec<SteState> = finding
        .before
        .streams
        .iter()
        .map(|stream| stream.ste)
        .collect();
    let (first, left) = states.iter().find(|(_, states)| *states != before).unwrap();
    assert_eq!(*first, "iommu:attach_pasid_table", "{states:?}");
    assert_eq!(
        left.iter()
            .filter(|state| **state == SteState::Stage2)
            .count(),
        1
    );
    let commands: Vec<&String> = finding
        .steps
        .iter()
        .flat_map(|step| &step.commands)
        .collect();
    assert!(
        commands.iter().any(|command| command.contains("CFGI_STE")),
        "{commands:?}"
    );
}

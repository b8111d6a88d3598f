//! All orders of operations on small machines, each failing at each of its steps.

use iommu_core::{Defect, Errno};
use smmu_sim::unwind::{
    Asids, Exploration, Finding, Layout, Objection, Op, OpKind, Plan, Policy, Reach, World,
    explore, page, parse_list, semantics, to_json, to_text,
};

fn run(name: &str, policy: Policy, plan: &Plan) -> Exploration {
    let named = semantics(name).unwrap().under(policy);
    explore(&named, plan).unwrap()
}

fn plan(topology: &str, bound: usize) -> Plan {
    Plan::everything(topology.parse().unwrap(), bound)
}

#[track_caller]
fn clean(exploration: &Exploration) {
    assert!(exploration.findings.is_empty(), "{}", to_text(exploration));
}

/// What was found for a numbered defect, by the operation it shows in.
fn found(exploration: &Exploration, defect: Defect, kind: OpKind) -> Option<&Finding> {
    let mut findings = exploration.findings.iter();
    findings.find(|f| f.objection.defect() == Some(defect) && f.op.kind() == kind)
}

// linux-iommu.md P34-P39, P72, P77, P84, P86, P88, P89, P95, P101.
#[test]
fn our_own_answer_survives_every_order_and_every_failing_step() {
    for topology in ["0,1", "0,0,1/2", "0x2,1"] {
        let bound = if topology == "0,0,1/2" { 2 } else { 3 };
        let explored = run("fixed", Policy::AllDomains, &plan(topology, bound));
        clean(&explored);
        assert!(
            explored.failures > 2_000,
            "{topology}: {}",
            explored.failures
        );
    }
}

// linux-iommu.md 1.15: policies (B) and (C) of the review's question.
#[test]
fn both_other_policies_survive_it_too() {
    for policy in [Policy::OneGroup(Errno::EBUSY), Policy::SharedStage2] {
        for topology in ["0,1", "0,0,1/2"] {
            let explored = run("fixed", policy, &plan(topology, 2));
            clean(&explored);
            assert!(explored.runs > 1_000);
        }
    }
}

#[test]
fn released_kernels_keep_the_books_as_well() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let explored = run(name, Policy::AllDomains, &plan("0,1", 2));
        // What detach-first drivers do to a device whose attach fails is P107.
        let others = explored
            .findings
            .iter()
            .filter(|finding| finding.objection != Objection::LeftDetached);
        assert_eq!(others.count(), 0, "{}", to_text(&explored));
    }
}

// linux-iommu.md D1, D2, D7, D16; P37, P39, P41, P27.
#[test]
fn the_posted_series_is_convicted_of_d1_d2_d7_and_d16_by_stes_and_dma() {
    let plan = plan("0,1", 3);
    let v11 = run("v11", Policy::AllDomains, &plan);
    let v13 = run("v13", Policy::AllDomains, &plan);
    let d2 = found(&v11, Defect::UnwindAborts, OpKind::Set).unwrap();
    assert!(
        d2.after
            .streams
            .iter()
            .any(|s| s.reach[0] == Reach::Aborted)
    );
    let d1 = found(&v13, Defect::FailedSetDetaches, OpKind::Set).unwrap();
    let text = to_text(&v13);
    assert!(
        d1.result.is_err() && text.contains("leaves the domains before the failing one detached")
    );
    for explored in [&v11, &v13] {
        let d7 = found(explored, Defect::LaterDomainsMissTable, OpKind::Attach).unwrap();
        assert_eq!((d7.failed, d7.result), (None, Ok(())));
        let d16 = found(explored, Defect::NoInvalidationOnSet, OpKind::Replace).unwrap();
        let stale = d16
            .after
            .streams
            .iter()
            .find(|s| s.reach != s.cold)
            .unwrap();
        assert!(stale.reach[0].is_memory() && stale.cold[0].is_memory());
    }
    assert!(found(&v13, Defect::UnwindAborts, OpKind::Set).is_none());
    assert!(page(&[v11]).contains("detach_pasid_table"));
    assert_eq!(to_json(&v13)["semantics"], "v13");
}

// linux-iommu.md D19, P118: every order of two operations, three groups, two containers.
#[test]
fn the_vmid_a_refused_nested_attach_leaks_is_found_where_it_is_leaked() {
    let plan = plan("0,0,1/2", 2);
    let leak = |name: &str| {
        let explored = run(name, Policy::AllDomains, &plan);
        found(&explored, Defect::VmidLeaks, OpKind::Attach).cloned()
    };
    let found = leak("v13").unwrap();
    assert_eq!(found.failed.unwrap().step, "driver:nested_msi");
    assert_eq!(found.result, Err(Errno::EINVAL));
    assert_eq!(found.left.unwrap().vmids, [1, 0]);
    assert_eq!(leak("v13-D19"), None);
    assert!(leak("fixed+D19").is_some());
}

// linux-iommu.md 4.8, 2.11: what a SYNC that times out leaves is late, not wrong.
#[test]
fn after_a_timeout_the_commands_are_in_the_queue_and_nobody_is_told() {
    let mut plan = plan("0,1", 0);
    plan.prior = parse_list("attach 0, attach 1, map 0").unwrap();
    plan.examined = parse_list("unmap 0").unwrap();
    for name in ["5.10", "6.1", "6.12", "7.2", "v13"] {
        let explored = run(name, Policy::AllDomains, &plan);
        clean(&explored);
        assert!(explored.late > 0, "{name}");
    }
}

// Each switch alone on our own answer: a planted bug that the search must find.
#[test]
fn a_defect_planted_alone_is_found() {
    for (name, defect, kind) in [
        ("fixed+D1", Defect::FailedSetDetaches, OpKind::Set),
        ("fixed+D1+D2", Defect::UnwindAborts, OpKind::Set),
        ("fixed+D7", Defect::LaterDomainsMissTable, OpKind::Attach),
        ("fixed+D15", Defect::CombinedEntriesStay, OpKind::Unmap),
        ("fixed+D16", Defect::NoInvalidationOnSet, OpKind::Replace),
    ] {
        let explored = run(name, Policy::AllDomains, &plan("0,1", 3));
        assert!(
            found(&explored, defect, kind).is_some(),
            "{}",
            to_text(&explored)
        );
    }
}

// linux-iommu.md P44, P45.
#[test]
fn p44_p45_policy_b_refuses_a_table_for_several_groups_and_a_group_after_a_table() {
    let mut two = plan("0,1", 0);
    two.prior = parse_list("attach 0, attach 1").unwrap();
    two.examined = parse_list("set T").unwrap();
    let mut world = World::new(
        semantics("fixed")
            .unwrap()
            .under(Policy::OneGroup(Errno::EBUSY))
            .semantics,
        &two.layout,
    )
    .unwrap();
    for op in &two.prior {
        world.run(*op).unwrap();
    }
    let before = world.view();
    assert_eq!(world.run("set T".parse().unwrap()), Err(Errno::EBUSY));
    assert_eq!(world.view(), before);
    world.run("detach 1".parse().unwrap()).unwrap();
    world.run("set T".parse().unwrap()).unwrap();
    assert_eq!(world.run("attach 1".parse().unwrap()), Err(Errno::EBUSY));
    world.run("unset".parse().unwrap()).unwrap();
    world.run("attach 1".parse().unwrap()).unwrap();
}

// linux-iommu.md 5.9, P119: one stage 2 and VMID, two tables; pages pinned once.
#[test]
fn policy_c_gives_two_containers_two_tables_over_one_vmid() {
    let layout: Layout = "0,0/2".parse().unwrap();
    let named = semantics("fixed").unwrap().under(Policy::SharedStage2);
    let mut world = World::new(named.semantics, &layout).unwrap();
    for op in parse_list("attach 0, attach 1@1, map 0, map 0@1, set T, set U@1").unwrap() {
        world.run(op).unwrap();
    }
    let view = world.view();
    let [first, second] = &view.streams[..] else {
        panic!("{view:?}");
    };
    assert_eq!(first.vmid, second.vmid);
    assert_ne!(first.ste, second.ste);
    assert_eq!(view.resources.pins, 12);
    assert_eq!(
        (first.reach[0], second.reach[0]),
        (Reach::Page(1), Reach::Page(2))
    );
    // What the first container gives up the second still has.
    world.run("unmap 0".parse::<Op>().unwrap()).unwrap();
    assert!(world.view().streams[1].reach[0].is_memory());
}

// linux-iommu.md 5.9: what policy (C) asks of the guest. Found by the random search.
#[test]
fn under_one_vmid_two_tables_with_one_asid_are_mixed_up() {
    let layout: Layout = "0,0/2".parse().unwrap();
    for (asids, mixed) in [(Asids::One, true), (Asids::Each, false)] {
        let named = semantics("fixed").unwrap().under(Policy::SharedStage2);
        let mut world = World::with_asids(named.semantics, &layout, asids).unwrap();
        for op in parse_list("attach 0, attach 1@1, map 0, set U@1, set T").unwrap() {
            world.run(op).unwrap();
        }
        world.warm_up();
        let second = &world.view().streams[1];
        assert_eq!(second.cold[0], Reach::Page(2));
        assert_eq!(second.reach[0] == Reach::Page(1), mixed, "{second:?}");
    }
}

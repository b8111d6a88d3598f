//! P33–P45: SET and UNSET over several domains, their order and their unwinding.

use iommu_core::semantics::{LaterGroup, PasidPolicy, SeriesVfio};
use iommu_core::{Defect, Errno, FaultMode, Semantics};

use super::*;

/// Three devices that get a domain each would need three IOMMUs; two give two. So the third domain
/// is had by a device that does not fit the others for its coherency: here, by a third instance.
fn three_domains(semantics: Semantics) -> (Bench, i32) {
    use iommu_core::testing::Stages;
    let config = CoreConfig {
        default_domain: DomainKind::Dma,
        page_size: PAGE,
    };
    let sizes = 1 << 12 | 1 << 21 | 1 << 30;
    let ops = TableDouble::new(semantics, &[Stages::Both; 3], sizes);
    let mut core = IommuCore::new(ops, config);
    let devices: Vec<DeviceId> = (0..3)
        .map(|instance| {
            let config = DeviceConfig::pci(&format!("0000:00:{instance:02x}.0"));
            core.add_device(config, &Fw::on(instance)).unwrap()
        })
        .collect();
    let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
    for device in &devices {
        vfio.bind(*device).unwrap();
    }
    let pid = vfio.spawn();
    let mut bench = Bench { vfio, pid, devices };
    let (container, _) = bench.container(IommuType::Nesting, &[0, 1, 2]);
    assert_eq!(bench.domains(container).len(), 3);
    bench.record();
    (bench, container)
}

fn fail_attach(bench: &mut Bench, n: u64) {
    bench.fail(FaultMode::NthOf {
        name: "iommu:attach_pasid_table",
        n,
        errno: Some(Errno::EIO),
    });
}

fn tables(bench: &Bench, container: i32) -> Vec<(Option<u64>, bool)> {
    let domains = bench.domains(container);
    domains.iter().map(|d| bench.table_of(*d)).collect()
}

#[test]
fn p33_set_calls_the_driver_for_each_domain_newest_first() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = three_domains(semantics);
        let domains = bench.domains(container);
        bench
            .call()
            .set_pasid_table(container, &translate(0x1000))
            .unwrap();
        let called: Vec<_> = bench.recorded("iommu:attach_pasid_table");
        let order: Vec<_> = called.iter().map(|(domain, _)| *domain).collect();
        assert_eq!(order, domains, "{name}");
        assert!(
            order.windows(2).all(|pair| pair[0] > pair[1]),
            "newest first"
        );
        bench.fail(FaultMode::Count);
        bench.call().unset_pasid_table(container).unwrap();
        bench.fail(FaultMode::Count);
        bench.call().set_pasid_table(container, &bypass()).unwrap();
        let control = bench.ops().control();
        let reads = control
            .faults
            .steps()
            .iter()
            .filter(|step| **step == "iommu:copy_from_user")
            .count();
        let each = if bench.has(Defect::ConfigReadPerDomain) {
            3
        } else {
            1
        };
        assert_eq!(reads, 2 * each, "{name}");
    }
}

#[test]
fn p34_p35_p36_a_failing_domain_has_those_before_it_detached_most_recent_first() {
    for (name, semantics) in every_series() {
        for failing in 0..3 {
            let (mut bench, container) = three_domains(semantics.clone());
            let domains = bench.domains(container);
            fail_attach(&mut bench, failing);
            let result = bench.call().set_pasid_table(container, &translate(0x1000));
            assert_eq!(result, Err(Errno::EIO), "{name}");
            let detached = bench.recorded("iommu:detach_pasid_table");
            let detached: Vec<_> = detached.iter().map(|(domain, _)| *domain).collect();
            let before: Vec<_> = domains[..failing as usize].iter().rev().copied().collect();
            assert_eq!(detached, before, "{name}: domain {failing} fails");
            let attached = bench.recorded("iommu:attach_pasid_table");
            assert_eq!(attached.len() as u64, failing + 1, "{name}: none after it");
        }
    }
}

#[test]
fn p37_a_failed_set_leaves_earlier_domains_detached_as_posted_and_as_they_were_when_fixed() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = three_domains(semantics);
        bench.call().set_pasid_table(container, &bypass()).unwrap();
        let before = tables(&bench, container);
        fail_attach(&mut bench, 2);
        let result = bench.call().set_pasid_table(container, &translate(0x1000));
        assert_eq!(result, Err(Errno::EIO), "{name}");
        let after = tables(&bench, container);
        if bench.has(Defect::FailedSetDetaches) {
            let aborts = bench.has(Defect::UnwindAborts);
            assert_eq!(
                after,
                [(None, aborts), (None, aborts), (None, false)],
                "{name}"
            );
        } else {
            assert_eq!(after, before, "{name}");
        }
    }
}

#[test]
fn p37_when_fixed_a_failed_set_restores_tables_aborts_and_bypasses_alike() {
    for old in [None, Some(bypass()), Some(abort()), Some(translate(0x9000))] {
        for failing in 0..3 {
            let (mut bench, container) = three_domains(Semantics::fixed());
            if let Some(old) = &old {
                bench.call().set_pasid_table(container, old).unwrap();
            }
            // From a table only bypass or abort may follow.
            let next = if old == Some(translate(0x9000)) {
                abort()
            } else {
                translate(0x1000)
            };
            let before = bench.clone();
            fail_attach(&mut bench, failing);
            let result = bench.call().set_pasid_table(container, &next);
            assert_eq!(result, Err(Errno::EIO));
            assert_eq!(bench, before, "from {old:?}, domain {failing} fails");
        }
    }
}

#[test]
fn p38_a_table_over_a_table_is_refused_by_the_first_domain_and_the_old_one_stays() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = three_domains(semantics);
        bench
            .call()
            .set_pasid_table(container, &translate(0x1000))
            .unwrap();
        let before = bench.clone();
        let result = bench.call().set_pasid_table(container, &translate(0x2000));
        assert_eq!(result, Err(Errno::EINVAL), "{name}");
        assert_eq!(bench, before, "{name}");
        assert!(
            bench.recorded("iommu:detach_pasid_table").is_empty(),
            "{name}"
        );
    }
}

#[test]
fn p39_p41_a_domain_that_comes_later_misses_the_table_as_posted() {
    for (name, semantics) in every_series() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Nesting, &[0]);
        bench
            .call()
            .set_pasid_table(container, &translate(0x1000))
            .unwrap();
        let late = bench.open_group(1);
        bench.call().set_container(late, container).unwrap();
        let now = tables(&bench, container);
        if !bench.has(Defect::LaterDomainsMissTable) {
            assert_eq!(now, [(Some(0x1000), false); 2], "{name}");
            continue;
        }
        assert_eq!(now, [(None, false), (Some(0x1000), false)], "{name}");
        let result = bench.call().set_pasid_table(container, &translate(0x2000));
        assert_eq!(result, Err(Errno::EINVAL), "{name}: the older one refuses");
        let aborts = bench.has(Defect::UnwindAborts);
        assert_eq!(
            tables(&bench, container),
            [(None, aborts), (Some(0x1000), false)],
            "{name}"
        );
    }
}

#[test]
fn p42_unset_detaches_every_domain_once_newest_first_and_reports_success() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = three_domains(semantics);
        let domains = bench.domains(container);
        for _ in 0..2 {
            bench.record();
            bench.call().unset_pasid_table(container).unwrap();
            let detached = bench.recorded("iommu:detach_pasid_table");
            let detached: Vec<_> = detached.iter().map(|(domain, _)| *domain).collect();
            assert_eq!(detached, domains, "{name}");
        }
    }
}

fn one_group_only(later: LaterGroup) -> Semantics {
    let mut semantics = Semantics::as_posted(SeriesVfio::V13);
    let series = semantics.series.as_mut().unwrap();
    series.policy = PasidPolicy::OneGroup {
        refusal: Errno::EBUSY,
        later,
    };
    semantics
}

#[test]
fn p44_under_policy_b_two_groups_are_refused_before_any_driver_and_unset_works() {
    let semantics = one_group_only(LaterGroup::WithoutTable);
    let mut bench = Bench::new(semantics, &[0, 0]);
    let (container, _) = bench.container(IommuType::Nesting, &[0, 1]);
    bench.record();
    let result = bench.call().set_pasid_table(container, &translate(0x1000));
    assert_eq!(result, Err(Errno::EBUSY));
    assert!(bench.recorded("iommu:attach_pasid_table").is_empty());
    assert_eq!(bench.call().unset_pasid_table(container), Ok(()));
}

#[test]
fn p45_under_policy_b_a_later_group_is_refused_or_joins_without_the_table() {
    let refused = one_group_only(LaterGroup::Refuse(Errno::EPERM));
    for (semantics, expected) in [
        (refused, Err(Errno::EPERM)),
        (one_group_only(LaterGroup::WithoutTable), Ok(())),
    ] {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Nesting, &[0]);
        bench
            .call()
            .set_pasid_table(container, &translate(0x1000))
            .unwrap();
        let late = bench.open_group(1);
        let before = tables(&bench, container);
        assert_eq!(bench.call().set_container(late, container), expected);
        if expected.is_ok() {
            assert_eq!(tables(&bench, container), [(None, false), before[0]]);
        }
    }
}

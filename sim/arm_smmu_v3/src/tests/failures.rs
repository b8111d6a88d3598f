//! Each fallible step of attach, map and probe made to fail, one at a time: what is left.

use iommu_core::ops::Gather;
use iommu_core::semantics::AttachOrder;
use iommu_core::{DomainId, FaultMode, IommuOps, Iova, Paddr, Semantics};
use smmu::Outcome;

use super::platform::Machine;
use super::{
    RW, S0, add, add_domain, driver, every_semantics, map, nested, sid, ste, ste_config, translate,
    with_ats,
};
use crate::{Driver, Params, Platform};

/// How many fallible steps `run` has.
fn steps(driver: &Driver<Machine>, run: impl Fn(&mut Driver<Machine>)) -> u64 {
    let mut driver = driver.clone();
    driver.control_mut().faults.set(FaultMode::Count);
    run(&mut driver);
    driver.control().faults.count()
}

fn fail(driver: &mut Driver<Machine>, n: u64) {
    let mode = FaultMode::Nth { n, errno: None };
    driver.control_mut().faults.set(mode);
}

fn heal(driver: &mut Driver<Machine>) {
    driver.control_mut().faults.set(FaultMode::Off);
}

fn reaches(driver: &Driver<Machine>, iova: u64) -> Option<u64> {
    match driver.platform().dma(S0, sid(1), iova) {
        Outcome::Translated(to) => Some(to.pa.get()),
        _ => None,
    }
}

/// A device in domain 1, which maps 0x1000 to 4 GiB.
fn attached(semantics: Semantics) -> Driver<Machine> {
    let mut driver = driver(semantics);
    let device = add(&mut driver, 1, &with_ats(1));
    let domain = add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    map(&mut driver, domain, 0x1000, 0x1_0000_0000, 1);
    driver
}

// linux-iommu.md 4.3, 4.6: attach failing at every step.
#[test]
fn attach_failing_at_any_step_keeps_or_drops_the_old_attachment_whole() {
    for (name, semantics) in every_semantics() {
        let first = semantics.driver.attach_order == AttachOrder::DetachFirst;
        let device = iommu_core::DeviceId(1);
        let (old, new) = (DomainId(1), DomainId(2));
        let attach = |driver: &mut Driver<Machine>| {
            driver
                .domain_alloc(new, iommu_core::ops::DomainKind::Unmanaged, Some(device))
                .and_then(|()| driver.attach_dev(new, device, Some(old)))
        };
        let start = attached(semantics);
        let count = steps(&start, |driver| attach(driver).unwrap());
        assert!(count > 2, "{name}");
        for n in 0..count {
            let mut driver = start.clone();
            fail(&mut driver, n);
            let result = attach(&mut driver);
            let step = driver.control().faults.fired().unwrap();
            heal(&mut driver);
            if step == "driver:cmd_sync" {
                // A timeout is printed; the attach goes on.
                assert_eq!(result, Ok(()), "{name} {step}");
                assert_eq!(reaches(&driver, 0x1000), None);
                continue;
            }
            assert!(result.is_err(), "{name} {step}");
            let at_alloc = step == "driver:domain_alloc";
            if first && !at_alloc {
                assert_eq!(ste_config(&driver, 1), 0, "{name} {step}: detached");
                assert_eq!(driver.attached(old), [], "{name} {step}");
            } else {
                assert_eq!(ste(&driver, 1), ste(&start, 1), "{name} {step}: intact");
                assert_eq!(
                    reaches(&driver, 0x1000),
                    Some(0x1_0000_0000),
                    "{name} {step}"
                );
                assert_eq!(driver.attached(old), [device], "{name} {step}");
            }
            // Nothing leaks, and a retry works.
            driver.domain_free(new);
            attach(&mut driver).unwrap();
            driver.detach_dev(new, device);
            driver.domain_free(new);
            driver.detach_dev(old, device);
            driver.domain_free(old);
            assert_eq!(driver.asids_in_use(), 0, "{name} {step}");
        }
    }
}

// linux-iommu.md 3.4: map failing at every step; unmapped by the caller, nothing remains.
#[test]
fn map_failing_at_any_step_maps_exactly_what_it_reports() {
    for (name, semantics) in every_semantics() {
        let start = attached(semantics);
        let domain = DomainId(1);
        // Across a table's end: three tables to make.
        let map = |driver: &mut Driver<Machine>, mapped: &mut u64| {
            let (iova, size) = (0x3fff_f000, 4096 * 4);
            while *mapped < size {
                driver.map_pages(
                    domain,
                    Iova(iova + *mapped),
                    Paddr(0x2_0000_0000 + *mapped),
                    4096,
                    (size - *mapped) / 4096,
                    RW,
                    mapped,
                )?;
            }
            Ok::<_, iommu_core::Errno>(())
        };
        let count = steps(&start, |driver| map(driver, &mut 0).unwrap());
        assert_eq!(count, 3, "{name}: tables");
        for n in 0..count {
            let mut driver = start.clone();
            fail(&mut driver, n);
            let mut mapped = 0;
            let result = map(&mut driver, &mut mapped);
            assert_eq!(result, Err(iommu_core::Errno::ENOMEM), "{name} {n}");
            heal(&mut driver);
            for page in 0..4 {
                let at = page * 4096;
                let expected = (at < mapped).then_some(0x2_0000_0000 + at);
                assert_eq!(reaches(&driver, 0x3fff_f000 + at), expected, "{name} {n}");
            }
            let mut gather = Gather::default();
            let mut unmapped = 0;
            while unmapped < mapped {
                unmapped += driver.unmap_pages(
                    domain,
                    Iova(0x3fff_f000 + unmapped),
                    4096,
                    (mapped - unmapped) / 4096,
                    &mut gather,
                );
            }
            driver.iotlb_sync(domain, &gather);
            assert_eq!(reaches(&driver, 0x3fff_f000), None, "{name} {n}");
            assert_eq!(reaches(&driver, 0x1000), Some(0x1_0000_0000), "{name} {n}");
        }
    }
}

// linux-iommu.md 1.5: SET failing at its only fallible step changes nothing.
#[test]
fn set_failing_changes_nothing() {
    for (name, semantics) in every_semantics() {
        if semantics.series.is_none() {
            continue;
        }
        let (start, _, domain) = nested(semantics);
        let count = steps(&start, |driver| {
            driver
                .attach_pasid_table(domain, &translate(0x4000_0000))
                .unwrap();
        });
        for n in 0..count {
            let mut driver = start.clone();
            fail(&mut driver, n);
            let set = driver.attach_pasid_table(domain, &translate(0x4000_0000));
            let step = driver.control().faults.fired().unwrap();
            if step == "driver:cmd_sync" {
                assert_eq!(set, Ok(()), "{name}");
                continue;
            }
            assert!(set.is_err(), "{name} {step}");
            assert_eq!(driver, start, "{name} {step}");
        }
    }
}

#[test]
fn probe_failing_at_any_step_is_an_error_or_a_driver_that_works() {
    use super::part;
    let semantics = Semantics::kernel(iommu_core::Kernel::V7_2);
    let run = |n: Option<u64>| {
        let mut machine = Machine::new(semantics.clone(), &[part()]);
        if let Some(n) = n {
            machine
                .control_mut()
                .faults
                .set(FaultMode::Nth { n, errno: None });
        }
        Driver::probe(machine, Params::default(), 1)
    };
    assert!(run(None).is_ok());
    let failed: Vec<bool> = (0..6).map(|n| run(Some(n)).is_err()).collect();
    // Two queues and the stream table; then the two SYNCs, whose timeout is printed.
    assert_eq!(failed, [true, true, true, false, false, false]);
}

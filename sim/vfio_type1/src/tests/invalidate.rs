//! P46–P48, P55–P57: CACHE_INVALIDATE above the driver.

use iommu_core::{Defect, Errno, FaultMode};

use super::*;

/// `struct vfio_iommu_type1_cache_invalidate` by address, of `nb` granules of 4 KiB.
fn request(granularity: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 64;
    let info = &mut bytes[8..];
    info[0] = 56;
    info[4] = 1;
    info[8] = 1;
    info[9] = granularity;
    bytes
}

fn nested(semantics: Semantics, instances: &[usize]) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, instances);
    let indexes: Vec<usize> = (0..instances.len()).collect();
    let (container, _) = bench.container(IommuType::Nesting, &indexes);
    bench.record();
    (bench, container)
}

fn send(bench: &mut Bench, container: i32, bytes: &[u8]) -> Result<u64, Errno> {
    let cmd = bench.numbers().cache_invalidate;
    bench.raw(container, cmd, bytes)
}

#[test]
fn p46_flags_are_refused_and_nothing_is_done() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let mut bytes = request(2);
        bytes[4] = 1;
        assert_eq!(
            send(&mut bench, container, &bytes),
            Err(Errno::EINVAL),
            "{name}"
        );
        assert!(
            bench.recorded("iommu:cache_invalidate").is_empty(),
            "{name}"
        );
    }
}

#[test]
fn p47_the_last_domain_s_result_is_the_result_as_posted() {
    for (name, semantics) in every_series() {
        for (failing, masked) in [(0, true), (1, false)] {
            let (mut bench, container) = nested(semantics.clone(), &[0, 1]);
            bench.fail(FaultMode::NthOf {
                name: "iommu:cache_invalidate",
                n: failing,
                errno: Some(Errno::EIO),
            });
            let result = send(&mut bench, container, &request(2));
            let expected = if masked && bench.has(Defect::InvalidateMasksErrors) {
                Ok(0)
            } else {
                Err(Errno::EIO)
            };
            assert_eq!(result, expected, "{name}: domain {failing} fails");
            assert_eq!(bench.recorded("iommu:cache_invalidate").len(), 2, "{name}");
        }
    }
}

#[test]
fn p48_the_command_is_repeated_for_each_device_as_posted() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics, &[0, 0, 0]);
        assert_eq!(send(&mut bench, container, &request(2)), Ok(0), "{name}");
        let times = if bench.has(Defect::InvalidateMasksErrors) {
            3
        } else {
            1
        };
        assert_eq!(
            bench.recorded("iommu:cache_invalidate").len(),
            times,
            "{name}"
        );
    }
}

#[test]
fn p55_what_the_core_refuses_reaches_no_driver() {
    // Offset within the inner structure, value, granularity.
    let wrong: [(usize, u8, u8); 7] = [
        (10, 1, 2),
        (15, 1, 0),
        (8, 1 << 3, 2),
        (4, 0, 2),
        (8, 1 << 2, 2),
        (16, 1 << 3, 2),
        (16, 1 << 2, 1),
    ];
    for (name, semantics) in every_series() {
        for (offset, value, granularity) in wrong {
            let (mut bench, container) = nested(semantics.clone(), &[0]);
            let mut bytes = request(granularity);
            bytes[8 + offset] = value;
            let result = send(&mut bench, container, &bytes);
            assert_eq!(result, Err(Errno::EINVAL), "{name}: {offset}");
            assert!(
                bench.recorded("iommu:cache_invalidate").is_empty(),
                "{name}"
            );
        }
        let (mut bench, container) = nested(semantics, &[0]);
        assert_eq!(
            send(&mut bench, container, &request(3)),
            Err(Errno::EINVAL),
            "{name}"
        );
    }
}

#[test]
fn p56_the_inner_size_must_reach_as_far_as_the_granularity_needs() {
    for (name, semantics) in every_series() {
        for (granularity, size, fine) in [
            (2, 48, false),
            (2, 56, true),
            (1, 31, false),
            (1, 32, true),
            (0, 15, false),
            (0, 16, true),
        ] {
            let (mut bench, container) = nested(semantics.clone(), &[0]);
            let mut bytes = request(granularity);
            bytes[8] = size;
            let expected = if fine { Ok(0) } else { Err(Errno::EINVAL) };
            let result = send(&mut bench, container, &bytes);
            assert_eq!(result, expected, "{name}: {granularity} {size}");
        }
    }
}

#[test]
fn p57_a_domain_that_does_not_nest_refuses() {
    for (name, semantics) in every_series() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        assert_eq!(
            send(&mut bench, container, &request(2)),
            Err(Errno::EINVAL),
            "{name}"
        );
    }
}

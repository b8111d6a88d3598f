//! P1–P15: the arguments of SET_PASID_TABLE, and the numbers of the series' ioctls.

use iommu_core::semantics::{SeriesIo, SeriesVfio};
use iommu_core::{Defect, Errno, Semantics, UserBuffer, UserMemory, UserPtr};

use super::*;
use crate::api::pasid_table_bytes;
use crate::{SET, UNSET};

/// A nesting container with one group, of which the journal is on.
fn nested(semantics: Semantics) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, &[0]);
    let (container, _) = bench.container(IommuType::Nesting, &[0]);
    bench.record();
    (bench, container)
}

fn bytes(bench: &Bench, flags: u32, config: &PasidTableConfig) -> Vec<u8> {
    pasid_table_bytes(bench.io(), flags, Some(config))
}

fn send(bench: &mut Bench, container: i32, bytes: &[u8]) -> Result<u64, Errno> {
    let cmd = bench.numbers().set_pasid_table;
    bench.raw(container, cmd, bytes)
}

fn driver_calls(bench: &mut Bench) -> usize {
    bench.recorded("iommu:attach_pasid_table").len()
        + bench.recorded("iommu:detach_pasid_table").len()
}

#[test]
fn p1_an_unreadable_header_is_efault_and_reaches_no_driver() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let before = bench.clone();
        assert_eq!(
            send(&mut bench, container, &[]),
            Err(Errno::EFAULT),
            "{name}"
        );
        assert_eq!(
            send(&mut bench, container, &[0; 7]),
            Err(Errno::EFAULT),
            "{name}"
        );
        assert_eq!(driver_calls(&mut bench), 0, "{name}");
        assert_eq!(bench, before, "{name}");
    }
}

#[test]
fn p2_argsz_7_is_refused_and_8_goes_on_to_the_domains() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let mut request = bytes(&bench, SET, &translate(0x1000));
        request[0] = 7;
        assert_eq!(
            send(&mut bench, container, &request),
            Err(Errno::EINVAL),
            "{name}"
        );
        assert_eq!(driver_calls(&mut bench), 0, "{name}");
        request[0] = 8;
        let expected = if bench.has(Defect::OuterSizeUnchecked) {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
        assert_eq!(send(&mut bench, container, &request), expected, "{name}");
    }
}

#[test]
fn p3_p4_no_flag_and_both_flags_are_refused() {
    for (name, semantics) in every_series() {
        for flags in [0, SET | UNSET] {
            let (mut bench, container) = nested(semantics.clone());
            let before = bench.clone();
            let request = bytes(&bench, flags, &translate(0x1000));
            assert_eq!(
                send(&mut bench, container, &request),
                Err(Errno::EINVAL),
                "{name}"
            );
            assert_eq!(driver_calls(&mut bench), 0, "{name}");
            assert_eq!(bench, before, "{name}");
        }
    }
}

#[test]
fn p5_an_unknown_flag_beside_set_passes_in_v11_only() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let request = bytes(&bench, SET | 1 << 5, &translate(0x1000));
        let expected = if bench.has(Defect::UnknownFlagsAccepted) {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
        assert_eq!(send(&mut bench, container, &request), expected, "{name}");
    }
    let v11 = Semantics::as_posted(SeriesVfio::V11);
    let v12 = Semantics::as_posted(SeriesVfio::V12);
    assert!(v11.has(Defect::UnknownFlagsAccepted) && !v12.has(Defect::UnknownFlagsAccepted));
}

#[test]
fn p6_the_outer_size_is_not_related_to_the_configuration() {
    for vfio in SeriesVfio::ALL {
        let (mut bench, container) = nested(Semantics::as_posted(vfio));
        let mut request = bytes(&bench, SET, &translate(0x7000));
        request[0] = 8;
        assert_eq!(send(&mut bench, container, &request), Ok(0));
        let domain = bench.domains(container)[0];
        assert_eq!(bench.table_of(domain), (Some(0x7000), false));
    }
}

#[test]
fn p7_unset_does_not_read_the_configuration() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let mut header = bytes(&bench, UNSET, &translate(0));
        header.truncate(8);
        assert_eq!(send(&mut bench, container, &header), Ok(0), "{name}");
    }
}

#[test]
fn p8_without_domains_the_configuration_is_not_read_as_posted() {
    for (name, semantics) in every_series() {
        let mut bench = Bench::with(semantics, &[Fw::on(0)]);
        // A mediated device brings the backend to life without a domain.
        bench.vfio.unbind(bench.devices[0]).unwrap();
        bench.vfio.bind_emulated(bench.devices[0]).unwrap();
        let (container, _) = bench.container(IommuType::Nesting, &[0]);
        let mut header = bytes(&bench, SET, &translate(0));
        header.truncate(8);
        let expected = if bench.has(Defect::FailedSetDetaches) {
            Ok(0)
        } else {
            Err(Errno::EFAULT)
        };
        assert_eq!(send(&mut bench, container, &header), expected, "{name}");
    }
}

#[test]
fn p9_the_inner_size_must_reach_the_smmuv3_part_and_may_exceed_the_structure() {
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let old = matches!(bench.io(), SeriesIo::V12 | SeriesIo::V13);
        let mut request = bytes(&bench, SET, &translate(0x1000));
        request[8] = if old { 28 } else { 24 };
        assert_eq!(
            send(&mut bench, container, &request),
            Err(Errno::EINVAL),
            "{name}"
        );
        request[8..12].copy_from_slice(&0x10000_u32.to_le_bytes());
        assert_eq!(send(&mut bench, container, &request), Ok(0), "{name}");
    }
}

#[test]
fn p10_an_unknown_configuration_reaches_the_driver_in_io12_only() {
    for (name, semantics) in every_series() {
        for unknown in [0, 4, 255] {
            let (mut bench, container) = nested(semantics.clone());
            let request = bytes(&bench, SET, &config(PasidConfig(unknown), 0x1000));
            assert_eq!(
                send(&mut bench, container, &request),
                Err(Errno::EINVAL),
                "{name}"
            );
            let reached = bench.recorded("iommu:attach_pasid_table").len();
            let expected = usize::from(bench.has(Defect::ConfigRangeUnchecked));
            assert_eq!(reached, expected, "{name}");
        }
    }
}

#[test]
fn p11_padding_s1fmt_and_s1dss_are_not_checked_as_posted() {
    for (name, semantics) in every_series() {
        let old = matches!(semantics.io(), Some(SeriesIo::V12 | SeriesIo::V13));
        let offsets: [usize; 6] = if old {
            [26, 27, 32, 33, 34, 35]
        } else {
            [22, 23, 28, 29, 30, 31]
        };
        for offset in offsets {
            let (mut bench, container) = nested(semantics.clone());
            let mut request = bytes(&bench, SET, &translate(0x1000));
            request[8 + offset] = 1;
            let expected = if bench.has(Defect::FieldsUnchecked) {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            };
            assert_eq!(
                send(&mut bench, container, &request),
                expected,
                "{name} {offset}"
            );
        }
    }
}

#[test]
fn p12_unknown_versions_and_formats_change_nothing() {
    for (name, semantics) in every_series() {
        let wrong = [
            PasidTableConfig {
                version: 2,
                ..translate(0x1000)
            },
            PasidTableConfig {
                smmuv3_version: 2,
                ..translate(0x1000)
            },
            PasidTableConfig {
                format: 2,
                ..translate(0x1000)
            },
        ];
        for config in wrong {
            let (mut bench, container) = nested(semantics.clone());
            let before = bench.clone();
            let request = bytes(&bench, SET, &config);
            assert_eq!(
                send(&mut bench, container, &request),
                Err(Errno::EINVAL),
                "{name}"
            );
            assert_eq!(bench, before, "{name}");
        }
    }
}

#[test]
fn p13_a_container_that_does_not_nest_refuses_every_table() {
    for (name, semantics) in every_series() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        for config in [bypass(), translate(0x1000), abort()] {
            let refused = bench.call().set_pasid_table(container, &config);
            assert_eq!(refused, Err(Errno::EINVAL), "{name}");
        }
    }
}

#[test]
fn p14_more_than_one_context_descriptor_is_refused() {
    for io in [SeriesIo::V15, SeriesIo::V16] {
        let semantics = Semantics::posted_pair(SeriesVfio::V13, io);
        let (mut bench, container) = nested(semantics);
        let before = bench.clone();
        let config = PasidTableConfig {
            pasid_bits: 1,
            ..translate(0x1000)
        };
        let refused = bench.call().set_pasid_table(container, &config);
        assert_eq!(refused, Err(Errno::EINVAL));
        assert_eq!(bench, before);
    }
}

#[test]
fn p15_a_number_of_another_version_is_enotty_and_without_a_backend_einval() {
    let v11 = SeriesNumbers::of(SeriesVfio::V11).set_pasid_table;
    let v12 = SeriesNumbers::of(SeriesVfio::V12).set_pasid_table;
    assert_eq!((v11, v12), (0x3b64 + 22, 0x3b64 + 18));
    for (name, semantics) in every_series() {
        let (mut bench, container) = nested(semantics);
        let other = if bench.numbers().set_pasid_table == v11 {
            v12
        } else {
            v11
        };
        assert_eq!(
            bench.raw(container, other, &[0; 64]),
            Err(Errno::ENOTTY),
            "{name}"
        );
        let empty = bench.open_container();
        assert_eq!(
            bench.raw(empty, v12, &[0; 64]),
            Err(Errno::EINVAL),
            "{name}"
        );
    }
    // No released kernel has any of them.
    for (name, semantics) in every_kernel() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        assert_eq!(
            bench.raw(container, v12, &[0; 64]),
            Err(Errno::ENOTTY),
            "{name}"
        );
    }
}

/// User memory that gives another base_ptr at each reading of the configuration.
struct Rewriting {
    inner: UserBuffer,
    base_ptr_at: u64,
    readings: u64,
}

impl UserMemory for Rewriting {
    fn copy_from_user(&mut self, at: UserPtr, bytes: &mut [u8]) -> Result<(), Errno> {
        if at.0 == self.inner.at.0 + 8 {
            self.readings += 1;
            let offset = self.base_ptr_at as usize;
            let value = 0x1000 * self.readings;
            self.inner.bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        }
        self.inner.copy_from_user(at, bytes)
    }

    fn copy_to_user(&mut self, at: UserPtr, bytes: &[u8]) -> Result<(), Errno> {
        self.inner.copy_to_user(at, bytes)
    }
}

#[test]
fn p40_a_configuration_rewritten_between_readings_differs_from_domain_to_domain_as_posted() {
    for (name, semantics) in every_series() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Nesting, &[0, 1]);
        let old = matches!(bench.io(), SeriesIo::V12 | SeriesIo::V13);
        let request = bytes(&bench, SET, &translate(0));
        let mut user = Rewriting {
            inner: UserBuffer::new(request),
            base_ptr_at: 8 + if old { 16 } else { 8 },
            readings: 0,
        };
        let (cmd, at) = (bench.numbers().set_pasid_table, user.inner.at.0);
        let result = bench.vfio.ioctl(bench.pid, container, cmd, at, &mut user);
        assert_eq!(result, Ok(0), "{name}");
        let tables: Vec<_> = bench
            .domains(container)
            .iter()
            .map(|domain| bench.table_of(*domain).0)
            .collect();
        // Newest first, and that is the order of readings.
        let expected = if bench.has(Defect::ConfigReadPerDomain) {
            [Some(0x1000), Some(0x2000)]
        } else {
            [Some(0x1000), Some(0x1000)]
        };
        assert_eq!(tables, expected, "{name}");
    }
}

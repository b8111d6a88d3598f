//! P58–P64: MSI bindings.

use iommu_core::semantics::MsiBinding as Mode;
use iommu_core::{Defect, Errno, FaultMode, Iova, MsiCookie, Paddr};

use super::*;

const GIOVA: u64 = 0xfeed_0000;
const GPA: u64 = 0x5000_0000;

/// Every semantics with the ioctl.
fn binding_series() -> Vec<(String, Semantics)> {
    every_series()
        .into_iter()
        .filter(|(_, semantics)| semantics.series.unwrap().msi == Mode::ByIoctl)
        .collect()
}

fn nested(semantics: Semantics, instances: &[usize]) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, instances);
    let indexes: Vec<usize> = (0..instances.len()).collect();
    let (container, _) = bench.container(IommuType::Nesting, &indexes);
    (bench, container)
}

/// Guest addresses bound in a domain, newest first, and where they lead.
fn bindings(bench: &Bench, domain: DomainId) -> Vec<(u64, u64)> {
    match bench.vfio.core().msi_cookie(domain) {
        Some(MsiCookie::Nested { bindings }) => bindings
            .iter()
            .map(|binding| (binding.giova.0, binding.gpa.0))
            .collect(),
        other => panic!("not a nested cookie: {other:?}"),
    }
}

#[test]
fn p58_a_second_binding_of_the_address_keeps_the_first_gpa() {
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let domain = bench.domains(container)[0];
        bench.call().bind_msi(container, GIOVA, GPA, PAGE).unwrap();
        assert_eq!(
            bench.call().bind_msi(container, GIOVA, GPA, PAGE),
            Ok(()),
            "{name}"
        );
        let other = bench.call().bind_msi(container, GIOVA, GPA + PAGE, PAGE);
        let expected = if bench.has(Defect::MsiUnwindRemovesOld) {
            Ok(())
        } else {
            Err(Errno::EEXIST)
        };
        assert_eq!(other, expected, "{name}");
        assert_eq!(bindings(&bench, domain), [(GIOVA, GPA)], "{name}");
    }
}

#[test]
fn p59_bindings_are_not_counted() {
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let domain = bench.domains(container)[0];
        for _ in 0..3 {
            bench.call().bind_msi(container, GIOVA, GPA, PAGE).unwrap();
        }
        bench.call().unbind_msi(container, GIOVA).unwrap();
        assert_eq!(bindings(&bench, domain), [], "{name}");
    }
}

#[test]
fn p60_unwinding_a_binding_removes_an_older_one_as_posted() {
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0, 1]);
        let domains = bench.domains(container);
        // The newer domain has the binding already, the older does not.
        let core = bench.vfio.core_mut();
        core.bind_guest_msi(domains[0], Iova(GIOVA), Iova(GPA), PAGE)
            .unwrap();
        bench.fail(FaultMode::NthOf {
            name: "iommu:bind_guest_msi",
            n: 0,
            errno: None,
        });
        let result = bench.call().bind_msi(container, GIOVA, GPA, PAGE);
        assert_eq!(result, Err(Errno::ENOMEM), "{name}");
        let expected: &[(u64, u64)] = if bench.has(Defect::MsiUnwindRemovesOld) {
            &[]
        } else {
            &[(GIOVA, GPA)]
        };
        assert_eq!(bindings(&bench, domains[0]), expected, "{name}");
        assert_eq!(bindings(&bench, domains[1]), [], "{name}");
    }
}

#[test]
fn p61_unbinding_an_unknown_address_is_fine() {
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let before = bench.clone();
        assert_eq!(bench.call().unbind_msi(container, GIOVA), Ok(()), "{name}");
        assert_eq!(bench, before, "{name}");
    }
}

#[test]
fn p62_p63_a_doorbell_is_mapped_once_and_unmapped_by_one_granule() {
    let doorbell = Paddr(0x809_0000);
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let domain = bench.domains(container)[0];
        bench.call().bind_msi(container, GIOVA, GPA, PAGE).unwrap();
        let core = bench.vfio.core_mut();
        assert_eq!(core.map_msi(domain, doorbell), Ok(Iova(GIOVA)), "{name}");
        assert_eq!(core.map_msi(domain, doorbell), Ok(Iova(GIOVA)), "{name}");
        let second = core.map_msi(domain, Paddr(0x80a_0000));
        assert_eq!(second, Err(Errno::ENOMEM), "{name}: no free binding");
        assert_eq!(
            bench.ops().mappings(domain),
            [(GPA, doorbell.0, PAGE)],
            "{name}"
        );
        bench.call().unbind_msi(container, GIOVA).unwrap();
        assert_eq!(bench.ops().mappings(domain), [], "{name}");
    }
}

#[test]
fn p64_both_flags_and_a_short_structure_are_refused() {
    for (name, semantics) in binding_series() {
        let (mut bench, container) = nested(semantics, &[0]);
        let cmd = bench.numbers().set_msi_binding;
        let mut bytes = [0; 32];
        (bytes[0], bytes[4]) = (32, 3);
        assert_eq!(
            bench.raw(container, cmd, &bytes),
            Err(Errno::EINVAL),
            "{name}"
        );
        (bytes[0], bytes[4]) = (31, 1);
        assert_eq!(
            bench.raw(container, cmd, &bytes),
            Err(Errno::EINVAL),
            "{name}"
        );
    }
}

//! What invalidating a domain issues, and in which order.

use iommu_core::{DeviceId, DomainId, IommuOps, Kernel, Semantics};
use smmu::ids::{Asid, Vmid};

use super::{S0, add, add_device, add_domain, driver, sid, with_ats};
use crate::command::Reach;
use crate::maintenance::{NestParent, Tag, Tags};
use crate::range::TlbSpan;
use crate::{Command, Driver};

use super::platform::Machine;

const SYNC: Command = Command::Sync { msi: None };

fn commands(driver: &mut Driver<Machine>, tags: &Tags, span: TlbSpan) -> Vec<Command> {
    driver.platform_mut().done.clear();
    driver.maintenance(tags).range(span);
    driver.platform().commands()
}

fn tags(tag: Tag, nest_parent: NestParent, devices: Vec<DeviceId>) -> Tags {
    Tags {
        smmu: S0,
        tag: Some(tag),
        page_log2: 12,
        nest_parent,
        devices,
    }
}

const fn span(iova: u64, size: u64) -> TlbSpan {
    TlbSpan {
        iova,
        size,
        granule: 4096,
        reach: Reach::Leaf,
    }
}

// linux-iommu.md 4.6: a gather over the whole address space has size 0.
#[test]
fn nothing_or_everything_is_invalidated_for_zero_bytes_by_version() {
    for kernel in Kernel::ALL {
        let mut driver = driver(Semantics::kernel(kernel));
        let device = add_device(&mut driver, 1);
        let asid = Asid::new(7);
        let tags = tags(Tag::Asid(asid), NestParent::No, vec![device]);
        let issued = commands(&mut driver, &tags, span(0, 0));
        let vmid = Vmid::new(0);
        let everything = [Command::TlbiNhAsid { asid, vmid }, SYNC];
        let expected: &[Command] = match kernel {
            Kernel::V7_2 => &everything,
            _ => &[],
        };
        assert_eq!(issued, expected, "{kernel:?}");
    }
}

// linux-iommu.md P115: a guest's stage 1 under a stage 2 makes entries that no IPA names.
#[test]
fn guests_entries_go_with_those_of_a_nest_parent_in_every_version() {
    for kernel in Kernel::ALL {
        let mut driver = driver(Semantics::kernel(kernel));
        let device = add_device(&mut driver, 1);
        let vmid = Vmid::new(3);
        let tags = tags(Tag::Vmid(vmid), NestParent::Yes, vec![device]);
        let issued = commands(&mut driver, &tags, span(0x1000, 4096));
        let (first, rest) = issued.split_first().unwrap();
        assert!(matches!(first, Command::TlbiS2Ipa { .. }), "{kernel:?}");
        let expected = [SYNC, Command::TlbiNhAll { vmid }, SYNC];
        assert_eq!(rest, expected, "{kernel:?}");
    }
}

// linux-iommu.md 4.6: 7.2 sorts its array, earlier kernels go by the list of masters, newest first.
#[test]
fn atcs_are_invalidated_by_stream_id_in_7_2_and_newest_first_before() {
    for kernel in Kernel::ALL {
        let mut driver = driver(Semantics::kernel(kernel));
        let devices: Vec<DeviceId> = [2, 1, 3]
            .map(|n| add(&mut driver, n, &with_ats(n)))
            .to_vec();
        let domain: DomainId = add_domain(&mut driver, 1, devices[0]);
        for device in &devices {
            driver.attach_dev(domain, *device, None).unwrap();
        }
        driver.platform_mut().done.clear();
        driver.flush_iotlb_all(domain);
        let issued = driver.platform().commands();
        let order: Vec<_> = issued
            .iter()
            .filter_map(|command| match command {
                Command::AtcInv { sid, .. } => Some(*sid),
                _ => None,
            })
            .collect();
        let expected = match kernel {
            Kernel::V7_2 => [1, 2, 3],
            _ => [3, 1, 2],
        };
        assert_eq!(order, expected.map(sid), "{kernel:?}");
    }
}

//! STEs, CDs and descriptors word for word as real drivers wrote them on this part: the `S`, `D`
//! and `M` lines of the recorded traces of 6.1 and 7.2 (addresses are ours).

use iommu_core::ops::Prot;
use iommu_core::{IommuOps, Iova, Kernel, Paddr, Semantics};
use smmu::addr::Pa;
use smmu::config::SmmuConfig;

use super::platform::Machine;
use super::{RW, add_device, add_domain, ste};
use crate::{Driver, Params};

const CACHED: Prot = Prot(RW.0 | Prot::CACHE.0);

/// A device attached to a domain that maps some pages, with CPU pages of `page` bytes.
fn attached(kernel: Kernel, page: u64, s1p: bool) -> Driver<Machine> {
    let part = SmmuConfig {
        s1p,
        ..SmmuConfig::qemu_11()
    };
    let params = Params {
        cpu_page: page,
        ..Params::default()
    };
    let machine = Machine::new(Semantics::kernel(kernel), &[part]);
    let mut driver = Driver::probe(machine, params, 1).unwrap();
    let device = add_device(&mut driver, 1);
    let domain = add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    for (iova, paddr, prot) in [
        (0xffff_d000, 0x4820_d000, CACHED),
        (0xffff_6000, 0x42f9_4000, Prot(Prot::READ.0 | Prot::CACHE.0)),
        (
            0xffff_f000,
            0x0809_0000,
            Prot(Prot::WRITE.0 | Prot::MMIO.0 | Prot::NOEXEC.0),
        ),
    ] {
        if page != 4096 {
            continue;
        }
        let mut mapped = 0;
        driver
            .map_pages(domain, Iova(iova), Paddr(paddr), page, 1, prot, &mut mapped)
            .unwrap();
    }
    driver
}

fn context_ptr(ste: &[u64; 8]) -> Pa {
    Pa::new(ste[0] & 0x00ff_ffff_ffff_ffc0)
}

#[test]
fn stage_1_entries_are_those_of_the_recordings() {
    for (kernel, page, tcr) in [
        (Kernel::V6_1, 4096, 0x3510),
        (Kernel::V7_2, 4096, 0x3510),
        (Kernel::V7_2, 16384, 0x3590),
    ] {
        let driver = attached(kernel, page, true);
        let entry = ste(&driver, 1);
        let at = context_ptr(&entry);
        // S,7ac61200,42fdf00b,d6,0,0,0,0,0,0
        assert_eq!(entry[0] & 0x3f, 0x0b, "{kernel:?}");
        assert_eq!(entry[1..], [0xd6, 0, 0, 0, 0, 0, 0], "{kernel:?}");
        // D,42fdf000,1e204c0003510,42fbc000,0,fffffffff404ff44,0,0,0,0
        let cd = driver.platform().entry(at);
        assert_eq!(cd[0], 0x0001_e204_c000_0000 | tcr, "{kernel:?}: ASID 1");
        assert_eq!(cd[2..], [0, 0xffff_ffff_f404_ff44, 0, 0, 0, 0]);
    }
}

#[test]
fn stage_2_entries_are_those_of_the_recordings() {
    // S,7bc21200,d,0,44c35940000000a,440a1000,0,0,0,0
    let driver = attached(Kernel::V7_2, 4096, false);
    let entry = ste(&driver, 1);
    assert_eq!(entry[..3], [0xd, 0, 0x044c_3594_0000_0001]);
    assert_eq!(entry[4..], [0; 4]);
    assert_eq!(entry[3] & 0xfff, 0);
}

#[test]
fn descriptors_are_those_of_the_recordings() {
    // M,42fbc000,4811f003; M,…,4820df47; M,…,42f94fc7; M,…,60000008090e4b
    for kernel in Kernel::ALL {
        let driver = attached(kernel, 4096, true);
        let cd = driver.platform().entry(context_ptr(&ste(&driver, 1)));
        let mut table = Pa::new(cd[1]);
        for index in [0, 3, 511] {
            let entry = driver.platform().word(table.add(index * 8));
            assert_eq!(entry & 0xfff, 3, "{kernel:?}");
            assert_eq!(entry >> 48, 0, "{kernel:?}");
            table = Pa::new(entry & !0xfff);
        }
        for (index, leaf) in [
            (0x1fd, 0x4820_df47),
            (0x1f6, 0x42f9_4fc7),
            (0x1ff, 0x0060_0000_0809_0e4b),
        ] {
            let entry = driver.platform().word(table.add(index * 8));
            assert_eq!(entry, leaf, "{kernel:?}");
        }
    }
}

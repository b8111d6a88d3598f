//! Page tables against a list of leaves, read back by the device model's walks; invalidation
//! against a TLB that forgets nothing it is not told to.

use std::collections::BTreeMap;

use iommu_core::ops::Gather;
use iommu_core::semantics::{BlockSplit, Concatenation};
use iommu_core::{DomainId, Errno, IommuOps, Iova, Kernel, Paddr, Semantics};
use proptest::prelude::*;
use smmu::Outcome;
use smmu::config::SmmuConfig;

use super::platform::Machine;
use super::{RW, S0, add_device, add_domain, sid};
use crate::{Command, Driver, Params};

/// A leaf: bytes and output address.
type Leaf = (u64, u64);

/// What the tables should hold, and what a TLB that forgets nothing does hold.
struct Model {
    leaves: BTreeMap<u64, Leaf>,
    split: BlockSplit,
    granule: u64,
    /// Address looked up: where it led, and the span of its leaf.
    cached: BTreeMap<u64, (u64, u64)>,
}

impl Model {
    fn covering(&self, iova: u64) -> Option<(u64, Leaf)> {
        let (&start, &leaf) = self.leaves.range(..=iova).next_back()?;
        (iova - start < leaf.0).then_some((start, leaf))
    }

    fn lookup(&self, iova: u64) -> Option<u64> {
        let (start, (_, paddr)) = self.covering(iova)?;
        Some(paddr + (iova - start))
    }

    fn remove_inside(&mut self, iova: u64, size: u64) {
        let inside: Vec<u64> = self.leaves.range(iova..iova + size).map(|l| *l.0).collect();
        for start in inside {
            self.leaves.remove(&start);
        }
    }

    /// Entries of `pgsize` from `iova` one at a time; how many were mapped.
    fn map(&mut self, iova: u64, paddr: u64, pgsize: u64, count: u64) -> Result<(), Errno> {
        for page in 0..count {
            let at = iova + page * pgsize;
            match self.covering(at) {
                Some((_, (size, _))) if size >= pgsize => return Err(Errno::EEXIST),
                _ => self.remove_inside(at, pgsize),
            }
        }
        for page in 0..count {
            self.leaves
                .insert(iova + page * pgsize, (pgsize, paddr + page * pgsize));
        }
        Ok(())
    }

    fn unmap(&mut self, iova: u64, pgsize: u64, bytes: u64) {
        for at in (iova..iova + bytes).step_by(pgsize as usize) {
            match self.covering(at) {
                Some((start, (size, paddr))) if size > pgsize => {
                    assert_eq!(self.split, BlockSplit::Split, "a block is not split");
                    self.leaves.remove(&start);
                    // Down to the page size, a level at a time.
                    let mut size = size;
                    let (mut start, mut paddr) = (start, paddr);
                    while size > pgsize {
                        let below = size / (self.granule / 8);
                        let keep = (at - start) / below;
                        for part in 0..size / below {
                            if part != keep {
                                self.leaves
                                    .insert(start + part * below, (below, paddr + part * below));
                            }
                        }
                        start += keep * below;
                        paddr += keep * below;
                        size = below;
                    }
                }
                _ => self.remove_inside(at, pgsize),
            }
        }
    }

    /// What the SMMU forgets: the ranges of the TLBI commands, decoded from their words.
    fn invalidate(&mut self, commands: &[Command]) {
        for command in commands {
            let [w0, w1] = command.words();
            match w0 & 0xff {
                0x12 | 0x2a => {
                    let tg = w1 >> 10 & 3;
                    let (num, scale) = (w0 >> 12 & 0x1f, w0 >> 20 & 0x3f);
                    let page = if tg == 0 {
                        self.granule
                    } else {
                        1 << (10 + 2 * tg)
                    };
                    let bytes = if tg == 0 {
                        page
                    } else {
                        ((num + 1) * page) << scale
                    };
                    let first = w1 & !0xfff;
                    // An entry goes if any of its addresses is named.
                    self.cached.retain(|&iova, &mut (_, span)| {
                        let start = iova & !(span - 1);
                        start + span <= first || start >= first + bytes
                    });
                }
                0x11 | 0x28 | 0x10 | 0x30 => self.cached.clear(),
                _ => {}
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Map {
        at: u64,
        to: u64,
        size: usize,
        count: u64,
    },
    Unmap {
        at: u64,
        size: usize,
        count: u64,
    },
    Read {
        at: u64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Addresses are in units of the page size the operation uses, in a window of few of them.
    let map = (0u64..6, 0u64..64, 0usize..3, 1u64..5).prop_map(|(at, to, size, count)| Op::Map {
        at,
        to,
        size,
        count,
    });
    let unmap =
        (0u64..600, 0usize..3, 1u64..5).prop_map(|(at, size, count)| Op::Unmap { at, size, count });
    let read = (0u64..2000).prop_map(|at| Op::Read { at });
    prop::collection::vec(prop_oneof![3 => map, 2 => unmap, 1 => read], 1..40)
}

/// CPU page, stages, address bits.
fn shapes() -> impl Strategy<Value = (u64, bool, u8)> {
    (
        prop::sample::select(vec![4096u64, 16384, 65536]),
        any::<bool>(),
        prop::sample::select(vec![36u8, 40, 42, 44, 48]),
    )
}

fn build(semantics: Semantics, (page, s1p, oas): (u64, bool, u8)) -> (Driver<Machine>, DomainId) {
    let part = SmmuConfig {
        s1p,
        oas,
        version: smmu::config::Version::V3_1,
        ril: s1p,
        bbml: 0,
        ..SmmuConfig::qemu_11()
    };
    let params = Params {
        cpu_page: page,
        ..Params::default()
    };
    let machine = Machine::new(semantics, &[part]);
    let mut driver = Driver::probe(machine, params, 1).unwrap();
    let device = add_device(&mut driver, 1);
    let domain = add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    (driver, domain)
}

/// Before 7.2 the start level of 16 KiB tables for 40 bits is one the architecture forbids.
fn illegal_stage_2(semantics: &Semantics, (page, s1p, oas): (u64, bool, u8)) -> bool {
    let possible = semantics.driver.concatenation == Concatenation::WherePossible;
    possible && !s1p && (page, oas) == (16384, 40)
}

// IHI 0070 §5.2, STE.S2SL0; fixed by `arm_lpae_concat_mandatory`. Found by the property below.
#[test]
fn before_7_2_a_40_bit_stage_2_of_16k_tables_is_an_illegal_ste() {
    for kernel in Kernel::ALL {
        let semantics = Semantics::kernel(kernel);
        let shape = (16384, false, 40);
        let illegal = illegal_stage_2(&semantics, shape);
        let (mut driver, domain) = build(semantics, shape);
        let mut mapped = 0;
        driver
            .map_pages(domain, Iova(0), Paddr(0), 16384, 1, RW, &mut mapped)
            .unwrap();
        match driver.platform().dma(S0, sid(1), 0) {
            Outcome::Translated(_) => assert!(!illegal, "{kernel:?}"),
            Outcome::Terminated { event, .. } => {
                assert!(illegal, "{kernel:?}");
                assert_eq!(event.unwrap().words()[0] & 0xff, 0x04, "C_BAD_STE");
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // linux-iommu.md 3.4, 4.7; DDI 0487 §D8 by the device model's walks.
    #[test]
    fn tables_hold_what_was_mapped_and_no_tlb_entry_outlives_it(
        ops in ops(), shape in shapes(), kernel in prop::sample::select(Kernel::ALL.to_vec()),
        high in any::<bool>(),
    ) {
        let semantics = Semantics::kernel(kernel);
        let split = semantics.driver.block_split;
        prop_assume!(!illegal_stage_2(&semantics, shape));
        let (mut driver, domain) = build(semantics, shape);
        let granule = shape.0;
        let bitmap = driver.pgsize_bitmap(domain);
        let sizes: Vec<u64> = (0..64).map(|b| 1 << b).filter(|s| bitmap & s != 0).collect();
        prop_assert_eq!(sizes[0], granule);
        let top = driver.aperture(domain).end() + 1;
        let room = 6 * sizes[sizes.len() - 1] * 5;
        let base = if high && top > room { top - top.min(1 << 36) } else { 0 };
        let mut model = Model { leaves: BTreeMap::new(), split, granule, cached: BTreeMap::new() };
        for op in ops {
            driver.platform_mut().done.clear();
            match op {
                Op::Map { at, to, size, count } => {
                    let size = sizes[size % sizes.len()];
                    let (iova, paddr) = (base + at * size, to * size);
                    let too_far = paddr + count * size > 1 << shape.2;
                    if iova + count * size > top || too_far { continue }
                    let mut mapped = 0;
                    let result = driver.map_pages(
                        domain, Iova(iova), Paddr(paddr), size, count, RW, &mut mapped);
                    let expected = if result.is_ok() { mapped / size } else { count };
                    // One call reaches to the end of one table.
                    prop_assert!(result.is_err() || mapped == count * size
                        || (iova + mapped).is_multiple_of(size * (granule / 8)));
                    prop_assert_eq!(result, model.map(iova, paddr, size, expected));
                    let commands = driver.platform().commands();
                    model.invalidate(&commands);
                }
                Op::Unmap { at, size, count } => {
                    let size = sizes[size % sizes.len()];
                    let iova = base + at * size;
                    if iova + count * size > top { continue }
                    let refused = split == BlockSplit::Refuse
                        && model.covering(iova).is_some_and(|(_, leaf)| leaf.0 > size);
                    let mut gather = Gather::default();
                    let bytes = driver.unmap_pages(domain, Iova(iova), size, count, &mut gather);
                    driver.iotlb_sync(domain, &gather);
                    if refused { prop_assert_eq!(bytes, 0) }
                    if bytes == 0 && !refused {
                        prop_assert!(model.leaves.range(iova..iova + size).next().is_none());
                    }
                    model.unmap(iova, size, bytes);
                    let commands = driver.platform().commands();
                    model.invalidate(&commands);
                }
                Op::Read { at } => {
                    let iova = base + at * granule;
                    if iova >= top { continue }
                    if let Outcome::Translated(to) = driver.platform().dma(S0, sid(1), iova) {
                        model.cached.insert(iova, (to.pa.get(), 1 << to.span_log2));
                    }
                }
            }
            // The tables say what the model says, by software's lookup and by the device's walk.
            let mut probes: Vec<u64> = model.leaves.iter()
                .flat_map(|(&at, &(size, _))| [at, at + size - 1, at + size])
                .collect();
            probes.push(base + 5 * granule);
            for iova in probes.into_iter().filter(|iova| *iova < top) {
                let expected = model.lookup(iova);
                let found = driver.iova_to_phys(domain, Iova(iova)).map(Paddr::get);
                prop_assert_eq!(found, expected, "{:#x}", iova);
                let walked = match driver.platform().dma(S0, sid(1), iova) {
                    Outcome::Translated(to) => Some(to.pa.get()),
                    _ => None,
                };
                prop_assert_eq!(walked, expected, "{:#x}", iova);
            }
            // After each operation no cached translation is stale.
            for (&iova, &(pa, _)) in &model.cached {
                prop_assert_eq!(model.lookup(iova), Some(pa), "stale {:#x}", iova);
            }
        }
        // The leaves are all there is; freeing the domain frees every table.
        let device = iommu_core::DeviceId(1);
        driver.detach_dev(domain, device);
        let tables = driver.table_bytes(domain);
        let before = driver.platform().allocated_bytes;
        driver.domain_free(domain);
        prop_assert!(before - driver.platform().allocated_bytes >= tables);
    }
}

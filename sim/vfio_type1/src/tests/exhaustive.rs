//! Every short sequence of operations, with and without a failure at every step: pins and charges
//! equal the sum of mappings, no device reaches what is not mapped, nothing is left at the end.

use iommu_core::ops::Prot;
use iommu_core::semantics::AttachOrder;
use iommu_core::{Errno, FaultMode};

use super::*;

/// What a sequence is made of. Groups 0 and 1 are behind one IOMMU, group 2 behind another.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Join(usize),
    Leave(usize),
    Map(u64),
    Unmap(u64),
    Set,
    Unset,
}

const STEPS: [Step; 10] = [
    Step::Join(0),
    Step::Join(1),
    Step::Join(2),
    Step::Leave(0),
    Step::Leave(2),
    Step::Map(0x10_0000),
    Step::Map(0x20_0000),
    Step::Unmap(0x10_0000),
    Step::Set,
    Step::Unset,
];

const PAGES: u64 = 2;

#[derive(Debug, Clone)]
struct World {
    bench: Bench,
    container: i32,
    groups: Vec<i32>,
    vaddr: u64,
}

impl World {
    fn new(semantics: Semantics) -> Self {
        let mut bench = Bench::new(semantics, &[0, 0, 1]);
        let container = bench.open_container();
        let groups: Vec<i32> = (0..3).map(|index| bench.open_group(index)).collect();
        let vaddr = bench.memory(2 * PAGES);
        let mut world = Self {
            bench,
            container,
            groups,
            vaddr,
        };
        // Blocking domains are made at the first claim and kept: have them from the start.
        for index in 0..3 {
            world.run(Step::Join(index)).unwrap();
            world.run(Step::Leave(index)).unwrap();
        }
        world
    }

    fn run(&mut self, step: Step) -> Result<(), Errno> {
        let nesting = match self.bench.ops().control().semantics.series {
            Some(_) => IommuType::Nesting,
            None => IommuType::Type1V2,
        };
        let container = self.container;
        match step {
            Step::Join(index) => {
                let group = self.groups[index];
                self.bench.call().set_container(group, container)?;
                let view = self.bench.vfio.container(self.bench.pid, container);
                if view.is_some_and(|view| view.type1().is_none()) {
                    let set = self.bench.call().set_iommu(container, nesting);
                    if set.is_err() {
                        // The group is in, without a backend; it goes, as a VMM would do.
                        self.bench.call().unset_container(group)?;
                    }
                    set?;
                }
                Ok(())
            }
            Step::Leave(index) => self.bench.call().unset_container(self.groups[index]),
            Step::Map(iova) => {
                let second = u64::from(iova != 0x10_0000);
                let vaddr = self.vaddr + second * PAGES * PAGE;
                self.bench.map(container, iova, vaddr, PAGES)
            }
            Step::Unmap(iova) => {
                let size = PAGES * PAGE;
                self.bench.call().unmap(container, iova, size).map(drop)
            }
            Step::Set => {
                let table = translate(0x1000);
                self.bench.call().set_pasid_table(container, &table)
            }
            Step::Unset => self.bench.call().unset_pasid_table(container),
        }
    }

    /// What must hold after every operation, whatever it returned.
    fn check(&mut self, told: &dyn std::fmt::Debug) {
        let bench = &self.bench;
        let view = bench.vfio.container(bench.pid, self.container).unwrap();
        let mut mapped = 0;
        let mut expected: Vec<(u64, u64)> = Vec::new();
        if let Some(type1) = view.type1() {
            for (iova, dma) in type1.mappings() {
                mapped += dma.size() / PAGE;
                expected.push((iova, dma.size()));
            }
        }
        let pins = bench.vfio.host().pins().count();
        assert_eq!((pins, bench.locked()), (mapped, mapped), "{told:?}");
        for (index, device) in bench.devices.iter().enumerate() {
            for iova in [0x10_0000, 0x10_1000, 0x20_0000, 0x20_1000, 0x30_0000] {
                let reached = bench.ops().dma(*device, iova, Prot::WRITE).is_ok();
                let member = view.groups().contains(&bench.group_id(index));
                let allowed = member
                    && expected
                        .iter()
                        .any(|(start, size)| (*start..start + size).contains(&iova));
                assert!(
                    !reached || allowed,
                    "{told:?}: device {index} reaches {iova:#x}"
                );
            }
        }
        let held: Vec<u64> = bench
            .vfio
            .host()
            .pins()
            .frames()
            .map(|(f, _)| f.0)
            .collect();
        for page in bench
            .vfio
            .host()
            .process(bench.pid)
            .frames(self.vaddr, 2 * PAGES * PAGE, PAGE)
        {
            let frame = page.unwrap().0;
            assert!(
                !bench.ops().reaches(frame) || held.contains(&frame),
                "{told:?}: an unpinned page is reached"
            );
        }
    }

    /// Leaves everything and compares with a world in which nothing ever happened.
    fn tear_down(mut self, pristine: &World, told: &dyn std::fmt::Debug) {
        self.bench.fail(FaultMode::Off);
        for index in 0..3 {
            // Those that are not in refuse to leave.
            let _ = self.run(Step::Leave(index));
        }
        let mut pristine = pristine.bench.clone();
        let order = pristine.ops().control().semantics.driver.attach_order;
        if order == AttachOrder::DetachFirst {
            // A driver that detaches first leaves a device nowhere when its attach then fails.
            for bench in [&mut self.bench, &mut pristine] {
                bench.vfio.core_mut().ops_mut().forget_attachments();
            }
        }
        assert!(self.bench == pristine, "{told:?}: something is left");
    }
}

/// All sequences of `depth` operations; the last one fails at each of its steps in turn.
fn explore(semantics: &Semantics, depth: usize) -> u64 {
    let pristine = World::new(semantics.clone());
    let mut count = 0;
    let mut pending = vec![(pristine.clone(), Vec::new())];
    while let Some((world, path)) = pending.pop() {
        for step in STEPS {
            let mut path: Vec<Step> = path.clone();
            path.push(step);
            let mut next = world.clone();
            next.bench.fail(FaultMode::Count);
            let _refused = next.run(step);
            let steps = next.bench.ops().control().faults.count();
            next.bench.fail(FaultMode::Off);
            next.check(&path);
            count += 1;
            for n in 0..steps {
                let mut failing = world.clone();
                failing.bench.fail(FaultMode::Nth { n, errno: None });
                let result = failing.run(step);
                let fired = failing.bench.ops().control().faults.fired();
                let told = (&path, n, fired, result);
                failing.check(&told);
                failing.tear_down(&pristine, &told);
                count += 1;
            }
            if path.len() < depth {
                pending.push((next, path));
            } else {
                next.tear_down(&pristine, &path);
            }
        }
    }
    count
}

#[test]
fn every_sequence_of_three_operations_with_a_failure_at_every_step_keeps_the_books() {
    let mut count = 0;
    for (_, semantics) in every_semantics() {
        count += explore(&semantics, 3);
    }
    assert!(count > 10_000, "{count}");
}

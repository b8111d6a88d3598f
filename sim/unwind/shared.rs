//! Policy (C): stage 2 shared across containers. One container of the kernel holds the mappings
//! and has one stage-2 domain, with one VMID, for each SMMU; what user space knows as a container
//! is a set of nested domains over them, with a PASID table of its own. This is iommufd's shape
//! (one address space, one parent for each SMMU, many nested domains).
//!
//! Our own design, as nobody posted one: every change is made in full or not at all.

use iommu_core::semantics::Defect;
use iommu_core::uapi::{CacheInvalidateInfo, InvalidateScope};
use iommu_core::{DomainId, Errno, IommuOps};

use super::guest;
use super::op::{MAPPINGS, Op, Stage1};
use super::world::World;

/// A nested domain of a container, on one SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NestedDomain {
    pub(super) smmu: u32,
    /// Whose stage 2 it is over. Usually one for each SMMU; two if the kernel could not put a group
    /// into the domain there was.
    parent: DomainId,
    pub(super) domain: DomainId,
    /// Newest first.
    pub(super) groups: Vec<usize>,
}

/// What user space knows as a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SharedContainer {
    /// Newest first.
    pub(super) domains: Vec<NestedDomain>,
    pub(super) mappings: [Held; MAPPINGS],
    stage1: Option<Stage1>,
}

/// Whether a container holds a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Held {
    #[default]
    No,
    Yes,
}

/// All containers over one stage 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// The kernel's container that has the mappings.
    pub(super) space: i32,
    pub(super) containers: Vec<SharedContainer>,
}

impl Shared {
    pub(super) fn new(space: i32, containers: usize) -> Self {
        Self {
            space,
            containers: vec![SharedContainer::default(); containers],
        }
    }

    pub(super) fn run(&mut self, world: &mut World, op: Op) -> Result<(), Errno> {
        match op {
            Op::Attach { group, container } => self.attach(world, group, container),
            Op::Detach { group } => self.detach(world, group),
            Op::Set { container, stage1 } => self.set(world, container, Some(stage1)),
            Op::Replace { container, table } => {
                self.set(world, container, Some(Stage1::Table(table)))
            }
            Op::Unset { container } => self.set(world, container, None),
            Op::Map { container, mapping } => self.map(world, container, mapping),
            Op::Unmap { container, mapping } => self.unmap(world, container, mapping),
            Op::Remove { .. } => Ok(()),
        }
    }

    fn holders(&self, mapping: usize) -> usize {
        let held = |container: &&SharedContainer| container.mappings[mapping] == Held::Yes;
        self.containers.iter().filter(held).count()
    }

    fn map(&mut self, world: &mut World, container: usize, mapping: usize) -> Result<(), Errno> {
        let entry = &self.containers[container];
        if entry.domains.is_empty() {
            return Err(Errno::EINVAL);
        }
        if entry.mappings[mapping] == Held::Yes {
            return Err(Errno::EEXIST);
        }
        if self.holders(mapping) == 0 {
            world.map(self.space, mapping)?;
        }
        self.containers[container].mappings[mapping] = Held::Yes;
        Ok(())
    }

    fn unmap(&mut self, world: &mut World, container: usize, mapping: usize) -> Result<(), Errno> {
        let entry = &self.containers[container];
        if entry.domains.is_empty() {
            return Err(Errno::EINVAL);
        }
        if entry.mappings[mapping] == Held::No {
            return Ok(());
        }
        let mut result = Ok(());
        if self.holders(mapping) == 1 {
            result = world.unmap(self.space, mapping);
            if world.is_mapped(self.space, mapping) {
                return result;
            }
        }
        // UNMAP_DMA may fail with the mapping gone, when it tells how much it removed.
        self.containers[container].mappings[mapping] = Held::No;
        result
    }

    /// The stage-2 domain a group was put into when it joined the space.
    fn parent(&self, world: &World, group: usize) -> Result<DomainId, Errno> {
        let id = world.groups[group].group;
        let type1 = world.type1(self.space).ok_or(Errno::EINVAL)?;
        type1
            .domains()
            .find(|(_, groups)| groups.contains(&id))
            .map(|(domain, _)| domain)
            .ok_or(Errno::EINVAL)
    }

    fn attach(&mut self, world: &mut World, group: usize, container: usize) -> Result<(), Errno> {
        if world.groups[group].container.is_some() {
            return Err(Errno::EINVAL);
        }
        world.join(group, self.space)?;
        let joined = self.nest(world, group, container);
        if joined.is_err() {
            let fd = world.groups[group].fd;
            world.vfio.caller(world.pid).unset_container(fd)?;
        } else {
            world.groups[group].container = Some(container);
        }
        joined
    }

    /// Moves a group from the parent to the container's nested domain over it.
    fn nest(&mut self, world: &mut World, group: usize, container: usize) -> Result<(), Errno> {
        let (smmu, id) = (world.groups[group].smmu, world.groups[group].group);
        let parent = self.parent(world, group)?;
        let entry = &self.containers[container];
        let existing = entry
            .domains
            .iter()
            .position(|domain| domain.parent == parent);
        if let Some(index) = existing {
            let domain = entry.domains[index].domain;
            world.vfio.core_mut().replace_group(domain, id)?;
            let groups = &mut self.containers[container].domains[index].groups;
            groups.insert(0, group);
            return Ok(());
        }
        let domain = Self::nested_domain(world, parent, entry.stage1)?;
        if let Err(errno) = world.vfio.core_mut().replace_group(domain, id) {
            world.vfio.core_mut().domain_free(domain);
            return Err(errno);
        }
        self.containers[container].domains.insert(
            0,
            NestedDomain {
                smmu,
                parent,
                domain,
                groups: vec![group],
            },
        );
        Ok(())
    }

    /// A nested domain with this stage 1, to which nothing is attached yet.
    fn nested_domain(
        world: &mut World,
        parent: DomainId,
        stage1: Option<Stage1>,
    ) -> Result<DomainId, Errno> {
        let core = world.vfio.core_mut();
        let domain = core.domain_alloc_nested(parent)?;
        if let Some(stage1) = stage1
            && let Err(errno) = core.attach_pasid_table(domain, &guest::config(stage1))
        {
            core.domain_free(domain);
            return Err(errno);
        }
        Ok(domain)
    }

    fn detach(&mut self, world: &mut World, group: usize) -> Result<(), Errno> {
        let Some(container) = world.groups[group].container else {
            return Err(Errno::EINVAL);
        };
        let last = self.group_count(container) == 1;
        if last {
            // As when a container of the kernel loses its last group: its mappings go.
            for mapping in 0..MAPPINGS {
                let result = self.unmap(world, container, mapping);
                if self.containers[container].mappings[mapping] == Held::Yes {
                    return result;
                }
            }
        }
        let id = world.groups[group].group;
        let domains = &mut self.containers[container].domains;
        let place = domains
            .iter()
            .position(|domain| domain.groups.contains(&group));
        if let Some(index) = place {
            let domain = domains[index].domain;
            world.vfio.core_mut().detach_group(domain, id);
            domains[index].groups.retain(|other| *other != group);
            if domains[index].groups.is_empty() {
                domains.remove(index);
                world.vfio.core_mut().domain_free(domain);
            }
        }
        if last {
            self.containers[container].stage1 = None;
        }
        world.groups[group].container = None;
        let fd = world.groups[group].fd;
        world.vfio.caller(world.pid).unset_container(fd)
    }

    fn group_count(&self, container: usize) -> usize {
        let domains = &self.containers[container].domains;
        domains.iter().map(|domain| domain.groups.len()).sum()
    }

    /// Another stage 1, or none, for every domain of a container: new domains are made and the
    /// groups moved over; if one cannot be, all go back and the container is as it was.
    fn set(
        &mut self,
        world: &mut World,
        container: usize,
        stage1: Option<Stage1>,
    ) -> Result<(), Errno> {
        if self.containers[container].domains.is_empty() {
            return Err(Errno::EINVAL);
        }
        let old = self.containers[container].domains.clone();
        let mut fresh: Vec<DomainId> = Vec::new();
        for domain in &old {
            let moved = Self::move_over(world, domain, stage1);
            match moved {
                Ok(domain) => fresh.push(domain),
                Err(errno) => {
                    for (domain, new) in old.iter().zip(&fresh).rev() {
                        Self::move_groups(world, &domain.groups, domain.domain)?;
                        world.vfio.core_mut().domain_free(*new);
                    }
                    return Err(errno);
                }
            }
        }
        let entry = &mut self.containers[container];
        entry.stage1 = stage1;
        for (domain, new) in entry.domains.iter_mut().zip(fresh) {
            let before = std::mem::replace(&mut domain.domain, new);
            world.vfio.core_mut().domain_free(before);
            Self::invalidate(world, &domain.groups, new);
        }
        Ok(())
    }

    /// A new domain with the groups of `old` on it, or nothing changed.
    fn move_over(
        world: &mut World,
        old: &NestedDomain,
        stage1: Option<Stage1>,
    ) -> Result<DomainId, Errno> {
        let new = Self::nested_domain(world, old.parent, stage1)?;
        for (done, group) in old.groups.iter().enumerate() {
            let id = world.groups[*group].group;
            if let Err(errno) = world.vfio.core_mut().replace_group(new, id) {
                Self::move_groups(world, &old.groups[..done], old.domain)?;
                world.vfio.core_mut().domain_free(new);
                return Err(errno);
            }
        }
        Ok(new)
    }

    fn move_groups(world: &mut World, groups: &[usize], domain: DomainId) -> Result<(), Errno> {
        for group in groups {
            let id = world.groups[*group].group;
            world.vfio.core_mut().replace_group(domain, id)?;
        }
        Ok(())
    }

    /// What the former table put into caches goes; the posted code forgets about it (D16).
    fn invalidate(world: &mut World, groups: &[usize], domain: DomainId) {
        if world.semantics().has(Defect::NoInvalidationOnSet) {
            return;
        }
        let device = groups
            .first()
            .and_then(|group| world.groups[*group].devices.first());
        let info = CacheInvalidateInfo {
            cache: 1,
            scope: InvalidateScope::Domain,
        };
        if let Some(device) = device.copied() {
            let ops = world.vfio.core_mut().ops_mut();
            // Whole domains are refused by IO12 and IO13 only, which have D16.
            let _done = ops.cache_invalidate(domain, device, &info);
        }
    }
}

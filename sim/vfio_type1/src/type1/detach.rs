//! A group leaves the container (`vfio_iommu_type1_detach_group()`).

use iommu_core::{GroupId, IommuOps};

use super::{Ctx, DirtyScope, IovaList, Mapped, Tracking, Type1};

impl Type1 {
    /// A group leaves. With the last group of a domain the domain goes; with the last domain all
    /// mappings go, or stay only remembered if groups without IOMMU are left. A group that is not
    /// here changes nothing but a refresh.
    pub(crate) fn detach_group<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, group: GroupId) {
        if let Some(index) = self.emulated.iter().position(|m| m.group == group) {
            let member = self.emulated.remove(index);
            if self.emulated.is_empty() && self.domains.is_empty() {
                self.unmap_unpin_all(ctx);
            }
            self.demote(member.scope);
            return;
        }
        let mut iova_list = self.iova_list.clone();
        let mut scope = DirtyScope::PinnedOnly;
        let place = self.domains.iter().enumerate().find_map(|(index, domain)| {
            let member = domain.members.iter().position(|m| m.group == group)?;
            Some((index, member))
        });
        if let Some((index, member)) = place {
            let domain = self.domains[index].domain;
            ctx.core.detach_group(domain, group);
            scope = self.domains[index].members.remove(member).scope;
            if self.domains[index].members.is_empty() {
                self.drop_domain(ctx, index);
                self.expand(ctx, &mut iova_list);
                self.update_pgsize_bitmap(ctx);
            }
        }
        if self.refresh(ctx, &mut iova_list) {
            self.iova_list = iova_list;
        }
        self.demote(scope);
    }

    fn drop_domain<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, index: usize) {
        if self.domains.len() == 1 {
            if self.emulated.is_empty() {
                self.unmap_unpin_all(ctx);
            } else {
                self.unmap_and_reaccount(ctx);
            }
        }
        let domain = self.domains.remove(index);
        ctx.core.domain_free(domain.domain);
    }

    /// The tightest aperture of the domains left becomes the outer bounds
    /// (`vfio_iommu_aper_expand()`).
    fn expand<O: IommuOps>(&self, ctx: &Ctx<'_, O>, iova_list: &mut IovaList) {
        let apertures = self
            .domains
            .iter()
            .map(|domain| ctx.core.ops().aperture(domain.domain));
        let (start, end) = apertures.fold((0, u64::MAX), |(start, end), aperture| {
            (start.max(*aperture.start()), end.min(*aperture.end()))
        });
        iova_list.stretch(start, end);
    }

    /// Rebuilds the list from its bounds and the groups left; whether that worked. If not, the old
    /// list stays (`vfio_iommu_resv_refresh()`).
    fn refresh<O: IommuOps>(&self, ctx: &mut Ctx<'_, O>, iova_list: &mut IovaList) -> bool {
        let Some(bounds) = iova_list.bounds() else {
            return false;
        };
        let mut regions = Vec::new();
        for member in self.domains.iter().flat_map(|domain| &domain.members) {
            match ctx.core.group_resv_regions(member.group) {
                Ok(more) => {
                    for region in more {
                        iommu_core::insert_resv_region(region, &mut regions);
                    }
                }
                Err(_) => return false,
            }
        }
        *iova_list = IovaList::default();
        iova_list.resize(bounds.start, bounds.end);
        iova_list.exclude(&regions).is_ok()
    }

    /// A group that may have written anywhere is gone: what it wrote is not known page by page.
    fn demote(&mut self, scope: DirtyScope) {
        if scope == DirtyScope::Everything {
            self.non_pinned_groups -= 1;
            if self.tracking == Tracking::On {
                self.fill_bitmaps();
            }
        }
    }

    /// All mappings go (`vfio_iommu_unmap_unpin_all()`).
    pub(super) fn unmap_unpin_all<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>) {
        let entries: Vec<u64> = self.dma.keys().copied().collect();
        for iova in entries {
            self.remove_dma(ctx, iova);
        }
    }

    /// Mappings leave the domains but stay remembered; only what groups without IOMMU have pinned
    /// stays charged (`vfio_iommu_unmap_unpin_reaccount()`).
    fn unmap_and_reaccount<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>) {
        let entries: Vec<u64> = self.dma.keys().copied().collect();
        for iova in entries {
            let unlocked = self.unmap_unpin(ctx, iova);
            let dma = self.dma.get_mut(&iova).expect("listed");
            dma.mapped = Mapped::No;
            let kept = dma
                .pinned
                .values()
                .filter(|pin| ctx.host.reserved(pin.paddr) == crate::process::Reserved::No)
                .count() as i64;
            // A charge that cannot be had is not made: the kernel ignores the error as well.
            let _ = dma.charge(ctx, kept - unlocked as i64);
        }
    }
}

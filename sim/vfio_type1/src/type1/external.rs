//! Pages pinned by devices that need no IOMMU (`vfio_iommu_type1_pin_pages()`).

use iommu_core::ops::Prot;
use iommu_core::{Errno, IommuOps, Paddr};

use super::{Ctx, DirtyScope, ExternalPin, Type1, VaddrState, Version};
use crate::process::Reserved;

impl Type1 {
    /// Pins the page at each address for a device without IOMMU; where they are. All or nothing.
    ///
    /// # Errors
    /// EACCES: first version. EINVAL: not mapped, or its user address is withdrawn. EPERM: mapped
    /// with fewer rights. EFAULT, ENOMEM.
    pub(crate) fn pin_external<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iovas: &[u64],
        prot: Prot,
    ) -> Result<Vec<Paddr>, Errno> {
        if self.version == Version::V1 {
            return Err(Errno::EACCES);
        }
        let mut pinned = Vec::with_capacity(iovas.len());
        for iova in iovas {
            match self.pin_one(ctx, *iova, prot) {
                Ok(paddr) => pinned.push(paddr),
                Err(errno) => {
                    self.unpin_external(ctx, &iovas[..pinned.len()]);
                    return Err(errno);
                }
            }
        }
        for member in &mut self.emulated {
            member.scope = DirtyScope::PinnedOnly;
        }
        Ok(pinned)
    }

    fn pin_one<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        at: u64,
        prot: Prot,
    ) -> Result<Paddr, Errno> {
        let page_size = ctx.host.page_size();
        let pgsize = self.pgsize();
        let (iova, _) = self.find_dma(at, page_size).ok_or(Errno::EINVAL)?;
        // With an IOMMU domain the page is charged already, for the mapping.
        let charged = self.domains.is_empty();
        let dma = self.dma.get_mut(&iova).expect("found");
        if dma.vaddr_state == VaddrState::Withdrawn {
            return Err(Errno::EINVAL);
        }
        if !dma.prot.contains(prot) {
            return Err(Errno::EPERM);
        }
        if let Some(pin) = dma.pinned.get_mut(&at) {
            pin.count += 1;
            ctx.host.pin(pin.paddr, 1);
            return Ok(pin.paddr);
        }
        let (paddr, _) = dma.pin_pages(ctx, iova, at - iova, 1)?;
        if !charged && ctx.host.reserved(paddr) == Reserved::No {
            dma.charge(ctx, -1)?;
        }
        dma.pinned.insert(at, ExternalPin { paddr, count: 1 });
        dma.mark_dirty(iova, at, pgsize);
        Ok(paddr)
    }

    /// Unpins pages pinned by [`pin_external`](Self::pin_external); others are ignored.
    pub(crate) fn unpin_external<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, iovas: &[u64]) {
        let charged = self.domains.is_empty();
        for at in iovas {
            let Some((iova, _)) = self.find_dma(*at, 1) else {
                continue;
            };
            let dma = self.dma.get_mut(&iova).expect("found");
            let Some(pin) = dma.pinned.get_mut(at) else {
                continue;
            };
            pin.count -= 1;
            let (paddr, left) = (pin.paddr, pin.count);
            let unlocked = ctx.host.unpin(paddr, 1);
            if left == 0 {
                dma.pinned.remove(at);
                if charged {
                    // Giving back cannot fail unless the process is gone.
                    let _ = dma.charge(ctx, -(unlocked as i64));
                }
            }
        }
    }
}

//! The backend's ioctls: sizes, flags and copies, in the kernel's order
//! (`vfio_iommu_type1_ioctl()`).

use iommu_core::semantics::UserVaddr;
use iommu_core::{Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::{FromBytes, IntoBytes};

use super::dirty::{pages_of, verify_size};
use super::{Ctx, Type1};
use crate::abi::{self, map_flags, unmap_flags};

impl<O: IommuOps> Ctx<'_, O> {
    /// Reads a structure into the kernel's stack.
    #[inline]
    pub(crate) fn copy_in(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
        bytes: &mut [u8],
    ) -> Result<(), Errno> {
        self.step("vfio:copy_from_user", Errno::EFAULT)?;
        user.copy_from_user(at, bytes)?;
        self.host.leave_on_stack(self.pid, bytes);
        Ok(())
    }

    /// Reads a whole structure.
    #[inline]
    pub(crate) fn read_in<T: FromBytes + IntoBytes + Default>(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
    ) -> Result<T, Errno> {
        let mut structure = T::default();
        self.copy_in(user, at, structure.as_mut_bytes())?;
        Ok(structure)
    }

    /// Writes a structure that lies on the kernel's stack.
    #[inline]
    pub(crate) fn copy_out(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.host.leave_on_stack(self.pid, bytes);
        self.copy_out_allocated(user, at, bytes)
    }

    /// Writes what lies in memory the kernel allocated.
    #[inline]
    pub(crate) fn copy_out_allocated(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.step("vfio:copy_to_user", Errno::EFAULT)?;
        user.copy_to_user(at, bytes)
    }
}

impl Type1 {
    /// An ioctl of the container's file that its layer does not know.
    ///
    /// # Errors
    /// ENOTTY: nor does this one. Others: each ioctl's.
    pub(crate) fn ioctl<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        cmd: u32,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        match cmd {
            abi::CHECK_EXTENSION => Ok(Self::check_extension(Some(self), ctx.semantics(), arg.0)),
            abi::IOMMU_GET_INFO => self.get_info(ctx, user, arg),
            abi::IOMMU_MAP_DMA => self.ioctl_map(ctx, user, arg),
            abi::IOMMU_UNMAP_DMA => self.ioctl_unmap(ctx, user, arg),
            abi::IOMMU_DIRTY_PAGES => self.dirty_pages(ctx, user, arg),
            _ => self.series_ioctl(ctx, user, cmd, arg),
        }
    }

    fn ioctl_map<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let map: abi::DmaMap = ctx.read_in(user, arg)?;
        let mut known = map_flags::READ | map_flags::WRITE;
        if ctx.semantics().vfio.user_vaddr == UserVaddr::Replaceable {
            known |= map_flags::VADDR;
        }
        if (map.argsz as usize) < size_of_val(&map) || map.flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        self.map_dma(ctx, &map).map(|()| 0)
    }

    fn ioctl_unmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = size_of::<abi::DmaUnmap>();
        let mut unmap: abi::DmaUnmap = ctx.read_in(user, arg)?;
        let mut known = unmap_flags::GET_DIRTY_BITMAP;
        if ctx.semantics().vfio.user_vaddr == UserVaddr::Replaceable {
            known |= unmap_flags::ALL | unmap_flags::VADDR;
        }
        if (unmap.argsz as usize) < MIN || unmap.flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let mut bitmap = abi::Bitmap::default();
        if unmap.flags & unmap_flags::GET_DIRTY_BITMAP != 0 {
            if unmap.flags & (unmap_flags::ALL | unmap_flags::VADDR) != 0 {
                return Err(Errno::EINVAL);
            }
            if (unmap.argsz as usize) < MIN + size_of_val(&bitmap) {
                return Err(Errno::EINVAL);
            }
            bitmap = ctx.read_in(user, arg.add(MIN as u64))?;
            if !user.access_ok(UserPtr(bitmap.data), bitmap.size) {
                return Err(Errno::EINVAL);
            }
            verify_size(pages_of(unmap.size, bitmap.pgsize), bitmap.size)?;
        }
        unmap.size = self.unmap_dma(ctx, user, &unmap, &bitmap)?;
        ctx.copy_out(user, arg, unmap.as_bytes())?;
        Ok(0)
    }
}

//! The ioctls of `/dev/iommu`: those of a type1 container, in the kernel's order of checks
//! (`drivers/iommu/iommufd/vfio_compat.c`), and what becomes of its own.

use iommu_core::{Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use super::{Ioas, Iommufd, IommufdId, LargePages};
use crate::abi::{self, extension, map_flags, unmap_flags};
use crate::process::Pid;
use crate::type1::{Ctx, prot_of};
use crate::vfio::Vfio;

/// Number of the first ioctl of iommufd's own (`IOMMUFD_CMD_BASE`).
const OWN_BASE: u32 = 0x80;

/// Least bytes of the argument of each ioctl of iommufd's own, from [`OWN_BASE`] on (7.2:
/// `include/uapi/linux/iommufd.h`).
const OWN_SIZES: [u32; 21] = [
    8, 12, 24, 40, 32, 40, 24, 24, 12, 24, 32, 16, 48, 32, 16, 40, 24, 24, 8, 32, 40,
];

impl<O: IommuOps> Vfio<O> {
    pub(crate) fn iommufd_ioctl(
        &mut self,
        pid: Pid,
        id: IommufdId,
        cmd: u32,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        self.with_iommufd(id, |vfio, iommufd| {
            iommufd.ioctl(&mut vfio.ctx(pid), user, cmd, arg)
        })
    }
}

impl Iommufd {
    /// An ioctl of the file.
    ///
    /// # Errors
    /// ENOTTY: unknown here. ENODEV: no group has joined yet. EOPNOTSUPP: one of iommufd's own,
    /// none of which is modelled. Others: each ioctl's.
    fn ioctl<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        cmd: u32,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let own = (cmd & 0xff).checked_sub(OWN_BASE);
        if let Some(least) = own.and_then(|index| OWN_SIZES.get(index as usize)) {
            return Err(refuse_own(ctx, user, cmd, arg, *least));
        }
        match cmd {
            abi::GET_API_VERSION => Ok(abi::API_VERSION),
            abi::CHECK_EXTENSION => self.check_extension(arg.0),
            abi::SET_IOMMU => self.set_iommu(ctx, arg.0),
            abi::IOMMU_GET_INFO => self.get_info(ctx, user, arg),
            abi::IOMMU_MAP_DMA => self.ioctl_map(ctx, user, arg),
            abi::IOMMU_UNMAP_DMA => self.ioctl_unmap(ctx, user, arg),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// The address space the ioctls are about (`get_compat_ioas()`).
    pub(super) fn compat_ioas(&mut self) -> Result<&mut Ioas, Errno> {
        self.ioas.as_mut().ok_or(Errno::ENODEV)
    }

    fn check_extension(&mut self, arg: u64) -> Result<u64, Errno> {
        match arg {
            extension::TYPE1 | extension::TYPE1V2 | extension::UNMAP_ALL => Ok(1),
            extension::DMA_CC => Ok(u64::from(self.compat_ioas()?.is_coherent())),
            _ => Ok(0),
        }
    }

    /// SET_IOMMU changes nothing but whether large pages may be used, and may be repeated.
    fn set_iommu<O: IommuOps>(&mut self, ctx: &Ctx<'_, O>, arg: u64) -> Result<u64, Errno> {
        if !matches!(arg, extension::TYPE1 | extension::TYPE1V2) {
            return Err(Errno::EINVAL);
        }
        let ioas = self.compat_ioas()?;
        if arg == extension::TYPE1 {
            ioas.table.forbid_large_pages(ctx)?;
        }
        Ok(0)
    }

    fn ioctl_map<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let map: abi::DmaMap = ctx.read_in(user, arg)?;
        let known = map_flags::READ | map_flags::WRITE;
        if (map.argsz as usize) < size_of_val(&map) || map.flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let table = &mut self.compat_ioas()?.table;
        table.map(ctx, map.iova, map.vaddr, map.size, prot_of(map.flags))?;
        Ok(0)
    }

    /// UNMAP_DMA: how many bytes went is told even if it stopped half-way.
    fn ioctl_unmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        let mut unmap: abi::DmaUnmap = ctx.read_in(user, arg)?;
        if (unmap.argsz as usize) < size_of_val(&unmap) || unmap.flags & !unmap_flags::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let ioas = self.compat_ioas()?;
        let all = unmap.flags & unmap_flags::ALL != 0;
        if all && (unmap.iova != 0 || unmap.size != 0) {
            return Err(Errno::EINVAL);
        }
        let (removed, result) = ioas.unmap(ctx, &unmap, all)?;
        unmap.size = removed;
        ctx.copy_out(user, arg, unmap.as_bytes())?;
        result.map(|()| 0)
    }
}

impl Ioas {
    /// Unmaps the range or everything; how many bytes went, and why it stopped there.
    ///
    /// # Errors
    /// Those of cutting, before anything went.
    fn unmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        unmap: &abi::DmaUnmap,
        all: bool,
    ) -> Result<(u64, Result<(), Errno>), Errno> {
        let (iova, size) = (unmap.iova, unmap.size);
        if all {
            return Ok(self.table.unmap(ctx, 0, u64::MAX));
        }
        if self.table.large_pages() == LargePages::Forbidden {
            let last = iova.wrapping_add(size).wrapping_sub(1);
            match iova.checked_sub(1) {
                Some(before) => self.table.cut(ctx, &[last, before])?,
                None => self.table.cut(ctx, &[last])?,
            }
        }
        if size == 0 {
            return Ok((0, Err(Errno::EINVAL)));
        }
        Ok(match iova.checked_add(size - 1) {
            Some(last) => self.table.unmap(ctx, iova, last),
            None => (0, Err(Errno::EOVERFLOW)),
        })
    }
}

/// How an ioctl of iommufd's own is refused (`iommufd_fops_ioctl()`).
fn refuse_own<O: IommuOps>(
    ctx: &mut Ctx<'_, O>,
    user: &mut impl UserMemory,
    cmd: u32,
    arg: UserPtr,
    least: u32,
) -> Errno {
    let mut size = [0; 4];
    if let Err(errno) = ctx.copy_in(user, arg, &mut size) {
        return errno;
    }
    if cmd >> 8 != abi::GET_API_VERSION >> 8 {
        return Errno::ENOTTY;
    }
    if u32::from_le_bytes(size) < least {
        return Errno::EINVAL;
    }
    Errno::EOPNOTSUPP
}

//! GET_INFO as iommufd answers it (`iommufd_vfio_iommu_get_info()`).

use iommu_core::{Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use super::{Ioas, Iommufd};
use crate::abi::{self, info};
use crate::type1::Ctx;

/// Bytes of the structure without its capabilities.
const SIZE: u64 = size_of::<abi::Type1Info>() as u64;
/// Bytes of the capability that tells how many more mappings there may be.
const AVAIL: u64 = 12;
/// The same with its padding.
const AVAIL_PADDED: u64 = 16;
/// Bytes of the capability that lists ranges, without the ranges.
const RANGES_HEAD: u64 = 16;
/// Bytes of a range.
const RANGE: u64 = 16;

impl Iommufd {
    /// GET_INFO: page sizes, and capabilities; whatever capability there is room for is written,
    /// but they are only pointed at if there is room for all.
    ///
    /// # Errors
    /// EFAULT. EINVAL: the structure is too small for the page sizes. ENODEV: no group has joined.
    pub(super) fn get_info<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = 16;
        let mut bytes = [0; SIZE as usize];
        ctx.copy_in(user, arg, &mut bytes[..MIN])?;
        let mut out: abi::Type1Info = abi::read(&bytes);
        if (out.argsz as usize) < MIN {
            return Err(Errno::EINVAL);
        }
        let room = u64::from(out.argsz);
        let ioas = self.compat_ioas()?;
        out.flags = info::PGSIZES | info::CAPS;
        out.iova_pgsizes = ioas.page_sizes(ctx);
        let ranges = ioas.table.ranges();
        let ranges_at = SIZE + AVAIL_PADDED;
        let total = ranges_at + RANGES_HEAD + RANGE * ranges.len() as u64;
        if room >= SIZE + AVAIL {
            let head = abi::CapHeader {
                id: info::CAP_DMA_AVAIL,
                version: 1,
                next: 0,
            };
            ctx.copy_out(
                user,
                arg.add(SIZE),
                &[head.as_bytes(), &u32::MAX.to_le_bytes()].concat(),
            )?;
        }
        for (index, (first, last)) in (0..).zip(&ranges) {
            let at = ranges_at + RANGES_HEAD + RANGE * index;
            if room >= at + RANGE {
                ctx.copy_out(user, arg.add(at), [*first, *last].as_bytes())?;
            }
        }
        if room >= total {
            let head = abi::CapHeader {
                id: info::CAP_IOVA_RANGE,
                version: 1,
                next: 0,
            };
            let count = (ranges.len() as u64).to_le_bytes();
            ctx.copy_out(
                user,
                arg.add(ranges_at),
                &[head.as_bytes(), &count].concat(),
            )?;
        }
        // The first capability leads to the second as soon as that would begin within the buffer.
        if room >= ranges_at {
            ctx.copy_out(user, arg.add(SIZE + 4), &(ranges_at as u32).to_le_bytes())?;
        }
        if room >= total {
            out.cap_offset = SIZE as u32;
        }
        out.argsz = total as u32;
        ctx.copy_out(user, arg, &out.as_bytes()[..room.min(SIZE) as usize])?;
        Ok(0)
    }
}

impl Ioas {
    /// Sizes of pages all domains have, those below a CPU page replaced by it, but nothing below
    /// the alignment (`iommufd_get_pagesizes()`).
    fn page_sizes<O: IommuOps>(&self, ctx: &Ctx<'_, O>) -> u64 {
        let page_size = ctx.host.page_size();
        let all = self.domains().fold(u64::MAX, |sizes, domain| {
            sizes & ctx.core.ops().pgsize_bitmap(domain)
        });
        let mask = !(page_size - 1);
        let sizes = if all & !mask == 0 {
            all
        } else {
            all & mask | page_size
        };
        sizes.max(self.table.alignment())
    }
}

//! DIRTY_PAGES: bitmaps of what may have been written (`vfio_iommu_type1_dirty_pages()`).
//!
//! The kernel shifts a mapping's bitmap in place to align it with the user's and afterwards clears
//! only as many bits as the mapping has pages; what was shifted beyond stays and is reported the
//! next time. That is modelled, word for word.

use iommu_core::{Errno, IommuOps, UserMemory, UserPtr};

use super::{Ctx, Dma, Mapped, Tracking, Type1, Version};
use crate::abi::{self, dirty_flags};

/// Pages a bitmap may stand for (`DIRTY_BITMAP_PAGES_MAX`).
const PAGES_MAX: u64 = i32::MAX as u64;
/// Bytes of the largest bitmap (`DIRTY_BITMAP_SIZE_MAX`).
pub(super) const SIZE_MAX: u64 = bitmap_bytes(PAGES_MAX);

/// Bytes of a bitmap for so many pages: whole 64-bit words.
const fn bitmap_bytes(pages: u64) -> u64 {
    pages.div_ceil(64) * 8
}

/// Checks the size of a user's bitmap (`verify_bitmap_size()`).
pub(super) fn verify_size(pages: u64, bytes: u64) -> Result<(), Errno> {
    if pages == 0 || bytes == 0 || bytes > SIZE_MAX {
        return Err(Errno::EINVAL);
    }
    if pages.div_ceil(64) > bytes / 8 || bytes < bitmap_bytes(pages) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// How many pages of `pgsize` bytes `size` is; the shift by the lowest bit set is modulo 64 as
/// the CPU does it, so that 0 shifts by nothing.
pub(super) fn pages_of(size: u64, pgsize: u64) -> u64 {
    size >> (pgsize.trailing_zeros() & 63)
}

impl Type1 {
    /// DIRTY_PAGES.
    ///
    /// # Errors
    /// EACCES: first version. EFAULT. EINVAL (EOVERFLOW for wrap from 7.2 on): sizes, flags,
    /// ranges; tracking is off; a mapping would be cut. ENOMEM.
    pub(super) fn dirty_pages<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = size_of::<abi::DirtyBitmap>();
        if self.version == Version::V1 {
            return Err(Errno::EACCES);
        }
        let dirty: abi::DirtyBitmap = ctx.read_in(user, arg)?;
        let known = dirty_flags::START | dirty_flags::STOP | dirty_flags::GET_BITMAP;
        if (dirty.argsz as usize) < MIN || dirty.flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        match dirty.flags {
            dirty_flags::START => self.start_tracking(ctx)?,
            dirty_flags::STOP => self.stop_tracking(),
            dirty_flags::GET_BITMAP => {
                if dirty.argsz as usize - MIN < size_of::<abi::DirtyRange>() {
                    return Err(Errno::EINVAL);
                }
                let range = ctx.read_in(user, arg.add(MIN as u64))?;
                self.get_bitmap(ctx, user, &range)?;
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn start_tracking<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>) -> Result<(), Errno> {
        if self.tracking == Tracking::On {
            return Ok(());
        }
        let pgsize = self.pgsize();
        let mut result = Ok(());
        for (iova, dma) in &mut self.dma {
            result = dma.alloc_bitmap(ctx, pgsize);
            if result.is_err() {
                break;
            }
            dma.mark_pinned(*iova, pgsize);
        }
        if result.is_err() {
            self.stop_tracking();
        } else {
            self.tracking = Tracking::On;
        }
        result
    }

    fn stop_tracking(&mut self) {
        self.tracking = Tracking::Off;
        for dma in self.dma.values_mut() {
            dma.bitmap = None;
        }
    }

    fn get_bitmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        range: &abi::DirtyRange,
    ) -> Result<(), Errno> {
        let wrap = ctx.semantics().vfio.wrap;
        let last = if wrap == Errno::EOVERFLOW {
            // Size 0 is refused below, whatever its end is.
            range.iova.checked_add(range.size.saturating_sub(1))
        } else {
            range
                .iova
                .checked_add(range.size)
                .map(|end| end.wrapping_sub(1))
        };
        let last = last.ok_or(wrap)?;
        let data = UserPtr(range.bitmap.data);
        if !user.access_ok(data, range.bitmap.size) {
            return Err(Errno::EINVAL);
        }
        verify_size(pages_of(range.size, range.bitmap.pgsize), range.bitmap.size)?;
        let pgsize = self.pgsize();
        if range.bitmap.pgsize != pgsize
            || range.iova & (pgsize - 1) != 0
            || range.size == 0
            || range.size & (pgsize - 1) != 0
            || self.tracking == Tracking::Off
            || self.bisects(range.iova, last)
        {
            return Err(Errno::EINVAL);
        }
        let entries: Vec<u64> = self
            .dma
            .range(range.iova..=last)
            .map(|(iova, _)| *iova)
            .collect();
        for iova in entries {
            self.report_dirty(ctx, user, data.0, iova, range.iova)?;
            let dma = self.dma.get_mut(&iova).expect("listed");
            let pages = dma.size / pgsize;
            if let Some(bitmap) = &mut dma.bitmap {
                clear_bits(bitmap, pages);
            }
            dma.mark_pinned(iova, pgsize);
        }
        Ok(())
    }

    /// Writes a mapping's bits into the user's bitmap, which begins at `base`
    /// (`update_user_bitmap()`).
    pub(super) fn report_dirty<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        data: u64,
        iova: u64,
        base: u64,
    ) -> Result<(), Errno> {
        let pgsize = self.pgsize();
        let everything = self.non_pinned_groups > 0;
        let dma = self.dma.get_mut(&iova).expect("the mapping exists");
        let pages = dma.size / pgsize;
        let offset = iova.wrapping_sub(base) / pgsize;
        let (word, shift) = (offset / 64, offset % 64);
        let mapped = dma.mapped == Mapped::Yes;
        let bitmap = dma.bitmap.as_mut().ok_or(Errno::EINVAL)?;
        if everything && mapped {
            set_bits(bitmap, pages);
        }
        let at = UserPtr(data.wrapping_add(word * 8));
        if shift != 0 {
            shift_left(bitmap, shift as u32, pages + shift);
            let mut leftover = [0; 8];
            ctx.copy_in(user, at, &mut leftover)?;
            bitmap[0] |= u64::from_le_bytes(leftover);
        }
        let words = (pages + shift).div_ceil(64) as usize;
        let bytes: Vec<u8> = bitmap[..words]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        ctx.copy_out_allocated(user, at, &bytes)
    }

    /// Every page of every mapping may have been written (`vfio_iommu_populate_bitmap_full()`).
    pub(super) fn fill_bitmaps(&mut self) {
        let pgsize = self.pgsize();
        for dma in self.dma.values_mut() {
            let pages = dma.size / pgsize;
            if let Some(bitmap) = &mut dma.bitmap {
                set_bits(bitmap, pages);
            }
        }
    }
}

impl Dma {
    /// Makes the bitmap, all clear (`vfio_dma_bitmap_alloc()`).
    pub(super) fn alloc_bitmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        pgsize: u64,
    ) -> Result<(), Errno> {
        let pages = self.size / pgsize;
        if pages > PAGES_MAX {
            return Err(Errno::EINVAL);
        }
        ctx.step("vfio:alloc_bitmap", Errno::ENOMEM)?;
        self.bitmap = Some(vec![0; pages.div_ceil(64) as usize + 1]);
        Ok(())
    }

    /// Externally pinned pages are dirty as long as they are pinned
    /// (`vfio_dma_populate_bitmap()`).
    fn mark_pinned(&mut self, iova: u64, pgsize: u64) {
        if let Some(bitmap) = &mut self.bitmap {
            for at in self.pinned.keys() {
                let page = (at - iova) / pgsize;
                bitmap[(page / 64) as usize] |= 1 << (page % 64);
            }
        }
    }

    /// A page was pinned externally: it is dirty from now on.
    pub(super) fn mark_dirty(&mut self, iova: u64, at: u64, pgsize: u64) {
        if let Some(bitmap) = &mut self.bitmap {
            let page = (at - iova) / pgsize;
            bitmap[(page / 64) as usize] |= 1 << (page % 64);
        }
    }
}

fn set_bits(bitmap: &mut [u64], bits: u64) {
    let (whole, rest) = ((bits / 64) as usize, bits % 64);
    bitmap[..whole].fill(u64::MAX);
    if rest != 0 {
        bitmap[whole] |= (1 << rest) - 1;
    }
}

fn clear_bits(bitmap: &mut [u64], bits: u64) {
    let (whole, rest) = ((bits / 64) as usize, bits % 64);
    bitmap[..whole].fill(0);
    if rest != 0 {
        bitmap[whole] &= !((1 << rest) - 1);
    }
}

/// Shifts the words that hold `bits` bits; whole words, so bits beyond move as well
/// (`__bitmap_shift_left()`).
fn shift_left(bitmap: &mut [u64], shift: u32, bits: u64) {
    for word in (0..bits.div_ceil(64) as usize).rev() {
        let below = if word > 0 {
            bitmap[word - 1] >> (64 - shift)
        } else {
            0
        };
        bitmap[word] = bitmap[word] << shift | below;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_sizes_are_whole_words_up_to_256_mib() {
        assert_eq!(SIZE_MAX, 256 << 20);
        assert_eq!(verify_size(1, 7), Err(Errno::EINVAL));
        assert_eq!(verify_size(64, 8), Ok(()));
        assert_eq!(verify_size(65, 8), Err(Errno::EINVAL));
        assert_eq!(verify_size(1, SIZE_MAX), Ok(()));
        assert_eq!(verify_size(1, SIZE_MAX + 1), Err(Errno::EINVAL));
        assert_eq!(verify_size(0, 8), Err(Errno::EINVAL));
    }

    #[test]
    fn shifting_carries_between_words_and_takes_bits_beyond_along() {
        let mut bitmap = [0b11000, 0];
        shift_left(&mut bitmap, 2, 5);
        assert_eq!(bitmap, [0b1100000, 0]);
        let mut bitmap = [1 << 63, 1];
        shift_left(&mut bitmap, 1, 128);
        assert_eq!(bitmap, [0, 0b11]);
    }
}

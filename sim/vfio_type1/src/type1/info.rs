//! GET_INFO and its chain of capabilities (`vfio_iommu_type1_get_info()`).

use iommu_core::semantics::CapabilityPadding;
use iommu_core::{Errno, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use super::{Ctx, Type1, dirty};
use crate::abi::{self, info};

/// Capabilities as they will lie behind the structure.
pub(crate) struct Caps {
    bytes: Vec<u8>,
    padding: CapabilityPadding,
    /// Where the last one begins.
    last: Option<usize>,
}

impl Caps {
    pub(crate) fn new(padding: CapabilityPadding) -> Self {
        Self {
            bytes: vec![],
            padding,
            last: None,
        }
    }

    /// Appends a capability. `next` fields count from the start of the structure, which is
    /// `header` bytes before the first capability.
    pub(crate) fn add(&mut self, id: u16, version: u16, header: usize, body: &[u8]) {
        let here = self.bytes.len();
        if let Some(last) = self.last.replace(here) {
            let next = ((here + header) as u32).to_le_bytes();
            self.bytes[last + 4..last + 8].copy_from_slice(&next);
        }
        let head = abi::CapHeader {
            id,
            version,
            next: 0,
        };
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body);
        if self.padding == CapabilityPadding::Eight {
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Type1 {
    /// GET_INFO: page sizes, and capabilities if there is room; the size needed if not.
    ///
    /// # Errors
    /// EFAULT. EINVAL: the structure is too small for the page sizes.
    pub(super) fn get_info<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        arg: UserPtr,
    ) -> Result<u64, Errno> {
        const MIN: usize = 16;
        const SIZE: usize = size_of::<abi::Type1Info>();
        let mut bytes = [0; SIZE];
        ctx.copy_in(user, arg, &mut bytes[..MIN])?;
        let mut out: abi::Type1Info = abi::read(&bytes);
        if (out.argsz as usize) < MIN {
            return Err(Errno::EINVAL);
        }
        let room = (out.argsz as usize).min(SIZE);
        out.flags = info::PGSIZES | info::CAPS;
        out.iova_pgsizes = self.pgsize_bitmap;
        let caps = self.capabilities(ctx);
        let needed = SIZE + caps.bytes().len();
        if (out.argsz as usize) < needed {
            out.argsz = needed as u32;
        } else {
            ctx.copy_out_allocated(user, arg.add(SIZE as u64), caps.bytes())?;
            out.cap_offset = SIZE as u32;
        }
        ctx.copy_out(user, arg, &out.as_bytes()[..room])?;
        Ok(0)
    }

    fn capabilities<O: IommuOps>(&self, ctx: &Ctx<'_, O>) -> Caps {
        const HEADER: usize = size_of::<abi::Type1Info>();
        let mut caps = Caps::new(ctx.semantics().vfio.capability_padding);
        let migration = [0, self.pgsize(), dirty::SIZE_MAX];
        caps.add(info::CAP_MIGRATION, 1, HEADER, migration.as_bytes());
        caps.add(info::CAP_DMA_AVAIL, 1, HEADER, self.dma_avail.as_bytes());
        let ranges = self.iova_list.ranges();
        if !ranges.is_empty() {
            let mut body = Vec::with_capacity(8 + 16 * ranges.len());
            body.extend_from_slice(&(ranges.len() as u64).to_le_bytes());
            for range in ranges {
                body.extend_from_slice(&range.start.to_le_bytes());
                body.extend_from_slice(&range.end.to_le_bytes());
            }
            caps.add(info::CAP_IOVA_RANGE, 1, HEADER, &body);
        }
        caps
    }
}

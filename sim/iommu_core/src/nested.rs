//! The core's half of the nested-stage series: structures read from user space and checked before
//! the driver sees them, and the MSI cookie.

use crate::core::IommuCore;
use crate::msi::{MsiBinding, MsiCookie};
use crate::ops::{DomainKind, PageResponse, Prot};
use crate::semantics::SeriesIo;
use crate::uapi::{CacheInvalidateInfo, InvalidateScope, PasidConfig, PasidTableConfig};
use crate::user::{UserMemory, UserPtr};
use crate::{Defect, DeviceId, DomainId, Errno, IommuOps, Iova, Paddr};

/// Offsets within `struct iommu_pasid_table_config`; the series changed them once (IO14).
struct ConfigLayout {
    format: usize,
    base_ptr: usize,
    pasid_bits: usize,
    /// Where the format's own part begins: the least size.
    vendor: usize,
    /// Where the SMMUv3 part ends.
    vendor_end: usize,
    size: usize,
}

impl ConfigLayout {
    fn of(io: SeriesIo) -> Self {
        match io {
            SeriesIo::V12 | SeriesIo::V13 => Self {
                format: 8,
                base_ptr: 16,
                pasid_bits: 24,
                vendor: 28,
                vendor_end: 36,
                size: 40,
            },
            SeriesIo::V14 | SeriesIo::V15 | SeriesIo::V16 => Self {
                format: 16,
                base_ptr: 8,
                pasid_bits: 20,
                vendor: 24,
                vendor_end: 32,
                size: 32,
            },
        }
    }
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl<O: IommuOps> IommuCore<O> {
    fn copy_in(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
        bytes: &mut [u8],
    ) -> Result<(), Errno> {
        self.step("iommu:copy_from_user", Errno::EFAULT)?;
        user.copy_from_user(at, bytes)
    }

    fn series_io(&self) -> Result<SeriesIo, Errno> {
        self.ops.control().semantics.io().ok_or(Errno::ENODEV)
    }

    /// Reads and checks a PASID table configuration
    /// (`iommu_uapi_attach_pasid_table()` up to the driver's op).
    ///
    /// # Errors
    /// ENODEV: no such op. EFAULT. EINVAL: size, version, or configuration.
    pub fn read_pasid_table(
        &mut self,
        user: &mut impl UserMemory,
        at: UserPtr,
    ) -> Result<PasidTableConfig, Errno> {
        let io = self.series_io()?;
        let layout = ConfigLayout::of(io);
        let mut bytes = [0; 40];
        self.copy_in(user, at, &mut bytes[..layout.vendor])?;
        let argsz = word32(&bytes, 0) as usize;
        if argsz < layout.vendor || word32(&bytes, 4) != 1 {
            return Err(Errno::EINVAL);
        }
        let format = word32(&bytes, layout.format);
        if format == crate::uapi::PASID_FORMAT_SMMUV3 && argsz < layout.vendor_end {
            return Err(Errno::EINVAL);
        }
        let size = argsz.min(layout.size);
        self.copy_in(
            user,
            at.add(layout.vendor as u64),
            &mut bytes[layout.vendor..size],
        )?;
        let config = PasidConfig(bytes[layout.pasid_bits + 1]);
        let known = (PasidConfig::TRANSLATE..=PasidConfig::ABORT).contains(&config);
        let defects = self.ops.control().semantics.defects;
        if !known && !defects.contains(Defect::ConfigRangeUnchecked) {
            return Err(Errno::EINVAL);
        }
        let (s1fmt, s1dss) = (bytes[layout.vendor + 4], bytes[layout.vendor + 5]);
        if !defects.contains(Defect::FieldsUnchecked) {
            let padding = &bytes[layout.pasid_bits + 2..layout.pasid_bits + 4];
            let vendor_padding = &bytes[layout.vendor + 6..layout.vendor + 8];
            let idle = [padding, vendor_padding, &[s1fmt, s1dss]];
            if idle.iter().any(|bytes| bytes.iter().any(|byte| *byte != 0)) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(PasidTableConfig {
            version: word32(&bytes, 4),
            format,
            base_ptr: word64(&bytes, layout.base_ptr),
            pasid_bits: bytes[layout.pasid_bits],
            config,
            smmuv3_version: word32(&bytes, layout.vendor),
            s1fmt,
            s1dss,
        })
    }

    /// Installs a guest's stage 1 on `domain` (the driver's `attach_pasid_table`).
    ///
    /// # Errors
    /// The driver's.
    pub fn attach_pasid_table(
        &mut self,
        domain: DomainId,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        let result = self
            .step("iommu:attach_pasid_table", Errno::EINVAL)
            .and_then(|()| self.ops.attach_pasid_table(domain, config));
        self.note("iommu:attach_pasid_table", None, Some(domain), result);
        result
    }

    /// Undoes it; without a driver's op, nothing (`iommu_detach_pasid_table()`).
    pub fn detach_pasid_table(&mut self, domain: DomainId) {
        if self.series_io().is_ok() {
            self.ops.detach_pasid_table(domain);
            self.note("iommu:detach_pasid_table", None, Some(domain), Ok(()));
        }
    }

    /// Reads, checks and performs a guest's invalidation (`iommu_uapi_cache_invalidate()`).
    ///
    /// # Errors
    /// ENODEV: no such op. EFAULT. EINVAL: as the structure's documentation demands. Others: the
    /// driver's.
    pub fn uapi_cache_invalidate(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        user: &mut impl UserMemory,
        at: UserPtr,
    ) -> Result<(), Errno> {
        const MIN: usize = 16;
        const PASID_END: usize = 32;
        const ADDR_END: usize = 56;
        self.series_io()?;
        let mut bytes = [0; ADDR_END];
        self.copy_in(user, at, &mut bytes[..MIN])?;
        let argsz = word32(&bytes, 0) as usize;
        let granularity = bytes[9];
        let needed = match granularity {
            1 => PASID_END,
            2 => ADDR_END,
            _ => MIN,
        };
        if argsz < needed.max(MIN) {
            return Err(Errno::EINVAL);
        }
        let size = argsz.min(ADDR_END);
        self.copy_in(user, at.add(MIN as u64), &mut bytes[MIN..size])?;
        let info = check_invalidation(&bytes)?;
        let result = self
            .step("iommu:cache_invalidate", Errno::EINVAL)
            .and_then(|()| self.ops.cache_invalidate(domain, device, &info));
        self.note("iommu:cache_invalidate", Some(device), Some(domain), result);
        result
    }

    /// Gives `domain` addresses for MSI doorbells: from `base` upwards, or under nesting wherever
    /// the guest binds them (`iommu_get_msi_cookie()`).
    ///
    /// # Errors
    /// EINVAL: not an unmanaged domain. EEXIST: it has some. ENOMEM.
    pub fn get_msi_cookie(&mut self, domain: DomainId, base: Iova) -> Result<(), Errno> {
        let entry = self.domains.get(domain).ok_or(Errno::EINVAL)?;
        if entry.kind != DomainKind::Unmanaged {
            return Err(Errno::EINVAL);
        }
        if entry.cookie.is_some() {
            return Err(Errno::EEXIST);
        }
        self.step("iommu:msi_cookie", Errno::ENOMEM)?;
        let nested = self.binds_msis() && self.ops.is_nesting(domain) == Ok(true);
        let cookie = if nested {
            MsiCookie::Nested { bindings: vec![] }
        } else {
            MsiCookie::Linear {
                next: base,
                pages: vec![],
            }
        };
        self.domain_mut(domain)?.cookie = Some(cookie);
        Ok(())
    }

    /// Whether this version has MSI binding.
    fn binds_msis(&self) -> bool {
        let series = &self.ops.control().semantics.series;
        series
            .as_ref()
            .is_some_and(|series| series.msi == crate::semantics::MsiBinding::ByIoctl)
    }

    fn domain_mut(&mut self, domain: DomainId) -> Result<&mut crate::device::Domain, Errno> {
        self.domains.get_mut(domain).ok_or(Errno::EINVAL)
    }

    /// The MSI cookie of `domain`.
    pub fn msi_cookie(&self, domain: DomainId) -> Option<&MsiCookie> {
        self.domains.get(domain)?.cookie.as_ref()
    }

    pub(crate) fn put_msi_cookie(&mut self, domain: DomainId) {
        let cookie = self
            .domains
            .get_mut(domain)
            .and_then(|domain| domain.cookie.take());
        if let Some(MsiCookie::Nested { bindings }) = cookie {
            for binding in bindings.iter().filter(|b| b.doorbell.is_some()) {
                self.unmap(domain, binding.gpa, binding.granule);
            }
        }
    }

    /// The guest's doorbell mapping `giova` to `gpa` of `size` bytes
    /// (`iommu_dma_bind_guest_msi()`).
    ///
    /// # Errors
    /// EINVAL: no nested cookie, or size beyond a page (IO15). ENOMEM. EEXIST: bound elsewhere
    /// (without defect D21).
    pub fn bind_guest_msi(
        &mut self,
        domain: DomainId,
        giova: Iova,
        gpa: Iova,
        size: u64,
    ) -> Result<(), Errno> {
        let page_size = self.config.page_size;
        let old_io = matches!(
            self.series_io()?,
            SeriesIo::V12 | SeriesIo::V13 | SeriesIo::V14
        );
        let lenient = self
            .ops
            .control()
            .semantics
            .has(Defect::MsiUnwindRemovesOld);
        let Some(MsiCookie::Nested { bindings }) = &mut self.domain_mut(domain)?.cookie else {
            return Err(Errno::EINVAL);
        };
        if !old_io && size > page_size {
            return Err(Errno::EINVAL);
        }
        let mask = size.wrapping_sub(1);
        let (giova, gpa) = (Iova(giova.0 & !mask), Iova(gpa.0 & !mask));
        if let Some(old) = bindings.iter().find(|binding| binding.giova == giova) {
            return if lenient || old.gpa == gpa {
                Ok(())
            } else {
                Err(Errno::EEXIST)
            };
        }
        self.step("iommu:bind_guest_msi", Errno::ENOMEM)?;
        if let Some(MsiCookie::Nested { bindings }) = &mut self.domain_mut(domain)?.cookie {
            bindings.insert(
                0,
                MsiBinding {
                    giova,
                    gpa,
                    granule: size,
                    doorbell: None,
                },
            );
        }
        Ok(())
    }

    /// Takes a guest's doorbell mapping away, with what it mapped at stage 2; unknown ones are
    /// ignored (`iommu_dma_unbind_guest_msi()`).
    pub fn unbind_guest_msi(&mut self, domain: DomainId, giova: Iova) {
        let Some(MsiCookie::Nested { bindings }) = self
            .domains
            .get_mut(domain)
            .and_then(|domain| domain.cookie.as_mut())
        else {
            return;
        };
        let found = bindings
            .iter()
            .position(|binding| Iova(giova.0 & !binding.granule.wrapping_sub(1)) == binding.giova);
        if let Some(index) = found {
            let binding = bindings.remove(index);
            if binding.doorbell.is_some() {
                self.unmap(domain, binding.gpa, binding.granule);
            }
        }
    }

    /// The address a device of `domain` writes to reach the physical `doorbell`
    /// (`iommu_dma_get_msi_page()`).
    ///
    /// # Errors
    /// ENOMEM: no cookie, no free binding, or the mapping fails; the caller's MSI set-up fails.
    pub fn map_msi(&mut self, domain: DomainId, doorbell: Paddr) -> Result<Iova, Errno> {
        let granule = self.config.page_size;
        let prot = Prot::WRITE | Prot::NOEXEC | Prot::MMIO;
        match self.msi_cookie(domain) {
            Some(MsiCookie::Linear { next, pages }) => {
                if let Some((iova, _)) = pages.iter().find(|(_, page)| *page == doorbell) {
                    return Ok(*iova);
                }
                let iova = *next;
                self.map(domain, iova, doorbell, granule, prot)
                    .map_err(|_| Errno::ENOMEM)?;
                if let Some(MsiCookie::Linear { next, pages }) =
                    &mut self.domain_mut(domain)?.cookie
                {
                    *next = iova.add(granule);
                    pages.push((iova, doorbell));
                }
                Ok(iova)
            }
            Some(MsiCookie::Nested { bindings }) => {
                if let Some(bound) = bindings.iter().find(|b| b.doorbell == Some(doorbell)) {
                    return Ok(bound.giova);
                }
                let free = bindings
                    .iter()
                    .position(|binding| binding.doorbell.is_none())
                    .ok_or(Errno::ENOMEM)?;
                let binding = bindings[free];
                self.map(domain, binding.gpa, doorbell, binding.granule, prot)
                    .map_err(|_| Errno::ENOMEM)?;
                if let Some(MsiCookie::Nested { bindings }) = &mut self.domain_mut(domain)?.cookie {
                    bindings[free].doorbell = Some(doorbell);
                }
                Ok(binding.giova)
            }
            None => Err(Errno::ENOMEM),
        }
    }
}

impl<O: IommuOps> IommuCore<O> {
    /// Answers a page request with a `struct iommu_page_response` (`iommu_page_response()`).
    ///
    /// # Errors
    /// EINVAL: unknown version or flags. Others: the driver's, as nothing waits for the answer.
    pub fn page_response(&mut self, device: DeviceId, bytes: &[u8; 24]) -> Result<(), Errno> {
        const VERSION: u32 = 1;
        const PASID_VALID: u32 = 1;
        let (version, flags) = (word32(bytes, 4), word32(bytes, 8));
        if version != VERSION || flags & !PASID_VALID != 0 {
            return Err(Errno::EINVAL);
        }
        let response = PageResponse {
            pasid: word32(bytes, 12),
            grpid: word32(bytes, 16),
            code: word32(bytes, 20),
        };
        self.ops_mut().page_response(device, &response)
    }
}

/// `iommu_check_cache_invl_data()`.
fn check_invalidation(bytes: &[u8; 56]) -> Result<CacheInvalidateInfo, Errno> {
    const IOTLB_DEV: u8 = 1 << 1;
    const PASID_CACHE: u8 = 1 << 2;
    let (cache, granularity) = (bytes[8], bytes[9]);
    let refused = word32(bytes, 4) != 1
        || cache & !7 != 0
        || granularity >= 3
        || bytes[10..16].iter().any(|byte| *byte != 0);
    if refused {
        return Err(Errno::EINVAL);
    }
    let (flags, archid, pasid) = (word32(bytes, 16), word32(bytes, 20), word64(bytes, 24));
    let scope = match granularity {
        0 if cache & IOTLB_DEV != 0 => return Err(Errno::EINVAL),
        0 => InvalidateScope::Domain,
        1 if flags & !3 != 0 => return Err(Errno::EINVAL),
        1 => InvalidateScope::Pasid {
            flags,
            archid,
            pasid,
        },
        _ if cache & PASID_CACHE != 0 || flags & !7 != 0 => return Err(Errno::EINVAL),
        _ => InvalidateScope::Addr {
            flags,
            archid,
            pasid,
            addr: word64(bytes, 32),
            granule_size: word64(bytes, 40),
            nb_granules: word64(bytes, 48),
        },
    };
    Ok(CacheInvalidateInfo { cache, scope })
}

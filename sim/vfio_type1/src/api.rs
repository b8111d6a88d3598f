//! A typed layer above the bytes: thin, one call an ioctl.

use iommu_core::semantics::SeriesIo;
use iommu_core::uapi::{CacheInvalidateInfo, InvalidateScope, PasidTableConfig};
use iommu_core::{Errno, GroupId, IommuOps, UserBuffer};
use zerocopy::IntoBytes;

use crate::abi::{self, extension};
use crate::process::Pid;
use crate::type1::{BIND, SET, SeriesNumbers, UNBIND, UNSET};
use crate::vfio::Vfio;

/// What SET_IOMMU chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuType {
    /// `VFIO_TYPE1_IOMMU`.
    Type1,
    /// `VFIO_TYPE1v2_IOMMU`.
    Type1V2,
    /// `VFIO_TYPE1_NESTING_IOMMU`.
    Nesting,
}

impl IommuType {
    /// Its number.
    pub const fn number(self) -> u64 {
        match self {
            Self::Type1 => extension::TYPE1,
            Self::Type1V2 => extension::TYPE1V2,
            Self::Nesting => extension::NESTING,
        }
    }
}

/// A mapping to make: [`Rights`] for `size` bytes at `vaddr`, seen by devices at `iova`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Address for devices.
    pub iova: u64,
    /// Address in the process.
    pub vaddr: u64,
    /// Bytes.
    pub size: u64,
    /// What devices may do.
    pub rights: Rights,
}

/// What devices may do with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Both.
    ReadWrite,
}

impl Rights {
    const fn flags(self) -> u32 {
        match self {
            Self::Read => abi::map_flags::READ,
            Self::Write => abi::map_flags::WRITE,
            Self::ReadWrite => abi::map_flags::READ | abi::map_flags::WRITE,
        }
    }
}

/// One process's view of VFIO.
#[derive(Debug)]
pub struct Caller<'a, O: IommuOps> {
    vfio: &'a mut Vfio<O>,
    pid: Pid,
}

impl<O: IommuOps> Vfio<O> {
    /// Calls as process `pid`.
    pub fn caller(&mut self, pid: Pid) -> Caller<'_, O> {
        Caller { vfio: self, pid }
    }
}

impl<O: IommuOps> Caller<'_, O> {
    fn call(&mut self, fd: i32, cmd: u32, bytes: Vec<u8>) -> Result<(u64, Vec<u8>), Errno> {
        let mut buffer = UserBuffer::new(bytes);
        let at = buffer.at.0;
        let value = self.vfio.ioctl(self.pid, fd, cmd, at, &mut buffer)?;
        Ok((value, buffer.bytes))
    }

    fn number(&mut self, fd: i32, cmd: u32, arg: u64) -> Result<u64, Errno> {
        let mut nothing = UserBuffer::new(vec![]);
        self.vfio.ioctl(self.pid, fd, cmd, arg, &mut nothing)
    }

    /// Opens a container.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn open_container(&mut self) -> Result<i32, Errno> {
        self.vfio.open_container(self.pid)
    }

    /// Opens `/dev/iommu`, to be used as a container.
    ///
    /// # Errors
    /// ENOENT, ENOMEM.
    pub fn open_iommufd(&mut self) -> Result<i32, Errno> {
        self.vfio.open_iommufd(self.pid)
    }

    /// Opens a group.
    ///
    /// # Errors
    /// ENOENT, EBUSY.
    pub fn open_group(&mut self, group: GroupId) -> Result<i32, Errno> {
        self.vfio.open_group(self.pid, group)
    }

    /// GROUP_SET_CONTAINER.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn set_container(&mut self, group: i32, container: i32) -> Result<(), Errno> {
        let bytes = container.to_le_bytes().to_vec();
        self.call(group, abi::GROUP_SET_CONTAINER, bytes).map(drop)
    }

    /// GROUP_UNSET_CONTAINER.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn unset_container(&mut self, group: i32) -> Result<(), Errno> {
        self.number(group, abi::GROUP_UNSET_CONTAINER, 0).map(drop)
    }

    /// GROUP_GET_DEVICE_FD.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn open_device(&mut self, group: i32, name: &str) -> Result<i32, Errno> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        let (fd, _) = self.call(group, abi::GROUP_GET_DEVICE_FD, bytes)?;
        Ok(fd as i32)
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&mut self, fd: i32) -> Result<(), Errno> {
        self.vfio.close(self.pid, fd)
    }

    /// SET_IOMMU.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn set_iommu(&mut self, container: i32, kind: IommuType) -> Result<(), Errno> {
        self.number(container, abi::SET_IOMMU, kind.number())
            .map(drop)
    }

    /// MAP_DMA.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn map(&mut self, container: i32, mapping: Mapping) -> Result<(), Errno> {
        let map = abi::DmaMap {
            argsz: size_of::<abi::DmaMap>() as u32,
            flags: mapping.rights.flags(),
            vaddr: mapping.vaddr,
            iova: mapping.iova,
            size: mapping.size,
        };
        self.call(container, abi::IOMMU_MAP_DMA, map.as_bytes().to_vec())
            .map(drop)
    }

    /// UNMAP_DMA; bytes unmapped.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn unmap(&mut self, container: i32, iova: u64, size: u64) -> Result<u64, Errno> {
        let unmap = abi::DmaUnmap {
            argsz: size_of::<abi::DmaUnmap>() as u32,
            flags: 0,
            iova,
            size,
        };
        let bytes = unmap.as_bytes().to_vec();
        let (_, bytes) = self.call(container, abi::IOMMU_UNMAP_DMA, bytes)?;
        Ok(abi::read::<abi::DmaUnmap>(&bytes).size)
    }

    /// SET_PASID_TABLE with flag SET, in the layout of the version applied.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn set_pasid_table(
        &mut self,
        container: i32,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        let series = self.vfio.core().ops().control().semantics.series;
        let series = series.ok_or(Errno::ENOTTY)?;
        let bytes = pasid_table_bytes(series.io, SET, Some(config));
        let cmd = SeriesNumbers::of(series.vfio).set_pasid_table;
        self.call(container, cmd, bytes).map(drop)
    }

    /// SET_PASID_TABLE with flag UNSET.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn unset_pasid_table(&mut self, container: i32) -> Result<(), Errno> {
        let series = self.vfio.core().ops().control().semantics.series;
        let series = series.ok_or(Errno::ENOTTY)?;
        let bytes = pasid_table_bytes(series.io, UNSET, None);
        let cmd = SeriesNumbers::of(series.vfio).set_pasid_table;
        self.call(container, cmd, bytes).map(drop)
    }

    /// CACHE_INVALIDATE.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn cache_invalidate(
        &mut self,
        container: i32,
        info: &CacheInvalidateInfo,
    ) -> Result<(), Errno> {
        let series = self.vfio.core().ops().control().semantics.series;
        let cmd = SeriesNumbers::of(series.ok_or(Errno::ENOTTY)?.vfio).cache_invalidate;
        let bytes = cache_invalidate_bytes(info);
        self.call(container, cmd, bytes).map(drop)
    }

    /// SET_PASID_TABLE as these bytes have it.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn set_pasid_table_raw(&mut self, container: i32, bytes: Vec<u8>) -> Result<(), Errno> {
        let series = self.vfio.core().ops().control().semantics.series;
        let cmd = SeriesNumbers::of(series.ok_or(Errno::ENOTTY)?.vfio).set_pasid_table;
        self.call(container, cmd, bytes).map(drop)
    }

    /// SET_MSI_BINDING: the guest reaches its doorbell page `gpa` at `iova`.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn bind_msi(
        &mut self,
        container: i32,
        iova: u64,
        gpa: u64,
        size: u64,
    ) -> Result<(), Errno> {
        self.msi_binding(container, BIND, [iova, gpa, size])
    }

    /// SET_MSI_BINDING: no longer.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn unbind_msi(&mut self, container: i32, iova: u64) -> Result<(), Errno> {
        self.msi_binding(container, UNBIND, [iova, 0, 0])
    }

    fn msi_binding(&mut self, container: i32, flags: u32, words: [u64; 3]) -> Result<(), Errno> {
        let series = self.vfio.core().ops().control().semantics.series;
        let series = series.ok_or(Errno::ENOTTY)?;
        let mut bytes = [32, flags].as_bytes().to_vec();
        bytes.extend_from_slice(words.as_bytes());
        let cmd = SeriesNumbers::of(series.vfio).set_msi_binding;
        self.call(container, cmd, bytes).map(drop)
    }
}

/// The bytes of `struct vfio_iommu_type1_cache_invalidate`, the same in all posted versions.
pub fn cache_invalidate_bytes(info: &CacheInvalidateInfo) -> Vec<u8> {
    let (granularity, words) = match info.scope {
        InvalidateScope::Domain => (0, [0; 5]),
        InvalidateScope::Pasid {
            flags,
            archid,
            pasid,
        } => {
            let first = u64::from(flags) | u64::from(archid) << 32;
            (1, [first, pasid, 0, 0, 0])
        }
        InvalidateScope::Addr {
            flags,
            archid,
            pasid,
            addr,
            granule_size,
            nb_granules,
        } => {
            let first = u64::from(flags) | u64::from(archid) << 32;
            (2, [first, pasid, addr, granule_size, nb_granules])
        }
    };
    // argsz and flags; then argsz, version, cache, granularity of the configuration.
    let mut bytes = [64u32, 0, 56, 1].as_bytes().to_vec();
    bytes.extend([info.cache, granularity, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(words.as_bytes());
    bytes
}

/// The bytes of `struct vfio_iommu_type1_set_pasid_table` in the layout of an IOMMU half.
pub fn pasid_table_bytes(io: SeriesIo, flags: u32, config: Option<&PasidTableConfig>) -> Vec<u8> {
    let old = matches!(io, SeriesIo::V12 | SeriesIo::V13);
    let size: usize = if old { 40 } else { 32 };
    let mut bytes = vec![0; 8 + size];
    bytes[..4].copy_from_slice(&((8 + size) as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    let Some(config) = config else {
        return bytes;
    };
    // argsz, version, then as the layout has it.
    let (format, base_ptr, bits, vendor) = if old {
        (8, 16, 24, 28)
    } else {
        (16, 8, 20, 24)
    };
    let inner = &mut bytes[8..];
    inner[..4].copy_from_slice(&(size as u32).to_le_bytes());
    inner[4..8].copy_from_slice(&config.version.to_le_bytes());
    inner[format..format + 4].copy_from_slice(&config.format.to_le_bytes());
    inner[base_ptr..base_ptr + 8].copy_from_slice(&config.base_ptr.to_le_bytes());
    inner[bits] = config.pasid_bits;
    inner[bits + 1] = config.config.0;
    inner[vendor..vendor + 4].copy_from_slice(&config.smmuv3_version.to_le_bytes());
    inner[vendor + 4] = config.s1fmt;
    inner[vendor + 5] = config.s1dss;
    bytes
}

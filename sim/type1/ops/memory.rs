//! Operations on the test process's memory.

use iommu_core::Errno;
use vfio_type1::{Access, Placement, Population, RegionConfig, Sharing};

use super::super::bench::Model;
use super::super::machine::Hardware;
use super::super::player::{Answer, Memory, Player, Words};

/// Bytes of memory the recorded machine has for one region.
const MEMORY_MAX: u64 = 1 << 30;

impl<B: Hardware> Player<B> {
    pub(super) fn add_memory(
        &mut self,
        name: &str,
        config: &RegionConfig,
        align: u64,
        watched: bool,
    ) -> Answer {
        let pid = self.pid();
        let result = self.vfio.host_mut().map_memory(pid, config, align);
        self.session().memory.push(Memory {
            name: name.to_owned(),
            address: result.unwrap_or_default(),
            size: config.size,
            watched: watched && result.is_ok(),
        });
        Answer::done(result.map(drop))
    }

    pub(super) fn op_mem(&mut self, words: &Words<'_>) -> Answer {
        let size = match self.memory_size(words) {
            Ok(size) => size,
            Err(errno) => return self.no_memory(words.at(1), 0, errno),
        };
        let (huge, thp) = (words.has("huge"), words.has("thp"));
        let (read_only, untouched) = (words.has("ro"), words.has("notouch"));
        let config = RegionConfig {
            size,
            access: if read_only {
                Access::Read
            } else {
                Access::ReadWrite
            },
            sharing: if words.has("shared") {
                Sharing::Shared
            } else {
                Sharing::Private
            },
            placement: if huge || thp {
                Placement::Contiguous
            } else {
                Placement::Scattered
            },
            population: if untouched {
                Population::Untouched
            } else {
                Population::Touched
            },
        };
        let align = if thp || words.has("align") {
            32 << 20
        } else if huge {
            2 << 20
        } else {
            self.page_size
        };
        self.add_memory(words.at(1), &config, align, !read_only && !untouched)
    }

    /// `memfile NAME PATH`, or `membar NAME DEVICE`: registers of a device.
    pub(super) fn op_memfile(&mut self, words: &Words<'_>) -> Answer {
        let registers = words.at(0) == "membar";
        if registers && self.page_size > self.register_bytes(words.at(2)) {
            // What cannot be mapped has the address the recorder's mmap() gave: -1.
            return self.no_memory(words.at(1), u64::MAX, Errno::EINVAL);
        }
        let size = if registers {
            Ok(self.page_size)
        } else {
            self.memory_size(words)
        };
        let size = match size {
            Ok(size) => size,
            Err(errno) => return self.no_memory(words.at(1), u64::MAX, errno),
        };
        let config = RegionConfig {
            sharing: if registers {
                Sharing::Mmio
            } else {
                Sharing::Shared
            },
            ..RegionConfig::ordinary(size)
        };
        self.add_memory(words.at(1), &config, self.page_size, !registers)
    }

    /// Bytes of the first register window of the device behind a name: less than a page cannot be
    /// mapped.
    pub(super) fn register_bytes(&mut self, name: &str) -> u64 {
        let known = self.open_device(name).ok();
        match known.map(|known| &self.known[known].model) {
            Some(Model::Edu(_)) => 1 << 20,
            Some(Model::Other) => 1 << 14,
            Some(Model::Tester) => 1 << 12,
            None => 0,
        }
    }

    /// Whole pages of the `size=` of an operation.
    pub(super) fn memory_size(&self, words: &Words<'_>) -> Result<u64, Errno> {
        let size = self.key(words, "size", self.page_size);
        match size.checked_next_multiple_of(self.page_size) {
            Some(0) => Err(Errno::EINVAL),
            Some(size) if size <= MEMORY_MAX => Ok(size),
            _ => Err(Errno::ENOMEM),
        }
    }

    /// Memory that could not be had; the recorder then takes `address` for it.
    pub(super) fn no_memory(&mut self, name: &str, address: u64, errno: Errno) -> Answer {
        self.session().memory.push(Memory {
            name: name.to_owned(),
            address,
            size: 0,
            watched: false,
        });
        Answer::of(Err(errno))
    }

    pub(super) fn op_poke(&mut self, words: &Words<'_>) -> Answer {
        let address = self.number(words.at(1));
        let value = self.number(words.at(2)) as u32;
        Answer::done(self.cpu_write(address, &value.to_le_bytes()))
    }

    pub(super) fn memory(&self, name: &str) -> Option<Memory> {
        let memory = &self.session.as_ref()?.memory;
        memory.iter().find(|region| region.name == name).cloned()
    }

    /// The part of a region `off=` and `len=` name, in whole pages.
    pub(super) fn range_of(&self, words: &Words<'_>, region: &Memory) -> Result<(u64, u64), Errno> {
        let address = region.address.wrapping_add(self.key(words, "off", 0));
        let length = self
            .key(words, "len", region.size)
            .checked_next_multiple_of(self.page_size)
            .ok_or(Errno::EINVAL)?;
        if address.is_multiple_of(self.page_size) && length != 0 {
            Ok((address, length))
        } else {
            Err(Errno::EINVAL)
        }
    }

    pub(super) fn op_munmap(&mut self, words: &Words<'_>) -> Answer {
        let Some(region) = self.memory(words.at(1)) else {
            return Answer::of(Err(Errno::EINVAL));
        };
        let (address, length) = match self.range_of(words, &region) {
            Ok(range) => range,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let pid = self.pid();
        self.vfio.host_mut().unmap_memory(pid, address, length);
        for memory in &mut self.session().memory {
            if memory.name == region.name {
                memory.watched = false;
            }
        }
        Answer::of(Ok(0))
    }

    pub(super) fn op_mprotect(&mut self, words: &Words<'_>) -> Answer {
        let Some(region) = self.memory(words.at(1)) else {
            return Answer::of(Err(Errno::EINVAL));
        };
        let (address, length) = match self.range_of(words, &region) {
            Ok(range) => range,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let letters = words.value("prot").unwrap_or_default();
        let access = match (letters.contains('r'), letters.contains('w')) {
            (false, false) => Access::None,
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            (true, true) => Access::ReadWrite,
        };
        let pid = self.pid();
        self.vfio
            .host_mut()
            .protect_memory(pid, address, length, access);
        Answer::of(Ok(0))
    }

    pub(super) fn op_fill(&mut self, words: &Words<'_>) -> Answer {
        let Some(region) = self.memory(words.at(1)) else {
            return Answer::of(Err(Errno::EINVAL));
        };
        for page in (0..region.size).step_by(self.page_size as usize) {
            let bytes: Vec<u8> = (page..page + self.page_size)
                .step_by(4)
                .flat_map(|at| ((at / 4) as u32).wrapping_mul(0x9e37_79b1).to_le_bytes())
                .collect();
            if let Err(errno) = self.cpu_write(region.address + page, &bytes) {
                return Answer::of(Err(errno));
            }
        }
        Answer::of(Ok(0))
    }
}

//! The operations of the script language, one function each.

use std::fmt::Write as _;

use iommu_core::Errno;
use vfio_type1::abi::{self, dirty_flags, map_flags, unmap_flags};
use vfio_type1::{
    Access, Binding, Capability, Placement, Population, RegionConfig, Sharing, UnsafeInterrupts,
};
use zerocopy::{FromBytes, IntoBytes};

use super::bench::{self, Model, Transfer};
use super::machine::{self, Hardware};
use super::player::{Answer, Memory, Named, Player, Words};
use super::record::hex;
use super::user::{Buffers, HEAP, STACK};

/// Bitmaps from this size on are not read back, nor is memory made for them.
const BITMAP_SHOWN: u64 = 1 << 24;
/// What an `info` buffer holds.
const INFO_BUFFER: usize = 4096;

impl<B: Hardware> Player<B> {
    pub(super) fn dispatch(&mut self, words: &Words<'_>) -> Answer {
        match words.at(0) {
            "mem" => self.op_mem(words),
            "membar" | "memfile" => self.op_memfile(words),
            "poke" => self.op_poke(words),
            "munmap" => self.op_munmap(words),
            "mprotect" => self.op_mprotect(words),
            "fill" => self.op_fill(words),
            "open_container" => self.op_open_container(words),
            "open_group" => self.op_open_group(words),
            "dup" => {
                let (fd, pid) = (self.fd(words.at(2)), self.pid());
                let result = self.vfio.dup(pid, fd);
                self.name_file(words.at(1), result)
            }
            "close" => self.op_close(words),
            "api" => self.number_ioctl(words, abi::GET_API_VERSION, 0),
            "ext" => {
                let arg = self.number(words.at(2));
                self.number_ioctl(words, abi::CHECK_EXTENSION, arg)
            }
            "set_iommu" => {
                let arg = self.number(words.at(2));
                self.number_ioctl(words, abi::SET_IOMMU, arg)
            }
            "set_container" => self.op_set_container(words),
            "unset_container" => self.number_ioctl(words, abi::GROUP_UNSET_CONTAINER, 0),
            "status" => self.op_status(words),
            "get_device" => self.op_get_device(words),
            "devinfo" => self.op_devinfo(words),
            "reset" => self.number_ioctl(words, abi::DEVICE_RESET, 0),
            // The devices of the recorded machine do DMA whatever their command register says.
            "busmaster" => Answer::of(Ok(0)),
            "info" => self.op_info(words),
            "avail" => self.op_avail(words),
            "map" => self.op_map(words),
            "unmap" => self.op_unmap(words),
            "dirty" => self.op_dirty(words),
            "raw" => self.op_raw(words),
            "dma" => self.op_dma(words),
            "dmaread" => self.op_dmaread(words),
            "locked" => self.op_locked(),
            "rlimit_memlock" => {
                let (bytes, pid) = (self.number(words.at(1)), self.pid());
                self.vfio
                    .host_mut()
                    .process_mut(pid)
                    .set_memlock_bytes(bytes);
                Answer::of(Ok(0))
            }
            "dropcap" => self.op_dropcap(words),
            "param" => self.op_param(words),
            "sysfs_bind" => self.op_sysfs_bind(words),
            "domtype" => self.op_domtype(words),
            "resv" => self.op_resv(words),
            _ => Answer::of(Err(Errno::ENOSYS)),
        }
    }

    fn number_ioctl(&mut self, words: &Words<'_>, cmd: u32, arg: u64) -> Answer {
        let fd = self.fd(words.at(1));
        Answer::of(self.ioctl(fd, cmd, arg, &mut Buffers::default()))
    }

    /// The position of a device by its letter.
    fn by_letter(&self, word: &str) -> Option<usize> {
        let mut letters = word.chars();
        let letter = letters.next().filter(|_| letters.next().is_none())?;
        self.known.iter().position(|known| known.letter == letter)
    }

    /// The name of the device a word means: of a letter, its PCI address.
    fn device_name(&self, word: &str) -> String {
        let device = self
            .by_letter(word)
            .map(|known| self.known[known].endpoint.device);
        let device = device.and_then(|device| self.vfio.core().device(device));
        device.map_or_else(|| word.to_owned(), |device| device.name.clone())
    }

    fn add_memory(
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

    fn op_mem(&mut self, words: &Words<'_>) -> Answer {
        let size = self.key(words, "size", self.page_size);
        let (huge, thp) = (words.has("huge"), words.has("thp"));
        let (read_only, untouched) = (words.has("ro"), words.has("notouch"));
        let config = RegionConfig {
            size: size.next_multiple_of(self.page_size),
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
    fn op_memfile(&mut self, words: &Words<'_>) -> Answer {
        let registers = words.at(0) == "membar";
        if registers && self.page_size > self.register_bytes(words.at(2)) {
            // What cannot be mapped has the address the recorder's mmap() gave: -1.
            return self.no_memory(words.at(1), Errno::EINVAL);
        }
        let size = if registers {
            self.page_size
        } else {
            self.key(words, "size", self.page_size)
        };
        let config = RegionConfig {
            sharing: if registers {
                Sharing::Mmio
            } else {
                Sharing::Shared
            },
            ..RegionConfig::ordinary(size.next_multiple_of(self.page_size))
        };
        self.add_memory(words.at(1), &config, self.page_size, !registers)
    }

    /// Bytes of the first register window of the device behind a name: less than a page cannot be
    /// mapped.
    fn register_bytes(&mut self, name: &str) -> u64 {
        let known = self.open_device(name).ok();
        match known.map(|known| &self.known[known].model) {
            Some(Model::Edu(_)) => 1 << 20,
            Some(Model::Other) => 1 << 14,
            Some(Model::Tester) => 1 << 12,
            None => 0,
        }
    }

    fn no_memory(&mut self, name: &str, errno: Errno) -> Answer {
        self.session().memory.push(Memory {
            name: name.to_owned(),
            address: u64::MAX,
            size: 0,
            watched: false,
        });
        Answer::of(Err(errno))
    }

    fn op_poke(&mut self, words: &Words<'_>) -> Answer {
        let address = self.number(words.at(1));
        let value = self.number(words.at(2)) as u32;
        Answer::done(self.cpu_write(address, &value.to_le_bytes()))
    }

    fn memory(&self, name: &str) -> Option<Memory> {
        let memory = &self.session.as_ref()?.memory;
        memory.iter().find(|region| region.name == name).cloned()
    }

    fn op_munmap(&mut self, words: &Words<'_>) -> Answer {
        let Some(region) = self.memory(words.at(1)) else {
            return Answer::of(Err(Errno::EINVAL));
        };
        let offset = self.key(words, "off", 0);
        let length = self.key(words, "len", region.size);
        let pid = self.pid();
        self.vfio
            .host_mut()
            .unmap_memory(pid, region.address + offset, length);
        for memory in &mut self.session().memory {
            if memory.name == region.name {
                memory.watched = false;
            }
        }
        Answer::of(Ok(0))
    }

    fn op_mprotect(&mut self, words: &Words<'_>) -> Answer {
        let Some(region) = self.memory(words.at(1)) else {
            return Answer::of(Err(Errno::EINVAL));
        };
        let offset = self.key(words, "off", 0);
        let length = self.key(words, "len", region.size);
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
            .protect_memory(pid, region.address + offset, length, access);
        Answer::of(Ok(0))
    }

    fn op_fill(&mut self, words: &Words<'_>) -> Answer {
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

    fn op_open_container(&mut self, words: &Words<'_>) -> Answer {
        let pid = self.pid();
        let result = self.vfio.open_container(pid);
        self.name_file(words.at(1), result)
    }

    fn op_open_group(&mut self, words: &Words<'_>) -> Answer {
        let pid = self.pid();
        let group = self
            .by_letter(words.at(2))
            .and_then(|known| self.vfio.core().device(self.known[known].endpoint.device))
            .map(|device| device.group);
        let result = match group {
            Some(group) => self.vfio.open_group(pid, group),
            None => Err(Errno::ENOENT),
        };
        self.name_file(words.at(1), result)
    }

    fn op_close(&mut self, words: &Words<'_>) -> Answer {
        let (fd, pid) = (self.fd(words.at(1)), self.pid());
        let result = self.vfio.close(pid, fd);
        if let Some(named) = self.session().files.get_mut(words.at(1)) {
            named.fd = -1;
        }
        Answer::done(result)
    }

    fn op_set_container(&mut self, words: &Words<'_>) -> Answer {
        let fd = self.fd(words.at(1));
        let (arg, container) = match words.at(2) {
            "badptr" => (8, 0),
            word => (STACK, self.fd(word)),
        };
        let mut user = Buffers::default().with(STACK, container.to_le_bytes().to_vec());
        Answer::of(self.ioctl(fd, abi::GROUP_SET_CONTAINER, arg, &mut user))
    }

    fn op_status(&mut self, words: &Words<'_>) -> Answer {
        let size = size_of::<abi::GroupStatus>() as u64;
        let status = abi::GroupStatus {
            argsz: self.key(words, "argsz", size) as u32,
            flags: 0,
        };
        let (result, status) = self.struct_ioctl(words, abi::GROUP_GET_STATUS, &status);
        let output = match result {
            Ok(_) => format!("\"flags\":{}", status.flags),
            Err(_) => String::new(),
        };
        Answer::of(result).output(output)
    }

    /// An ioctl on a structure; what it is afterwards.
    fn struct_ioctl<T: IntoBytes + FromBytes + zerocopy::Immutable + Copy>(
        &mut self,
        words: &Words<'_>,
        cmd: u32,
        value: &T,
    ) -> (Result<i64, Errno>, T) {
        let fd = self.fd(words.at(1));
        let mut user = Buffers::default().with(STACK, value.as_bytes().to_vec());
        let result = self.ioctl(fd, cmd, STACK, &mut user);
        let after = T::read_from_bytes(user.bytes(STACK)).unwrap_or(*value);
        (result, after)
    }

    fn op_get_device(&mut self, words: &Words<'_>) -> Answer {
        let fd = self.fd(words.at(2));
        let mut name = self.device_name(words.at(3)).into_bytes();
        name.push(0);
        let device = self.by_letter(words.at(3));
        let mut user = Buffers::default().with(STACK, name);
        let result = self.ioctl(fd, abi::GROUP_GET_DEVICE_FD, STACK, &mut user);
        let named = Named {
            fd: result.map_or(-1, |fd| fd as i32),
            device,
        };
        self.session().files.insert(words.at(1).to_owned(), named);
        Answer::done(result.map(drop))
    }

    fn op_devinfo(&mut self, words: &Words<'_>) -> Answer {
        // The header of the recorder's kernel has two more words than the answer needs.
        let info = abi::DeviceInfo {
            argsz: self.key(words, "argsz", 24) as u32,
            ..abi::DeviceInfo::default()
        };
        let (result, info) = self.struct_ioctl(words, abi::DEVICE_GET_INFO, &info);
        let output = match result {
            Ok(_) => format!(
                "\"argsz\":{},\"flags\":{},\"num_regions\":{},\"num_irqs\":{}",
                info.argsz, info.flags, info.num_regions, info.num_irqs
            ),
            Err(_) => String::new(),
        };
        Answer::of(result).output(output)
    }

    /// GET_INFO into a buffer that held 0xa5 everywhere.
    fn get_info(&mut self, words: &Words<'_>, argsz: u64) -> (Result<i64, Errno>, Vec<u8>) {
        let fd = self.fd(words.at(1));
        let mut bytes = vec![0xa5; INFO_BUFFER];
        bytes[..4].copy_from_slice(&(argsz as u32).to_le_bytes());
        let mut user = Buffers::default().with(STACK, bytes);
        let result = self.ioctl(fd, abi::IOMMU_GET_INFO, STACK, &mut user);
        (result, user.bytes(STACK).to_vec())
    }

    fn op_info(&mut self, words: &Words<'_>) -> Answer {
        let argsz = self.key(words, "argsz", INFO_BUFFER as u64);
        let (result, bytes) = self.get_info(words, argsz);
        if result.is_err() {
            return Answer::of(result);
        }
        let flags = word32(&bytes, 4);
        let mut output = format!(
            "\"argsz\":{},\"flags\":{flags},\"iova_pgsizes\":\"{:#x}\"",
            word32(&bytes, 0),
            word64(&bytes, 8)
        );
        if argsz >= 24 {
            let offset = word32(&bytes, 16);
            let _infallible = write!(output, ",\"cap_offset\":{offset}");
            if flags & abi::info::CAPS != 0 && offset != 0 && offset < 4000 {
                let caps: Vec<String> = capabilities(&bytes)
                    .map(|at| show_capability(&bytes, at))
                    .collect();
                let _infallible = write!(output, ",\"caps\":[{}]", caps.join(","));
            }
        }
        Answer::of(result).output(output)
    }

    fn op_avail(&mut self, words: &Words<'_>) -> Answer {
        let (result, bytes) = self.get_info(words, INFO_BUFFER as u64);
        if result.is_err() {
            return Answer::of(result);
        }
        let avail = capabilities(&bytes)
            .filter(|at| word32(&bytes, *at) & 0xffff == u32::from(abi::info::CAP_DMA_AVAIL))
            .map(|at| i64::from(word32(&bytes, at + 8)))
            .last();
        Answer::of(result).output(format!("\"avail\":{}", avail.unwrap_or(-1)))
    }

    fn op_map(&mut self, words: &Words<'_>) -> Answer {
        let mut map = abi::DmaMap {
            argsz: self.key(words, "argsz", 32) as u32,
            flags: self.flags(
                words,
                map_flags::READ | map_flags::WRITE,
                &[
                    ('r', map_flags::READ),
                    ('w', map_flags::WRITE),
                    ('v', map_flags::VADDR),
                ],
            ),
            vaddr: self.key(words, "vaddr", 0),
            iova: self.key(words, "iova", 0),
            size: self.key(words, "size", 0),
        };
        let input = format!(
            "\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\"flags\":{},\"argsz\":{}",
            map.iova, map.size, map.flags, map.argsz
        );
        let repeat = self.key(words, "rep", 1) as i64;
        let step = self.key(words, "step", map.size);
        let vstep = self.key(words, "vstep", map.size);
        let (mut result, mut done) = (Ok(0), 0);
        while done < repeat {
            (result, _) = self.struct_ioctl(words, abi::IOMMU_MAP_DMA, &map);
            if result.is_err() {
                break;
            }
            map.iova = map.iova.wrapping_add(step);
            map.vaddr = map.vaddr.wrapping_add(vstep);
            done += 1;
        }
        let output = if repeat == 1 {
            String::new()
        } else {
            format!("\"done\":{done}")
        };
        Answer::of(result).input(input).output(output)
    }

    /// The value of `flags=`: a number, or letters.
    fn flags(&self, words: &Words<'_>, default: u32, letters: &[(char, u32)]) -> u32 {
        match words.value("flags") {
            None => default,
            Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                self.number(text) as u32
            }
            Some(text) => text
                .chars()
                .filter_map(|c| letters.iter().find(|(letter, _)| *letter == c))
                .fold(0, |flags, (_, bit)| flags | bit),
        }
    }

    /// The bitmap of an operation, and memory for it or the region a script points at.
    fn bitmap(&self, words: &Words<'_>) -> (abi::Bitmap, Buffers) {
        let size = self.key(words, "bmsize", 8);
        let pgsize = self.key(words, "bmpg", self.page_size);
        let mut user = Buffers::default();
        let data = match words.value("bmdata") {
            None => HEAP,
            Some(text) => self.number(text),
        };
        if let Some((at, bytes)) = self.region_bytes(data) {
            user = user.with(at, bytes);
        }
        let room = if size < BITMAP_SHOWN { size + 8 } else { 8 };
        let bitmap = abi::Bitmap { pgsize, size, data };
        (bitmap, user.with(HEAP, vec![0; room as usize]))
    }

    fn shown_bitmap(user: &Buffers, size: u64) -> String {
        let bytes = user.bytes(HEAP);
        format!(
            "\"bitmap\":\"{}\"",
            hex(&bytes[..bytes.len().min(size as usize)])
        )
    }

    fn op_unmap(&mut self, words: &Words<'_>) -> Answer {
        let with_bitmap = words.value("bmpg").is_some();
        let size = if with_bitmap { 48 } else { 24 };
        let mut unmap = abi::DmaUnmap {
            argsz: self.key(words, "argsz", size) as u32,
            flags: self.flags(
                words,
                0,
                &[
                    ('d', unmap_flags::GET_DIRTY_BITMAP),
                    ('a', unmap_flags::ALL),
                    ('v', unmap_flags::VADDR),
                ],
            ),
            iova: self.key(words, "iova", 0),
            size: self.key(words, "size", 0),
        };
        let input = format!(
            "\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\"flags\":{},\"argsz\":{}",
            unmap.iova, unmap.size, unmap.flags, unmap.argsz
        );
        let (mut bitmap, mut user) = self.bitmap(words);
        let bitmap_size = bitmap.size;
        if !with_bitmap {
            bitmap = abi::Bitmap::default();
        }
        let mut bytes = unmap.as_bytes().to_vec();
        bytes.extend_from_slice(bitmap.as_bytes());
        user = user.with(STACK, bytes);
        let fd = self.fd(words.at(1));
        let result = self.ioctl(fd, abi::IOMMU_UNMAP_DMA, STACK, &mut user);
        unmap.size = word64(user.bytes(STACK), 16);
        let mut output = format!("\"size\":\"{:#x}\"", unmap.size);
        if with_bitmap && bitmap_size < BITMAP_SHOWN {
            output += ",";
            output += &Self::shown_bitmap(&user, bitmap_size);
        }
        Answer::of(result).input(input).output(output)
    }

    fn op_dirty(&mut self, words: &Words<'_>) -> Answer {
        let named = match words.at(2) {
            "start" => dirty_flags::START,
            "stop" => dirty_flags::STOP,
            "get" => dirty_flags::GET_BITMAP,
            _ => 0,
        };
        let flags = match words.value("flags") {
            Some(text) => self.number(text) as u32,
            None => named,
        };
        let gets = flags & dirty_flags::GET_BITMAP != 0;
        let dirty = abi::DirtyBitmap {
            argsz: self.key(words, "argsz", if gets { 48 } else { 8 }) as u32,
            flags,
        };
        let (bitmap, mut user) = self.bitmap(words);
        let mut range = abi::DirtyRange::default();
        if gets {
            range = abi::DirtyRange {
                iova: self.key(words, "iova", 0),
                size: self.key(words, "size", 0),
                bitmap,
            };
        }
        let input = format!(
            "\"flags\":{flags},\"argsz\":{},\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\
             \"bmpg\":\"{:#x}\",\"bmsize\":\"{:#x}\"",
            dirty.argsz, range.iova, range.size, range.bitmap.pgsize, bitmap.size
        );
        let mut bytes = dirty.as_bytes().to_vec();
        bytes.extend_from_slice(range.as_bytes());
        user = user.with(STACK, bytes);
        let fd = self.fd(words.at(1));
        let result = self.ioctl(fd, abi::IOMMU_DIRTY_PAGES, STACK, &mut user);
        let shown = gets && result == Ok(0) && bitmap.size < BITMAP_SHOWN;
        let output = if shown {
            Self::shown_bitmap(&user, bitmap.size)
        } else {
            String::new()
        };
        Answer::of(result).input(input).output(output)
    }

    fn op_raw(&mut self, words: &Words<'_>) -> Answer {
        let fd = self.fd(words.at(1));
        let cmd = self.key(words, "cmd", 0) as u32;
        let arg = self.key(words, "arg", 0);
        let mut user = Buffers::default();
        if let Some((at, bytes)) = self.region_bytes(arg) {
            user = user.with(at, bytes);
        }
        Answer::of(self.ioctl(fd, cmd, arg, &mut user))
    }

    /// The device behind a name that is open.
    fn open_device(&mut self, name: &str) -> Result<usize, Errno> {
        let named = self.session().files.get(name).copied();
        named
            .filter(|named| named.fd >= 0)
            .and_then(|named| named.device)
            .ok_or(Errno::EBADF)
    }

    fn op_dma(&mut self, words: &Words<'_>) -> Answer {
        let known = match self.open_device(words.at(1)) {
            Ok(known) => known,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let iova = self.key(words, "iova", 0);
        let mut length = self.key(words, "len", 4) as u32;
        self.clear_watched();
        let bus = match self.known[known].model.clone() {
            Model::Edu(buffer) => {
                length = length.min(buffer.len() as u32);
                self.dma(known)
                    .write(bench::edu_address(iova), &buffer[..length as usize]);
                "edu"
            }
            Model::Tester | Model::Other => {
                let bytes = bench::pattern(length as usize);
                Self::bus_word(self.dma(known).write(iova, &bytes))
            }
        };
        let input = format!("\"iova\":\"{iova:#x}\",\"len\":{length}");
        let landed = self.landed();
        self.clear_watched();
        Answer::of(Ok(0))
            .input(input)
            .output(format!("\"bus\":\"{bus}\",\"landed\":[{landed}]"))
    }

    fn op_dmaread(&mut self, words: &Words<'_>) -> Answer {
        let known = match self.open_device(words.at(1)) {
            Ok(known) => known,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let iova = self.key(words, "iova", 0);
        let mut length = self.key(words, "len", 4) as u32;
        let output = if let Model::Edu(mut buffer) = self.known[known].model.clone() {
            length = length.min(buffer.len() as u32);
            self.dma(known)
                .read(bench::edu_address(iova), &mut buffer[..length as usize]);
            self.known[known].model = Model::Edu(buffer.clone());
            self.edu_bounce(words, known, &buffer, length)
        } else {
            let mut bytes = vec![0; 4.max(length as usize)];
            let transfer = self.dma(known).read(iova, &mut bytes[..length as usize]);
            let data = match transfer {
                Transfer::Whole => word32(&bytes, 0),
                Transfer::Refused => 0,
            };
            let bus = Self::bus_word(transfer);
            format!("\"bus\":\"{bus}\",\"data\":\"{data:#010x}\"")
        };
        let input = format!("\"iova\":\"{iova:#x}\",\"len\":{length}");
        Answer::of(Ok(0)).input(input).output(output)
    }

    /// The word an `edu` device read comes back by way of the region `bounce`, if there is one.
    fn edu_bounce(
        &mut self,
        words: &Words<'_>,
        known: usize,
        buffer: &[u8],
        length: u32,
    ) -> String {
        let Some(bounce) = self.memory("bounce") else {
            return "\"bus\":\"edu\"".into();
        };
        for at in (0..4096).step_by(self.page_size as usize) {
            let filled = vec![0xee; 4096.min(self.page_size as usize)];
            // A region too small for the recorder would have stopped it.
            let _ = self.cpu_write(bounce.address + at, &filled);
        }
        let to = self.key(words, "biova", 0);
        self.dma(known)
            .write(bench::edu_address(to), &buffer[..length as usize]);
        let bytes = self.region_bytes(bounce.address).map(|(_, bytes)| bytes);
        let data = bytes.map_or(0, |bytes| word32(&bytes, 0));
        format!("\"bus\":\"edu\",\"data\":\"{data:#010x}\"")
    }

    fn op_locked(&mut self) -> Answer {
        let pid = self.pid();
        let locked = self.vfio.host().process(pid).locked_pages();
        Answer::of(Ok(0)).output(format!("\"VmLck_pages\":{locked},\"VmPin_pages\":0"))
    }

    fn op_dropcap(&mut self, words: &Words<'_>) -> Answer {
        let capability = match self.number(words.at(1)) {
            14 => Some(Capability::IpcLock),
            17 => Some(Capability::SysRawio),
            _ => None,
        };
        let pid = self.pid();
        if let Some(capability) = capability {
            self.vfio
                .host_mut()
                .process_mut(pid)
                .drop_capability(capability);
        }
        Answer::of(Ok(0))
    }

    fn op_param(&mut self, words: &Words<'_>) -> Answer {
        let params = &mut self.vfio.host_mut().params;
        match (words.at(1), words.at(2).parse::<u32>()) {
            ("dma_entry_limit", Ok(limit)) => params.dma_entry_limit = limit,
            ("allow_unsafe_interrupts", Ok(0)) => {
                params.unsafe_interrupts = UnsafeInterrupts::Refused;
            }
            ("allow_unsafe_interrupts", Ok(1)) => {
                params.unsafe_interrupts = UnsafeInterrupts::Allowed;
            }
            ("dma_entry_limit" | "allow_unsafe_interrupts", _) => {
                return Answer::of(Err(Errno::EINVAL));
            }
            // Not one of the modelled parameters, but the kernel's has it.
            ("disable_hugepages", _) => {}
            _ => return Answer::of(Err(Errno::ENOENT)),
        }
        Answer::of(Ok(0))
    }

    fn op_sysfs_bind(&mut self, words: &Words<'_>) -> Answer {
        let Some(known) = self.by_letter(words.at(1)) else {
            return Answer::of(Err(Errno::ENOENT));
        };
        let device = self.known[known].endpoint.device;
        // Without a driver there is nothing to unbind.
        let _ = self.vfio.unbind(device);
        let driver = words.at(2);
        let bound = match driver {
            "none" => return Answer::of(Ok(0)),
            "vfio-pci" => self.vfio.bind(device),
            other => self.vfio.bind_host(device, other),
        };
        let name = match self.vfio.binding(device) {
            Some(Binding::Vfio) => "vfio-pci".to_owned(),
            Some(Binding::Host(name)) => name.clone(),
            None => "none".to_owned(),
        };
        // The recorder reads the driver's link before it prints, so that is the error shown.
        Answer::done(bound.map_err(|_| Errno::ENOENT)).output(format!("\"driver\":\"{name}\""))
    }

    fn op_domtype(&mut self, words: &Words<'_>) -> Answer {
        let Some(known) = self.by_letter(words.at(1)) else {
            return Answer::of(Err(Errno::ENOENT)).output("\"type\":\"\"".into());
        };
        let kind = machine::domain_type(self.vfio.core(), self.known[known].endpoint.device);
        Answer::of(Ok(0)).output(format!("\"type\":\"{kind}\""))
    }

    fn op_resv(&mut self, words: &Words<'_>) -> Answer {
        let group = self
            .by_letter(words.at(1))
            .and_then(|known| self.vfio.core().device(self.known[known].endpoint.device))
            .map(|device| device.group);
        let Some(group) = group else {
            return Answer::of(Err(Errno::ENOENT)).output("\"regions\":\"\"".into());
        };
        let regions = self.vfio.core_mut().group_resv_regions(group);
        let mut lines = String::new();
        for region in regions.unwrap_or_default() {
            let (start, end) = (region.start.0, region.end().0);
            let name = machine::resv_name(region.kind);
            let _infallible = write!(lines, "{start:#018x} {end:#018x} {name};");
        }
        Answer::of(Ok(0)).output(format!("\"regions\":\"{lines}\""))
    }
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// Where the capabilities of a GET_INFO answer are.
fn capabilities(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let offset = |at: usize| Some(word32(bytes, at) as usize).filter(|next| *next != 0);
    std::iter::successors(offset(16), move |at| offset(at + 4)).take(16)
}

fn show_capability(bytes: &[u8], at: usize) -> String {
    let head = word32(bytes, at);
    let (id, version) = ((head & 0xffff) as u16, head >> 16);
    let next = word32(bytes, at + 4);
    let mut shown = format!("{{\"id\":{id},\"ver\":{version},\"off\":{at},\"next\":{next}");
    match id {
        abi::info::CAP_IOVA_RANGE => {
            let ranges: Vec<String> = (0..word32(bytes, at + 8) as usize)
                .map(|range| {
                    let start = word64(bytes, at + 16 + 16 * range);
                    let end = word64(bytes, at + 24 + 16 * range);
                    format!("[\"{start:#x}\",\"{end:#x}\"]")
                })
                .collect();
            let _infallible = write!(shown, ",\"ranges\":[{}]", ranges.join(","));
        }
        abi::info::CAP_MIGRATION => {
            let _infallible = write!(
                shown,
                ",\"mig_flags\":{},\"pgsize_bitmap\":\"{:#x}\",\"max_dirty_bitmap_size\":\"{:#x}\"",
                word32(bytes, at + 8),
                word64(bytes, at + 16),
                word64(bytes, at + 24)
            );
        }
        abi::info::CAP_DMA_AVAIL => {
            let _infallible = write!(shown, ",\"avail\":{}", word32(bytes, at + 8));
        }
        _ => {}
    }
    shown + "}"
}

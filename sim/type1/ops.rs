//! The operations of the script language, one function each.

mod dma;
mod info;
mod maps;
mod memory;

use std::fmt::Write as _;

use iommu_core::Errno;
use vfio_type1::abi;
use vfio_type1::{Binding, Capability, UnsafeInterrupts};
use zerocopy::{FromBytes, IntoBytes};

use super::machine::{self, ContainerFile, Hardware};
use super::player::{Answer, Named, Player, Words};
use super::user::{Buffers, STACK};

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

    fn op_open_container(&mut self, words: &Words<'_>) -> Answer {
        let pid = self.pid();
        let file = match words.value("path") {
            None => Some(self.container),
            Some("/dev/vfio/vfio") => Some(ContainerFile::Vfio),
            Some("/dev/iommu") => Some(ContainerFile::Iommufd),
            Some(_) => None,
        };
        let result = match file {
            Some(ContainerFile::Vfio) => self.vfio.open_container(pid),
            Some(ContainerFile::Iommufd) => self.vfio.open_iommufd(pid),
            // The recorded machine has other files, but none a script would open.
            None => Err(Errno::ENOENT),
        };
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

    /// The device behind a name that is open.
    fn open_device(&mut self, name: &str) -> Result<usize, Errno> {
        let named = self.session().files.get(name).copied();
        named
            .filter(|named| named.fd >= 0)
            .and_then(|named| named.device)
            .ok_or(Errno::EBADF)
    }

    fn op_locked(&mut self) -> Answer {
        let pid = self.pid();
        let process = self.vfio.host().process(pid);
        let (locked, pinned) = (process.locked_pages(), process.pinned_pages());
        Answer::of(Ok(0)).output(format!("\"VmLck_pages\":{locked},\"VmPin_pages\":{pinned}"))
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

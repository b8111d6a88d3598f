//! Our driver, doing what a recording shows.
//!
//! Which domain a device was in is not recorded and does not matter to the commands, so attached
//! devices get domains of their own, and pages are unmapped from a domain that stands for the
//! recorded ASID or VMID. What only brings our driver into the recorded situation is not compared.

use std::collections::BTreeMap;

use arm_smmu_v3::command::TlbiRange;
use arm_smmu_v3::{Command, Driver, Firmware, Params, SmmuId};
use iommu_core::ops::{DomainKind, Gather, Prot};
use iommu_core::semantics::AttachOrder;
use iommu_core::{Control, DeviceId, DomainId, Errno, IommuOps, Iova, Paddr, Semantics};
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId, Vmid};

use super::operation::{Before, Domain, Left, Operation};
use crate::board::{Board, BoardConfig, CommandLog};

const SMMU: SmmuId = SmmuId(0);
const RW: Prot = Prot(Prot::READ.0 | Prot::WRITE.0);

/// StreamIDs of devices that are ours, not the recording's; far from those.
const OURS: u32 = 0x8000;

/// A recorded ASID or VMID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Asid(u16),
    Vmid(u16),
}

/// A recorded device.
#[derive(Debug, Clone, Copy)]
struct Known {
    device: DeviceId,
    attached: Option<DomainId>,
}

/// The driver and what it has been asked for so far.
#[derive(Debug)]
pub(super) struct Replay {
    driver: Driver<Board>,
    reset: Vec<Command>,
    devices: BTreeMap<StreamId, Known>,
    /// Domains that stand for recorded tags.
    tagged: BTreeMap<Tag, DomainId>,
    /// A device of ours and the domain it stays in.
    scratch: (DeviceId, DomainId),
    next: u32,
}

impl Replay {
    /// A driver on a fresh part.
    ///
    /// # Errors
    /// The driver's own.
    pub(super) fn new(
        kernel: iommu_core::Kernel,
        page: u64,
        part: SmmuConfig,
    ) -> Result<Self, Errno> {
        let config = BoardConfig {
            caches: CacheConfig::OFF,
            ..BoardConfig::new(vec![part])
        };
        let control = Control::new(Semantics::kernel(kernel));
        let mut board = Board::new(control, &config).map_err(|_| Errno::ENODEV)?;
        board.log_commands(CommandLog::On);
        let params = Params {
            cpu_page: page,
            ..Params::default()
        };
        let mut driver = Driver::probe(board, params, 1)?;
        let reset = take(&mut driver);
        let mut replay = Self {
            driver,
            reset,
            devices: BTreeMap::new(),
            tagged: BTreeMap::new(),
            scratch: (DeviceId(0), DomainId(0)),
            next: 1,
        };
        replay.scratch = replay.occupied_domain()?;
        Ok(replay)
    }

    /// How this driver attaches.
    pub(super) fn style(&self) -> AttachOrder {
        self.driver.control().semantics.driver.attach_order
    }

    /// Does what a recording shows and gives the commands it takes, with the recorded tags.
    pub(super) fn play(&mut self, operation: &Operation, recorded: &[Command]) -> Vec<Command> {
        if *operation == Operation::Reset {
            return self.reset.clone();
        }
        let played = self.prepare(operation, recorded).and_then(|()| {
            take(&mut self.driver);
            self.carry_out(operation, recorded)
        });
        let issued = take(&mut self.driver);
        self.tidy_up(operation, recorded);
        take(&mut self.driver);
        match played {
            Ok(()) => renamed(&issued, recorded),
            Err(_) => Vec::new(),
        }
    }

    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn add_device(&mut self, streams: &[StreamId]) -> Result<DeviceId, Errno> {
        let device = DeviceId(self.fresh());
        let firmware = Firmware {
            streams: streams.to_vec(),
            ..Firmware::new(SMMU, streams[0])
        };
        self.driver.probe_device(device, &firmware)?;
        Ok(device)
    }

    fn add_domain(&mut self, device: DeviceId) -> Result<DomainId, Errno> {
        let domain = DomainId(self.fresh());
        self.driver
            .domain_alloc(domain, DomainKind::Unmanaged, Some(device))?;
        Ok(domain)
    }

    /// A new domain with a device of ours in it.
    fn occupied_domain(&mut self) -> Result<(DeviceId, DomainId), Errno> {
        let stream = StreamId::new(OURS + self.next);
        let device = self.add_device(&[stream])?;
        let domain = self.add_domain(device)?;
        self.driver.attach_dev(domain, device, None)?;
        Ok((device, domain))
    }

    fn known(&mut self, stream: StreamId) -> Result<Known, Errno> {
        self.known_by(&[stream])
    }

    /// The device with these StreamIDs, found by the first of them.
    fn known_by(&mut self, streams: &[StreamId]) -> Result<Known, Errno> {
        if let Some(known) = self.devices.get(&streams[0]) {
            return Ok(*known);
        }
        let known = Known {
            device: self.add_device(streams)?,
            attached: None,
        };
        self.devices.insert(streams[0], known);
        Ok(known)
    }

    /// The domain that stands for the tag of the recorded commands.
    fn tagged(&mut self, recorded: &[Command]) -> Result<DomainId, Errno> {
        let tag = recorded.iter().find_map(tag_of).ok_or(Errno::EINVAL)?;
        if let Some(domain) = self.tagged.get(&tag) {
            return Ok(*domain);
        }
        let (_, domain) = self.occupied_domain()?;
        self.tagged.insert(tag, domain);
        Ok(domain)
    }

    /// Brings our driver into the situation the recorded one was in.
    fn prepare(&mut self, operation: &Operation, recorded: &[Command]) -> Result<(), Errno> {
        match *operation {
            Operation::Attach {
                ref streams, from, ..
            } => {
                let known = self.known_by(streams)?;
                let stream = streams[0];
                match (from, known.attached) {
                    (Before::Nowhere, Some(domain)) => self.leave(stream, known, domain),
                    (Before::InADomain, None) => self.enter(stream, known)?,
                    _ => {}
                }
            }
            Operation::Detach { stream, left } => {
                let known = self.known(stream)?;
                if known.attached.is_none() {
                    self.enter(stream, known)?;
                }
                let known = self.known(stream)?;
                if let (Left::Others, Some(domain)) = (left, known.attached) {
                    let (other, _) = self.scratch;
                    self.driver.attach_dev(domain, other, None)?;
                }
            }
            Operation::Switch { stream } => {
                let known = self.known(stream)?;
                if let Some(domain) = known.attached {
                    let (other, _) = self.scratch;
                    self.driver.attach_dev(domain, other, None)?;
                }
            }
            Operation::Unmap { iova, size, ttl } => {
                let domain = self.tagged(recorded)?;
                let pgsize = self.pgsize(domain, ttl);
                self.map(domain, iova, size, pgsize)?;
            }
            Operation::FreeTable { iova, .. } => {
                let domain = self.tagged(recorded)?;
                let page = self.pgsize(domain, 3);
                self.map(domain, iova, page, page)?;
                self.unmap(domain, iova, page, page);
            }
            Operation::FlushAll => {
                self.tagged(recorded)?;
            }
            Operation::Reset | Operation::Unknown => {}
        }
        Ok(())
    }

    fn carry_out(&mut self, operation: &Operation, recorded: &[Command]) -> Result<(), Errno> {
        match *operation {
            Operation::Attach {
                ref streams,
                domain,
                ..
            } => {
                let known = self.known_by(streams)?;
                let target = match domain {
                    Domain::New => self.add_domain(known.device)?,
                    Domain::Known => self.scratch.1,
                };
                self.driver
                    .attach_dev(target, known.device, known.attached)?;
                self.remember(streams[0], Some(target));
            }
            Operation::Detach { stream, .. } => {
                let known = self.known(stream)?;
                let domain = known.attached.ok_or(Errno::EINVAL)?;
                self.leave(stream, known, domain);
            }
            Operation::Switch { stream } => {
                let known = self.known(stream)?;
                match known.attached {
                    Some(domain) => self.leave(stream, known, domain),
                    None => self.enter(stream, known)?,
                }
            }
            Operation::FlushAll => {
                let domain = self.tagged(recorded)?;
                self.driver.flush_iotlb_all(domain);
            }
            Operation::Unmap { iova, size, ttl } => {
                let domain = self.tagged(recorded)?;
                let pgsize = self.pgsize(domain, ttl);
                self.unmap(domain, iova, size, pgsize);
            }
            Operation::FreeTable { iova, size } => {
                let domain = self.tagged(recorded)?;
                self.map(domain, iova, size, size)?;
            }
            Operation::Reset | Operation::Unknown => {}
        }
        Ok(())
    }

    /// Takes back what only served the comparison.
    fn tidy_up(&mut self, operation: &Operation, recorded: &[Command]) {
        if let Operation::FreeTable { iova, size } = *operation
            && let Ok(domain) = self.tagged(recorded)
        {
            self.unmap(domain, iova, size, size);
        }
    }

    fn remember(&mut self, stream: StreamId, attached: Option<DomainId>) {
        if let Some(known) = self.devices.get_mut(&stream) {
            known.attached = attached;
        }
    }

    fn enter(&mut self, stream: StreamId, known: Known) -> Result<(), Errno> {
        let domain = self.add_domain(known.device)?;
        self.driver.attach_dev(domain, known.device, None)?;
        self.remember(stream, Some(domain));
        Ok(())
    }

    fn leave(&mut self, stream: StreamId, known: Known, domain: DomainId) {
        self.driver.detach_dev(domain, known.device);
        self.remember(stream, None);
    }

    /// Bytes of a leaf at the level a command's TTL names.
    fn pgsize(&self, domain: DomainId, ttl: u8) -> u64 {
        let bitmap = self.driver.pgsize_bitmap(domain);
        let page_log2 = bitmap.trailing_zeros();
        1 << (page_log2 + (page_log2 - 3) * u32::from(3 - ttl.clamp(1, 3)))
    }

    fn map(&mut self, domain: DomainId, iova: u64, size: u64, pgsize: u64) -> Result<(), Errno> {
        let mut mapped = 0;
        while mapped < size {
            self.driver.map_pages(
                domain,
                Iova(iova + mapped),
                Paddr(mapped),
                pgsize,
                (size - mapped) / pgsize,
                RW,
                &mut mapped,
            )?;
        }
        Ok(())
    }

    fn unmap(&mut self, domain: DomainId, iova: u64, size: u64, pgsize: u64) {
        let mut gather = Gather::default();
        let mut done = 0;
        while done < size {
            let count = (size - done) / pgsize;
            let bytes =
                self.driver
                    .unmap_pages(domain, Iova(iova + done), pgsize, count, &mut gather);
            if bytes == 0 {
                break;
            }
            done += bytes;
        }
        self.driver.iotlb_sync(domain, &gather);
    }
}

fn take(driver: &mut Driver<Board>) -> Vec<Command> {
    let commands = driver.platform_mut().take_commands();
    commands.into_iter().map(|(_, command)| command).collect()
}

fn tag_of(command: &Command) -> Option<Tag> {
    match command {
        Command::TlbiNhVa { asid, .. } | Command::TlbiNhAsid { asid, .. } => {
            Some(Tag::Asid(asid.get()))
        }
        Command::TlbiS2Ipa { vmid, .. } | Command::TlbiS12Vmall { vmid } => {
            Some(Tag::Vmid(vmid.get()))
        }
        _ => None,
    }
}

/// `issued` with each of its tags replaced by the one recorded where it first stands.
fn renamed(issued: &[Command], recorded: &[Command]) -> Vec<Command> {
    let mut names = BTreeMap::new();
    for (ours, theirs) in issued.iter().zip(recorded) {
        if let (Some(ours), Some(theirs)) = (tag_of(ours), tag_of(theirs)) {
            names.entry(ours).or_insert(theirs);
        }
    }
    let rename = |command: &Command| {
        let theirs = tag_of(command).and_then(|tag| names.get(&tag));
        theirs.map_or(*command, |tag| with_tag(command, *tag))
    };
    issued.iter().map(rename).collect()
}

fn with_tag(command: &Command, tag: Tag) -> Command {
    match (*command, tag) {
        (Command::TlbiNhVa { vmid, range, .. }, Tag::Asid(asid)) => Command::TlbiNhVa {
            asid: Asid::new(asid),
            vmid,
            range,
        },
        (Command::TlbiNhAsid { vmid, .. }, Tag::Asid(asid)) => Command::TlbiNhAsid {
            asid: Asid::new(asid),
            vmid,
        },
        (Command::TlbiS2Ipa { range, .. }, Tag::Vmid(vmid)) => s2_ipa(vmid, range),
        (Command::TlbiS12Vmall { .. }, Tag::Vmid(vmid)) => Command::TlbiS12Vmall {
            vmid: Vmid::new(vmid),
        },
        (other, _) => other,
    }
}

fn s2_ipa(vmid: u16, range: TlbiRange) -> Command {
    Command::TlbiS2Ipa {
        vmid: Vmid::new(vmid),
        range,
    }
}

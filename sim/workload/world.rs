//! The machine that generated workloads and bare address traces run on: streams, stages and tables.

mod section;

use smmu::Smmu;
use smmu::addr::Pa;
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId, Vmid};
use smmu::mem::{Ram, RamPort};
use smmu::regfile::{Width, register_offset};
use smmu::spec::attrs::Ps;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, Intermediate, LinearStreamTable, MapError, PageTable,
    Physical, SteBuilder,
};

use super::error::WorkloadError;

pub use section::{Atschk, Eats, Granule, MachineSection, Sharing, Stages};

/// Where the SMMU's own structures and host tables are: beside the tables of the first guest, in
/// memory that no guest uses, so that the host of the simulation finds both near each other.
const HOST: (u64, u64) = (0x2_1000_0000, 0x2_4000_0000);
/// Guest memory in physical memory: this much each, one after another.
const GUEST_STRIDE: u64 = 0x2_0000_0000;
/// Where a guest has its tables, in its own addresses.
const GUEST_TABLES: (u64, u64) = (0, 0x1000_0000);
/// Where a guest has its buffers.
const GUEST_BUFFERS: u64 = 0x4000_0000;
/// Physical memory of the first guest, or for buffers of machines without guests.
pub const BUFFERS: u64 = 0x2_0000_0000;
/// Where a modelled driver has its tables and queues, if one makes the tables: base and bytes.
pub const DRIVER_TABLES: (u64, u64) = (HOST.0, 0x1000_0000);
/// Where devices address their buffers.
pub const FIRST_IOVA: u64 = 0x1_0000_0000;

/// Address bits of the part: a stage 2 takes no more.
const ADDRESS_BITS: u32 = 44;

/// Whether tables with this much input have the descriptors of 52-bit addresses (LPA2); those of
/// 64 KiB tables have them anyway.
fn lpa2(granule: Granule, input_bits: u32) -> bool {
    input_bits > 48 && granule != Granule::K64
}

/// IPS or S2PS: 44 bits, more only where tables are for more.
fn output_size(shape: Geometry) -> Ps {
    if shape.input_bits > 48 {
        Ps::Bits52
    } else {
        Ps::Bits44
    }
}

/// Access flag, stage-1 AP=0b01 (all may read and write), nG: address spaces differ.
const STAGE1_LEAF: u64 = 1 << 11 | 1 << 10 | 1 << 6;
/// Access flag, S2AP=0b11, MemAttr=0b1111: Normal write-back.
const STAGE2_LEAF: u64 = 1 << 10 | 3 << 6 | 0xf << 2;

/// Everything that is below one VMID, or the host.
#[derive(Debug)]
struct Guest {
    stage2: Option<PageTable>,
    tables: Bump,
    buffers: u64,
    base: u64,
}

/// Guests whose memory is kept in large pieces; more would reserve too much of the host's space.
const FEW_GUESTS: u32 = 8;

/// Memory for a world: in large pieces if they are few, which is what walks read fastest.
pub fn memory(section: &MachineSection) -> Ram {
    let guests = match section.sharing {
        Sharing::Own => section.streams,
        Sharing::Shared => 1,
    };
    if guests > FEW_GUESTS {
        return Ram::sparse();
    }
    let bytes = u64::from(guests) * GUEST_STRIDE;
    Ram::with_regions(&[(BUFFERS, bytes)]).unwrap_or_else(|_| Ram::sparse())
}

/// Tables under construction, and after it: pages are mapped as they are needed.
#[derive(Debug)]
pub struct World<'a> {
    ram: &'a Ram,
    section: MachineSection,
    host: Bump,
    guests: Vec<Guest>,
    /// Stage 1 of each stream or, shared, of all.
    stage1: Vec<PageTable>,
    next_buffer: u64,
}

/// Frames with a note of what was taken.
struct Noted<'a> {
    frames: &'a mut Bump,
    taken: Vec<(u64, u32)>,
}

impl FrameSource for Noted<'_> {
    fn take(&mut self, log2: u32) -> Option<u64> {
        let frame = self.frames.take(log2)?;
        self.taken.push((frame, log2));
        Some(frame)
    }
}

fn wrong(what: impl std::fmt::Display) -> WorkloadError {
    WorkloadError::World {
        what: what.to_string(),
    }
}

impl<'a> World<'a> {
    /// Builds streams and empty tables in `ram`, and the SMMU that uses them. Nothing is mapped.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if the tables asked for do not exist.
    pub fn new(ram: &'a Ram, section: &MachineSection) -> Result<(Self, Smmu), WorkloadError> {
        let mut world = Self {
            ram,
            section: section.clone(),
            host: Bump::new(HOST.0, HOST.1),
            guests: Vec::new(),
            stage1: Vec::new(),
            next_buffer: BUFFERS + GUEST_BUFFERS,
        };
        let smmu = world.build()?;
        Ok((world, smmu))
    }

    fn has_stage1(&self) -> bool {
        matches!(self.section.stages, Stages::Stage1 | Stages::Nested)
    }

    fn has_stage2(&self) -> bool {
        matches!(self.section.stages, Stages::Stage2 | Stages::Nested)
    }

    fn has_ats(&self) -> bool {
        matches!(self.section.eats, Eats::Full | Eats::SplitStage)
    }

    /// Which of a number of things that are shared or not is this stream's.
    fn of(&self, stream: u32) -> usize {
        match self.section.sharing {
            Sharing::Own => stream as usize,
            Sharing::Shared => 0,
        }
    }

    fn build(&mut self) -> Result<Smmu, WorkloadError> {
        if self.section.eats == Eats::SplitStage && self.section.stages != Stages::Nested {
            return Err(wrong(
                "machine.eats = split-stage: machine.stages is nested",
            ));
        }
        let streams = self.section.streams;
        let spaces = match self.section.sharing {
            Sharing::Own => streams,
            Sharing::Shared => 1,
        };
        if self.has_stage2() {
            for guest in 0..spaces {
                let geometry = self.stage2_geometry();
                let stage2 = PageTable::new(geometry, &mut self.host).map_err(wrong)?;
                self.guests.push(Guest {
                    stage2: Some(stage2),
                    tables: Bump::new(GUEST_TABLES.0, GUEST_TABLES.1),
                    buffers: GUEST_BUFFERS,
                    base: BUFFERS + u64::from(guest) * GUEST_STRIDE,
                });
            }
        }
        let log2 = (streams + 1).next_power_of_two().ilog2();
        let table = LinearStreamTable::new(log2, &mut self.host)
            .map_err(|error| wrong(format_args!("stream table: {error}")))?;
        let mut port = self.ram.port();
        for stream in 0..streams {
            let mut ste = SteBuilder::bypass();
            if self.has_stage1() {
                ste = ste.with_stage1(self.stage1_of(stream)?);
            }
            if self.has_stage2() {
                let guest = self.of(stream);
                let vmid = Vmid::new(guest as u16 + 1);
                let stage2 = self.guests[guest].stage2.as_ref();
                let stage2 = stage2.expect("every guest has one");
                ste = ste.with_stage2(stage2, output_size(stage2.geometry()), vmid);
            }
            ste.0.dw1 = ste.0.dw1.with_eats(match self.section.eats {
                Eats::Auto | Eats::Off => 0,
                Eats::Full => 1,
                Eats::SplitStage => 2,
            });
            let id = StreamId::new(stream);
            table.set(&mut port, id, &ste.0).map_err(wrong)?;
        }
        let mut smmu = Smmu::new(self.part()).map_err(wrong)?;
        let mut write = |name, width, value| {
            let offset = register_offset(name).expect("an architected register");
            smmu.mmio_write(offset, width, value);
        };
        write("STRTAB_BASE", Width::W64, table.strtab_base());
        write(
            "STRTAB_BASE_CFG",
            Width::W32,
            table.strtab_base_cfg().into(),
        );
        let (smmuen, atschk) = (1, 1 << 4);
        let checks = self.has_ats() && self.section.atschk == Atschk::On;
        write("CR0", Width::W32, smmuen | if checks { atschk } else { 0 });
        Ok(smmu)
    }

    fn stage1_geometry(&self) -> Geometry {
        let MachineSection {
            granule,
            input_bits,
            ..
        } = self.section;
        Geometry {
            lpa2: lpa2(granule, input_bits),
            ..Geometry::stage1(granule.log2(), input_bits)
        }
    }

    /// The part: one with 52-bit addresses where tables need them, and with ATS where STEs allow it.
    fn part(&self) -> SmmuConfig {
        let section = &self.section;
        let stage1 = self.has_stage1() && section.input_bits > 48;
        let stage2 = section.stages == Stages::Nested && section.stage2_input_bits > 48;
        let part = if stage1 || stage2 {
            SmmuConfig::full()
        } else {
            SmmuConfig::qemu_11()
        };
        SmmuConfig {
            ats: part.ats || self.has_ats(),
            ..part
        }
    }

    fn stage2_geometry(&self) -> Geometry {
        let section = &self.section;
        if section.stages == Stages::Stage2 {
            let input_bits = section.input_bits.min(ADDRESS_BITS);
            return Geometry::stage1(section.granule.log2(), input_bits);
        }
        Geometry {
            granule_log2: section.stage2_granule.log2(),
            input_bits: section.stage2_input_bits,
            start_level: section.stage2_start_level,
            lpa2: lpa2(section.stage2_granule, section.stage2_input_bits),
        }
    }

    /// Makes stage 1 and CD of a stream; gives the CD's address as the STE needs it.
    fn stage1_of(&mut self, stream: u32) -> Result<u64, WorkloadError> {
        let geometry = self.stage1_geometry();
        let space = match self.section.stages {
            // Each device under a guest has a stage 1 of its own; only stage 2 may be shared.
            Stages::Nested => stream as usize,
            _ => self.of(stream),
        };
        if space == self.stage1.len() {
            let table = if self.section.stages == Stages::Nested {
                let guest = self.of(stream);
                self.in_guest(guest, |_, frames| PageTable::new(geometry, frames))?
            } else {
                PageTable::new(geometry, &mut self.host).map_err(wrong)?
            };
            self.stage1.push(table);
        }
        let asid = Asid::new(space as u16 + 1);
        let cd = CdBuilder::new(&self.stage1[space], output_size(geometry), asid);
        let at = if self.section.stages == Stages::Nested {
            let guest = self.of(stream);
            let granule = self.section.granule.log2();
            self.in_guest(guest, |_, frames| {
                frames.take(granule).ok_or(MapError::NoFrames)
            })?
        } else {
            self.host
                .take(12)
                .ok_or_else(|| wrong(MapError::NoFrames))?
        };
        let base = if self.section.stages == Stages::Nested {
            self.guests[self.of(stream)].base
        } else {
            0
        };
        cd.write(&mut self.ram.port(), Pa::new(base + at))
            .map_err(wrong)?;
        Ok(at)
    }

    /// Does something with a guest's memory and frames; frames taken become part of the guest.
    fn in_guest<T>(
        &mut self,
        guest: usize,
        action: impl FnOnce(
            &mut Intermediate<RamPort<'a>, Box<dyn Fn(u64) -> Option<u64>>>,
            &mut Noted<'_>,
        ) -> Result<T, MapError>,
    ) -> Result<T, WorkloadError> {
        let base = self.guests[guest].base;
        let mut memory = Intermediate {
            memory: self.ram.port(),
            to_pa: Box::new(move |ipa| Some(base + ipa)) as Box<dyn Fn(u64) -> Option<u64>>,
        };
        let mut frames = Noted {
            frames: &mut self.guests[guest].tables,
            taken: Vec::new(),
        };
        let result = action(&mut memory, &mut frames).map_err(wrong)?;
        let taken = frames.taken;
        for (frame, log2) in taken {
            self.map_guest(guest, frame, 1 << log2)?;
        }
        Ok(result)
    }

    /// Makes stage 2 translate a range of guest memory.
    fn map_guest(&mut self, guest: usize, ipa: u64, bytes: u64) -> Result<(), WorkloadError> {
        let page_log2 = if self.section.stages == Stages::Stage2 {
            self.section.page_log2
        } else {
            self.section.stage2_page_log2
        };
        let Guest { stage2, base, .. } = &mut self.guests[guest];
        let Some(stage2) = stage2 else {
            return Ok(());
        };
        let mut memory = Physical(self.ram.port());
        let page = 1u64 << page_log2;
        let mut at = ipa & !(page - 1);
        while at < ipa + bytes {
            let output = *base + at;
            match stage2.map(
                &mut memory,
                &mut self.host,
                at,
                output,
                page_log2,
                STAGE2_LEAF,
            ) {
                Ok(()) | Err(MapError::Occupied(_)) => {}
                Err(error) => return Err(wrong(format_args!("machine.stage2_page_log2: {error}"))),
            }
            at += page;
        }
        Ok(())
    }

    /// Number of streams.
    pub fn streams(&self) -> u32 {
        self.section.streams
    }

    /// The low word of the command that invalidates a page of a stream by its address: by IPA where
    /// only stage 2 translates, else by VA of any ASID (IHI 0070 §4.4).
    pub fn invalidation(&self, stream: u32) -> u64 {
        const TLBI_NH_VAA: u64 = 0x13;
        const TLBI_S2_IPA: u64 = 0x2a;
        let vmid = if self.has_stage2() {
            self.of(stream) as u64 + 1
        } else {
            0
        };
        match self.section.stages {
            Stages::Stage2 => TLBI_S2_IPA | vmid << 32,
            _ => TLBI_NH_VAA | vmid << 32,
        }
    }

    /// The low word of the command that has a stream's device forget what it is told to, and the
    /// size of a page as the high word tells it (IHI 0070 §4.5.1); `None` without ATS.
    pub fn atc_invalidation(&self, stream: u32) -> Option<(u64, u64)> {
        const ATC_INV: u64 = 0x40;
        let size = u64::from(self.section.page_log2) - 12;
        self.has_ats()
            .then_some((ATC_INV | u64::from(stream) << 32, size))
    }

    /// Bytes of one page of a device's buffers.
    pub fn page_bytes(&self) -> u64 {
        1 << self.section.page_log2
    }

    /// Maps the page around `iova` for a stream, unless it is mapped. Gives whether it was not.
    ///
    /// # Errors
    /// [`WorkloadError::World`] if there is no such page size or no memory left.
    pub fn map(&mut self, stream: u32, iova: u64) -> Result<bool, WorkloadError> {
        let page_log2 = self.section.page_log2;
        let page = 1u64 << page_log2;
        let input = iova & !(page - 1);
        let result = match self.section.stages {
            Stages::Bypass => return Ok(false),
            Stages::Stage1 => {
                let output = self.next_buffer.next_multiple_of(page);
                let mut memory = Physical(self.ram.port());
                let space = self.of(stream);
                let mapped = self.stage1[space].map(
                    &mut memory,
                    &mut self.host,
                    input,
                    output,
                    page_log2,
                    STAGE1_LEAF,
                );
                if mapped.is_ok() {
                    self.next_buffer = output + page;
                }
                mapped
            }
            Stages::Stage2 => {
                let space = self.of(stream);
                let output = self.next_buffer.next_multiple_of(page);
                let Some(stage2) = &mut self.guests[space].stage2 else {
                    return Ok(false);
                };
                let mut memory = Physical(self.ram.port());
                let mapped = stage2.map(
                    &mut memory,
                    &mut self.host,
                    input,
                    output,
                    page_log2,
                    STAGE2_LEAF,
                );
                if mapped.is_ok() {
                    self.next_buffer = output + page;
                }
                mapped
            }
            Stages::Nested => return self.map_nested(stream, input),
        };
        match result {
            Ok(()) => Ok(true),
            Err(MapError::Occupied(_)) => Ok(false),
            Err(error) => Err(wrong(format_args!("machine.page_log2: {error}"))),
        }
    }

    fn map_nested(&mut self, stream: u32, input: u64) -> Result<bool, WorkloadError> {
        let page_log2 = self.section.page_log2;
        let page = 1u64 << page_log2;
        let guest = self.of(stream);
        let ipa = self.guests[guest].buffers.next_multiple_of(page);
        // The stage-1 table is taken out for the time its guest is borrowed.
        let mut table = self.stage1[stream as usize].clone();
        let mut occupied = false;
        self.in_guest(guest, |memory, frames| {
            match table.map(memory, frames, input, ipa, page_log2, STAGE1_LEAF) {
                Err(MapError::Occupied(_)) => {
                    occupied = true;
                    Ok(())
                }
                other => other,
            }
        })?;
        self.stage1[stream as usize] = table;
        if occupied {
            return Ok(false);
        }
        self.guests[guest].buffers = ipa + page;
        self.map_guest(guest, ipa, page)?;
        Ok(true)
    }
}

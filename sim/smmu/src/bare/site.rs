//! Building a [`BareMachine`](super::BareMachine)'s tables and queues, as software without surprises
//! would.

use std::collections::BTreeMap;

use super::builder::{BuildError, Streams};
use super::mappings::{Allow, Attributes, Leaves, Mappings, Range};
use crate::addr::{Address, Iova, Ipa, Pa};
use crate::config::SmmuConfig;
use crate::fault::Stage;
use crate::ids::{Asid, StreamId, Vmid};
use crate::mem::{AccessClass, BusAbort, BusResult, PhysMem};
use crate::regfile::Width;
use crate::spec::attrs::Ps;
use crate::spec::ste::Ste;
use crate::tables::{
    Bump, CdBuilder, FrameSource, Geometry, LinearStreamTable, MapError, PageTable, Physical,
    SteBuilder, TableMemory,
};

/// Bytes of guests' tables, all streams together.
const GUEST_TABLES_BYTES: u64 = 1 << 28;
/// log2 of the entries of the command queue and of the event queue.
const QUEUE_LOG2: u8 = 7;
/// A CD has a page to itself.
const CD_LOG2: u32 = 12;

/// Where tables are being built.
pub(super) struct Site<'a, M> {
    part: &'a SmmuConfig,
    memory: &'a mut M,
    frames: Bump,
    guest: Bump,
}

/// Memory as a guest sees it: through the stage 2 that it will have.
struct GuestMemory<'a, M> {
    memory: &'a mut M,
    stage2: &'a Mappings<Ipa, Pa>,
    /// Blocks that stage 2 was not asked to map, with what is given for them.
    own: BTreeMap<u64, u64>,
    frames: &'a mut Bump,
    granule_log2: u32,
}

impl<M> GuestMemory<'_, M> {
    fn pa(&mut self, ipa: u64) -> BusResult<u64> {
        if let Some(pa) = self.stage2.lookup(ipa) {
            return Ok(pa);
        }
        let offset = ipa & ((1 << self.granule_log2) - 1);
        let block = ipa - offset;
        if let Some(pa) = self.own.get(&block) {
            return Ok(pa + offset);
        }
        let pa = self.frames.take(self.granule_log2).ok_or(BusAbort)?;
        self.own.insert(block, pa);
        Ok(pa + offset)
    }
}

impl<M: PhysMem> TableMemory for GuestMemory<'_, M> {
    fn get(&mut self, address: u64) -> BusResult<u64> {
        let pa = self.pa(address)?;
        self.memory.read64(Pa::new(pa), AccessClass::Stage1)
    }

    fn set(&mut self, address: u64, value: u64) -> BusResult<()> {
        let pa = self.pa(address)?;
        self.memory.write64(Pa::new(pa), value, AccessClass::Stage1)
    }
}

impl<'a, M: PhysMem> Site<'a, M> {
    pub(super) fn new(
        part: &'a SmmuConfig,
        memory: &'a mut M,
        (tables, bytes): (Pa, u64),
        guest_tables: Ipa,
    ) -> Self {
        let area = |start: u64, bytes| Bump::new(start, start.saturating_add(bytes));
        Self {
            part,
            memory,
            frames: area(tables.get(), bytes),
            guest: area(guest_tables.get(), GUEST_TABLES_BYTES),
        }
    }

    /// Builds the tables of a stream; its STE. `number` is its ASID and VMID.
    pub(super) fn configure(
        &mut self,
        stream: StreamId,
        what: &Streams,
        number: u16,
    ) -> Result<Ste, BuildError> {
        let in_stage = |stage| {
            move |source| BuildError::Map {
                stream,
                stage,
                source,
            }
        };
        let (in_stage1, in_stage2) = (in_stage(Stage::Stage1), in_stage(Stage::Stage2));
        let (stage1, stage2) = match what {
            Streams::Bypass => (false, false),
            Streams::Stage1(_) => (true, false),
            Streams::Stage2(_) => (false, true),
            Streams::Nested(..) => (true, true),
        };
        for (stage, missing) in [
            (Stage::Stage1, stage1 && !self.part.s1p),
            (Stage::Stage2, stage2 && !self.part.s2p),
        ] {
            if missing {
                return Err(BuildError::NoSuchStage { stream, stage });
            }
        }
        let (asid, vmid) = (Asid::new(number), Vmid::new(number));
        let ste = SteBuilder::bypass();
        let ste = match what {
            Streams::Bypass => ste,
            Streams::Stage1(mappings) => {
                ste.with_stage1(self.host_stage1(mappings, asid).map_err(in_stage1)?)
            }
            Streams::Stage2(mappings) => {
                let nothing_else = BTreeMap::new();
                let table = self.stage2(mappings, &nothing_else).map_err(in_stage2)?;
                ste.with_stage2(&table, output_size(self.part, table.geometry()), vmid)
            }
            Streams::Nested(guest, host) => {
                let (cd, own) = self.guest_stage1(guest, host, asid).map_err(in_stage1)?;
                let table = self.stage2(host, &own).map_err(in_stage2)?;
                let s2ps = output_size(self.part, table.geometry());
                ste.with_stage1(cd).with_stage2(&table, s2ps, vmid)
            }
        };
        Ok(ste.0)
    }

    /// A page table and a CD in physical memory; the CD's address.
    fn host_stage1(&mut self, mappings: &Mappings<Iova, Pa>, asid: Asid) -> Result<u64, MapError> {
        let shape = shape1(self.part, mappings);
        let mut memory = Physical(&mut *self.memory);
        let table = fill(&mut memory, &mut self.frames, shape, mappings, stage1_bits)?;
        let at = self.frames.take(CD_LOG2).ok_or(MapError::NoFrames)?;
        CdBuilder::new(&table, output_size(self.part, shape), asid)
            .write(&mut memory.0, Pa::new(at))
            .map_err(|BusAbort| MapError::NotInMemory(at))?;
        Ok(at)
    }

    /// The same in a guest's memory; with it, the blocks that stage 2 has to map besides.
    fn guest_stage1(
        &mut self,
        guest: &Mappings<Iova, Ipa>,
        host: &Mappings<Ipa, Pa>,
        asid: Asid,
    ) -> Result<(u64, BTreeMap<u64, u64>), MapError> {
        let shape = shape1(self.part, guest);
        let granule_log2 = shape2(self.part, host).granule_log2;
        let mut memory = GuestMemory {
            memory: &mut *self.memory,
            stage2: host,
            own: BTreeMap::new(),
            frames: &mut self.frames,
            granule_log2,
        };
        let first = self.guest.next();
        let table = fill(&mut memory, &mut self.guest, shape, guest, stage1_bits)?;
        let at = self.guest.take(CD_LOG2).ok_or(MapError::NoFrames)?;
        // Tables are there as a whole, not only where something is mapped.
        for ipa in (first..self.guest.next()).step_by(1 << granule_log2) {
            memory.pa(ipa).map_err(|BusAbort| MapError::NoFrames)?;
        }
        let pa = memory.pa(at).map_err(|BusAbort| MapError::NoFrames)?;
        let own = memory.own;
        CdBuilder::new(&table, output_size(self.part, shape), asid)
            .write(self.memory, Pa::new(pa))
            .map_err(|BusAbort| MapError::NotInMemory(pa))?;
        Ok((at, own))
    }

    fn stage2(
        &mut self,
        mappings: &Mappings<Ipa, Pa>,
        own: &BTreeMap<u64, u64>,
    ) -> Result<PageTable, MapError> {
        let shape = shape2(self.part, mappings);
        let mut memory = Physical(&mut *self.memory);
        let mut table = fill(&mut memory, &mut self.frames, shape, mappings, stage2_bits)?;
        for (&ipa, &pa) in own {
            let bits = stage2_bits(Allow::ReadWrite);
            let page_log2 = shape.granule_log2;
            table.map(&mut memory, &mut self.frames, ipa, pa, page_log2, bits)?;
        }
        Ok(table)
    }

    /// Stream table and queues; the registers that say where they are, and the one that enables all.
    pub(super) fn structures(
        mut self,
        entries: &BTreeMap<StreamId, Ste>,
    ) -> Result<[(&'static str, Width, u64); 7], MapError> {
        let last = entries.keys().next_back().map_or(0, |stream| stream.get());
        let size_log2 = (u32::BITS - last.leading_zeros()).max(6);
        let size_log2 = size_log2.min(self.part.sidsize.into());
        let streams = LinearStreamTable::new(size_log2, &mut self.frames)?;
        for (stream, ste) in entries {
            streams
                .set(self.memory, *stream, ste)
                .map_err(|BusAbort| MapError::NotInMemory(streams.strtab_base()))?;
        }
        let mut queue = |limit: u8, entry_log2: u32| {
            let log2 = QUEUE_LOG2.min(limit);
            let at = self.frames.take((u32::from(log2) + entry_log2).max(5));
            at.map(|at| at | u64::from(log2)).ok_or(MapError::NoFrames)
        };
        let commands = queue(self.part.cmdqs, 4)?;
        let events = queue(self.part.eventqs, 5)?;
        let size = streams.strtab_base_cfg().into();
        Ok([
            ("STRTAB_BASE", Width::W64, streams.strtab_base()),
            ("STRTAB_BASE_CFG", Width::W32, size),
            ("CMDQ_BASE", Width::W64, commands),
            ("EVENTQ_BASE", Width::W64, events),
            // RECINVSID: streams beyond the table leave an event as well.
            ("CR2", Width::W32, 0b10),
            // Queues, then translation, as drivers enable them.
            ("CR0", Width::W32, 0b1100),
            ("CR0", Width::W32, 0b1101),
        ])
    }
}

/// The smallest granule a part has.
fn granule_log2(part: &SmmuConfig) -> u32 {
    let has = |log2: &u8| part.has_granule(*log2);
    [12, 14, 16].into_iter().find(has).unwrap_or(12).into()
}

fn shape1<O>(part: &SmmuConfig, mappings: &Mappings<Iova, O>) -> Geometry {
    let usual = || Geometry::stage1(granule_log2(part), 48);
    mappings.geometry.unwrap_or_else(usual)
}

fn shape2(part: &SmmuConfig, mappings: &Mappings<Ipa, Pa>) -> Geometry {
    let usual = || Geometry::stage2(granule_log2(part), part.oas.min(48).into());
    mappings.geometry.unwrap_or_else(usual)
}

/// IPS or S2PS: what the part puts out, as far as descriptors of this shape can say it.
fn output_size(part: &SmmuConfig, shape: Geometry) -> Ps {
    let large = shape.lpa2 || shape.granule_log2 == 16;
    match part.oas.min(if large { 52 } else { 48 }) {
        ..36 => Ps::Bits32,
        36..40 => Ps::Bits36,
        40..42 => Ps::Bits40,
        42..44 => Ps::Bits42,
        44..48 => Ps::Bits44,
        48..52 => Ps::Bits48,
        _ => Ps::Bits52,
    }
}

/// Access flag, Inner Shareable, not global; attribute 0 of [`CdBuilder`] is Normal write-back.
fn stage1_bits(allow: Allow) -> u64 {
    const PAGE: u64 = 1 << 11 | 1 << 10 | 3 << 8 | 1 << 6;
    match allow {
        Allow::Read => PAGE | 1 << 7,
        Allow::ReadWrite => PAGE,
    }
}

/// Access flag, Inner Shareable, Normal write-back.
fn stage2_bits(allow: Allow) -> u64 {
    const PAGE: u64 = 1 << 10 | 3 << 8 | 0xf << 2;
    match allow {
        Allow::Read => PAGE | 1 << 6,
        Allow::ReadWrite => PAGE | 3 << 6,
    }
}

/// A table with everything that `mappings` says.
fn fill<I: Address, O: Address>(
    memory: &mut impl TableMemory,
    frames: &mut impl FrameSource,
    shape: Geometry,
    mappings: &Mappings<I, O>,
    normal: fn(Allow) -> u64,
) -> Result<PageTable, MapError> {
    let mut table = PageTable::new(shape, frames)?;
    for range in &mappings.ranges {
        let bits = match range.attributes {
            Attributes::Normal(allow) => normal(allow),
            Attributes::Bits(bits) => bits,
        };
        let Range { input, output, .. } = *range;
        let page = 1u64 << shape.granule_log2;
        let whole = range.bytes != 0 && range.bytes.is_multiple_of(page);
        let wraps = |address: u64| address.checked_add(range.bytes - 1).is_none();
        if !whole || wraps(input) || wraps(output) {
            let span_log2 = shape.granule_log2;
            return Err(MapError::Shape {
                input,
                output,
                span_log2,
            });
        }
        let mut done = 0;
        while done < range.bytes {
            let (input, output) = (input + done, output + done);
            let span_log2 = span_log2(shape, mappings.leaves, input | output, range.bytes - done);
            table.map(memory, frames, input, output, span_log2, bits)?;
            done += 1 << span_log2;
        }
    }
    Ok(table)
}

/// log2 of the leaf to map with at addresses with these bits, `left` bytes before the end.
fn span_log2(shape: Geometry, leaves: Leaves, addresses: u64, left: u64) -> u32 {
    // Without 52-bit descriptors blocks are at level 1 of 4 KiB tables, and at level 2.
    let first = if shape.granule_log2 == 12 { 1 } else { 2 };
    let blocks = (first.max(shape.start_level)..3).map(|level| shape.lsb(level));
    let fits = |log2: &u32| addresses & ((1 << log2) - 1) == 0 && left >> log2 != 0;
    match leaves {
        Leaves::Pages => shape.granule_log2,
        Leaves::Largest => blocks.filter(fits).max().unwrap_or(shape.granule_log2),
    }
}

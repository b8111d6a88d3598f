//! The tables a scenario names: stage 2 in physical memory, stage 1 there or inside a guest.

mod leaves;

use std::collections::BTreeMap;

use smmu::addr::Pa;
use smmu::ids::{Asid, Vmid};
use smmu::mem::{AccessClass, BusAbort, PhysMem, Ram, RamPort};
use smmu::spec::Layout;
use smmu::spec::attrs::Ps;
use smmu::spec::cd::Cd;
use smmu::tables::{Bump, CdBuilder, FrameSource, Geometry, Intermediate, MapError, PageTable};
use smmu::tables::{Physical, TableMemory};

use super::file::{MapEntry, Stage1Section, Stage2Section};
use super::names::{self, Fields};
use super::source::{Diagnostic, Located, Span};
use super::step::{ChangeCd, Map, Rewrite, Unmap};
use leaves::{bits, fill, granule, leaf_s1, leaf_s2};

/// Bytes of tables a guest may have.
const GUEST_TABLES: u64 = 0x10_0000;
/// Stage 2 of a virtual machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stage2 {
    pub(super) table: PageTable,
    pub(super) vmid: Vmid,
}

/// Where tables lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Space {
    /// In physical memory.
    Host,
    /// At IPAs of a stage 2.
    Behind(String),
    /// In the memory of a Linux process that is a guest's.
    Process,
}

/// Stage 1 of a driver or guest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stage1 {
    pub(super) table: PageTable,
    pub(super) cd: Cd,
    pub(super) space: Space,
    /// Where copies of the CD lie in its space.
    pub(super) cd_at: Vec<u64>,
    frames: Bump,
}

/// A process's memory as its guest sees it: frames of its pages.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct GuestMemory {
    pub(super) base: u64,
    pub(super) frames: Vec<u64>,
}

/// Bytes of a page of a process.
pub(super) const PAGE: u64 = 4096;

impl GuestMemory {
    /// Where a guest's address is.
    pub(super) fn to_pa(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.base)?;
        let frame = self.frames.get(usize::try_from(offset / PAGE).ok()?)?;
        Some(frame + offset % PAGE)
    }

    /// Where the guest sees a physical address.
    pub(super) fn of_pa(&self, pa: u64) -> Option<u64> {
        let page = self.frames.iter().position(|f| *f == pa & !(PAGE - 1))?;
        Some(self.base + page as u64 * PAGE + pa % PAGE)
    }
}

/// All tables of a machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tables {
    pub(super) stage2: BTreeMap<String, Stage2>,
    pub(super) stage1: BTreeMap<String, Stage1>,
    pub(super) guest: GuestMemory,
}

type SpaceMemory<'a> = Intermediate<RamPort<'a>, Box<dyn Fn(u64) -> Option<u64> + 'a>>;

impl Tables {
    /// Memory as addressed in a space.
    pub(super) fn memory<'a>(&'a self, ram: &'a Ram, space: &Space) -> SpaceMemory<'a> {
        let to_pa: Box<dyn Fn(u64) -> Option<u64> + 'a> = match space {
            Space::Host => Box::new(Some),
            Space::Process => Box::new(|address| self.guest.to_pa(address)),
            Space::Behind(name) => {
                let stage2 = &self.stage2[name];
                Box::new(move |ipa| output(&stage2.table, &mut Physical(ram.port()), ipa))
            }
        };
        Intermediate {
            memory: ram.port(),
            to_pa,
        }
    }

    /// Makes a stage 2 in host memory.
    pub(super) fn add_stage2(
        &mut self,
        section: &Stage2Section,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(), Diagnostic> {
        let granule_log2 = granule(section.granule.as_ref())?;
        let input_bits = bits(section.input_bits.as_ref(), 44, granule_log2)?;
        let single = Geometry::stage1(granule_log2, input_bits).start_level;
        let start_level = match &section.start_level {
            None => single,
            Some(level) if (single..=single + 1).contains(&i32::from(**level)) && **level <= 3 => {
                i32::from(**level)
            }
            Some(level) => {
                let allowed = format!("{single}, or {} with concatenated tables", single + 1);
                let message = format!(
                    "stage 2 of {input_bits} bits cannot start at level {}",
                    **level
                );
                return Err(Diagnostic::new(
                    message,
                    level.span(),
                    format!("expected {allowed}"),
                ));
            }
        };
        let geometry = Geometry {
            granule_log2,
            input_bits,
            start_level,
            lpa2: false,
        };
        if input_bits - geometry.lsb(start_level) > granule_log2 - 3 + 4 {
            let span = section
                .start_level
                .as_ref()
                .map_or(section.name.span(), Located::span);
            let message = "more than 16 concatenated tables";
            return Err(Diagnostic::new(message, span, "start one level higher"));
        }
        let table =
            PageTable::new(geometry, frames).map_err(|error| failed(error, section.name.span()))?;
        let vmid = names::within(section.vmid.as_ref(), 1, 0..=0xffff)?;
        let mut stage2 = Stage2 {
            table,
            vmid: Vmid::new(vmid as u16),
        };
        for entry in &section.maps {
            let memory = &mut Physical(ram.port());
            fill(&mut stage2.table, memory, frames, entry, leaf_s2)?;
        }
        self.stage2.insert(section.name.to_string(), stage2);
        Ok(())
    }

    /// Makes a stage 1 with its CD, in its own space.
    pub(super) fn add_stage1(
        &mut self,
        section: &Stage1Section,
        home: Space,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(), Diagnostic> {
        let space = match &section.inside {
            None => home,
            Some(name) => {
                let known = self.stage2.keys().map(String::as_str);
                names::known("stage2", name, known)?;
                Space::Behind(name.to_string())
            }
        };
        let granule_log2 = granule(section.granule.as_ref())?;
        let input_bits = bits(section.input_bits.as_ref(), 48, granule_log2)?;
        let mut own = match (&section.tables, &space) {
            (Some(at), _) => Bump::new(at.0, at.0.saturating_add(GUEST_TABLES)),
            (None, Space::Host) => frames.clone(),
            (None, _) => {
                let message = format!("where are the tables of {:?}?", &**section.name);
                let label = "inside a guest: needs tables = ADDRESS";
                return Err(Diagnostic::new(message, section.name.span(), label)
                    .help("an address of the guest's memory that nothing else uses"));
            }
        };
        let span = section
            .tables
            .as_ref()
            .map_or(section.name.span(), Located::span);
        let mut memory = self.memory(ram, &space);
        let failed = |error| failed(error, span.clone());
        let geometry = Geometry::stage1(granule_log2, input_bits);
        let mut table = PageTable::new(geometry, &mut own).map_err(failed)?;
        for entry in &section.maps {
            fill(&mut table, &mut memory, &mut own, entry, leaf_s1)?;
        }
        let cd_at = own.take(12).ok_or_else(|| failed(MapError::NoFrames))?;
        let asid = names::within(section.asid.as_ref(), 1, 0..=0xffff)?;
        let mut words = CdBuilder::new(&table, Ps::Bits44, Asid::new(asid as u16))
            .0
            .words();
        set_fields(&Cd::LAYOUT, &mut words, &section.cd)?;
        write(&mut memory, cd_at, &words).map_err(|_| failed(MapError::NotInMemory(cd_at)))?;
        drop(memory);
        if section.tables.is_none() && space == Space::Host {
            *frames = own.clone();
        }
        let stage1 = Stage1 {
            table,
            cd: Cd::from_words(words),
            space,
            cd_at: vec![cd_at],
            frames: own,
        };
        self.stage1.insert(section.name.to_string(), stage1);
        Ok(())
    }

    /// An array of CDs for substreams, in the space of the first; S1ContextPtr and S1CDMax.
    pub(super) fn cd_array(
        &mut self,
        substreams: &BTreeMap<u32, Located<String>>,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(u64, u8), Diagnostic> {
        let last = substreams.last_key_value().map_or(0, |(ssid, _)| *ssid);
        let bits = (u32::BITS - last.leading_zeros()).max(1);
        let Some((_, first)) = substreams.first_key_value() else {
            return Ok((0, 0));
        };
        let space = self.stage1(first)?.space.clone();
        let size_log2 = bits + 6;
        let at = match space {
            Space::Host => frames.take(size_log2),
            _ => self.stage1_mut(first)?.frames.take(size_log2),
        };
        let at = at.ok_or_else(|| failed(MapError::NoFrames, first.span()))?;
        for (ssid, name) in substreams {
            let stage1 = self.stage1(name)?;
            if stage1.space != space {
                let message = "the context descriptors of a stream lie in one address space";
                return Err(Diagnostic::new(message, name.span(), "in another than")
                    .and(first.span(), "this one"));
            }
            let place = at + u64::from(*ssid) * 64;
            let words = stage1.cd.words();
            write(&mut self.memory(ram, &space), place, &words)
                .map_err(|_| failed(MapError::NotInMemory(place), name.span()))?;
            self.stage1_mut(name)?.cd_at.push(place);
        }
        Ok((at, bits as u8))
    }

    /// The stage 1 that is meant.
    pub(super) fn stage1(&self, name: &Located<String>) -> Result<&Stage1, Diagnostic> {
        names::known("stage1", name, self.stage1.keys().map(String::as_str))?;
        Ok(&self.stage1[name.as_str()])
    }

    fn stage1_mut(&mut self, name: &Located<String>) -> Result<&mut Stage1, Diagnostic> {
        names::known("stage1", name, self.stage1.keys().map(String::as_str))?;
        Ok(self.stage1.get_mut(name.as_str()).expect("it is known"))
    }

    /// The stage 2 that is meant.
    pub(super) fn stage2(&self, name: &Located<String>) -> Result<&Stage2, Diagnostic> {
        names::known("stage2", name, self.stage2.keys().map(String::as_str))?;
        Ok(&self.stage2[name.as_str()])
    }

    /// `map`.
    pub(super) fn map(
        &mut self,
        map: &Map,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(), Diagnostic> {
        self.edit(&map.table, ram, frames, |table, memory, frames, stage| {
            fill(table, memory, frames, &map.entry, stage)
        })
    }

    /// `unmap`.
    pub(super) fn unmap(
        &mut self,
        unmap: &Unmap,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(), Diagnostic> {
        self.edit(&unmap.table, ram, frames, |table, memory, _, _| {
            let from = unmap.from.0;
            let end = unmap.size.as_ref().map(|size| from.saturating_add(size.0));
            let mut at = from;
            loop {
                let leaf = table
                    .unmap(memory, at)
                    .map_err(|error| failed(error, unmap.from.span()))?;
                at = (at >> leaf.span_log2 << leaf.span_log2).saturating_add(1 << leaf.span_log2);
                if end.is_none_or(|end| at >= end) {
                    return Ok(());
                }
            }
        })
    }

    /// `rewrite`.
    pub(super) fn rewrite(
        &mut self,
        rewrite: &Rewrite,
        ram: &Ram,
        frames: &mut Bump,
    ) -> Result<(), Diagnostic> {
        self.edit(&rewrite.table, ram, frames, |table, memory, _, leaf| {
            let entry = &rewrite.entry;
            let (from, to) = (entry.from.0, entry.to.0);
            let written = table.rewrite(memory, from, to, leaf(entry)?);
            written.map_err(|error| failed(error, entry.span()))?;
            Ok(())
        })
    }

    /// Fields of a CD, in all its copies.
    pub(super) fn change_cd(&mut self, change: &ChangeCd, ram: &Ram) -> Result<(), Diagnostic> {
        let stage1 = self.stage1(&change.stage1)?;
        let mut words = stage1.cd.words();
        set_fields(&Cd::LAYOUT, &mut words, &change.set)?;
        let mut memory = self.memory(ram, &stage1.space);
        for at in &stage1.cd_at {
            write(&mut memory, *at, &words)
                .map_err(|_| failed(MapError::NotInMemory(*at), change.stage1.span()))?;
        }
        drop(memory);
        self.stage1_mut(&change.stage1)?.cd = Cd::from_words(words);
        Ok(())
    }

    /// Lets `work` at a table, its memory, its source of frames and the bits of its leaves.
    fn edit(
        &mut self,
        name: &Located<String>,
        ram: &Ram,
        frames: &mut Bump,
        work: impl FnOnce(
            &mut PageTable,
            &mut SpaceMemory<'_>,
            &mut Bump,
            fn(&MapEntry) -> Result<u64, Diagnostic>,
        ) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        if let Some(stage2) = self.stage2.get(name.as_str()) {
            let mut table = stage2.table.clone();
            work(
                &mut table,
                &mut self.memory(ram, &Space::Host),
                frames,
                leaf_s2,
            )?;
            self.stage2
                .get_mut(name.as_str())
                .expect("it is there")
                .table = table;
            return Ok(());
        }
        let known = self.stage1.keys().chain(self.stage2.keys());
        names::known("stage1 or stage2", name, known.map(String::as_str))?;
        let mut stage1 = self.stage1[name.as_str()].clone();
        let mut memory = self.memory(ram, &stage1.space);
        let frames = if stage1.space == Space::Host {
            frames
        } else {
            &mut stage1.frames
        };
        work(&mut stage1.table, &mut memory, frames, leaf_s1)?;
        drop(memory);
        self.stage1.insert(name.to_string(), stage1);
        Ok(())
    }
}

/// Writes words, ascending.
pub(super) fn write(memory: &mut impl TableMemory, at: u64, words: &[u64]) -> Result<(), BusAbort> {
    for (offset, word) in (0..).step_by(8).zip(words) {
        memory.set(at + offset, *word)?;
    }
    Ok(())
}

/// What `input` leads to.
fn output(table: &PageTable, memory: &mut impl TableMemory, input: u64) -> Option<u64> {
    let leaf = table.leaf(memory, input).ok()?;
    let offset = input & ((1 << leaf.span_log2) - 1);
    Some(leaf.descriptor & 0xffff_ffff_ffff & (u64::MAX << leaf.span_log2) | offset)
}

/// Sets fields of a structure by name.
pub(super) fn set_fields(
    layout: &Layout,
    words: &mut [u64],
    fields: &Fields,
) -> Result<(), Diagnostic> {
    for (name, value) in fields {
        let (field, raw) = names::field(layout, name, value)?;
        let bits = field.msb - field.lsb + 1;
        for bit in 0..bits {
            let at = field.lsb + bit;
            let word = &mut words[(at / 64) as usize];
            *word = *word & !(1 << (at % 64)) | (raw >> bit & 1) << (at % 64);
        }
    }
    Ok(())
}

/// A table that cannot be made.
pub(super) fn failed(error: MapError, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(error.to_string(), span, "here");
    match error {
        MapError::NoFrames => diagnostic.help("tables have 1 MiB in a guest, 7 MiB outside"),
        MapError::NotInMemory(_) => diagnostic.help("a guest's tables lie in memory it has"),
        _ => diagnostic,
    }
}

/// Reads words, ascending; ones where there is no memory.
pub(super) fn read_words<const N: usize>(ram: &Ram, at: u64) -> [u64; N] {
    let mut port = ram.port();
    std::array::from_fn(|index| {
        let pa = Pa::new(at + 8 * index as u64);
        port.read64(pa, AccessClass::Ste).unwrap_or(u64::MAX)
    })
}

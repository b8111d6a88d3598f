//! Machines without Linux: tables written by the scenario, registers and queues by MMIO.

use std::collections::BTreeMap;

use arm_smmu_v3::{Platform, SmmuId};
use iommu_core::{Control, Kernel, Semantics};
use smmu::CommandStep;
use smmu::ids::StreamId;
use smmu::regfile::{Width, register_names, register_offset, register_width};
use smmu::spec::attrs::Ps;
use smmu::spec::cmd::{CmdOp, layout_of};
use smmu::spec::ste::Ste;
use smmu::tables::{Bump, FrameSource, LinearStreamTable, SteBuilder};

use super::file::{ScenarioFile, SmmuSection, StreamSection};
use super::machine::{Seen, board_config, memory_regions};
use super::names;
use super::source::{Diagnostic, Located, Number};
use super::step::{ChangeSte, QueuedCommand, Register};
use super::tables::{Space, Tables, failed, read_words, set_fields};
use crate::board::{Board, BoardConfig};

/// log2 of the entries of command and event queues.
const QUEUE_LOG2: u64 = 7;
/// Where tables and queues lie, from the start of the first range of memory.
const TABLES: std::ops::Range<u64> = 0x10_0000..0x80_0000;
/// Bits of StreamIDs a scenario may use: tables are linear.
const STREAM_BITS_MAX: u32 = 16;
/// Commands one step may lead to.
const COMMANDS_MAX: usize = 1024;

/// An SMMU's structures in memory.
#[derive(Debug, Clone, PartialEq)]
struct Structures {
    streams: LinearStreamTable,
    stream_bits: u32,
    commands: u64,
}

/// Hardware, tables and queues.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bare {
    pub(super) board: Board,
    pub(super) tables: Tables,
    frames: Bump,
    structures: Vec<Structures>,
    /// SMMU of each stream.
    streams: BTreeMap<u32, SmmuId>,
}

impl Bare {
    /// The machine a file describes, with its SMMUs enabled.
    pub(super) fn new(file: &ScenarioFile) -> Result<Self, Diagnostic> {
        let mut regions = memory_regions(file)?;
        let (base, size) = regions[0];
        // What lies before and after the tables is memory like theirs.
        regions[0] = (base, TABLES.start);
        regions.push((base + TABLES.end, size - TABLES.end));
        let config = BoardConfig {
            tables: (base + TABLES.start, TABLES.end - TABLES.start),
            ..board_config(file, regions)?
        };
        let control = Control::new(Semantics::kernel(Kernel::V7_2));
        let board = super::machine::board(file, control, &config)?;
        let mut bare = Self {
            board,
            tables: Tables::default(),
            frames: Bump::new(base + TABLES.start, base + TABLES.end),
            structures: Vec::new(),
            streams: BTreeMap::new(),
        };
        for section in &file.stage2 {
            bare.edit(|tables, ram, frames| tables.add_stage2(section, ram, frames))?;
        }
        for section in &file.stage1 {
            let home = Space::Host;
            bare.edit(|tables, ram, frames| tables.add_stage1(section, home, ram, frames))?;
        }
        let default = [SmmuSection::default()];
        let sections = if file.smmu.is_empty() {
            &default[..]
        } else {
            &file.smmu
        };
        for stream in &file.stream {
            names::within(stream.smmu.as_ref(), 0, 0..=sections.len() as u64 - 1)?;
        }
        for (index, section) in (0..).zip(sections) {
            bare.add_smmu(SmmuId(index), section, file)?;
        }
        Ok(bare)
    }

    /// Structures of an SMMU, its streams and registers.
    fn add_smmu(
        &mut self,
        smmu: SmmuId,
        section: &SmmuSection,
        file: &ScenarioFile,
    ) -> Result<(), Diagnostic> {
        for stream in &file.stream {
            let most = (1 << STREAM_BITS_MAX) - 1;
            names::within(Some(&stream.id), 0, 0..=most)?;
        }
        let number = |stream: &StreamSection| stream.smmu.as_ref().map_or(0, |smmu| smmu.0);
        let own = |stream: &&StreamSection| number(stream) == u64::from(smmu.0);
        let ids = file.stream.iter().filter(own).map(|stream| stream.id.0);
        let bits = u64::BITS - ids.max().unwrap_or(0).leading_zeros();
        let stream_bits = bits.max(6);
        let nowhere = || match file.stream.iter().find(own) {
            Some(stream) => stream.id.span(),
            None => 0..0,
        };
        let no_room = |error| failed(error, nowhere());
        let streams = LinearStreamTable::new(stream_bits, &mut self.frames).map_err(no_room)?;
        let mut queue = || {
            let frames = self.frames.take(QUEUE_LOG2 as u32 + 5);
            frames.ok_or_else(|| no_room(smmu::tables::MapError::NoFrames))
        };
        let (commands, events) = (queue()?, queue()?);
        self.structures.push(Structures {
            streams,
            stream_bits,
            commands,
        });
        for stream in file.stream.iter().filter(own) {
            self.add_stream(smmu, stream)?;
        }
        self.write(smmu, "STRTAB_BASE", streams.strtab_base());
        self.write(smmu, "STRTAB_BASE_CFG", streams.strtab_base_cfg().into());
        self.write(smmu, "CR2", 0b10);
        self.write(smmu, "CMDQ_BASE", commands | QUEUE_LOG2);
        self.write(smmu, "EVENTQ_BASE", events | QUEUE_LOG2);
        let mut cr0 = 0b1101;
        for (name, value) in &section.registers {
            let name = register(name, value.span())?;
            if name == "CR0" {
                cr0 = value.0;
            } else {
                self.write(smmu, name, value.0);
            }
        }
        self.write(smmu, "CR0", cr0);
        Ok(())
    }

    fn write(&mut self, smmu: SmmuId, name: &str, value: u64) {
        if let Some(offset) = register_offset(name) {
            let width = register_width(offset).unwrap_or(Width::W32);
            self.board.mmio_write(smmu, offset, width, value);
        }
    }

    fn read(&self, smmu: SmmuId, name: &str) -> u64 {
        register_offset(name).map_or(0, |offset| {
            let width = register_width(offset).unwrap_or(Width::W32);
            self.board.smmu(smmu).mmio_read(offset, width)
        })
    }

    fn add_stream(&mut self, smmu: SmmuId, section: &StreamSection) -> Result<(), Diagnostic> {
        let id = section.id.0 as u32;
        if self.streams.insert(id, smmu).is_some() {
            let message = format!("two streams have StreamID {id:#x}");
            return Err(Diagnostic::new(message, section.id.span(), "the second"));
        }
        let mut ste = SteBuilder::bypass();
        let mut substreams = BTreeMap::new();
        for (key, name) in &section.substreams {
            let ssid = key.parse().ok().filter(|ssid: &u32| *ssid < 1 << 10);
            let ssid = ssid.ok_or_else(|| {
                let message = format!("{key:?} is no SubstreamID");
                Diagnostic::new(message, name.span(), "expected keys 0 to 1023")
            })?;
            substreams.insert(ssid, name.clone());
        }
        if substreams.is_empty() {
            if let Some(name) = &section.stage1 {
                ste = ste.with_stage1(self.tables.stage1(name)?.cd_at[0]);
            }
        } else {
            if let Some(name) = &section.stage1 {
                substreams.entry(0).or_insert_with(|| name.clone());
            }
            let ram = self.board.ram();
            let array = self.tables.cd_array(&substreams, ram, &mut self.frames);
            let (at, bits) = array?;
            ste = ste.with_stage1(at);
            // S1DSS: transactions without a substream use that of substream 0.
            ste.0.dw0 = ste.0.dw0.with_s1cdmax(bits);
            ste.0.dw1 = ste.0.dw1.with_s1dss(0b10);
        }
        if let Some(name) = &section.stage2 {
            let stage2 = self.tables.stage2(name)?;
            ste = ste.with_stage2(&stage2.table, Ps::Bits44, stage2.vmid);
        } else if let Some(stage2) = self.behind(section)? {
            // A guest's stage 1 without its stage 2 would be read at the wrong addresses.
            let name = section.stage1.as_ref().unwrap_or_else(|| {
                let first = section.substreams.values().next();
                first.expect("one of both is there")
            });
            let message = format!("{:?} lies inside {stage2:?}", name.as_str());
            return Err(Diagnostic::new(message, name.span(), "needs stage2, too"));
        }
        let mut words = ste.0.words();
        set_fields(&Ste::LAYOUT, &mut words, &section.ste)?;
        self.store_ste(smmu, id, &words);
        Ok(())
    }

    fn behind(&self, section: &StreamSection) -> Result<Option<String>, Diagnostic> {
        let names = section.stage1.iter().chain(section.substreams.values());
        for name in names {
            if let Space::Behind(stage2) = &self.tables.stage1(name)?.space {
                return Ok(Some(stage2.clone()));
            }
        }
        Ok(None)
    }

    fn ste_at(&self, smmu: SmmuId, id: u32) -> u64 {
        self.structures[smmu.0 as usize].streams.strtab_base() + u64::from(id) * 64
    }

    fn store_ste(&mut self, smmu: SmmuId, id: u32, words: &[u64; 8]) {
        let at = self.ste_at(smmu, id);
        let pa = smmu::addr::Pa::new(at);
        self.board.write_words(pa, words);
    }

    /// The SMMU of a stream, which need not have an STE of its own.
    pub(super) fn smmu_of(
        &self,
        stream: &Located<Number>,
    ) -> Result<(SmmuId, StreamId), Diagnostic> {
        let id = names::within(Some(stream), 0, 0..=u64::from(u32::MAX))? as u32;
        let smmu = self.streams.get(&id).copied().unwrap_or(SmmuId(0));
        Ok((smmu, StreamId::new(id)))
    }

    /// STEs of the streams that have one.
    pub(super) fn stes(&self) -> Vec<(u32, SmmuId, [u64; 8])> {
        let stes = self.streams.iter();
        stes.map(|(id, smmu)| {
            let words = read_words(self.board.ram(), self.ste_at(*smmu, *id));
            (*id, *smmu, words)
        })
        .collect()
    }

    /// `ste`.
    pub(super) fn change_ste(&mut self, change: &ChangeSte) -> Result<(), Diagnostic> {
        let (smmu, stream) = self.smmu_of(&change.stream)?;
        let bits = self.structures[smmu.0 as usize].stream_bits;
        if stream.get() >> bits != 0 {
            let message = format!("StreamID {stream} is beyond the stream table");
            let label = format!("the table has {bits} bits");
            return Err(Diagnostic::new(message, change.stream.span(), label));
        }
        let at = self.ste_at(smmu, stream.get());
        let mut words: [u64; 8] = read_words(self.board.ram(), at);
        set_fields(&Ste::LAYOUT, &mut words, &change.set)?;
        self.store_ste(smmu, stream.get(), &words);
        Ok(())
    }

    /// `map`, `unmap`, `rewrite`, `cd`: edits of tables.
    pub(super) fn edit(
        &mut self,
        work: impl FnOnce(&mut Tables, &smmu::mem::Ram, &mut Bump) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let ram = self.board.ram();
        work(&mut self.tables, ram, &mut self.frames)
    }

    fn number(&self, smmu: Option<&Located<Number>>) -> Result<SmmuId, Diagnostic> {
        let last = u64::from(self.board.smmus() - 1);
        names::within(smmu, 0, 0..=last).map(|index| SmmuId(index as u32))
    }

    /// `register`.
    pub(super) fn access_register(
        &mut self,
        access: &Register,
        seen: &mut Seen,
    ) -> Result<(), Diagnostic> {
        let smmu = self.number(access.smmu.as_ref())?;
        let name = register(&access.name, access.name.span())?;
        match &access.write {
            Some(value) => self.write(smmu, name, value.0),
            None => seen.value = Some(self.read(smmu, name)),
        }
        self.consume(smmu, seen);
        Ok(())
    }

    /// `command`.
    pub(super) fn queue_command(
        &mut self,
        command: &QueuedCommand,
        seen: &mut Seen,
    ) -> Result<(), Diagnostic> {
        let smmu = self.number(command.smmu.as_ref())?;
        let words = encode(command)?;
        let (prod, cons) = (self.read(smmu, "CMDQ_PROD"), self.read(smmu, "CMDQ_CONS"));
        let wrap = 1 << QUEUE_LOG2;
        let positions = 2 * wrap - 1;
        if (prod ^ cons) & positions == wrap {
            let message = "the command queue is full";
            return Err(
                Diagnostic::new(message, command.name.span(), "no room for this")
                    .help("the SMMU consumes nothing: is CR0.CMDQEN set, GERROR acknowledged?"),
            );
        }
        let at = self.structures[smmu.0 as usize].commands + (prod & (wrap - 1)) * 16;
        let pa = smmu::addr::Pa::new(at);
        self.board.write_words(pa, &words);
        self.write(smmu, "CMDQ_PROD", (prod + 1) & positions);
        self.consume(smmu, seen);
        Ok(())
    }

    /// The SMMU works off its queue.
    fn consume(&mut self, smmu: SmmuId, seen: &mut Seen) {
        for _ in 0..COMMANDS_MAX {
            let cons = self.read(smmu, "CMDQ_CONS");
            let at =
                self.structures[smmu.0 as usize].commands + (cons & ((1 << QUEUE_LOG2) - 1)) * 16;
            let [word] = read_words(self.board.ram(), at);
            match self.board.step_command(smmu) {
                CommandStep::Consumed { removed, .. } => {
                    let op = CmdOp((word & 0xff) as u8);
                    seen.commands.push(op.name().unwrap_or("reserved"));
                    seen.removed += removed;
                }
                CommandStep::Stopped(error) => {
                    seen.command_error = Some(error);
                    break;
                }
                CommandStep::Idle => break,
            }
        }
        let resolved = self.board.smmu_mut(smmu).take_resolved();
        if let Some(resolved) = resolved.into_iter().last() {
            seen.outcome = Some(resolved.outcome);
        }
    }
}

/// A register's name, as the model has it.
fn register(name: &str, span: super::source::Span) -> Result<&'static str, Diagnostic> {
    let known = names::chosen("register", name, span, register_names())?;
    Ok(register_names()
        .find(|other| *other == known)
        .expect("it is known"))
}

/// The command's words.
fn encode(command: &QueuedCommand) -> Result<[u64; 2], Diagnostic> {
    let name = command.name.strip_prefix("CMD_").unwrap_or(&command.name);
    let all: Vec<(CmdOp, &str)> = (0..=u8::MAX)
        .filter_map(|op| CmdOp(op).name().map(|name| (CmdOp(op), name)))
        .collect();
    let names = all.iter().map(|(_, name)| *name);
    let chosen = names::chosen("command", name, command.name.span(), names)?;
    let op = all
        .iter()
        .find(|(_, name)| *name == chosen)
        .expect("it is known")
        .0;
    let mut words = [u64::from(op.0), 0];
    if let Some(layout) = layout_of(op) {
        set_fields(layout, &mut words, &command.fields)?;
    } else if let Some(field) = command.fields.values().next() {
        let message = format!("{chosen} has no fields here");
        return Err(Diagnostic::new(
            message,
            field.span(),
            "not of this command",
        ));
    }
    Ok(words)
}

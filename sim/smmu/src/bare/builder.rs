//! What a [`BareMachine`] shall have, and what can be wrong with that.

use std::collections::BTreeMap;

use thiserror::Error;

use super::BareMachine;
use super::mappings::Mappings;
use super::site::Site;
use crate::addr::{Iova, Ipa, Pa};
use crate::cache::CacheConfig;
use crate::config::{ConfigError, SmmuConfig};
use crate::fault::{Cause, IllegalCd, IllegalSte, Stage};
use crate::ids::StreamId;
use crate::mem::{DryRun, PhysMem, Ram, RamError};
use crate::regfile::register_offset;
use crate::smmu::Smmu;
use crate::tables::MapError;
use crate::transaction::Transaction;

/// Why a machine cannot be built. Nothing but memory was touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no such part, or it has no such caches.
    #[error(transparent)]
    Part(#[from] ConfigError),
    /// There is no such memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// A stream was given twice.
    #[error("stream {0} is configured twice")]
    Twice(StreamId),
    /// More streams than the part has ASIDs or VMIDs for.
    #[error("{streams} streams: the part has ASIDs and VMIDs for {most}")]
    TooMany {
        /// How many.
        streams: usize,
        /// How many there can be.
        most: u16,
    },
    /// The part has fewer StreamID bits.
    #[error("stream {stream}: the part has StreamIDs of {sidsize} bits")]
    NoSuchStream {
        /// Which.
        stream: StreamId,
        /// IDR1.SIDSIZE.
        sidsize: u8,
    },
    /// The part lacks a stage.
    #[error("stream {stream}: the part has no {stage:?}")]
    NoSuchStage {
        /// Whose.
        stream: StreamId,
        /// Which.
        stage: Stage,
    },
    /// A range is empty, or does not fit the granule or the table.
    #[error("stream {stream}, {stage:?}: {source}")]
    Map {
        /// Whose.
        stream: StreamId,
        /// In which table.
        stage: Stage,
        /// What is wrong.
        source: MapError,
    },
    /// The part finds the STE illegal: a shape or an address size it does not have.
    #[error("stream {0}: the STE is illegal: {1:?}")]
    IllegalSte(StreamId, IllegalSte),
    /// The part finds the CD illegal.
    #[error("stream {0}: the CD is illegal: {1:?}")]
    IllegalCd(StreamId, IllegalCd),
    /// The area for tables is too small, or there is no memory.
    #[error("tables from {0} on: {1}")]
    Tables(Pa, MapError),
}

/// What a stream does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Streams {
    Bypass,
    Stage1(Mappings<Iova, Pa>),
    Stage2(Mappings<Ipa, Pa>),
    Nested(Mappings<Iova, Ipa>, Mappings<Ipa, Pa>),
}

/// A machine in the making; [`BareMachine::builder`] begins one.
///
/// Streams that are not named have an STE with V=0. Each stream has tables, an ASID and a VMID of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct MachineBuilder {
    part: SmmuConfig,
    caches: CacheConfig,
    memory: (Pa, u64),
    tables: (Pa, u64),
    guest_tables: Ipa,
    streams: Vec<(StreamId, Streams)>,
}

impl Default for MachineBuilder {
    fn default() -> Self {
        Self {
            part: SmmuConfig::full(),
            caches: CacheConfig::INFINITE,
            memory: (Pa::new(0x4000_0000), 1 << 30),
            tables: (Pa::new(0x4010_0000), 0x0ff0_0000),
            guest_tables: Ipa::new(0x1000_0000),
            streams: Vec::new(),
        }
    }
}

impl MachineBuilder {
    /// The part; [`SmmuConfig::full`] otherwise.
    pub fn part(mut self, part: SmmuConfig) -> Self {
        self.part = part;
        self
    }

    /// Its caches; otherwise they forget nothing until told to.
    pub fn caches(mut self, caches: CacheConfig) -> Self {
        self.caches = caches;
        self
    }

    /// Where memory is, in bytes; otherwise 1 GiB from 0x4000_0000 on. What devices are led to need
    /// not be memory.
    pub fn memory(mut self, base: Pa, bytes: u64) -> Self {
        self.memory = (base, bytes);
        self
    }

    /// Where in memory tables and queues go, in bytes; otherwise 255 MiB from 0x4010_0000 on.
    pub fn tables(mut self, base: Pa, bytes: u64) -> Self {
        self.tables = (base, bytes);
        self
    }

    /// Where guests have their stage-1 tables and CDs; otherwise from 0x1000_0000 on. What stage 2 does
    /// not map there is mapped to memory of its own.
    pub fn guest_tables(mut self, base: Ipa) -> Self {
        self.guest_tables = base;
        self
    }

    fn stream(mut self, stream: StreamId, what: Streams) -> Self {
        self.streams.push((stream, what));
        self
    }

    /// A stream whose addresses pass unchanged.
    pub fn bypass(self, stream: StreamId) -> Self {
        self.stream(stream, Streams::Bypass)
    }

    /// A stream with stage 1 alone, as a host's driver has it.
    pub fn stage1(self, stream: StreamId, mappings: Mappings<Iova, Pa>) -> Self {
        self.stream(stream, Streams::Stage1(mappings))
    }

    /// A stream with stage 2 alone: what the device says are IPAs, as an assigned device of a guest
    /// without an SMMU has it.
    pub fn stage2(self, stream: StreamId, mappings: Mappings<Ipa, Pa>) -> Self {
        self.stream(stream, Streams::Stage2(mappings))
    }

    /// A stream with both: the guest's stage 1 over the hypervisor's stage 2.
    pub fn nested(
        self,
        stream: StreamId,
        guest: Mappings<Iova, Ipa>,
        host: Mappings<Ipa, Pa>,
    ) -> Self {
        self.stream(stream, Streams::Nested(guest, host))
    }

    /// Builds memory and what is in it, and enables the SMMU.
    ///
    /// # Errors
    /// [`BuildError`] naming the stream and what is wrong.
    pub fn build(&self) -> Result<BareMachine, BuildError> {
        let (base, bytes) = self.memory;
        let ram = Ram::with_regions(&[(base.get(), bytes)])?;
        let smmu = self.build_in(&mut ram.port())?;
        Ok(BareMachine { smmu, ram })
    }

    /// Builds tables and queues in memory of any kind, which must read as zero where tables go, and
    /// returns the SMMU, enabled.
    ///
    /// # Errors
    /// [`BuildError`] naming the stream and what is wrong.
    pub fn build_in<M: PhysMem>(&self, memory: &mut M) -> Result<Smmu, BuildError> {
        let mut smmu = Smmu::with_caches(self.part.clone(), &self.caches)?;
        let streams = self.streams.len();
        let most = if self.part.asid16 && self.part.vmid16 {
            u16::MAX - 1
        } else {
            0xff
        };
        if streams > most.into() {
            return Err(BuildError::TooMany { streams, most });
        }
        let mut site = Site::new(&self.part, memory, self.tables, self.guest_tables);
        let mut entries = BTreeMap::new();
        for ((stream, what), number) in self.streams.iter().zip(1u16..) {
            let (stream, sidsize) = (*stream, self.part.sidsize);
            if u64::from(stream.get()) >> sidsize != 0 {
                return Err(BuildError::NoSuchStream { stream, sidsize });
            }
            if entries.contains_key(&stream) {
                return Err(BuildError::Twice(stream));
            }
            entries.insert(stream, site.configure(stream, what, number)?);
        }
        let registers = site
            .structures(&entries)
            .map_err(|error| BuildError::Tables(self.tables.0, error))?;
        for (name, width, value) in registers {
            if let Some(offset) = register_offset(name) {
                smmu.mmio_write(offset, width, value);
            }
        }
        self.check(&smmu, memory)?;
        Ok(smmu)
    }

    /// Asks the part what it makes of each stream.
    fn check<M: PhysMem>(&self, smmu: &Smmu, memory: &mut M) -> Result<(), BuildError> {
        for (stream, _) in &self.streams {
            let transaction = Transaction::read(*stream, Iova::new(0));
            let mut memory = DryRun::new(memory);
            let outcome = smmu.translate_cold(&mut memory, &transaction, &mut ());
            match outcome.fault().map(|fault| fault.cause) {
                Some(Cause::BadSte(rules)) => return Err(BuildError::IllegalSte(*stream, rules)),
                Some(Cause::BadCd(rules)) => return Err(BuildError::IllegalCd(*stream, rules)),
                _ => {}
            }
        }
        Ok(())
    }
}

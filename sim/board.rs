//! The hardware under the Linux driver: SMMUs with caches, RAM with an allocator of table pages,
//! and endpoints with ATCs. What [`arm_smmu_v3::Driver`] stands on.

mod deeds;

use std::collections::BTreeMap;

use arm_smmu_v3::{AtsState, Command, Platform, SmmuId};
use iommu_core::{Control, Errno};
use smmu::addr::{Iova, Pa};
use smmu::ats::{Atc, TranslationCompletion, TranslationRequest};
use smmu::cache::{CacheConfig, CacheError};
use smmu::command::{AtcInvalidation, PriResponse};
use smmu::config::{ConfigError, SmmuConfig};
use smmu::ids::StreamId;
use smmu::mem::{AbortInjector, AbortRule, AccessClass, PhysMem, Ram, RamError};
use smmu::observe::Observer;
use smmu::regfile::Width;
use smmu::sanitize::{Finding, Sanitizer, SanitizerConfig};
use smmu::{AtcReply, CommandStep, Endpoints, Outcome, Smmu, Transaction};
use thiserror::Error;

use deeds::Deeds;
pub use deeds::{Deed, Moment};

/// Why there can be no such board.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BoardError {
    /// An SMMU or its caches.
    #[error(transparent)]
    Smmu(#[from] ConfigError),
    /// Memory.
    #[error(transparent)]
    Ram(#[from] RamError),
}

/// What is on a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardConfig {
    /// The SMMUs, by number.
    pub smmus: Vec<SmmuConfig>,
    /// Their caches.
    pub caches: CacheConfig,
    /// Where tables and queues are allocated: base and size in bytes. Whole pages.
    pub tables: (u64, u64),
    /// Further RAM.
    pub ram: Vec<(u64, u64)>,
}

impl BoardConfig {
    /// SMMUs whose caches forget nothing until told to, and 64 GiB for tables from 1 TiB on.
    pub fn new(smmus: Vec<SmmuConfig>) -> Self {
        Self {
            smmus,
            caches: CacheConfig::INFINITE,
            tables: (1 << 40, 1 << 36),
            ram: Vec::new(),
        }
    }
}

/// Translations an endpoint can hold.
const ATC_ENTRIES: usize = 1024;
/// Commands an SMMU consumes in one go: more than any queue holds.
const COMMANDS: u64 = 1 << 20;

/// Endpoints behind one SMMU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Behind {
    ats: BTreeMap<StreamId, AtsState>,
    atcs: BTreeMap<StreamId, Atc>,
    /// Invalidations go unanswered.
    mute: bool,
}

impl Endpoints for Behind {
    fn invalidate_atc(&mut self, invalidation: &AtcInvalidation) -> AtcReply {
        if self.mute {
            return AtcReply::Timeout;
        }
        if let Some(atc) = self.atcs.get_mut(&invalidation.stream) {
            atc.invalidate(invalidation);
        }
        AtcReply::Complete
    }

    fn respond_to_page_request(&mut self, _: &PriResponse) {}
}

/// Gives out pages by size, lowest address first, last freed first. Freed memory is zeroed.
///
/// Where something was put is history, not state: allocators with as much in use are equal.
#[derive(Debug, Clone)]
struct Allocator {
    next: u64,
    end: u64,
    free: BTreeMap<u64, Vec<u64>>,
    used_bytes: u64,
}

impl PartialEq for Allocator {
    fn eq(&self, other: &Self) -> bool {
        self.used_bytes == other.used_bytes
    }
}

/// Smallest unit of allocation.
const PAGE: u64 = 4096;

impl Allocator {
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let size = bytes.next_power_of_two().max(PAGE);
        let returned = self.free.get_mut(&size).and_then(Vec::pop);
        let at = if let Some(at) = returned {
            at
        } else {
            let at = self.next.next_multiple_of(size);
            if at.checked_add(size)? > self.end {
                return None;
            }
            self.next = at + size;
            at
        };
        self.used_bytes += size;
        Some(at)
    }

    fn give_back(&mut self, at: u64, bytes: u64) {
        let size = bytes.next_power_of_two().max(PAGE);
        self.used_bytes -= size;
        self.free.entry(size).or_default().push(at);
    }
}

/// Commands the driver issued. History, not state: any two are equal.
#[derive(Debug, Clone, Default)]
struct Issued {
    keep: bool,
    commands: Vec<(SmmuId, Command)>,
}

impl PartialEq for Issued {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Whether a [`Board`] keeps the commands the driver issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandLog {
    /// It counts nothing and keeps nothing.
    Off,
    /// It keeps all.
    On,
}

/// An SMMU, with or without somebody who watches its driver.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Alone(Box<Smmu>),
    Watched(Box<Sanitizer>),
}

impl Part {
    fn smmu(&self) -> &Smmu {
        match self {
            Self::Alone(smmu) => smmu,
            Self::Watched(sanitizer) => sanitizer.smmu(),
        }
    }

    fn smmu_mut(&mut self) -> &mut Smmu {
        match self {
            Self::Alone(smmu) => smmu,
            Self::Watched(sanitizer) => sanitizer.smmu_mut(),
        }
    }
}

/// The hardware.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    control: Control,
    ram: Ram,
    smmus: Vec<Part>,
    behind: Vec<Behind>,
    allocator: Allocator,
    issued: Issued,
    deeds: Deeds,
}

impl Board {
    /// A board after reset.
    ///
    /// # Errors
    /// [`BoardError`] if a part or the memory map cannot exist.
    pub fn new(control: Control, config: &BoardConfig) -> Result<Self, BoardError> {
        let mut regions = config.ram.clone();
        regions.push(config.tables);
        let (base, size) = config.tables;
        let smmus = config
            .smmus
            .iter()
            .map(|part| {
                let smmu = Smmu::with_caches(part.clone(), &config.caches)?;
                Ok(Part::Alone(Box::new(smmu)))
            })
            .collect::<Result<Vec<_>, ConfigError>>()?;
        Ok(Self {
            control,
            ram: Ram::with_regions(&regions)?,
            behind: vec![Behind::default(); smmus.len()],
            smmus,
            allocator: Allocator {
                next: base,
                end: base + size,
                free: BTreeMap::new(),
                used_bytes: 0,
            },
            issued: Issued::default(),
            deeds: Deeds::default(),
        })
    }

    /// Memory.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// An SMMU.
    pub fn smmu(&self, smmu: SmmuId) -> &Smmu {
        self.smmus[smmu.0 as usize].smmu()
    }

    /// An SMMU, for calls that no sanitizer watches.
    pub fn smmu_mut(&mut self, smmu: SmmuId) -> &mut Smmu {
        self.smmus[smmu.0 as usize].smmu_mut()
    }

    /// Number of SMMUs.
    pub fn smmus(&self) -> u32 {
        self.smmus.len() as u32
    }

    /// Puts a sanitizer before every SMMU; what caches hold already has no known origin.
    ///
    /// # Errors
    /// [`CacheError`] if there can be no such shadow.
    pub fn watch(&mut self, config: &SanitizerConfig) -> Result<(), CacheError> {
        for part in &mut self.smmus {
            let sanitizer = Sanitizer::new(part.smmu().clone(), config)?;
            *part = Part::Watched(Box::new(sanitizer));
        }
        Ok(())
    }

    /// What the sanitizers have found since the last call, SMMU by SMMU.
    pub fn take_findings(&mut self) -> Vec<(SmmuId, Finding)> {
        let mut findings = Vec::new();
        for (id, part) in (0..).map(SmmuId).zip(&mut self.smmus) {
            if let Part::Watched(sanitizer) = part {
                let found = sanitizer.take_findings();
                findings.extend(found.into_iter().map(|finding| (id, finding)));
            }
        }
        findings
    }

    /// An SMMU consumes a command of its queue.
    pub fn step_command(&mut self, smmu: SmmuId) -> CommandStep {
        let at = smmu.0 as usize;
        let (port, behind) = (&mut self.ram.port(), &mut self.behind[at]);
        match &mut self.smmus[at] {
            Part::Alone(part) => part.step_command(port, behind),
            Part::Watched(sanitizer) => sanitizer.step_command(port, behind),
        }
    }

    /// Bytes the driver has allocated and not freed, in whole pages.
    pub fn used_bytes(&self) -> u64 {
        self.allocator.used_bytes
    }

    /// Starts or stops keeping commands; what was kept is dropped.
    pub fn log_commands(&mut self, log: CommandLog) {
        self.issued = Issued {
            keep: log == CommandLog::On,
            commands: Vec::new(),
        };
    }

    /// The commands kept since the last call, in order.
    pub fn take_commands(&mut self) -> Vec<(SmmuId, Command)> {
        std::mem::take(&mut self.issued.commands)
    }

    /// What the driver did while the journal was on, in order. A deed after three calls was done within
    /// the fourth to return, or one that returned later.
    pub fn take_deeds(&mut self) -> Vec<(Moment, Deed)> {
        std::mem::take(&mut self.deeds.list)
    }

    fn note_deed(&mut self, deed: Deed) {
        if self.control.journal.is_on() {
            let moment = Moment {
                calls: self.control.journal.calls().len(),
                failures: self.control.journal.failures().len(),
            };
            self.deeds.list.push((moment, deed));
        }
    }

    /// A device's untranslated access, through the SMMU's caches.
    pub fn access(&mut self, smmu: SmmuId, transaction: &Transaction) -> Outcome {
        let at = smmu.0 as usize;
        match &mut self.smmus[at] {
            Part::Alone(part) => part.translate(&mut self.ram.port(), transaction, &mut ()),
            Part::Watched(sanitizer) => {
                sanitizer.translate(&mut self.ram.port(), transaction, &mut ())
            }
        }
    }

    /// The same with somebody who sees each access to memory, of which `aborts` are refused.
    pub fn access_observed(
        &mut self,
        smmu: SmmuId,
        transaction: &Transaction,
        aborts: impl IntoIterator<Item = AbortRule>,
        observer: &mut impl Observer,
    ) -> Outcome {
        let at = smmu.0 as usize;
        let mut memory = AbortInjector::new(self.ram.port(), aborts);
        match &mut self.smmus[at] {
            Part::Alone(part) => part.translate(&mut memory, transaction, observer),
            Part::Watched(sanitizer) => sanitizer.translate(&mut memory, transaction, observer),
        }
    }

    /// Where a device with ATS reads: by its ATC if it holds the address, else by asking. `None`
    /// if ATS is off or nothing is granted.
    pub fn read_by_ats(&mut self, smmu: SmmuId, stream: StreamId, address: Iova) -> Option<Pa> {
        let at = smmu.0 as usize;
        if self.behind[at].ats.get(&stream) != Some(&AtsState::Enabled) {
            return None;
        }
        let atc = self.behind[at]
            .atcs
            .entry(stream)
            .or_insert_with(|| Atc::new(stream, ATC_ENTRIES));
        if let Some(entry) = atc.lookup(None, address.get()) {
            return Some(Pa::new(entry.translate(address.get())));
        }
        let request = TranslationRequest {
            stream,
            substream: None,
            address,
            no_write: false,
            execute: false,
            privileged: false,
            stu_log2: 12,
        };
        let mut memory = self.ram.port();
        let answer = match &mut self.smmus[at] {
            Part::Alone(part) => part.ats_translate(&mut memory, &request, &mut ()),
            Part::Watched(sanitizer) => sanitizer.ats_translate(&mut memory, &request, &mut ()),
        };
        let TranslationCompletion::Success(translation) = answer else {
            return None;
        };
        atc.insert(None, address.get(), translation);
        let entry = atc.lookup(None, address.get())?;
        Some(Pa::new(entry.translate(address.get())))
    }

    /// From now on no endpoint behind an SMMU answers an invalidation.
    pub fn mute_endpoints(&mut self, smmu: SmmuId) {
        self.behind[smmu.0 as usize].mute = true;
    }
}

impl Platform for Board {
    fn control(&self) -> &Control {
        &self.control
    }

    fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64 {
        self.smmu(smmu).mmio_read(offset, width)
    }

    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64) {
        self.smmu_mut(smmu).mmio_write(offset, width, value);
    }

    fn relax(&mut self, smmu: SmmuId) {
        let at = smmu.0 as usize;
        let (port, behind) = (&mut self.ram.port(), &mut self.behind[at]);
        match &mut self.smmus[at] {
            Part::Alone(part) => part.run_until_idle(port, behind, COMMANDS),
            Part::Watched(sanitizer) => sanitizer.run_until_idle(port, behind, COMMANDS),
        };
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.allocator.take(bytes).map(Pa::new)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        let mut port = self.ram.port();
        for offset in (0..bytes).step_by(8) {
            // What was never written need not be written now.
            if port.read64(pa.add(offset), CLASS) != Ok(0) {
                let _outside = port.write64(pa.add(offset), 0, CLASS);
            }
        }
        self.allocator.give_back(pa.get(), bytes);
    }

    fn load(&self, pa: Pa) -> u64 {
        // Outside RAM the bus answers with ones.
        self.ram.port().read64(pa, CLASS).unwrap_or(u64::MAX)
    }

    fn store(&mut self, pa: Pa, value: u64) {
        self.note_deed(Deed::Store { pa, value });
        let _outside = self.ram.port().write64(pa, value, CLASS);
    }

    fn fill(&mut self, pa: Pa, value: u64) -> u64 {
        let mut port = self.ram.port();
        let old = port.read64(pa, CLASS).unwrap_or(u64::MAX);
        if old == 0 {
            let _outside = port.write64(pa, value, CLASS);
            self.note_deed(Deed::Store { pa, value });
        }
        old
    }

    fn read_words(&self, pa: Pa, words: &mut [u64]) {
        let mut port = self.ram.port();
        for (offset, word) in (0..).step_by(8).zip(words) {
            *word = port.read64(pa.add(offset), CLASS).unwrap_or(u64::MAX);
        }
    }

    fn write_words(&mut self, pa: Pa, words: &[u64]) {
        if self.control.journal.is_on() {
            for (offset, &value) in (0..).step_by(8).zip(words) {
                let pa = pa.add(offset);
                self.note_deed(Deed::Store { pa, value });
            }
        }
        let mut port = self.ram.port();
        for (offset, &word) in (0..).step_by(8).zip(words) {
            let _outside = port.write64(pa.add(offset), word, CLASS);
        }
    }

    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno> {
        self.behind[smmu.0 as usize].ats.insert(stream, state);
        Ok(())
    }

    fn issued(&mut self, smmu: SmmuId, command: Command) {
        self.note_deed(Deed::Command { smmu, command });
        if self.issued.keep {
            self.issued.commands.push((smmu, command));
        }
    }
}

/// The CPU's accesses have no class of their own.
const CLASS: AccessClass = AccessClass::Stage1;

//! What a machine looks like from outside: STEs as they are in memory, what devices reach through
//! the SMMU, what is pinned, charged and allocated.

use arm_smmu_v3::SmmuId;
use serde::Serialize;
use smmu::addr::Iova;
use smmu::ids::StreamId;
use smmu::mem::DryRun;
use smmu::spec::attrs::SteConfig;
use smmu::spec::event::EventId;
use smmu::spec::ste::Ste;
use smmu::{Outcome, Transaction};

use super::guest::{PAGE, PROBES, RANGES};
use super::op::{MAPPINGS, Table};
use super::shared::Held;
use super::world::World;

/// What an STE in memory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SteState {
    /// There is none.
    Missing,
    /// V=0.
    Invalid,
    /// Every transaction is aborted.
    Abort,
    /// Every transaction passes.
    Bypass,
    /// The host's own stage 1.
    Host,
    /// Stage 2 only.
    Stage2,
    /// The guest's table over stage 2.
    Guest(GuestTable),
    /// A reserved configuration.
    Reserved,
}

/// Which table S1ContextPtr is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum GuestTable {
    /// One of the guest's.
    Known(TableName),
    /// Somewhere else.
    At(u64),
}

/// Name of a table, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TableName {
    /// T.
    T,
    /// U.
    U,
}

impl SteState {
    /// What an STE says, and S2VMID where stage 2 translates.
    pub(super) fn of(words: [u64; 8]) -> (Self, Option<u16>) {
        let ste = Ste::from_words(words);
        if !ste.dw0.v() {
            return (Self::Invalid, None);
        }
        let vmid = Some(ste.dw2.s2vmid());
        match ste.dw0.config() {
            SteConfig::Abort => (Self::Abort, None),
            SteConfig::Bypass => (Self::Bypass, None),
            SteConfig::Stage1 => (Self::Host, None),
            SteConfig::Stage2 => (Self::Stage2, vmid),
            SteConfig::Nested => {
                let at = ste.dw0.s1contextptr() << 6;
                let table = if at == Table::T.base_ptr() {
                    GuestTable::Known(TableName::T)
                } else if at == Table::U.base_ptr() {
                    GuestTable::Known(TableName::U)
                } else {
                    GuestTable::At(at)
                };
                (Self::Guest(table), vmid)
            }
            _ => (Self::Reserved, None),
        }
    }

    /// In words.
    pub fn words(self) -> String {
        match self {
            Self::Missing => "no STE".into(),
            Self::Invalid => "invalid".into(),
            Self::Abort => "abort".into(),
            Self::Bypass => "bypass".into(),
            Self::Host => "host's own".into(),
            Self::Stage2 => "stage 2 only".into(),
            Self::Guest(GuestTable::Known(name)) => format!("table {name:?}"),
            Self::Guest(GuestTable::At(at)) => format!("table at {at:#x}"),
            Self::Reserved => "reserved".into(),
        }
    }
}

/// Where a device's read ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// A page of the guest's memory, by its place in it.
    Page(u64),
    /// Another physical address.
    Elsewhere(u64),
    /// Aborted without an event.
    Aborted,
    /// A fault with this event.
    Fault(u8),
}

impl Reach {
    /// Whether memory is reached.
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Page(_) | Self::Elsewhere(_))
    }

    /// In words.
    pub fn words(self) -> String {
        match self {
            Self::Page(page) => super::guest::page_name(page),
            Self::Elsewhere(pa) => format!("physical {pa:#x}"),
            Self::Aborted => "aborted".into(),
            Self::Fault(event) => format!("{:?}", EventId(event)),
        }
    }
}

/// A device's stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StreamView {
    /// Its group.
    pub group: usize,
    /// Its SMMU.
    pub smmu: u32,
    /// Its StreamID.
    pub stream: u32,
    /// Its STE.
    pub ste: SteState,
    /// S2VMID of the STE, where stage 2 translates.
    pub vmid: Option<u16>,
    /// What it reaches at each probed address.
    pub reach: [Reach; 2],
    /// What it would reach if nothing were cached.
    pub cold: [Reach; 2],
}

/// A domain of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DomainView {
    /// Its SMMU.
    pub smmu: u32,
    /// Its groups, newest first.
    pub groups: Vec<usize>,
    /// State of its devices' STEs, each once.
    pub states: Vec<SteState>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainerView {
    /// Its domains, newest first.
    pub domains: Vec<DomainView>,
    /// Its mappings.
    pub mappings: Vec<usize>,
}

/// What could leak.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Resources {
    /// Pinned pages.
    pub pins: u64,
    /// Pages charged to the process.
    pub locked_pages: u64,
    /// Bytes of tables the driver has.
    pub table_bytes: u64,
    /// VMIDs in use, by SMMU.
    pub vmids: Vec<u32>,
    /// ASIDs in use.
    pub asids: u32,
    /// Domains.
    pub domains: usize,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct View {
    /// Containers.
    pub containers: Vec<ContainerView>,
    /// Streams.
    pub streams: Vec<StreamView>,
    /// What could leak.
    pub resources: Resources,
    /// Pages the mappings of all containers have, each as often as it is mapped.
    pub mapped_pages: u64,
}

impl World {
    /// Looks at the machine without changing it.
    pub fn view(&self) -> View {
        let containers: Vec<ContainerView> = match &self.shared {
            None => self
                .containers
                .iter()
                .map(|fd| self.container(*fd))
                .collect(),
            Some(_) => self.shared_containers(),
        };
        let space = self.shared.as_ref().map(|shared| shared.space);
        let holders = space.map_or_else(|| self.containers.clone(), |space| vec![space]);
        let mapped_pages = holders
            .iter()
            .filter_map(|fd| self.type1(*fd))
            .flat_map(vfio_type1::Type1::mappings)
            .map(|(_, dma)| dma.size() / PAGE)
            .sum();
        View {
            containers,
            streams: self.stream_views(),
            resources: self.resources(),
            mapped_pages,
        }
    }

    /// How many translations each SMMU's caches hold: what sleeps there may matter later.
    pub(super) fn cached(&self) -> Vec<usize> {
        let smmus = self.groups.iter().map(|group| group.smmu).max();
        let count = |smmu| self.smmu(SmmuId(smmu)).cached_translations().count();
        (0..smmus.map_or(0, |last| last + 1)).map(count).collect()
    }

    /// What could leak, alone.
    pub fn resources(&self) -> Resources {
        let core = self.vfio.core();
        let driver = core.ops();
        let smmus = self.groups.iter().map(|group| group.smmu).max();
        Resources {
            pins: self.vfio.host().pins().count(),
            locked_pages: self.vfio.host().process(self.pid).locked_pages(),
            table_bytes: driver.platform().used_bytes(),
            vmids: (0..smmus.map_or(0, |last| last + 1))
                .map(|smmu| driver.vmids_in_use(SmmuId(smmu)))
                .collect(),
            asids: driver.asids_in_use(),
            domains: core.domains().count(),
        }
    }

    fn stream_views(&self) -> Vec<StreamView> {
        let mut views = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            for function in 0..group.devices.len() as u32 {
                let stream = super::Layout::stream(index, function);
                let (ste, vmid) = self.ste(SmmuId(group.smmu), StreamId::new(stream));
                let (reach, cold) = self.reach(SmmuId(group.smmu), StreamId::new(stream));
                views.push(StreamView {
                    group: index,
                    smmu: group.smmu,
                    stream,
                    ste,
                    vmid,
                    reach,
                    cold,
                });
            }
        }
        views
    }

    fn ste(&self, smmu: SmmuId, stream: StreamId) -> (SteState, Option<u16>) {
        let found = self.ste_words(smmu, stream);
        found.map_or((SteState::Missing, None), |(_, words)| SteState::of(words))
    }

    fn reach(&self, smmu: SmmuId, stream: StreamId) -> ([Reach; 2], [Reach; 2]) {
        let board = self.vfio.core().ops().platform();
        let mut port = board.ram().port();
        let mut memory = DryRun::new(&mut port);
        // A copy is asked: looking fills no cache.
        let mut part = self.smmu(smmu).clone();
        let reads = PROBES.map(|probe| Transaction::read(stream, Iova::new(probe)));
        let warm = reads.map(|read| self.place(&part.translate(&mut memory, &read, &mut ())));
        let cold = reads.map(|read| self.place(&part.translate_cold(&mut memory, &read, &mut ())));
        (warm, cold)
    }

    fn place(&self, outcome: &Outcome) -> Reach {
        if let Some(pa) = outcome.pa() {
            let page = pa.get() & !(PAGE - 1);
            let known = self.frames.iter().position(|frame| frame.0 == page);
            return known.map_or(Reach::Elsewhere(page), |at| Reach::Page(at as u64));
        }
        match outcome.fault() {
            Some(fault) => Reach::Fault(fault.cause.event_id().0),
            None => Reach::Aborted,
        }
    }

    fn states(&self, groups: &[usize]) -> Vec<SteState> {
        let mut states: Vec<SteState> = groups
            .iter()
            .flat_map(|group| {
                let devices = self.groups[*group].devices.len() as u32;
                (0..devices).map(|function| {
                    let stream = StreamId::new(super::Layout::stream(*group, function));
                    self.ste(SmmuId(self.groups[*group].smmu), stream).0
                })
            })
            .collect();
        states.sort_unstable();
        states.dedup();
        states
    }

    fn container(&self, fd: i32) -> ContainerView {
        let Some(type1) = self.type1(fd) else {
            return ContainerView {
                domains: vec![],
                mappings: vec![],
            };
        };
        let number = |id| self.groups.iter().position(|group| group.group == id);
        let domains = type1.domains().map(|(_, members)| {
            let groups: Vec<usize> = members.into_iter().filter_map(number).collect();
            DomainView {
                smmu: groups.first().map_or(0, |group| self.groups[*group].smmu),
                states: self.states(&groups),
                groups,
            }
        });
        let mapped: Vec<u64> = type1.mappings().map(|(iova, _)| iova).collect();
        ContainerView {
            domains: domains.collect(),
            mappings: (0..MAPPINGS)
                .filter(|mapping| mapped.contains(&RANGES[*mapping].iova))
                .collect(),
        }
    }

    fn shared_containers(&self) -> Vec<ContainerView> {
        let shared = self
            .shared
            .as_ref()
            .map_or(&[][..], |shared| &shared.containers);
        let view = |container: &super::shared::SharedContainer| ContainerView {
            domains: container
                .domains
                .iter()
                .map(|domain| DomainView {
                    smmu: domain.smmu,
                    groups: domain.groups.clone(),
                    states: self.states(&domain.groups),
                })
                .collect(),
            mappings: (0..MAPPINGS)
                .filter(|mapping| container.mappings[*mapping] == Held::Yes)
                .collect(),
        };
        shared.iter().map(view).collect()
    }
}

impl View {
    /// The container a group is in.
    pub fn container_of(&self, group: usize) -> Option<usize> {
        self.containers.iter().position(|container| {
            let mut domains = container.domains.iter();
            domains.any(|domain| domain.groups.contains(&group))
        })
    }
}

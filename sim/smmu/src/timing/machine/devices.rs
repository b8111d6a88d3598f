//! Devices with ATS as the machine knows them: their ATCs, what they have asked for, their links, and
//! what each of their transactions needs beside its flight.

use std::collections::{BTreeMap, VecDeque};

use super::super::config::{Ats, TimingConfig, UseOfAts};
use super::super::resource::{Pipe, Slots, Usage};
use super::super::scheduler::{Cycle, Sleeper};
use super::super::statistics::AtsCounts;
use super::{STREAMS, shape};
use crate::ats::{TranslationCompletion, TranslationRequest};
use crate::cache::{AtcArray, Geometry};
use crate::command::AtcInvalidation;
use crate::ids::{StreamId, SubstreamId};
use crate::spec::event::Event;
use crate::transaction::Transaction;

/// Invalidations that a device remembers; a request older than the oldest of them is made anew.
const REMEMBERED: usize = 256;

/// As what a transaction is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    /// As it is.
    Untranslated,
    /// As the translation request that precedes it.
    Request,
    /// With the address that the device was told.
    Translated,
    /// It never left the device.
    Ended,
}

/// What a transaction of a device with ATS needs beside its flight, whose `arrival` is what the SMMU
/// sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    /// Place of its device.
    pub(super) device: u32,
    /// The access as the device wants it.
    pub(super) wanted: Transaction,
    /// As it is sent translated.
    pub(super) translated: Transaction,
    /// What its request is answered, and the event that is recorded with it.
    pub(super) answer: (TranslationCompletion, Option<Event>),
    /// Another's request was answered for it too: it is not to be made.
    pub(super) denied: bool,
    /// Its configuration was not found whole, and its address is intermediate.
    pub(super) second_stage: bool,
    /// Invalidations its device had carried out when it asked.
    pub(super) began: u64,
    /// Bit n: invalidation n waits for it.
    pub(super) in_the_way_of: u32,
}

/// A miss that later ones of the same unit wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtcMiss {
    pub(super) leader: Sleeper,
    pub(super) substream: Option<SubstreamId>,
    /// Number of the smallest translation unit.
    pub(super) unit: u64,
    pub(super) waiters: Vec<Sleeper>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) stream: StreamId,
    /// No request of its was answered as unsupported.
    pub(super) uses_ats: bool,
    pub(super) atc: AtcArray,
    pub(super) look_up: Pipe,
    pub(super) requests: Slots,
    /// Bounded by the transactions in flight.
    pub(super) misses: Vec<AtcMiss>,
    /// Invalidations carried out so far.
    pub(super) sequence: u64,
    log: VecDeque<AtcInvalidation>,
}

impl Device {
    /// Forgets what an invalidation names. Gives the number of entries.
    pub(super) fn invalidate(&mut self, invalidation: &AtcInvalidation) -> u64 {
        self.sequence += 1;
        if self.log.len() == REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back(*invalidation);
        self.atc.invalidate(invalidation)
    }

    /// Whether an invalidation that came after the first `began` names an address of a range.
    pub(super) fn is_overtaken(
        &self,
        began: u64,
        substream: Option<SubstreamId>,
        (input, size_log2): (u64, u8),
    ) -> bool {
        let count = (self.sequence - began) as usize;
        let Some(skipped) = self.log.len().checked_sub(count) else {
            return true;
        };
        let mut since = self.log.iter().skip(skipped);
        since.any(|invalidation| invalidation.meets(substream, input, size_log2))
    }
}

/// Messages between the devices of one TBU and the SMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtsLink {
    pub(super) up: Pipe,
    pub(super) down: Pipe,
}

/// How far an invalidation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way to the device.
    ToDevice,
    /// Its entries are gone; the device looks for uses.
    Matching,
    /// Transactions still use what it names.
    InUse,
    /// Its completion is on its way back.
    ToSmmu,
}

/// An invalidation that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) what: AtcInvalidation,
    pub(super) stage: Stage,
    /// Transactions it waits for.
    pub(super) awaited: u32,
    pub(super) since: Cycle,
    /// Which command it is.
    pub(super) index: u64,
}

/// All devices.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Devices {
    pub(super) config: Ats,
    geometry: Geometry,
    places: BTreeMap<StreamId, u32>,
    pub(super) all: Vec<Device>,
    /// Beside the machine's flights.
    pub(super) passages: Vec<Passage>,
    /// One a TBU.
    pub(super) links: Vec<AtsLink>,
    pub(super) invalidation_slots: Slots,
    pub(super) invalidations: Vec<Option<Sent>>,
    pub(super) counts: AtsCounts,
}

impl Devices {
    pub(super) fn new(config: &TimingConfig) -> Self {
        let ats = &config.ats;
        let link = AtsLink {
            up: Pipe::new(1),
            down: Pipe::new(1),
        };
        Self {
            geometry: atc_shape(config),
            places: BTreeMap::new(),
            all: Vec::new(),
            passages: Vec::new(),
            links: vec![link; config.tbu.count as usize],
            invalidation_slots: Slots::new(ats.invalidations),
            invalidations: vec![None; ats.invalidations as usize],
            counts: AtsCounts::default(),
            config: ats.clone(),
        }
    }

    /// Whether devices use ATS.
    #[inline(always)]
    pub(super) fn are_on(&self) -> bool {
        self.config.enabled == UseOfAts::On
    }

    /// The device of a stream, if it has sent something and is one of those that are told apart.
    pub(super) fn find(&self, stream: StreamId) -> Option<u32> {
        self.places.get(&stream).copied()
    }

    /// The device of a stream, new if need be; further ones than are told apart have no ATS.
    fn device(&mut self, stream: StreamId) -> Option<u32> {
        if let Some(place) = self.find(stream) {
            return Some(place);
        }
        if self.all.len() >= STREAMS {
            return None;
        }
        let place = self.all.len() as u32;
        self.all.push(Device {
            stream,
            uses_ats: true,
            atc: AtcArray::new(&self.geometry),
            look_up: Pipe::new(self.config.lookups),
            requests: Slots::new(self.config.requests),
            misses: Vec::new(),
            sequence: 0,
            log: VecDeque::new(),
        });
        self.places.insert(stream, place);
        Some(place)
    }

    /// A device has an access to make. Whether it uses ATS.
    pub(super) fn board(&mut self, id: u32, wanted: Transaction) -> bool {
        let Some(device) = self.device(wanted.stream) else {
            return false;
        };
        let passage = Passage {
            device,
            wanted,
            translated: wanted,
            answer: (TranslationCompletion::UnsupportedRequest, None),
            denied: false,
            second_stage: false,
            began: 0,
            in_the_way_of: 0,
        };
        let place = id as usize;
        if place >= self.passages.len() {
            self.passages.resize(place + 1, passage.clone());
        }
        self.passages[place] = passage;
        self.all[device as usize].uses_ats
    }

    /// A transaction's device and the access it wants.
    pub(super) fn of(&mut self, id: u32) -> (&mut Device, &Transaction) {
        let Passage { device, wanted, .. } = &self.passages[id as usize];
        (&mut self.all[*device as usize], wanted)
    }

    /// The use of ATCs and requests, all devices together, of links and of invalidations.
    pub(super) fn usage(&self, now: Cycle, mut add: impl FnMut(String, u32, Usage)) {
        let (mut atc, mut requests) = (Usage::default(), Usage::default());
        for device in &self.all {
            atc.merge(&device.look_up.usage());
            requests.merge(&device.requests.usage(now));
        }
        add("ats.atc".into(), self.config.lookups, atc);
        add("ats.requests".into(), self.config.requests, requests);
        for (number, link) in self.links.iter().enumerate() {
            add(format!("ats{number}.link_up"), 1, link.up.usage());
            add(format!("ats{number}.link_down"), 1, link.down.usage());
        }
        let usage = self.invalidation_slots.usage(now);
        add("ats.invalidations".into(), self.config.invalidations, usage);
    }

    /// What a device asks before it can make an access.
    pub(super) fn request(&self, id: u32) -> TranslationRequest {
        let wanted = &self.passages[id as usize].wanted;
        TranslationRequest::before(wanted, self.config.stu_log2 as u8)
    }
}

/// The shape of an ATC.
pub(super) fn atc_shape(config: &TimingConfig) -> Geometry {
    let Ats {
        entries,
        ways,
        policy,
        index,
        ..
    } = config.ats;
    shape(entries, ways, policy, index, config.memory.seed)
}

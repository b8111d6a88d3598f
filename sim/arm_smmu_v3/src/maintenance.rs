//! Invalidating a domain's translations: which commands, for whom, in which order (`arm_smmu_tlb_inv_range_domain`,
//! `arm_smmu_atc_inv_domain`; in 7.2 `arm_smmu_domain_inv_range`).

use std::collections::BTreeMap;

use iommu_core::semantics::{DriverRules, Invalidation, ZeroSize};
use iommu_core::{DeviceId, Errno};
use smmu::addr::Pa;
use smmu::ids::{Asid, SubstreamId, Vmid};

use crate::Command;
use crate::cmdq::Batch;
use crate::command::Reach;
use crate::instance::Instance;
use crate::master::{Ats, Master};
use crate::pgtable::TableContext;
use crate::platform::{Platform, SmmuId};
use crate::range::{RangeForm, TlbRanges, TlbSpan, atc_range};

/// How a domain's translations are tagged in a TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// By ASID: stage 1.
    Asid(Asid),
    /// By VMID: stage 2.
    Vmid(Vmid),
}

/// Whether guests' stage 1 may lie under this stage 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NestParent {
    /// No.
    No,
    /// Yes, and 7.2 drops their combined translations together with its own.
    Yes,
}

/// What invalidating a domain depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags {
    pub(crate) smmu: SmmuId,
    /// `None`: nothing is translated, as in bypass.
    pub(crate) tag: Option<Tag>,
    pub(crate) page_log2: u32,
    pub(crate) nest_parent: NestParent,
    /// Attached devices, newest first.
    pub(crate) devices: Vec<DeviceId>,
}

/// Everything invalidation reaches: borrowed apart from the domain whose tables are changed.
#[derive(Debug)]
pub(crate) struct Maintenance<'a, P> {
    pub(crate) platform: &'a mut P,
    pub(crate) instances: &'a mut [Instance],
    pub(crate) masters: &'a BTreeMap<DeviceId, Master>,
    pub(crate) tags: &'a Tags,
    pub(crate) rules: DriverRules,
    /// ETIMEDOUT of a SYNC: logged by the kernel, and no more.
    pub(crate) failed: Result<(), Errno>,
}

/// Addresses to invalidate in ATCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtcSpan {
    /// All.
    All,
    /// `[iova, iova + size)`.
    Of {
        /// First.
        iova: u64,
        /// Bytes.
        size: u64,
    },
}

impl<P: Platform> Maintenance<'_, P> {
    fn instance(&mut self) -> (&mut P, &mut Instance) {
        (self.platform, &mut self.instances[self.tags.smmu.index()])
    }

    fn note(&mut self, result: Result<(), Errno>) {
        self.failed = self.failed.and(result);
    }

    /// Invalidates a range of the domain, then the ATCs of its devices.
    pub(crate) fn range(&mut self, span: TlbSpan) {
        if span.size == 0 {
            if self.rules.zero_size == ZeroSize::Everything {
                self.all();
            }
            return;
        }
        let Some(tag) = self.tags.tag else { return };
        if self.by_array() {
            self.array(tag, Some(span));
        } else {
            self.tlb_range(tag, span);
            self.atc_domain(AtcSpan::Of {
                iova: span.iova,
                size: span.size,
            });
        }
    }

    /// Whether guests' translations are dropped together with those of stage 2, and only devices
    /// that are attached are thought of.
    fn by_array(&self) -> bool {
        self.rules.invalidation == Invalidation::Array || self.tags.nest_parent == NestParent::Yes
    }

    /// Invalidates everything of the domain (`arm_smmu_tlb_inv_context`).
    pub(crate) fn all(&mut self) {
        let Some(tag) = self.tags.tag else { return };
        if self.by_array() {
            self.array(tag, None);
        } else {
            self.tag(tag);
            self.atc_domain(AtcSpan::All);
        }
    }

    fn everything_of(&self, tag: Tag) -> Command {
        match tag {
            Tag::Asid(asid) if self.instances[self.tags.smmu.index()].features.e2h => {
                Command::TlbiEl2Asid { asid }
            }
            Tag::Asid(asid) => Command::TlbiNhAsid {
                asid,
                vmid: Vmid::new(0),
            },
            Tag::Vmid(vmid) => Command::TlbiS12Vmall { vmid },
        }
    }

    /// Invalidates by tag: everything cached of an ASID or VMID.
    pub(crate) fn tag(&mut self, tag: Tag) {
        let command = self.everything_of(tag);
        let (platform, instance) = self.instance();
        let result = instance.issue_sync(platform, &[command]);
        self.note(result);
    }

    /// Invalidates a range of a tag and waits.
    pub(crate) fn tlb_range(&mut self, tag: Tag, span: TlbSpan) {
        let mut batch = Batch::new();
        self.add_range(&mut batch, tag, span);
        let (platform, instance) = self.instance();
        let result = instance.batch_submit(platform, &mut batch);
        self.note(result);
    }

    fn add_range(&mut self, batch: &mut Batch, tag: Tag, span: TlbSpan) {
        let (e2h, range_inv) = {
            let features = &self.instances[self.tags.smmu.index()].features;
            (features.e2h, features.range_inv)
        };
        let page_log2 = self.tags.page_log2;
        self.add_ranges(batch, (span, page_log2), range_inv, |range| match tag {
            Tag::Asid(asid) if e2h => Command::TlbiEl2Va { asid, range },
            Tag::Asid(asid) => Command::TlbiNhVa {
                asid,
                vmid: Vmid::new(0),
                range,
            },
            Tag::Vmid(vmid) => Command::TlbiS2Ipa { vmid, range },
        });
    }

    /// Invalidates a range of a guest's address space and waits (the series'
    /// `arm_smmu_cache_invalidate`), in pages of 2^`page_log2` bytes; `el2` as IO14 does on a host
    /// with VHE.
    pub(crate) fn guest_range(
        &mut self,
        (vmid, asid): (Vmid, Asid),
        (span, page_log2): (TlbSpan, u32),
        el2: bool,
    ) {
        let range_inv = self.instances[self.tags.smmu.index()].features.range_inv;
        let mut batch = Batch::new();
        self.add_ranges(&mut batch, (span, page_log2), range_inv, |range| {
            if el2 {
                Command::TlbiEl2Va { asid, range }
            } else {
                Command::TlbiNhVa { asid, vmid, range }
            }
        });
        let (platform, instance) = self.instance();
        let result = instance.batch_submit(platform, &mut batch);
        self.note(result);
    }

    fn add_ranges(
        &mut self,
        batch: &mut Batch,
        (span, page_log2): (TlbSpan, u32),
        range_inv: bool,
        command: impl Fn(crate::command::TlbiRange) -> Command,
    ) {
        let form = if range_inv {
            RangeForm::Range {
                page_log2,
                ttl: self.rules.invalidation_range,
            }
        } else {
            RangeForm::Single
        };
        for range in TlbRanges::new(span, form) {
            match range {
                Ok(range) => {
                    let (platform, instance) = self.instance();
                    instance.batch_add(platform, batch, command(range));
                }
                Err(bug) => {
                    let errno = self.platform.control_mut().stop(bug);
                    self.note(Err(errno));
                    return;
                }
            }
        }
    }

    /// Issues commands and waits.
    pub(crate) fn issue(&mut self, commands: &[Command]) {
        let (platform, instance) = self.instance();
        let result = instance.issue_sync(platform, commands);
        self.note(result);
    }

    /// Devices of the domain that use ATS.
    fn ats_masters(&self) -> impl Iterator<Item = &Master> {
        self.tags
            .devices
            .iter()
            .filter_map(|device| self.masters.get(device))
            .filter(|master| master.ats == Ats::On)
    }

    /// Invalidates the ATCs of the domain's devices, newest first (`arm_smmu_atc_inv_domain`).
    pub(crate) fn atc_domain(&mut self, span: AtcSpan) {
        if !self.instances[self.tags.smmu.index()].features.ats {
            return;
        }
        let commands: Vec<Command> = self
            .ats_masters()
            .flat_map(|master| master.streams().map(|sid| atc_inv(sid, span)))
            .collect();
        if commands.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        let (platform, instance) = self.instance();
        for command in commands {
            instance.batch_add(platform, &mut batch, command);
        }
        let result = instance.batch_submit(platform, &mut batch);
        self.note(result);
    }

    /// Walks the domain's array of invalidations: `None` is everything. A batch ends, with a SYNC,
    /// before guests' translations are dropped and before the first ATC.
    fn array(&mut self, tag: Tag, span: Option<TlbSpan>) {
        // 7.2 flushes the tag when the last device leaves, and has nothing to do from then on.
        let flushed = self.rules.invalidation == Invalidation::Array;
        if flushed && self.tags.devices.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        let sizeless = span.is_none_or(|span| self.better_without_size(span));
        match span {
            Some(span) if !sizeless => self.add_range(&mut batch, tag, span),
            _ => {
                let command = self.everything_of(tag);
                let (platform, instance) = self.instance();
                instance.batch_add(platform, &mut batch, command);
            }
        }
        // S12_VMALL covers guests' translations as well.
        if let (Tag::Vmid(vmid), NestParent::Yes, false) = (tag, self.tags.nest_parent, sizeless) {
            self.submit(&mut batch);
            let (platform, instance) = self.instance();
            instance.batch_add(platform, &mut batch, Command::TlbiNhAll { vmid });
        }
        // Sorted by StreamID, as the array is.
        let mut ats: Vec<_> = self.ats_masters().flat_map(Master::streams).collect();
        ats.sort_unstable();
        if !ats.is_empty() {
            self.submit(&mut batch);
        }
        for sid in ats {
            let span = match (span, self.tags.nest_parent) {
                (Some(span), NestParent::No) => AtcSpan::Of {
                    iova: span.iova,
                    size: span.size,
                },
                // What a guest maps there is not known.
                _ => AtcSpan::All,
            };
            let (platform, instance) = self.instance();
            instance.batch_add(platform, &mut batch, atc_inv(sid, span));
        }
        self.submit(&mut batch);
    }

    fn submit(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let (platform, instance) = self.instance();
        let result = instance.batch_submit(platform, batch);
        self.note(result);
    }

    /// Without range invalidation, a whole table's worth of commands is more than dropping all
    /// (`arm_smmu_inv_size_too_big`).
    fn better_without_size(&self, span: TlbSpan) -> bool {
        let features = &self.instances[self.tags.smmu.index()].features;
        let entries_log2 = span.granule.trailing_zeros().saturating_sub(3);
        !features.range_inv && span.size >= span.granule << entries_log2
    }
}

/// ATC_INV for transactions without SubstreamID.
pub(crate) fn atc_inv(sid: smmu::ids::StreamId, span: AtcSpan) -> Command {
    let (address, size_log2) = match span {
        AtcSpan::All => atc_range(0, 0),
        AtcSpan::Of { iova, size } => atc_range(iova, size),
    };
    Command::AtcInv {
        sid,
        ssid: None::<SubstreamId>,
        address,
        size_log2,
    }
}

impl<P: Platform> TableContext for Maintenance<'_, P> {
    #[inline]
    fn read_words(&mut self, pa: Pa, words: &mut [u64]) {
        self.platform.read_words(pa, words);
    }

    #[inline]
    fn write_words(&mut self, pa: Pa, words: &[u64]) {
        self.platform.write_words(pa, words);
    }

    #[inline]
    fn load(&mut self, pa: Pa) -> u64 {
        self.platform.load(pa)
    }

    #[inline]
    fn store(&mut self, pa: Pa, value: u64) {
        self.platform.store(pa, value);
    }

    #[inline]
    fn fill(&mut self, pa: Pa, value: u64) -> u64 {
        self.platform.fill(pa, value)
    }

    fn alloc(&mut self, bytes: u64) -> Option<Pa> {
        self.platform
            .control_mut()
            .step("driver:alloc_table", Errno::ENOMEM)
            .ok()?;
        self.platform.alloc(bytes)
    }

    fn free(&mut self, pa: Pa, bytes: u64) {
        self.platform.free(pa, bytes);
    }

    fn flush_walk(&mut self, iova: u64, size: u64, granule: u64) {
        self.range(TlbSpan {
            iova,
            size,
            granule,
            reach: Reach::Walk,
        });
    }
}

//! TLB entries that hold stage 1: what a hit gives, and what a walk leaves behind.

use super::Through;
use crate::addr::{Ipa, Pa};
use crate::attr::{Attributes, MemoryType};
use crate::cache::{
    CacheView, Caches, ConfigurationEntry, Context, ContiguousHint, Granted, IpaEntry, Stage1Part,
    TlbStructure, VaEntry, entry_log2, stage2_part,
};
use crate::fault::Raised;
use crate::fetch::{Stage1Use, StreamContext};
use crate::mem::PhysMem;
use crate::observe::{CacheEvent, CacheKind, CacheTag, Observer, Purpose};
use crate::perm::{ACCESS_FLAG, Request};
use crate::transaction::{Path, Privilege, Transaction};
use crate::walk::{Stage1, Stage1Leaf, Stage2, Walked, Walker};

/// What a transaction is looked up by, if stage 1 lets it be looked up at all.
#[derive(Clone, Copy)]
pub(crate) struct StageKey {
    pub(crate) input: u64,
}

impl StageKey {
    /// `None` where stage 1 does not translate, or faults whatever a TLB holds.
    #[inline(always)]
    pub(crate) fn of(
        stage1: &Stage1Use,
        transaction: &Transaction,
        request: Request,
    ) -> Option<Self> {
        match stage1 {
            Stage1Use::Translates(s1) => Self::new(s1, transaction, request),
            Stage1Use::Off | Stage1Use::Bypassed => None,
        }
    }

    /// EPDx and E0PDx fault whatever the TLB holds (deviations.md D25).
    #[inline(always)]
    pub(crate) fn new(s1: &Stage1, transaction: &Transaction, request: Request) -> Option<Self> {
        let half = s1.half(transaction.address.get());
        let barred = half.tables.is_none() || half.e0pd && request.pnu == Privilege::Unprivileged;
        (!barred).then(|| Self {
            input: half.key(transaction.address.get()),
        })
    }
}

impl VaEntry {
    #[inline(always)]
    pub(crate) fn offset(&self, input: u64) -> u64 {
        input & 1u64.wrapping_shl(self.entry_log2.into()).wrapping_sub(1)
    }

    /// Stage 1 of a hit: what is carried out, or why not; `None` if the descriptor must be updated.
    #[inline(always)]
    fn admit_stage1(
        &self,
        s1: &Stage1,
        input: u64,
        request: Request,
    ) -> Option<Result<Request, Raised>> {
        let part = &self.stage1;
        let tables = s1.half(input).tables.as_ref()?;
        let ipa = self.ipa | self.offset(input);
        let admitted = s1.admit(
            part.descriptor,
            ipa,
            part.hierarchical,
            tables,
            part.level,
            request,
        );
        match admitted {
            Ok((kind, new)) => (new == part.descriptor).then_some(Ok(Request { kind, ..request })),
            Err(cause) => Some(Err(Raised::of_stage(cause, s1.disposition))),
        }
    }

    /// A hit of an entry with all stages of the stream; `None` if it must be walked.
    #[inline(always)]
    pub(crate) fn through(
        &self,
        stream: &StreamContext,
        s1: &Stage1,
        transaction: &Transaction,
        request: Request,
    ) -> Option<Result<(Walked, Path), Raised>> {
        let input = transaction.address.get();
        let request = match self.admit_stage1(s1, input, request)? {
            Ok(request) => request,
            Err(raised) => return Some(Err(raised)),
        };
        let pa = self.output | self.offset(input);
        let (kind, path) = match (&stream.s2, &self.stage2) {
            (None, _) => (request.kind, Path::Stage1),
            (Some(s2), Some(part)) => {
                let ipa = Ipa::new(self.ipa | self.offset(input));
                let site = Stage2::site(Purpose::Input, ipa, part.level);
                match s2.admit(part.descriptor, pa, site, request) {
                    Ok((kind, new)) if new == part.descriptor => (kind, Path::Nested),
                    Ok(_) => return None,
                    Err(cause) => return Some(Err(Raised::of_stage(cause, s2.disposition))),
                }
            }
            (Some(_), None) => return None,
        };
        let incoming = stream.overrides.apply(transaction.attributes);
        let walked = Walked {
            pa: Pa::new(pa),
            attributes: self.attributes(incoming),
            span_log2: self.span_log2,
            kind,
        };
        Some(Ok((walked, path)))
    }

    #[inline(always)]
    fn attributes(&self, incoming: Attributes) -> Attributes {
        // Hints that all allocate take nothing away.
        if incoming.memory == MemoryType::WRITE_BACK {
            return self.combined;
        }
        let stage1 = self.stage1.attributes.with_input_hints(incoming);
        match &self.stage2 {
            Some(part) => stage1.combine_stage2(part.attributes),
            None => stage1,
        }
    }

    /// A hit of an entry with stage 1 alone, whose output is then translated by stage 2.
    pub(super) fn through_stage2<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        walker: &mut Walker<'_, M, O, CacheView<'_>>,
        (s1, s2): (&Stage1, &Stage2),
        incoming: Attributes,
        transaction: &Transaction,
        request: Request,
    ) -> Option<Result<(Walked, Path), Raised>> {
        let input = transaction.address.get();
        let request = match self.admit_stage1(s1, input, request)? {
            Ok(request) => request,
            Err(raised) => return Some(Err(raised)),
        };
        let ipa = Ipa::new(self.ipa | self.offset(input));
        let leaf = match walker.stage2(s2, ipa, Purpose::Input, request) {
            Ok(leaf) => leaf,
            Err(cause) => return Some(Err(Raised::of_stage(cause, s2.disposition))),
        };
        let stage1 = self.stage1.attributes.with_input_hints(incoming);
        let walked = Walked {
            pa: leaf.pa,
            attributes: stage1.combine_stage2(s2.attributes(leaf.descriptor)),
            span_log2: self.span_log2.min(leaf.span_log2),
            kind: leaf.kind,
        };
        Some(Ok((walked, Path::Nested)))
    }
}

impl IpaEntry {
    #[inline(always)]
    pub(crate) fn offset(&self, input: u64) -> u64 {
        input
            & 1u64
                .wrapping_shl(self.stage2.leaf_log2.into())
                .wrapping_sub(1)
    }
}

/// Puts a walk that used stage 1 into the TLB.
pub(super) fn remember(
    caches: &mut Caches,
    entry: &ConfigurationEntry,
    s2: Option<&Stage2>,
    input: u64,
    through: &Through,
) -> Option<CacheEvent> {
    if caches.tlb.is_off() {
        return None;
    }
    let (structure, contiguous) = (caches.config.structure, caches.config.contiguous);
    let (context, size_log2, value) = learned(entry, s2, input, through, (structure, contiguous))?;
    let evicted = caches.tlb.insert(context, input, size_log2, value);
    let place = caches.tlb.lookup(context, context, input)?;
    Some(CacheEvent::Fill {
        cache: CacheKind::Tlb,
        entry: CacheTag::Translation(caches.tlb.tag(place)),
        evicted: evicted.map(CacheTag::Translation),
    })
}

/// What a walk that used stage 1 teaches a TLB: an entry, its context and log2 of its size.
pub(crate) fn learned(
    entry: &ConfigurationEntry,
    s2: Option<&Stage2>,
    input: u64,
    through: &Through,
    (structure, contiguous): (TlbStructure, ContiguousHint),
) -> Option<(Context, u8, VaEntry)> {
    let first = through.leaves.stage1.as_ref()?;
    if first.descriptor & ACCESS_FLAG == 0 {
        return None;
    }
    let stage1 = stage1_part(contiguous, input, first);
    let separate = structure == TlbStructure::Separate;
    let second = match (s2, &through.leaves.stage2) {
        (Some(s2), Some(leaf)) if !separate => {
            if leaf.descriptor & ACCESS_FLAG == 0 {
                return None;
            }
            Some((leaf, stage2_part(s2, first.output, leaf, contiguous)))
        }
        _ => None,
    };
    let size_log2 = second.as_ref().map_or(stage1.leaf_log2, |(_, part)| {
        part.leaf_log2.min(stage1.leaf_log2)
    });
    let inside = (1u64 << size_log2) - 1;
    let output = second
        .as_ref()
        .map_or(first.output, |(leaf, _)| leaf.pa.get());
    let value = VaEntry {
        output: output & !inside,
        ipa: first.output & !inside,
        entry_log2: size_log2,
        span_log2: second.as_ref().map_or(first.span_log2, |(leaf, _)| {
            leaf.span_log2.min(first.span_log2)
        }),
        stage1,
        combined: second.as_ref().map_or(first.attributes, |(_, part)| {
            first.attributes.combine_stage2(part.attributes)
        }),
        stage2: second.map(|(_, part)| part),
        granted: Granted::default(),
    };
    // Any-EL2 ignores nG: `entry.context` is its global context.
    let context = if value.is_global() {
        entry.global
    } else {
        entry.context
    };
    Some((context, size_log2, value))
}

fn stage1_part(contiguous: ContiguousHint, input: u64, leaf: &Stage1Leaf) -> Stage1Part {
    Stage1Part {
        descriptor: leaf.descriptor,
        hierarchical: leaf.hierarchical,
        level: leaf.level,
        leaf_log2: entry_log2(
            contiguous,
            (leaf.granule_log2, leaf.level, leaf.span_log2),
            leaf.descriptor,
            (input, leaf.output),
        ),
        granule_log2: leaf.granule_log2,
        attributes: leaf.attributes,
    }
}

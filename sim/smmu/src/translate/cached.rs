//! Translation with caches: the same steps, each asked of a cache first.
//!
//! A hit goes through the checks a walk's leaf goes through, so that an access gets the same answer
//! cold and warm. What a cached descriptor cannot answer, because hardware would have to update it,
//! is walked.

use super::hit::{StageKey, remember};
use super::{Programmed, Through, silent_abort};
use crate::addr::Pa;
use crate::attr::Attributes;
use crate::cache::{By, CacheView, Caches, ConfigurationEntry, Context, Given, Held, Place, Ste};
use crate::command::canonical;
use crate::fault::{Cause, Raised};
use crate::fetch::{Stage1Use, StreamAction, StreamContext};
use crate::ids::StreamId;
use crate::mem::PhysMem;
use crate::observe::{CacheEvent, CacheKind, CacheTag, Observer};
use crate::perm::Request;
use crate::transaction::{Outcome, Path, Transaction, Translation};
use crate::walk::{Leaves, Lookaside, Walked, Walker};

/// A configuration that could not be had.
pub(crate) struct ConfigurationFault {
    pub(crate) raised: Raised,
    /// The stream, if its STE was legal, and what it makes of the transaction.
    pub(crate) found: Option<Box<(StreamContext, Request)>>,
}

impl ConfigurationFault {
    /// The access an event tells of. None of the faults before the STE is known has InD or PnU.
    pub(crate) fn request(&self) -> Request {
        self.found
            .as_ref()
            .map_or(Request::TABLE_READ, |found| found.1)
    }
}

/// A configuration, and the STE and CD that are legal in it.
pub(crate) type Configured<'a> = (&'a ConfigurationEntry, &'a StreamContext, &'a Stage1Use);

impl Programmed {
    /// A plain access that has gone this way before, found by where it was found last.
    #[inline(always)]
    pub(crate) fn hit(
        &self,
        caches: &mut Caches,
        transaction: &Transaction,
    ) -> Option<Translation> {
        if transaction.attributes != Attributes::DEFAULT {
            return None;
        }
        let input = transaction.address.get();
        let slot = caches.recent_hit(transaction.stream, transaction.substream, input)?;
        let request = Request::of(transaction);
        if !slot.granted.covers(request) {
            return None;
        }
        let walked = Walked {
            pa: slot.pa(input),
            attributes: slot.attributes,
            span_log2: slot.span_log2,
            kind: request.kind,
        };
        Some(self.output(walked, request, slot.path))
    }

    /// A plain access that has gone this way before: it needs a look into the configuration cache
    /// and one into a TLB.
    fn plain_hit(&self, caches: &mut Caches, transaction: &Transaction) -> Option<Translation> {
        if transaction.attributes != Attributes::DEFAULT {
            return None;
        }
        let (stream, substream) = (transaction.stream, transaction.substream);
        let entry = caches.configuration.lookup(stream, substream)?;
        let request = Request::of(transaction);
        let input = transaction.address.get();
        let by = entry.shortcut.by;
        let (held, place, given) = match by {
            By::Va | By::NestedVa => {
                let half = (input >> 55 & 1) as usize;
                if !entry.shortcut.open[half] {
                    return None;
                }
                let key = if entry.shortcut.tbi[half] {
                    canonical(input)
                } else {
                    input
                };
                let place = caches.tlb.lookup(entry.context, entry.global, key)?;
                let found = caches.tlb.value(place);
                let nested = by == By::NestedVa;
                if found.stage2.is_some() != nested {
                    return None;
                }
                let given = Given {
                    pa: Pa::new(found.output | found.offset(input)),
                    span_log2: found.span_log2,
                    attributes: found.combined,
                    granted: found.granted,
                    path: if nested { Path::Nested } else { Path::Stage1 },
                };
                (Held::ByVa, place, given)
            }
            By::Ipa => {
                let place = caches.stage2.lookup(entry.stage2, entry.stage2, input)?;
                let found = caches.stage2.value(place);
                let given = Given {
                    pa: Pa::new(found.output | found.offset(input)),
                    span_log2: found.span_log2,
                    attributes: found.combined,
                    granted: found.granted,
                    path: Path::Stage2,
                };
                (Held::ByIpa, place, given)
            }
            By::Nothing => return None,
        };
        if !given.granted.covers(request) {
            return None;
        }
        caches.note_hit((stream, substream, input), held, place, &given);
        let walked = Walked {
            pa: given.pa,
            attributes: given.attributes,
            span_log2: given.span_log2,
            kind: request.kind,
        };
        Some(self.output(walked, request, given.path))
    }

    /// Translates one transaction, by what the caches hold and memory otherwise.
    pub(crate) fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if caches.are_off() {
            return self.translate_cold(mem, transaction, observer);
        }
        if !self.regs.cr0().smmuen() {
            return self.disabled(transaction);
        }
        if !observer.watches_caches()
            && let Some(translation) = self.plain_hit(caches, transaction)
        {
            return Outcome::Translated(translation);
        }
        let entry = match self.configure(caches, mem, transaction, observer) {
            Ok(entry) => entry,
            Err(fault) => return self.faulted(fault.raised, transaction, &fault.request()),
        };
        let stream = match &entry.stream {
            Ok(stream) => stream,
            Err(illegal) => {
                let raised = Raised::always(Cause::BadSte(*illegal));
                return self.faulted(raised, transaction, &Request::TABLE_READ);
            }
        };
        if stream.action == StreamAction::Abort {
            return silent_abort(transaction);
        }
        let request = stream.request(transaction);
        let stage1 = match &entry.stage1 {
            Ok(stage1) => stage1,
            Err(illegal) => {
                let raised = Raised::always(Cause::BadCd(*illegal));
                return self.faulted(raised, transaction, &request);
            }
        };
        let through = self.through(
            caches,
            mem,
            (&entry, stream, stage1),
            transaction,
            request,
            observer,
        );
        self.outcome(through, transaction, request)
    }

    /// The configuration of a transaction's stream and substream: cached, or fetched and then
    /// cached if the fetch succeeded, legal or not.
    pub(crate) fn configure<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Result<ConfigurationEntry, ConfigurationFault> {
        let (stream, substream) = (transaction.stream, transaction.substream);
        let watched = observer.watches_caches() && !caches.configuration.is_off();
        let cache = CacheKind::Configuration;
        if let Some(entry) = caches.configuration.lookup(stream, substream) {
            if watched {
                let entry = CacheTag::Configuration { stream, substream };
                observer.cache(&CacheEvent::Hit { cache, entry });
            }
            return Ok(*entry);
        }
        if watched {
            observer.cache(&CacheEvent::Miss { cache });
        }
        let entry = self.fetch(caches, mem, transaction, observer)?;
        let evicted = caches.configuration.insert(stream, substream, entry);
        if evicted.is_some() {
            caches.forget_recent();
        }
        if watched {
            observer.cache(&CacheEvent::Fill {
                cache,
                entry: CacheTag::Configuration { stream, substream },
                evicted: evicted
                    .map(|(stream, substream)| CacheTag::Configuration { stream, substream }),
            });
        }
        Ok(entry)
    }

    /// Reads STE, unless it is cached, and CD.
    fn fetch<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Result<ConfigurationEntry, ConfigurationFault> {
        let ste = self.ste(caches, mem, transaction.stream, observer)?;
        let mut walker = walker(caches, mem, observer, &ConfigurationEntry::default());
        self.fetch_cd(&mut walker, ste, transaction)
    }

    /// The STE of a stream: cached, or read and then cached if it could be read, legal or not.
    fn ste<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        stream: StreamId,
        observer: &mut O,
    ) -> Result<Ste, ConfigurationFault> {
        if caches.stes.is_off() {
            return self.read_ste(&mut Self::cold_walker(mem, observer), stream);
        }
        let cache = CacheKind::Ste;
        if let Some(ste) = caches.stes.lookup(stream) {
            if observer.watches_caches() {
                let entry = CacheTag::Ste { stream };
                observer.cache(&CacheEvent::Hit { cache, entry });
            }
            return Ok(*ste);
        }
        if observer.watches_caches() {
            observer.cache(&CacheEvent::Miss { cache });
        }
        let ste = self.read_ste(&mut Self::cold_walker(mem, observer), stream)?;
        let evicted = caches.stes.insert(stream, &ste);
        if observer.watches_caches() {
            observer.cache(&CacheEvent::Fill {
                cache,
                entry: CacheTag::Ste { stream },
                evicted: evicted.map(|stream| CacheTag::Ste { stream }),
            });
        }
        Ok(ste)
    }

    fn read_ste<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside>(
        &self,
        walker: &mut Walker<'_, M, O, C>,
        stream: StreamId,
    ) -> Result<Ste, ConfigurationFault> {
        match walker.stream(&self.config, &self.regs, stream) {
            Ok(stream) => Ok(Ok(stream)),
            Err(Cause::BadSte(illegal)) => Ok(Err(illegal)),
            Err(cause) => Err(ConfigurationFault {
                raised: Raised::always(cause),
                found: None,
            }),
        }
    }

    /// Reads STE and CD by a walker that has entered no contexts yet.
    pub(crate) fn fetch_by<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside>(
        &self,
        walker: &mut Walker<'_, M, O, C>,
        transaction: &Transaction,
    ) -> Result<ConfigurationEntry, ConfigurationFault> {
        let ste = self.read_ste(walker, transaction.stream)?;
        self.fetch_cd(walker, ste, transaction)
    }

    /// Reads what an STE asks for beside itself, by a walker that has entered no contexts yet.
    fn fetch_cd<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside>(
        &self,
        walker: &mut Walker<'_, M, O, C>,
        ste: Ste,
        transaction: &Transaction,
    ) -> Result<ConfigurationEntry, ConfigurationFault> {
        let stream = match ste {
            Ok(stream) => stream,
            Err(illegal) => return Ok(ConfigurationEntry::illegal(illegal)),
        };
        if stream.action == StreamAction::Abort {
            return Ok(ConfigurationEntry::new(stream, Ok(Stage1Use::Off)));
        }
        // CDs are found through stage 2 of this stream.
        let context = stream
            .s2
            .map_or(Context::default(), |s2| Context::stage2(s2.vmid));
        walker.cache.enter_stage2(context);
        match walker.stage1_use(&self.config, &stream, transaction.substream) {
            Ok(stage1) => Ok(ConfigurationEntry::new(stream, Ok(stage1))),
            Err(Raised {
                cause: Cause::BadCd(illegal),
                ..
            }) => Ok(ConfigurationEntry::new(stream, Err(illegal))),
            Err(raised) => Err(ConfigurationFault {
                raised,
                found: Some(Box::new((stream, stream.request(transaction)))),
            }),
        }
    }

    /// Sends a configured transaction through the stages its stream uses, and remembers the way.
    pub(crate) fn through<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        configured: Configured<'_>,
        transaction: &Transaction,
        request: Request,
        observer: &mut O,
    ) -> Result<Through, Raised> {
        let (entry, stream, stage1) = configured;
        let key = StageKey::of(stage1, transaction, request);
        if let Some(key) = key
            && let Some(through) = recall(
                caches,
                mem,
                (configured, key),
                transaction,
                request,
                observer,
            )
        {
            return through;
        }
        let mut walker = walker(caches, mem, observer, entry);
        let through = self.walk(&mut walker, stream, stage1, transaction, request)?;
        if key.is_none() && through.walked.kind == request.kind {
            note_stage2(caches, entry, transaction, request);
        }
        if let Some(key) = key {
            let entry = remember(caches, entry, stream.s2.as_ref(), key.input, &through);
            if let Some(event) = entry.filter(|_| observer.watches_caches()) {
                observer.cache(&event);
            }
        }
        Ok(through)
    }
}

/// What the TLB knows of a configured transaction; `None` if it must be walked.
pub(crate) fn recall<M: PhysMem + ?Sized, O: Observer + ?Sized>(
    caches: &mut Caches,
    mem: &mut M,
    ((entry, stream, stage1), key): (Configured<'_>, StageKey),
    transaction: &Transaction,
    request: Request,
    observer: &mut O,
) -> Option<Result<Through, Raised>> {
    let Stage1Use::Translates(s1) = stage1 else {
        return None;
    };
    let place = look_up(caches, entry, key, observer)?;
    let found = *caches.tlb.value(place);
    let through = match &stream.s2 {
        Some(s2) if found.stage2.is_none() => found.through_stage2(
            &mut walker(caches, mem, observer, entry),
            (s1, s2),
            stream.overrides.apply(transaction.attributes),
            transaction,
            request,
        ),
        _ => {
            let through = found.through(stream, s1, transaction, request);
            if matches!(&through, Some(Ok((walked, _))) if walked.kind == request.kind) {
                caches.tlb.value_mut(place).granted.note(request);
            }
            through
        }
    };
    through.map(|through| {
        through.map(|(walked, path)| Through {
            walked,
            stage1_output: Some(found.ipa | found.offset(transaction.address.get())),
            leaves: Leaves::default(),
            path,
        })
    })
}

/// A stream without stage 1 got through: the entry it used, or left behind, lets it through again.
fn note_stage2(
    caches: &mut Caches,
    entry: &ConfigurationEntry,
    transaction: &Transaction,
    request: Request,
) {
    let ipa = transaction.address.get();
    if let Some(place) = caches.stage2.lookup(entry.stage2, entry.stage2, ipa) {
        caches.stage2.value_mut(place).granted.note(request);
    }
}

/// A walker that knows what the caches know of these contexts.
pub(crate) fn walker<'a, M: ?Sized, O: Observer + ?Sized>(
    caches: &'a mut Caches,
    mem: &'a mut M,
    observer: &'a mut O,
    entry: &ConfigurationEntry,
) -> Walker<'a, M, O, CacheView<'a>> {
    let events = observer.watches_caches().then(Vec::new);
    let mut cache = CacheView {
        walk: &mut caches.walk,
        stage2: &mut caches.stage2,
        contiguous: caches.config.contiguous,
        stage1_context: Context::default(),
        stage2_context: Context::default(),
        events,
    };
    cache.enter(entry);
    Walker {
        mem,
        observer,
        cache,
    }
}

fn look_up<O: Observer + ?Sized>(
    caches: &mut Caches,
    entry: &ConfigurationEntry,
    key: StageKey,
    observer: &mut O,
) -> Option<Place> {
    let place = caches.tlb.lookup(entry.context, entry.global, key.input);
    if observer.watches_caches() && !caches.tlb.is_off() {
        let cache = CacheKind::Tlb;
        observer.cache(&match place {
            Some(place) => CacheEvent::Hit {
                cache,
                entry: CacheTag::Translation(caches.tlb.tag(place)),
            },
            None => CacheEvent::Miss { cache },
        });
    }
    place
}

//! Translation with caches: the same steps, each asked of a cache first.
//!
//! A hit goes through the checks a walk's leaf goes through, so that an access gets the same answer
//! cold and warm. What a cached descriptor cannot answer, because hardware would have to update it,
//! is walked.

use super::hit::{StageKey, remember};
use super::{Part, Through, silent_abort};
use crate::cache::{CacheView, Caches, ConfigurationEntry, Context, Place};
use crate::fault::{Cause, Raised};
use crate::fetch::{Stage1Use, StreamAction, StreamContext};
use crate::mem::PhysMem;
use crate::observe::{CacheEvent, CacheKind, CacheTag, Observer};
use crate::perm::Request;
use crate::transaction::{Outcome, Transaction};
use crate::walk::Walker;

/// A configuration that could not be had.
pub(crate) struct ConfigurationFault {
    pub(crate) raised: Raised,
    /// The stream, if its STE was legal, and what it makes of the transaction.
    pub(crate) found: Option<(StreamContext, Request)>,
}

impl ConfigurationFault {
    /// The access an event tells of. None of the faults before the STE is known has InD or PnU.
    fn request(&self) -> Request {
        self.found
            .as_ref()
            .map_or(Request::TABLE_READ, |(_, request)| *request)
    }
}

impl Part {
    /// Translates one transaction, by what the caches hold and memory otherwise.
    #[inline(always)]
    pub(crate) fn translate<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        if !self.regs.cr0().smmuen() {
            return self.disabled(transaction);
        }
        let known = caches
            .configuration
            .lookup(transaction.stream, transaction.substream);
        // A hit of the configuration cache and of the TLB touches nothing else.
        if let Some(entry) = known
            && let Ok(stream) = &entry.stream
            && let Ok(Stage1Use::Translates(s1)) = &entry.stage1
            && !observer.watches_caches()
        {
            let request = stream.request(transaction);
            let key = StageKey::new(s1, transaction, request);
            if let Some(key) = key
                && let Some(place) = caches.tlb.lookup(entry.context, entry.global, key.input)
                && let Some(through) =
                    caches
                        .tlb
                        .value(place)
                        .through(stream, s1, transaction, request)
            {
                return self.outcome(through, transaction, request);
            }
        }
        self.translate_otherwise(caches, mem, transaction, observer)
    }

    /// What is not a plain hit: other streams, misses, and everything that is watched.
    #[inline(never)]
    fn translate_otherwise<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
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

    /// Reads STE and CD.
    fn fetch<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Result<ConfigurationEntry, ConfigurationFault> {
        let mut walker = walker(caches, mem, observer, &ConfigurationEntry::default());
        let stream = match walker.stream(&self.config, &self.regs, transaction.stream) {
            Ok(stream) => stream,
            Err(Cause::BadSte(illegal)) => return Ok(ConfigurationEntry::illegal(illegal)),
            Err(cause) => {
                return Err(ConfigurationFault {
                    raised: Raised::always(cause),
                    found: None,
                });
            }
        };
        if stream.action == StreamAction::Abort {
            return Ok(ConfigurationEntry::new(stream, Ok(Stage1Use::Off)));
        }
        // CDs are found through stage 2 of this stream.
        walker.cache.stage2_context = stream
            .s2
            .map_or(Context::default(), |s2| Context::stage2(s2.vmid));
        match walker.stage1_use(&self.config, &stream, transaction.substream) {
            Ok(stage1) => Ok(ConfigurationEntry::new(stream, Ok(stage1))),
            Err(Raised {
                cause: Cause::BadCd(illegal),
                ..
            }) => Ok(ConfigurationEntry::new(stream, Err(illegal))),
            Err(raised) => Err(ConfigurationFault {
                raised,
                found: Some((stream, stream.request(transaction))),
            }),
        }
    }

    /// Sends a configured transaction through the stages its stream uses, and remembers the way.
    pub(crate) fn through<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &self,
        caches: &mut Caches,
        mem: &mut M,
        (entry, stream, stage1): (&ConfigurationEntry, &StreamContext, &Stage1Use),
        transaction: &Transaction,
        request: Request,
        observer: &mut O,
    ) -> Result<Through, Raised> {
        let key = match stage1 {
            Stage1Use::Translates(s1) => {
                StageKey::new(s1, transaction, request).map(|key| (s1, key))
            }
            Stage1Use::Off | Stage1Use::Bypassed => None,
        };
        if let Some((s1, key)) = key
            && let Some(place) = look_up(caches, entry, key, observer)
        {
            let found = *caches.tlb.value(place);
            let separate = found.stage2.is_none();
            let through = match (&stream.s2, separate) {
                (Some(s2), true) => found.through_stage2(
                    &mut walker(caches, mem, observer, entry),
                    (s1, s2),
                    stream.overrides.apply(transaction.attributes),
                    transaction,
                    request,
                ),
                _ => found.through(stream, s1, transaction, request),
            };
            if let Some(through) = through {
                return through;
            }
        }
        let mut walker = walker(caches, mem, observer, entry);
        let through = self.walk(&mut walker, stream, stage1, transaction, request)?;
        if let Some((_, key)) = key {
            let entry = remember(caches, entry, stream.s2.as_ref(), key.input, &through);
            if let Some(event) = entry.filter(|_| observer.watches_caches()) {
                observer.cache(&event);
            }
        }
        Ok(through)
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

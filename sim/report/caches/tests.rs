//! What a view makes of listings made by hand.

use smmu::addr::Iova;
use smmu::cache::{CacheConfig, Cached, CachedConfiguration, CachedStream};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::mem::Ram;
use smmu::observe::{CacheEvent, CacheKind, CacheTag, Observer};
use smmu::{Smmu, Transaction};

use super::{CacheView, Ending, Looks, MOST_FRAMES};

fn stream(id: u32, says: CachedStream) -> CachedConfiguration {
    CachedConfiguration {
        stream: StreamId::new(id),
        substream: None,
        says,
    }
}

fn cached(streams: &[CachedConfiguration]) -> Cached {
    Cached {
        configurations: streams.to_vec(),
        ..Cached::default()
    }
}

fn looks(event: CacheEvent) -> Looks {
    let mut looks = Looks::default();
    looks.cache(&event);
    looks
}

fn hit(id: u32) -> Looks {
    looks(CacheEvent::Hit {
        cache: CacheKind::Configuration,
        entry: CacheTag::Configuration {
            stream: StreamId::new(id),
            substream: None,
        },
    })
}

fn miss() -> Looks {
    looks(CacheEvent::Miss {
        cache: CacheKind::Configuration,
    })
}

/// Stream 1 from the start; 2 comes, 1 is hit, 1 is rewritten, everything goes.
fn view() -> CacheView {
    let (one, two) = (
        stream(1, CachedStream::Bypass),
        stream(2, CachedStream::Abort),
    );
    let changed = stream(1, CachedStream::Illegal);
    let mut view = CacheView::new("<b>", &cached(&[one]));
    view.step("second", &cached(&[two, one]))
        .looked(miss())
        .ended("aborted", Ending::Faulted);
    view.step("again", &cached(&[one, two]))
        .looked(hit(1))
        .ended("passes", Ending::Well);
    view.step("rewritten", &cached(&[changed, two]));
    view.step("CFGI_ALL", &cached(&[]));
    view
}

#[test]
fn a_step_tells_what_came_and_what_left_whatever_the_order_of_a_listing() {
    let view = view();
    let counts: Vec<_> = view
        .frames()
        .iter()
        .map(|frame| (frame.added.len(), frame.removed.len(), frame.held))
        .collect();
    assert_eq!(counts, [(1, 0, 2), (0, 0, 2), (1, 1, 2), (0, 2, 0)]);
    insta::assert_snapshot!(view.to_text());
}

#[test]
fn a_life_lasts_from_the_step_that_made_it_to_the_step_that_removed_it() {
    let lives: Vec<_> = view()
        .lives()
        .into_iter()
        .map(|life| (life.made, life.removed, life.hits))
        .collect();
    assert_eq!(
        lives,
        [
            (None, Some(2), vec![1]),
            (Some(0), Some(3), vec![]),
            (Some(2), Some(3), vec![]),
        ]
    );
}

#[test]
fn a_page_has_a_line_a_life_and_no_markup_from_names() {
    let page = view().to_html();
    assert_eq!(page.matches("<th scope=\"row\">").count(), 3);
    assert_eq!(page.matches("<article").count(), 4);
    assert_eq!(page.matches("removed by 4: CFGI_ALL").count(), 2);
    assert!(page.contains("&lt;b&gt;") && !page.contains("<h1><b>"));
}

#[test]
fn json_has_every_step() {
    let json = view().to_json();
    assert_eq!(json["steps"].as_array().unwrap().len(), 4);
    assert_eq!(json["steps"][0]["faulted"], true);
    assert_eq!(json["steps"][3]["removed"][0]["finds"], "stream 0x1");
    assert_eq!(json["steps"][1]["looks"][0]["hits"], 1);
}

#[test]
fn steps_beyond_the_bound_are_counted() {
    let mut view = CacheView::new("many", &Cached::default());
    for _ in 0..MOST_FRAMES + 5 {
        view.step("nothing", &Cached::default())
            .ended("so", Ending::Well);
    }
    assert_eq!((view.frames().len(), view.omitted()), (MOST_FRAMES, 5));
    assert!(view.to_text().contains("5 further steps"));
}

/// A full set makes room: what leaves then was evicted, not invalidated.
#[test]
fn what_makes_room_is_called_evicted() {
    let ram = Ram::sparse();
    let mut smmu = Smmu::with_caches(SmmuConfig::full(), &CacheConfig::SMALL).unwrap();
    // An empty stream table at 0: every STE is invalid, and cached as such.
    smmu.mmio_write(0x88, smmu::regfile::Width::W32, 20);
    smmu.mmio_write(0x20, smmu::regfile::Width::W32, 1);
    let mut view = CacheView::new("Evictions", &smmu.cached());
    let mut evicted = 0;
    for id in 0..64 {
        let mut looks = Looks::default();
        let read = Transaction::read(StreamId::new(id), Iova::new(0));
        smmu.translate(&mut ram.port(), &read, &mut looks);
        let frame = view.step("read", &smmu.cached()).looked(looks);
        evicted += frame.removed.len();
    }
    assert!(evicted > 0);
    assert_eq!(view.to_text().matches("(evicted)").count(), evicted);
}

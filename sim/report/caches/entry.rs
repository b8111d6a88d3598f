//! Entries of caches in words, and in order.

use smmu::cache::{CachedConfiguration, CachedEntry, CachedStream};
use smmu::command::{EntryKind, TlbTag};
use smmu::fetch::StreamWorld;
use smmu::observe::CacheKind;

/// Orders entries, and tells any two apart that differ.
pub(super) fn key(entry: &CachedEntry) -> (CacheKind, [u64; 9]) {
    let tag = |tag: &TlbTag| {
        let (kind, level) = match tag.kind {
            EntryKind::Leaf { level } => (0, level),
            EntryKind::Table { level } => (1, level),
        };
        let asid = tag.asid.map_or(1 << 16, |asid| u64::from(asid.get()));
        let world = match tag.world {
            StreamWorld::El1 => 0,
            StreamWorld::El2 => 1,
            StreamWorld::El2E2h => 2,
        };
        let sizes = [tag.span_log2, tag.leaf_log2, tag.granule_log2];
        let [span, leaf, granule] = sizes.map(u64::from);
        let shape = span
            | leaf << 8
            | granule << 16
            | kind << 24
            | u64::from(level.unsigned_abs()) << 25
            | u64::from(level < 0) << 30;
        [
            world << 1 | u64::from(tag.is_ipa),
            tag.vmid.get().into(),
            asid,
            tag.input,
            shape,
        ]
    };
    let whole = |[a, b, c, d, e]: [u64; 5], rest: [u64; 4]| {
        let [f, g, h, i] = rest;
        [a, b, c, d, e, f, g, h, i]
    };
    let words = match entry {
        CachedEntry::Configuration(entry) => {
            let substream = entry
                .substream
                .map_or(0, |id| 1 << 32 | u64::from(id.get()));
            let [what, asid, vmid] = numbered(entry.says);
            [
                entry.stream.get().into(),
                substream,
                what,
                asid,
                vmid,
                0,
                0,
                0,
                0,
            ]
        }
        CachedEntry::Ste(entry) => {
            let stream = entry.stream.get().into();
            let [what, _, vmid] = numbered(entry.says);
            [stream, what, vmid, 0, 0, 0, 0, 0, 0]
        }
        CachedEntry::Translation(entry) => {
            let second = entry.stage2_descriptor;
            let rest = [
                entry.output,
                entry.descriptor,
                second.unwrap_or(0),
                second.is_some().into(),
            ];
            whole(tag(&entry.tag), rest)
        }
        CachedEntry::Table(entry) => whole(tag(&entry.tag), [entry.next, 0, 0, 0]),
    };
    (entry.cache(), words)
}

fn numbered(says: CachedStream) -> [u64; 3] {
    match says {
        CachedStream::Illegal => [0, 0, 0],
        CachedStream::Abort => [1, 0, 0],
        CachedStream::Bypass => [2, 0, 0],
        CachedStream::Translates { asid, vmid } => [
            3,
            asid.map_or(0, |asid| 1 << 16 | u64::from(asid.get())),
            vmid.map_or(0, |vmid| 1 << 16 | u64::from(vmid.get())),
        ],
    }
}

/// A cache's name.
pub(super) fn cache(kind: CacheKind) -> &'static str {
    match kind {
        CacheKind::Configuration => "configuration",
        CacheKind::Ste => "STE",
        CacheKind::Tlb => "TLB",
        CacheKind::Stage2Tlb => "stage-2 TLB",
        CacheKind::Stage1Walk => "stage-1 tables",
        CacheKind::Stage2Walk => "stage-2 tables",
    }
}

/// A power-of-two size in binary units.
fn size(log2: u8) -> String {
    let unit = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][usize::from(log2 / 10).min(6)];
    format!("{} {unit}", 1u64 << (log2 % 10))
}

/// What an entry is found by: stream, or address and its size.
pub(super) fn name(entry: &CachedEntry) -> String {
    let by_address = |tag: &TlbTag| {
        let space = if tag.is_ipa { "IPA" } else { "VA" };
        format!("{space} {:#x} + {}", tag.input, size(tag.span_log2))
    };
    match entry {
        CachedEntry::Configuration(entry) => stream(entry),
        CachedEntry::Ste(entry) => format!("stream {:#x}", entry.stream.get()),
        CachedEntry::Translation(entry) => by_address(&entry.tag),
        CachedEntry::Table(entry) => by_address(&entry.tag),
    }
}

fn stream(entry: &CachedConfiguration) -> String {
    match entry.substream {
        Some(substream) => format!("stream {:#x}.{:#x}", entry.stream.get(), substream.get()),
        None => format!("stream {:#x}", entry.stream.get()),
    }
}

/// Whose it is.
pub(super) fn tags(entry: &CachedEntry) -> String {
    let of = |tag: &TlbTag| {
        let asid = match tag.asid {
            _ if tag.is_ipa => String::new(),
            Some(asid) => format!(", ASID {}", asid.get()),
            None => ", global".to_owned(),
        };
        let world = match tag.world {
            StreamWorld::El1 => "",
            StreamWorld::El2 => "EL2 ",
            StreamWorld::El2E2h => "EL2-E2H ",
        };
        format!("{world}VMID {}{asid}", tag.vmid.get())
    };
    match entry {
        CachedEntry::Configuration(_) | CachedEntry::Ste(_) => String::new(),
        CachedEntry::Translation(entry) => of(&entry.tag),
        CachedEntry::Table(entry) => of(&entry.tag),
    }
}

/// What an STE, or an STE with its CD, comes to.
fn stages(says: CachedStream) -> String {
    match says {
        CachedStream::Illegal => "illegal".to_owned(),
        CachedStream::Abort => "abort".to_owned(),
        CachedStream::Bypass => "bypass".to_owned(),
        CachedStream::Translates { asid, vmid } => {
            let asid = asid.map(|asid| format!("stage 1, ASID {}", asid.get()));
            let vmid = vmid.map(|vmid| format!("stage 2, VMID {}", vmid.get()));
            let stages: Vec<String> = asid.into_iter().chain(vmid).collect();
            if stages.is_empty() {
                "stage 1".to_owned()
            } else {
                stages.join("; ")
            }
        }
    }
}

/// What it says.
pub(super) fn says(entry: &CachedEntry) -> String {
    match entry {
        CachedEntry::Configuration(entry) => stages(entry.says),
        CachedEntry::Ste(entry) => stages(entry.says),
        CachedEntry::Translation(entry) => {
            let level = match entry.tag.kind {
                EntryKind::Leaf { level } | EntryKind::Table { level } => level,
            };
            format!("{:#x}, leaf of level {level}", entry.output)
        }
        CachedEntry::Table(entry) => {
            let level = match entry.tag.kind {
                EntryKind::Leaf { level } | EntryKind::Table { level } => level,
            };
            format!("table {:#x}, from level {level}", entry.next)
        }
    }
}

/// All of it, in one line.
pub(super) fn line(entry: &CachedEntry) -> String {
    let tags = tags(entry);
    let comma = if tags.is_empty() { "" } else { ", " };
    let (cache, name) = (cache(entry.cache()), name(entry));
    format!("{cache}: {name}{comma}{tags} \u{2192} {}", says(entry))
}

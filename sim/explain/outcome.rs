//! Transactions, outcomes and faults in words.

use smmu::Outcome;
use smmu::attr::{Attributes, Cacheability, Device, MemoryKind, MemoryType, Policy, Shareability};
use smmu::fault::{Cause, Class, Fault, Site, Stage};
use smmu::spec::event::Event;
use smmu::transaction::{
    AccessKind, InstructionOrData, Path, Privilege, Response, Transaction, Translation,
};

/// The transaction in one line.
pub(super) fn transaction(tx: &Transaction) -> String {
    let substream = tx
        .substream
        .map_or_else(String::new, |ssid| format!(" substream {ssid}"));
    let privilege = match tx.pnu {
        Privilege::Unprivileged => "unprivileged",
        Privilege::Privileged => "privileged",
    };
    let what = match tx.ind {
        InstructionOrData::Data => "data",
        InstructionOrData::Instruction => "instruction",
    };
    let kind = kind(tx.kind);
    format!(
        "stream {}{substream}, {kind} of {} ({privilege} {what})",
        tx.stream, tx.address
    )
}

/// The kind of an access, in words.
pub(super) fn kind(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Atomic => "atomic",
        AccessKind::Clean => "cache clean",
        AccessKind::DestructiveRead => "destructive read",
        AccessKind::Invalidate => "cache invalidate",
        AccessKind::WriteDcp => "write with directed prefetch",
        AccessKind::NoWriteDcp => "directed prefetch",
        AccessKind::DestructiveHint => "destructive hint",
    }
}

/// The outcome in one line.
pub(super) fn headline(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Translated(translation) => translated(translation),
        Outcome::Terminated {
            response,
            fault,
            event,
        } => {
            let response = match response {
                Response::Abort => "aborted",
                Response::RazWi => "terminated as read-as-zero, write-ignored",
            };
            match (fault, event) {
                (None, _) => format!("{response} by configuration, no event"),
                (Some(fault), Some(_)) => {
                    format!("{response}: {:?} recorded", fault.cause.event_id())
                }
                (Some(fault), None) => {
                    format!("{response}: {:?} not recorded", fault.cause.event_id())
                }
            }
        }
        Outcome::Stalled { fault, .. } => {
            format!(
                "stalled: {:?} recorded, waiting for CMD_RESUME",
                fault.cause.event_id()
            )
        }
        Outcome::Dropped => "hint dropped".into(),
        Outcome::Refused => "refused: the stall buffer is full".into(),
    }
}

fn translated(translation: &Translation) -> String {
    let path = match translation.path {
        Path::Disabled => "SMMU disabled",
        Path::Bypass => "bypass",
        Path::Stage1 => "stage 1",
        Path::Stage2 => "stage 2",
        Path::Nested => "stage 1 and stage 2",
        Path::AtsTranslated => "translated by ATS",
    };
    let span = match translation.span_log2 {
        64 => String::new(),
        span => format!(", one entry spans {}", size(span)),
    };
    format!(
        "pa {} ({path}), {}{span}",
        translation.pa,
        attributes(&translation.attributes)
    )
}

/// A power-of-two size in binary units.
pub(super) fn size(log2: u8) -> String {
    let unit = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][usize::from(log2 / 10).min(5)];
    format!("{} {unit}", 1u64 << (log2 % 10))
}

/// Memory attributes in words.
pub(super) fn attributes(attributes: &Attributes) -> String {
    format!(
        "{}, {}",
        memory(attributes.memory),
        shareability(attributes.shareability)
    )
}

/// A memory type in words.
pub(super) fn memory(memory: MemoryType) -> String {
    match memory.kind() {
        MemoryKind::Device(kind) => format!("Device-{}", device(kind)),
        MemoryKind::Normal { inner, outer } if inner == outer => format!("Normal {}", level(inner)),
        MemoryKind::Normal { inner, outer } => {
            format!("Normal inner {} outer {}", level(inner), level(outer))
        }
    }
}

fn level(level: Cacheability) -> String {
    let mut text = policy(level.policy()).to_owned();
    for (set, name) in [
        (level.read_allocate(), "RA"),
        (level.write_allocate(), "WA"),
        (level.is_transient(), "transient"),
    ] {
        if set {
            text.push('-');
            text.push_str(name);
        }
    }
    text
}

/// A cache policy, abbreviated as usual.
pub(super) fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::NonCacheable => "NC",
        Policy::WriteThrough => "WT",
        Policy::WriteBack => "WB",
    }
}

/// A Device type, as in "Device-nGnRE".
pub(super) fn device(device: Device) -> &'static str {
    match device {
        Device::NGnRnE => "nGnRnE",
        Device::NGnRE => "nGnRE",
        Device::NGRE => "nGRE",
        Device::GRE => "GRE",
    }
}

/// A shareability domain, abbreviated as usual.
pub(super) fn shareability(shareability: Shareability) -> &'static str {
    match shareability {
        Shareability::NonShareable => "NSH",
        Shareability::OuterShareable => "OSH",
        Shareability::InnerShareable => "ISH",
    }
}

/// Why a fault arose, in a sentence.
pub(super) fn reason(fault: &Fault) -> String {
    match fault.cause {
        Cause::BadStreamId => "the StreamID is beyond the stream table".into(),
        Cause::SteFetch { fetch } => format!("the STE or L1STD at {fetch} could not be read"),
        Cause::BadSte(illegal) => format!(
            "{} (rule {} on STE.{}; decided by {})",
            illegal.reason(),
            illegal.number(),
            illegal.field(),
            illegal.depends_on()
        ),
        Cause::BadSubstreamId { index } => format!("there is no CD for substream {index}"),
        Cause::TranslationForbidden => "the stream may not send translated transactions".into(),
        Cause::StreamDisabled => "S1DSS forbids this transaction".into(),
        Cause::CdFetch { fetch } => format!("the CD or L1CD at {fetch} could not be read"),
        Cause::BadCd(illegal) => format!(
            "{} (rule {} on CD.{}; decided by {})",
            illegal.reason(),
            illegal.number(),
            illegal.field(),
            illegal.depends_on()
        ),
        Cause::WalkEabt { site, fetch } => {
            format!(
                "the {} at {fetch} could not be read or updated",
                descriptor(&site)
            )
        }
        Cause::Translation(site) => {
            format!("no translation at level {} of {}", site.level, place(&site))
        }
        Cause::AddressSize(site) => format!("an output address is too large in {}", place(&site)),
        Cause::Access(site) => {
            format!(
                "the Access flag is clear at level {} of {}",
                site.level,
                place(&site)
            )
        }
        Cause::Permission { site, .. } => {
            format!(
                "the page at level {} of {} forbids it",
                site.level,
                place(&site)
            )
        }
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Stage1 => "stage 1",
        Stage::Stage2 => "stage 2",
    }
}

fn place(site: &Site) -> String {
    let what = match (site.stage, site.class) {
        (Stage::Stage1, _) | (_, Class::In) => "the transaction's address",
        (Stage::Stage2, Class::Cd) => "the CD's address",
        (Stage::Stage2, Class::Tt) => "a stage-1 descriptor's address",
    };
    match site.stage {
        Stage::Stage1 => format!("stage 1, translating {what}"),
        Stage::Stage2 => format!("stage 2, translating {what} (IPA {})", site.ipa),
    }
}

fn descriptor(site: &Site) -> String {
    format!("{} descriptor of level {}", stage(site.stage), site.level)
}

/// The fields of an event record that are set, as `name=value`.
pub(super) fn event_fields(event: &Event) -> String {
    let words = event.words();
    let carries_ipa = event.dw1.s2() && matches!(event.dw0.r#type().0, 0x10..=0x13);
    let fields: Vec<_> = Event::LAYOUT
        .fields
        .iter()
        .filter(|field| match field.name {
            "Type" | "Reason" => false,
            "IPA" => carries_ipa,
            "FetchAddr" => !carries_ipa,
            _ => true,
        })
        .map(|field| (field.name, (field.read)(&words)))
        .filter(|&(_, value)| value != 0)
        .map(|(name, value)| match name {
            "IPA" => format!("{name}={:#x}", value << 12),
            "FetchAddr" => format!("{name}={:#x}", value << 3),
            "CLASS" => format!("{name}={}", ["CD", "TT", "IN", "3"][(value & 3) as usize]),
            _ if value < 10 => format!("{name}={value}"),
            _ => format!("{name}={value:#x}"),
        })
        .collect();
    fields.join(" ")
}

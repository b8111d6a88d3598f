//! What a driver was doing, read off the commands it issued.

use std::fmt;

use arm_smmu_v3::Command;
use arm_smmu_v3::command::{Reach, TlbiRange};
use iommu_core::semantics::AttachOrder;
use smmu::ids::StreamId;

/// An operation of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// Reset: everything is invalidated.
    Reset,
    /// A device is attached to a domain.
    Attach {
        streams: Vec<StreamId>,
        from: Before,
        domain: Domain,
    },
    /// A device is detached, or attached to the blocking domain.
    Detach { stream: StreamId, left: Left },
    /// Attached if it was not, else detached: stage 2 in 7.2 does not tell.
    Switch { stream: StreamId },
    /// Everything of a domain is invalidated.
    FlushAll,
    /// Pages of the level `ttl` are unmapped and synchronised.
    Unmap { iova: u64, size: u64, ttl: u8 },
    /// A table is freed.
    FreeTable { iova: u64, size: u64 },
    /// What was done cannot be told.
    Unknown,
}

/// Where a device was before an attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nowhere,
    InADomain,
}

/// Whether a domain was attached to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    New,
    Known,
}

/// Whom a device leaves behind in its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nobody,
    Others,
}

/// A command with its SYNC, as far as attaching is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// CFGI_STE and SYNC.
    Ste,
    /// CFGI_CD and SYNC.
    Cd,
    /// PREFETCH_CFG.
    Prefetch,
    /// A SYNC of nothing: a domain without devices synchronises its CD.
    Bare,
    /// TLBI_NH_ASID or TLBI_S12_VMALL, and SYNC.
    Tag,
}

use Token::{Bare, Cd, Prefetch, Ste, Tag};

/// Commands, and the operation on a stream that sends them.
type Shape = (&'static [Token], fn(StreamId) -> Operation);

/// What attaching looks like up to 6.7, longest first.
const DETACH_FIRST: &[Shape] = &[
    (&[Ste, Bare, Bare, Ste, Ste, Prefetch], |stream| {
        attach(stream, Before::InADomain, Domain::New)
    }),
    (&[Bare, Bare, Ste, Ste, Prefetch], |stream| {
        attach(stream, Before::Nowhere, Domain::New)
    }),
    (&[Ste, Ste, Ste, Prefetch], |stream| {
        attach(stream, Before::InADomain, Domain::Known)
    }),
    (&[Ste, Ste, Prefetch], |stream| {
        attach(stream, Before::Nowhere, Domain::Known)
    }),
    (&[Ste], |stream| detach(stream, Left::Nobody)),
];

/// What attaching looks like later, longest first.
const PREPARE_COMMIT: &[Shape] = &[
    (&[Ste, Ste, Prefetch, Tag, Cd, Cd], |stream| {
        detach(stream, Left::Nobody)
    }),
    (&[Cd, Cd, Ste, Ste, Prefetch], |stream| {
        attach(stream, Before::Nowhere, Domain::New)
    }),
    (&[Ste, Ste, Prefetch, Cd, Cd], |stream| {
        detach(stream, Left::Others)
    }),
    (&[Ste, Ste, Prefetch, Tag], |stream| {
        detach(stream, Left::Nobody)
    }),
    (&[Ste, Ste, Prefetch], |stream| Operation::Switch { stream }),
];

fn attach(stream: StreamId, from: Before, domain: Domain) -> Operation {
    Operation::Attach {
        streams: vec![stream],
        from,
        domain,
    }
}

fn detach(stream: StreamId, left: Left) -> Operation {
    Operation::Detach { stream, left }
}

/// The token at the start of `commands`, whom it is about, and how many commands it takes.
fn token(commands: &[Command]) -> Option<(Token, Option<StreamId>, usize)> {
    let synced = commands.get(1).is_some_and(Command::is_sync);
    Some(match commands.first()? {
        Command::CfgiSte { sid, .. } if synced => (Ste, Some(*sid), 2),
        Command::CfgiCd { sid, .. } if synced => (Cd, Some(*sid), 2),
        Command::PrefetchConfig { sid } => (Prefetch, Some(*sid), 1),
        Command::TlbiNhAsid { .. } | Command::TlbiS12Vmall { .. } if synced => (Tag, None, 2),
        Command::Sync { .. } => (Bare, None, 1),
        _ => return None,
    })
}

/// Invalidations of other CPUs that may stand between the commands of one operation.
const INTERLEAVED_MAX: usize = 8;

/// Whether `commands` begin with `pattern`, all about one stream; then which, and where its
/// commands are. Unmaps on other CPUs may stand in between.
fn matches(commands: &[Command], pattern: &[Token]) -> Option<(StreamId, Vec<usize>)> {
    let mut stream = None;
    let mut used = Vec::new();
    let mut at = 0;
    for wanted in pattern {
        let mut skipped = 0;
        loop {
            let found = token(&commands[at..]);
            if let Some((found, of, length)) = found
                && found == *wanted
                && !matches!((stream, of), (Some(a), Some(b)) if a != b)
            {
                stream = stream.or(of);
                used.extend(at..at + length);
                at += length;
                break;
            }
            let (between, length) = Operation::invalidation(&commands[at..])?;
            let unmap = matches!(between, Operation::Unmap { .. });
            if !unmap || used.is_empty() || skipped == INTERLEAVED_MAX {
                return None;
            }
            skipped += 1;
            at += length;
        }
    }
    Some((stream?, used))
}

/// An attach of a device with several StreamIDs: its CDs are invalidated together.
fn several_streams(commands: &[Command]) -> Option<(Operation, usize)> {
    let cds = |from: usize| -> Vec<StreamId> {
        let cds = commands[from..].iter().map_while(|command| match command {
            Command::CfgiCd { sid, .. } => Some(*sid),
            _ => None,
        });
        cds.collect()
    };
    let streams = cds(0);
    let group = streams.len() + 1;
    if streams.len() < 2 || commands.len() < 2 * group || cds(group) != streams {
        return None;
    }
    let mut at = 2 * group;
    for stream in &streams {
        let (found, used) = matches(&commands[at..], &[Ste, Ste, Prefetch])?;
        if found != *stream {
            return None;
        }
        at += used.len();
    }
    let operation = Operation::Attach {
        streams,
        from: Before::Nowhere,
        domain: Domain::New,
    };
    Some((operation, at))
}

impl Operation {
    /// What the commands from here on show, and which of them belong to it.
    pub(super) fn read(commands: &[Command], style: AttachOrder) -> (Self, Vec<usize>) {
        if commands.first() == Some(&Command::CfgiAll) {
            return (Self::Reset, (0..commands.len().min(4)).collect());
        }
        let patterns = match style {
            AttachOrder::DetachFirst => DETACH_FIRST,
            AttachOrder::PrepareCommit => PREPARE_COMMIT,
        };
        for (pattern, operation) in patterns {
            if let Some((stream, used)) = matches(commands, pattern) {
                return (operation(stream), used);
            }
        }
        let (operation, length) = several_streams(commands)
            .or_else(|| Self::invalidation(commands))
            .unwrap_or((Self::Unknown, 1));
        (operation, (0..length).collect())
    }

    fn invalidation(commands: &[Command]) -> Option<(Self, usize)> {
        let end = commands.iter().position(Command::is_sync)?;
        if let [Command::TlbiNhAsid { .. } | Command::TlbiS12Vmall { .. }] = commands[..end] {
            return Some((Self::FlushAll, 2));
        }
        let ranges: Option<Vec<TlbiRange>> = commands[..end].iter().map(range).collect();
        let ranges = ranges?;
        let first = ranges.first()?;
        let size = ranges.iter().map(bytes).sum();
        let iova = first.address;
        let operation = match first.reach {
            Reach::Leaf => Self::Unmap {
                iova,
                size,
                ttl: first.ttl,
            },
            Reach::Walk => Self::FreeTable { iova, size },
        };
        Some((operation, end + 1))
    }

    /// In a word or two.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Attach { .. } => "attach",
            Self::Detach { .. } => "detach",
            Self::Switch { .. } => "attach or detach",
            Self::FlushAll => "flush",
            Self::Unmap { .. } => "unmap",
            Self::FreeTable { .. } => "free a table",
            Self::Unknown => "unknown",
        }
    }
}

/// Bytes that a range names.
fn bytes(range: &TlbiRange) -> u64 {
    let page_log2 = 10 + 2 * u32::from(range.tg);
    (u64::from(range.num) + 1) << (u32::from(range.scale) + page_log2)
}

fn range(command: &Command) -> Option<TlbiRange> {
    match command {
        Command::TlbiNhVa { range, .. } | Command::TlbiS2Ipa { range, .. } => Some(*range),
        _ => None,
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Attach { streams, .. } => write!(f, " sid {}", streams[0]),
            Self::Detach { stream, .. } | Self::Switch { stream } => write!(f, " sid {stream}"),
            Self::Unmap { iova, size, .. } | Self::FreeTable { iova, size } => {
                write!(f, " {iova:#x}+{size:#x}")
            }
            Self::Reset | Self::FlushAll | Self::Unknown => Ok(()),
        }
    }
}

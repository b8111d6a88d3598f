//! Lines of a trace: what they say, and what is wrong with those that say nothing.

use smmu::ids::StreamId;
use smmu::regfile::Width;

/// One line. Numbers are as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// `R`: software wrote a register.
    Register(RegisterWrite),
    /// `C`: a command was consumed.
    Command(Consumed),
    /// `S`: the next transaction's STE was fetched.
    Ste(Fetched),
    /// `D`: its CD was.
    Cd(Fetched),
    /// `M`: a walk read this descriptor.
    Descriptor {
        /// Where.
        pa: u64,
        /// What it is.
        value: u64,
    },
    /// `T`: a transaction was translated.
    Translation(Recorded),
    /// `E`: the transaction before it was recorded so.
    Event([u64; 4]),
    /// `G`, `Z`: QEMU raised a global error or stopped at a command.
    Error,
    /// `K`: a snapshot was taken.
    Mark,
}

/// A register write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RegisterWrite {
    /// Offset from page 0, where those of page 1 are folded to as well.
    pub(super) offset: u32,
    pub(super) width: Width,
    pub(super) value: u64,
}

/// A command, and the slot it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Consumed {
    pub(super) slot: u32,
    pub(super) words: [u64; 2],
}

/// An STE or CD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) pa: u64,
    /// Its contents, if they differ from what was fetched there last.
    pub(super) words: Option<[u64; 8]>,
}

/// Direction of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A transaction and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) stream: StreamId,
    pub(super) iova: u64,
    pub(super) access: Access,
    /// Stages that QEMU had translate: 1, 2, both (3), or none yet (0).
    pub(super) stage: u8,
    pub(super) looks: Looks,
    pub(super) result: Result,
}

/// QEMU's looks into its TLB for one transaction: for the CD and the start tables if the
/// configuration was fetched under stage 2, for the transaction, and for stage-1 tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looks {
    pub(super) count: usize,
    /// Whether the last was a hit.
    pub(super) ends_in_hit: bool,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    /// `s`.
    Translated {
        pa: u64,
        /// Size of the leaf less one.
        mask: u64,
        /// Leaf permissions: 1 read, 2 write; of stage 1 if there is one.
        perm: u8,
    },
    /// `e`: an event of this type, 0 if none was recorded.
    Fault { event: u8 },
    /// `a`: STE.Config or GBPA says abort.
    Abort,
    /// `b`: STE.Config says bypass.
    Bypass,
    /// `d`: the SMMU is disabled.
    Disabled,
}

/// Kinds of lines, as messages list them.
const KINDS: &str = "R, C, S, D, M, T, E, K, G or Z";

impl Line {
    /// What a line says; `None` for comments and empty lines.
    pub(super) fn parse(text: &str) -> std::result::Result<Option<Self>, String> {
        let text = text.trim_end();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let mut fields = Fields::new(text);
        let line = match fields.kind {
            "T" => Self::Translation(fields.translation()?),
            "M" => Self::Descriptor {
                pa: fields.address("pa", 8)?,
                value: fields.number("value")?,
            },
            "R" => Self::Register(fields.register()?),
            "C" => Self::Command(Consumed {
                slot: fields.number32("cons")?,
                words: [fields.number("w0")?, fields.number("w1")?],
            }),
            "E" => Self::Event([
                fields.number("q0")?,
                fields.number("q1")?,
                fields.number("q2")?,
                fields.number("q3")?,
            ]),
            "S" => Self::Ste(fields.fetched()?),
            "D" => Self::Cd(fields.fetched()?),
            "K" => {
                fields.number("n")?;
                Self::Mark
            }
            // Their columns are of no concern.
            "G" | "Z" => return Ok(Some(Self::Error)),
            other => return Err(format!("a line begins with {KINDS}, not {other:?}")),
        };
        fields.end()?;
        Ok(Some(line))
    }
}

/// The fields of one line, taken one by one.
struct Fields<'a> {
    kind: &'a str,
    rest: std::str::Split<'a, char>,
}

impl<'a> Fields<'a> {
    fn new(text: &'a str) -> Self {
        let mut rest = text.split(',');
        Self {
            kind: rest.next().unwrap_or_default(),
            rest,
        }
    }

    fn take(&mut self, name: &str) -> std::result::Result<&'a str, String> {
        let kind = self.kind;
        self.rest
            .next()
            .ok_or_else(|| format!("{kind}: the line ends before {name}"))
    }

    fn wrong(&self, name: &str, found: &str, allowed: &str) -> String {
        format!("{}: {name} is {found:?}, not {allowed}", self.kind)
    }

    fn number(&mut self, name: &str) -> std::result::Result<u64, String> {
        let field = self.take(name)?;
        self.parse(name, field)
    }

    fn parse(&self, name: &str, field: &str) -> std::result::Result<u64, String> {
        // from_str_radix takes a sign.
        Some(field)
            .filter(|field| !field.starts_with('+'))
            .and_then(|field| u64::from_str_radix(field, 16).ok())
            .ok_or_else(|| self.wrong(name, field, "a hexadecimal number of at most 64 bits"))
    }

    fn number32(&mut self, name: &str) -> std::result::Result<u32, String> {
        let number = self.number(name)?;
        u32::try_from(number)
            .map_err(|_| self.wrong(name, &format!("{number:x}"), "a number of at most 32 bits"))
    }

    /// A physical address, aligned to `bytes`.
    fn address(&mut self, name: &str, bytes: u64) -> std::result::Result<u64, String> {
        let number = self.number(name)?;
        if number >> 52 != 0 || number % bytes != 0 {
            let allowed = format!("a multiple of {bytes} below 2^52");
            return Err(self.wrong(name, &format!("{number:x}"), &allowed));
        }
        Ok(number)
    }

    fn register(&mut self) -> std::result::Result<RegisterWrite, String> {
        let offset = self.number32("offset")?;
        let value = self.number("value")?;
        let size = self.take("size")?;
        let width = match size {
            "4" => Width::W32,
            "8" => Width::W64,
            _ => return Err(self.wrong("size", size, "4 or 8")),
        };
        if offset % 4 != 0 || offset >= 0x1_0000 {
            let allowed = "a multiple of 4 below 10000";
            return Err(self.wrong("offset", &format!("{offset:x}"), allowed));
        }
        if width == Width::W32 && value >> 32 != 0 {
            return Err(self.wrong("value", &format!("{value:x}"), "of 32 bits as size says"));
        }
        Ok(RegisterWrite {
            offset,
            width,
            value,
        })
    }

    fn fetched(&mut self) -> std::result::Result<Fetched, String> {
        const NAMES: [&str; 8] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"];
        let pa = self.address("pa", 64)?;
        let mut words = [0; 8];
        let Some(first) = self.rest.next() else {
            return Ok(Fetched { pa, words: None });
        };
        words[0] = self.parse(NAMES[0], first)?;
        for (word, name) in words.iter_mut().zip(NAMES).skip(1) {
            *word = self.number(name)?;
        }
        Ok(Fetched {
            pa,
            words: Some(words),
        })
    }

    fn translation(&mut self) -> std::result::Result<Recorded, String> {
        let stream = StreamId::new(self.number32("sid")?);
        let iova = self.number("iova")?;
        self.number("len")?;
        let access = match self.take("rw")? {
            "r" => Access::Read,
            "w" => Access::Write,
            other => return Err(self.wrong("rw", other, "r or w")),
        };
        let result = self.take("s")?;
        let (pa, mask, perm) = (self.take("pa")?, self.take("mask")?, self.take("perm")?);
        let stage = self.number("stage")?;
        let stage = u8::try_from(stage)
            .ok()
            .filter(|stage| *stage <= 3)
            .ok_or_else(|| self.wrong("stage", &format!("{stage:x}"), "0, 1, 2 or 3"))?;
        let tlb = self.take("tlb")?;
        if !tlb.bytes().all(|look| matches!(look, b'h' | b'm')) {
            return Err(self.wrong("tlb", tlb, "letters h and m"));
        }
        self.number("nwalk")?;
        let result = match result {
            "s" => {
                let mask = self.parse("mask", mask)?;
                if mask.wrapping_add(1) & mask != 0 {
                    return Err(self.wrong("mask", &format!("{mask:x}"), "a power of two less 1"));
                }
                let pa = self.parse("pa", pa)?;
                let perm = match perm {
                    "0" => 0,
                    "1" => 1,
                    "2" => 2,
                    "3" => 3,
                    _ => return Err(self.wrong("perm", perm, "0, 1, 2 or 3")),
                };
                Result::Translated { pa, mask, perm }
            }
            "e" => {
                let event = self.number("evt")?;
                let event = u8::try_from(event).map_err(|_| {
                    self.wrong("evt", &format!("{event:x}"), "an event type of 8 bits")
                })?;
                Result::Fault { event }
            }
            "a" | "b" | "d" => {
                // An event type of 0 may follow.
                if let Some(event) = self.rest.next().filter(|event| !matches!(*event, "" | "0")) {
                    return Err(self.wrong("evt", event, "0: nothing is recorded here"));
                }
                match result {
                    "a" => Result::Abort,
                    "b" => Result::Bypass,
                    _ => Result::Disabled,
                }
            }
            other => return Err(self.wrong("s", other, "s, e, a, b or d")),
        };
        Ok(Recorded {
            stream,
            iova,
            access,
            stage,
            looks: Looks {
                count: tlb.len(),
                ends_in_hit: tlb.ends_with('h'),
            },
            result,
        })
    }

    fn end(&mut self) -> std::result::Result<(), String> {
        match self.rest.next() {
            None => Ok(()),
            Some(more) => Err(format!("{}: {more:?} after the last field", self.kind)),
        }
    }
}

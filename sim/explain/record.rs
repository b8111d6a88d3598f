//! An observer that keeps every access of one translation, numbered as a teacher would.

use std::fmt;

use smmu::addr::{Ipa, Pa};
use smmu::observe::{Access, Action, Observer, Purpose, Structure};

/// Number of an access: those of the walk proper and those of the configuration are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A descriptor on the way from the input address to the output address.
    Walk(u32),
    /// On the way to the STE and CD.
    Configuration(u32),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Walk(n) => write!(f, "{n}"),
            Self::Configuration(n) => write!(f, "c{n}"),
        }
    }
}

/// What was read or done; [`Action`] with its data owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// A descriptor or level-1 structure.
    Word(u64),
    /// An STE or CD.
    Structure([u64; 8]),
    /// A hardware update.
    Update {
        /// The new descriptor.
        new: u64,
        /// Whether it took effect.
        done: bool,
    },
    /// Memory refused.
    Aborted,
}

/// One access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub label: Label,
    /// The structure accessed.
    pub structure: Structure,
    /// Why.
    pub purpose: Purpose,
    /// Its intermediate address, if it has one.
    pub ipa: Option<Ipa>,
    /// Where it went.
    pub pa: Pa,
    /// What happened.
    pub recorded: Recorded,
}

impl Row {
    /// Whether it is a stage-2 access on the way to another access.
    pub fn is_inner(&self) -> bool {
        matches!(self.structure, Structure::Stage2(_)) && self.purpose != Purpose::Input
    }

    /// What is accessed, in a few words.
    pub fn what(&self) -> String {
        let structure = match self.structure {
            Structure::L1Std => "L1STD".to_owned(),
            Structure::Ste => "STE".to_owned(),
            Structure::L1Cd => "L1CD".to_owned(),
            Structure::Cd => "CD".to_owned(),
            Structure::Stage1(level) => format!("S1 L{level}"),
            Structure::Stage2(level) => format!("S2 L{level}"),
        };
        match self.purpose {
            Purpose::L1Cd => format!("{structure} of L1CD"),
            Purpose::Cd => format!("{structure} of CD"),
            Purpose::Stage1Descriptor(level) => format!("{structure} of S1 L{level}"),
            Purpose::Configuration | Purpose::Input => structure,
        }
    }
}

/// Every access of one translation, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    /// The accesses.
    pub rows: Vec<Row>,
    walk: u32,
    configuration: u32,
}

impl Recording {
    /// The STE, if it was fetched.
    pub fn ste(&self) -> Option<&[u64; 8]> {
        self.structure(Structure::Ste)
    }

    /// The CD, if it was fetched.
    pub fn cd(&self) -> Option<&[u64; 8]> {
        self.structure(Structure::Cd)
    }

    fn structure(&self, wanted: Structure) -> Option<&[u64; 8]> {
        self.rows.iter().find_map(|row| match &row.recorded {
            Recorded::Structure(words) if row.structure == wanted => Some(words),
            _ => None,
        })
    }
}

impl Observer for Recording {
    fn access(&mut self, access: &Access<'_>) {
        let on_the_way_to_configuration = matches!(
            access.purpose,
            Purpose::Configuration | Purpose::L1Cd | Purpose::Cd
        );
        let label = if on_the_way_to_configuration {
            self.configuration += 1;
            Label::Configuration(self.configuration)
        } else {
            self.walk += 1;
            Label::Walk(self.walk)
        };
        let recorded = match access.action {
            Action::Read(word) => Recorded::Word(word),
            Action::ReadStructure(words) => Recorded::Structure(*words),
            Action::Update { old, new, found } => Recorded::Update {
                new,
                done: found == old,
            },
            Action::AbortedRead | Action::AbortedUpdate => Recorded::Aborted,
        };
        self.rows.push(Row {
            label,
            structure: access.structure,
            purpose: access.purpose,
            ipa: access.ipa,
            pa: access.pa,
            recorded,
        });
    }
}

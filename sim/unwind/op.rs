//! What user space does in an exploration, and how it is written: `attach 1@0`, `set T`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::layout::Layout;

/// A guest's table of context descriptors. Both use the same ASID, as two guests' kernels might.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Leads the probed address to page A.
    T,
    /// Leads it to page B.
    U,
}

/// What SET_PASID_TABLE asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage1 {
    /// TRANSLATE.
    Table(Table),
    /// BYPASS.
    Bypass,
    /// ABORT.
    Abort,
}

/// One operation. Containers, groups and mappings are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// A group joins a container; the first one chooses the backend.
    Attach {
        /// Which group.
        group: usize,
        /// Which container.
        container: usize,
    },
    /// A group leaves its container.
    Detach {
        /// Which group.
        group: usize,
    },
    /// SET_PASID_TABLE with flag SET.
    Set {
        /// Which container.
        container: usize,
        /// What is asked.
        stage1: Stage1,
    },
    /// SET_PASID_TABLE with flag UNSET.
    Unset {
        /// Which container.
        container: usize,
    },
    /// Another table for the one that is set: through BYPASS, as every posted version refuses to go
    /// from table to table; in one step under policy (C).
    Replace {
        /// Which container.
        container: usize,
        /// The new table.
        table: Table,
    },
    /// MAP_DMA.
    Map {
        /// Which container.
        container: usize,
        /// Which of the two mappings.
        mapping: usize,
    },
    /// UNMAP_DMA.
    Unmap {
        /// Which container.
        container: usize,
        /// Which of the two mappings.
        mapping: usize,
    },
    /// A device goes: the last one of its group takes the group out of its container.
    Remove {
        /// Which group.
        group: usize,
    },
}

/// Kinds of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as the operations")]
pub enum OpKind {
    Attach,
    Detach,
    Set,
    Unset,
    Replace,
    Map,
    Unmap,
    Remove,
}

impl OpKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Attach,
        Self::Detach,
        Self::Set,
        Self::Unset,
        Self::Replace,
        Self::Map,
        Self::Unmap,
        Self::Remove,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Replace => "replace",
            Self::Map => "map",
            Self::Unmap => "unmap",
            Self::Remove => "remove",
        }
    }
}

/// Mappings there are.
pub(super) const MAPPINGS: usize = 2;

impl Op {
    /// What kind it is.
    pub const fn kind(self) -> OpKind {
        match self {
            Self::Attach { .. } => OpKind::Attach,
            Self::Detach { .. } => OpKind::Detach,
            Self::Set { .. } => OpKind::Set,
            Self::Unset { .. } => OpKind::Unset,
            Self::Replace { .. } => OpKind::Replace,
            Self::Map { .. } => OpKind::Map,
            Self::Unmap { .. } => OpKind::Unmap,
            Self::Remove { .. } => OpKind::Remove,
        }
    }

    /// Every operation of these kinds on a layout.
    pub fn all(layout: &Layout, kinds: &[OpKind]) -> Vec<Self> {
        let mut all = Vec::new();
        let containers = || 0..layout.containers;
        let groups = || 0..layout.groups.len();
        for kind in kinds {
            match kind {
                OpKind::Attach => all.extend(groups().flat_map(|group| {
                    containers().map(move |container| Self::Attach { group, container })
                })),
                OpKind::Detach => all.extend(groups().map(|group| Self::Detach { group })),
                OpKind::Remove => all.extend(groups().map(|group| Self::Remove { group })),
                OpKind::Set => all.extend(containers().flat_map(|container| {
                    [Stage1::Table(Table::T), Stage1::Bypass, Stage1::Abort]
                        .map(|stage1| Self::Set { container, stage1 })
                })),
                OpKind::Unset => {
                    all.extend(containers().map(|container| Self::Unset { container }));
                }
                OpKind::Replace => all.extend(containers().map(|container| Self::Replace {
                    container,
                    table: Table::U,
                })),
                OpKind::Map => all.extend(containers().flat_map(|container| {
                    (0..MAPPINGS).map(move |mapping| Self::Map { container, mapping })
                })),
                OpKind::Unmap => all.extend(containers().flat_map(|container| {
                    (0..MAPPINGS).map(move |mapping| Self::Unmap { container, mapping })
                })),
            }
        }
        all
    }

    /// Whether it names only what the layout has.
    pub fn fits(self, layout: &Layout) -> bool {
        let container = match self {
            Self::Attach { container, .. }
            | Self::Set { container, .. }
            | Self::Unset { container }
            | Self::Replace { container, .. }
            | Self::Map { container, .. }
            | Self::Unmap { container, .. } => container,
            Self::Detach { .. } | Self::Remove { .. } => 0,
        };
        let group = match self {
            Self::Attach { group, .. } | Self::Detach { group } | Self::Remove { group } => group,
            _ => 0,
        };
        let mapping = match self {
            Self::Map { mapping, .. } | Self::Unmap { mapping, .. } => mapping,
            _ => 0,
        };
        container < layout.containers && group < layout.groups.len() && mapping < MAPPINGS
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::T => "T",
            Self::U => "U",
        })
    }
}

impl fmt::Display for Stage1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "{table}"),
            Self::Bypass => f.write_str("bypass"),
            Self::Abort => f.write_str("abort"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.kind().word();
        f.write_str(word)?;
        let container = match self {
            Self::Attach { group, container } => {
                write!(f, " {group}")?;
                *container
            }
            Self::Detach { group } | Self::Remove { group } => return write!(f, " {group}"),
            Self::Set { container, stage1 } => {
                write!(f, " {stage1}")?;
                *container
            }
            Self::Unset { container } => *container,
            Self::Replace { container, table } => {
                write!(f, " {table}")?;
                *container
            }
            Self::Map { container, mapping } | Self::Unmap { container, mapping } => {
                write!(f, " {mapping}")?;
                *container
            }
        };
        if container == 0 {
            Ok(())
        } else {
            write!(f, "@{container}")
        }
    }
}

/// Why a text is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no operation: attach G, detach G, remove G, set T|U|bypass|abort, unset, replace T|U, map M or unmap M, with @C for another container than 0"
)]
pub struct OpError(String);

impl FromStr for Op {
    type Err = OpError;

    fn from_str(text: &str) -> Result<Self, OpError> {
        parse(text.trim()).ok_or_else(|| OpError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Op> {
    let (text, container) = match text.split_once('@') {
        Some((text, container)) => (text.trim(), container.trim().parse().ok()?),
        None => (text, 0),
    };
    let (word, what) = text.split_once(' ').unwrap_or((text, ""));
    let what = what.trim();
    let number = || what.parse().ok();
    let table = || match what {
        "T" => Some(Table::T),
        "U" => Some(Table::U),
        _ => None,
    };
    Some(match word {
        "attach" => Op::Attach {
            group: number()?,
            container,
        },
        "detach" => Op::Detach { group: number()? },
        "remove" => Op::Remove { group: number()? },
        "set" => Op::Set {
            container,
            stage1: match what {
                "bypass" => Stage1::Bypass,
                "abort" => Stage1::Abort,
                _ => Stage1::Table(table()?),
            },
        },
        "unset" if what.is_empty() => Op::Unset { container },
        "replace" => Op::Replace {
            container,
            table: table()?,
        },
        "map" => Op::Map {
            container,
            mapping: number()?,
        },
        "unmap" => Op::Unmap {
            container,
            mapping: number()?,
        },
        _ => return None,
    })
}

/// Operations separated by commas.
///
/// # Errors
/// The first that is none.
pub fn parse_list(text: &str) -> Result<Vec<Op>, OpError> {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{Op, OpKind, parse_list};
    use crate::unwind::Layout;

    #[test]
    fn operations_read_as_they_are_written() {
        let layout = Layout::of(&[0, 1]).with_containers(2);
        for op in Op::all(&layout, &OpKind::ALL) {
            assert_eq!(op.to_string().parse(), Ok(op));
            assert!(op.fits(&layout));
        }
        assert_eq!(parse_list(" map 1 , unset@1,").unwrap().len(), 2);
        for text in ["map", "set X", "unset 1", "attach -1", "fly 1"] {
            assert!(text.parse::<Op>().is_err(), "{text}");
        }
    }
}

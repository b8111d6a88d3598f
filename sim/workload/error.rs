//! What can be wrong with a trace, and where.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a workload cannot be used, or not further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The file cannot be read, or its compression is damaged.
    #[error("{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The field and what is allowed there.
        problem: Problem,
    },
    /// A record of a binary trace is not what it should be.
    #[error("{}: byte {offset}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// No known trace format begins like this.
    #[error("{}: not a trace: begins with {begins:?}; known are the text, binary, recorded and QEMU log formats", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// How it begins.
        begins: String,
    },
    /// Tables for the workload cannot be built.
    #[error("{what}")]
    World {
        /// What is wrong.
        what: String,
    },
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {found:?}: {allowed}")]
pub struct Problem {
    /// Which field.
    pub field: &'static str,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: &'static str,
}

impl Problem {
    /// A field with something else than what is allowed.
    pub fn new(field: &'static str, found: impl Into<String>, allowed: &'static str) -> Self {
        let mut found: String = found.into();
        // A binary file taken for text must not fill the screen.
        if let Some((at, _)) = found.char_indices().nth(40) {
            found.truncate(at);
            found.push('…');
        }
        Self {
            field,
            found,
            allowed,
        }
    }
}

//! One operation's answer, as a line of the recorder's JSON.

use std::fmt;

use iommu_core::Errno;

/// The answer to one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Test it belongs to.
    pub test: String,
    /// Index within the test.
    pub index: u32,
    /// The script line.
    pub op: String,
    /// What the call returned: a number, or an error.
    pub result: Result<i64, Errno>,
    /// Numbers as they were resolved, as JSON text; empty if there are none.
    pub input: String,
    /// What came out, as JSON text; empty if nothing did.
    pub output: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            test, index, op, ..
        } = self;
        write!(f, "{{\"t\":\"{test}\",\"i\":{index},\"op\":\"{op}\"")?;
        match self.result {
            Ok(value) => write!(f, ",\"ret\":{value},\"errno\":\"\"")?,
            // What the recorder has no name for it prints as a number.
            Err(errno @ (Errno::ESPIPE | Errno::EADDRINUSE)) => {
                write!(f, ",\"ret\":-1,\"errno\":\"{}\"", errno.0)?;
            }
            Err(errno) => write!(f, ",\"ret\":-1,\"errno\":\"{errno}\"")?,
        }
        if !self.input.is_empty() {
            write!(f, ",\"in\":{{{}}}", self.input)?;
        }
        if !self.output.is_empty() {
            write!(f, ",\"out\":{{{}}}", self.output)?;
        }
        write!(f, "}}")
    }
}

/// The bytes as hexadecimal digits, without the zero bytes at the end.
pub(super) fn hex(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let mut digits = String::with_capacity(2 * end);
    for byte in &bytes[..end] {
        digits.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
        digits.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
    }
    digits
}

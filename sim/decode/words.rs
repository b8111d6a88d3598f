//! Words as people paste them: hexadecimal with or without 0x, 32 or 64 bits, with the clutter of a
//! kernel log around them.

use thiserror::Error;

/// Why a text is not a list of words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WordError {
    /// A token is not a hexadecimal number.
    #[error("line {line}: {token:?} is not a hexadecimal word of at most 64 bits")]
    NotAWord {
        /// Line, from 1.
        line: usize,
        /// The token.
        token: String,
    },
    /// Too few or too many words.
    #[error(
        "found {found} words, expected {expected} of 64 bits (or {} of 32 bits, low half first), \
         or a multiple",
        2 * expected
    )]
    Count {
        /// Words found.
        found: usize,
        /// 64-bit words of one structure.
        expected: usize,
    },
}

/// Lines of a kernel log that name an event but hold none of its words.
const HEADLINES: [&str; 4] = ["received", "event:", "client:", "stag:"];

/// The 64-bit words in `text`, a multiple of `count`. Words of at most eight digits are halves,
/// low half first, if there are enough of them.
pub(super) fn parse(text: &str, count: usize) -> Result<Vec<u64>, WordError> {
    let mut words = Vec::new();
    let mut halves = true;
    for (i, line) in text.lines().enumerate() {
        let line = without_log_prefix(line);
        if HEADLINES.iter().any(|headline| line.contains(headline)) {
            continue;
        }
        for token in line.split(|c: char| c.is_whitespace() || ",;:[](){}|\"'".contains(c)) {
            if token.is_empty() {
                continue;
            }
            let digits = token
                .strip_prefix("0x")
                .or_else(|| token.strip_prefix("0X"))
                .unwrap_or(token);
            let word = u64::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'));
            let word = word.ok_or_else(|| WordError::NotAWord {
                line: i + 1,
                token: token.to_owned(),
            })?;
            halves &= digits.len() <= 8;
            words.push(word);
        }
    }
    if halves && !words.is_empty() && words.len() % (2 * count) == 0 {
        words = words
            .chunks_exact(2)
            .map(|pair| pair[0] | pair[1] << 32)
            .collect();
    }
    if words.is_empty() || words.len() % count != 0 {
        return Err(WordError::Count {
            found: words.len(),
            expected: count,
        });
    }
    Ok(words)
}

/// The line without the time stamp and device name a kernel log puts before it.
fn without_log_prefix(line: &str) -> &str {
    let is_log = line.contains("arm-smmu-v3") || line.trim_start().starts_with('[');
    let after_stamp = match line.split_once(']') {
        Some((stamp, rest)) if stamp.trim_start().starts_with('[') && stamp.contains('.') => rest,
        _ => line,
    };
    if is_log && after_stamp.contains("arm-smmu-v3") {
        // Only the device's own line end matters; headlines keep their words.
        match after_stamp
            .rsplit_once(": ")
            .or_else(|| after_stamp.rsplit_once(":\t"))
        {
            Some((_, rest)) if !HEADLINES.iter().any(|h| after_stamp.contains(h)) => rest,
            _ => after_stamp,
        }
    } else {
        after_stamp
    }
}

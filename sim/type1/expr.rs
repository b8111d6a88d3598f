//! Numbers of the script language: sums of terms with suffixes, and names of memory regions.

/// What names of memory regions and the suffix `P` stand for.
pub(super) trait Names {
    /// Address of a region.
    fn region(&self, name: &str) -> Option<u64>;
    /// Bytes of a page.
    fn page_size(&self) -> u64;
}

/// The value of `text`: terms joined by `+` and `-`, computed modulo 2^64; what cannot be read is
/// 0, as the recorder has it.
pub(super) fn evaluate(names: &impl Names, text: &str) -> u64 {
    let mut value: u64 = 0;
    let mut rest = text;
    let mut negative = false;
    while !rest.is_empty() {
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let term = term(names, &rest[..end]);
        value = if negative {
            value.wrapping_sub(term)
        } else {
            value.wrapping_add(term)
        };
        // The sign of a term stays until another is met.
        match rest.as_bytes().get(end) {
            Some(b'+') => negative = false,
            Some(b'-') => negative = true,
            _ => {}
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    value
}

fn term(names: &impl Names, text: &str) -> u64 {
    if let Some(address) = names.region(text) {
        return address;
    }
    let (value, rest) = number(text);
    let scale = match rest.bytes().next() {
        Some(b'P') => return value.wrapping_mul(names.page_size()),
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 0,
    };
    value.wrapping_shl(scale)
}

/// What `strtoull(text, _, 0)` reads, and what it leaves.
fn number(text: &str) -> (u64, &str) {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (&text[2..], 16),
        [b'0', ..] => (text, 8),
        _ => (text, 10),
    };
    let end = digits
        .find(|c: char| !c.is_digit(base))
        .unwrap_or(digits.len());
    let value = digits[..end].chars().fold(0_u64, |value, c| {
        let digit = u64::from(c.to_digit(base).unwrap_or_default());
        value.saturating_mul(u64::from(base)).saturating_add(digit)
    });
    (value, &digits[end..])
}

#[cfg(test)]
mod tests {
    use super::{Names, evaluate};

    struct Fixed;

    impl Names for Fixed {
        fn region(&self, name: &str) -> Option<u64> {
            (name == "m0").then_some(0x7000_0000)
        }

        fn page_size(&self) -> u64 {
            0x1000
        }
    }

    #[test]
    fn sums_suffixes_regions_and_wrap_are_read_as_the_recorder_does() {
        for (text, value) in [
            ("0x100000+2P", 0x102000),
            ("m0+1P", 0x7000_1000),
            ("0-1P", 0u64.wrapping_sub(0x1000)),
            ("0xffffffffffffffff-1P+1", 0xffff_ffff_ffff_f000),
            ("4M", 4 << 20),
            ("010", 8),
            ("255", 255),
            ("", 0),
            ("nonsense", 0),
            ("99999999999999999999999", u64::MAX),
        ] {
            assert_eq!(evaluate(&Fixed, text), value, "{text}");
        }
    }
}

//! "Did you mean": the name most like a misspelt one.

/// The candidate nearest to `name`, if one is near enough to be what was meant.
pub fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<String> {
    nearest_of(name, candidates)
}

/// The same for candidates that are made for the occasion.
pub fn nearest_of<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::osa_distance(&lower, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate.to_owned())
}

/// The words that offer a suggestion in an error message.
pub fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_register_is_recognised_and_nonsense_is_not() {
        let names = ["STRTAB_BASE", "CR0", "CMDQ_BASE"];
        assert_eq!(
            nearest("strtabbase", names.into_iter()).as_deref(),
            Some("STRTAB_BASE")
        );
        // Neighbours that changed places are one mistake.
        assert_eq!(nearest("rc0", names.into_iter()).as_deref(), Some("CR0"));
        assert_eq!(nearest("zzzzzzzz", names.into_iter()), None);
    }
}

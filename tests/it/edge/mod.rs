//! The numbered edge cases of the architecture. Each test carries its cases' numbers. Translations
//! run cold and with caches (`support::warm`); commands, queues and endpoints have a whole device
//! (`support::rig`).

mod atos; // 175–177
mod ats; // 166–171
mod commands; // 156–163
mod faults; // 2, 3, 135–137, 145, 146, 161
mod httu; // 126–134
mod pri; // 172–174
mod queues; // 10–32
mod registers; // 1, 4–9
mod stage1; // 83–109
mod stage2; // 110–125
mod stalls; // 138–144
mod stream_table; // 33–62
mod substreams; // 63–82
mod tlb; // 82, 147–155, 164, 165

/// How many cases there are.
const CASES: u32 = 177;

/// The numbers in the name of a test: `edge_014_015_…`.
fn numbers(line: &str) -> Vec<u32> {
    let name = line
        .trim_start()
        .strip_prefix("fn edge_")
        .unwrap_or_default();
    let words = name.split('_').map_while(|word| word.parse().ok());
    words.collect()
}

#[test]
fn every_case_has_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/edge");
    let mut tested = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut previous = "";
        for line in text.lines() {
            if previous.trim() == "#[test]" {
                tested.extend(numbers(line));
            }
            previous = line;
        }
    }
    let missing: Vec<u32> = (1..=CASES).filter(|case| !tested.contains(case)).collect();
    assert_eq!(missing, [0; 0]);
    assert!(tested.iter().all(|case| (1..=CASES).contains(case)));
}

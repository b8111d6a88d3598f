//! Programs of bytes for the whole device, as the fuzz targets run them: random ones, and the
//! minimised corpus that coverage-guided fuzzing left (`fuzz/`).

use std::io::Read;

use flate2::read::GzDecoder;

use crate::support::drive;
use crate::support::strategies::Rng;

/// A corpus file: programs one after the other, each behind its length in two bytes.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    let mut rest = &bytes[..];
    let mut programs = Vec::new();
    while let [low, high, after @ ..] = rest {
        let (program, later) = after.split_at(usize::from(u16::from_le_bytes([*low, *high])));
        programs.push(program.to_vec());
        rest = later;
    }
    programs
}

#[test]
fn what_fuzzing_found_interesting_neither_panics_nor_hangs() {
    for (name, run) in [
        ("fuzz_mmio.bin.gz", drive::anything as fn(&[u8])),
        ("fuzz_commands.bin.gz", drive::commands),
    ] {
        let programs = corpus(name);
        assert!(programs.len() > 100, "{name}: {} programs", programs.len());
        for program in &programs {
            run(program);
        }
    }
}

#[test]
fn random_programs_neither_panic_nor_hang() {
    let mut rng = Rng::new(3);
    for length in (0..2000).map(|n| 1 + n % 700) {
        let program: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        drive::anything(&program);
        drive::commands(&program);
    }
}

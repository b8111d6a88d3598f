//! The `smmu-sim` command.

use std::path::PathBuf;
use std::process::ExitCode;
use smmu_sim::check;

fn main() -> ExitCode {
    let mut report = check::Report::default();
    for path in std::env::args().skip(2).map(PathBuf::from) {
        if let Err(e) = check::check_file(&path, &mut report) { eprintln!("{e}"); return ExitCode::from(2); }
    }
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

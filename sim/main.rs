//! The `smmu-sim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    smmu_sim::cli::main()
}

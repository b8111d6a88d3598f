//! `smmu-sim type1`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use arm_smmu_v3::Driver;
use clap::Args;

use super::{Failure, Verdict};
use crate::board::Board;
use crate::input;
use crate::type1::{MachineConfig, play};

/// Play VFIO scripts on the model of the kernel.
///
/// Each operation's answer is one line of JSON, as the recorder of real kernels prints it: what
/// the call returned, its error, the fields it wrote, and for a device's DMA where it landed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim type1 attach_detach.vfio
  smmu-sim type1 two_groups.vfio --machine k72_two --page-size 65536")]
pub(super) struct Type1 {
    /// Scripts
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<PathBuf>,
    /// The machine: k510, k61, k612 or k72, with _two (two SMMUs), _mix (the second with stage 2
    /// only), _noits (no isolated interrupts) or _iommufd (containers are /dev/iommu)
    #[arg(long, value_name = "LABEL", default_value = "k72")]
    machine: String,
    /// Bytes of a CPU page
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    page_size: u64,
}

impl Type1 {
    pub(super) fn execute(self, out: &mut impl Write) -> Result<Verdict, Failure> {
        if ![0x1000, 0x4000, 0x10000].contains(&self.page_size) {
            return Err(anyhow::anyhow!("--page-size: 4096, 16384 or 65536").into());
        }
        let config = MachineConfig::from_label(&self.machine, self.page_size)
            .with_context(|| format!("--machine {}", self.machine))?;
        for script in &self.scripts {
            let name = script.display().to_string();
            let bytes = input::read(script).with_context(|| name.clone())?;
            let text =
                std::str::from_utf8(&bytes).with_context(|| format!("{name}: a script is text"))?;
            let base = script.file_name().unwrap_or_default().to_string_lossy();
            let lines = play::<Driver<Board>>(&config, &base, text)
                .with_context(|| format!("{name}: the machine"))?;
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        Ok(Verdict::Fine)
    }
}

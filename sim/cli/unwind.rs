//! `smmu-sim unwind`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use iommu_core::Errno;

use super::{Failure, Format, Verdict, write_json};
use crate::unwind::{Layout, Op, OpKind, Plan, Policy, explore, page, parse_list, semantics};
use crate::unwind::{to_json, to_text};

/// Try attach, detach and SET_PASID_TABLE in every order, failing at every step.
///
/// Containers, IOMMU core and driver run on SMMUs with caches. Every step that can fail is made to,
/// one at a time; afterwards the STEs in memory, what devices reach, and what is pinned, charged and
/// allocated are compared with what should be. Each objection is shown once, by its shortest way.
/// Without arguments: the posted series v11 and v13, and our own answer.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  smmu-sim unwind
  smmu-sim unwind --semantics fixed+D7 --topology 0,1 --operation "set T"
  smmu-sim unwind --semantics v13 --prior "attach 0, set T" --html v13.html"#)]
pub(super) struct Unwind {
    /// v11, v12, v13, fixed, 5.10, 6.1, 6.12 or 7.2, with defects added or taken away: fixed+D7,
    /// v13-D1; may be repeated
    #[arg(long, value_name = "NAME", default_values_t = ["v11", "v13", "fixed"].map(String::from))]
    semantics: Vec<String>,
    /// Groups, each the number of its SMMU, xN for N devices; then / and the number of containers
    #[arg(long, value_name = "GROUPS", default_value = "0,1")]
    topology: Layout,
    /// What is examined: kinds (attach, detach, set, unset, replace, map, unmap, remove) or single
    /// operations such as "set T"; all of them by default
    #[arg(long, value_name = "LIST")]
    operation: Option<String>,
    /// What is done first, as in "attach 0, attach 1, map 0"
    #[arg(long, value_name = "LIST", default_value = "")]
    prior: String,
    /// Most operations, in every order, between --prior and what is examined
    #[arg(long, value_name = "N", default_value_t = 4)]
    bound: usize,
    /// Who shares a PASID table
    #[arg(long, value_enum, ignore_case = true, default_value_t = Who::A)]
    policy: Who,
    /// What policy B refuses with
    #[arg(long, value_name = "ERRNO", default_value = "EINVAL")]
    refusal: String,
    /// Draw each domain list as it unwinds, on one page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    /// All domains of the container, as posted
    A,
    /// Only a container with one group may have one
    B,
    /// Each container; stage 2 is shared by all, one domain and VMID an SMMU
    C,
}

/// Most operations of a search: beyond, a run takes hours.
const BOUND_MAX: usize = 12;

impl Unwind {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        if self.bound > BOUND_MAX {
            return Err(anyhow!("--bound {}: at most {BOUND_MAX}", self.bound).into());
        }
        let refusal = Errno::from_name(&self.refusal)
            .ok_or_else(|| anyhow!("--refusal {}: no error number", self.refusal))?;
        let policy = match self.policy {
            Who::A => Policy::AllDomains,
            Who::B => Policy::OneGroup(refusal),
            Who::C => Policy::SharedStage2,
        };
        let mut plan = Plan::everything(self.topology.clone(), self.bound);
        plan.prior = parse_list(&self.prior).map_err(anyhow::Error::from)?;
        if let Some(list) = &self.operation {
            plan.examined = examined(&self.topology, list)?;
        }
        let named_ops = plan.prior.iter().chain(&plan.examined);
        if let Some(op) = named_ops.into_iter().find(|op| !op.fits(&self.topology)) {
            return Err(anyhow!("{op}: not on a machine of {}", self.topology).into());
        }
        let mut explorations = Vec::new();
        for name in &self.semantics {
            let named = semantics(name).map_err(|error| anyhow!("--semantics {error}"))?;
            let named = named.under(policy);
            let explored = explore(&named, &plan)
                .map_err(|errno| anyhow!("{name}: --prior is refused with {errno}"))?;
            explorations.push(explored);
        }
        if let Some(path) = &self.html {
            fs::write(path, page(&explorations))
                .with_context(|| format!("--html {}", path.display()))?;
        }
        match format {
            Format::Json => {
                let json: Vec<_> = explorations.iter().map(to_json).collect();
                write_json(out, &json)?;
            }
            Format::Text => {
                for (index, exploration) in explorations.iter().enumerate() {
                    if index > 0 {
                        writeln!(out)?;
                    }
                    write!(out, "{}", to_text(exploration))?;
                }
            }
        }
        Ok(Verdict::Fine)
    }
}

/// Kinds, or single operations.
fn examined(layout: &Layout, list: &str) -> anyhow::Result<Vec<Op>> {
    let mut all = Vec::new();
    for word in list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match OpKind::ALL.into_iter().find(|kind| kind.word() == word) {
            Some(kind) => all.extend(Op::all(layout, &[kind])),
            None => all.push(word.parse()?),
        }
    }
    Ok(all)
}

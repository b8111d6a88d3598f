//! An exploration for programs.

use iommu_core::Defect;
use serde_json::{Value, json};

use super::explore::{Exploration, Finding};
use super::steps::Step;
use super::text;

/// All of it.
pub fn to_json(exploration: &Exploration) -> Value {
    let findings: Vec<Value> = exploration.findings.iter().map(finding).collect();
    json!({
        "semantics": exploration.name,
        "topology": exploration.layout.to_string(),
        "states": exploration.states,
        "operations": exploration.runs,
        "with_failure": exploration.failures,
        "late": exploration.late,
        "findings": findings,
    })
}

fn finding(finding: &Finding) -> Value {
    let path: Vec<String> = finding.path.iter().map(ToString::to_string).collect();
    json!({
        "defect": finding.objection.defect().map(Defect::number),
        "objection": finding.objection.words(),
        "times": finding.count,
        "after": path,
        "operation": finding.op.to_string(),
        "failing_step": finding.failed.map(|failed| json!({
            "index": failed.index,
            "name": failed.step,
        })),
        "result": text::result(finding.result),
        "steps": finding.steps.iter().map(step).collect::<Vec<_>>(),
        "before": finding.before,
        "now": finding.after,
        "left": finding.left,
    })
}

fn step(step: &Step) -> Value {
    json!({
        "call": step.call,
        "domain": step.domain,
        "result": text::result(step.result),
        "stes": step.states,
        "commands": step.commands,
    })
}

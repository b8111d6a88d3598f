//! Recorded VFIO sessions of real kernels, played on the model and compared field by field.

use std::path::Path;

use arm_smmu_v3::Driver;
use serde_json::Value;

use super::{CheckError, Report};
use crate::board::Board;
use crate::type1::{MachineConfig, Player};

/// Whether the first line of a file says it is such a recording.
pub(super) fn is_recording(first: &str) -> bool {
    first.trim_start().starts_with('{')
        && first.contains("\"meta\"")
        && first.contains("\"script\"")
}

/// Plays the recording and compares each answer. `label` says what machine it was made on, in the
/// words of the file name (`k61`, `k72_16k`, `k61_two`, …), if that does not.
pub(super) fn check(
    path: &Path,
    text: &str,
    label: Option<&str>,
    report: &mut Report,
) -> Result<(), CheckError> {
    let line_error = |line: usize, what: String| CheckError::Line {
        path: path.into(),
        line,
        what,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let label = label.unwrap_or(&name);
    let mut session: Option<Session> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(line)
            .map_err(|error| line_error(number, format!("not JSON: {error}")))?;
        let string = |key: &str| value.get(key).and_then(Value::as_str);
        if value.get("meta").is_some() {
            let page_size = value
                .get("pagesize")
                .and_then(Value::as_u64)
                .unwrap_or(4096);
            let script = string("script").unwrap_or_default().to_owned();
            if let Some(session) = &mut session {
                session.script = script;
            } else {
                let new = Session::new(label, page_size, script);
                session = Some(new.map_err(|what| line_error(number, what))?);
            }
            continue;
        }
        let session = session
            .as_mut()
            .ok_or_else(|| line_error(number, "an operation before any \"meta\"".into()))?;
        let (Some(test), Some(op)) = (string("t"), string("op")) else {
            return Err(line_error(number, "no \"t\" or no \"op\"".into()));
        };
        let first = value.get("i").and_then(Value::as_u64) == Some(0);
        let actual = session.play(test, op, first);
        let place = || {
            format!(
                "{}:{number} {} {test}: {op}",
                path.display(),
                session.script
            )
        };
        report.text(
            "recorded kernels",
            line,
            &actual,
            || differences(&value, &actual),
            place,
        );
    }
    Ok(())
}

struct Session {
    player: Player<Driver<Board>>,
    script: String,
    test: Option<String>,
}

impl Session {
    fn new(label: &str, page_size: u64, script: String) -> Result<Self, String> {
        let config =
            MachineConfig::from_label(label, page_size).map_err(|error| error.to_string())?;
        let player = Player::new(&config).map_err(|errno| format!("the machine: {errno}"))?;
        Ok(Self {
            player,
            script,
            test: None,
        })
    }

    fn play(&mut self, test: &str, op: &str, first: bool) -> String {
        if first || self.test.as_deref() != Some(test) {
            self.player.start(test);
            self.test = Some(test.to_owned());
        }
        self.player.run(op).to_string()
    }
}

/// Names of the operation and of the fields that differ.
fn differences(expected: &Value, actual: &str) -> String {
    let actual: Value = serde_json::from_str(actual).unwrap_or_default();
    let op = expected
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let word = op.split_whitespace().next().unwrap_or_default();
    let fields: Vec<String> = ["ret", "errno", "in", "out"]
        .into_iter()
        .filter(|field| expected.get(field) != actual.get(field))
        .map(|field| match (expected.get(field), actual.get(field)) {
            (Some(Value::String(a)), Some(Value::String(b))) => format!("{field} {a:?} not {b:?}"),
            _ => field.to_owned(),
        })
        .collect();
    format!("{word}: {}", fields.join(", "))
}

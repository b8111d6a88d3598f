//! Snapshots: every ground-truth row asked again of the model (`<run>.<point>.truth.csv`), with the
//! architecture's answer in place of QEMU's where one is given (`.arch.csv`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ids::StreamId;

use super::{Answer, CheckError, Report};
use crate::input;
use crate::snapshot::Snapshot;

/// A row's question: SMMU, StreamID, address, write.
type Question = (usize, u32, u64, bool);

const TRUTH_HEADER: &str = "smmu,sid,iova,rw,status,pa,perm,page_mask,evt0,evt1,evt2,evt3";
const ARCH_HEADER: &str = "smmu,sid,iova,rw,status,pa,evt0,evt1,evt2,evt3,tags";

/// Compares every row of the snapshot's ground truth.
pub(super) fn check(
    manifest: &Path,
    snapshot: &Snapshot,
    report: &mut Report,
) -> Result<(), CheckError> {
    let missing = || CheckError::UnknownKind {
        path: manifest.into(),
        what: "the .truth.csv.zst file is not beside the manifest".into(),
    };
    let truth = Rows::read(
        snapshot.beside("truth.csv.zst").ok_or_else(missing)?,
        TRUTH_HEADER,
        8,
    )?;
    let mut arch = BTreeMap::new();
    if let Some(path) = snapshot.beside("arch.csv.zst") {
        let rows = Rows::read(path, ARCH_HEADER, 6)?;
        rows.for_each(|_, question, answer| {
            arch.insert(question, answer);
            Ok(())
        })?;
    }
    let mut port = snapshot.ram.port();
    truth.for_each(|line, question, recorded| {
        let (index, sid, iova, write) = question;
        let smmu = snapshot
            .smmus
            .get(index)
            .ok_or_else(|| format!("there is no SMMU {index}"))?;
        let (stream, iova) = (StreamId::new(sid), Iova::new(iova));
        let transaction = if write {
            Transaction::write(stream, iova)
        } else {
            Transaction::read(stream, iova)
        };
        let actual = Answer::of(&smmu.translate_cold(&mut port, &transaction, &mut ()));
        let (source, expected) = match arch.get(&question) {
            Some(answer) => ("the architecture", answer),
            None => ("QEMU", &recorded),
        };
        report.case(source, expected, &actual, || {
            let what = if write { "write" } else { "read" };
            format!(
                "{}:{line}: smmu {index} sid {sid:#x} {what} {iova}",
                truth.path.display()
            )
        });
        Ok(())
    })
}

/// A CSV file of questions and answers.
struct Rows {
    path: PathBuf,
    text: String,
    /// Column of evt0.
    event_column: usize,
    columns: usize,
}

impl Rows {
    fn read(path: PathBuf, header: &str, event_column: usize) -> Result<Self, CheckError> {
        let text = input::read_text(&path).map_err(|source| CheckError::Read {
            path: path.clone(),
            source,
        })?;
        if text.lines().next() != Some(header) {
            let what = format!("the header is not {header}");
            return Err(CheckError::Line {
                path,
                line: 1,
                what,
            });
        }
        Ok(Self {
            path,
            text,
            event_column,
            columns: header.split(',').count(),
        })
    }

    fn for_each(
        &self,
        mut row: impl FnMut(usize, Question, Answer) -> Result<(), String>,
    ) -> Result<(), CheckError> {
        for (i, line) in self
            .text
            .lines()
            .enumerate()
            .skip(1)
            .filter(|(_, l)| !l.is_empty())
        {
            let at = |what: String| CheckError::Line {
                path: self.path.clone(),
                line: i + 1,
                what,
            };
            let (question, answer) = self.parse(line).map_err(at)?;
            row(i + 1, question, answer).map_err(at)?;
        }
        Ok(())
    }

    fn parse(&self, line: &str) -> Result<(Question, Answer), String> {
        let fields: Vec<_> = line.splitn(self.columns, ',').collect();
        if fields.len() != self.columns {
            return Err(format!("{} columns, not {}", fields.len(), self.columns));
        }
        let hex = |column: usize| {
            let text = fields[column];
            u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| {
                format!(
                    "column {}: {text:?} is not a hexadecimal number",
                    column + 1
                )
            })
        };
        let index = fields[0]
            .parse()
            .map_err(|_| format!("column 1: {:?}", fields[0]))?;
        let sid = u32::try_from(hex(1)?).map_err(|_| "column 2: more than 32 bits".to_owned())?;
        let write = match fields[3] {
            "r" => false,
            "w" => true,
            other => return Err(format!("column 4: {other:?} is neither r nor w")),
        };
        let answer = match fields[4] {
            "ok" | "bypass" => Answer {
                pa: Some(hex(5)?),
                event: None,
            },
            "abort" => Answer {
                pa: None,
                event: None,
            },
            "error" => {
                let mut words = [0; 4];
                for (word, column) in words.iter_mut().zip(self.event_column..) {
                    *word = hex(column)?;
                }
                let event = words.iter().any(|&word| word != 0).then_some(words);
                Answer { pa: None, event }
            }
            other => return Err(format!("column 5: unknown status {other:?}")),
        };
        Ok(((index, sid, hex(2)?, write), answer))
    }
}

//! The two-dimensional grid of a walk: stage-1 levels down, stage-2 levels across, each cell the
//! number of the access. Four by four levels give 24 cells.

use smmu::observe::{Purpose, Structure};

use super::Explained;
use super::record::{Label, Recorded, Row};

/// What a row of the grid translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// The address of the stage-1 descriptor at this level, and then that descriptor.
    Stage1(i8),
    /// The final IPA, or the input of a stage-2-only walk.
    Final,
}

impl Line {
    pub(super) fn name(self) -> String {
        match self {
            Self::Stage1(level) => format!("S1 L{level}"),
            Self::Final => "final IPA".into(),
        }
    }
}

/// One cell: indices into the recording's rows, more than one only after a hardware update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) rows: Vec<usize>,
    /// The access at which the transaction faulted.
    pub(super) faulted: bool,
}

/// The grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    /// Stage-2 levels, one column each.
    pub(super) columns: Vec<i8>,
    /// Whether there is a last column for the stage-1 descriptors themselves.
    pub(super) has_stage1: bool,
    /// Rows with their cells: one for each stage-2 column, then the stage-1 descriptor.
    pub(super) lines: Vec<(Line, Vec<Cell>)>,
}

impl Grid {
    /// The grid of an explained translation; `None` if no descriptor was read.
    pub(super) fn of(explained: &Explained) -> Option<Self> {
        let rows = &explained.recording.rows;
        let walk: Vec<_> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| matches!(row.label, Label::Walk(_)))
            .collect();
        let placed: Vec<_> = walk
            .iter()
            .filter_map(|(i, row)| Some((*i, line_of(row)?)))
            .collect();
        let mut columns: Vec<i8> = walk
            .iter()
            .filter_map(|(_, row)| match row.structure {
                Structure::Stage2(level) => Some(level),
                _ => None,
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let has_stage1 = walk
            .iter()
            .any(|(_, row)| matches!(row.structure, Structure::Stage1(_)));
        let mut lines: Vec<(Line, Vec<Cell>)> = Vec::new();
        for (_, line) in &placed {
            if !lines.iter().any(|(known, _)| known == line) {
                lines.push((*line, vec![Cell::default(); columns.len() + 1]));
            }
        }
        for (i, line) in placed {
            let column = match rows[i].structure {
                Structure::Stage2(level) => columns.iter().position(|&c| c == level)?,
                _ => columns.len(),
            };
            let (_, cells) = lines.iter_mut().find(|(known, _)| *known == line)?;
            cells[column].rows.push(i);
        }
        if explained.outcome.fault().is_some()
            && let Some((last, _)) = walk.last()
        {
            for cell in lines.iter_mut().flat_map(|(_, cells)| cells) {
                cell.faulted = cell.rows.contains(last);
            }
        }
        (!lines.is_empty()).then_some(Self {
            columns,
            has_stage1,
            lines,
        })
    }

    /// The grid as text.
    pub(super) fn to_text(&self, rows: &[Row]) -> String {
        let heads = self.columns.iter().map(|level| format!("S2 L{level}"));
        let heads: Vec<_> = heads
            .chain(self.has_stage1.then(|| "S1".to_owned()))
            .collect();
        let line = |name: &str, cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
            format!("{name:12}{}", cells.concat()).trim_end().to_owned() + "\n"
        };
        let mut out = line("", &heads);
        for (name, cells) in &self.lines {
            let cells: Vec<_> = cells
                .iter()
                .take(heads.len())
                .map(|cell| cell.text(rows))
                .collect();
            out.push_str(&line(&name.name(), &cells));
        }
        out
    }
}

impl Cell {
    /// Numbers of the accesses, with a mark where the transaction faulted.
    pub(super) fn text(&self, rows: &[Row]) -> String {
        let numbers: Vec<_> = self
            .rows
            .iter()
            .filter(|&&i| !matches!(rows[i].recorded, Recorded::Update { .. }))
            .map(|&i| rows[i].label.to_string())
            .collect();
        let mark = if self.faulted { "!" } else { "" };
        format!("{}{mark}", numbers.join("/"))
    }
}

fn line_of(row: &Row) -> Option<Line> {
    match (row.structure, row.purpose) {
        (Structure::Stage1(level), _) | (_, Purpose::Stage1Descriptor(level)) => {
            Some(Line::Stage1(level))
        }
        (Structure::Stage2(_), Purpose::Input) => Some(Line::Final),
        _ => None,
    }
}

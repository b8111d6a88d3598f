//! The directory a run leaves: written whole under temporary names, then renamed, so that nothing
//! half-written is taken for a result.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::run::{FunctionalResult, RunResult};
use super::settings::RunSettings;
use super::{csv, html, json, table};

/// Files of a result, in the order they appear.
pub const FILES: [&str; 6] = [
    "settings.toml",
    "streams.csv",
    "latencies.csv",
    "report.html",
    "summary.txt",
    "result.json",
];

/// A file under its temporary name, until it is whole.
#[derive(Debug)]
pub struct Pending {
    part: PathBuf,
    path: PathBuf,
    /// Where to write.
    pub out: BufWriter<File>,
}

impl Pending {
    /// Begins a file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(path: &Path) -> io::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let out = BufWriter::new(File::create(&part)?);
        Ok(Self {
            part,
            path: path.to_owned(),
            out,
        })
    }

    /// Takes the file away, as far as it was written.
    pub fn discard(self) {
        drop(self.out);
        // What cannot be removed has a name that says what it is.
        let _left = fs::remove_file(&self.part);
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        fs::rename(&self.part, &self.path)
    }
}

/// Writes all files of a result; `result.json` comes last.
///
/// # Errors
/// What the file system says.
pub fn write<P>(
    directory: &Path,
    input: &str,
    settings: &RunSettings,
    run: &RunResult<P>,
    functional: Option<&FunctionalResult>,
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for name in FILES {
        let mut file = Pending::new(&directory.join(name))?;
        let out = &mut file.out;
        match name {
            "settings.toml" => out.write_all(settings.to_toml().as_bytes())?,
            "streams.csv" => csv::streams(out, &run.report)?,
            "latencies.csv" => csv::latencies(out, &run.report)?,
            "report.html" => out.write_all(html::page(input, settings, run).as_bytes())?,
            "summary.txt" => out.write_all(table::table(run).as_bytes())?,
            _ => {
                let result = json::result(input, settings, run, functional);
                serde_json::to_writer_pretty(&mut *out, &result)?;
                writeln!(out)?;
            }
        }
        file.finish()?;
    }
    Ok(())
}

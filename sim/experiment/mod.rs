//! Experiments: questions answered by running the model over a grid.

mod counted;
mod csv;
mod point;
mod s2_sharing;
mod svg;
mod timed;

pub use csv::csv;
pub use point::{Counts, Grid, Origin, PageSize, Point, Sharing};
pub use s2_sharing::run;
pub use svg::svg;
pub use timed::{COLUMNS, TIMED_DEVICES, TIMED_DEVICES_MAX, TimedPoint, run_timed, timed_csv};

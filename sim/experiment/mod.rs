//! Experiments: questions answered by running the model over a grid.

mod counted;
mod csv;
mod s2_sharing;
mod svg;

pub use csv::csv;
pub use s2_sharing::{Counts, Grid, Origin, PageSize, Point, Sharing, run};
pub use svg::svg;

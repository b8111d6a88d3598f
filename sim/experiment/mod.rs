//! Experiments: questions answered by running the model over a grid.

mod counted;
mod csv;
mod point;
mod s2_sharing;
mod svg;

pub use csv::csv;
pub use point::{Counts, Grid, Origin, PageSize, Point, Sharing};
pub use s2_sharing::run;
pub use svg::svg;

//! Figures of the book are what the commands beside them draw.

use std::fs;
use std::path::Path;

use super::{book, smmu_sim};

#[track_caller]
fn is_drawn(page: &str, made: &Path) {
    let path = book().join(page);
    let drawn = fs::read_to_string(made).unwrap();
    snapbox::assert_data_eq!(drawn, snapbox::Data::read_from(&path, None).raw());
}

#[test]
fn the_figure_of_shared_stage_2_is_what_the_experiment_draws() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("s2-sharing.svg");
    smmu_sim(&["experiment", "s2-sharing", "--svg", svg.to_str().unwrap()]);
    is_drawn("learn/s2-sharing.svg", &svg);
}

#[test]
fn the_plots_of_the_timing_study_are_what_simulate_draws() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    smmu_sim(&["simulate", "--study", "--out", out]);
    for name in ["table.txt", "latency.svg", "throughput.svg"] {
        is_drawn(&format!("guide/study/{name}"), &folder.path().join(name));
    }
}

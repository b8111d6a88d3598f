//! JSON Schemas that editors use: the files under `docs/` are those of the types that parse.
//! `SNAPSHOTS=overwrite cargo test --test it schema` writes them anew.

use schemars::schema_for;
use smmu::config::Part;

#[test]
fn the_schema_of_part_files_is_that_of_the_type() {
    let schema = serde_json::to_string_pretty(&schema_for!(Part)).unwrap() + "\n";
    snapbox::assert_data_eq!(
        schema,
        snapbox::file!["../../docs/src/reference/part.schema.json"].raw()
    );
}

#[test]
fn the_schema_of_scenario_files_is_that_of_the_type() {
    snapbox::assert_data_eq!(
        smmu_sim::scenario::schema(),
        snapbox::file!["../../docs/src/reference/scenario.schema.json"].raw()
    );
}

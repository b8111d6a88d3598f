//! The commands `unwind` and `experiment`: files they write, and bad input.

use std::process::Command;

fn smmu_sim() -> Command {
    Command::new(env!("CARGO_BIN_EXE_smmu-sim"))
}

fn refused(arguments: &[&str], message: &str) {
    let output = smmu_sim().args(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert!(errors.contains(message), "{arguments:?}: {errors}");
}

#[test]
fn unwind_refuses_what_it_cannot_explore_and_says_why() {
    refused(&["unwind", "--semantics", "v14"], "none of v11");
    refused(&["unwind", "--semantics", "fixed+D31"], "D1 to D30");
    refused(&["unwind", "--topology", "9"], "number of its SMMU");
    refused(&["unwind", "--topology", "0/9"], "number of containers");
    refused(&["unwind", "--operation", "fly 1"], "is no operation");
    refused(
        &["unwind", "--operation", "attach 5"],
        "not on a machine of 0,1",
    );
    refused(&["unwind", "--bound", "99"], "at most 12");
    refused(&["unwind", "--refusal", "EWHAT"], "no error number");
    refused(&["unwind", "--prior", "detach 0"], "is refused with EINVAL");
    refused(
        &["unwind", "--bound", "0", "--html", "/nowhere/x.html"],
        "--html",
    );
}

#[test]
fn unwind_draws_a_page_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unwind.html");
    let prior = ["--prior", "attach 0, attach 1, set T", "--bound", "0"];
    let done = smmu_sim()
        .args([
            "unwind",
            "--semantics",
            "v13",
            "--operation",
            "set bypass",
            "--html",
        ])
        .arg(&file)
        .args(prior)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let page = std::fs::read_to_string(file).unwrap();
    assert!(page.contains("iommu:detach_pasid_table") && page.contains("prefers-color-scheme"));
    for foreign in ["http://", "https://", "src=", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn the_experiment_writes_the_same_files_every_time() {
    refused(&["experiment", "s2-sharing", "--memory", "0"], "1 to 512");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let (csv, svg) = (format!("{name}.csv"), format!("{name}.svg"));
        let [csv, svg] = [csv, svg].map(|file| folder.path().join(file));
        let done = smmu_sim()
            .args([
                "experiment",
                "s2-sharing",
                "--devices",
                "1,3",
                "--memory",
                "1,2",
            ])
            .args(["--leaves", "2000", "--csv"])
            .arg(&csv)
            .arg("--svg")
            .arg(&svg)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        [csv, svg].map(|file| std::fs::read_to_string(file).unwrap())
    };
    let first = write("first");
    assert_eq!(first, write("second"));
    assert_eq!(first[0].lines().count(), 1 + 3 * 2 * 2 * 2);
    assert!(first[0].contains("computed") && first[1].starts_with("<svg"));
}

//! Every console example of README and book is run and its output compared. `TRYCMD=overwrite`
//! writes what the commands print now.

use std::fs;
use std::path::Path;

/// Where the pages expect a QEMU: the recorded session answers.
const SOCKET: &str = "target/vm.sock";

#[test]
fn every_example_prints_what_the_page_says() {
    let socket = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOCKET);
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    // One of an earlier run, perhaps.
    let _ = fs::remove_file(&socket);
    crate::live::recorded_session().serve(&socket);
    trycmd::TestCases::new()
        .case("README.md")
        .case("docs/src/*.md")
        .case("docs/src/*/*.md");
}

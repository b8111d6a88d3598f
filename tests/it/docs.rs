//! Every console example of README and book is run and its output compared. `TRYCMD=overwrite`
//! writes what the commands print now.

#[test]
fn every_example_prints_what_the_page_says() {
    trycmd::TestCases::new()
        .case("README.md")
        .case("docs/src/*.md")
        .case("docs/src/*/*.md");
}

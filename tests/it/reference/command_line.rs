//! The command-line page: the long help of every command.

use std::fmt::Write as _;

use super::{is_made, smmu_sim};

/// Options that every command has, shown once.
const COMMON: &str = "\nOutput:\n";

#[test]
fn the_command_line_page_is_what_help_says() {
    let main = smmu_sim(&["--help"]);
    let (_, rest) = main.split_once("Commands:\n").unwrap();
    let (commands, _) = rest.split_once("\n\n").unwrap();
    let mut text = format!("```text\n{}\n```\n", main.trim_end());
    let mut seen = 0;
    for line in commands.lines() {
        let name = line.split_whitespace().next().unwrap();
        if name == "help" {
            continue;
        }
        seen += 1;
        let help = smmu_sim(&[name, "--help"]);
        let (own, common) = help.split_once(COMMON).unwrap();
        let examples = common.split_once("\nExamples:\n");
        let examples = examples.unwrap_or_else(|| panic!("{name}: no examples")).1;
        write!(
            text,
            "\n## {name}\n\n```text\n{}\n\nExamples:\n{}\n```\n",
            own.trim_end(),
            examples.trim_end()
        )
        .unwrap();
    }
    assert!(seen > 10, "{commands}");
    // Blanks at line ends are clap's; the page has none.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    is_made("reference/command-line.md", "help", &lines.join("\n"));
}

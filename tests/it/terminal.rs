//! Manners at the terminal: help, suggestions, colour, logs, progress, completions, manual pages,
//! and readers that go away.

use std::process::{Command, Output, Stdio};

const COMMANDS: [&str; 15] = [
    "run",
    "new",
    "walk",
    "registers",
    "regs",
    "decode",
    "check",
    "simulate",
    "convert",
    "validate",
    "type1",
    "unwind",
    "experiment",
    "completions",
    "man",
];
const SNAPSHOT: &str = "tests/data/snapshots/nest_72_64k.nested.json";
const WALK: [&str; 6] = ["walk", "--snapshot", SNAPSHOT, "--sid", "28", "b000"];
const ESCAPE: char = '\x1b';

/// `smmu-sim` with none of the variables set that change its manners.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smmu-sim"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    for variable in [
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "CI",
        "SMMU_SIM_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command prints on a terminal, both streams together; `None` if there is no `script`.
fn on_a_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_smmu-sim"), arguments.join(" "));
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .env("TERM", "xterm")
        .envs(environment.iter().copied());
    // `CI` makes anstream take a dumb terminal for one with colours.
    for variable in ["CI", "CLICOLOR", "CLICOLOR_FORCE", "SMMU_SIM_LOG"] {
        script.env_remove(variable);
    }
    if !environment.iter().any(|(name, _)| *name == "NO_COLOR") {
        script.env_remove("NO_COLOR");
    }
    let output = script.output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_help_of_every_command_teaches_by_example() {
    let top = stdout(&run(&["--help"]));
    for section in ["Examples:", "Exit codes:", "Environment:"] {
        assert!(top.contains(section), "{section}");
    }
    for name in COMMANDS {
        assert!(top.contains(&format!("\n  {name} ")), "{name}");
        let help = stdout(&run(&[name, "--help"]));
        let (_, examples) = help.split_once("Examples:\n").expect(name);
        assert!(examples.contains(&format!("smmu-sim {name}")), "{name}");
        // What a page says fits a terminal.
        assert!(help.lines().all(|line| line.len() <= 120), "{name}");
    }
    let listed = top.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty()).count();
    assert_eq!(listed, COMMANDS.len() + 1, "a command is not tested here");
}

#[test]
fn misspelt_names_are_answered_with_the_right_ones() {
    for (arguments, suggestion) in [
        ("wlak", "'walk'"),
        ("walk --snapshto x", "'--snapshot'"),
        ("run --format jsno", "'json'"),
        ("decode stee 0", "'ste'"),
        ("decode ste --part mmu700 0", "'mmu-700'"),
        ("completions bsh", "'bash'"),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&output);
        assert!(
            text.contains("similar") && text.contains(suggestion),
            "{text}"
        );
    }
}

#[test]
fn output_that_is_no_terminal_is_plain_unless_asked() {
    for arguments in [
        &["run"][..],
        &WALK,
        &["decode", "ste", "0", "0", "0", "0", "0", "0", "0", "0"],
    ] {
        let plain = stdout(&run(arguments));
        assert!(!plain.contains(ESCAPE), "{arguments:?}");
        let mut coloured = arguments.to_vec();
        coloured.extend(["--color", "always"]);
        let coloured = stdout(&run(&coloured));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
    assert!(stdout(&run(&["run", "--color=always"])).contains(ESCAPE));
    // Programs never get any.
    let json = ["run", "--color", "always", "--format", "json"];
    assert!(!stdout(&run(&json)).contains(ESCAPE));
    // Nor is help coloured, and messages, but when they are asked to be.
    assert!(!stdout(&run(&["--help"])).contains(ESCAPE));
    assert!(stdout(&run(&["--help", "--color", "always"])).contains(ESCAPE));
    assert!(!stderr(&run(&["walk"])).contains(ESCAPE));
    let missing = ["walk", "--snapshot", "none", "--sid", "0", "0"];
    assert!(!stderr(&run(&missing)).contains(ESCAPE));
}

#[test]
fn a_terminal_gets_colour_unless_no_color_says_otherwise() {
    let Some(text) = on_a_terminal(&["run"], &[]) else {
        return;
    };
    assert!(text.contains(ESCAPE));
    for (arguments, environment) in [
        (&["run"][..], &[("NO_COLOR", "1")][..]),
        (&["run"], &[("TERM", "dumb")]),
        (&["run", "--color", "never"], &[]),
        (&["--help", "--color", "never"], &[]),
    ] {
        let text = on_a_terminal(arguments, environment).unwrap();
        assert!(!text.contains(ESCAPE), "{arguments:?} {environment:?}");
    }
    let forced = on_a_terminal(&["run", "--color", "always"], &[("NO_COLOR", "1")]).unwrap();
    assert!(forced.contains(ESCAPE));
}

#[test]
fn progress_is_shown_on_a_terminal_only_and_leaves_nothing() {
    let check = ["check", "tests/data/snapshots/k72_16k_strict.vfio.json"];
    assert!(run(&check).stderr.is_empty());
    let Some(text) = on_a_terminal(&check, &[]) else {
        return;
    };
    assert!(text.contains("1 of 1: tests/data"), "{text}");
    let (_, result) = text.rsplit_once("\r\x1b[K").unwrap();
    assert!(
        result.contains("checked ") && !result.contains("1 of 1"),
        "{text}"
    );
    for option in ["-q", "-v"] {
        let quiet = on_a_terminal(&[check[0], check[1], option], &[]).unwrap();
        assert!(!quiet.contains("1 of 1"), "{quiet}");
    }
}

#[test]
fn logs_go_to_standard_error_as_far_as_asked() {
    let log = |options: &[&str], filter: Option<&str>| {
        let mut command = command(&WALK);
        command.args(options);
        command.envs(filter.map(|filter| ("SMMU_SIM_LOG", filter)));
        let output = command.output().unwrap();
        assert_eq!(stdout(&output), stdout(&run(&WALK)), "{options:?}");
        stderr(&output)
    };
    assert_eq!(log(&[], None), "");
    assert_eq!(log(&["-q"], None), "");
    let debug = log(&["-vv"], None);
    assert!(
        debug.contains("DEBUG smmu_sim::machine::memory: page read base=0x40e40000"),
        "{debug}"
    );
    assert!(!log(&["-v"], None).contains("DEBUG"));
    // The variable wins over the options; an empty one is none.
    assert_eq!(log(&["-q"], Some("smmu_sim::machine=debug")), debug);
    assert_eq!(log(&["-vv"], Some("smmu_sim::live=trace")), "");
    assert_eq!(log(&["-vv"], Some("")), debug);
    // No host clock: the same each time.
    assert_eq!(log(&["-vv"], None), debug);

    let mut wrong = command(&WALK);
    let output = wrong.env("SMMU_SIM_LOG", "smmu=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("SMMU_SIM_LOG=smmu=loud: "));
    assert_eq!(run(&["run", "-q", "-v"]).status.code(), Some(2));
}

#[test]
fn completions_know_commands_options_and_parts() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&run(&["completions", shell]));
        // The generators for elvish and powershell leave values out.
        let values: &[&str] = match shell {
            "elvish" | "powershell" => &[],
            _ => &["mmu-700"],
        };
        for word in COMMANDS.iter().chain(&["snapshot", "qmp"]).chain(values) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The shell itself finds nothing wrong with its script.
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), run(&["completions", "bash"]).stdout).unwrap();
    let bash = Command::new("bash").arg("-n").arg(script.path()).output();
    if let Ok(bash) = bash {
        assert!(bash.status.success(), "{bash:?}");
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    stdout(&run(&["man", "--out", pages.to_str().unwrap()]));
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<_> = COMMANDS.map(|name| format!("smmu-sim-{name}.1")).into();
    expected.push("smmu-sim.1".into());
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        let page = std::fs::read_to_string(pages.join(&name)).unwrap();
        for section in [
            ".SH NAME",
            ".SH SYNOPSIS",
            ".SH DESCRIPTION",
            ".SH EXAMPLES",
        ] {
            assert!(page.contains(section), "{name}: {section}");
        }
    }
    let main = stdout(&run(&["man"]));
    assert_eq!(
        main,
        std::fs::read_to_string(pages.join("smmu-sim.1")).unwrap()
    );
    let output = run(&["man", "--out", "/dev/null/man"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--out /dev/null/man: "));
}

#[test]
fn a_reader_that_goes_away_is_no_error_of_any_command() {
    let check = ["check", "tests/data/snapshots/k72_16k_strict.vfio.json"];
    let registers = ["registers", "--snapshot", SNAPSHOT];
    for arguments in [
        &["run"][..],
        &["run", "--format", "json"],
        &WALK,
        &check,
        &registers,
        &["decode", "reg", "IDR5", "74"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["walk", "--help"],
        &["--version"],
    ] {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_standard_error_that_is_gone_changes_no_exit_code() {
    for (arguments, code) in [
        (&["walk", "--snapshot", "none", "--sid", "0", "0"][..], 2),
        (&["run", "-vvv"], 0),
        (&["fly"], 2),
    ] {
        let mut child = command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

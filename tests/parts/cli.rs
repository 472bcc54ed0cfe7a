//! The command line from outside: what it prints, where, and with which exit code.

use std::{
    path::Path,
    process::{Command, Output},
};

fn graylane(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_graylane"))
        .args(args)
        .env("GRAYLANE_STATE", state)
        .env("XDG_CONFIG_HOME", state)
        .env_remove("KUBECONFIG")
        .output()
        .expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn help_goes_to_stdout_and_wrong_questions_to_stderr_with_two() {
    let state = tempfile::tempdir().unwrap();
    let help = graylane(state.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["get", "release", "apply", "completions", "graylane demo"] {
        assert!(out(&help).contains(word), "{word} is not in the help");
    }
    for wrong in [
        &["nonsense"][..],
        &["get"],
        &["get", "pods"],
        &["get", "apps", "-o", "xml"],
        &["release", "wait", "r"],
        &[
            "release",
            "wait",
            "r",
            "--phase",
            "Succeeded",
            "--timeout",
            "soon",
        ],
        &["apply"],
        &["--log-level", "loud", "get", "apps"],
        &["--log-format", "xml", "get", "apps"],
        &["--state", "a", "--context", "b", "get", "apps"],
    ] {
        let told = graylane(state.path(), wrong);
        assert_eq!(told.status.code(), Some(2), "{wrong:?}: {}", err(&told));
        assert!(out(&told).is_empty() && !err(&told).is_empty(), "{wrong:?}");
    }
}

#[test]
fn the_log_goes_to_the_file_that_is_named_and_nowhere_else() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("own.log");
    let name = file.display().to_string();
    let args = [
        "--log-level",
        "trace",
        "--log-format",
        "json",
        "get",
        "apps",
    ];
    let alone = graylane(state.path(), &args);
    let logged = graylane(state.path(), &[&["--log", &name][..], &args].concat());
    assert_eq!(err(&alone), err(&logged), "no pocket runs there");
    let text = std::fs::read_to_string(&file).expect("it is made");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let nowhere = graylane(state.path(), &["--log", "/nowhere/own.log", "get", "apps"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        err(&nowhere).contains("--log /nowhere/own.log"),
        "{}",
        err(&nowhere)
    );
}

#[test]
fn completions_know_the_commands() {
    let state = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = graylane(state.path(), &["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{}", err(&script));
        assert!(out(&script).contains("release"), "{shell}");
    }
}

#[test]
fn without_a_pocket_it_says_how_to_start_one() {
    let state = tempfile::tempdir().unwrap();
    let told = graylane(state.path(), &["get", "apps"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        err(&told).contains("no pocket runs in") && err(&told).contains("graylane demo"),
        "{}",
        err(&told)
    );
    assert!(out(&told).is_empty());
}

#[test]
fn what_watches_requests_needs_a_cluster_and_a_sound_question() {
    let state = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| graylane(state.path(), args).status.code();
    assert_eq!(
        [
            code(&["signals"]),
            code(&["signals", "a", "--for", "6m"]),
            code(&["signals", "a", "-o", "name"])
        ],
        [Some(2); 3]
    );
    assert_eq!(
        [
            code(&["trace", "--for", "soon"]),
            code(&["trace", "-o", "yaml"])
        ],
        [Some(2); 2]
    );
    // Not to know is not to be worse.
    let told = graylane(state.path(), &["signals", "a", "--check"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(
        err(&told).contains("whether the new version is worse cannot be told: no pocket runs in"),
        "{}",
        err(&told)
    );
    let help = out(&graylane(state.path(), &["signals", "--help"]));
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("Exit code 1 when the new version is worse, 0 when it is not, 2 when"),
        "{help}"
    );
    for args in [&["signals", "a"][..], &["trace", "--follow"]] {
        let told = graylane(state.path(), args);
        assert_eq!(told.status.code(), Some(1));
        assert!(
            err(&told).contains("no pocket runs in") && out(&told).is_empty(),
            "{}",
            err(&told)
        );
    }
}

#[test]
fn a_comparison_of_two_answers_never_ends_with_one_unless_it_was_made() {
    let state = tempfile::tempdir().unwrap();
    let help = out(&graylane(state.path(), &["probe", "--help"]));
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("Exit code 0 when they are equal, 1 when they differ, 2 when"),
        "{help}"
    );
    for wrong in [
        &["--diff", "--ignore", "x-date"][..],
        &["--diff", "--ignore", "$.a["],
        &["--diff", "--count", "2"],
        &["--lane", "gray"],
        &["--ignore", "$.time"],
        &["--diff"],
    ] {
        let told = graylane(state.path(), &[&["probe", "/A/a"], wrong].concat());
        assert_eq!(told.status.code(), Some(2), "{wrong:?}: {}", err(&told));
        assert!(out(&told).is_empty() && !err(&told).is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_wrong_configuration_is_told_with_its_line() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("graylane")).unwrap();
    std::fs::write(state.path().join("graylane/config.toml"), "\nusr = 'x'\n").unwrap();
    let told = graylane(state.path(), &["get", "apps"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        err(&told).contains("config.toml") && err(&told).contains("line 2"),
        "{}",
        err(&told)
    );
}

#[test]
fn apply_tells_all_errors_of_all_files_at_once_and_needs_no_cluster_for_it() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("files");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.yaml"), "kind: Lane\n  x: [\n").unwrap();
    let lane = "apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata: {name: l}\nspec:\n  tag: t\n---\nfoo: 1\n";
    std::fs::write(folder.join("b.yaml"), lane).unwrap();
    let bad = lane
        .replace("---\nfoo: 1\n", "---\n")
        .replace("kind: Lane", "kind: Lain");
    std::fs::write(folder.join("c.yml"), bad).unwrap();
    std::fs::write(folder.join("not-read.txt"), "x: [").unwrap();
    let told = graylane(state.path(), &["apply", "-f", folder.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(1));
    let told = err(&told);
    for part in [
        "a.yaml:2",
        "b.yaml:7",
        "c.yml:2",
        "Lain",
        "nothing was applied: 3 errors",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    let missing = graylane(state.path(), &["apply", "-f", "/nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("/nowhere.yaml"), "{}", err(&missing));
}

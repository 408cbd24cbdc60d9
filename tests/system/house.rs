//! The order of the house: which crate may use which, how files depend on each other, how long they are, and whether the
//! documents are true about names and places.

mod circles;
mod directions;
mod documents;
mod migrations;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository, by its path from the root.
fn read(path: &str) -> String {
    let whole = root().join(path);
    std::fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// What a command says, run in the root of the repository.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// The files of the repository that match one of git's patterns, new ones included.
fn files(patterns: &[&str]) -> Vec<String> {
    let arguments = [
        &["ls-files", "--cached", "--others", "--exclude-standard", "--"],
        patterns,
    ]
    .concat();
    let listed = output("git", &arguments);
    let existing = listed.lines().filter(|path| root().join(path).exists());
    let files: Vec<String> = existing.map(str::to_owned).collect();
    assert!(
        !files.is_empty(),
        "git lists no file for {patterns:?}: these tests need a checkout of git"
    );
    files
}

/// Files that are one state machine may be longer.
const STATE_MACHINES: [&str; 3] = [
    "crates/ledger/src/chunk.rs",
    "crates/ledger/src/run.rs",
    "tests/system/protocol/model.rs",
];

#[test]
fn no_file_is_too_long_to_read() {
    const LONGEST: usize = 500;
    const LONGEST_OF_TESTS: usize = 600;
    let mut long = Vec::new();
    for path in files(&["crates/*.rs", "benches/*.rs", "tests/*.rs"]) {
        let is_test = path.starts_with("tests/") || path.contains("/tests");
        let longest = if is_test { LONGEST_OF_TESTS } else { LONGEST };
        let lines = read(&path).lines().count();
        if lines > longest && !STATE_MACHINES.contains(&path.as_str()) {
            long.push(format!("{path}: {lines} lines, at most {longest}"));
        }
    }
    assert!(long.is_empty(), "split these files:\n{}", long.join("\n"));
}

#[test]
fn no_file_is_named_for_what_does_not_fit_elsewhere() {
    const NAMES: [&str; 8] = [
        "utils.rs",
        "util.rs",
        "common.rs",
        "helpers.rs",
        "misc.rs",
        "types.rs",
        "models.rs",
        "mod.rs",
    ];
    let found: Vec<String> = files(&["crates/*.rs", "benches/*.rs", "tests/*.rs"])
        .into_iter()
        .filter(|path| path.rsplit('/').next().is_some_and(|name| NAMES.contains(&name)))
        .collect();
    assert!(found.is_empty(), "name these files for their content: {found:?}");
}

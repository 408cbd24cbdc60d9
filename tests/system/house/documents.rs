//! Whether documents are true about names and places: links, paths, tests, and what grep finds.

use std::collections::BTreeSet;

use tidemark_worker::row::columns::COLUMNS;

use super::{files, output, read, root};

const ARCHITECTURE: &str = "docs/architecture.md";
const GUARANTEES: &str = "docs/guarantees.md";

/// The files that match no line of `#>`, and the lines that match no file.
fn differences(expected: &[&str], found: &[&str]) -> Vec<String> {
    let covers = |line: &str, path: &str| {
        if line.ends_with('/') {
            path.starts_with(line)
        } else {
            path == line
        }
    };
    let surplus = found
        .iter()
        .filter(|path| !expected.iter().any(|line| covers(line, path)))
        .map(|path| format!("{path} is found and not expected"));
    let missing = expected
        .iter()
        .filter(|line| !found.iter().any(|path| covers(line, path)))
        .map(|line| format!("{line} is expected and not found"));
    surplus.chain(missing).collect()
}

/// Each command of the block, and the files that its lines `#>` name.
fn grep_lines(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, section) = text
        .split_once("## What can be checked with grep")
        .expect("the section is there");
    let (_, block) = section.split_once("```sh\n").expect("a block begins");
    let (block, _) = block.split_once("```").expect("the block ends");
    let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        if let Some(paths) = line.strip_prefix("#>") {
            let (_, expected) = lines.last_mut().expect("a command comes before its files");
            expected.extend(paths.split_whitespace().filter(|path| *path != "nothing"));
        } else if !line.starts_with('#') && !line.is_empty() {
            lines.push((line, Vec::new()));
        }
    }
    lines
}

#[test]
fn grep_finds_what_the_architecture_says() {
    let text = read(ARCHITECTURE);
    let lines = grep_lines(&text);
    assert!(lines.len() > 20, "only {} commands", lines.len());
    let mut wrong = Vec::new();
    for (command, expected) in lines {
        let found = output("bash", &["-c", command]);
        let found: Vec<&str> = found.lines().collect();
        let differences = differences(&expected, &found);
        if !differences.is_empty() {
            wrong.push(format!("{command}\n  {}", differences.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{ARCHITECTURE}:\n{}", wrong.join("\n"));
}

/// Texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn each_guarantee_names_tests_that_exist() {
    let text = read(GUARANTEES);
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| guarantee"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let tests: Vec<&str> = row
            .trim_end_matches(" |")
            .rsplit("| ")
            .take(1)
            .flat_map(quoted)
            .collect();
        if tests.is_empty() {
            wrong.push(format!("no test: {row}"));
        }
        for test in tests {
            count += 1;
            let Some((place, name)) = test.rsplit_once("::") else {
                wrong.push(format!("`{test}` is no test"));
                continue;
            };
            let path = if place.starts_with("crates/") {
                place.to_owned()
            } else {
                format!("tests/system/{}.rs", place.replace("::", "/"))
            };
            let is_there = std::fs::read_to_string(root().join(&path)).is_ok_and(|code| {
                let before = code.split(&format!("fn {name}(")).next().unwrap_or_default();
                before.len() < code.len()
            });
            if !is_there {
                wrong.push(format!("`{test}`: {path} has no such test"));
            }
        }
    }
    assert!(count > 100, "only {count} tests are named");
    assert!(wrong.is_empty(), "{GUARANTEES}:\n{}", wrong.join("\n"));
}

#[test]
fn every_column_of_the_target_is_described() {
    let text = read("docs/data.md");
    let described: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(quoted)
        .collect();
    let missing: Vec<&str> = COLUMNS
        .iter()
        .map(|column| column.name)
        .filter(|name| !described.contains(name))
        .collect();
    assert!(missing.is_empty(), "docs/data.md lacks {missing:?}");
}

/// A heading as the address of a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The anchors of a page; blocks of code have none.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside = text.split("\n```").step_by(2);
    let headings = outside.flat_map(str::lines).filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in files(&["*.md"]) {
        let text = read(&page);
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, place) = target.split_once('#').unwrap_or((target, ""));
            let whole = if path.is_empty() {
                root().join(&page)
            } else {
                root().join(folder).join(path)
            };
            if !whole.exists() {
                wrong.push(format!("{page}: {target}"));
            } else if !place.is_empty() {
                let other = std::fs::read_to_string(&whole).unwrap_or_default();
                if !anchors(&other).contains(place) {
                    wrong.push(format!("{page}: {target}: no such heading"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

/// Words of a text that look like a path below one of the folders.
fn paths_below<'a>(text: &'a str, folders: &[&str], endings: &[&str]) -> BTreeSet<&'a str> {
    let is_path = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    let words = text
        .split(|letter| !is_path(letter))
        .map(|word| word.trim_end_matches('.'));
    words
        .filter(|word| folders.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| endings.iter().any(|ending| word.ends_with(ending)))
        .collect()
}

#[test]
fn paths_that_documents_and_comments_name_exist() {
    let mut wrong = Vec::new();
    for page in files(&["*.md"]) {
        let text = read(&page);
        for path in paths_below(
            &text,
            &["crates/", "tests/", "docs/", "scripts/", "deploy/"],
            &[".rs", ".sql", ".md"],
        ) {
            if !root().join(path).exists() {
                wrong.push(format!("{page}: {path}"));
            }
        }
    }
    // a released migration is not changed
    let code = [
        "*.rs",
        "*.sql",
        "*.yml",
        "*.yaml",
        "*.toml",
        "Makefile",
        "scripts",
        ".env.example",
        ":!migrations",
    ];
    for file in files(&code) {
        let text = read(&file);
        for path in paths_below(&text, &["docs/"], &[".md"]) {
            if !root().join(path).exists() {
                wrong.push(format!("{file}: {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "paths that do not exist:\n{}", wrong.join("\n"));
}

#[test]
fn every_alert_links_to_the_part_of_the_runbook_that_names_it() {
    let runbook = read("docs/runbook.md");
    let (_, table) = runbook.split_once("\n## Alerts\n").expect("a section of alerts");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rules = read("deploy/alerts/tidemark.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10, "only {} alerts", alerts.len());
    let mut wrong = Vec::new();
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        let link = alert.split_once("runbook_url: '{{ $externalLabels.docs_address }}runbook.html#");
        let Some((place, _)) = link.and_then(|(_, rest)| rest.split_once('\'')) else {
            wrong.push(format!("{name} has no link to the runbook"));
            continue;
        };
        let row = table.lines().find(|row| row.contains(&format!("`{name}`")));
        let is_there = anchors(&runbook).contains(place);
        // an alert whose row has no link has all it needs in that row
        let is_row = row.is_some_and(|row| row.contains(&format!("(#{place})")) || place == "alerts");
        if !is_there || !is_row {
            wrong.push(format!(
                "{name}: #{place} is not where the runbook has it: {row:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_book_has_every_document() {
    let summary = read("docs/SUMMARY.md");
    let pages = files(&["docs/*.md", "docs/design/*.md"]);
    let missing: Vec<&str> = pages
        .iter()
        .filter_map(|page| page.strip_prefix("docs/"))
        .filter(|page| *page != "SUMMARY.md" && !summary.contains(&format!("]({page})")))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md lacks {missing:?}");
}

#[test]
fn a_heading_becomes_its_anchor() {
    assert_eq!(
        anchor(" A source was restored, or swapped"),
        "a-source-was-restored-or-swapped"
    );
    assert_eq!(
        differences(&["a/", "b"], &["a/x", "c"]),
        ["c is found and not expected", "b is expected and not found"]
    );
}

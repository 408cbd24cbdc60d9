//! The rules of `migrations/README.md` that the text of a migration can show. They hold for migrations since releases run
//! side by side; those before are not changed any more.

use std::collections::BTreeSet;

use super::{files, read};

/// The first migration with a mark.
const FIRST: i64 = 20_261_129_232_500;

/// A statement's words, in capitals, without comments. Brackets and commas are words.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let code: String = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default().to_uppercase() + "\n")
        .collect();
    let apart = code.replace('(', " ( ").replace(')', " ) ").replace(',', " , ");
    apart
        .split(';')
        .map(|one| one.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

fn has(words: &[String], wanted: &[&str]) -> bool {
    words.windows(wanted.len()).any(|some| some == wanted)
}

/// The word after these.
fn after<'a>(words: &'a [String], wanted: &[&str]) -> Option<&'a str> {
    let place = words.windows(wanted.len()).position(|some| some == wanted)?;
    words.get(place + wanted.len()).map(String::as_str)
}

/// Whether a release that knows the tables as they were may stop working.
fn contracts(words: &[String]) -> bool {
    let alters_type = words.windows(4).any(|four| {
        (four[0] == "ALTER" && four[1] == "COLUMN" && four[3] == "TYPE")
            || (four[1] == "SET" && four[2] == "DATA" && four[3] == "TYPE")
    });
    let adds_required =
        has(words, &["ADD", "COLUMN"]) && has(words, &["NOT", "NULL"]) && !has(words, &["DEFAULT"]);
    alters_type
        || adds_required
        || words
            .iter()
            .any(|word| ["DROP", "RENAME", "REVOKE", "TRUNCATE"].contains(&word.as_str()))
        || has(words, &["SET", "NOT", "NULL"])
}

/// What is wrong with a migration, in the words of the rules.
fn faults(version: i64, up: &str, known: &BTreeSet<i64>) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let line = |start: &str| {
        up.lines()
            .find_map(|line| line.strip_prefix(start))
            .map(str::trim)
    };
    let from = line("-- works from: ").and_then(|text| text.parse::<i64>().ok());
    if !from.is_some_and(|from| from < version && known.contains(&from)) {
        faults.push("has no line `-- works from: VERSION` with the version of an earlier migration");
    }
    let statements = statements(up);
    let made: BTreeSet<&str> = statements
        .iter()
        .filter_map(|words| after(words, &["CREATE", "TABLE"]))
        .collect();
    if statements.iter().any(|words| contracts(words)) && line("-- contract: ").is_none_or(str::is_empty) {
        faults
            .push("removes or narrows something, and has no line `-- contract: since when nothing uses it`");
    }
    let mut altered = BTreeSet::new();
    for words in &statements {
        if words[0] == "CREATE" && words.iter().take(3).any(|word| word == "INDEX") {
            let is_new = after(words, &["ON"]).is_some_and(|table| made.contains(table));
            let is_careful = has(words, &["INDEX", "CONCURRENTLY", "IF", "NOT", "EXISTS"])
                && up.starts_with("-- no-transaction\n");
            if !is_new && !is_careful {
                faults.push(
                    "makes an index of an existing table without CONCURRENTLY IF NOT EXISTS and the first line `-- no-transaction`",
                );
            }
        }
        let table = after(words, &["ALTER", "TABLE"]).filter(|table| !made.contains(table));
        altered.extend(table);
        if table.is_some() && has(words, &["ADD", "CONSTRAINT"]) && !has(words, &["NOT", "VALID"]) {
            faults.push("adds a constraint to an existing table without NOT VALID");
        }
        let fills = ["RANDOM", "GEN_RANDOM_UUID", "CLOCK_TIMESTAMP"];
        if table.is_some()
            && has(words, &["ADD", "COLUMN"])
            && words
                .iter()
                .any(|word| fills.contains(&word.as_str()) || word == "STORED")
        {
            faults.push("adds a column with a value that rewrites the table");
        }
        let large = ["CONVERSATIONS_ANALYTICS", "ETL_CHUNK", "ETL_CONTROL"];
        if large
            .iter()
            .any(|large| has(words, &["UPDATE", large]) || has(words, &["DELETE", "FROM", large]))
        {
            faults.push("writes the rows of a large table");
        }
        if has(words, &["LOCK", "TABLE"]) || words.iter().any(|word| word == "LOCK_TIMEOUT") {
            faults.push("locks by itself, or sets lock_timeout, which `tidemark migrate` does");
        }
    }
    if altered.len() > 1 {
        faults.push("alters several existing tables: it would hold the first while it waits for the second");
    }
    if up.starts_with("-- no-transaction") && statements.len() != 1 {
        faults.push("is no transaction, and has not exactly one statement");
    }
    faults
}

#[test]
fn migrations_let_the_release_before_work_and_stop_nobody() {
    let paths = files(&["migrations/*.sql"]);
    let version = |path: &str| -> Option<i64> { path.split('/').nth(1)?.get(..14)?.parse().ok() };
    let known: BTreeSet<i64> = paths.iter().filter_map(|path| version(path)).collect();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".up.sql")) {
        let version = version(path).expect("a migration begins with its version");
        if version < FIRST {
            continue;
        }
        let up = read(path);
        found.extend(
            faults(version, &up, &known)
                .iter()
                .map(|fault| format!("{path} {fault}")),
        );
        let down = read(&path.replace(".up.sql", ".down.sql"));
        if up.starts_with("-- no-transaction") != down.starts_with("-- no-transaction") {
            found.push(format!("{path} and its way back differ in `-- no-transaction`"));
        }
    }
    assert!(
        found.is_empty(),
        "see migrations/README.md:\n{}",
        found.join("\n")
    );
}

#[test]
fn what_a_migration_must_not_do_is_found_in_its_text() {
    let known = BTreeSet::from([1, 2]);
    let of = |sql: &str| faults(3, &format!("-- Says why.\n-- works from: 2\n{sql}"), &known);
    for careful in [
        "ALTER TABLE tenants ADD COLUMN plan text NOT NULL DEFAULT 'free';",
        "CREATE TABLE one (a integer NOT NULL); CREATE INDEX one_idx ON one (a); ALTER TABLE one ENABLE ROW LEVEL SECURITY;",
        "ALTER TABLE tenants ADD CONSTRAINT few CHECK (id < 9) NOT VALID;",
        "-- contract: nothing reads it since 2\nALTER TABLE tenants DROP COLUMN plan;",
    ] {
        assert!(of(careful).is_empty(), "{careful}: {:?}", of(careful));
    }
    let index = "-- no-transaction\n-- works from: 2\nCREATE INDEX CONCURRENTLY IF NOT EXISTS one_idx ON tenants (name);";
    assert!(faults(3, index, &known).is_empty());
    for (careless, part) in [
        ("ALTER TABLE tenants DROP COLUMN plan;", "contract"),
        ("ALTER TABLE tenants RENAME COLUMN plan TO rate;", "contract"),
        ("ALTER TABLE tenants ALTER COLUMN plan TYPE integer;", "contract"),
        ("ALTER TABLE tenants ALTER COLUMN plan SET NOT NULL;", "contract"),
        ("ALTER TABLE tenants ADD COLUMN plan text NOT NULL;", "contract"),
        ("drop view messages_live;", "contract"),
        ("CREATE INDEX one_idx ON tenants (name);", "CONCURRENTLY"),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY one_idx ON tenants (name);",
            "CONCURRENTLY",
        ),
        (
            "ALTER TABLE tenants ADD CONSTRAINT few CHECK (id < 9);",
            "NOT VALID",
        ),
        (
            "ALTER TABLE tenants ADD COLUMN one uuid DEFAULT gen_random_uuid();",
            "rewrites",
        ),
        ("UPDATE conversations_analytics SET status = 0;", "large table"),
        ("SET lock_timeout = '1h';", "lock_timeout"),
        (
            "ALTER TABLE tenants ADD COLUMN a text; ALTER TABLE etl_chunk ADD COLUMN a text;",
            "several",
        ),
    ] {
        assert!(
            of(careless).iter().any(|fault| fault.contains(part)),
            "{careless}: {:?}",
            of(careless)
        );
    }
    assert!(!faults(3, "-- works from: 9\nSELECT 1;", &known).is_empty());
    assert!(!faults(3, "SELECT 1;", &known).is_empty());
    assert!(!faults(3, &format!("{index}\nSELECT 1;"), &known).is_empty());
}

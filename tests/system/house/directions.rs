//! Which crate may use which.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{files, output, read};

/// From the top down: each crate and the crates that it may use.
const MAY_USE: [(&str, &[&str]); 14] = [
    (
        "cli",
        &[
            "console",
            "operations",
            "producer",
            "worker",
            "finalizer",
            "ledger",
            "source",
            "broker",
            "postgres",
            "runtime",
            "net",
            "shared",
            "sample",
        ],
    ),
    (
        "console",
        &[
            "operations",
            "ledger",
            "source",
            "broker",
            "postgres",
            "runtime",
            "shared",
        ],
    ),
    (
        "operations",
        &[
            "producer",
            "worker",
            "finalizer",
            "ledger",
            "source",
            "broker",
            "postgres",
            "runtime",
            "net",
            "shared",
        ],
    ),
    (
        "producer",
        &[
            "ledger", "source", "broker", "postgres", "runtime", "net", "shared",
        ],
    ),
    (
        "worker",
        &[
            "ledger", "source", "broker", "postgres", "runtime", "net", "shared",
        ],
    ),
    (
        "finalizer",
        &["ledger", "broker", "postgres", "runtime", "net", "shared"],
    ),
    ("ledger", &["postgres", "runtime", "net", "shared"]),
    ("source", &["postgres", "runtime", "net", "shared"]),
    ("broker", &["postgres", "runtime", "net", "shared"]),
    ("runtime", &["postgres", "net", "shared"]),
    ("postgres", &["net"]),
    ("net", &[]),
    ("shared", &[]),
    ("sample", &["shared"]),
];

/// Members of the workspace outside `crates/`: they use whatever they test or measure.
const OUTSIDE: [&str; 2] = ["tests", "benches"];

/// Each member of the workspace, with the names of what its manifest asks for, build and test included.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let text = output(
        cargo,
        &["metadata", "--no-deps", "--offline", "--format-version", "1"],
    );
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let named = packages.iter().map(|package| {
        let wanted = package["dependencies"].as_array().expect("dependencies");
        let wanted = wanted
            .iter()
            .map(|one| one["name"].as_str().expect("a name").to_owned());
        let name = package["name"].as_str().expect("a name");
        (name.trim_start_matches("tidemark-").to_owned(), wanted.collect())
    });
    // the binary's crate is named `tidemark`
    named
        .map(|(name, wanted)| {
            (
                if name == "tidemark" {
                    "cli".to_owned()
                } else {
                    name
                },
                wanted,
            )
        })
        .collect()
}

fn may_use(of: &str) -> &'static [&'static str] {
    MAY_USE
        .iter()
        .find(|(name, _)| *name == of)
        .map_or_else(|| panic!("crates/{of} is not in MAY_USE"), |(_, may)| may)
}

#[test]
fn manifests_point_one_way() {
    let manifests = manifests();
    let members: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).chain(OUTSIDE).collect();
    assert_eq!(members, known, "the workspace's members and MAY_USE");
    let mut wrong = Vec::new();
    for (name, wanted) in manifests
        .iter()
        .filter(|(name, _)| !OUTSIDE.contains(&name.as_str()))
    {
        let ours = wanted.iter().filter_map(|one| one.strip_prefix("tidemark-"));
        wrong.extend(
            ours.filter(|one| !may_use(name).contains(one))
                .map(|one| format!("crates/{name} asks for {one}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_directions_has_no_circle() {
    let mut below = BTreeSet::new();
    for (name, may) in MAY_USE.iter().rev().filter(|(name, _)| *name != "sample") {
        below.insert(*name);
        for one in may.iter().filter(|one| **one != "sample") {
            // `net` and `shared` are listed below all that use them, and so on upwards
            assert!(below.contains(one), "{name} may use {one}, which is above it");
        }
    }
}

#[test]
fn files_name_only_crates_that_theirs_may_use() {
    let mut wrong = Vec::new();
    for path in files(&["crates/*.rs"]) {
        let own = path.split('/').nth(1).expect("crates/NAME/…");
        let text = read(&path);
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for (at, _) in line.match_indices("tidemark_") {
                let rest = &line[at + "tidemark_".len()..];
                let name = rest
                    .split(|letter: char| !letter.is_ascii_lowercase())
                    .next()
                    .unwrap_or_default();
                let is_path = !line[..at].contains('"') && rest[name.len()..].starts_with("::")
                    || line.trim_start().starts_with("use ");
                let is_crate = MAY_USE.iter().any(|(known, _)| *known == name);
                if is_path && is_crate && name != own && !may_use(own).contains(&name) {
                    wrong.push(format!("{path}:{}: {name}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_domain_knows_no_database_no_broker_and_no_runtime() {
    let manifests = manifests();
    let domain = &manifests["shared"];
    for one in ["sqlx", "lapin", "tokio", "tokio-util", "async-trait", "futures"] {
        assert!(!domain.contains(one), "crates/shared asks for {one}");
    }
    for (name, wanted) in manifests
        .iter()
        .filter(|(name, _)| !OUTSIDE.contains(&name.as_str()))
    {
        assert!(
            name == "broker" || !wanted.contains("lapin"),
            "crates/{name} asks for lapin"
        );
    }
}

//! No circle among the files of a crate. A file's dependencies are the modules that its paths name (`crate::…`,
//! `super::…`, `self::…`, and its own submodules). A file may use what stands in a file above it, since that is where
//! shared types belong: such a line is no dependency here. Code of tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, read};

/// Files that may stay in a circle, with the reason.
const ALLOWED: [(&str, &str); 0] = [];

/// A module of a crate: its path from the crate's root, without `crate`.
type Module = Vec<String>;

struct Source {
    path: String,
    text: String,
    /// Names that the module passes on from other modules of the crate.
    exports: BTreeMap<String, Module>,
}

type Sources = BTreeMap<Module, Source>;

fn module_of(inside: &str) -> Module {
    let stem = inside.trim_end_matches(".rs");
    match stem {
        "lib" | "main" => Vec::new(),
        _ => stem.split('/').map(str::to_owned).collect(),
    }
}

/// The code of a file, without comments and without a module of tests at its end.
fn code(text: &str) -> String {
    let cut = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..cut]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Submodules that only tests have.
fn test_modules(text: &str) -> Vec<&str> {
    let after = text.split("#[cfg(test)]\n").skip(1);
    let declared = after.filter_map(|rest| rest.trim_start_matches("pub ").strip_prefix("mod "));
    declared
        .filter_map(|rest| rest.split_once(';'))
        .map(|(name, _)| name)
        .filter(|name| !name.contains('{'))
        .collect()
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Reads the paths that begin at the start of `text`: one, or those of a group in braces. Returns what is left.
fn paths<'a>(text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                inner = paths(inner, &path, found).trim_start();
                match inner.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => inner = more,
                    Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                    None => return inner.strip_prefix('}').unwrap_or(inner),
                }
            }
        }
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if more.starts_with(|letter| is_word(letter) || letter == '{') => rest = more,
            _ => break,
        }
    }
    if let Some(alias) = rest.strip_prefix(" as ") {
        rest = alias.trim_start_matches(is_word);
    }
    found.push(path);
    rest
}

/// Every path in a text that begins with one of the words.
fn paths_from(text: &str, words: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for word in words {
        for (at, _) in text.match_indices(&format!("{word}::")) {
            if !text[..at].ends_with(|letter| is_word(letter) || letter == ':' || letter == '$') {
                paths(&text[at..], &[], &mut found);
            }
        }
    }
    found
}

/// A path as the crate's root would write it.
fn absolute(path: &[String], of: &Module) -> Option<Vec<String>> {
    let mut base = of.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
        }
        // a submodule, or something from another crate
        _ => {}
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The module that a path ends in, through what modules pass on.
fn resolve(path: &[String], sources: &Sources) -> Option<Module> {
    let length = (0..=path.len())
        .rev()
        .find(|length| sources.contains_key(&path[..*length]))?;
    let module = path[..length].to_vec();
    match path
        .get(length)
        .and_then(|name| sources[&module].exports.get(name))
    {
        Some(other) if *other != module => Some(other.clone()),
        _ => Some(module),
    }
}

fn sources_of(name: &str) -> Sources {
    let folder = format!("crates/{name}/src/");
    let mut sources = Sources::new();
    let mut excluded: Vec<Module> = Vec::new();
    for path in files(&[&format!("{folder}*.rs")]) {
        let module = module_of(&path[folder.len()..]);
        let text = read(&path);
        excluded.extend(
            test_modules(&text)
                .into_iter()
                .map(|name| [module.clone(), vec![name.to_owned()]].concat()),
        );
        let text = code(&text);
        let exports = BTreeMap::new();
        sources.insert(module, Source { path, text, exports });
    }
    sources.retain(|module, _| !excluded.iter().any(|one| module.starts_with(one)));
    let modules: Vec<Module> = sources.keys().cloned().collect();
    for module in modules {
        let mut exports = BTreeMap::new();
        for (at, _) in sources[&module].text.match_indices("pub use ") {
            let mut found = Vec::new();
            paths(&sources[&module].text[at + "pub use ".len()..], &[], &mut found);
            for path in found {
                let other = absolute(&path, &module).and_then(|path| resolve(&path, &sources));
                if let (Some(name), Some(other)) = (path.last(), other.filter(|other| *other != module)) {
                    exports.insert(name.clone(), other);
                }
            }
        }
        sources.get_mut(&module).expect("listed above").exports = exports;
    }
    sources
}

fn edges(sources: &Sources) -> BTreeMap<&Module, BTreeSet<Module>> {
    let mut edges = BTreeMap::new();
    for (module, source) in sources {
        // passing a name on is no use of it
        let text: String =
            source
                .text
                .split("pub use ")
                .enumerate()
                .fold(String::new(), |text, (index, part)| {
                    text + if index == 0 {
                        part
                    } else {
                        part.split_once(';').map_or("", |(_, rest)| rest)
                    }
                });
        let own: Vec<&str> = sources
            .keys()
            .filter(|one| one.len() == module.len() + 1 && one.starts_with(module))
            .filter_map(|one| one.last().map(String::as_str))
            .collect();
        let named = paths_from(&text, &["crate", "super", "self"])
            .into_iter()
            .chain(paths_from(&text, &own));
        let uses = named
            .filter_map(|path| resolve(&absolute(&path, module)?, sources))
            .filter(|other| !module.starts_with(other));
        edges.insert(module, uses.collect());
    }
    edges
}

/// What can be reached from a module, by any number of steps.
fn reachable<'a>(from: &'a Module, edges: &'a BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

#[test]
fn no_files_of_a_crate_form_a_circle() {
    let manifests = files(&["crates/*/Cargo.toml"]);
    let mut circles = Vec::new();
    for manifest in manifests {
        let name = manifest.split('/').nth(1).expect("crates/NAME/Cargo.toml");
        let sources = sources_of(name);
        let edges = edges(&sources);
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = sources
            .keys()
            .map(|module| (module, reachable(module, &edges)))
            .collect();
        for (module, uses) in &edges {
            for other in uses.iter().filter(|other| reach[other].contains(module)) {
                let (from, to) = (&sources[*module].path, &sources[other].path);
                if !ALLOWED.iter().any(|(path, _)| path == from) {
                    circles.push(format!("{from} -> {to}"));
                }
            }
        }
    }
    assert!(circles.is_empty(), "lines of circles:\n{}", circles.join("\n"));
}

#[test]
fn paths_of_a_group_are_read_one_by_one() {
    let found = paths_from("use super::{a::{B, c as d}, e::F,\n};", &["super"]);
    let found: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["super::a::B", "super::a::c", "super::e::F"]);
}

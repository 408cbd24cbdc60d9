//! The table of settings in `docs/settings.md`, made from the code. The test below compares the page with it.

use std::path::Path;

use super::meaning::{allowed, entries};
use super::read::VARIABLES;

const BEGIN: &str = "<!-- made from the code: begin -->\n";
const END: &str = "<!-- made from the code: end -->\n";

/// Set to anything, this variable makes the test write the table instead of comparing it.
const WRITE: &str = "TIDEMARK_WRITE_SETTINGS";

fn render() -> String {
    let mut table =
        "| setting | environment | default | allowed | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (setting, default, meaning) in entries() {
        let variables: Vec<String> = VARIABLES
            .iter()
            .filter(|(_, path)| path.join(".").replace("sources.main", "sources.*") == setting)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let allowed = allowed(setting);
        let default = if default.is_empty() {
            default
        } else {
            format!("`{default}`")
        };
        table += &format!(
            "| `{}` | {} | {default} | {allowed} | {meaning} |\n",
            setting.replace('*', "NAME"),
            variables.join(", "),
            meaning = meaning.replace("sources.*", "sources.NAME")
        );
    }
    table
}

#[test]
fn the_page_of_settings_has_the_table_that_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("docs/settings.md has the line that begins the table");
    let (table, after) = rest
        .split_once(END)
        .expect("docs/settings.md has the line that ends the table");
    let made = render();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        table, made,
        "docs/settings.md is not what the code has; write it anew: \
         {WRITE}=1 cargo test -p tidemark-runtime the_page_of_settings"
    );
}

#[test]
fn every_setting_has_a_line_in_the_table() {
    let lines: Vec<&str> = entries().into_iter().map(|(setting, ..)| setting).collect();
    for (name, path) in VARIABLES {
        let setting = path.join(".").replace("sources.main", "sources.*");
        let count = lines.iter().filter(|line| **line == setting).count();
        assert_eq!(count, 1, "{name} is the variable of {setting}");
    }
}

//! Property tests: any settings are accepted or refused without a panic, and no error contains a secret.

use proptest::prelude::*;

use super::*;

/// A password that generated URLs contain.
const PASSWORD: &str = "Qz7Lk";

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,24}",
        "[0-9]{1,20}",
        "[0-9]{1,6}(ms|s|m|h|days)",
        "(tables|view|off|true|json|127.0.0.1:1)",
        "postgres://u:\\PC{0,6}Qz7Lk\\PC{0,6}@db:5432/x",
    ]
}

/// An error as Display and Debug print it.
fn full_text(error: &ConfigError) -> String {
    format!("{error} {error:?}")
}

fn load_text(text: &str) -> Result<Settings, ConfigError> {
    let path = std::env::temp_dir().join(format!("tidemark-settings-{:016x}", rand::random::<u64>()));
    std::fs::write(&path, text).unwrap();
    let loaded = Settings::load_with(Some(&path), |_| None);
    std::fs::remove_file(path).unwrap();
    loaded
}

proptest! {
    #[test]
    fn an_environment_is_accepted_or_refused_without_showing_a_secret(
        given in prop::collection::btree_map(0..VARIABLES.len(), value(), 1..6)
    ) {
        let named: BTreeMap<&str, &String> = given
            .iter()
            .map(|(index, value)| (VARIABLES[*index].0, value))
            // these name files
            .filter(|(name, _)| !name.ends_with("_FILE"))
            .collect();
        if let Err(error) = Settings::load_with(None, |name| named.get(name).map(|value| (*value).clone())) {
            prop_assert!(!full_text(&error).contains(PASSWORD), "{error}");
        }
    }

    #[test]
    fn a_file_is_accepted_or_refused_without_showing_a_secret(
        keys in prop::collection::vec((0..VARIABLES.len(), value(), any::<bool>()), 0..6),
        invalid in "\\PC{0,12}",
        cut_at in 0..400_usize,
    ) {
        let mut text = String::new();
        for (index, value, is_quoted) in &keys {
            let path = VARIABLES[*index].1.join(".");
            let value = if *is_quoted { toml::Value::String(value.clone()).to_string() } else { value.clone() };
            text += &format!("{path} = {value}\n");
        }
        text += &invalid;
        let end = text.char_indices().map(|(at, _)| at).nth(cut_at).unwrap_or(text.len());
        if let Err(error) = load_text(&text[..end]) {
            prop_assert!(!full_text(&error).contains(PASSWORD), "{error}");
        }
    }
}

#[test]
fn debug_output_of_settings_contains_no_secret() {
    let url = format!("postgres://u:{PASSWORD}@db/x");
    let settings = Settings::load_with(None, |name| {
        name.ends_with("_URL").then(|| match name {
            // addresses of pages, without a password
            "TIDEMARK_TRACE_URL" => "http://jaeger/{trace_id}".to_owned(),
            "TIDEMARK_WEBHOOK_CONSOLE_URL" => "https://console.example.com".to_owned(),
            _ => url.clone(),
        })
    })
    .unwrap();
    assert!(settings.database_url.is_some() && settings.amqp_url.is_some());
    assert!(!format!("{settings:?}").contains(PASSWORD));
}

/// Errors quote the wrong value, which may be a URL in place of a table, a duration or a mode.
#[test]
fn a_url_in_the_wrong_place_is_not_quoted() {
    let url = format!("postgres://reader:{PASSWORD}@db/chatwoot");
    for text in [
        format!("sources.main = {url:?}"),
        format!("sources = {url:?}"),
        format!("worker = {url:?}"),
        format!("worker.lease = {url:?}"),
        format!("log_format = {url:?}"),
        format!("sources.main.mode = {url:?}"),
        format!("http_listen = {url:?}"),
        format!("{url:?} = 1"),
        format!("database_url = {url}"),
        format!("database_url = \"{url}"),
        format!("database_url = {url:?} {url:?}"),
    ] {
        let error = load_text(&text).unwrap_err();
        assert!(!full_text(&error).contains(PASSWORD), "{text}: {error:?}");
    }
}

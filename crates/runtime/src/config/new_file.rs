//! The settings file that `tidemark init` writes: the URLs, and every other setting as a comment with its meaning and
//! default.

use secrecy::ExposeSecret;
use tidemark_net::url::ServerUrl;

use super::Settings;
use super::error::ConfigError;
use super::meaning::{allowed, entries};
use super::read::{VARIABLES, scalar};

/// The URLs without which nothing can be done; each is a path in the settings.
pub const DATABASE_URL: &[&str] = &["database_url"];
pub const SOURCE_URL: &[&str] = &["sources", "main", "url"];
pub const AMQP_URL: &[&str] = &["amqp_url"];

const WIDTH: usize = 100;
/// The value in the comment of a setting without a default.
const NO_DEFAULT: &str = "\"…\"";

const HEAD: &str = "\
# Settings of Tidemark. A flag wins over the environment, and the environment wins over this file.
#
#   tidemark config check      prints the settings as the program reads them, without secrets
#   tidemark doctor            checks the servers
#
# Lines that begin with `#` and a name are defaults: remove the `#` to change one. docs/settings.md has them in a table.
";

/// Where a URL is written.
#[derive(Debug, Clone)]
pub enum UrlPlace {
    /// In the file itself.
    Here(ServerUrl),
    /// In the environment, or in a file that it names: the variable.
    Variable(String),
    Nowhere,
}

/// The URLs of a new settings file.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub database_url: UrlPlace,
    pub source_url: UrlPlace,
    pub amqp_url: UrlPlace,
}

impl NewFile {
    /// The text of the file. It may contain passwords.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let mut table = "";
        for (setting, default, meaning) in entries() {
            let (above, name) = setting.rsplit_once('.').unwrap_or(("", setting));
            if above != table {
                table = above;
                text += &format!("\n[{}]\n", above.replace('*', "main"));
            }
            text += &explained(meaning, setting);
            text += &match self.url(setting) {
                None => format!("#{name} = {}\n", literal(name, &default)),
                Some(UrlPlace::Here(url)) => {
                    format!("{name} = {}\n", as_toml(url.secret().expose_secret()))
                }
                Some(UrlPlace::Variable(variable)) => format!("# It comes from {variable}.\n"),
                Some(UrlPlace::Nowhere) => format!("#{name} = {NO_DEFAULT}\n"),
            };
        }
        text
    }

    fn url(&self, setting: &str) -> Option<&UrlPlace> {
        match setting {
            "database_url" => Some(&self.database_url),
            "sources.*.url" => Some(&self.source_url),
            "amqp_url" => Some(&self.amqp_url),
            _ => None,
        }
    }
}

/// The setting's meaning as a comment, with its allowed range.
fn explained(meaning: &str, setting: &str) -> String {
    let mut plain = without_links(&meaning.replace("sources.*", "sources.main")).replace('`', "\"");
    let allowed = allowed(setting).replace('`', "");
    if !allowed.is_empty() {
        plain += &format!(". Allowed: {allowed}");
    }
    let mut lines = vec!["\n#".to_owned()];
    for word in plain.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            *line += " ";
            *line += word;
        }
    }
    lines.join("\n") + ".\n"
}

/// A link to another document becomes the path of that document.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((target, after)) = link
            .split_once("](")
            .and_then(|(_, target)| target.split_once(')'))
        else {
            break;
        };
        plain += before;
        plain += "docs/";
        plain += target;
        rest = after;
    }
    plain + rest
}

fn literal(name: &str, default: &str) -> String {
    if default.is_empty() {
        NO_DEFAULT.to_owned()
    } else {
        scalar(&[name], default.to_owned()).to_string()
    }
}

fn as_toml(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The variable of the environment that sets this, or names the file with it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
pub fn variable_that_sets(path: &[&str]) -> Option<&'static str> {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let mut names = VARIABLES
        .iter()
        .filter(|(name, sets)| *sets == path && is_set(name));
    names.next_back().map(|(name, _)| *name)
}

impl Settings {
    /// The settings of the environment alone, for a command that writes the settings file.
    pub fn of_environment() -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
        Self::merge(None, |name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Settings {
        let path = std::env::temp_dir().join(format!("tidemark-new-{:016x}", rand::random::<u64>()));
        std::fs::write(&path, text).unwrap();
        let settings = Settings::load_with(Some(&path), |_| None);
        std::fs::remove_file(&path).unwrap();
        settings.unwrap()
    }

    fn new_file() -> NewFile {
        NewFile {
            database_url: UrlPlace::Here("postgres://tidemark:q%22%5C@db/tidemark".into()),
            source_url: UrlPlace::Here("postgres://reader@source/chatwoot".into()),
            amqp_url: UrlPlace::Variable("TIDEMARK_AMQP_URL_FILE".to_owned()),
        }
    }

    #[test]
    fn a_new_file_has_the_urls_and_says_where_others_come_from() {
        let text = new_file().text();
        let settings = load(&text);
        let database = settings
            .database_url()
            .unwrap()
            .secret()
            .expose_secret()
            .to_owned();
        assert_eq!(database, "postgres://tidemark:q%22%5C@db/tidemark");
        assert!(settings.source("main").is_ok() && settings.amqp_url.is_none());
        assert!(
            text.contains("# It comes from TIDEMARK_AMQP_URL_FILE.\n"),
            "{text}"
        );
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 120).collect();
        assert!(long.is_empty(), "{long:#?}");
        assert!(
            !text.contains("]("),
            "a link of the page of settings is left: {text}"
        );
    }

    #[test]
    fn the_defaults_of_a_new_file_are_those_of_the_program() {
        // without a setting the program also tries these addresses, but goes on when they are taken
        const TRIED: [&str; 2] = ["http_listen", "listen"];
        let text = new_file().text();
        let mut count = 0;
        let with_defaults: Vec<&str> = text
            .lines()
            .map(|line| {
                let is_default = |setting: &&str| {
                    setting.split_once(" = ").is_some_and(|(name, value)| {
                        !name.contains(' ') && value != NO_DEFAULT && !TRIED.contains(&name)
                    })
                };
                let setting = line.strip_prefix('#').filter(is_default);
                count += usize::from(setting.is_some());
                setting.unwrap_or(line)
            })
            .collect();
        assert!(count > 25, "only {count} defaults:\n{text}");
        let (with, without) = (load(&with_defaults.join("\n")), load(&text));
        let told = |settings: &Settings| {
            let mut told = format!("{settings:?}");
            // a file of the test's own
            while let Some(begin) = told.find("tidemark-new-") {
                told.replace_range(begin..begin + "tidemark-new-".len() + 16, "file");
            }
            told
        };
        assert_eq!(told(&with), told(&without));
    }
}

//! The files that URLs come from. A running process reads them again for each connection, so a password can be changed
//! without a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tidemark_net::url::{ServerUrl, UrlFile};

use super::error::ConfigError;
use super::read::read_table;
use super::secret_file;

/// The keys in which settings have a URL, at any depth.
const URLS: [&str; 6] = [
    "database_url",
    "tenant_database_url",
    "amqp_url",
    "amqp_management_url",
    "legacy_url",
    "url",
];

/// The file of each setting that has a URL, by the setting's path.
#[derive(Default)]
pub(super) struct UrlFiles(BTreeMap<Vec<String>, UrlFile>);

impl UrlFiles {
    /// The URLs of a settings file.
    pub fn of_table(file: &Path, table: &toml::Table) -> Self {
        let mut found = Self::default();
        found.collect(file, table, &[]);
        found
    }

    fn collect(&mut self, file: &Path, table: &toml::Table, above: &[String]) {
        for (key, value) in table {
            let path = [above, std::slice::from_ref(key)].concat();
            match value {
                toml::Value::Table(inner) => self.collect(file, inner, &path),
                toml::Value::String(_) if URLS.contains(&key.as_str()) => {
                    let place = path.clone();
                    let read = move |file: &Path| read_setting(file, &place);
                    self.0.insert(path, UrlFile::new(file.to_owned(), read));
                }
                _ => {}
            }
        }
    }

    /// A setting whose value is the whole text of a file.
    pub fn insert_text(&mut self, path: &[&str], file: PathBuf) {
        let read = |file: &Path| secret_file::read(file).map(SecretString::from).map_err(as_io);
        self.0.insert(owned(path), UrlFile::new(file, read));
    }

    /// The setting got its value from the environment, which does not change.
    pub fn remove(&mut self, path: &[&str]) {
        self.0.remove(&owned(path));
    }

    /// Tells the URL of a setting its file.
    pub fn name(&mut self, path: &[&str], url: &mut Option<ServerUrl>) {
        if let Some(file) = self.0.remove(&owned(path)) {
            *url = url.take().map(|url| url.with_file(file));
        }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

fn read_setting(file: &Path, path: &[String]) -> io::Result<SecretString> {
    let mut table = read_table(file).map_err(as_io)?;
    let [above @ .., last] = path else {
        return Err(io::Error::other("it has no such setting"));
    };
    for key in above {
        match table.remove(key) {
            Some(toml::Value::Table(inner)) => table = inner,
            _ => return Err(lacks(path)),
        }
    }
    match table.remove(last) {
        Some(toml::Value::String(url)) => Ok(url.into()),
        _ => Err(lacks(path)),
    }
}

fn lacks(path: &[String]) -> io::Error {
    io::Error::other(format!("it has no {}", path.join(".")))
}

/// The cause, without the path that the caller adds.
fn as_io(error: ConfigError) -> io::Error {
    match error {
        ConfigError::Read { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}

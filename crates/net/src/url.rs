//! URLs of servers, and the parts of them that may be shown.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::hosts::split_hosts;

/// A server's URL with its password, as it was at the start, and the file that has the current one.
#[derive(Clone)]
pub struct ServerUrl {
    secret: SecretString,
    file: Option<UrlFile>,
}

type ReadFile = dyn Fn(&Path) -> io::Result<SecretString> + Send + Sync;

/// The file that a URL comes from. It is read again for each connection.
#[derive(Clone)]
pub struct UrlFile {
    path: PathBuf,
    read: Arc<ReadFile>,
}

/// A file with a URL could not be read, for example while it is being replaced.
#[derive(Debug, thiserror::Error)]
#[error("read {}, which has the URL with the password: it is read again at the next attempt", path.display())]
pub struct UrlFileError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl UrlFile {
    #[must_use]
    pub fn new(
        path: PathBuf,
        read: impl Fn(&Path) -> io::Result<SecretString> + Send + Sync + 'static,
    ) -> Self {
        Self {
            path,
            read: Arc::new(read),
        }
    }
}

impl ServerUrl {
    #[must_use]
    pub fn with_file(mut self, file: UrlFile) -> Self {
        self.file = Some(file);
        self
    }

    /// The URL as it was at the start.
    #[must_use]
    pub const fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// The file that has the current URL.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Reads the file again; `None` for a URL that comes from no file and therefore never changes.
    pub fn read_again(&self) -> Result<Option<SecretString>, UrlFileError> {
        let Some(file) = &self.file else { return Ok(None) };
        let read = (file.read)(&file.path).and_then(|secret| {
            if secret.expose_secret().is_empty() {
                Err(io::Error::other("it is empty"))
            } else {
                Ok(secret)
            }
        });
        read.map(Some).map_err(|source| UrlFileError {
            path: file.path.clone(),
            source,
        })
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerUrl")
            .field("secret", &self.secret)
            .field("file", &self.file())
            .finish()
    }
}

impl From<SecretString> for ServerUrl {
    fn from(secret: SecretString) -> Self {
        Self { secret, file: None }
    }
}

impl From<String> for ServerUrl {
    fn from(text: String) -> Self {
        SecretString::from(text).into()
    }
}

impl From<&str> for ServerUrl {
    fn from(text: &str) -> Self {
        SecretString::from(text).into()
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SecretString::deserialize(deserializer).map(Self::from)
    }
}

/// Parses a URL of a server. `None` where a bare `/`, `?` or `#` in the password has ended the host early: the rest of
/// the password would be taken for a database or virtual host and shown.
#[must_use]
pub fn parse_url(text: &str) -> Option<url::Url> {
    let url = url::Url::parse(text).ok()?;
    let is_cut = url.path().contains('@')
        || url.query().is_some_and(|query| query.contains('@'))
        || url.fragment().is_some();
    (!is_cut).then_some(url)
}

/// The part of a URL that may be shown: `host:5432/db` of `postgres://user:secret@host:5432/db?x`. Several hosts have
/// commas between them.
#[must_use]
pub fn server_name(url: &ServerUrl) -> String {
    name_of(url).unwrap_or_else(|| "a URL that cannot be parsed".to_owned())
}

fn name_of(url: &ServerUrl) -> Option<String> {
    let split = split_hosts(url.secret()).ok()?;
    let urls: Option<Vec<url::Url>> = split
        .urls
        .iter()
        .map(|url| parse_url(url.expose_secret()))
        .collect();
    let urls = urls?;
    let first = urls.first()?;
    let hosts = if split.names.is_empty() {
        let host = first
            .host_str()
            .filter(|host| !host.is_empty())
            .unwrap_or("localhost");
        let port = first.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{host}{port}")
    } else {
        split.names.join(",")
    };
    Some(format!("{hosts}{}", first.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        for (url, shown) in [
            (
                "postgres://user:s3cr%40t@db.example:5433/analytics?sslmode=require",
                "db.example:5433/analytics",
            ),
            (
                "postgres://user:s3cr%40t@one:5433,two/analytics?target_session_attrs=primary",
                "one:5433,two/analytics",
            ),
            (
                "postgres://user:s3cret@/x?host=one,two&port=5433",
                "one:5433,two:5433/x",
            ),
        ] {
            assert_eq!(server_name(&url.into()), shown);
        }
        for unclear in [
            "not a url with s3cret",
            "postgres://u:12/s3cret@db/x",
            "postgres://u:12?s3cret@db/x",
            "postgres://u:12#s3cret@db/x",
            "postgres://u,a:12/s3cret@db/x",
            "postgres://u,a:12?s3cret@db/x",
        ] {
            assert_eq!(server_name(&unclear.into()), "a URL that cannot be parsed");
        }
    }

    #[test]
    fn a_file_is_read_again_each_time_and_an_empty_one_is_an_error() {
        let path = std::env::temp_dir().join(format!("tidemark-url-{}", std::process::id()));
        let read = |path: &Path| std::fs::read_to_string(path).map(SecretString::from);
        let url = ServerUrl::from("amqp://old").with_file(UrlFile::new(path.clone(), read));
        let again = || {
            url.read_again()
                .map(|read| read.unwrap().expose_secret().to_owned())
        };
        assert!(again().unwrap_err().to_string().contains("tidemark-url-"));
        std::fs::write(&path, "amqp://u:s3cret@new").unwrap();
        assert_eq!(again().unwrap(), "amqp://u:s3cret@new");
        std::fs::write(&path, "").unwrap();
        assert!(again().unwrap_err().source.to_string().contains("empty"));
        std::fs::remove_file(&path).unwrap();
        assert!(!format!("{url:?}").contains("amqp:"), "{url:?}");
        assert!(ServerUrl::from("amqp://fixed").read_again().unwrap().is_none());
    }
}

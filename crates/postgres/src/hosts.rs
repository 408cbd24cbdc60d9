//! The hosts of a URL, and which of them a session may use (`target_session_attrs`).

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, Row, raw_sql};
use tidemark_net::hosts::split_hosts;
use tidemark_net::tls::{Exposure, is_local};
use tidemark_net::url::parse_url;
use tokio::time::timeout;

use crate::error::ConnectError;

/// Whether the server is a standby, and whether it refuses writes in new sessions. Our own sessions may ask for that,
/// which says nothing about the server.
const READ_ROLE: &str = "SELECT pg_is_in_recovery(), setting = 'on' AND source <> 'client' FROM pg_catalog.pg_settings \
     WHERE name = 'default_transaction_read_only'";

/// The kind of server that a session needs, named as in libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Wanted {
    const ALL: [Self; 6] = [
        Self::Any,
        Self::ReadWrite,
        Self::ReadOnly,
        Self::Primary,
        Self::Standby,
        Self::PreferStandby,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wanted| wanted.as_str() == text)
    }

    /// Whether a session on such a server is of this kind.
    pub(crate) const fn accepts(self, role: Role) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !role.is_read_only(),
            Self::ReadOnly => role.is_read_only(),
            Self::Primary => !role.in_recovery,
            Self::Standby => role.in_recovery,
        }
    }

    /// Whether sessions on such servers can write.
    const fn allows_writes(self) -> bool {
        matches!(self, Self::ReadWrite | Self::Primary)
    }
}

/// What a server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub in_recovery: bool,
    refuses_writes: bool,
}

impl Role {
    pub const fn is_read_only(self) -> bool {
        self.in_recovery || self.refuses_writes
    }

    pub const fn as_str(self) -> &'static str {
        match (self.in_recovery, self.refuses_writes) {
            (true, _) => "a standby",
            (false, true) => "read only",
            (false, false) => "a primary",
        }
    }

    /// Asks the server of a session, without a prepared statement: a pooler may be in between.
    pub async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = raw_sql(READ_ROLE).fetch_one(connection).await?;
        Ok(Self {
            in_recovery: row.try_get(0)?,
            refuses_writes: row.try_get(1)?,
        })
    }
}

/// The servers of one URL.
#[derive(Debug)]
pub struct Hosts {
    pub(crate) all: Vec<Host>,
    pub(crate) wanted: Wanted,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub name: String,
    pub options: PgConnectOptions,
}

impl Hosts {
    /// Parses a URL without quoting it in the error. `writes`: sessions of this URL write.
    ///
    /// # Errors
    /// When it is not a PostgreSQL URL, a file that it names cannot be read, or no host of it can be meant.
    pub fn parse(url: &SecretString, label: &'static str, writes: bool) -> Result<Self, ConnectError> {
        let refused = |problem: String| ConnectError::Hosts { label, problem };
        let split = split_hosts(url).map_err(|fault| refused(fault.to_string()))?;
        let several = split.urls.len() > 1;
        let wanted = match split.session.as_deref().map(Wanted::parse) {
            Some(Some(wanted)) if writes && !wanted.allows_writes() => {
                return Err(refused(format!(
                    "target_session_attrs={} may lead to a server that refuses writes, and this database is written: \
                     write read-write or primary",
                    wanted.as_str()
                )));
            }
            Some(Some(wanted)) => wanted,
            Some(None) => {
                return Err(refused(
                    "target_session_attrs is none of any, read-write, read-only, primary, standby and prefer-standby"
                        .to_owned(),
                ));
            }
            // on a standby every run would fail
            None if several && writes => Wanted::ReadWrite,
            None => Wanted::Any,
        };
        let mut all = Vec::with_capacity(split.urls.len());
        for (index, url) in split.urls.iter().enumerate() {
            let options = options(url, label)?;
            let name = split.names.get(index).cloned();
            all.push(Host {
                name: name.unwrap_or_else(|| address(&options)),
                options,
            });
        }
        Ok(Self { all, wanted })
    }

    /// Whether a session has to look for its server.
    pub(crate) fn has_choice(&self) -> bool {
        self.all.len() > 1 || self.wanted != Wanted::Any
    }

    /// Whether both name the same databases.
    pub(crate) fn are_at(&self, other: &Self) -> bool {
        let places = |hosts: &Self| -> Vec<(String, Option<String>)> {
            let place = |host: &Host| {
                (
                    address(&host.options),
                    host.options.get_database().map(str::to_owned),
                )
            };
            hosts.all.iter().map(place).collect()
        };
        self.wanted == other.wanted && places(self) == places(other)
    }

    /// What an attacker on the way to the least protected host could do.
    #[must_use]
    pub fn exposure(&self) -> Option<Exposure> {
        let rank = |exposure: &Exposure| match exposure {
            Exposure::Plain => 2,
            Exposure::Optional => 1,
            Exposure::Unverified => 0,
        };
        self.all
            .iter()
            .filter_map(|host| exposure(&host.options))
            .max_by_key(rank)
    }
}

/// Connects to one host, and asks what it is where that matters.
pub(crate) async fn connect_to(
    options: &PgConnectOptions,
    wanted: Wanted,
    limit: Duration,
) -> Result<(PgConnection, Option<Role>), sqlx::Error> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(options).await?;
        let role = match wanted {
            Wanted::Any => None,
            _ => Some(Role::read(&mut connection).await?),
        };
        Ok((connection, role))
    };
    match timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn address(options: &PgConnectOptions) -> String {
    let port = options.get_port();
    match options.get_socket() {
        Some(socket) => format!("{}:{port}", socket.display()),
        None => format!("{}:{port}", options.get_host()),
    }
}

/// Parses the URL of one host. A URL without a mode of encryption gets `verify-full`, unless the server is this machine.
fn options(url: &SecretString, label: &'static str) -> Result<PgConnectOptions, ConnectError> {
    let text = url.expose_secret();
    let parsed = parse_url(text).filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let (Some(parsed), Ok(options)) = (parsed, PgConnectOptions::from_str(text)) else {
        return Err(ConnectError::Url { label });
    };
    let mut mode_is_written = false;
    for (key, value) in parsed.query_pairs() {
        match &*key {
            "sslmode" | "ssl-mode" => mode_is_written = true,
            // the driver reads these files when it connects, and an error would look as if the server were away
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => {
                let path = Path::new(&*value);
                std::fs::File::open(path).map_err(|source| ConnectError::File {
                    label,
                    path: path.to_owned(),
                    source,
                })?;
            }
            _ => {}
        }
    }
    let options = options.disable_statement_logging();
    // another mode comes from PGSSLMODE
    let is_open = matches!(options.get_ssl_mode(), PgSslMode::Prefer) && !mode_is_written;
    Ok(if is_open && !is_local_server(&options) {
        options.ssl_mode(PgSslMode::VerifyFull)
    } else {
        options
    })
}

fn is_local_server(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || is_local(options.get_host())
}

/// What an attacker on the way to the server could do.
#[must_use]
pub(crate) fn exposure(options: &PgConnectOptions) -> Option<Exposure> {
    if is_local_server(options) {
        return None;
    }
    match options.get_ssl_mode() {
        // the driver never encrypts with `allow`
        PgSslMode::Disable | PgSslMode::Allow => Some(Exposure::Plain),
        PgSslMode::Prefer => Some(Exposure::Optional),
        PgSslMode::Require => Some(Exposure::Unverified),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_net::url::server_name;

    fn options(url: &SecretString, label: &'static str) -> Result<PgConnectOptions, ConnectError> {
        Hosts::parse(url, label, false).map(|mut hosts| hosts.all.remove(0).options)
    }

    fn mode(url: &str) -> PgSslMode {
        options(&SecretString::from(url), "it").unwrap().get_ssl_mode()
    }

    fn exposed(url: &str) -> Option<Exposure> {
        exposure(&options(&SecretString::from(url), "it").unwrap())
    }

    #[test]
    fn a_remote_server_is_verified_unless_the_url_says_otherwise() {
        for url in [
            "postgres://u:p@db.example/x",
            "postgresql://u@10.0.0.7:5433/x?application_name=y",
        ] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
            assert_eq!(exposed(url), None);
        }
        for (sslmode, exposure) in [
            ("disable", Some(Exposure::Plain)),
            ("allow", Some(Exposure::Plain)),
            ("prefer", Some(Exposure::Optional)),
            ("require", Some(Exposure::Unverified)),
            ("verify-ca", None),
            ("verify-full", None),
        ] {
            assert_eq!(
                exposed(&format!("postgres://db/x?sslmode={sslmode}")),
                exposure,
                "{sslmode}"
            );
        }
    }

    #[test]
    fn this_machine_is_connected_to_as_it_comes() {
        for url in [
            "postgres://u:p@localhost/x",
            "postgres://127.0.0.1:5433/x",
            "postgres://%2Frun%2Fpostgresql/x",
            "postgres://db/x?host=/run/postgresql",
        ] {
            assert!(matches!(mode(url), PgSslMode::Prefer), "{url}");
            assert_eq!(exposed(url), None);
        }
        assert!(matches!(
            mode("postgres://127.0.0.1/x?sslmode=require"),
            PgSslMode::Require
        ));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_quoted_and_an_encoded_password_may_hold_anything() {
        for url in [
            "u:hunter2@db",
            "mysql://u:hunter2@db/x",
            "postgres://u:hunter2/y@db/x",
            "postgres://u:12/hunter2@db/x",
            "postgres://u:12?hunter2@db/x",
            "postgres://u:hunter2#y@db/x",
            "postgres://u:hunter2@db/x?sslmode=perhaps",
            "",
        ] {
            let error = options(&SecretString::from(url), "the source").unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hunter2") && text.contains("percent-encoded"),
                "{url}: {text}"
            );
        }
        let url = "postgres://u:%40%2F%3F%25%3A%23%20%26%C3%A7@db:5433/x";
        let options = options(&SecretString::from(url), "it").unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("db", 5433));
        assert_eq!(server_name(&url.into()), "db:5433/x");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        for parameter in ["sslrootcert", "sslcert", "sslkey"] {
            let url = format!("postgres://u:hunter2@db/x?{parameter}=/nowhere/file.pem");
            let error = options(&SecretString::from(url), "the source").unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("/nowhere/file.pem") && text.contains("the source"),
                "{text}"
            );
        }
    }
}

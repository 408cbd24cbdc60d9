//! The TLS parameters of the broker's URL, with the names that RabbitMQ's own clients use: `cacertfile` (authorities in
//! addition to the system's), `certfile` with `keyfile` (the client certificate), `verify`.

use std::path::{Path, PathBuf};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use url::Url;

use super::error::QueueError;

/// PEM files. They are read for every connection, so that a renewed certificate needs no restart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    authority: Option<PathBuf>,
    /// Certificate and key.
    own: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    pub fn from_url(url: &Url) -> Result<Self, QueueError> {
        let (mut authority, mut certificate, mut key) = (None, None, None);
        for (name, value) in url.query_pairs() {
            let slot = match &*name {
                "cacertfile" => &mut authority,
                "certfile" => &mut certificate,
                "keyfile" => &mut key,
                "verify" if value == "verify_peer" => continue,
                "verify" => {
                    return Err(QueueError::UrlParameter(
                        "the broker's certificate is always checked: remove `verify`, and name your own authority with \
                         cacertfile",
                    ));
                }
                _ => continue,
            };
            *slot = Some(PathBuf::from(&*value));
        }
        let own = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(QueueError::UrlParameter(
                    "set both certfile and keyfile, or neither",
                ));
            }
        };
        let certificates = Self { authority, own };
        if url.scheme() != "amqps" && certificates != Self::default() {
            return Err(QueueError::UrlParameter(
                "cacertfile, certfile and keyfile need amqps://",
            ));
        }
        Ok(certificates)
    }

    pub fn read(&self) -> Result<OwnedTLSConfig, QueueError> {
        let authority = self.authority.as_deref().map(read).transpose()?;
        let cert_chain = match (authority, &self.authority) {
            (Some(pem), Some(path)) => Some(String::from_utf8(pem).map_err(|_| QueueError::File {
                path: path.clone(),
                source: std::io::Error::from(std::io::ErrorKind::InvalidData),
            })?),
            _ => None,
        };
        let identity = match &self.own {
            Some((certificate, key)) => Some(OwnedIdentity::PKCS8 {
                pem: read(certificate)?,
                key: read(key)?,
            }),
            None => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, QueueError> {
    std::fs::read(path).map_err(|source| QueueError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Certificates, QueueError> {
        Certificates::from_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn parameters_are_those_of_rabbitmqs_own_clients() {
        let certificates =
            of("amqps://mq/%2f?cacertfile=/ca.pem&certfile=/me.pem&keyfile=/me.key&verify=verify_peer&heartbeat=3")
                .unwrap();
        assert_eq!(certificates.authority, Some("/ca.pem".into()));
        assert_eq!(certificates.own, Some(("/me.pem".into(), "/me.key".into())));
        assert_eq!(of("amqp://mq/%2f?heartbeat=3").unwrap(), Certificates::default());
    }

    #[test]
    fn parameters_that_would_be_ignored_are_refused() {
        for url in [
            "amqps://mq?verify=verify_none",
            "amqps://mq?certfile=/me.pem",
            "amqps://mq?keyfile=/me.key",
            "amqp://mq?cacertfile=/ca.pem",
        ] {
            assert!(matches!(of(url), Err(QueueError::UrlParameter(_))), "{url}");
        }
        let missing = of("amqps://mq?cacertfile=/nowhere/ca.pem")
            .unwrap()
            .read()
            .err()
            .unwrap();
        assert!(missing.is_configuration() && missing.to_string().contains("/nowhere/ca.pem"));
    }
}

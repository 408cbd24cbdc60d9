//! Encrypted connections: which hosts need encryption, what is exposed without it, and how to fix an error of TLS.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use rustls::{AlertDescription, CertificateError};

/// Whether a host is this machine, or a socket in its file system: no network is involved.
#[must_use]
pub fn is_local(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    name.starts_with('/')
        || name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What an attacker on the network could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Read everything.
    Plain,
    /// The same, where the server does not offer encryption or an attacker removes its offer.
    Optional,
    /// Answer in the server's place: its certificate is not checked.
    Unverified,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain text: data and password can be read on the way",
            Self::Optional => "encrypted only where the server offers it, and its certificate is not checked",
            Self::Unverified => "encrypted, but the certificate is not checked: another server may answer",
        })
    }
}

/// Kind of the server: parameters of its URL have different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Postgres,
    Rabbitmq,
}

/// Why there is no encrypted connection, in cases that an operator can fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No trusted authority has signed the server's certificate.
    UnknownAuthority,
    /// The certificate is for other host names.
    WrongName,
    Expired,
    NotYetValid,
    /// Another problem of the certificate.
    Invalid,
    /// The server refuses the client certificate, or requires one.
    OurCertificate,
    /// The server does not speak TLS.
    NoTls,
}

impl TlsFault {
    /// Looks for an error of TLS among an error's causes.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut link = Some(error);
        while let Some(error) = link {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::of_tls(error);
            }
            link = match error.downcast_ref::<io::Error>() {
                // its `source` would skip the error that it wraps
                Some(error) => error.get_ref().map(|error| error as &(dyn Error + 'static)),
                None => error.source(),
            };
        }
        None
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(error) => Some(match error {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                _ => Self::Invalid,
            }),
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure,
            ) => Some(Self::OurCertificate),
            rustls::Error::InvalidMessage(_) => Some(Self::NoTls),
            _ => None,
        }
    }

    /// How to fix it.
    #[must_use]
    pub const fn advice(self, server: ServerKind) -> &'static str {
        match (self, server) {
            (Self::UnknownAuthority, ServerKind::Postgres) => {
                "its certificate is not signed by an authority that is trusted here: name the authority's file with \
                 sslrootcert=FILE in the URL"
            }
            (Self::UnknownAuthority, ServerKind::Rabbitmq) => {
                "its certificate is not signed by an authority that is trusted here: name the authority's file with \
                 cacertfile=FILE in the URL"
            }
            (Self::WrongName, ServerKind::Postgres) => {
                "its certificate is for other host names: use one of those in the URL, or sslmode=verify-ca, which \
                 leaves the name unchecked"
            }
            (Self::WrongName, ServerKind::Rabbitmq) => {
                "its certificate is for other host names: use one of those in the URL"
            }
            (Self::Expired, _) => "its certificate has expired: renew it on the server",
            (Self::NotYetValid, _) => {
                "its certificate is not valid yet: compare the clocks of this machine and of the certificate's issuer"
            }
            (Self::Invalid, _) => "its certificate cannot be accepted: issue another one",
            (Self::OurCertificate, ServerKind::Postgres) => {
                "it requires a client certificate that it trusts: name one with sslcert=FILE and sslkey=FILE in \
                 the URL"
            }
            (Self::OurCertificate, ServerKind::Rabbitmq) => {
                "it requires a client certificate that it trusts: name one with certfile=FILE and keyfile=FILE \
                 in the URL"
            }
            (Self::NoTls, ServerKind::Postgres) => {
                "it offers no encryption: set that up on the server, or write sslmode=disable in the URL where the \
                 network is safe"
            }
            (Self::NoTls, ServerKind::Rabbitmq) => {
                "the server speaks no TLS on this port: RabbitMQ's port for TLS is usually 5671; amqp:// is for the other port"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_sockets_are_local_and_names_are_not() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "/run/postgresql",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in ["analytics", "localhost.example", "10.0.0.1", "0.0.0.0", "::2", ""] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn an_error_of_tls_is_found_below_those_of_io() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(TlsFault::find(&error), Some(TlsFault::UnknownAuthority));
        let error = io::Error::other(io::Error::other(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired,
        )));
        assert_eq!(TlsFault::find(&error), Some(TlsFault::OurCertificate));
        assert_eq!(
            TlsFault::find(&io::Error::from(io::ErrorKind::ConnectionRefused)),
            None
        );
    }
}

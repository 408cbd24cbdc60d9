//! Sends one request to an address that an operator has named. Every address that its name resolves to is checked just before
//! the connection is opened to one of these, so a name server cannot lead a request elsewhere. Redirects are not followed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tidemark_net::outbound::{OutboundError, check_address, check_url};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::message::{NoKey, Outgoing};

/// Why a message was not delivered. No text has the path of the address: with some services it is a secret.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    NoKey(#[from] NoKey),
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the name of the host cannot be resolved")]
    Resolve(#[source] io::Error),
    #[error("the name of the host has no address")]
    NoAddress,
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no encrypted connection")]
    Encrypt(#[source] io::Error),
    #[error("the system's certificate authorities cannot be read")]
    Authorities(#[source] rustls::Error),
    #[error("the name of the host is no name of a certificate")]
    ServerName,
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
    #[error("the connection broke off")]
    Http(#[source] hyper::Error),
    #[error("the answer was {status}{}", advice(*status))]
    Refused { status: u16 },
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl SendError {
    /// The answer's status code, if there was an answer.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status } => Some(*status),
            _ => None,
        }
    }
}

const fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => ": redirects are not followed, name the address that it leads to",
        401 | 403 => ": the receiver takes no message from here",
        404 | 410 => ": there is no receiver at this path",
        _ => "",
    }
}

/// Sends requests, each over a connection of its own.
#[derive(Debug, Default)]
pub struct Sender {
    /// Read with the first encrypted request: a small container has no certificate authorities.
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Sender {
    /// Posts a message and returns the status code, which is one of success.
    pub async fn post(&self, url: &str, message: Outgoing) -> Result<u16, SendError> {
        let url = check_url(url)?;
        let addresses = resolve(&url).await?;
        self.post_to(&url, &addresses, message).await
    }

    async fn post_to(
        &self,
        url: &Url,
        addresses: &[SocketAddr],
        message: Outgoing,
    ) -> Result<u16, SendError> {
        let is_encrypted = url.scheme() == "https";
        for address in addresses {
            check_address(address.ip(), is_encrypted)?;
        }
        let request = request(url, message)?;
        let stream = connect(addresses).await?;
        let status = if is_encrypted {
            let connector = TlsConnector::from(Arc::clone(self.tls().await?));
            let name = server_name(url)?;
            let encrypted = connector
                .connect(name, stream)
                .await
                .map_err(SendError::Encrypt)?;
            exchange(encrypted, request).await?
        } else {
            exchange(stream, request).await?
        };
        match status {
            200..=299 => Ok(status),
            status => Err(SendError::Refused { status }),
        }
    }

    async fn tls(&self) -> Result<&Arc<ClientConfig>, SendError> {
        self.tls
            .get_or_try_init(async || {
                let mut roots = RootCertStore::empty();
                // some of the files may be unreadable; without any authority, every certificate is refused and says so
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
                    .map_err(SendError::Authorities)
            })
            .await
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, SendError> {
    let port = url.port_or_known_default().unwrap_or(443);
    Ok(match url.host().ok_or(OutboundError::NoHost)? {
        Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
        Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
        Host::Domain(name) => lookup_host((name, port))
            .await
            .map_err(SendError::Resolve)?
            .collect(),
    })
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
    let mut refused = SendError::NoAddress;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = SendError::Connect(error),
        }
    }
    Err(refused)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, SendError> {
    match url.host().ok_or(OutboundError::NoHost)? {
        Host::Ipv4(address) => Ok(std::net::IpAddr::from(address).into()),
        Host::Ipv6(address) => Ok(std::net::IpAddr::from(address).into()),
        Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| SendError::ServerName),
    }
}

fn request(url: &Url, message: Outgoing) -> Result<Request<Full<Bytes>>, SendError> {
    let host = url.host_str().ok_or(OutboundError::NoHost)?;
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("tidemark/", env!("CARGO_PKG_VERSION")));
    for (name, value) in message.headers {
        request = request.header(name, value);
    }
    request
        .body(Full::new(Bytes::from(message.body)))
        .map_err(SendError::Request)
}

/// Sends the request and waits for the head of the answer; the rest of it is not read.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<u16, SendError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(SendError::Http)?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            // a server that closes at once has answered before
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    Ok(answer.map_err(SendError::Http)?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Outgoing {
        Outgoing {
            headers: Vec::new(),
            body: b"{}".to_vec(),
        }
    }

    /// The name server answers with another address than when the webhook was added.
    #[tokio::test]
    async fn the_addresses_of_a_name_are_checked_before_any_is_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let sender = Sender::default();
        for (url, second, refusal) in [
            (
                "https://hooks.example.com/",
                "169.254.169.254:443",
                "169.254.169.254",
            ),
            (
                "https://hooks.example.com/",
                "[::ffff:169.254.169.254]:443",
                "169.254.169.254",
            ),
            ("http://localhost/", "192.0.2.1:80", "write https"),
        ] {
            let url = check_url(url).unwrap();
            let addresses = [here, second.parse().unwrap()];
            let error = sender.post_to(&url, &addresses, message()).await.unwrap_err();
            assert!(error.to_string().contains(refusal), "{error}");
        }
        let connected = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(connected.is_err(), "a connection was opened");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_reached_without_encryption() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/x", listener.local_addr().unwrap().port());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 1024];
            tokio::io::AsyncReadExt::read(&mut stream, &mut head)
                .await
                .unwrap();
            let answer =
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
                .await
                .unwrap();
            String::from_utf8_lossy(&head).into_owned()
        };
        let sender = Sender::default();
        let (head, posted) = tokio::join!(serve, sender.post(&url, message()));
        assert!(head.starts_with("POST /x HTTP/1.1\r\n"), "{head}");
        let error = posted.unwrap_err();
        assert_eq!(error.status(), Some(302));
        assert!(
            error.to_string().contains("redirects are not followed"),
            "{error}"
        );
    }
}

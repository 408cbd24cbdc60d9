//! `tidemark health`: the health check of a container, which has no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use tidemark_runtime::config::Listen;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::app::App;
use crate::exit::{Exit, SetupError, UsageError};
use crate::{http, output};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An answer has about a dozen checks.
const LONGEST_ANSWER: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL to ask [default: /readyz at the address of `http_listen`]
    #[arg(value_name = "URL")]
    url: Option<Url>,
}

impl Args {
    /// Exits 0 when the process is healthy, and 1 when it is not or does not answer.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let url = match self.url {
            Some(url) => url,
            None => default_url(app.settings.http_listen)?,
        };
        let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme())
        else {
            return Err(UsageError(format!("{url}: write http://host:port/path")).into());
        };
        let (ok, body) = tokio::time::timeout(ANSWER_WITHIN, ask(host, port, url.path()))
            .await
            .with_context(|| format!("{url} does not answer"))?
            .with_context(|| format!("ask {url}"))?;
        output::line(body.trim_end())?;
        Ok(if ok { Exit::Done } else { Exit::Failed })
    }
}

/// The process is on the same machine, so an unspecified address is reached through loopback.
fn default_url(listen: Option<Listen>) -> anyhow::Result<Url> {
    let address = match listen {
        None => http::DEFAULT_ADDRESS,
        Some(Listen::Off) => {
            return Err(SetupError("http_listen is `off`: there is nothing to ask".to_owned()).into());
        }
        Some(Listen::At(address)) if address.ip().is_unspecified() => {
            let loopback = match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(loopback, address.port())
        }
        Some(Listen::At(address)) => address,
    };
    Ok(Url::parse(&format!("http://{address}/readyz"))?)
}

/// Sends one HTTP/1.0 request, whose answer ends with the connection. Returns whether the status is 2xx, and the body.
async fn ask(host: &str, port: u16, path: &str) -> std::io::Result<(bool, String)> {
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    Ok((status.starts_with('2'), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(listen: &str) -> String {
        default_url(Some(Listen::At(listen.parse().unwrap())))
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_default_url_is_on_this_machine() {
        assert_eq!(asked("0.0.0.0:9464"), "http://127.0.0.1:9464/readyz");
        assert_eq!(asked("[::]:9000"), "http://[::1]:9000/readyz");
        assert_eq!(asked("10.1.2.3:80"), "http://10.1.2.3/readyz");
        assert_eq!(
            default_url(None).unwrap().as_str(),
            "http://127.0.0.1:9464/readyz"
        );
        assert!(default_url(Some(Listen::Off)).is_err());
    }
}

//! URLs with several hosts, as libpq reads them: `postgres://user@one:5432,two:5432/db` or `?host=one,two&port=5432`.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::{byte_serialize, parse as parse_pairs};

/// What is wrong with the hosts of a URL. The texts quote nothing of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostsFault {
    #[error("one of its hosts is empty")]
    EmptyHost,
    #[error("it has {ports} ports for {hosts} hosts: write one for all, or one for each")]
    Ports { hosts: usize, ports: usize },
    #[error("it has target_session_attrs twice")]
    SessionTwice,
}

/// A URL, taken apart into one URL for each of its hosts.
#[derive(Debug)]
pub struct HostUrls {
    /// In the order in which they are tried.
    pub urls: Vec<SecretString>,
    /// `host:port` of each; empty where the URL has one host.
    pub names: Vec<String>,
    /// The value of `target_session_attrs`.
    pub session: Option<String>,
}

/// Takes a URL of PostgreSQL apart. A text that is not a URL is returned as it is.
pub fn split_hosts(url: &SecretString) -> Result<HostUrls, HostsFault> {
    let text = url.expose_secret();
    let Some(parts) = Parts::of(text) else {
        return Ok(HostUrls {
            urls: vec![url.clone()],
            names: Vec::new(),
            session: None,
        });
    };
    let mut query = Query::default();
    for pair in parts.query.split('&').filter(|pair| !pair.is_empty()) {
        query.take(pair)?;
    }
    let from_query = query.hosts.is_some();
    let hosts: Vec<(String, Option<String>)> = match &query.hosts {
        Some(hosts) => hosts.split(',').map(|host| (host.to_owned(), None)).collect(),
        None => parts.hosts.split(',').map(split_port).collect(),
    };
    let ports: Vec<&str> = query
        .ports
        .as_deref()
        .map_or(Vec::new(), |ports| ports.split(',').collect());
    if hosts.len() == 1 && ports.len() < 2 {
        return Ok(HostUrls {
            urls: vec![parts.with(parts.hosts, &query.all_but_session).into()],
            names: Vec::new(),
            session: query.session,
        });
    }
    if hosts.iter().any(|(host, _)| host.is_empty()) {
        return Err(HostsFault::EmptyHost);
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(HostsFault::Ports {
            hosts: hosts.len(),
            ports: ports.len(),
        });
    }
    let mut found = HostUrls {
        urls: Vec::with_capacity(hosts.len()),
        names: Vec::with_capacity(hosts.len()),
        session: query.session,
    };
    for (index, (host, own_port)) in hosts.iter().enumerate() {
        let port = ports
            .get(index)
            .or(ports.first())
            .copied()
            .or(own_port.as_deref());
        let mut rest = query.others.clone();
        if let Some(port) = port {
            rest.push(pair("port", port));
        }
        let authority = if from_query {
            rest.push(pair("host", host));
            "localhost"
        } else {
            host.as_str()
        };
        found.urls.push(parts.with(authority, &rest).into());
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        found.names.push(format!("{host}{port}"));
    }
    Ok(found)
}

fn pair(key: &str, value: &str) -> String {
    format!("{key}={}", byte_serialize(value.as_bytes()).collect::<String>())
}

/// `host:port`, where an IPv6 address has brackets.
fn split_port(text: &str) -> (String, Option<String>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (
            host.to_owned(),
            Some(port.to_owned()).filter(|port| !port.is_empty()),
        ),
        _ => (text.to_owned(), None),
    }
}

/// The parts of a URL, as written.
struct Parts<'a> {
    /// Scheme, user and password.
    before: &'a str,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` for a text that has no scheme, or a fragment, which is a password with a bare `#`.
    fn of(text: &'a str) -> Option<Self> {
        let authority_at = text.find("://")? + 3;
        if text.contains('#') {
            return None;
        }
        let rest = &text[authority_at..];
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let hosts_at = rest[..path_at].rfind('@').map_or(0, |at| at + 1);
        let (path, query) = rest[path_at..].split_once('?').unwrap_or((&rest[path_at..], ""));
        Some(Self {
            before: &text[..authority_at + hosts_at],
            hosts: &rest[hosts_at..path_at],
            path,
            query,
        })
    }

    fn with(&self, authority: &str, query: &[String]) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{authority}{}{mark}{}", self.before, self.path, query.join("&"))
    }
}

#[derive(Default)]
struct Query {
    hosts: Option<String>,
    ports: Option<String>,
    session: Option<String>,
    /// Everything but `target_session_attrs`, as written.
    all_but_session: Vec<String>,
    /// Everything else, as written.
    others: Vec<String>,
}

impl Query {
    fn take(&mut self, written: &str) -> Result<(), HostsFault> {
        let Some((key, value)) = parse_pairs(written.as_bytes()).next() else {
            return Ok(());
        };
        match &*key {
            "target_session_attrs" if self.session.is_some() => return Err(HostsFault::SessionTwice),
            "target_session_attrs" => {
                self.session = Some(value.into_owned());
                return Ok(());
            }
            "host" => self.hosts = Some(value.into_owned()),
            "port" => self.ports = Some(value.into_owned()),
            _ => self.others.push(written.to_owned()),
        }
        self.all_but_session.push(written.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(url: &str) -> (Vec<String>, Vec<String>, Option<String>) {
        let split = split_hosts(&url.into()).unwrap();
        let urls = split.urls.iter().map(|url| url.expose_secret().to_owned());
        (urls.collect(), split.names, split.session)
    }

    #[test]
    fn a_url_of_one_host_stays_as_it_is_without_the_kind_of_session() {
        for url in [
            "postgres://u:p,q@db/x",
            "postgres://u:p@db:5433/x?sslmode=require&options=-c%20a%3Db",
            "postgres://u@[::1]:5433/x",
            "postgres://u@db/x?host=/run/postgresql&port=5433",
            "not a url with s3cret",
            "postgres://u:12#s3cret,b@db/x",
            "",
        ] {
            assert_eq!(split(url), (vec![url.to_owned()], vec![], None), "{url}");
        }
        assert_eq!(
            split("postgres://u@db/x?target_session_attrs=read-write&sslmode=require"),
            (
                vec!["postgres://u@db/x?sslmode=require".to_owned()],
                vec![],
                Some("read-write".to_owned())
            )
        );
    }

    #[test]
    fn the_hosts_are_before_the_path_or_in_the_query() {
        let (urls, names, session) =
            split("postgres://u:p%2C@one:5432,two,[::1]:7/x?target_session_attrs=primary&a=b");
        assert_eq!(
            urls,
            [
                "postgres://u:p%2C@one/x?a=b&port=5432",
                "postgres://u:p%2C@two/x?a=b",
                "postgres://u:p%2C@[::1]/x?a=b&port=7",
            ]
        );
        assert_eq!(names, ["one:5432", "two", "[::1]:7"]);
        assert_eq!(session.as_deref(), Some("primary"));
        let (urls, names, _) = split("postgres://u@/x?host=one,/run/pg&port=5432,5433");
        assert_eq!(
            urls,
            [
                "postgres://u@localhost/x?port=5432&host=one",
                "postgres://u@localhost/x?port=5433&host=%2Frun%2Fpg",
            ]
        );
        assert_eq!(names, ["one:5432", "/run/pg:5433"]);
        let (urls, ..) = split("postgres://one,two/x?port=5433");
        assert_eq!(urls, ["postgres://one/x?port=5433", "postgres://two/x?port=5433"]);
    }

    #[test]
    fn hosts_that_cannot_be_meant_are_refused_without_a_word_of_the_url() {
        for (url, fault) in [
            ("postgres://u@one,,two/x", HostsFault::EmptyHost),
            ("postgres://u@one,/x", HostsFault::EmptyHost),
            (
                "postgres://u@one,two/x?port=1,2,3",
                HostsFault::Ports { hosts: 2, ports: 3 },
            ),
            (
                "postgres://u@one/x?target_session_attrs=any&target_session_attrs=any",
                HostsFault::SessionTwice,
            ),
        ] {
            assert_eq!(split_hosts(&url.into()).unwrap_err(), fault, "{url}");
        }
    }
}

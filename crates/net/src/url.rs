//! URLs of servers, and the parts of them that may be shown.

use secrecy::{ExposeSecret, SecretString};

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

/// The part of a URL that may be shown: `host:5432/db` of `postgres://user:secret@host:5432/db?x`.
#[must_use]
pub fn server_name(url: &SecretString) -> String {
    match parse_url(url.expose_secret()) {
        Some(url) => {
            let host = url
                .host_str()
                .filter(|host| !host.is_empty())
                .unwrap_or("localhost");
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{host}{port}{}", url.path())
        }
        None => "a URL that cannot be parsed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        let url = SecretString::from("postgres://user:s3cr%40t@db.example:5433/analytics?sslmode=require");
        assert_eq!(server_name(&url), "db.example:5433/analytics");
        for unclear in [
            "not a url with s3cret",
            "postgres://u:12/s3cret@db/x",
            "postgres://u:12?s3cret@db/x",
            "postgres://u:12#s3cret@db/x",
        ] {
            assert_eq!(
                server_name(&SecretString::from(unclear)),
                "a URL that cannot be parsed"
            );
        }
    }
}

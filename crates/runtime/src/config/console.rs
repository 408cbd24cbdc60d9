//! Settings of the web console.

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::Deserializer;
use tidemark_net::url::ServerUrl;

use super::value::{Listen, console_listen};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    /// Address of the pages; `None` when not set.
    #[serde(deserialize_with = "console_listen")]
    pub listen: Option<Listen>,
    /// Who may sign in, and how.
    pub auth: ConsoleAuth,
    /// The header in which a proxy names the user.
    pub proxy_header: String,
    /// Networks of the proxies whose header is believed.
    #[serde(deserialize_with = "networks")]
    pub proxy_peers: Vec<IpNet>,
    /// First part of every path, such as `/tidemark`.
    pub path_prefix: String,
    /// Refuses every change.
    pub read_only: bool,
    /// Whether pages may open sessions on a source.
    pub sources: bool,
    /// Sends the session's cookie over plain HTTP too.
    pub insecure_cookie: bool,
    /// The analytics database for tenants' pages: its login is a member of `authenticated_users` alone.
    pub tenant_database_url: Option<ServerUrl>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleAuth {
    /// Nobody signs in: only on a loopback address.
    Off,
    /// Users of the console, with passwords.
    Password,
    /// A proxy has authenticated the user, and names it in a header.
    Proxy,
}

impl ConsoleAuth {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Password => "password",
            Self::Proxy => "proxy",
        }
    }
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            listen: None,
            auth: ConsoleAuth::Off,
            proxy_header: "X-Forwarded-User".to_owned(),
            proxy_peers: Vec::new(),
            path_prefix: String::new(),
            read_only: false,
            sources: true,
            insecure_cookie: false,
            tenant_database_url: None,
        }
    }
}

impl ConsoleSettings {
    /// What is wrong with these settings, with what to do about it.
    pub(super) fn check(&self) -> Result<(), String> {
        let prefix = &self.path_prefix;
        let is_plain = prefix
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "/-_.".contains(sign));
        let is_path = prefix.is_empty()
            || (prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains("//"));
        if !is_plain || !is_path {
            return Err(
                "console.path_prefix is a path of letters, digits, `-`, `_` and `.` such as /tidemark, without a slash at its end"
                    .to_owned(),
            );
        }
        let is_token = |sign: char| sign.is_ascii_alphanumeric() || "-_".contains(sign);
        if self.proxy_header.is_empty() || !self.proxy_header.chars().all(is_token) {
            return Err("console.proxy_header is the name of a header, such as X-Forwarded-User".to_owned());
        }
        Ok(())
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let address = part.parse::<std::net::IpAddr>().map(IpNet::from);
            part.parse().or(address).map_err(|_| {
                serde::de::Error::custom(format!(
                    "console.proxy_peers `{part}`: write addresses or networks with commas between, such as 10.0.0.0/8"
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<ConsoleSettings, String> {
        let find = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::load_with(None, find)
            .map(|settings| settings.console)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn peers_are_addresses_or_networks() {
        let loaded = load(&[("TIDEMARK_CONSOLE_PROXY_PEERS", "10.0.0.0/8, ::1")]).unwrap();
        assert!(loaded.proxy_peers[0].contains(&"10.1.2.3".parse::<std::net::IpAddr>().unwrap()));
        assert!(!loaded.proxy_peers[1].contains(&"10.1.2.3".parse::<std::net::IpAddr>().unwrap()));
        let error = load(&[("TIDEMARK_CONSOLE_PROXY_PEERS", "proxy")]).unwrap_err();
        assert!(error.contains("proxy_peers"), "{error}");
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for wrong in ["tidemark", "/tidemark/", "/a//b", "/a b", "/a?b", "/<a>"] {
            assert!(
                load(&[("TIDEMARK_CONSOLE_PATH_PREFIX", wrong)]).is_err(),
                "{wrong}"
            );
        }
        for right in ["/tidemark", "/ops/tidemark-2"] {
            assert_eq!(
                load(&[("TIDEMARK_CONSOLE_PATH_PREFIX", right)])
                    .unwrap()
                    .path_prefix,
                right
            );
        }
    }
}

//! RabbitMQ's HTTP API, for facts that AMQP does not offer. Only the check-up uses it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::ManagementFault;
use url::Url;

use super::connection::Server;

/// A client of the API. Holds the password, so it has no `Debug`.
pub(super) struct Management {
    client: Arc<dyn HttpClient>,
    /// Without user and password.
    base: Url,
    vhost: String,
    authorization: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ApiOverview {
    pub rabbitmq_version: String,
}

impl ApiOverview {
    pub fn version(&self) -> (u32, u32) {
        let mut parts = self
            .rabbitmq_version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub name: String,
    #[serde(default)]
    pub mem_alarm: bool,
    #[serde(default)]
    pub disk_free_alarm: bool,
}

/// How often a message may return before the queue drops it. Ordered from strict to loose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DeliveryLimit {
    At(u64),
    /// Written as -1 or another negative number, from RabbitMQ 4.0 on.
    Off,
}

impl DeliveryLimit {
    fn read(value: &Value) -> Option<Self> {
        let limit = value.as_i64()?;
        Some(u64::try_from(limit).map_or(Self::Off, Self::At))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct QueueInfo {
    #[serde(default)]
    pub policy: Option<String>,
    /// Policy and operator policy merged; an empty list when there is none.
    #[serde(default)]
    effective_policy_definition: Value,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
    /// What the queue itself goes by, from RabbitMQ 4.0 on: a number, or `unlimited`, which also a queue has that an older
    /// version created. Missing in a queue that is new or has no leader.
    #[serde(default, rename = "delivery_limit")]
    effective_delivery_limit: Value,
    #[serde(default)]
    pub members: Vec<String>,
    #[serde(default)]
    pub online: Vec<String>,
    /// Missing where RabbitMQ has no statistics of the queue, as for quorum queues of some versions.
    #[serde(default)]
    pub message_bytes: Option<i64>,
    #[serde(default)]
    pub messages: Option<i64>,
}

impl QueueInfo {
    pub fn effective(&self, name: &str) -> Option<&Value> {
        self.effective_policy_definition.get(name)
    }

    /// `None` when no limit is set. Of a policy and an argument the stricter one counts.
    pub fn delivery_limit(&self) -> Option<DeliveryLimit> {
        if self.effective_delivery_limit == "unlimited" {
            return Some(DeliveryLimit::Off);
        }
        let policy = self.effective("delivery-limit").and_then(DeliveryLimit::read);
        let argument = self
            .arguments
            .get("x-delivery-limit")
            .and_then(DeliveryLimit::read);
        policy.into_iter().chain(argument).min()
    }
}

/// The address as its file has it now.
fn current(address: &ServerUrl) -> Result<SecretString, ManagementFault> {
    match address.read_again() {
        Ok(text) => Ok(text.unwrap_or_else(|| address.secret().clone())),
        Err(error) => Err(ManagementFault::Address(report(&error))),
    }
}

impl Management {
    /// Uses `address`, else the default port on the broker's host. User and password are the broker's, unless the address
    /// contains others. Errors contain no secret.
    pub fn new(
        server: &Server,
        address: Option<&ServerUrl>,
        limit: Duration,
    ) -> Result<Self, ManagementFault> {
        let (node, is_tls) = server.node();
        let mut base = match address {
            Some(address) => Url::parse(current(address)?.expose_secret())
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
                .ok_or(ManagementFault::NoUrl)?,
            None => {
                let host = match node.authority.host.contains(':') {
                    true => format!("[{}]", node.authority.host),
                    false => node.authority.host.clone(),
                };
                let (scheme, port) = if is_tls { ("https", 15671) } else { ("http", 15672) };
                Url::parse(&format!("{scheme}://{host}:{port}")).map_err(|_| ManagementFault::NotDerived)?
            }
        };
        let broker_login = &node.authority.userinfo;
        let (user, password) = if base.username().is_empty() {
            (broker_login.username.clone(), broker_login.password.clone())
        } else {
            let decoded = |text: &str| {
                let pair = format!("v={}", text.replace('+', "%2B"));
                url::form_urlencoded::parse(pair.as_bytes())
                    .next()
                    .map_or_else(String::new, |(_, value)| value.into_owned())
            };
            (
                decoded(base.username()),
                decoded(base.password().unwrap_or_default()),
            )
        };
        let cleared = base.set_username("").and_then(|()| base.set_password(None));
        if cleared.is_err() {
            return Err(ManagementFault::NoUser);
        }
        // read the system's authorities only for https, because a small container has none
        let client: Arc<dyn HttpClient> = if base.scheme() == "https" {
            let connector = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| ManagementFault::Authorities(error.to_string()))?
                .https_only()
                .enable_http1()
                .build();
            Arc::new(HyperClient::new(connector, limit, None))
        } else {
            Arc::new(HyperClient::with_default_connector(limit, None))
        };
        Ok(Self {
            client,
            base,
            vhost: node.vhost.clone(),
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        })
    }

    pub async fn overview(&self) -> Result<ApiOverview, ManagementFault> {
        self.get(&["overview"]).await?.ok_or_else(|| self.no_api())
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, ManagementFault> {
        self.get(&["nodes"]).await?.ok_or_else(|| self.no_api())
    }

    /// `None` when the queue does not exist.
    pub async fn queue(&self, name: &str) -> Result<Option<QueueInfo>, ManagementFault> {
        self.get(&["queues", &self.vhost, name]).await
    }

    fn no_api(&self) -> ManagementFault {
        ManagementFault::NoApi(self.base.to_string())
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, ManagementFault> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| self.no_api())?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let request = Request::get(url.as_str())
            .header("authorization", &self.authorization)
            .body(Bytes::new())
            .map_err(|_| ManagementFault::NoRequest)?;
        let answer = self
            .client
            .send_bytes(request)
            .await
            .map_err(|_| ManagementFault::NoAnswer(self.base.to_string()))?;
        match answer.status().as_u16() {
            200 => serde_json::from_slice(answer.body())
                .map(Some)
                .map_err(|_| self.no_api()),
            404 => Ok(None),
            401 | 403 => Err(ManagementFault::Refused(self.base.to_string())),
            status => Err(ManagementFault::Status {
                address: self.base.to_string(),
                status,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::RabbitSettings;
    use super::*;

    fn management(amqp: &str, address: Option<&str>) -> Management {
        let server = Server::new(&RabbitSettings::new(amqp.into())).ok().unwrap();
        let address = address.map(ServerUrl::from);
        Management::new(&server, address.as_ref(), Duration::from_secs(1))
            .ok()
            .unwrap()
    }

    #[tokio::test]
    async fn the_default_address_is_on_the_brokers_host_and_shows_no_password() {
        let derived = management("amqp://me:se%40cret@mq/etl", None);
        assert_eq!(derived.base.as_str(), "http://mq:15672/");
        assert_eq!(
            derived.authorization,
            format!("Basic {}", STANDARD.encode("me:se@cret"))
        );
        let given = management("amqp://me:x@mq/%2f", Some("http://you:a%2Bb%25@other:8080/sub"));
        assert_eq!(given.base.as_str(), "http://other:8080/sub");
        assert_eq!(
            given.authorization,
            format!("Basic {}", STANDARD.encode("you:a+b%"))
        );
        assert_eq!(
            management("amqp://me:x@[::1]", None).base.as_str(),
            "http://[::1]:15672/"
        );
    }

    #[test]
    fn a_missing_policy_is_an_empty_list() {
        let info: QueueInfo =
            serde_json::from_str(r#"{"effective_policy_definition": [], "members": ["a"]}"#).unwrap();
        assert_eq!(info.delivery_limit(), None);
        let info: QueueInfo =
            serde_json::from_str(r#"{"effective_policy_definition": {"delivery-limit": 5}, "policy": "p"}"#)
                .unwrap();
        assert_eq!(info.delivery_limit(), Some(DeliveryLimit::At(5)));
        let info: QueueInfo =
            serde_json::from_str(r#"{"effective_policy_definition": {"delivery-limit": -1}, "policy": "p"}"#)
                .unwrap();
        assert_eq!(info.delivery_limit(), Some(DeliveryLimit::Off));
    }

    #[test]
    fn of_a_policy_and_an_argument_the_stricter_delivery_limit_counts() {
        let limit = |policy: &str, argument: &str| {
            let info = format!(
                r#"{{"effective_policy_definition": {policy}, "arguments": {{"x-delivery-limit": {argument}}}}}"#
            );
            let info: QueueInfo = serde_json::from_str(&info).unwrap();
            info.delivery_limit()
        };
        let policy = |limit: &str| format!(r#"{{"delivery-limit": {limit}}}"#);
        assert_eq!(limit(&policy("5"), "-1"), Some(DeliveryLimit::At(5)));
        assert_eq!(limit(&policy("-1"), "7"), Some(DeliveryLimit::At(7)));
        assert_eq!(limit(&policy("9"), "7"), Some(DeliveryLimit::At(7)));
        assert_eq!(limit("[]", "-3"), Some(DeliveryLimit::Off));
        let upgraded: QueueInfo = serde_json::from_str(r#"{"delivery_limit": "unlimited"}"#).unwrap();
        assert_eq!(upgraded.delivery_limit(), Some(DeliveryLimit::Off));
        let default: QueueInfo = serde_json::from_str(r#"{"delivery_limit": 20}"#).unwrap();
        assert_eq!(default.delivery_limit(), None);
    }

    #[test]
    fn the_size_of_a_queue_may_be_missing() {
        let info: QueueInfo = serde_json::from_str(r#"{"messages": 3}"#).unwrap();
        assert_eq!((info.messages, info.message_bytes), (Some(3), None));
        let info: QueueInfo = serde_json::from_str(r#"{"messages": 3, "message_bytes": 400}"#).unwrap();
        assert_eq!(info.message_bytes, Some(400));
    }
}

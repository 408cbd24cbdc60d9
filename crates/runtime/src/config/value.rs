//! Values with their own syntax: durations and addresses.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    Off,
    At(SocketAddr),
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| {
        serde::de::Error::custom("a duration is written with its unit, such as `30s` or `5m`")
    })?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("duration `{text}`: {error}")))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    address(deserializer, "http_listen", 9464)
}

pub(super) fn console_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    address(deserializer, "console.listen", 9480)
}

fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
    setting: &str,
    port: u16,
) -> Result<Option<Listen>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(Some(Listen::Off));
    }
    let address = text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{setting} `{text}`: write an address with its port, such as 0.0.0.0:{port}, or `off`"
        ))
    })?;
    Ok(Some(Listen::At(address)))
}

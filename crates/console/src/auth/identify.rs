//! Finds out who asks.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::Extensions;
use axum::http::HeaderMap;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_runtime::config::ConsoleAuth;

use super::who::{Kind, Who};
use super::{session, token};
use crate::console::Console;

#[derive(Debug)]
pub enum Stranger {
    /// Nobody is signed in, or the session has ended.
    Nobody,
    /// The token is unknown or has expired.
    WrongToken,
    /// The peer of the connection is not among the proxies.
    OtherPeer,
    /// The proxy names nobody.
    Unnamed,
    /// The proxy names somebody whom the console does not know.
    Unknown(String),
    Ledger(DbError),
}

/// The peer of the connection itself, never one that a header names.
pub fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| *peer)
}

pub async fn identify(
    console: &Console,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Who, Stranger> {
    let origin = peer(extensions).map(|peer| peer.ip().to_canonical().to_string());
    Ok(find(console, headers, extensions).await?.from(origin))
}

async fn find(console: &Console, headers: &HeaderMap, extensions: &Extensions) -> Result<Who, Stranger> {
    if let Some(token) = token::of(headers) {
        let found = token::find(&console.db, token).await.map_err(Stranger::Ledger)?;
        return found.ok_or(Stranger::WrongToken);
    }
    match console.settings.console.auth {
        ConsoleAuth::Off => Ok(Who::local()),
        ConsoleAuth::Password => {
            let id = session::id_of(console, headers).ok_or(Stranger::Nobody)?;
            let found = session::find(console, id).await.map_err(Stranger::Ledger)?;
            found.ok_or(Stranger::Nobody)
        }
        ConsoleAuth::Proxy => of_proxy(console, headers, extensions).await,
    }
}

async fn of_proxy(console: &Console, headers: &HeaderMap, extensions: &Extensions) -> Result<Who, Stranger> {
    let settings = &console.settings.console;
    let peer = peer(extensions).map(|peer| peer.ip().to_canonical());
    let is_proxy =
        peer.is_some_and(|peer| settings.proxy_peers.iter().any(|network| network.contains(&peer)));
    if !is_proxy {
        return Err(Stranger::OtherPeer);
    }
    // two values could be read differently by two programs
    let mut named = headers.get_all(settings.proxy_header.as_str()).iter();
    let (Some(name), None) = (named.next(), named.next()) else {
        return Err(Stranger::Unnamed);
    };
    let name = name.to_str().map(str::trim).unwrap_or_default();
    if name.is_empty() {
        return Err(Stranger::Unnamed);
    }
    let found = ledger::console::user::find(&console.db, name)
        .await
        .map_err(Stranger::Ledger)?;
    found
        .and_then(|user| Who::of_user(user, Kind::Proxy))
        .ok_or_else(|| Stranger::Unknown(name.to_owned()))
}

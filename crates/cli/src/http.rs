//! The HTTP endpoints of a process: `/metrics`, and `/livez`, `/readyz`, `/startupz` for its supervisor.

mod health;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, serve};
use tidemark_runtime::config::Listen;
use tidemark_runtime::telemetry::Scrape;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use self::health::{Health, Report};
use crate::exit::SetupError;

/// The address without a setting.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Binds the address early, so that a wrong one is reported before any work starts. Without a setting, further processes on
/// one machine get free ports.
pub async fn bind(listen: Option<Listen>) -> anyhow::Result<Option<TcpListener>> {
    let wanted = match listen {
        Some(Listen::Off) => return Ok(None),
        Some(Listen::At(address)) => address,
        None => match TcpListener::bind(DEFAULT_ADDRESS).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) => SocketAddr::new(DEFAULT_ADDRESS.ip(), 0),
        },
    };
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        SetupError(format!(
            "cannot listen on {wanted} for health and metrics: {error}: set another http_listen \
             (TIDEMARK_HTTP_LISTEN), or `off`"
        ))
    })?;
    Ok(Some(listener))
}

struct Endpoints {
    health: Health,
    scrape: Scrape,
}

/// Serves until the returned set is dropped, so also during the shutdown of the process.
pub fn start_server(listener: TcpListener, health: Health, scrape: Scrape) -> JoinSet<()> {
    let lifecycle = health.lifecycle.clone();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .with_state(Arc::new(Endpoints { health, scrape }));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let serving = async { serve(listener, router).await };
        if let Some(Err(error)) = lifecycle.catch_panic("http", serving).await {
            tracing::error!(%error, "the HTTP server for health and metrics has stopped");
        }
    });
    server
}

async fn metrics(State(endpoints): State<Arc<Endpoints>>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        return ([(CONTENT_TYPE, OPEN_METRICS)], endpoints.scrape.open_metrics()).into_response();
    }
    match endpoints.scrape.text() {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn live(State(endpoints): State<Arc<Endpoints>>) -> Response {
    respond(&endpoints.health.live())
}

async fn ready(State(endpoints): State<Arc<Endpoints>>) -> Response {
    respond(&endpoints.health.ready().await)
}

/// The server starts after the roles, so every answer is yes.
async fn started(State(endpoints): State<Arc<Endpoints>>) -> Response {
    respond(&endpoints.health.started())
}

fn respond(report: &Report) -> Response {
    let status = if report.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

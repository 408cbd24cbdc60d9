//! What a process answers over HTTP: `/metrics`, and `/livez`, `/readyz`, `/startupz` for whoever supervises it.

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

/// Where it listens when nobody says.
pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address, so that a wrong one is told before anything has begun. Several processes on one machine that
/// were not told where to listen find places of their own.
pub async fn bind(listen: Option<Listen>) -> anyhow::Result<Option<TcpListener>> {
    let wanted = match listen {
        Some(Listen::Off) => return Ok(None),
        Some(Listen::At(address)) => address,
        None => match TcpListener::bind(DEFAULT).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) => SocketAddr::new(DEFAULT.ip(), 0),
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

struct Answers {
    health: Health,
    scrape: Scrape,
}

/// Answers until what is returned is dropped: also while the process ends, so that it can be watched ending.
pub fn answer(listener: TcpListener, health: Health, scrape: Scrape) -> JoinSet<()> {
    let lifecycle = health.lifecycle.clone();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .with_state(Arc::new(Answers { health, scrape }));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let serving = async { serve(listener, router).await };
        if let Some(Err(error)) = lifecycle.catch_panic("http", serving).await {
            tracing::error!(%error, "health and metrics are no longer answered for");
        }
    });
    server
}

async fn metrics(State(answers): State<Arc<Answers>>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        return ([(CONTENT_TYPE, OPEN_METRICS)], answers.scrape.open_metrics()).into_response();
    }
    match answers.scrape.text() {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn live(State(answers): State<Arc<Answers>>) -> Response {
    respond(&answers.health.live())
}

async fn ready(State(answers): State<Arc<Answers>>) -> Response {
    respond(&answers.health.ready().await)
}

/// Nobody is answered before the roles have been started.
async fn started(State(answers): State<Arc<Answers>>) -> Response {
    respond(&answers.health.started())
}

fn respond(report: &Report) -> Response {
    let status = if report.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

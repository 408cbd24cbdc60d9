//! A page behind a slow network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Router, http::StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::browser::Browser;
use super::client::serve;
use crate::stage::{on_stage, poll};

/// How much later each script comes than the one before it.
const LATER: Duration = Duration::from_secs(1);

struct Forward {
    console: String,
    client: Client<HttpConnector, Body>,
    scripts: AtomicU32,
}

async fn forward(State(to): State<Arc<Forward>>, mut request: Request) -> Response {
    if request.uri().path().ends_with(".js") {
        tokio::time::sleep(LATER * to.scripts.fetch_add(1, Ordering::Relaxed)).await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{}{path}", to.console)
        .parse::<Uri>()
        .unwrap_or_default();
    match to.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Opens a way to the console on which no two scripts come together.
async fn slow_way_to(console: &str) -> Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let to = Forward {
        console: console.to_owned(),
        client: Client::builder(TokioExecutor::new()).build_http(),
        scripts: AtomicU32::new(0),
    };
    let router = Router::new().fallback(forward).with_state(Arc::new(to));
    let mut way = JoinSet::new();
    way.spawn(async move {
        axum::serve(listener, router).await.expect("the way is open");
    });
    Ok((address, way))
}

/// The browser lets other work go on between two scripts that do not come together, and htmx begins in such a moment.
#[tokio::test]
async fn a_page_whose_scripts_come_one_after_the_other_is_live() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 1).await?;
        let served = serve(&stage, "console", &[]).await?;
        let (address, _way) = slow_way_to(&served.address).await?;
        let browser = Browser::open(1400, 1000).await?;
        browser.page.goto(&format!("http://{address}/")).await?;
        let shown = async || {
            let time = browser.wait("#live time").await?;
            time.attr("datetime").await?.context("the time of a look")
        };
        let first = shown().await?;
        poll("a later look on the page", async || {
            Ok((shown().await? != first).then_some(()))
        })
        .await?;
        browser.ensure_quiet("/").await?;
        served.process.stop().await
    })
    .await;
}

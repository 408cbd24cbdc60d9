//! Receives the spans, metrics and logs that processes export, over OTLP/gRPC and OTLP/HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

/// A collector on a port of its own; ends when dropped.
pub struct Collector {
    received: Received,
    pub endpoint: String,
    _serving: JoinSet<()>,
}

/// One exported span.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub kind: SpanKind,
    pub trace: String,
    pub id: String,
    /// Empty if the span is a root.
    pub parent: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Attributes, with numbers as text.
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    pub events: Vec<String>,
    pub service: String,
    pub instance: String,
}

impl Span {
    pub fn attribute(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<Heap>>);

#[derive(Debug, Default)]
struct Heap {
    spans: Vec<Span>,
    metrics: BTreeSet<String>,
    /// Everything received, as text.
    text: String,
    credentials: BTreeSet<String>,
}

impl Collector {
    pub async fn grpc() -> Result<Self> {
        let received = Received::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()));
        Self::serve(received, |listener| async move {
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            server
                .serve_with_incoming(incoming)
                .await
                .expect("the collector serves");
        })
        .await
    }

    pub async fn http() -> Result<Self> {
        let received = Received::default();
        let router = Router::new()
            .route("/v1/traces", post(traces_over_http))
            .route("/v1/metrics", post(metrics_over_http))
            .with_state(received.clone());
        Self::serve(received, |listener| async move {
            axum::serve(listener, router).await.expect("the collector serves");
        })
        .await
    }

    async fn serve<F>(received: Received, server: impl FnOnce(TcpListener) -> F) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(server(listener));
        Ok(Self {
            received,
            endpoint,
            _serving: serving,
        })
    }

    pub fn spans(&self) -> Vec<Span> {
        self.received.with(|heap| heap.spans.clone())
    }

    pub fn metrics(&self) -> BTreeSet<String> {
        self.received.with(|heap| heap.metrics.clone())
    }

    /// Everything received, as text: to search it for secrets.
    pub fn text(&self) -> String {
        self.received.with(|heap| heap.text.clone())
    }

    /// The values of `authorization` that senders gave.
    pub fn credentials(&self) -> BTreeSet<String> {
        self.received.with(|heap| heap.credentials.clone())
    }
}

impl Received {
    fn with<T>(&self, act: impl FnOnce(&mut Heap) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_credentials(&self, value: Option<&str>) {
        self.with(|heap| heap.credentials.extend(value.map(ToOwned::to_owned)));
    }

    fn take_traces(&self, request: &ExportTraceServiceRequest) {
        let spans = request.resource_spans.iter().flat_map(|of| {
            let resource = of
                .resource
                .as_ref()
                .map(|resource| attributes(&resource.attributes));
            let resource = resource.unwrap_or_default();
            of.scope_spans
                .iter()
                .flat_map(|scope| &scope.spans)
                .map(move |span| read(span, &resource))
                .collect::<Vec<_>>()
        });
        self.with(|heap| {
            heap.text.push_str(&format!("{request:?}\n"));
            heap.spans.extend(spans);
        });
    }

    fn take_metrics(&self, request: &ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
        let names = scopes
            .flat_map(|scope| &scope.metrics)
            .map(|metric| metric.name.clone());
        self.with(|heap| {
            heap.text.push_str(&format!("{request:?}\n"));
            heap.metrics.extend(names);
        });
    }
}

fn read(span: &opentelemetry_proto::tonic::trace::v1::Span, resource: &BTreeMap<String, String>) -> Span {
    let of_resource = |name: &str| resource.get(name).cloned().unwrap_or_default();
    let status = span.status.as_ref().map(|status| status.code());
    Span {
        name: span.name.clone(),
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span
            .links
            .iter()
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        attributes: attributes(&span.attributes),
        failed: status == Some(SpanStatus::Error),
        events: span.events.iter().map(|event| event.name.clone()).collect(),
        service: of_resource("service.name"),
        instance: of_resource("service.instance.id"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let credentials = request.metadata().get("authorization");
        self.take_credentials(credentials.and_then(|value| value.to_str().ok()));
        self.take_traces(&request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take_metrics(&request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn traces_over_http(
    State(received): State<Received>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    let credentials = headers.get("authorization");
    received.take_credentials(credentials.and_then(|value| value.to_str().ok()));
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    received.take_traces(&request);
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

async fn metrics_over_http(State(received): State<Received>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let request = ExportMetricsServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    received.take_metrics(&request);
    Ok(ExportMetricsServiceResponse::default().encode_to_vec())
}

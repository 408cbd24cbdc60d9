//! Span attributes of a message's destination, after OpenTelemetry's semantic conventions for messaging.

use opentelemetry::Value;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use tidemark_shared::job::Lane;

/// The kind of messages that a queue transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Chunks(Lane),
    Events,
}

/// Exchange, routing key, queue and server of a message.
#[derive(Debug, Clone)]
pub struct Destination {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) queue: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Destination {
    /// Describes a span that sends messages to this destination.
    pub fn describe_send(&self, span: &Span) {
        let name = format!("{}:{}", self.exchange, self.routing_key);
        self.describe(span, "send", name);
    }

    /// Describes a span that processes messages from this destination.
    pub fn describe_process(&self, span: &Span) {
        let name = format!("{}:{}:{}", self.exchange, self.routing_key, self.queue);
        self.describe(span, "process", name);
    }

    fn describe(&self, span: &Span, operation: &'static str, name: String) {
        let attributes: [(&str, Value); 7] = [
            ("messaging.system", "rabbitmq".into()),
            ("messaging.operation.name", operation.into()),
            ("messaging.operation.type", operation.into()),
            ("messaging.destination.name", name.into()),
            (
                "messaging.rabbitmq.destination.routing_key",
                self.routing_key.clone().into(),
            ),
            ("server.address", self.host.clone().into()),
            ("server.port", i64::from(self.port).into()),
        ];
        for (key, value) in attributes {
            span.set_attribute(key, value);
        }
    }
}

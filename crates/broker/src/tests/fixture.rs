//! A separate queue prefix on the test broker, and a proxy whose connections can be cut.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{until, within};
use crate::connection::Server;
use crate::open_connection::OpenConnection;
use crate::{Queue, RabbitQueue, RabbitSettings};

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
pub fn broker_url() -> Url {
    let url = std::env::var("TIDEMARK_TEST_AMQP_URL");
    let url = url.expect("TIDEMARK_TEST_AMQP_URL is not set: `make test` starts the servers and sets it");
    url.parse().expect("TIDEMARK_TEST_AMQP_URL is a URL")
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
fn management_url() -> Url {
    let url = std::env::var("TIDEMARK_TEST_AMQP_MANAGEMENT_URL");
    let url = url
        .expect("TIDEMARK_TEST_AMQP_MANAGEMENT_URL is not set: `make test` starts the servers and sets it");
    url.parse().expect("TIDEMARK_TEST_AMQP_MANAGEMENT_URL is a URL")
}

pub struct Fixture {
    pub prefix: String,
    pub queue: Arc<RabbitQueue>,
    /// A connection that bypasses the proxy, to inspect and change queues.
    pub direct: OpenConnection,
    proxy: Arc<Proxy>,
    /// Runs the proxy for as long as the fixture lives.
    _tasks: JoinSet<()>,
}

/// Runs a test on its own queues, which are deleted afterwards even if the test fails.
pub async fn with_rabbit(test: impl AsyncFnOnce(&Fixture)) {
    let fixture = Fixture::new().await;
    let outcome = AssertUnwindSafe(test(&fixture)).catch_unwind().await;
    fixture.clean_up().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl Fixture {
    async fn new() -> Self {
        let prefix = format!("broker-test-{}", Uuid::new_v4());
        let mut tasks = JoinSet::new();
        let (proxy, port) = Proxy::start(&mut tasks).await;
        let mut url = broker_url();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        let queue = RabbitQueue::new(&settings(url.as_str(), &prefix)).unwrap();
        let server = Server::new(&settings(broker_url().as_str(), &prefix)).unwrap();
        Self {
            queue: Arc::new(queue),
            direct: server.connect("test").await.expect("the test broker runs"),
            prefix,
            proxy,
            _tasks: tasks,
        }
    }

    pub fn cut_connections(&self) {
        self.proxy.cut();
    }

    pub async fn channel(&self) -> Channel {
        self.direct.create_channel().await.unwrap()
    }

    pub async fn delete_queue(&self, name: &str) {
        let queue = format!("{}.{name}", self.prefix).into();
        let options = QueueDeleteOptions::default();
        self.channel().await.queue_delete(queue, options).await.unwrap();
    }

    /// Messages that wait in a queue, without those at consumers. A missing queue has none.
    pub async fn depth(&self, name: &str) -> u32 {
        let queue = format!("{}.{name}", self.prefix).into();
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let declared = self
            .channel()
            .await
            .queue_declare(queue, options, FieldTable::default())
            .await;
        declared.map_or(0, |queue| queue.message_count())
    }

    /// Sets a delivery limit on the dead queue, as an operator's policy or RabbitMQ 4 does.
    pub async fn limit_deliveries(&self, limit: u32) {
        let definition = format!(r#"{{"delivery-limit":{limit}}}"#);
        let pattern = format!("^{}", self.prefix);
        let body = format!(r#"{{"pattern":"{pattern}","apply-to":"queues","definition":{definition}}}"#);
        self.policy("PUT", &body).await;
        until("the policy to apply", async || {
            let queue = self
                .manage("GET", &format!("queues/%2F/{}.dead", self.prefix), "")
                .await;
            queue.contains(&definition)
        })
        .await;
    }

    pub async fn clear_limit(&self) {
        self.policy("DELETE", "").await;
    }

    async fn policy(&self, method: &str, body: &str) {
        let answer = self
            .manage(method, &format!("policies/%2F/{}", self.prefix), body)
            .await;
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// One request to RabbitMQ's HTTP API.
    async fn manage(&self, method: &str, path: &str, body: &str) -> String {
        let api = management_url();
        let address = (api.host_str().unwrap().to_owned(), api.port().unwrap());
        let mut stream = TcpStream::connect(address)
            .await
            .expect("RabbitMQ's HTTP API answers");
        let login = STANDARD.encode(format!(
            "{}:{}",
            api.username(),
            api.password().unwrap_or_default()
        ));
        let request = format!(
            "{method} /api/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub async fn subscribed(&self) {
        until("a subscription", async || {
            let consumers = self.queue.health().consumers;
            !consumers.is_empty() && consumers.iter().all(|consumer| consumer.subscribed)
        })
        .await;
    }

    /// The next message of the dead queue.
    pub async fn dead(&self) -> lapin::message::BasicGetMessage {
        let channel = self.channel().await;
        let queue = format!("{}.dead", self.prefix);
        within("a dead message", async {
            loop {
                let got = channel
                    .basic_get(queue.as_str().into(), BasicGetOptions::default())
                    .await;
                if let Some(message) = got.unwrap() {
                    message.ack(BasicAckOptions::default()).await.unwrap();
                    return message;
                }
            }
        })
        .await
    }

    async fn clean_up(&self) {
        let channel = self.channel().await;
        for name in ["chunks.live", "chunks.bulk", "events", "dead"] {
            let queue = format!("{}.{name}", self.prefix).into();
            channel
                .queue_delete(queue, QueueDeleteOptions::default())
                .await
                .unwrap();
        }
        for name in ["jobs", "dead"] {
            let exchange = format!("{}.{name}", self.prefix).into();
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange, options).await.unwrap();
        }
    }
}

pub fn settings(url: &str, prefix: &str) -> RabbitSettings {
    RabbitSettings {
        prefix: prefix.to_owned(),
        ..RabbitSettings::new(url.into())
    }
}

/// A TCP proxy to the broker. A cut closes the current connections; later connections work.
struct Proxy {
    whole: Mutex<CancellationToken>,
}

impl Proxy {
    async fn start(tasks: &mut JoinSet<()>) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self {
            whole: Mutex::new(CancellationToken::new()),
        });
        tasks.spawn(Arc::clone(&proxy).accept(listener));
        (proxy, port)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut links = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let whole = self.whole.lock().unwrap().clone();
            links.spawn(async move {
                whole.run_until_cancelled(join(near)).await;
            });
        }
    }

    fn cut(&self) {
        let mut whole = self.whole.lock().unwrap();
        whole.cancel();
        *whole = CancellationToken::new();
    }
}

async fn join(mut near: TcpStream) {
    let url = broker_url();
    let far = (
        url.host_str().unwrap_or("localhost").to_owned(),
        url.port().unwrap_or(5672),
    );
    let mut far = TcpStream::connect(far).await.expect("the test broker runs");
    // ends when either side closes
    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
}

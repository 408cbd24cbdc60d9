//! Webhooks, with a real receiver: each message arrives at least once, signed, and is given up after a day.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::{AssertSqlSafe, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::stage::{Process, Stage, on_stage, poll};

const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const SETTINGS: [(&str, &str); 2] = [
    ("TIDEMARK_WEBHOOK_KEY", KEY),
    ("TIDEMARK_WEBHOOK_CONSOLE_URL", "https://console.example.com"),
];

#[derive(Debug, Clone)]
pub struct Received {
    headers: HeaderMap,
    body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Whether the signature is that of this secret, as the Standard Webhooks specification checks it.
    pub fn is_signed_with(&self, secret: &str) -> Result<bool> {
        let key = BASE64.decode(secret.strip_prefix("whsec_").context("a secret")?)?;
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&key)?;
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{timestamp}.{}", self.body).as_bytes());
        let expected = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        Ok(self.header("webhook-signature") == expected)
    }
}

#[derive(Debug)]
struct Behaviour {
    received: Mutex<Vec<Received>>,
    status: AtomicU16,
    hangs: AtomicBool,
}

/// A receiver on this machine.
pub struct Receiver {
    pub url: String,
    behaviour: Arc<Behaviour>,
    _server: JoinSet<()>,
}

async fn receive(State(behaviour): State<Arc<Behaviour>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = String::from_utf8_lossy(&body).into_owned();
    behaviour
        .received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Received { headers, body });
    if behaviour.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(behaviour.status.load(Ordering::SeqCst)).expect("a test sets a status code")
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/secret-path", listener.local_addr()?);
        let behaviour = Arc::new(Behaviour {
            received: Mutex::default(),
            status: AtomicU16::new(204),
            hangs: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/secret-path", post(receive))
            .with_state(Arc::clone(&behaviour));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router).await.expect("the receiver serves");
        });
        Ok(Self {
            url,
            behaviour,
            _server: server,
        })
    }

    fn received(&self) -> Vec<Received> {
        self.behaviour
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until so many requests have come, and returns them.
    pub async fn until(&self, count: usize) -> Result<Vec<Received>> {
        poll(format!("{count} requests"), async || {
            let received = self.received();
            Ok((received.len() >= count).then_some(received))
        })
        .await
    }
}

async fn tidemark(stage: &Stage, args: &[&str], code: i32) -> Result<Value> {
    let answer = stage
        .tidemark_with(&[args, &["--json"]].concat(), &SETTINGS)
        .await?;
    ensure!(answer.code == code, "{args:?}: {answer:?}");
    Ok(answer.documents().pop().unwrap_or_default())
}

async fn add(stage: &Stage, url: &str, events: &str, more: &[&str]) -> Result<Value> {
    let args = [&["webhook", "add", "--url", url, "--event", events], more].concat();
    tidemark(stage, &args, 0).await
}

fn finalizer(stage: &Stage) -> Result<Process> {
    stage.start_with(&["finalizer"], &SETTINGS)
}

#[tokio::test]
async fn an_ended_run_is_reported_with_a_signature_that_the_receiver_can_check() {
    on_stage(|stage| async move {
        stage.sample(40, 2, 61).await?;
        let receiver = Receiver::start().await?;
        let added = add(
            &stage,
            &receiver.url,
            "run.succeeded,run.failed",
            &["--tenant", "1"],
        )
        .await?;
        let secret = added["secret"].as_str().context("a secret")?;
        ensure!(!added.to_string().contains("secret-path"), "{added:#}");
        let run = stage.sync_local(&["--tenant", "1"]).await?;
        // of another tenant, and not asked for
        stage.sync_local(&["--tenant", "2"]).await?;
        let process = finalizer(&stage)?;
        stage
            .until("SELECT count(*) = 1 AND bool_and(delivered_at IS NOT NULL) FROM etl_webhook_delivery")
            .await?;
        process.stop().await?;
        let received = receiver.received();
        ensure!(
            received.len() == 1 && received[0].is_signed_with(secret)?,
            "{received:#?}"
        );
        let message = received[0].json();
        ensure!(
            message["type"] == "run.succeeded" && message["timestamp"].is_string(),
            "{message:#}"
        );
        let data = &message["data"];
        ensure!(
            data["run_id"] == run["run_id"] && data["tenant_id"] == 1,
            "{message:#}"
        );
        ensure!(
            data["records"]["inserted"] == run["records"]["inserted"],
            "{message:#}"
        );
        let link = format!("https://console.example.com/runs/{}", run["run_id"]);
        ensure!(data["link"] == link, "{message:#}");

        let listed = tidemark(&stage, &["webhook", "list"], 0).await?;
        ensure!(
            listed[0]["delivered"] == 1 && listed[0]["waiting"] == 0,
            "{listed:#}"
        );
        ensure!(
            !listed.to_string().contains("secret-path")
                && listed[0]["host"]
                    .as_str()
                    .is_some_and(|host| receiver.url.starts_with(host)),
            "{listed:#}"
        );
        let shown = tidemark(&stage, &["webhook", "show", "1"], 0).await?;
        ensure!(
            shown["messages"][0]["status_code"] == 204 && shown["next"].is_null(),
            "{shown:#}"
        );
        tidemark(&stage, &["webhook", "remove", "1"], 0).await?;
        let audit = tidemark(
            &stage,
            &["audit", "list", "--action", "webhook.add,webhook.remove"],
            0,
        )
        .await?;
        ensure!(
            audit["items"][0]["subject"] == "webhook 1" && audit["items"][1]["after"]["format"] == "json",
            "{audit:#}"
        );
        ensure!(!audit.to_string().contains("secret-path"), "{audit:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_that_is_killed_in_the_middle_of_a_delivery_loses_no_message() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 62).await?;
        let receiver = Receiver::start().await?;
        receiver.behaviour.hangs.store(true, Ordering::SeqCst);
        add(&stage, &receiver.url, "run.succeeded", &[]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let process = finalizer(&stage)?;
        receiver.until(1).await?;
        process.kill().await?;
        // while the claim lasts, nobody else sends the message; here it lasts for as long as the machine needs
        stage
            .target
            .execute("UPDATE etl_webhook_delivery SET due_at = now() + interval '1 hour'")
            .await?;
        let second = finalizer(&stage)?;
        stage.until_started(2).await?;
        ensure!(receiver.received().len() == 1, "sent twice at the same time");
        receiver.behaviour.hangs.store(false, Ordering::SeqCst);
        stage
            .target
            .execute("UPDATE etl_webhook_delivery SET due_at = now()")
            .await?;
        stage
            .until("SELECT bool_and(delivered_at IS NOT NULL) FROM etl_webhook_delivery")
            .await?;
        second.stop().await?;
        let received = receiver.received();
        ensure!(received.len() == 2, "{received:#?}");
        ensure!(
            received[0].header("webhook-id") == received[1].header("webhook-id")
                && received[0].body == received[1].body,
            "{received:#?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_refuses_is_asked_again_for_a_day_and_then_never_again() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 63).await?;
        let receiver = Receiver::start().await?;
        receiver.behaviour.status.store(500, Ordering::SeqCst);
        add(&stage, &receiver.url, "run.succeeded", &[]).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let process = finalizer(&stage)?;
        stage
            .until(
                "SELECT attempt = 1 AND status_code = 500 AND dead_at IS NULL AND due_at > now() + interval '1 second' \
                 FROM etl_webhook_delivery",
            )
            .await?;
        // nearly a day later: the last attempt is exactly a day after the message was written
        stage
            .target
            .execute("UPDATE etl_webhook_delivery SET attempt = 20, due_at = now(), created_at = now() - interval '23:59:00'")
            .await?;
        stage
            .until("SELECT attempt = 21 AND dead_at IS NULL AND due_at = created_at + interval '1 day' FROM etl_webhook_delivery")
            .await?;
        stage
            .target
            .execute("UPDATE etl_webhook_delivery SET due_at = now(), created_at = now() - interval '1 day'")
            .await?;
        stage.until("SELECT attempt = 22 AND dead_at IS NOT NULL FROM etl_webhook_delivery").await?;
        let sent = receiver.received().len();
        ensure!(sent == 3, "{sent} requests");
        stage.target.execute("UPDATE etl_webhook_delivery SET due_at = now()").await?;
        let doctor = stage.tidemark_with(&["doctor", "--json"], &SETTINGS).await?;
        ensure!(doctor.stdout.contains("tidemark webhook show 1"), "{doctor:?}");
        // the finalizer has had turns since then
        let tried = tidemark(&stage, &["webhook", "test", "1"], 1).await?;
        ensure!(tried["error"].as_str().is_some_and(|error| error.contains("the answer was 500")), "{tried:#}");
        process.stop().await?;
        ensure!(receiver.received().len() == 4, "a dead message was sent");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_late_tenant_rows_at_fault_and_a_fenced_source_are_reported_once_and_again_when_they_are_well() {
    on_stage(|stage| async move {
        stage.sample(40, 2, 64).await?;
        let receiver = Receiver::start().await?;
        let events = "tenant.late,tenant.recovered,rows.at_fault,source.fenced,source.recovered";
        add(&stage, &receiver.url, events, &["--format", "slack"]).await?;
        stage
            .target
            .execute(
                "UPDATE etl_watermark SET watermark = now() - CASE tenant_id WHEN 1 THEN interval '2 hours' ELSE interval '1 s' END; \
                 INSERT INTO etl_source_watch (source, error, failing_since) VALUES ('main', 'away', now() - interval '5 minutes'); \
                 INSERT INTO etl_verification (tenant_id, verified_at, source_rows, target_rows, missing, extra, different, stale, pending) \
                 VALUES (2, now(), 9, 8, 1, 0, 0, 0, 0)",
            )
            .await?;
        let process = finalizer(&stage)?;
        let texts = async |count: usize| -> Result<Vec<String>> {
            let received = receiver.until(count).await?;
            let mut texts: Vec<String> = received
                .iter()
                .map(|one| one.json()["text"].as_str().unwrap_or_default().to_owned())
                .collect();
            texts.sort();
            Ok(texts)
        };
        let found = texts(3).await?;
        ensure!(found[0].contains("source main holds the watermarks"), "{found:#?}");
        ensure!(found[1].contains("tenant 1 is late: 120 minutes behind"), "{found:#?}");
        ensure!(found[2].contains("tenant 2 has rows at fault: 1 missing"), "{found:#?}");
        process.stop().await?;

        stage
            .target
            .execute("UPDATE etl_watermark SET watermark = now(); UPDATE etl_source_watch SET error = NULL, failing_since = NULL")
            .await?;
        let again = finalizer(&stage)?;
        let found = texts(5).await?;
        again.stop().await?;
        ensure!(found.len() == 5, "{found:#?}");
        ensure!(found.iter().any(|text| text.contains("tenant 1 is on time again")), "{found:#?}");
        ensure!(found.iter().any(|text| text.contains("source main is well again")), "{found:#?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_webhook_is_added_only_to_an_address_that_may_be_reached_and_signed_for() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 65).await?;
        for (url, word) in [
            ("http://example.com/hook", "write https"),
            ("https://169.254.169.254/latest", "169.254.169.254"),
            (
                "https://[::ffff:169.254.169.254]/",
                "belongs to this machine's network",
            ),
            ("https://user:hunter2@example.com/", "leave them out"),
            ("ftp://example.com/", "write https"),
            ("example.com", "no URL"),
        ] {
            let args = ["webhook", "add", "--url", url, "--event", "run.failed"];
            let refused = stage.tidemark_with(&args, &SETTINGS).await?;
            ensure!(
                refused.code == 64 && refused.stderr.contains(word),
                "{url}: {refused:?}"
            );
            ensure!(!refused.stderr.contains("hunter2"), "{refused:?}");
        }
        let args = [
            "webhook",
            "add",
            "--url",
            "https://example.com/",
            "--event",
            "run.failed",
        ];
        let without_key = stage.tidemark(&args).await?;
        ensure!(
            without_key.code == 78 && without_key.stderr.contains("TIDEMARK_WEBHOOK_KEY"),
            "{without_key:?}"
        );
        let unknown = stage.tidemark_with(&["webhook", "test", "7"], &SETTINGS).await?;
        ensure!(
            unknown.code == 64 && unknown.stderr.contains("no webhook 7"),
            "{unknown:?}"
        );
        let event = [
            "webhook",
            "add",
            "--url",
            "https://example.com/",
            "--event",
            "run.sold",
        ];
        let event = stage.tidemark_with(&event, &SETTINGS).await?;
        ensure!(
            event.code == 64 && event.stderr.contains("source.fenced"),
            "{event:?}"
        );

        // somebody has written an address past the command: it is checked again when it is sent
        let receiver = Receiver::start().await?;
        add(&stage, &receiver.url, "run.failed", &[]).await?;
        stage
            .target
            .execute("UPDATE etl_webhook SET url = 'https://169.254.169.254/'")
            .await?;
        let process = finalizer(&stage)?;
        let tried = tidemark(&stage, &["webhook", "test", "1"], 1).await?;
        ensure!(
            tried["error"]
                .as_str()
                .is_some_and(|error| error.contains("169.254.169.254")),
            "{tried:#}"
        );
        let restored = format!("UPDATE etl_webhook SET url = '{}'", receiver.url);
        stage.target.execute(AssertSqlSafe(restored)).await?;
        let tried = tidemark(&stage, &["webhook", "test", "1"], 0).await?;
        ensure!(
            tried["status_code"] == 204 && tried["event"] == "webhook.test",
            "{tried:#}"
        );
        let received = receiver.until(1).await?;
        ensure!(
            received[0].json()["data"] == json!({"webhook_id": 1, "link": "https://console.example.com/"}),
            "{received:#?}"
        );
        process.stop().await?;
        Ok(())
    })
    .await;
}

/// An encrypted receiver on this machine. Its certificate is signed by the authority in the file.
async fn encrypted_receiver(authority: &Path) -> Result<(String, JoinSet<()>)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write(authority, issuer.pem())?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}/", listener.local_addr()?.port());
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // a client that does not trust the certificate ends the handshake
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let answered = async {
                let read = stream.read(&mut request).await?;
                assert!(read > 0, "an empty request");
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
            };
            answered.await.expect("the receiver answers");
        }
    });
    Ok((url, server))
}

#[tokio::test]
async fn an_encrypted_receiver_is_told_only_if_its_certificate_is_trusted() {
    on_stage(|stage| async move {
        let authority = std::env::temp_dir().join(format!("{}.pem", stage.database("authority")));
        let (url, _server) = encrypted_receiver(&authority).await?;
        add(&stage, &url, "run.failed", &[]).await?;
        let process = finalizer(&stage)?;
        let refused = tidemark(&stage, &["webhook", "test", "1"], 1).await?;
        process.stop().await?;
        let error = refused["error"].as_str().unwrap_or_default();
        ensure!(
            error.contains("no encrypted connection") && error.contains("certificate"),
            "{refused:#}"
        );

        let file = authority.to_str().context("a path")?;
        let trusting = [SETTINGS.as_slice(), &[("SSL_CERT_FILE", file)]].concat();
        let process = stage.start_with(&["finalizer"], &trusting)?;
        let told = tidemark(&stage, &["webhook", "test", "1"], 0).await?;
        process.stop().await?;
        ensure!(told["status_code"] == 200 && told["error"].is_null(), "{told:#}");
        std::fs::remove_file(&authority)?;
        Ok(())
    })
    .await;
}

//! Messages as they are sent: signed JSON by the Standard Webhooks specification, or a text for Slack. Bodies have ids, counts
//! and times, and no personal data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tidemark_ledger::webhook::ClaimedMessage;
use tidemark_shared::webhook::WebhookFormat;

/// A message cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error(
    "webhook_key is not set here, and messages are signed with it: set TIDEMARK_WEBHOOK_KEY on every finalizer"
)]
pub struct NoKey;

/// A request's headers and body.
#[derive(Debug)]
pub struct Outgoing {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// The key of one webhook. It is derived, so that a receiver which loses it endangers no other, and no key is stored in the
/// ledger.
fn key_of(key: &SecretString, webhook: i32) -> Vec<u8> {
    let mut mac = hmac(key.expose_secret().as_bytes());
    mac.update(format!("tidemark webhook {webhook}").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The secret that the receiver checks signatures with, as the specification writes it.
#[must_use]
pub fn secret_of(key: &SecretString, webhook: i32) -> SecretString {
    format!("whsec_{}", BASE64.encode(key_of(key, webhook))).into()
}

/// The request of a message.
///
/// # Errors
/// When a message that has to be signed cannot be.
pub fn compose(
    message: &ClaimedMessage,
    key: Option<&SecretString>,
    console_url: Option<&str>,
) -> Result<Outgoing, NoKey> {
    let link = console_url.map(|base| link(base, message));
    if message.format == WebhookFormat::Slack.as_str() {
        return Ok(Outgoing {
            headers: Vec::new(),
            body: json!({"text": slack_text(message, link)})
                .to_string()
                .into_bytes(),
        });
    }
    let key = key_of(key.ok_or(NoKey)?, message.webhook_id);
    let mut data = message.body.clone();
    if let (Some(fields), Some(link)) = (data.as_object_mut(), link) {
        fields.insert("link".to_owned(), link.into());
    }
    let body = json!({"type": message.event, "timestamp": message.created_at, "data": data}).to_string();
    let id = format!("msg_{}", message.id);
    let timestamp = message.sent_at.timestamp();
    let mut mac = hmac(&key);
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    Ok(Outgoing {
        headers: vec![
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ],
        body: body.into_bytes(),
    })
}

/// The page of the console about it.
fn link(base: &str, message: &ClaimedMessage) -> String {
    let base = base.trim_end_matches('/');
    match (&message.body["run_id"], message.tenant_id) {
        (Value::Number(run), _) => format!("{base}/runs/{run}"),
        (_, Some(tenant)) => format!("{base}/tenants/{tenant}"),
        _ if message.event.starts_with("source.") => format!("{base}/sources"),
        _ => format!("{base}/"),
    }
}

fn slack_text(message: &ClaimedMessage, link: Option<String>) -> String {
    let body = &message.body;
    let number = |path: &str| body.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let tenant = message
        .tenant_id
        .map(|tenant| format!("tenant {tenant}"))
        .unwrap_or_default();
    let said = match message.event.split_once('.') {
        Some(("run", how)) => format!(
            "{tenant}: run {} ({}) {how}: {} of {} chunks done, {} dead, {} rows rejected",
            number("/run_id"),
            text("/type"),
            number("/chunks/done"),
            number("/chunks/total"),
            number("/chunks/dead"),
            number("/records/rejected"),
        ),
        Some(("tenant", "late")) => format!(
            "{tenant} is late: {} minutes behind, {} failures in a row",
            number("/behind_seconds") / 60,
            number("/consecutive_failures"),
        ),
        Some(("tenant", _)) => format!("{tenant} is on time again"),
        Some(("rows", _)) => format!(
            "{tenant} has rows at fault: {} missing, {} extra, {} stale, {} different, {} impossible",
            number("/missing"),
            number("/extra"),
            number("/stale"),
            number("/different"),
            number("/impossible"),
        ),
        Some(("source", "fenced")) => {
            format!(
                "source {} holds the watermarks of its tenants, or does not answer",
                text("/source")
            )
        }
        Some(("source", _)) => format!("source {} is well again", text("/source")),
        _ => "this is a test".to_owned(),
    };
    // names of sources are texts of an operator
    let said = said
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    match link {
        Some(link) => format!("Tidemark: {said} <{link}|open>"),
        None => format!("Tidemark: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tidemark_shared::ids::TenantId;

    use super::*;

    fn message(event: &str, format: WebhookFormat, body: Value) -> ClaimedMessage {
        ClaimedMessage {
            id: 9,
            webhook_id: 1,
            event: event.to_owned(),
            tenant_id: Some(TenantId(3)),
            body,
            attempt: 1,
            created_at: DateTime::UNIX_EPOCH,
            sent_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            url: "https://example.com/".to_owned(),
            format: format.as_str().to_owned(),
        }
    }

    fn key() -> SecretString {
        "k".repeat(32).into()
    }

    #[test]
    fn a_message_is_signed_with_the_key_of_its_webhook_over_its_id_time_and_body() {
        let message = message("run.failed", WebhookFormat::Json, json!({"run_id": 18}));
        let outgoing = compose(&message, Some(&key()), Some("https://console.example.com/")).unwrap();
        let header = |name: &str| {
            let found = outgoing.headers.iter().find(|(one, _)| *one == name);
            found.unwrap().1.clone()
        };
        let body = String::from_utf8(outgoing.body.clone()).unwrap();
        let sent: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            sent,
            json!({"type": "run.failed", "timestamp": "1970-01-01T00:00:00Z",
                   "data": {"run_id": 18, "link": "https://console.example.com/runs/18"}})
        );
        // as a receiver does it
        let secret = secret_of(&key(), 1);
        let secret = BASE64
            .decode(secret.expose_secret().trim_start_matches("whsec_"))
            .unwrap();
        let mut mac = hmac(&secret);
        mac.update(format!("msg_9.1700000000.{body}").as_bytes());
        let expected = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        assert_eq!(header("webhook-signature"), expected);
        assert_ne!(
            secret_of(&key(), 1).expose_secret(),
            secret_of(&key(), 2).expose_secret()
        );
        assert!(compose(&message, None, None).is_err());
    }

    #[test]
    fn slack_gets_a_text_with_ids_and_counts() {
        let body = json!({"run_id": 18, "type": "full", "chunks": {"total": 5, "done": 4, "dead": 1},
                          "records": {"rejected": 2}});
        let text = |message: &ClaimedMessage, console: Option<&str>| {
            let body = compose(message, None, console).unwrap().body;
            let body: Value = serde_json::from_slice(&body).unwrap();
            body["text"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            text(
                &message("run.failed", WebhookFormat::Slack, body),
                Some("https://c.example.com")
            ),
            "Tidemark: tenant 3: run 18 (full) failed: 4 of 5 chunks done, 1 dead, 2 rows rejected \
             <https://c.example.com/runs/18|open>"
        );
        let mut fenced = message("source.fenced", WebhookFormat::Slack, json!({"source": "<main>"}));
        fenced.tenant_id = None;
        assert_eq!(
            text(&fenced, None),
            "Tidemark: source &lt;main&gt; holds the watermarks of its tenants, or does not answer"
        );
    }
}

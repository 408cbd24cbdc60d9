//! The description of the API, OpenAPI 3.1.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::problem::{PROBLEM_JSON, Problem};
use super::{bulk, change, operate, plan, read, schema, tenant, webhook};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidemark",
        description = "What `tidemark` shows and does, as JSON. Send a token of `tidemark console token add` as `Authorization: Bearer TOKEN`. \
            Changes take an `Idempotency-Key`; changes of tenants, runs and jobs an `If-Match` with the ETag that was read. \
            What cannot be taken back needs `confirm` with the name of what it is about. \
            Errors are RFC 9457 problems with `what_to_do` and the exit code of the command.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        read::status,
        read::tenants,
        read::tenant,
        change::pause,
        change::resume,
        change::request_run,
        plan::plan,
        plan::repair,
        read::runs,
        read::run,
        read::chunks,
        change::cancel,
        change::retry,
        change::retry_chunk,
        tenant::settings,
        tenant::watermark,
        tenant::map,
        tenant::unmap,
        tenant::forget,
        tenant::remove,
        operate::redrive,
        operate::purge,
        operate::accept,
        webhook::list,
        webhook::one,
        webhook::messages,
        webhook::add,
        webhook::test,
        webhook::retry,
        webhook::remove,
        bulk::list,
        bulk::prepare,
        bulk::one,
        bulk::items,
        bulk::start,
        bulk::stop,
        read::rejects,
        read::sources,
        read::processes,
        read::audit,
    ),
    components(schemas(Problem, schema::Run, schema::Tenant)),
    security(("token" = [])),
    modifiers(&Token, &Problems),
)]
struct Document;

struct Token;

struct Problems;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", scheme);
    }
}

/// Every operation may answer with a problem, and problems have a kind of content of their own.
impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let problem = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let answer = |text: &str| {
            ResponseBuilder::new()
                .description(text)
                .content(PROBLEM_JSON, problem.clone())
                .build()
        };
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let answers = &mut operation.responses.responses;
                answers.insert(
                    "4XX".to_owned(),
                    answer("It was refused, and nothing was changed").into(),
                );
                answers.insert(
                    "5XX".to_owned(),
                    answer("A server that it needs does not answer, or it failed").into(),
                );
            }
        }
    }
}

/// The document as JSON, as it is committed.
///
/// # Panics
/// Never: the document has string keys.
#[must_use]
pub fn document() -> String {
    let mut text = Document::openapi()
        .to_pretty_json()
        .expect("the document is JSON");
    text.push('\n');
    text
}

pub async fn serve() -> Response {
    ([(CONTENT_TYPE, "application/json")], document()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    const WRITE: &str = "TIDEMARK_WRITE_OPENAPI";

    #[test]
    fn the_committed_document_is_that_of_this_build() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, document()).unwrap();
            return;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            committed,
            document(),
            "write it anew: {WRITE}=1 cargo test -p tidemark-console the_committed_document"
        );
    }

    /// The names of an object's fields in the document.
    fn described(name: &str) -> BTreeSet<String> {
        let document: Value = serde_json::from_str(&document()).unwrap();
        let properties = &document["components"]["schemas"][name]["properties"];
        properties
            .as_object()
            .unwrap_or_else(|| panic!("{name}"))
            .keys()
            .cloned()
            .collect()
    }

    fn fields(value: &impl serde::Serialize) -> BTreeSet<String> {
        let value = serde_json::to_value(value).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn a_chunk_has_the_size_that_is_checked() {
        use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN};
        let document: Value = serde_json::from_str(&document()).unwrap();
        let plan = document["paths"]["/api/v1/tenants/{tenant}/plan"]["get"]["parameters"].as_array();
        let asked = plan
            .unwrap()
            .iter()
            .find(|one| one["name"] == "chunk_size")
            .unwrap();
        let set = &document["components"]["schemas"]["Settings"]["properties"]["chunk_size"];
        for schema in [&asked["schema"], set] {
            let bounds = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            assert_eq!(bounds, (Some(CHUNK_SIZE_MIN.into()), Some(CHUNK_SIZE_MAX.into())));
        }
    }

    #[test]
    fn a_run_has_the_fields_of_its_description() {
        use tidemark_shared::ids::{RunId, TenantId};
        use tidemark_shared::run::{ChunkTotals, RecordTotals, RunReport, RunStatus, RunType};
        let run = RunReport {
            run_id: RunId(1),
            tenant_id: TenantId(1),
            run_type: RunType::Full,
            status: RunStatus::Running,
            watermark_start: None,
            watermark_end: None,
            chunks: ChunkTotals::default(),
            records: RecordTotals::default(),
            signals: std::collections::BTreeMap::new(),
            triggered_by: String::new(),
            reason: None,
            request: Value::Null,
            requested_at: chrono::DateTime::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            duration_ms: 0,
            trace_id: None,
            verification: None,
            warnings: Vec::new(),
            error: None,
        };
        assert_eq!(fields(&run), described("Run"));
        assert_eq!(fields(&run.chunks), described("ChunkTotals"));
        assert_eq!(fields(&run.records), described("RecordTotals"));
    }

    #[test]
    fn a_process_a_source_and_an_audit_entry_have_the_fields_of_their_descriptions() {
        let at = chrono::DateTime::UNIX_EPOCH;
        let process = tidemark_ledger::process::Process {
            instance: String::new(),
            role: String::new(),
            host: String::new(),
            version: String::new(),
            started_at: at,
            last_seen_at: at,
            http_address: None,
            doing: None,
        };
        assert_eq!(fields(&process), described("Process"));
        let source = tidemark_ledger::source_watch::SourceWatch {
            source: String::new(),
            looked_at: None,
            fence_at: None,
            holder: None,
            error: None,
            failing_since: None,
            written_at: at,
        };
        assert_eq!(fields(&source), described("Source"));
        let entry = tidemark_ledger::audit::Recorded {
            id: 1,
            acted_at: at,
            actor: String::new(),
            origin: None,
            action: String::new(),
            tenant_id: None,
            subject: None,
            reason: None,
            before: None,
            after: None,
            result: String::new(),
        };
        assert_eq!(fields(&entry), described("AuditEntry"));
    }

    #[test]
    fn a_job_and_a_webhook_have_the_fields_of_their_descriptions() {
        use tidemark_ledger::bulk::{Bulk, BulkItem};
        use tidemark_shared::ids::TenantId;
        let at = chrono::DateTime::UNIX_EPOCH;
        let bulk = Bulk {
            id: 1,
            action: String::new(),
            filter: Value::Null,
            reason: None,
            actor: String::new(),
            origin: None,
            status: String::new(),
            created_at: at,
            started_at: None,
            finished_at: None,
            item_count: 0,
            object_count: 0,
            done_count: 0,
            skipped_count: 0,
            failed_count: 0,
        };
        assert_eq!(fields(&bulk), described("Bulk"));
        let item = BulkItem {
            seq: 1,
            tenant_id: TenantId(1),
            run_id: None,
            chunk_seq: None,
            conversation_count: 0,
            status: String::new(),
            outcome: None,
            new_run_id: None,
            error: None,
            finished_at: None,
        };
        assert_eq!(fields(&item), described("BulkItem"));
        let message = tidemark_ledger::webhook::WebhookMessage {
            id: 1,
            event: String::new(),
            tenant_id: None,
            body: Value::Null,
            created_at: at,
            due_at: None,
            attempt: 0,
            delivered_at: None,
            dead_at: None,
            status_code: None,
            error: None,
        };
        assert_eq!(fields(&message), described("WebhookMessage"));
        let filter = tidemark_operations::bulk::BulkFilter {
            ids: Some(Vec::new()),
            tenant: Some(TenantId(1)),
            state: Some(String::new()),
            source: Some(String::new()),
            text: Some(String::new()),
            status: Some(String::new()),
            run_type: Some(String::new()),
            side: Some(String::new()),
            sqlstate: Some(String::new()),
            error: Some(String::new()),
        };
        assert_eq!(fields(&filter), described("BulkFilter"));
    }
}

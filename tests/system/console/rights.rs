//! Every route, with every role and another tenant: nobody does or sees what they may not.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tidemark_broker::MemoryQueue;
use tidemark_console::auth::who::Right;
use tidemark_console::{Console, NoTenantPages, Parts, RouteReport, routes};
use tidemark_runtime::config::Settings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_source::Sources;

use super::client::{Client, add_token, add_user, serve};
use crate::stage::{Stage, on_stage};

const PASSWORD: &str = "correct horse battery";

/// The routes of this build.
fn all_routes(stage: &Stage) -> Result<Vec<RouteReport>> {
    let settings = Arc::new(Settings::default());
    let console = Console::new(Parts {
        db: stage.db(),
        sources: Arc::new(Sources::new(&settings, "test")?),
        settings,
        queue: Arc::new(MemoryQueue::default()),
        rabbit: Arc::new(|| Err("no broker".to_owned())),
        tenant_pages: Arc::new(|| Box::pin(async { Err(NoTenantPages::NotSet) })),
        lifecycle: Lifecycle::new(),
    });
    Ok(routes(&console))
}

/// The path of a route, about this tenant and this run.
fn fill(route: &RouteReport, tenant: i32, run: i64) -> String {
    route
        .path
        .replace("{tenant}", &tenant.to_string())
        .replace("{slug}", &format!("tenant-{tenant}"))
        .replace("{run}", &run.to_string())
        .replace("{seq}", "1")
        .replace("{conversation}", "1")
        .replace("{source}", "main")
        .replace("{bulk}", &tenant.to_string())
        .replace("{webhook}", &tenant.to_string())
        .replace("{message}", &tenant.to_string())
        .replace("{session}", "0123456789abcdef")
        .replace("{file}", "none")
}

const ROLES: [&str; 4] = ["tenant", "viewer", "operator", "admin"];

fn role_of(right: Right) -> &'static str {
    match right {
        Right::Public | Right::Visit => "tenant",
        Right::View => "viewer",
        Right::Operate => "operator",
        Right::Administer => "admin",
    }
}

/// Two tenants without a source's rows, with a run each.
async fn prepare(stage: &Stage) -> Result<[i64; 2]> {
    let mut runs = Vec::new();
    for tenant in [1, 2] {
        stage.tenant(tenant, "UTC", &[tenant]).await?;
        let id = tenant.to_string();
        let asked = stage.tidemark(&["sync", "--tenant", &id, "--json"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        runs.push(asked.json()["run_id"].as_i64().expect("a run"));
    }
    // webhooks and jobs 1 and 2 are about one of the tenants each
    for tenant in ["1", "2"] {
        let added = stage
            .tidemark(&[
                "webhook",
                "add",
                "--url",
                "https://hooks.example/x",
                "--event",
                "run.failed",
                "--format",
                "slack",
                "--tenant",
                tenant,
            ])
            .await?;
        ensure!(added.code == 0, "{added:?}");
    }
    for tenant in ["1", "2"] {
        let asked = stage
            .tidemark(&["bulk", "start", "tenant.pause", "--ids", tenant, "--reason", "x"])
            .await?;
        ensure!(asked.code == 64, "{asked:?}");
    }
    Ok([runs[0], runs[1]])
}

/// Everything that an action could change, as text.
async fn state(stage: &Stage) -> Result<String> {
    let statement = "SELECT (SELECT json_agg(t ORDER BY id) FROM tenants t)::text || (SELECT json_agg(r ORDER BY id) FROM etl_control r)::text \
                     || (SELECT json_agg(m ORDER BY inbox_id) FROM inbox_tenant_mapping m)::text \
                     || (SELECT json_agg(h ORDER BY id) FROM etl_webhook h)::text || (SELECT json_agg(b.status ORDER BY id) FROM etl_bulk b)::text \
                     || (SELECT json_agg(w.watermark ORDER BY tenant_id) FROM etl_watermark w)::text";
    Ok(sqlx::query_scalar(statement).fetch_one(&stage.target).await?)
}

async fn send(client: &Client, route: &RouteReport, path: &str) -> Result<u16> {
    let answer = match route.method.as_str() {
        "GET" => client.get(path).await?,
        _ => client.post(path, "").await?,
    };
    Ok(answer.status)
}

#[tokio::test]
async fn nobody_does_or_sees_what_they_may_not() {
    on_stage(|stage| async move {
        let runs = prepare(&stage).await?;
        for role in ROLES {
            let scope = if role == "tenant" { "--tenant" } else { "--tenants" };
            add_user(&stage, role, PASSWORD, &["--role", role, scope, "1"]).await?;
        }
        let pages = stage.pages_url().await?;
        let settings = [("TIDEMARK_CONSOLE_AUTH", "password"), ("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", &pages)];
        let served = serve(&stage, "console", &settings).await?;
        let stranger = Client::new(&served.address);
        let routes: Vec<RouteReport> = all_routes(&stage)?;
        ensure!(routes.len() > 50, "{}", routes.len());
        let before = state(&stage).await?;
        let mut wrong = Vec::new();

        for route in routes.iter().filter(|route| route.right != Right::Public) {
            let path = fill(route, 1, runs[0]);
            let status = send(&stranger, route, &path).await?;
            let is_page = route.method == "GET" && !path.starts_with("/api/");
            let expected = if is_page { 303 } else { 401 };
            if status != expected {
                wrong.push(format!("nobody: {} {path}: {status}", route.method));
            }
        }
        for role in ROLES {
            let client = stranger.sign_in(role, PASSWORD).await?;
            for route in routes.iter().filter(|route| route.right != Right::Public) {
                let rank = |role: &str| ROLES.iter().position(|one| *one == role);
                if rank(role) < rank(role_of(route.right)) {
                    let path = fill(route, 1, runs[0]);
                    let status = send(&client, route, &path).await?;
                    // for a tenant's people nothing else exists, and the root leads to their page
                    let expected = match role {
                        "tenant" if path == "/" => 303,
                        "tenant" => 404,
                        _ => 403,
                    };
                    if status != expected {
                        wrong.push(format!("{role}: {} {path}: {status}", route.method));
                    }
                } else if ["{tenant}", "{run}", "{bulk}", "{webhook}", "{slug}"]
                    .iter()
                    .any(|part| route.path.contains(part))
                {
                    let path = fill(route, 2, runs[1]);
                    let status = send(&client, route, &path).await?;
                    if status != 404 {
                        wrong.push(format!("{role} of tenant 1: {} {path}: {status}", route.method));
                    }
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        ensure!(state(&stage).await? == before, "a refused request has changed something");
        let refused: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM etl_action_audit WHERE result = 'refused' AND actor LIKE 'console:%' AND origin = '127.0.0.1'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(refused > 30, "{refused} refusals are in the audit");
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn lists_have_only_the_authors_tenants() {
    on_stage(|stage| async move {
        let runs = prepare(&stage).await?;
        sqlx::query(
            "INSERT INTO etl_rejected_row (tenant_id, conversation_id, side, error, run_id, chunk_seq) \
             VALUES (1, 11, 'source', 'of one', $1, 1), (2, 22, 'source', 'of two', $2, 1)",
        )
        .bind(runs[0])
        .bind(runs[1])
        .execute(&stage.target)
        .await?;
        let token = add_token(&stage, "one", &["--role", "admin", "--tenants", "1"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        let client = Client {
            token: Some(token),
            ..Client::new(&served.address)
        };
        for path in [
            "/", "/tenants", "/runs", "/rejects", "/verify", "/audit", "/sources",
        ] {
            let page = client.get(path).await?;
            ensure!(page.status == 200, "{path}: {page:?}");
            for foreign in ["Tenant 2", "of two", ">2:22<"] {
                ensure!(!page.body.contains(foreign), "{path} shows {foreign}");
            }
        }
        let found = client.get("/search?q=Tenant").await?;
        ensure!(
            found.header("location") == Some("/tenants/1"),
            "the only tenant that is seen: {found:?}"
        );
        for path in [
            "/api/v1/tenants",
            "/api/v1/runs",
            "/api/v1/rejects",
            "/api/v1/audit",
        ] {
            let items = client.get(path).await?.json()["items"].clone();
            let items = items.as_array().expect("items").clone();
            ensure!(!items.is_empty(), "{path}");
            for item in items {
                let tenant = item["tenant_id"].as_i64().or(item["id"].as_i64());
                ensure!(tenant == Some(1) || item["tenant_id"] == 1, "{path}: {item}");
            }
        }
        for path in [
            "/runs?tenant=2",
            "/rejects?tenant=2",
            "/audit?tenant=2",
            "/api/v1/runs?tenant=2",
            "/api/v1/rejects?tenant=2",
            "/api/v1/audit?tenant=2",
            "/api/v1/sources",
            "/api/v1/processes",
            "/events?page=/tenants/2",
            "/dead",
            "/doctor",
            "/settings",
        ] {
            let answer = client.get(path).await?;
            ensure!(answer.status == 404, "{path}: {}", answer.status);
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn requests_of_other_sites_are_refused() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let before = state_of_tenants(&stage).await?;
        let own = format!("http://{}", served.address);
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let path = "/tenants/1/do/pause";
        for headers in [
            vec![form],
            vec![form, ("Sec-Fetch-Site", "cross-site")],
            vec![form, ("Sec-Fetch-Site", "same-site")],
            vec![form, ("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
            vec![form, ("Origin", "http://evil.example")],
            vec![form, ("Origin", "null")],
            // another site's name that points to this machine
            vec![form, ("Host", "evil.example"), ("Sec-Fetch-Site", "same-origin")],
        ] {
            let answer = client.send("POST", path, &headers, "reason=x").await?;
            ensure!(answer.status == 403, "{headers:?}: {answer:?}");
        }
        let rebound = client.send("GET", "/", &[("Host", "evil.example")], "").await?;
        ensure!(rebound.status == 403, "{rebound:?}");
        let by_get = client.get("/runs/1/chunks/1/do/retry").await?;
        ensure!(by_get.status == 405, "{by_get:?}");
        ensure!(state_of_tenants(&stage).await? == before, "something has changed");
        let answer = client
            .send("POST", path, &[form, ("Origin", &own)], "reason=x")
            .await?;
        ensure!(answer.status == 303, "{answer:?}");
        ensure!(
            state_of_tenants(&stage).await? != before,
            "our own page pauses it"
        );
        served.process.stop().await
    })
    .await;
}

async fn state_of_tenants(stage: &Stage) -> Result<String> {
    Ok(
        sqlx::query_scalar("SELECT json_agg(t ORDER BY id)::text FROM tenants t")
            .fetch_one(&stage.target)
            .await?,
    )
}

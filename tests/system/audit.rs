//! The audit of actions: every command that writes has its entry, in the transaction of what it does.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::stage::{Stage, on_stage};

/// Runs a command line, and expects its exit code.
async fn run(stage: &Stage, line: &str, code: i32) -> Result<String> {
    let args: Vec<&str> = line.split(' ').collect();
    let answer = stage.tidemark(&args).await?;
    ensure!(answer.code == code, "{line}: {answer:?}");
    Ok(answer.stderr)
}

/// The entries of the audit, oldest first, as `action tenant subject result`.
async fn entries(stage: &Stage) -> Result<Vec<String>> {
    let query = "SELECT concat_ws(' ', action, coalesce(tenant_id::text, '-'), coalesce(subject, '-'), result) \
                 FROM etl_action_audit ORDER BY id";
    Ok(sqlx::query_scalar(query).fetch_all(&stage.target).await?)
}

async fn newest(stage: &Stage, args: &[&str]) -> Result<Value> {
    let list = [&["audit", "list", "--json", "--limit", "1"], args].concat();
    let answer = stage.tidemark(&list).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json()["items"][0].clone())
}

#[tokio::test]
async fn every_command_that_writes_has_an_entry_with_its_actor_and_what_changed() {
    on_stage(|stage| async move {
        stage.sample(60, 2, 21).await?;
        stage.target.execute("DELETE FROM etl_action_audit").await?;
        let steps = [
            ("tenant set --tenant 1 --chunk-size 7", 0),
            ("tenant set --tenant 1 --chunk-size 7", 0),
            ("tenant set --tenant 1 --privacy contact_email=null", 0),
            ("tenant pause --tenant 1 --reason moving", 0),
            ("tenant resume --tenant 1", 0),
            ("tenant resume --tenant 1", 0),
            ("inbox unmap --tenant 1 --inbox 1", 0),
            ("inbox map --tenant 1 --inbox 1", 0),
            ("inbox map --tenant 2 --inbox 1", 64),
            ("inbox map --tenant 2 --inbox 1 --from-tenant 1", 0),
            ("inbox map --tenant 1 --inbox 1 --from-tenant 2", 0),
            ("sync --tenant 1 --reason first", 0),
            ("sync --tenant 1", 0),
            ("run cancel 1 --reason enough", 0),
            ("run cancel 1", 64),
            ("run retry 1", 0),
            ("run cancel 3", 0),
            ("resync --tenant 1 --ids 1,2", 0),
            (
                "watermark set --tenant 1 --to 2026-01-01T00:00:00Z --reason again",
                0,
            ),
            ("verify --tenant 1", 1),
            ("tenant forget --tenant 1 --contact 1 --yes", 0),
            ("dead redrive", 0),
            ("dead purge --yes", 0),
            ("prune", 0),
            ("tenant add --id 9 --name Nine --account-id 1", 0),
            ("tenant remove --tenant 9 --yes", 0),
        ];
        for (line, code) in steps {
            run(&stage, line, code).await?;
        }
        let found = entries(&stage).await?;
        let expected = [
            "tenant.change 1 - done",
            "tenant.change 1 - unchanged",
            "tenant.privacy 1 - done",
            "tenant.pause 1 - done",
            "tenant.resume 1 - done",
            "tenant.resume 1 - unchanged",
            "inbox.unmap 1 inbox 1 done",
            "inbox.map 1 inbox 1 done",
            "inbox.map 2 inbox 1 refused",
            "inbox.map 2 inbox 1 done",
            "inbox.map 1 inbox 1 done",
            "run.request 1 run 1 done",
            "run.request 1 run 1 unchanged",
            "run.cancel 1 run 1 done",
            "run.cancel 1 run 1 refused",
            "run.retry 1 run 1 unchanged",
            "run.request 1 run 3 done",
            "run.cancel 1 run 3 done",
            "run.request 1 run 4 done",
            "watermark.set 1 - done",
            "verify.compare 1 - done",
            "contact.forget 1 contact 1 done",
            "dead.redrive - - begun",
            "dead.redrive - - done",
            "dead.purge - - begun",
            "dead.purge - - done",
            "ledger.prune - - done",
            "tenant.add 9 - done",
            "tenant.remove 9 - done",
        ];
        ensure!(found == expected, "{found:#?}");

        let paused = newest(&stage, &["--action", "tenant.pause"]).await?;
        ensure!(
            paused["reason"] == "moving" && paused["after"]["pause_reason"] == "moving",
            "{paused:#}"
        );
        ensure!(
            paused["actor"]
                .as_str()
                .is_some_and(|actor| actor.starts_with("cli:")),
            "{paused:#}"
        );
        ensure!(paused["origin"].is_string(), "{paused:#}");
        let changed = newest(&stage, &["--action", "tenant.change", "--before", "2"]).await?;
        ensure!(changed["before"]["chunk_size"] == 1000, "{changed:#}");
        ensure!(changed["after"] == json!({"chunk_size": 7}), "{changed:#}");
        let taken = newest(&stage, &["--tenant", "2", "--action", "inbox.map"]).await?;
        ensure!(taken["before"]["tenants"] == json!({"1": 1}), "{taken:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_action_that_cannot_be_recorded_does_not_happen() {
    on_stage(|stage| async move {
        stage.sample(40, 2, 22).await?;
        run(&stage, "sync --tenant 1", 0).await?;
        let state = "SELECT md5(string_agg(one::text, ' ' ORDER BY one::text)) FROM ( \
                         SELECT to_jsonb(t) AS one FROM tenants t UNION ALL SELECT to_jsonb(m) FROM inbox_tenant_mapping m \
                         UNION ALL SELECT to_jsonb(r) FROM etl_control r UNION ALL SELECT to_jsonb(w) FROM etl_watermark w \
                         UNION ALL SELECT to_jsonb(f) FROM etl_forgotten_contact f) all_of_them";
        let before: String = sqlx::query_scalar(state).fetch_one(&stage.target).await?;
        stage.target.execute("REVOKE INSERT ON etl_action_audit FROM etl_service").await?;
        for line in [
            "tenant set --tenant 1 --name Other",
            "tenant set --tenant 1 --privacy contact_email=null",
            "tenant pause --tenant 1 --reason why",
            "tenant resume --tenant 1",
            "tenant remove --tenant 1 --yes",
            "tenant forget --tenant 1 --contact 1 --yes",
            "tenant add --id 9 --name Nine",
            "inbox unmap --tenant 1 --inbox 1",
            "inbox map --tenant 2 --inbox 1 --from-tenant 1",
            "run cancel 1",
            "run retry 1",
            "sync --tenant 2",
            "resync --tenant 2 --all-rows",
            "dead purge --yes",
            "dead redrive",
        ] {
            let error = run(&stage, line, 1).await?;
            ensure!(error.contains("record the action"), "{line}: {error}");
        }
        let after: String = sqlx::query_scalar(state).fetch_one(&stage.target).await?;
        ensure!(before == after, "a command has changed something");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_audit_is_listed_in_parts_with_filters_and_cannot_be_changed() {
    on_stage(|stage| async move {
        stage
            .target
            .execute(
                "INSERT INTO etl_action_audit (acted_at, actor, action, tenant_id, result) \
                 SELECT now() - make_interval(days => 10 - n), CASE WHEN n % 2 = 0 THEN 'console:ana' ELSE 'cli:host/cli/1' END, \
                        CASE WHEN n < 4 THEN 'tenant.pause' ELSE 'run.cancel' END, n % 3, 'done' \
                 FROM generate_series(1, 9) n",
            )
            .await?;
        let list = async |args: &[&str]| -> Result<(Vec<i64>, Value)> {
            let answer = stage.tidemark(&[&["audit", "list", "--json"], args].concat()).await?;
            ensure!(answer.code == 0, "{answer:?}");
            let page = answer.json();
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let ids = items.iter().filter_map(|one| one["id"].as_i64()).collect();
            Ok((ids, page["next"].clone()))
        };
        for (args, expected, next) in [
            ([].as_slice(), [9, 8, 7, 6, 5, 4, 3, 2, 1].as_slice(), Value::Null),
            (&["--limit", "4"], &[9, 8, 7, 6], json!(6)),
            (&["--limit", "4", "--before", "6"], &[5, 4, 3, 2], json!(2)),
            (&["--limit", "4", "--before", "2"], &[1], Value::Null),
            (&["--actor", "console:", "--limit", "2"], &[8, 6], json!(6)),
            (&["--actor", "console:ana", "--action", "tenant.pause"], &[2], Value::Null),
            (&["--tenant", "1"], &[7, 4, 1], Value::Null),
            (&["--since", "60h"], &[9, 8], Value::Null),
        ] {
            let found = list(args).await?;
            ensure!(found == (expected.to_vec(), next), "{args:?}: {found:?}");
        }
        let cut = stage.tidemark(&["audit", "list", "--limit", "4"]).await?;
        ensure!(cut.stderr.contains("the first 4 entries; more with --limit, or with --before 6"), "{cut:?}");
        let unknown = stage.tidemark(&["audit", "list", "--action", "tenant.sell"]).await?;
        ensure!(unknown.code == 64 && unknown.stderr.contains("tenant.pause"), "{unknown:?}");

        let mut service = stage.target.begin().await?;
        service.execute("SET LOCAL ROLE etl_service").await?;
        let forged = service.execute("UPDATE etl_action_audit SET actor = 'console:bob'").await;
        ensure!(forged.is_err(), "an entry can be changed");
        service.rollback().await?;

        let pruned = stage.tidemark(&["prune", "--json", "--keep-audit", "7days"]).await?;
        ensure!(pruned.code == 0 && pruned.json()["actions"] == 3, "{pruned:?}");
        let (left, _) = list(&[]).await?;
        ensure!(left == [10, 9, 8, 7, 6, 5, 4], "{left:?}");
        Ok(())
    })
    .await;
}

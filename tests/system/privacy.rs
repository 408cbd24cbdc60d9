//! Personal data: columns that a policy hashes or leaves out.

mod forgotten;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::stage::{Answer, Stage, on_stage};
use crate::view::VIEW;

const KEY: (&str, &str) = ("TIDEMARK_PRIVACY_KEY", "0123456789abcdef0123456789abcdef");
const POLICY: &str = "contact_name=hash,contact_email=hash,client_phone=hash,contact_phone=null,\
                      contact_identifier=null,message_text=null,csat_feedback=hash";

async fn sync_with(stage: &Stage, args: &[&str], settings: &[(&str, &str)]) -> Result<Value> {
    let answer = stage
        .tidemark_with(
            &[&["sync", "--local", "--tenant", "1", "--json"], args].concat(),
            settings,
        )
        .await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer.json())
}

async fn hashes(stage: &Stage) -> Result<Vec<(i64, Vec<u8>)>> {
    Ok(sqlx::query_as(
        "SELECT conversation_id, row_hash FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL ORDER BY 1",
    )
    .fetch_all(&stage.target)
    .await?)
}

async fn count(stage: &Stage, condition: &str) -> Result<i64> {
    let query = format!("SELECT count(*) FROM conversations_analytics WHERE {condition}");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stage.target)
        .await?)
}

async fn set_policy(stage: &Stage) -> Result<Answer> {
    let set = ["tenant", "set", "--tenant", "1", "--privacy", POLICY, "--json"];
    let answer = stage.tidemark(&set).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(answer)
}

/// Each is true of a row that keeps a value which the policy hashes or leaves out.
const AGAINST_THE_POLICY: [&str; 8] = [
    "contact_name !~ '^[0-9a-f]{32}$'",
    "contact_email !~ '^[0-9a-f]{32}$'",
    "client_phone !~ '^([0-9a-f]{32})?$'",
    "csat_feedback !~ '^([0-9a-f]{32})?$'",
    "contact_phone IS NOT NULL",
    "contact_identifier IS NOT NULL",
    "coalesce(first_message_text, last_message_text) IS NOT NULL",
    "jsonb_path_exists(message_compiled, '$[*].text ? (@ != null)')",
];

async fn assert_policy_holds(stage: &Stage) -> Result<()> {
    for kept in AGAINST_THE_POLICY {
        let rows = count(
            stage,
            &format!("tenant_id = 1 AND source_deleted_at IS NULL AND {kept}"),
        )
        .await?;
        ensure!(rows == 0, "{rows} rows have {kept}");
    }
    // the same contact has the same hash in every row
    let (contacts, hashes): (i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT contact_id), count(DISTINCT (contact_id, contact_email)) FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL AND contact_email IS NOT NULL",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        contacts > 10 && contacts == hashes,
        "{contacts} contacts, {hashes} hashes"
    );
    Ok(())
}

/// Counts and lengths of tenant 1, and a digest of all rows of tenant 2: a policy of tenant 1 changes neither.
async fn not_private(stage: &Stage) -> Result<(Vec<(i64, i32, i32)>, String)> {
    let counts = sqlx::query_as(
        "SELECT conversation_id, t_messages, max_message_length FROM conversations_analytics \
         WHERE tenant_id = 1 AND source_deleted_at IS NULL AND max_message_length IS NOT NULL ORDER BY 1",
    )
    .fetch_all(&stage.target)
    .await?;
    let others = sqlx::query_scalar(
        "SELECT md5(string_agg(a::text, ',' ORDER BY conversation_id)) FROM conversations_analytics a WHERE tenant_id = 2",
    )
    .fetch_one(&stage.target)
    .await?;
    Ok((counts, others))
}

#[tokio::test]
async fn a_policy_rewrites_the_rows_that_are_there_and_is_the_same_in_both_modes() {
    on_stage(|stage| async move {
        stage.sample(200, 2, 61).await?;
        stage.sync_local(&["--all"]).await?;
        let before = not_private(&stage).await?;
        let set = set_policy(&stage).await?;
        ensure!(set.json()["privacy"]["contact_phone"] == "null", "{set:?}");

        // no row of the source has changed: the backfill that the policy requested rewrites them all
        sync_with(&stage, &[], &[KEY]).await?;
        stage.until("SELECT bool_and(status = 'success') FROM etl_control WHERE request #>> '{selection,kind}' = 'policy'").await?;
        assert_policy_holds(&stage).await?;
        ensure!(not_private(&stage).await? == before, "the policy changed more than its columns");
        let verified = stage.tidemark_with(&["verify", "--tenant", "1"], &[KEY]).await?;
        ensure!(verified.code == 0, "{verified:?}");

        // another full sync with the same key writes nothing, and a view gives the same hashes
        let again = sync_with(&stage, &["--full"], &[KEY]).await?;
        ensure!(again["records"]["updated"] == 0 && again["records"]["inserted"] == 0, "{again:#}");
        let from_tables = hashes(&stage).await?;
        let view = [KEY, ("TIDEMARK_SOURCE_MODE", "view"), ("TIDEMARK_SOURCE_VIEW", VIEW)];
        sync_with(&stage, &["--full"], &view).await?;
        ensure!(hashes(&stage).await? == from_tables, "a view gives other rows");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_without_its_key_is_announced_and_writes_no_row() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 62).await?;
        stage.sync_local(&["--all"]).await?;
        let set = set_policy(&stage).await?;
        ensure!(set.stderr.contains("TIDEMARK_PRIVACY_KEY"), "{set:?}");
        let before = hashes(&stage).await?;
        let refused = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--full", "--json"])
            .await?;
        ensure!(
            refused.code == 1 && refused.stdout.contains("TIDEMARK_PRIVACY_KEY"),
            "{refused:?}"
        );
        ensure!(hashes(&stage).await? == before, "rows were written without a key");
        let verified = stage.tidemark(&["verify", "--tenant", "1"]).await?;
        ensure!(verified.code == 78, "{verified:?}");
        // once the key is there and the failed run's pause has passed, the backfill is repeated
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '1 hour' WHERE status = 'failed'")
            .await?;
        sync_with(&stage, &[], &[KEY]).await?;
        for kept in AGAINST_THE_POLICY {
            ensure!(count(&stage, kept).await? == 0, "rows have {kept}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_cleans_tombstones_at_once_and_takes_no_unknown_column() {
    on_stage(|stage| async move {
        stage.sample(40, 1, 63).await?;
        stage.sync_local(&["--all"]).await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id = (SELECT min(id) FROM conversations)")
            .await?;
        stage.sync_local(&["--all"]).await?;
        let tombstone = "source_deleted_at IS NOT NULL AND message_compiled IS NOT NULL";
        ensure!(count(&stage, tombstone).await? == 1, "there is no tombstone");
        set_policy(&stage).await?;
        let kept = "source_deleted_at IS NOT NULL AND (contact_name IS NOT NULL OR first_message_text IS NOT NULL \
                    OR message_compiled::text LIKE '%\"text\": \"%')";
        ensure!(
            count(&stage, kept).await? == 0,
            "the tombstone keeps what the policy does not"
        );
        let unknown = "UPDATE tenants SET privacy = '{\"status\": \"null\"}'";
        ensure!(
            stage.target.execute(unknown).await.is_err(),
            "an unknown column was taken"
        );
        Ok(())
    })
    .await;
}

/// A contact of tenant 1 without its first conversation.
struct Person {
    contact: i64,
    /// The tenant's first conversation, which is another contact's.
    other_conversation: i64,
    conversation_count: i64,
}

async fn person(stage: &Stage) -> Result<Person> {
    let (contact, other_conversation, conversation_count) = sqlx::query_as(
        "WITH first AS (SELECT min(id)::bigint AS id FROM conversations WHERE account_id = 1), \
              person AS (SELECT contact_id, count(*) AS count FROM conversations WHERE account_id = 1 \
                         AND contact_id <> (SELECT contact_id FROM conversations WHERE id = (SELECT id FROM first)) \
                         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1) \
         SELECT person.contact_id, first.id, person.count FROM first, person",
    )
    .fetch_one(&stage.source)
    .await?;
    Ok(Person {
        contact,
        other_conversation,
        conversation_count,
    })
}

/// True of every row that shows the person, or a word of theirs in a conversation of somebody else.
fn shows(person: &Person) -> String {
    format!(
        "contact_id = {} OR strpos(conversations_analytics::text, 'o segredo do grupo') > 0",
        person.contact
    )
}

/// A stage in step, with a message of the person in the other conversation.
async fn in_step_with_person(stage: &Stage, seed: u64) -> Result<Person> {
    stage.sample(200, 1, seed).await?;
    let person = person(stage).await?;
    say(
        stage,
        person.other_conversation,
        person.contact,
        "o segredo do grupo",
    )
    .await?;
    stage.sync_local(&["--all"]).await?;
    ensure!(
        count(stage, &shows(&person)).await? == person.conversation_count + 1,
        "a row is missing"
    );
    Ok(person)
}

async fn forget(stage: &Stage, person: &Person, more: &[&str]) -> Result<Answer> {
    let id = person.contact.to_string();
    let forget = [
        "tenant",
        "forget",
        "--tenant",
        "1",
        "--contact",
        &id,
        "--reason",
        "ticket 7",
        "--json",
    ];
    stage.tidemark(&[&forget[..], more].concat()).await
}

/// The same with the person forgotten, and the other conversation read again without their message.
async fn forgotten(stage: &Stage, seed: u64) -> Result<Person> {
    let person = in_step_with_person(stage, seed).await?;
    let answer = forget(stage, &person, &["--yes"]).await?;
    ensure!(answer.code == 0, "{answer:?}");
    let up = stage.start(&["up"])?;
    stage
        .until("SELECT bool_and(finished_at IS NOT NULL) FROM etl_control")
        .await?;
    up.stop().await?;
    Ok(person)
}

const SAY: &str = "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, \
                                         sender_type, sender_id) \
                   SELECT $3, account_id, inbox_id, id, 0, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC', 'Contact', $2 \
                   FROM conversations WHERE id = $1";

async fn say(stage: &Stage, conversation: i64, contact: i64, text: &str) -> Result<()> {
    sqlx::query(SAY)
        .bind(conversation)
        .bind(contact)
        .bind(text)
        .execute(&stage.source)
        .await?;
    Ok(())
}

async fn newest_conversation(stage: &Stage, person: &Person) -> Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT max(id)::bigint FROM conversations WHERE contact_id = $1")
            .bind(person.contact)
            .fetch_one(&stage.source)
            .await?,
    )
}

/// How many conversations differ between source and target, as the next plan finds them.
async fn differences(stage: &Stage) -> Result<i64> {
    let plan = stage.tidemark(&["plan", "--tenant", "1", "--json"]).await?;
    ensure!(plan.code == 0, "{plan:?}");
    let plan = plan.json();
    let hits = |signal: &str| {
        plan["signals"][signal]
            .as_i64()
            .with_context(|| format!("{signal} in {plan:#}"))
    };
    Ok(hits("membership")? + hits("digest")?)
}

#[tokio::test]
async fn a_contact_is_forgotten_after_a_confirmation_and_its_record_stays() {
    on_stage(|stage| async move {
        let person = in_step_with_person(&stage, 66).await?;
        let asked = forget(&stage, &person, &[]).await?;
        let told = format!("removes {} conversations", person.conversation_count);
        ensure!(asked.code == 64 && asked.stderr.contains(&told), "{asked:?}");
        ensure!(
            count(&stage, &shows(&person)).await? == person.conversation_count + 1,
            "removed without --yes"
        );

        let forgotten = forget(&stage, &person, &["--yes"]).await?;
        ensure!(forgotten.code == 0, "{forgotten:?}");
        let report = forgotten.json();
        ensure!(
            report["removed"] == person.conversation_count && report["cleaned"] == 1,
            "{report:#}"
        );
        ensure!(count(&stage, &shows(&person)).await? == 0, "something is left");
        stage
            .until(
                "SELECT count(*) = 1 FROM etl_forgotten_contact \
                 WHERE tenant_id = 1 AND reason = 'ticket 7' AND forgotten_by LIKE 'cli:%'",
            )
            .await?;
        let change = "SET ROLE etl_service; UPDATE etl_forgotten_contact SET reason = NULL";
        let mut connection = stage.target.acquire().await?;
        ensure!(
            connection.execute(change).await.is_err(),
            "the record can be changed"
        );
        connection.execute("RESET ROLE").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_contact_is_removed_everywhere_and_stays_out() {
    on_stage(|stage| async move {
        let person = forgotten(&stage, 67).await?;
        ensure!(count(&stage, &shows(&person)).await? == 0, "something is left");
        ensure!(differences(&stage).await? == 0, "the plan wants the rows back");
        let full = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(
            full["records"]["inserted"] == 0 && full["records"]["updated"] == 0,
            "{full:#}"
        );
        ensure!(
            count(&stage, &shows(&person)).await? == 0,
            "a full run brought something back"
        );

        let newest = newest_conversation(&stage, &person).await?;
        say(&stage, newest, person.contact, "ainda aqui").await?;
        say(
            &stage,
            person.other_conversation,
            person.contact,
            "o segredo do grupo, outra vez",
        )
        .await?;
        sqlx::query(
            "UPDATE conversations SET updated_at = now() AT TIME ZONE 'UTC', priority = 3 WHERE contact_id = $1",
        )
        .bind(person.contact)
        .execute(&stage.source)
        .await?;
        let synced = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            synced["records"]["inserted"] == 0 && synced["records"]["extracted"] == 1,
            "{synced:#}"
        );
        ensure!(
            count(&stage, &shows(&person)).await? == 0,
            "a change brought something back"
        );
        ensure!(differences(&stage).await? == 0, "the plan still wants the rows back");
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_a_forgotten_contact_loses_is_synced_again_without_its_words() {
    on_stage(|stage| async move {
        let person = forgotten(&stage, 68).await?;
        let newest = newest_conversation(&stage, &person).await?;
        say(&stage, newest, person.contact, "ainda aqui").await?;
        sqlx::query("UPDATE conversations SET contact_id = (SELECT contact_id FROM conversations WHERE id = $2) WHERE id = $1")
            .bind(newest)
            .bind(person.other_conversation)
            .execute(&stage.source)
            .await?;
        sqlx::query("DELETE FROM conversations WHERE contact_id = $1")
            .bind(person.contact)
            .execute(&stage.source)
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(
            count(&stage, &format!("conversation_id = {newest}")).await? == 1,
            "the conversation of another contact is missing"
        );
        ensure!(
            count(&stage, "strpos(message_compiled::text, 'ainda aqui') > 0").await? == 0,
            "it shows the forgotten contact's words"
        );
        stage.until("SELECT count(*) = 0 FROM etl_withheld_conversation").await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn a_chunk_that_has_read_a_contact_before_it_was_forgotten_does_not_bring_it_back() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 71).await?;
        let person = person(&stage).await?;
        stage.sync_local(&["--all"]).await?;
        // the merge waits at the first row, when the other rows have been read
        let mut held = stage.target.begin().await?;
        sqlx::query("SELECT FROM conversations_analytics WHERE tenant_id = 1 AND conversation_id = $1 FOR UPDATE")
            .bind(person.other_conversation)
            .execute(&mut *held)
            .await?;
        let up = stage.start(&["up"])?;
        let asked = stage.tidemark(&["resync", "--tenant", "1", "--all-rows", "--json"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        stage
            .until(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE '-- Merges staging into the target%'",
            )
            .await?;
        let forgotten = forget(&stage, &person, &["--yes"]).await?;
        ensure!(forgotten.code == 0, "{forgotten:?}");
        held.commit().await?;
        let ended = stage.tidemark(&["run", "watch", &asked.json()["run_id"].to_string(), "--json"]).await?;
        ensure!(ended.code == 0, "{ended:?}");
        ensure!(count(&stage, &format!("contact_id = {}", person.contact)).await? == 0, "the contact is back");
        stage
            .until("SELECT count(*) > 0 FROM etl_chunk WHERE attempt > 1 AND failure_count = 0 AND status = 'done'")
            .await?;
        up.stop().await?;
        ensure!(differences(&stage).await? == 0, "the plan wants the contact back");
        stage.assert_equal(&[1]).await
    })
    .await;
}

/// Trap 23.
#[tokio::test]
async fn a_policy_set_in_the_middle_of_a_first_sync_reaches_the_chunks_that_are_done() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 73).await?;
        let refuse = "ALTER TABLE conversations_analytics ADD CONSTRAINT half CHECK (conversation_id < 201) NOT VALID";
        stage.target.execute(refuse).await?;
        let first = stage
            .tidemark(&["sync", "--local", "--tenant", "1", "--chunk-size", "200", "--json"])
            .await?;
        // the target refuses the second half of the conversations
        ensure!(first.code == 1, "{first:?}");
        let run = first.json()["run_id"].to_string();
        let done = count(&stage, "contact_name IS NOT NULL").await?;
        ensure!(done > 0 && done < 300, "{done} rows of the first sync are done");
        stage
            .target
            .execute("ALTER TABLE conversations_analytics DROP CONSTRAINT half")
            .await?;
        let kept = "contact_name IS NOT NULL OR first_message_text IS NOT NULL \
                    OR jsonb_path_exists(message_compiled, '$[*].text ? (@ != null)')";
        let policy = "contact_name=null,message_text=null";
        let set = stage
            .tidemark(&["tenant", "set", "--tenant", "1", "--privacy", policy])
            .await?;
        ensure!(set.code == 0, "{set:?}");

        // the retried run brings the rest; the policy's backfill is cancelled
        let asked: Option<i64> = sqlx::query_scalar(
            "SELECT max(id) FROM etl_control WHERE request #>> '{selection,kind}' = 'policy'",
        )
        .fetch_one(&stage.target)
        .await?;
        let asked = asked.context("no backfill was asked for")?.to_string();
        let cancelled = stage.tidemark(&["run", "cancel", &asked]).await?;
        ensure!(cancelled.code == 0, "{cancelled:?}");
        let retried = stage.tidemark(&["run", "retry", &run]).await?;
        ensure!(retried.code == 0, "{retried:?}");
        let up = stage.start(&["up"])?;
        let ended = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(ended.code == 0, "{ended:?}");
        ensure!(count(&stage, kept).await? > 0, "the retried run rewrites done chunks: the test shows nothing");
        stage
            .target
            .execute("UPDATE etl_control SET finished_at = now() - interval '1 hour' WHERE status = 'cancelled'")
            .await?;
        stage
            .until("SELECT w.policy_version = t.policy_version FROM tenants t JOIN etl_watermark w ON w.tenant_id = t.id")
            .await?;
        ensure!(count(&stage, kept).await? == 0, "rows from before the policy are left");
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'success') = 1 AND count(*) = 2 FROM etl_control \
                    WHERE request #>> '{selection,kind}' = 'policy'")
            .await?;
        up.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

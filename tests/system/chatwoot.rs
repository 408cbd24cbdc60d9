//! Chatwoot databases that are not those of the newest version: absent tables and columns, other types, another schema.

use anyhow::{Result, ensure};
use sqlx::{Executor, raw_sql};

use crate::columns::{Rows, assert_same, reference, target};
use crate::stage::{Stage, on_stage};

/// Tenant 1 of a new sample.
struct Tenant {
    timezone: String,
    inboxes: Vec<i32>,
}

impl Tenant {
    async fn create(stage: &Stage, conversations: u64, seed: u64) -> Result<Self> {
        stage.sample(conversations, 1, seed).await?;
        let mut samples = tidemark_sample::describe(&stage.url("source")).await?;
        let sample = samples.remove(0);
        Ok(Self {
            timezone: sample.timezone,
            inboxes: sample.inbox_ids,
        })
    }

    /// What the target should have, by the reference. The source must have every column.
    async fn expected(&self, stage: &Stage) -> Result<Rows> {
        reference(stage, 1, &self.timezone, &self.inboxes).await
    }
}

async fn warnings(stage: &Stage) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT jsonb_array_elements_text(warnings) FROM etl_control WHERE id = (SELECT min(id) FROM etl_control)",
    )
    .fetch_all(&stage.target)
    .await?)
}

const EMPTY: &str = "UPDATE conversations SET first_reply_created_at = NULL, priority = NULL, waiting_since = NULL, \
         cached_label_list = NULL; \
     UPDATE messages SET sentiment = NULL; UPDATE conversations SET team_id = NULL WHERE id % 2 = 0; \
     DELETE FROM teams; DELETE FROM csat_survey_responses";
/// Chatwoot 2.0, and two tables that came before it.
const OLD: &str = "ALTER TABLE conversations DROP COLUMN first_reply_created_at CASCADE, DROP COLUMN priority CASCADE, \
         DROP COLUMN waiting_since CASCADE, DROP COLUMN cached_label_list CASCADE; \
     ALTER TABLE messages DROP COLUMN sentiment CASCADE; \
     ALTER TABLE teams RENAME TO later_teams; ALTER TABLE csat_survey_responses RENAME TO later_answers";
/// As Chatwoot's migrations: no `updated_at` moves.
const UPGRADE: &str = "ALTER TABLE conversations ADD COLUMN first_reply_created_at timestamp, ADD COLUMN priority integer, \
         ADD COLUMN waiting_since timestamp(6), ADD COLUMN cached_label_list text; \
     ALTER TABLE messages ADD COLUMN sentiment jsonb DEFAULT '{}'; \
     ALTER TABLE later_teams RENAME TO teams; ALTER TABLE later_answers RENAME TO csat_survey_responses; \
     INSERT INTO teams SELECT DISTINCT team_id, 'Team ' || team_id, '', true, 1, now(), now() \
     FROM conversations WHERE team_id IS NOT NULL; \
     UPDATE conversations SET priority = id % 4, cached_label_list = 'vip' WHERE id % 3 = 0";

#[tokio::test]
async fn what_an_old_chatwoot_lacks_counts_as_empty_and_an_upgrade_brings_it() {
    on_stage(|stage| async move {
        let tenant = Tenant::create(&stage, 90, 181).await?;
        raw_sql(EMPTY).execute(&stage.source).await?;
        let empty = tenant.expected(&stage).await?;
        raw_sql(OLD).execute(&stage.source).await?;
        stage.sync_local(&["--tenant", "1", "--chunk-size", "20"]).await?;
        assert_same(&empty, &target(&stage, 1).await?)?;
        let warned = warnings(&stage).await?;
        for warning in [
            "table conversations has no column priority: it is NULL in every row; it comes with Chatwoot 2.17.0",
            "table messages has no column sentiment: it is NULL in every row; it comes with Chatwoot 3.0.0",
            "the source has no table csat_survey_responses: it counts as empty; it comes with Chatwoot 1.22.0",
        ] {
            ensure!(warned.iter().any(|text| text == warning), "{warned:#?}");
        }
        let doctor = stage.tidemark(&["doctor", "--json"]).await?.stdout;
        for said in ["it comes with Chatwoot 2.17.0", "the columns fit no version of Chatwoot: "] {
            ensure!(doctor.contains(said), "{said}: {doctor}");
        }
        stage.assert_proven(&[1], &[]).await?;
        let again = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(again["records"]["extracted"] == 0, "{again:#}");

        // under a running fleet, with sessions that have prepared statements and a lock plan without the tables
        let up = stage.start(&["up"])?;
        stage
            .tidemark(&["resync", "--tenant", "1", "--ids", "1,2,3", "--wait"])
            .await?;
        raw_sql(UPGRADE).execute(&stage.source).await?;
        let upgraded = tenant.expected(&stage).await?;
        stage.tidemark(&["sync", "--tenant", "1", "--wait"]).await?;
        stage
            .until(
                "SELECT absent_columns = '{}' AND (SELECT bool_and(backfilled_at IS NOT NULL) FROM inbox_tenant_mapping) \
                 AND (SELECT bool_and(status = 'success') FROM etl_control) FROM etl_watermark WHERE tenant_id = 1",
            )
            .await?;
        assert_same(&upgraded, &target(&stage, 1).await?)?;
        stage.assert_proven(&[1], &[]).await?;
        up.stop().await?;
        let doctor = stage.tidemark(&["doctor", "--json"]).await?.stdout;
        let said = "the columns are those of Chatwoot 4.8.0 to 4.15.1, or of a newer version";
        ensure!(doctor.contains(said), "{doctor}");
        Ok(())
    })
    .await;
}

const OTHER_TYPES: &str = "DROP VIEW vw_tidemark, vw_message_compiled, vw_client_sender, vw_conversations_analytics_final CASCADE; \
     ALTER TABLE conversations ALTER id TYPE bigint, ALTER account_id TYPE bigint, ALTER inbox_id TYPE bigint, \
         ALTER display_id TYPE bigint, ALTER assignee_id TYPE bigint, ALTER status DROP DEFAULT, \
         ALTER status TYPE smallint, ALTER priority TYPE smallint, ALTER uuid DROP DEFAULT, ALTER uuid TYPE varchar, \
         ALTER custom_attributes DROP DEFAULT, ALTER custom_attributes TYPE json, ALTER cached_label_list TYPE varchar, \
         ALTER created_at TYPE timestamptz, ALTER updated_at TYPE timestamptz, ALTER last_activity_at TYPE timestamptz, \
         ALTER waiting_since TYPE timestamptz, ALTER agent_last_seen_at TYPE timestamptz; \
     ALTER TABLE messages ALTER id TYPE bigint, ALTER conversation_id TYPE bigint, ALTER inbox_id TYPE bigint, \
         ALTER message_type TYPE smallint, \
         ALTER status TYPE smallint, ALTER content TYPE varchar, ALTER created_at TYPE timestamptz, \
         ALTER updated_at TYPE timestamptz, ALTER sentiment DROP DEFAULT, ALTER sentiment TYPE json; \
     ALTER TABLE contacts ALTER id TYPE bigint, ALTER account_id TYPE bigint, ALTER name TYPE text, \
         ALTER updated_at TYPE timestamptz; \
     ALTER TABLE inboxes ALTER id TYPE bigint, ALTER account_id TYPE bigint, ALTER updated_at TYPE timestamptz; \
     ALTER TABLE accounts ALTER id TYPE bigint; ALTER TABLE users ALTER id TYPE bigint; \
     ALTER TABLE csat_survey_responses ALTER rating TYPE smallint, ALTER created_at TYPE timestamptz";

const OWN_TYPES: &str = "ALTER TABLE conversations ALTER status TYPE integer, ALTER priority TYPE integer, \
         ALTER uuid TYPE uuid USING uuid::uuid, ALTER custom_attributes TYPE jsonb, ALTER created_at TYPE timestamp, \
         ALTER updated_at TYPE timestamp, ALTER last_activity_at TYPE timestamp, ALTER waiting_since TYPE timestamp, \
         ALTER agent_last_seen_at TYPE timestamp; \
     ALTER TABLE messages ALTER message_type TYPE integer, ALTER status TYPE integer, ALTER created_at TYPE timestamp, \
         ALTER updated_at TYPE timestamp, ALTER sentiment TYPE jsonb; \
     ALTER TABLE contacts ALTER updated_at TYPE timestamp; ALTER TABLE inboxes ALTER updated_at TYPE timestamp; \
     ALTER TABLE csat_survey_responses ALTER rating TYPE integer, ALTER created_at TYPE timestamp";

#[tokio::test]
async fn other_types_give_the_same_rows_and_the_same_digests() {
    on_stage(|stage| async move {
        let tenant = Tenant::create(&stage, 90, 191).await?;
        let before = tenant.expected(&stage).await?;
        let up = stage.start(&["up"])?;
        stage.tidemark(&["sync", "--tenant", "1", "--wait"]).await?;
        raw_sql(OTHER_TYPES).execute(&stage.source).await?;
        // sessions that have prepared their statements before go on
        let answer = stage
            .tidemark(&["resync", "--tenant", "1", "--all-rows", "--wait", "--json"])
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        stage.tidemark(&["sync", "--tenant", "1", "--wait"]).await?;
        let changed: i64 = sqlx::query_scalar("SELECT sum(records_inserted + records_updated)::bigint FROM etl_control WHERE id > 1")
            .fetch_one(&stage.target)
            .await?;
        ensure!(changed == 0, "{changed} rows were written again");
        up.stop().await?;
        assert_same(&before, &target(&stage, 1).await?)?;
        stage.assert_proven(&[1], &[]).await?;

        // ids beyond 32 bits, and a change that only signals name
        raw_sql(
            "UPDATE messages SET id = id + 5000000000, conversation_id = conversation_id + 5000000000, \
                 sender_id = CASE WHEN sender_type = 'Contact' THEN sender_id + 5000000000 ELSE sender_id END; \
             UPDATE csat_survey_responses SET conversation_id = conversation_id + 5000000000; \
             UPDATE conversations SET id = id + 5000000000, contact_id = contact_id + 5000000000; \
             UPDATE contacts SET id = id + 5000000000",
        )
        .execute(&stage.source)
        .await?;
        stage
            .sync_local(&["--tenant", "1", "--full", "--allow-mass-delete"])
            .await?;
        for change in [
            "UPDATE messages SET content = 'edited', updated_at = now() WHERE id = (SELECT max(id) FROM messages)",
            "UPDATE contacts SET name = 'Somebody', updated_at = now() WHERE id = (SELECT min(contact_id) FROM conversations)",
            "UPDATE csat_survey_responses SET rating = 2, updated_at = now() AT TIME ZONE 'UTC' \
             WHERE id = (SELECT max(id) FROM csat_survey_responses)",
        ] {
            stage.source.execute(change).await?;
            let run = stage.sync_local(&["--tenant", "1"]).await?;
            ensure!(run["records"]["updated"].as_i64() > Some(0), "{change}: {run:#}");
        }
        stage.assert_proven(&[1], &[]).await?;
        // the reference knows Chatwoot's own types only
        raw_sql(OWN_TYPES).execute(&stage.source).await?;
        assert_same(&tenant.expected(&stage).await?, &target(&stage, 1).await?)
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_its_type_before_anything_is_written() {
    on_stage(|stage| async move {
        stage.sample(30, 1, 193).await?;
        raw_sql(
            "DROP VIEW vw_tidemark, vw_message_compiled, vw_client_sender, vw_conversations_analytics_final CASCADE; \
             ALTER TABLE conversations ALTER status DROP DEFAULT, ALTER status TYPE text; \
             ALTER TABLE contacts ALTER email TYPE bytea USING NULL; \
             ALTER TABLE messages DROP COLUMN content_type CASCADE; ALTER TABLE users RENAME TO people",
        )
        .execute(&stage.source)
        .await?;
        let sync = stage.tidemark(&["sync", "--local", "--tenant", "1"]).await?;
        ensure!(sync.code != 0, "{sync:?}");
        let doctor = stage.tidemark(&["doctor", "--json"]).await?;
        ensure!(doctor.code != 0, "{doctor:?}");
        for said in [
            "column conversations.status as integer (it is text)",
            "column contacts.email as text (it is bytea)",
            "column messages.content_type",
            "table users",
        ] {
            for answer in [&sync, &doctor] {
                let text = format!("{}{}", answer.stdout, answer.stderr);
                ensure!(text.contains(said), "{said}: {text}");
            }
        }
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics")
            .fetch_one(&stage.target)
            .await?;
        ensure!(rows == 0, "{rows} rows were written");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_inbox_and_an_account_beyond_32_bits_are_named_and_the_others_are_synced() {
    on_stage(|stage| async move {
        let tenant = Tenant::create(&stage, 30, 197).await?;
        raw_sql(
            "DROP VIEW vw_tidemark, vw_message_compiled, vw_client_sender, vw_conversations_analytics_final CASCADE; \
             ALTER TABLE inboxes ALTER id TYPE bigint, ALTER account_id TYPE bigint; ALTER TABLE accounts ALTER id TYPE bigint; \
             INSERT INTO accounts (id, name, created_at, updated_at) VALUES (3000000001, 'Far', now(), now()); \
             INSERT INTO inboxes (id, channel_id, account_id, name, created_at, updated_at) \
             VALUES (3000000002, 1, 3000000001, 'Far', now(), now())",
        )
        .execute(&stage.source)
        .await?;
        let before = tenant.expected(&stage).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        assert_same(&before, &target(&stage, 1).await?)?;
        let warned = warnings(&stage).await?;
        let doctor = stage.tidemark(&["doctor", "--json"]).await?.stdout;
        for named in ["the id of inbox 3000000002 does not fit", "the id of account 3000000001 does not fit"] {
            ensure!(warned.iter().any(|text| text.starts_with(named)), "{warned:?}");
            ensure!(doctor.contains(named), "{doctor}");
        }
        Ok(())
    })
    .await;
}

const MOVE: &str = r#"CREATE SCHEMA "Chat woot, """;
    DO $$ DECLARE t text; BEGIN
        FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I SET SCHEMA %I', t, 'Chat woot, "');
        END LOOP;
    END $$"#;

#[tokio::test]
async fn chatwoot_in_another_schema_is_read_with_the_setting_and_without_it_doctor_names_the_schema() {
    on_stage(|stage| async move {
        let tenant = Tenant::create(&stage, 60, 199).await?;
        let before = tenant.expected(&stage).await?;
        raw_sql(MOVE).execute(&stage.source).await?;
        // a table of the same name in the login's own search path is not Chatwoot's
        stage
            .source
            .execute("CREATE TABLE teams AS SELECT 1 AS id, 'wrong' AS name")
            .await?;
        let doctor = stage.tidemark(&["doctor", "--json"]).await?;
        ensure!(
            doctor.code != 0 && doctor.stdout.contains("TIDEMARK_SOURCE_SCHEMA"),
            "{doctor:?}"
        );
        let schema = [("TIDEMARK_SOURCE_SCHEMA", "Chat woot, \"")];
        let sync = stage
            .tidemark_with(&["sync", "--local", "--tenant", "1"], &schema)
            .await?;
        ensure!(sync.code == 0, "{sync:?}");
        assert_same(&before, &target(&stage, 1).await?)?;
        let doctor = stage.tidemark_with(&["doctor", "--json"], &schema).await?;
        ensure!(
            doctor
                .stdout
                .contains("all required tables and columns can be read"),
            "{doctor:?}"
        );
        stage.assert_proven(&[1], &schema).await
    })
    .await;
}

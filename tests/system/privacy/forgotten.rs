//! Forgotten contacts: removed everywhere, and kept out afterwards.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use super::count;
use crate::stage::{Answer, Stage, on_stage};

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
        // rows that the target has as they are would not be merged
        stage
            .source
            .execute("UPDATE conversations SET identifier = 'changed'")
            .await?;
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

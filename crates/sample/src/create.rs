//! Creates a sample.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use futures::{TryStreamExt, stream};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool, query, query_scalar};
use tidemark_shared::chatwoot::{NEWEST_KNOWN, Version};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::conversations::{BLOCK_BYTES, Conversations, Counts};
use crate::copy::Rows;
use crate::database::{DatabaseState, Target};
use crate::describe::{SampleTenant, tenants};
use crate::directory::ContactRows;
use crate::layout::Layout;
use crate::shape::{Shape, ensure_known};
use crate::{directory, events, schema};

/// Enough to keep the server busy during the generation of the next block.
const CONNECTIONS: u32 = 3;
/// Blocks generated ahead. Limits the memory.
const BLOCKS_AHEAD: usize = 4;

/// Options of a sample. Equal options give equal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    pub conversations: u64,
    /// At least one. The first is the largest.
    pub tenants: u16,
    pub seed: u64,
    /// Drop an earlier sample of that name first.
    pub replace: bool,
    /// The current time of the data. Default: the start of the server's day in UTC.
    pub reference_time: Option<DateTime<Utc>>,
    /// The version of Chatwoot that the tables are of. Columns that two versions have are filled equally.
    pub chatwoot: Version,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            conversations: 10_000,
            tenants: 5,
            seed: 1,
            replace: false,
            reference_time: None,
            chatwoot: NEWEST_KNOWN,
        }
    }
}

impl CreateOptions {
    /// The smallest sample with every oddity, for tests. It does not depend on the date.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            conversations: 300,
            tenants: 3,
            reference_time: DateTime::from_timestamp(1_750_000_000, 0),
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct CreateReport {
    pub chatwoot: Version,
    pub tenants: Vec<SampleTenant>,
    pub conversations: u64,
    pub messages: u64,
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// Creates the database named in the URL and fills it.
///
/// # Errors
/// When the database exists, unless it is empty, or is a sample and `replace` is set. When an option is out of range, or the
/// server refuses.
pub async fn create(url: &str, options: &CreateOptions) -> Result<CreateReport> {
    ensure_known(options.chatwoot)?;
    let target = Target::parse(url)?;
    let mut server = target.connect_to_server().await?;
    let data = Data::new(options, &mut server).await?;
    make_database(&target, &mut server, options.replace).await?;
    let pool = connect(&target).await?;
    schema::create_tables(&mut *pool.acquire().await?).await?;
    data.build(&target, &pool, options.chatwoot).await
}

/// Fills the empty tables that [`schema`](crate::schema()) has made, which is faster than to make them again.
///
/// # Errors
/// When there are rows already, an option is out of range, or the server refuses.
pub async fn fill(url: &str, options: &CreateOptions) -> Result<CreateReport> {
    ensure!(
        options.chatwoot == NEWEST_KNOWN,
        "the tables are of the newest version of Chatwoot"
    );
    let target = Target::parse(url)?;
    let pool = connect(&target).await?;
    let mut conn = pool.acquire().await?;
    let is_empty: bool = query_scalar("SELECT NOT EXISTS (SELECT FROM accounts)")
        .fetch_one(&mut *conn)
        .await
        .context("read the tables")?;
    ensure!(is_empty, "database {} has accounts already", target.name);
    let data = Data::new(options, &mut conn).await?;
    drop(conn);
    data.build(&target, &pool, options.chatwoot).await
}

/// What the tables are filled with.
struct Data {
    started: Instant,
    layout: Layout,
    rng: ChaCha8Rng,
}

impl Data {
    async fn new(options: &CreateOptions, server: &mut PgConnection) -> Result<Self> {
        let started = Instant::now();
        let reference = match options.reference_time {
            Some(time) => time.naive_utc().trunc_subsecs(6),
            None => today(server).await?,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let layout = Layout::new(options.tenants, options.conversations, reference, &mut rng)?;
        Ok(Self { started, layout, rng })
    }

    /// Fills the tables of the newest version, and makes those of an older one from them.
    async fn build(self, target: &Target, pool: &PgPool, version: Version) -> Result<CreateReport> {
        let counts = fill_tables(pool, self.layout, self.rng).await?;
        let mut conn = pool.acquire().await?;
        finish(&mut conn, version).await?;
        let tenants = tenants(&mut conn).await?;
        target.mark(&mut conn, Some(version)).await?;
        drop(conn);
        pool.close().await;

        let report = CreateReport {
            chatwoot: version,
            tenants,
            conversations: u64::try_from(counts.conversations)?,
            messages: u64::try_from(counts.messages)?,
            elapsed: self.started.elapsed(),
        };
        tracing::info!(
            conversations = report.conversations,
            messages = report.messages,
            "sample created"
        );
        Ok(report)
    }
}

async fn make_database(target: &Target, server: &mut PgConnection, replace: bool) -> Result<()> {
    let name = &target.name;
    match target.state(server).await? {
        DatabaseState::Missing => {}
        DatabaseState::Sample if replace => target.drop(server).await?,
        DatabaseState::Sample => {
            bail!("database {name} is an earlier sample: ask to replace it, or drop it first")
        }
        // an empty database that somebody with the right to created for the sample
        DatabaseState::Foreign if name != "postgres" && target.is_empty().await? => {
            return target.mark(server, None).await;
        }
        DatabaseState::Foreign => bail!("database {name} exists and is not a sample: choose another name"),
    }
    target.create(server).await
}

async fn connect(target: &Target) -> Result<PgPool> {
    // a sample lost in a crash can be created again, so commits need not wait for the disk
    let options = target
        .options()
        .options([("synchronous_commit", "off"), ("maintenance_work_mem", "256MB")]);
    let name = &target.name;
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(options)
        .await
        .with_context(|| format!("connect to database {name}"))
}

/// Makes the tables of this version from those of the newest, and what is made best when they are full.
async fn finish(conn: &mut PgConnection, version: Version) -> Result<()> {
    let shape = Shape::of(version);
    for change in Shape::of(NEWEST_KNOWN).changes_to(&shape) {
        schema::change_table(&mut *conn, &change, None).await?;
    }
    if shape.has("reporting_events", "name") {
        query("DELETE FROM reporting_events WHERE name = ANY($1)")
            .bind(events::unknown_to(version))
            .execute(&mut *conn)
            .await
            .context("delete events that the version does not write")?;
    }
    schema::create_indexes(&mut *conn, &shape.indexes()).await?;
    schema::create_view(&mut *conn, &shape).await?;
    schema::set_sequences(&mut *conn, &shape).await?;
    schema::analyze(conn).await
}

/// One thread generates and several connections copy, so that their speed does not influence the data.
async fn fill_tables(pool: &PgPool, layout: Layout, rng: ChaCha8Rng) -> Result<Counts> {
    let (sender, receiver) = mpsc::channel(BLOCKS_AHEAD);
    let generator = spawn_blocking(move || generate(&layout, rng, &sender));
    // a failed copy drops the receiver, which ends the generator
    stream::unfold(receiver, async |mut receiver| {
        Some((anyhow::Ok(receiver.recv().await?), receiver))
    })
    .try_for_each_concurrent(usize::try_from(CONNECTIONS)?, async |block: Vec<Rows>| {
        let mut conn = pool.acquire().await?;
        for rows in block {
            rows.copy(&mut conn).await?;
        }
        Ok(())
    })
    .await?;
    generator.await.context("generate the sample")?
}

fn generate(layout: &Layout, mut rng: ChaCha8Rng, blocks: &mpsc::Sender<Vec<Rows>>) -> Result<Counts> {
    let (organisation, inboxes) = directory::organisation(layout, &mut rng)?;
    blocks.blocking_send(organisation)?;
    let mut contacts = ContactRows::new();
    for tenant in &layout.tenants {
        for id in tenant.contact_ids.clone() {
            contacts.push(tenant, id, layout.reference, &mut rng);
            if contacts.size() >= BLOCK_BYTES {
                let full = std::mem::replace(&mut contacts, ContactRows::new());
                blocks.blocking_send(full.into_rows())?;
            }
        }
    }
    blocks.blocking_send(contacts.into_rows())?;
    let mut conversations = Conversations::new(layout, &inboxes, rng);
    while let Some(block) = conversations.next_block() {
        blocks.blocking_send(block)?;
    }
    Ok(conversations.counts())
}

async fn today(conn: &mut PgConnection) -> Result<NaiveDateTime> {
    query_scalar("SELECT date_trunc('day', now() AT TIME ZONE 'UTC')")
        .fetch_one(conn)
        .await
        .context("read the server's date")
}

fn as_millis<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(elapsed.as_millis())
}

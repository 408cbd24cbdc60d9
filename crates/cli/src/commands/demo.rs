//! `tidemark demo`: two syncs and comparisons of a sample, with each role in its own process, or all in this one.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use tidemark_console::NoTenantPages;
use tidemark_ledger as ledger;
use tidemark_ledger::tenant::NewTenant;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::DbPool;
use tidemark_sample::{CreateOptions, SampleTenant, TrafficOptions, create, traffic};
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::Inbox;
use tidemark_shared::privacy::PrivacyPolicy;
use tidemark_shared::run::{RunReport, RunRequest, RunStatus, RunType};
use tidemark_shared::verification::{Verdict, Verification};
use tidemark_worker::compare::{ROWS_PER_RANGE, Verifier};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::requests::request;
use super::sync::execute_here;
use crate::app::App;
use crate::exit::{Exit, Interrupted, SetupError};
use crate::output;
use crate::progress;

const START_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Conversations in the sample
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    conversations: u64,
    /// Tenants in the sample
    #[arg(long, default_value_t = 3, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=100))]
    tenants: u16,
    /// Changes between the first sync and the second
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    changes: u64,
    /// Seed; the same seed gives the same sample and changes
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Leave the fleet and a web console running until Ctrl-C, and print its address
    #[arg(long)]
    stay: bool,
    /// Sync in this process, as `sync --local` does: needs no RabbitMQ
    #[arg(long, conflicts_with = "stay")]
    local: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let source_url = app.settings.source("main")?.1.clone();
        if !self.local {
            app.settings.amqp_url()?;
        }

        step("migrate the analytics database");
        let migrate = super::migrate::Args::default();
        migrate.run(app).await?;
        let concurrency = if self.local {
            app.settings.worker.concurrency
        } else {
            0
        };
        let db = app.isolated_database(concurrency).await?;
        ensure!(
            ledger::tenant::list(&db).await?.is_empty(),
            SetupError("the analytics database has tenants already: the demo needs an empty one".to_owned())
        );

        step("create a sample Chatwoot");
        let options = CreateOptions {
            conversations: self.conversations,
            tenants: self.tenants,
            seed: self.seed,
            replace: true,
            ..CreateOptions::default()
        };
        let sample = create(source_url.secret().expose_secret(), &options).await?;
        output::note(format!(
            "  {} conversations with {} messages of {} tenants",
            output::count(i64::try_from(sample.conversations)?),
            output::count(i64::try_from(sample.messages)?),
            sample.tenants.len()
        ));
        add_tenants(&db, &sample.tenants).await?;

        if self.local {
            return self.tour(app, &db, &source_url).await;
        }
        step("start a producer, two workers and a finalizer");
        let mut fleet = Fleet::start(app, &["producer", "worker", "worker", "finalizer"])?;
        let mut outcome = match fleet.ready(&db).await {
            Ok(()) => self.tour(app, &db, &source_url).await,
            Err(error) => Err(error),
        };
        if self.stay && outcome.is_ok() {
            outcome = fleet.stay(app, &db, outcome).await;
        }
        step("stop the processes");
        let stopped = fleet.stop().await;
        let exit = outcome?;
        stopped?;
        Ok(exit)
    }

    async fn tour(&self, app: &App, db: &DbPool, source_url: &ServerUrl) -> anyhow::Result<Exit> {
        step("sync all tenants for the first time");
        let first = self.sync(app, db, "first sync").await?;
        let first_verified = verify(app, db).await?;

        step(&format!(
            "change the sample {} times like Chatwoot does",
            output::count(i64::try_from(self.changes)?)
        ));
        let options = TrafficOptions {
            rate_per_second: 0.0,
            duration: None,
            count: Some(self.changes),
            seed: self.seed,
        };
        let changed = traffic(
            source_url.secret().expose_secret(),
            &options,
            CancellationToken::new(),
        )
        .await?;
        let kinds: Vec<String> = changed
            .by_kind
            .iter()
            .map(|(kind, count)| format!("{} {count}", kind.as_str()))
            .collect();
        output::note(format!("  {}", kinds.join(", ")));

        step("sync again, incrementally");
        let second = self.sync(app, db, "second sync").await?;
        step("compare source and target, row by row and column by column");
        let second_verified = verify(app, db).await?;

        let mut rows = summary("first", &first, &first_verified);
        rows.extend(summary("second", &second, &second_verified));
        let header = [
            "sync",
            "tenant",
            "type",
            "rows",
            "inserted",
            "updated",
            "unchanged",
            "deleted",
            "took",
            // a build without optimisation copies several times fewer rows
            if cfg!(debug_assertions) {
                "rows/s (debug build)"
            } else {
                "rows/s"
            },
            "watermark",
            "verdict",
        ];
        output::line("")?;
        output::table(&header, &[1, 3, 4, 5, 6, 7, 8, 9], rows)?;

        let all_equal = first_verified
            .iter()
            .chain(&second_verified)
            .all(|one| one.verdict == Verdict::Equal);
        let all_done = first
            .iter()
            .chain(&second)
            .all(|run| run.status == RunStatus::Success);
        if all_equal && all_done {
            output::line("Every tenant's target rows equal the transform of its source rows.")?;
            return Ok(Exit::Done);
        }
        output::line("Something differs or failed: see the verdicts above.")?;
        Ok(Exit::Failed)
    }

    async fn sync(&self, app: &App, db: &DbPool, reason: &str) -> anyhow::Result<Vec<RunReport>> {
        let mut runs = Vec::new();
        for tenant in ledger::tenant::list(db).await? {
            let (reason, wanted) = (Some(reason.to_owned()), RunRequest::default());
            runs.push(request(app, db, &tenant, RunType::Incremental, reason, wanted).await?);
        }
        if !self.local {
            return progress::wait(db, &runs).await;
        }
        let reports = execute_here(app, db, &app.sources()?, &runs).await?;
        ensure!(
            reports.iter().all(|run| run.status.is_terminal()),
            Interrupted(runs)
        );
        Ok(reports)
    }
}

fn step(text: &str) {
    output::note(format!("• {text}"));
}

async fn add_tenants(db: &DbPool, sample: &[SampleTenant]) -> anyhow::Result<()> {
    for tenant in sample {
        let id = TenantId(tenant.account_id);
        let new = NewTenant {
            verify_interval: None,
            discover: true,
            id,
            name: tenant.name.clone(),
            slug: tenant.slug.clone(),
            source: "main".to_owned(),
            account_id: Some(tenant.account_id),
            timezone: tenant.timezone.clone(),
            chunk_size: None,
            max_in_flight: None,
            sync_interval: None,
            privacy: PrivacyPolicy::default(),
        };
        ledger::tenant::insert(db, &new).await?;
        let inboxes: Vec<Inbox> = tenant
            .inbox_ids
            .iter()
            .map(|id| Inbox {
                id: *id,
                name: None,
                channel_type: None,
            })
            .collect();
        ledger::inbox::map(db, "main", id, &inboxes, None).await?;
        output::note(format!(
            "  tenant {id}: {}, {} conversations in {} inboxes, {}",
            tenant.name,
            output::count(i64::try_from(tenant.conversations)?),
            inboxes.len(),
            tenant.timezone
        ));
    }
    Ok(())
}

async fn verify(app: &App, db: &DbPool) -> anyhow::Result<Vec<Verification>> {
    let verifier = Verifier {
        db: db.clone(),
        sources: app.sources()?,
        privacy_key: app.settings.privacy_key.clone(),
        deep: true,
        rows_per_range: ROWS_PER_RANGE,
        at_once: app.settings.worker.concurrency,
    };
    let mut found = Vec::new();
    for tenant in ledger::tenant::list(db).await? {
        found.push(verifier.verify(tenant.id).await?);
    }
    Ok(found)
}

fn summary(sync: &str, runs: &[RunReport], verified: &[Verification]) -> Vec<Vec<String>> {
    runs.iter()
        .map(|run| {
            let found = verified.iter().find(|found| found.tenant_id == run.tenant_id);
            let per_second = run.records.extracted * 1_000 / run.duration_ms.max(1);
            vec![
                sync.to_owned(),
                run.tenant_id.to_string(),
                run.run_type.as_str().to_owned(),
                found.map_or_else(
                    || "-".to_owned(),
                    |found| output::count(found.compared.target_rows),
                ),
                output::count(run.records.inserted),
                output::count(run.records.updated),
                output::count(run.records.unchanged),
                output::count(run.records.deleted),
                output::duration_ms(run.duration_ms),
                output::count(per_second),
                output::time(run.watermark_end),
                match (run.status, found) {
                    (RunStatus::Success, Some(found)) => found.verdict.as_str().to_owned(),
                    (status, _) => status.as_str().to_owned(),
                },
            ]
        })
        .collect()
}

/// The first tenant with its page, or why no tenant's page can be opened, and what to do.
async fn tenant_page(
    app: &App,
    db: &DbPool,
    console: &str,
) -> anyhow::Result<Result<(String, String), String>> {
    let tenants = ledger::tenant::list(db).await?;
    let first = tenants.first().context("the demo has tenants")?;
    Ok(match (app.tenant_pages())().await {
        Ok(_) => Ok((first.name.clone(), format!("{console}t/{}", first.slug))),
        Err(NoTenantPages::Away(error) | NoTenantPages::Wrong(error)) => Err(error),
        Err(NoTenantPages::NotSet) => Err("set TIDEMARK_CONSOLE_TENANT_DATABASE_URL".to_owned()),
    })
}

/// Child processes of this binary, one for each role. They get the URLs of the servers in their environment.
struct Fleet {
    children: Vec<(&'static str, Child)>,
}

impl Fleet {
    fn start(app: &App, roles: &[&'static str]) -> anyhow::Result<Self> {
        Self::start_with(app, roles, &[])
    }

    fn start_with(app: &App, roles: &[&'static str], settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let secrets = [
            ("TIDEMARK_DATABASE_URL", app.settings.database_url()?),
            ("TIDEMARK_AMQP_URL", app.settings.amqp_url()?),
            ("TIDEMARK_SOURCE_URL", app.settings.source("main")?.1),
        ];
        let mut children = Vec::with_capacity(roles.len());
        for role in roles {
            let mut command = Command::new(&program);
            command
                .arg(role)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true);
            // hide the line of each chunk, and keep warnings
            command.env("RUST_LOG", "warn,lapin=error");
            command.envs(settings.iter().copied());
            for (name, url) in &secrets {
                command.env(name, url.secret().expose_secret());
            }
            children.push((
                *role,
                command.spawn().with_context(|| format!("start the {role}"))?,
            ));
        }
        Ok(Self { children })
    }

    /// Adds a console, and waits for Ctrl-C or SIGTERM, or for a process that ends.
    async fn stay(&mut self, app: &App, db: &DbPool, outcome: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
        // the child binds it again
        let bound = tidemark_console::bind(&app.settings.console)
            .await
            .map_err(SetupError)?;
        let Some(bound) = bound else { return outcome };
        let (url, address) = (bound.url(), bound.address.to_string());
        drop(bound);
        let named = app.settings.console.tenant_database_url.as_ref();
        let pages = named.map_or_else(|| app.settings.database_url(), Ok)?;
        let page = tenant_page(app, db, &url).await?;
        let mut settings = vec![("TIDEMARK_CONSOLE_LISTEN", address.as_str())];
        if page.is_ok() {
            settings.push((
                "TIDEMARK_CONSOLE_TENANT_DATABASE_URL",
                pages.secret().expose_secret(),
            ));
        }
        let console = Self::start_with(app, &["console"], &settings)?;
        self.children.extend(console.children);
        match page {
            Ok((tenant, page)) => output::note(format!("• what the people of {tenant} see is at {page}")),
            Err(why) => output::note(format!("• tenants' pages are not open: {why}")),
        }
        output::note(format!("• the console is open at {url}; Ctrl-C stops everything"));
        let mut terminate = signal(SignalKind::terminate())?;
        let ended = async {
            loop {
                for (role, child) in &mut self.children {
                    if let Some(status) = child.try_wait()? {
                        anyhow::bail!("the {role} ended: {status}");
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
            failed = ended => return failed.map(|()| Exit::Failed),
        }
        outcome
    }

    /// Waits until every child has written a heartbeat.
    async fn ready(&mut self, db: &DbPool) -> anyhow::Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        let alive = async {
            loop {
                for (role, child) in &mut self.children {
                    if let Some(status) = child.try_wait()? {
                        anyhow::bail!("the {role} ended early: {status}");
                    }
                }
                if ledger::process::list_live(db).await?.len() >= self.children.len() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(START_WITHIN, alive)
            .await
            .context("the processes did not start in time")?
    }

    /// Sends SIGTERM to all, and waits until each has ended.
    async fn stop(mut self) -> anyhow::Result<()> {
        for (role, child) in &self.children {
            let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            let Some(pid) = pid else { continue };
            kill_process(pid, Signal::TERM).with_context(|| format!("stop the {role}"))?;
        }
        for (role, child) in &mut self.children {
            let ended = tokio::time::timeout(STOP_WITHIN, child.wait()).await;
            let status = ended.with_context(|| format!("the {role} did not stop in time"))??;
            ensure!(status.success(), "the {role} ended with {status}");
        }
        Ok(())
    }
}

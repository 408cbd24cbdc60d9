//! Wires the parts of each role. No other file knows them all.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tidemark_broker::Queue;
use tidemark_console::{Bound, Console, Parts};
use tidemark_finalizer::analyze::Analyzer;
use tidemark_finalizer::daily::DailySummarizer;
use tidemark_finalizer::events::EventListener;
use tidemark_finalizer::finalize::Finalizer;
use tidemark_finalizer::fleet::FleetWatch;
use tidemark_finalizer::prune::Pruner;
use tidemark_finalizer::rescue::Rescuer;
use tidemark_finalizer::webhooks::WebhookDeliverer;
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::DispatchLimits;
use tidemark_postgres::DbPool;
use tidemark_postgres::guarded::wait_for_cancels;
use tidemark_postgres::report::report;
use tidemark_producer::loops::dispatch::Dispatcher;
use tidemark_producer::loops::notices::NoticeListener;
use tidemark_producer::loops::request::RequestPlanner;
use tidemark_producer::loops::sample::Sampler;
use tidemark_producer::loops::schedule::Scheduler;
use tidemark_producer::planning::planner::Planner;
use tidemark_runtime::config::{ProducerSettings, RetentionSettings, WorkerSettings};
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tidemark_runtime::wake::Wakes;
use tidemark_shared::ids::RunId;
use tidemark_source::Sources;
use tidemark_worker::consume::Worker;

use crate::app::App;

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Time for the cancel requests of dropped statements to reach their servers.
const CANCEL_WITHIN: Duration = Duration::from_secs(3);

/// The parts that the roles of one process share.
pub struct Roles {
    pub db: DbPool,
    pub queue: Arc<dyn Queue>,
    pub sources: Arc<Sources>,
    pub lifecycle: Lifecycle,
    pub wakes: Wakes,
    pub instance: String,
    pub host: String,
    pub producer: ProducerSettings,
    pub privacy_key: Option<SecretString>,
    pub webhook_key: Option<SecretString>,
    pub webhook_console_url: Option<String>,
    /// How long a claim is valid without renewal.
    pub lease: Duration,
    /// Only these runs (`--local`); `None`: all.
    pub only: Option<Vec<RunId>>,
}

impl Roles {
    pub fn new(app: &App, db: DbPool, queue: Arc<dyn Queue>, sources: Arc<Sources>) -> Self {
        Self {
            db,
            queue,
            sources,
            lifecycle: Lifecycle::new(),
            wakes: Wakes::default(),
            instance: app.instance.clone(),
            host: app.host.clone(),
            producer: app.settings.producer.clone(),
            privacy_key: app.settings.privacy_key.clone(),
            webhook_key: app.settings.webhook_key.clone(),
            webhook_console_url: app.settings.webhook_console_url.clone(),
            lease: app.settings.worker.lease,
            only: None,
        }
    }

    /// Waits for the stop signal, and then up to `grace` for all tasks to end.
    pub async fn end(&self, grace: Duration) {
        self.lifecycle.finished(grace).await;
        wait_for_cancels(CANCEL_WITHIN).await;
    }

    fn planner(&self) -> Planner {
        Planner {
            db: self.db.clone(),
            sources: Arc::clone(&self.sources),
            settings: self.producer.clone(),
        }
    }

    /// Plans requested runs, and dispatches chunks.
    pub fn spawn_planning(&self) {
        if self.only.is_none() && !self.db.is_behind_pooler() {
            let notices = NoticeListener::new(self.db.clone(), self.producer.tick, self.wakes.clone());
            self.lifecycle
                .spawn("notices", notices.run(self.lifecycle.clone()));
        }
        let requests = RequestPlanner::new(
            self.planner(),
            self.instance.clone(),
            self.wakes.clone(),
            self.only.clone(),
        );
        self.lifecycle
            .spawn("requests", requests.run(self.lifecycle.clone()));
        let dispatcher = Dispatcher::new(
            self.db.clone(),
            Arc::clone(&self.queue),
            DispatchLimits {
                fleet: self.producer.max_in_flight,
                sources: self.sources.limits(),
            },
            self.producer.tick,
            self.wakes.clone(),
            self.only.clone(),
        );
        self.lifecycle
            .spawn("dispatcher", dispatcher.run(self.lifecycle.clone()));
    }

    /// Starts runs of due tenants, and samples the sources.
    pub fn spawn_schedule(&self) {
        let scheduler = Scheduler::new(self.planner(), self.wakes.clone());
        self.lifecycle
            .spawn("scheduler", scheduler.run(self.lifecycle.clone()));
        let sampler = Sampler::new(
            self.db.clone(),
            Arc::clone(&self.sources),
            self.producer.fence_interval,
        );
        self.lifecycle
            .spawn("sampler", sampler.run(self.lifecycle.clone()));
    }

    /// Closes runs, advances watermarks, rescues chunks.
    pub fn spawn_finalizer(&self) {
        let finalizer = Finalizer::new(
            self.db.clone(),
            self.producer.tick,
            self.wakes.clone(),
            self.only.clone(),
        );
        self.lifecycle
            .spawn("finalizer", finalizer.run(self.lifecycle.clone()));
        let rescuer = Rescuer::new(self.db.clone(), &self.producer, self.lease, self.wakes.clone());
        self.lifecycle
            .spawn("rescuer", rescuer.run(self.lifecycle.clone()));
        // a command analyzes before it ends
        if self.only.is_none() {
            let analyzer = Analyzer::new(self.db.clone(), self.wakes.clone());
            self.lifecycle
                .spawn("analyzer", analyzer.run(self.lifecycle.clone()));
            let daily = DailySummarizer::new(self.db.clone());
            self.lifecycle.spawn("daily", daily.run(self.lifecycle.clone()));
            let webhooks = WebhookDeliverer::new(
                self.db.clone(),
                self.producer.tick,
                self.webhook_key.clone(),
                self.webhook_console_url.clone(),
            );
            self.lifecycle
                .spawn("webhooks", webhooks.run(self.lifecycle.clone()));
        }
        // a dispatcher in this process is woken directly
        let others = self.only.is_none().then(|| self.db.clone());
        let events = EventListener::new(Arc::clone(&self.queue), self.wakes.clone(), others);
        self.lifecycle.spawn("events", events.run(self.lifecycle.clone()));
    }

    /// Removes old runs from the ledger.
    pub fn spawn_pruning(&self, keep: RetentionSettings) {
        if keep.prune_every.is_zero() {
            return;
        }
        let pruner = Pruner::new(self.db.clone(), keep);
        self.lifecycle.spawn("pruner", pruner.run(self.lifecycle.clone()));
    }

    pub fn spawn_worker(&self, settings: WorkerSettings) {
        let worker = Worker::new(
            self.db.clone(),
            Arc::clone(&self.queue),
            Arc::clone(&self.sources),
            self.instance.clone(),
            settings,
            self.privacy_key.clone(),
            self.lifecycle.clone(),
        );
        self.lifecycle.spawn("worker", worker.run());
    }

    /// Serves the web console, and says where.
    pub fn spawn_console(&self, app: &App, db: DbPool, bound: Bound) {
        let rabbit = app.rabbit_for_commands();
        let console = Console::new(Parts {
            db,
            settings: Arc::new(app.settings.clone()),
            sources: Arc::clone(&self.sources),
            queue: Arc::clone(&self.queue),
            rabbit,
            tenant_pages: app.tenant_pages(),
            lifecycle: self.lifecycle.clone(),
        });
        tracing::info!(url = bound.url(), "console open");
        bound.serve(&console);
    }

    /// Adds the state of the fleet to the metrics of this process.
    pub fn spawn_fleet_watch(&self, per_tenant: bool) {
        let watch = FleetWatch::new(self.db.clone(), Arc::clone(&self.queue), per_tenant);
        self.lifecycle.spawn("fleet", watch.run(self.lifecycle.clone()));
    }

    /// Writes heartbeats with the HTTP address of this process to the ledger until it stops.
    pub fn spawn_heartbeat(&self, role: &'static str, http_address: Option<String>) {
        let (db, lifecycle) = (self.db.clone(), self.lifecycle.clone());
        let (instance, host) = (self.instance.clone(), self.host.clone());
        let queue = Arc::clone(&self.queue);
        self.lifecycle.spawn("heartbeat", async move {
            // the first heartbeat comes before the worker has subscribed
            let mut trouble = None;
            loop {
                pulse::beat();
                let address = http_address.as_deref();
                if let Err(error) =
                    ledger::process::record_heartbeat(&db, &instance, role, &host, address, trouble).await
                {
                    tracing::debug!(error = %report(&error), "heartbeat not written");
                }
                tokio::select! {
                    () = lifecycle.soft().cancelled() => break,
                    () = tokio::time::sleep(HEARTBEAT) => {}
                }
                let queue = queue.health();
                trouble = match queue.is_ready() {
                    true => None,
                    false if queue.refuses_login => Some(ledger::process::BROKER_REFUSES_LOGIN),
                    false => Some(ledger::process::NO_BROKER),
                };
            }
            if let Err(error) = ledger::process::remove(&db, &instance).await {
                tracing::debug!(error = %report(&error), "process not removed from the list");
            }
        });
    }
}

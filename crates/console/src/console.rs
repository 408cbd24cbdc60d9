//! What every page and action of the console uses.

use std::sync::Arc;

use tidemark_broker::{Queue, RabbitQueue};
use tidemark_postgres::DbPool;
use tidemark_runtime::config::Settings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_source::Sources;
use tokio::sync::Notify;

use crate::auth::attempts::Attempts;
use crate::links::Links;
use crate::pages::on_demand::OnDemand;
use crate::tenant_page::pool::{OpenTenantPages, TenantPages};
use crate::watch::trends::Trends;
use crate::watch::watcher::Watcher;

/// Connects to the broker for a command; the error says why it cannot.
pub type OpenRabbit = Arc<dyn Fn() -> Result<RabbitQueue, String> + Send + Sync>;

/// The parts that the command line wires.
pub struct Parts {
    pub db: DbPool,
    pub settings: Arc<Settings>,
    pub sources: Arc<Sources>,
    pub queue: Arc<dyn Queue>,
    pub rabbit: OpenRabbit,
    pub tenant_pages: OpenTenantPages,
    pub lifecycle: Lifecycle,
}

pub struct Console {
    pub db: DbPool,
    pub settings: Arc<Settings>,
    pub sources: Arc<Sources>,
    pub rabbit: OpenRabbit,
    pub lifecycle: Lifecycle,
    pub(crate) links: Links,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) trends: Trends,
    pub(crate) attempts: Attempts,
    pub(crate) on_demand: OnDemand,
    /// A job on many things was started.
    pub(crate) bulk_wake: Notify,
    pub(crate) tenant_pages: TenantPages,
}

impl Console {
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let watcher = Watcher::new(parts.db.clone(), Arc::clone(&parts.settings), parts.queue);
        Arc::new(Self {
            links: Links::new(&parts.settings.console.path_prefix),
            watcher: Arc::new(watcher),
            trends: Trends::default(),
            attempts: Attempts::default(),
            on_demand: OnDemand::default(),
            bulk_wake: Notify::new(),
            tenant_pages: TenantPages::new(parts.tenant_pages),
            db: parts.db,
            settings: parts.settings,
            sources: parts.sources,
            rabbit: parts.rabbit,
            lifecycle: parts.lifecycle,
        })
    }
}

//! The pool that tenants' pages read with. It is opened when somebody looks, so operators' pages never wait for it.

use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_postgres::DbPool;
use tokio::sync::OnceCell;

use super::numbers::Kept;
/// Opens the pool.
pub type OpenTenantPages = Arc<dyn Fn() -> BoxFuture<'static, Result<DbPool, NoTenantPages>> + Send + Sync>;

/// Why there is no pool for tenants' pages.
#[derive(Debug, Clone)]
pub enum NoTenantPages {
    /// `console.tenant_database_url` is not set.
    NotSet,
    /// The login may not read a tenant's rows, or may do more. The text says what to do.
    Wrong(String),
    /// The database does not answer.
    Away(String),
}

pub struct TenantPages {
    open: OpenTenantPages,
    pool: OnceCell<DbPool>,
    pub numbers: Kept,
}

impl TenantPages {
    pub fn new(open: OpenTenantPages) -> Self {
        Self {
            open,
            pool: OnceCell::new(),
            numbers: Kept::default(),
        }
    }

    /// Opens it at the first call that succeeds.
    pub async fn pool(&self) -> Result<DbPool, NoTenantPages> {
        self.pool.get_or_try_init(|| (self.open)()).await.cloned()
    }
}

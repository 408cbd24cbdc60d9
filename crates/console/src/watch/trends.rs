//! How far behind the tenants were that somebody looks at, for the small pictures in lists. Read at most once a minute, for
//! all tabs together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::lag::{HOURS, Step};

const FRESH: Duration = Duration::from_secs(60);
/// Those that nobody has looked at for so long are forgotten.
const KEPT: Duration = Duration::from_secs(600);
/// Pages do not wait longer for their pictures.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The moves of the last day of each tenant.
pub type Trend = BTreeMap<TenantId, Arc<Vec<Step>>>;

#[derive(Debug)]
struct Entry {
    loaded: Instant,
    steps: Arc<Vec<Step>>,
}

#[derive(Debug, Default)]
pub struct Trends(Mutex<BTreeMap<TenantId, Entry>>);

impl Trends {
    /// Those of these tenants, as far as the ledger answers. Requests that come together share one answer.
    pub async fn load(&self, db: &DbPool, tenants: &[TenantId]) -> Trend {
        let mut known = self.0.lock().await;
        let missing: Vec<TenantId> = tenants
            .iter()
            .filter(|id| known.get(id).is_none_or(|entry| entry.loaded.elapsed() >= FRESH))
            .copied()
            .collect();
        if !missing.is_empty()
            && let Ok(Ok(found)) =
                timeout(ANSWER_WITHIN, ledger::console::view::lag(db, &missing, HOURS)).await
        {
            let mut steps: BTreeMap<TenantId, Vec<Step>> =
                missing.iter().map(|id| (*id, Vec::new())).collect();
            for one in &found {
                steps.entry(one.tenant_id).or_default().push(Step::from(one));
            }
            known.retain(|_, entry| entry.loaded.elapsed() < KEPT);
            known.extend(steps.into_iter().map(|(id, steps)| (id, Entry::of(steps))));
        }
        known_of(&known, tenants)
    }

    /// What was read before, while the ledger is away.
    pub async fn last(&self, tenants: &[TenantId]) -> Trend {
        known_of(&*self.0.lock().await, tenants)
    }
}

impl Entry {
    fn of(steps: Vec<Step>) -> Self {
        Self {
            loaded: Instant::now(),
            steps: Arc::new(steps),
        }
    }
}

fn known_of(known: &BTreeMap<TenantId, Entry>, tenants: &[TenantId]) -> Trend {
    let of = |id: &TenantId| known.get(id).map(|entry| (*id, Arc::clone(&entry.steps)));
    tenants.iter().filter_map(of).collect()
}

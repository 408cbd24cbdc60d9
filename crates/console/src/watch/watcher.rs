//! Reads the ledger while somebody looks, and hands the same snapshot to every stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tidemark_broker::{Queue, QueueDepth};
use tidemark_ledger::DbResult;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::config::Settings;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse;
use tokio::sync::watch;
use tokio::time::timeout;

use super::history::{History, Point};
use super::interest::Interest;
use super::snapshot::Snapshot;

/// Pause between two looks, and at least so many times as long as a look took.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_FACTOR: u32 = 5;
/// A page takes a snapshot that is not older, or the last one while the next is not due yet.
const FRESH: Duration = Duration::from_secs(3);
/// The ledger counts as away without an answer for so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const BROKER_WITHIN: Duration = Duration::from_secs(2);
const IDLE_TURN: Duration = Duration::from_secs(30);

/// What a page shows: the last snapshot, and whether the ledger answers.
#[derive(Debug, Clone)]
pub struct Look {
    pub snapshot: Arc<Snapshot>,
    loaded: Instant,
    /// How long it took.
    took: Duration,
    /// The ledger did not answer the last time.
    pub is_away: bool,
}

impl Look {
    /// The ledger's clock now, as far as this process can tell.
    pub fn now(&self) -> DateTime<Utc> {
        self.snapshot.at + TimeDelta::from_std(self.loaded.elapsed()).unwrap_or_default()
    }
}

pub struct Watcher {
    db: DbPool,
    settings: Arc<Settings>,
    queue: Arc<dyn Queue>,
    pub interest: Arc<Interest>,
    looks: watch::Sender<Option<Look>>,
    history: Mutex<History>,
    loading: tokio::sync::Mutex<()>,
    /// No look has succeeded since the begin, and one has failed.
    is_failing: AtomicBool,
}

impl Watcher {
    pub fn new(db: DbPool, settings: Arc<Settings>, queue: Arc<dyn Queue>) -> Self {
        Self {
            db,
            settings,
            queue,
            interest: Arc::default(),
            looks: watch::Sender::new(None),
            history: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            is_failing: AtomicBool::default(),
        }
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Look>> {
        self.looks.subscribe()
    }

    /// The ledger has not answered yet, although somebody asked.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// A fresh look. While the ledger is away: the last one, if there is one.
    pub async fn look(&self) -> DbResult<Look> {
        if let Some(look) = self.fresh() {
            return Ok(look);
        }
        // requests that come together share one look
        let _loading = self.loading.lock().await;
        match self.fresh() {
            Some(look) => Ok(look),
            None => self.load().await,
        }
    }

    /// A look that was taken after this call, for the page after a change.
    pub async fn look_again(&self) -> DbResult<Look> {
        let _loading = self.loading.lock().await;
        self.load().await
    }

    pub fn history(&self) -> Vec<Point> {
        self.history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .points()
    }

    fn fresh(&self) -> Option<Look> {
        let look = self.looks.borrow().clone()?;
        let is_fresh = look.loaded.elapsed() < FRESH.max(look.took.saturating_mul(PAUSE_FACTOR + 1));
        (!look.is_away && is_fresh).then_some(look)
    }

    async fn load(&self) -> DbResult<Look> {
        let began = Instant::now();
        let watched = self.interest.runs();
        let reading = Snapshot::load(&self.db, &self.settings, &watched);
        let (read, queues) = tokio::join!(timeout(ANSWER_WITHIN, reading), self.queues());
        let read = read.unwrap_or_else(|_| {
            Err(tidemark_ledger::DbError {
                attempted: "load the status",
                source: sqlx::Error::PoolTimedOut,
            })
        });
        match read {
            Ok(snapshot) => {
                let snapshot = Arc::new(Snapshot { queues, ..snapshot });
                let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
                history.add(&snapshot);
                drop(history);
                let look = Look {
                    snapshot,
                    loaded: Instant::now(),
                    took: began.elapsed(),
                    is_away: false,
                };
                self.looks.send_replace(Some(look.clone()));
                Ok(look)
            }
            Err(error) => {
                tracing::debug!(error = %report(&error), "status not read");
                let last = self.looks.borrow().clone();
                let Some(last) = last else {
                    // streams that wait for the first look are told
                    self.is_failing.store(true, Ordering::Relaxed);
                    self.looks.send_replace(None);
                    return Err(error);
                };
                let look = Look {
                    is_away: true,
                    ..last
                };
                self.looks.send_replace(Some(look.clone()));
                Ok(look)
            }
        }
    }

    async fn queues(&self) -> Option<Vec<QueueDepth>> {
        timeout(BROKER_WITHIN, self.queue.depths()).await.ok()?.ok()
    }

    /// Looks every two seconds while somebody looks, until the soft stop.
    pub async fn run(&self, lifecycle: &Lifecycle) {
        loop {
            pulse::beat();
            let mut pause = IDLE_TURN;
            if self.interest.is_any() {
                let began = Instant::now();
                let _loading = self.loading.lock().await;
                // a failed look keeps the last one, marked as away
                let away = self.load().await.map_or(true, |look| look.is_away);
                pause = PAUSE.max(began.elapsed().saturating_mul(PAUSE_FACTOR));
                if away {
                    pause = PAUSE;
                }
            }
            let begins = async {
                // a stream that begins while others are open gets the last look
                if pause == IDLE_TURN {
                    self.interest.begins().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = lifecycle.soft().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = begins => {}
            }
        }
    }
}

//! Uses a connection again that is about to be free, instead of opening another one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::task::yield_now;
use tokio::time::sleep;

/// How often a task lets others go on, so that the driver's task for a connection that was just dropped begins.
const YIELDS_TO_BEGIN: u32 = 8;
/// How often a waiting task lets others go on before it sleeps. A server nearby answers within a part of that time.
const YIELDS: u32 = 64;
/// How much longer opening a session takes than its first statements: the server starts a process, and login takes more round trips.
const OPENING: u32 = 3;
/// Commands have mostly ended by then. A process that goes on opens as many sessions as it uses at a time, and never waits again.
const COMMAND: Duration = Duration::from_secs(10);
/// The shortest sleep of the runtime's timer.
const SLEEP: Duration = Duration::from_millis(1);

/// What a pool knows about connections that are given back. The driver checks each of them with a round trip, in a task of its own,
/// before it is free. A caller that asks for the next one at once would get a new session meanwhile, which takes many round trips and
/// costs the server more than most statements.
#[derive(Debug)]
pub(crate) struct Returns {
    began: Instant,
    /// Microseconds after `began`.
    last: AtomicU64,
    /// Microseconds that opening a session takes, estimated from its first statements.
    patience: AtomicU64,
}

impl Default for Returns {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            patience: AtomicU64::new(0),
        }
    }
}

impl Returns {
    pub fn connected(&self, first_statements: Duration) {
        self.patience
            .store(micros(first_statements * OPENING), Ordering::Relaxed);
    }

    pub fn released(&self) {
        self.last.store(micros(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Waits while the pool has no free connection, could open another one, and has just been given one back. Only at first: see
    /// [`COMMAND`].
    pub async fn wait(&self, pool: &PgPool) {
        let mut yields = 0;
        while self.began.elapsed() < COMMAND
            && needs_another(pool)
            && (yields < YIELDS_TO_BEGIN || self.is_one_returning())
        {
            if yields < YIELDS {
                yields += 1;
                yield_now().await;
            } else {
                sleep(SLEEP).await;
            }
        }
    }

    fn is_one_returning(&self) -> bool {
        let since = micros(self.began.elapsed()).saturating_sub(self.last.load(Ordering::Relaxed));
        since < self.patience.load(Ordering::Relaxed)
    }
}

fn needs_another(pool: &PgPool) -> bool {
    pool.num_idle() == 0 && (1..pool.options().get_max_connections()).contains(&pool.size())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

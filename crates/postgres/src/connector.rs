//! Connections to one database: to the host of its URL that has what sessions need, with the password that the URL's
//! file has now.
//!
//! The driver's pool knows one host. So the pool gets the options of the host in use, and new ones when another host
//! takes over or the file has changed. A connection that is older than the change of the host is closed instead of
//! being used again.

use std::fmt;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, raw_sql};
use tidemark_net::tls::Exposure;
use tidemark_net::url::{ServerUrl, server_name};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::connect::without_cache;
use crate::error::{ConnectError, connect_error};
use crate::fault::{ConnectFault, refuses_login};
use crate::hosts::{Hosts, Role, Wanted, connect_to};
use crate::returns::Returns;
use crate::sqlstate::control_failure_kind;

/// For one host, when it is the only one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For all of several hosts together; a pool waits ten seconds for a connection.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(8);
/// For one of several hosts, at most.
const HOST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a pool may take for a connection before the other hosts are asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a session that is in use is asked whether its server still takes writes.
const ROLE_CHECK_EVERY: Duration = Duration::from_secs(1);

/// A connection that was used this recently is not pinged, which saves a round trip.
const RECENTLY_USED: Duration = Duration::from_secs(1);

/// The first statements of a session.
pub type BeginSession = fn(&mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>>;

type AddSettings = dyn Fn(PgConnectOptions) -> PgConnectOptions + Send + Sync;

/// How to connect to a database. Holds the password.
pub struct Connector {
    label: &'static str,
    server: String,
    url: ServerUrl,
    /// Sessions write, so a server that refuses writes is left.
    writes: bool,
    session: Box<AddSettings>,
    known: RwLock<Known>,
    /// Grows whenever sessions are opened otherwise than before.
    generation: watch::Sender<u64>,
    /// One search for a host at a time.
    searching: Mutex<()>,
    /// A session was found on a server that is not what the URL asks for.
    is_misled: AtomicBool,
    began: Instant,
    /// Milliseconds after `began`.
    role_checked_at: AtomicU64,
}

/// The newest text of the URL, and where it leads.
struct Known {
    text: SecretString,
    hosts: Arc<Hosts>,
    /// The host in use; `None` until it is found.
    current: Option<usize>,
    /// Connections from before this moment lead to another server.
    moved_at: Option<Instant>,
}

impl Connector {
    /// Reads the URL without connecting. `writes`: its sessions write. `session` adds the settings of a session.
    ///
    /// # Errors
    /// When the URL cannot be used, or a file that it names cannot be read.
    pub fn new(
        url: &ServerUrl,
        label: &'static str,
        writes: bool,
        session: impl Fn(PgConnectOptions) -> PgConnectOptions + Send + Sync + 'static,
    ) -> Result<Self, ConnectError> {
        let hosts = Arc::new(Hosts::parse(url.secret(), label, writes)?);
        Ok(Self {
            label,
            server: server_name(url),
            url: url.clone(),
            writes,
            session: Box::new(session),
            known: RwLock::new(Known {
                text: url.secret().clone(),
                current: (!hosts.has_choice()).then_some(0),
                hosts,
                moved_at: None,
            }),
            generation: watch::Sender::new(0),
            searching: Mutex::new(()),
            is_misled: AtomicBool::new(false),
            began: Instant::now(),
            role_checked_at: AtomicU64::new(0),
        })
    }

    /// Hosts, ports and database, for display.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What an attacker on the way to the least protected host could do.
    #[must_use]
    pub fn exposure(&self) -> Option<Exposure> {
        self.known().hosts.exposure()
    }

    /// Opens one connection, to find out at once whether it works, and why not.
    ///
    /// # Errors
    /// With the server's name, never its password.
    pub async fn probe(&self) -> Result<PgConnection, ConnectError> {
        self.probe_with(|options| options).await
    }

    /// [`Self::probe`] with other settings of the session.
    pub async fn probe_with(
        &self,
        adapt: impl Fn(PgConnectOptions) -> PgConnectOptions + Sync,
    ) -> Result<PgConnection, ConnectError> {
        let connected = match self.read_again() {
            Ok(_) => self
                .connect(&self.hosts(), &adapt)
                .await
                .map(|(_, connection)| connection),
            Err(fault) => Err(fault),
        };
        connected.map_err(|source| {
            let is_plain = self.exposure() == Some(Exposure::Plain);
            connect_error(is_plain, self.label, self.server.clone(), source)
        })
    }

    /// Opens one connection through a pooler, in a transaction that can only be dropped.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub async fn probe_pooler(&self) -> Result<PgConnection, ConnectError> {
        let mut connection = self.probe_with(without_cache).await?;
        raw_sql("BEGIN READ ONLY; DEALLOCATE ALL")
            .execute(&mut connection)
            .await
            .map_err(|error| self.unreachable(error))?;
        Ok(connection)
    }

    pub(crate) fn unreachable(&self, source: sqlx::Error) -> ConnectError {
        ConnectError::Unreachable {
            label: self.label,
            server: self.server.clone(),
            source,
        }
    }

    /// A pool of such connections; it opens none yet.
    pub(crate) fn lazy_pool(
        self: &Arc<Self>,
        options: PgPoolOptions,
        begin: Option<BeginSession>,
        begins: &Arc<AtomicBool>,
        returns: &Arc<Returns>,
    ) -> PgPool {
        let (opened, reused, begins) = (Arc::clone(self), Arc::clone(self), Arc::clone(begins));
        let (connected, released) = (Arc::clone(returns), Arc::clone(returns));
        options
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let (connector, returns) = (Arc::clone(&opened), Arc::clone(&connected));
                let begin = begin.filter(|_| begins.load(Ordering::Acquire));
                async move {
                    connector.check_new(connection).await?;
                    let began = Instant::now();
                    if let Some(begin) = begin {
                        begin(connection).await?;
                    }
                    returns.connected(began.elapsed());
                    Ok(())
                }
                .boxed()
            })
            .after_release(move |_, _| {
                released.released();
                ready(Ok(true)).boxed()
            })
            .before_acquire(move |connection, meta| {
                let connector = Arc::clone(&reused);
                async move {
                    if connector
                        .known()
                        .moved_at
                        .is_some_and(|at| meta.age > at.elapsed())
                    {
                        return Ok(false);
                    }
                    if meta.idle_for > RECENTLY_USED {
                        connection.ping().await?;
                    }
                    connector.check_used(connection).await
                }
                .boxed()
            })
            .connect_lazy_with(self.options())
    }

    /// A connection of the pool, whose options `applied` belong to. Looks for the host and reads the URL's file as
    /// needed.
    pub(crate) async fn acquire(
        &self,
        pool: &PgPool,
        applied: &AtomicU64,
    ) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        // nothing can change
        if self.url.file().is_none() && !self.has_choice() {
            return pool.acquire().await.map_err(|error| self.explain(error));
        }
        // a search and the pool each have a limit; together they keep the pool's
        let limit = pool.options().get_acquire_timeout();
        // boxed: a search is rare, and every future that acquires a connection would hold its size
        Box::pin(timeout(limit, self.acquire_within(pool, applied)))
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|error| self.explain(error))
    }

    async fn acquire_within(
        &self,
        pool: &PgPool,
        applied: &AtomicU64,
    ) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut tries_left = 3_u8;
        loop {
            if pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections() {
                self.read_again()?;
            }
            let seen = self.generation();
            if self.known().current.is_none() {
                self.search(seen).await?;
                continue;
            }
            if applied.swap(seen, Ordering::AcqRel) != seen {
                pool.set_connect_options(self.options());
            }
            let acquired = self.acquire_or_search(pool, seen).await;
            tries_left = tries_left.saturating_sub(1);
            if tries_left == 0 {
                return acquired.unwrap_or_else(|| Err(sqlx::Error::PoolTimedOut));
            }
            match acquired {
                // another host took over while the pool waited for the old one
                None => {}
                Some(Ok(connection)) => {
                    let is_misled = self.is_misled.swap(false, Ordering::AcqRel);
                    let is_late = self.generation() != seen;
                    if !(is_late || is_misled && self.search(seen).await?) {
                        return Ok(connection);
                    }
                    // dropping it alone would return it to the pool
                    drop(connection.detach());
                }
                Some(Err(error)) => {
                    let is_changed = if refuses_login(&error) {
                        // the file has changed since it was read, or an idle connection was replaced
                        self.read_again()? || self.generation() != seen
                    } else {
                        self.has_choice() && self.search(seen).await?
                    };
                    if !is_changed {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// `None` when another host is in use since the pool began to wait.
    async fn acquire_or_search(
        &self,
        pool: &PgPool,
        seen: u64,
    ) -> Option<Result<PoolConnection<Postgres>, sqlx::Error>> {
        let mut acquiring = pin!(pool.acquire());
        if self.has_choice() {
            match timeout(PATIENCE, &mut acquiring).await {
                Ok(answer) => return Some(answer),
                Err(_) => match self.search(seen).await {
                    Ok(true) => return None,
                    Ok(false) => {}
                    Err(error) => return Some(Err(error)),
                },
            }
        }
        Some(acquiring.await)
    }

    /// Ends when sessions are opened on another server or with another password than at this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut generation = self.generation.subscribe();
        async move {
            // the sender lives as long as the pool
            drop(generation.changed().await);
        }
    }

    /// Reads the file of the URL, and says whether it has changed.
    fn read_again(&self) -> Result<bool, sqlx::Error> {
        let Some(text) = self
            .url
            .read_again()
            .map_err(|cause| ConnectFault::File { cause })?
        else {
            return Ok(false);
        };
        if text.expose_secret() == self.known().text.expose_secret() {
            return Ok(false);
        }
        let hosts = Hosts::parse(&text, self.label, self.writes).map_err(|_| ConnectFault::Url {
            path: self.url.file().unwrap_or(std::path::Path::new("")).to_owned(),
        })?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !hosts.are_at(&known.hosts) {
            known.current = (!hosts.has_choice()).then_some(0);
            known.moved_at = Some(Instant::now());
        }
        known.text = text;
        known.hosts = Arc::new(hosts);
        drop(known);
        self.advance();
        Ok(true)
    }

    /// Finds the host to use, unless another task has found one since `seen`. Says whether sessions are opened
    /// otherwise now.
    async fn search(&self, seen: u64) -> Result<bool, sqlx::Error> {
        let _one = self.searching.lock().await;
        if self.generation() != seen && self.known().current.is_some() {
            return Ok(true);
        }
        self.read_again()?;
        let hosts = self.hosts();
        let (index, connection) = self.connect(&hosts, &|options| options).await?;
        // only a question; an error while closing changes nothing
        drop(connection.close().await);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.hosts, &hosts) {
            return Ok(true);
        }
        if known.current == Some(index) {
            return Ok(self.generation() != seen);
        }
        if known.current.is_some() {
            known.moved_at = Some(Instant::now());
            tracing::info!(
                database = self.label,
                host = hosts.all[index].name,
                "another host is used"
            );
        }
        known.current = Some(index);
        drop(known);
        self.advance();
        Ok(true)
    }

    /// Connects to the first host, in their order, that has what the URL asks for. As with libpq, a host that refuses
    /// the login ends the search.
    async fn connect(
        &self,
        hosts: &Hosts,
        adapt: &(dyn Fn(PgConnectOptions) -> PgConnectOptions + Sync),
    ) -> Result<(usize, PgConnection), sqlx::Error> {
        let count = u32::try_from(hosts.all.len()).unwrap_or(u32::MAX);
        let limit = match count {
            1 => CONNECT_TIMEOUT,
            _ => HOST_TIMEOUT.min(SEARCH_TIMEOUT / count),
        };
        let mut tried = Vec::new();
        let mut second_best = None;
        for (index, host) in hosts.all.iter().enumerate() {
            let options = adapt((self.session)(host.options.clone()));
            match connect_to(&options, hosts.wanted, limit).await {
                Ok((connection, role)) => {
                    let is_standby = role.is_some_and(|role| role.in_recovery);
                    if hosts.wanted == Wanted::PreferStandby && !is_standby {
                        second_best.get_or_insert((index, connection));
                    } else if role.is_none_or(|role| hosts.wanted.accepts(role)) {
                        return Ok((index, connection));
                    } else {
                        let role = role.map_or("another", Role::as_str);
                        tried.push(format!("{} is {role}", host.name));
                    }
                }
                Err(error) if !hosts.has_choice() => return Err(error),
                Err(error) if refuses_login(&error) => return Err(error),
                Err(error) if !control_failure_kind(&error).passes_by_itself() => return Err(error),
                Err(error) => tried.push(format!("{}: {error}", host.name)),
            }
        }
        let wanted = hosts.wanted.as_str();
        second_best.ok_or_else(|| ConnectFault::NoHost { wanted, tried }.into())
    }

    /// Asks a new session's server what it is, where the URL asks for a kind.
    async fn check_new(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let wanted = self.known().hosts.wanted;
        if wanted != Wanted::Any && !wanted.accepts(Role::read(connection).await?) {
            self.is_misled.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Asks now and then whether the server of a session in use is still what it was; `false` closes the connection.
    async fn check_used(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let wanted = self.known().hosts.wanted;
        if !self.writes && wanted == Wanted::Any {
            return Ok(true);
        }
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.role_checked_at.load(Ordering::Relaxed);
        let every = u64::try_from(ROLE_CHECK_EVERY.as_millis()).unwrap_or(u64::MAX);
        if now.saturating_sub(last) < every {
            return Ok(true);
        }
        self.role_checked_at.store(now, Ordering::Relaxed);
        let role = Role::read(connection).await?;
        if !wanted.accepts(role) {
            self.is_misled.store(true, Ordering::Release);
        }
        // behind one name there may be another server now
        Ok(self.has_choice() || !role.is_read_only())
    }

    /// Says in a running process what a refused login means.
    fn explain(&self, error: sqlx::Error) -> sqlx::Error {
        if !refuses_login(&error) {
            return error;
        }
        ConnectFault::Login {
            file: self.url.file().map(std::path::Path::to_owned),
            cause: Box::new(error),
        }
        .into()
    }

    fn has_choice(&self) -> bool {
        self.known().hosts.has_choice()
    }

    fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.known().hosts)
    }

    /// The options of the host in use, with the settings of a session.
    fn options(&self) -> PgConnectOptions {
        let known = self.known();
        let host = &known.hosts.all[known.current.unwrap_or(0)];
        (self.session)(host.options.clone())
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    fn advance(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// No code panics while it holds this lock.
    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

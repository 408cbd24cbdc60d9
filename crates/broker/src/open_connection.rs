//! A connection that is closed by the protocol, also when it is dropped. RabbitMQ logs a warning for a client that only ends
//! its TCP connection.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::{Channel, Connection};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// For the broker's answer. A broker that is short of memory or disk does not read what its publishers send.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// The connections of one client that are being opened or closed. The process must not end before them.
#[derive(Debug, Clone)]
pub(super) struct Transitions(TaskTracker);

impl Transitions {
    pub fn new() -> Self {
        let tasks = TaskTracker::new();
        // lets `wait` return whenever there is no task; more tasks may follow
        tasks.close();
        Self(tasks)
    }

    /// Opens a connection in a task of its own: a caller that is dropped meanwhile leaves no half-open connection.
    pub async fn open<E: Send + 'static>(
        &self,
        opening: impl Future<Output = Result<Connection, E>> + Send + 'static,
    ) -> Result<OpenConnection, E> {
        let transitions = self.clone();
        let (sender, receiver) = oneshot::channel();
        self.0.spawn(async move {
            let opened = opening.await.map(|connection| OpenConnection {
                connection: Some(connection),
                channels: Mutex::default(),
                transitions,
            });
            // the caller has given up: close the connection before this task ends
            drop(sender.send(opened));
        });
        receiver.await.expect("opening a connection does not panic")
    }

    /// Waits until the connections that were dropped are closed.
    pub async fn wait(&self) {
        if timeout(CLOSE_WITHIN, self.0.wait()).await.is_err() {
            tracing::debug!("some connections were not closed in time");
        }
    }
}

/// An open connection. Dropping it closes it in the background.
pub(super) struct OpenConnection {
    /// Only `drop` takes it out.
    connection: Option<Connection>,
    /// Its channels. A channel that is dropped while its connection is being closed breaks the connection.
    channels: Mutex<Vec<Channel>>,
    transitions: Transitions,
}

impl OpenConnection {
    /// Opens a channel that stays open for as long as the connection.
    pub async fn create_channel(&self) -> lapin::Result<Channel> {
        let channel = (**self).create_channel().await?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.push(channel.clone());
        Ok(channel)
    }
}

impl Deref for OpenConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take().filter(|one| one.status().connected()) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let channels = std::mem::take(&mut *self.channels.lock().unwrap_or_else(PoisonError::into_inner));
        let closing = async move {
            match timeout(CLOSE_WITHIN, connection.close(200, "done".into())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "connection not closed"),
                Err(_) => tracing::debug!("connection not closed in time"),
            }
            drop(channels);
        };
        self.transitions.0.spawn_on(closing, &runtime);
    }
}

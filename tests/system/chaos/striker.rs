//! Where faults happen: servers, connections and processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use super::fault::{Fault, Role, Site};
use super::fleet::SupervisedFleet;
use crate::proxy::Proxy;
use crate::servers::Server;
use crate::stage::{Process, Servers, Signal, Stage};

/// A server of this test alone, behind a proxy.
pub struct ProxiedServer {
    pub server: Server,
    pub proxy: Proxy,
}

impl ProxiedServer {
    pub async fn new(server: Server) -> Result<Self> {
        let proxy = Proxy::before(&server.url()?).await?;
        Ok(Self { server, proxy })
    }
}

pub struct ProxiedServers {
    pub broker: ProxiedServer,
    pub ledger: ProxiedServer,
    pub source: ProxiedServer,
}

impl ProxiedServers {
    pub async fn build() -> Result<Self> {
        let (broker, ledger, source) =
            tokio::try_join!(Server::rabbitmq(), Server::postgres(), Server::postgres())?;
        Ok(Self {
            broker: ProxiedServer::new(broker).await?,
            ledger: ProxiedServer::new(ledger).await?,
            source: ProxiedServer::new(source).await?,
        })
    }

    /// The servers without their proxies.
    pub fn urls(&self) -> Result<Servers> {
        Ok(Servers {
            source: self.source.server.url()?,
            target: self.ledger.server.url()?,
            amqp: self.broker.server.url()?,
        })
    }

    fn at(&self, site: Site) -> &ProxiedServer {
        match site {
            Site::Broker => &self.broker,
            Site::Ledger => &self.ledger,
            Site::Source => &self.source,
        }
    }
}

/// How a fault ends.
enum Recovery {
    Start(Role),
    Thaw(Role, Box<Process>),
    Repair(Site),
}

pub struct Striker<'a> {
    stage: Arc<Stage>,
    servers: &'a ProxiedServers,
    pub fleet: SupervisedFleet,
    rng: StdRng,
    later: Vec<(Instant, Recovery)>,
    pub faults: BTreeMap<Fault, u64>,
}

impl<'a> Striker<'a> {
    pub const fn new(
        stage: Arc<Stage>,
        servers: &'a ProxiedServers,
        fleet: SupervisedFleet,
        rng: StdRng,
    ) -> Self {
        Self {
            stage,
            servers,
            fleet,
            rng,
            later: Vec::new(),
            faults: BTreeMap::new(),
        }
    }

    /// One fault after the other. Between them, earlier faults end when they are due.
    pub async fn strike_for(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            let fault = Fault::draw(&mut self.rng);
            if self.strike(fault).await? {
                *self.faults.entry(fault).or_default() += 1;
            }
            // the pause between two faults: nothing waits for it
            tokio::time::sleep(self.between(100, 1_000)).await;
            self.recover(Instant::now()).await?;
            self.fleet.supervise()?;
        }
        Ok(())
    }

    /// Ends every fault.
    pub async fn end_all_faults(&mut self) -> Result<()> {
        let last = self.later.iter().map(|(at, _)| *at).max();
        self.recover(last.unwrap_or_else(Instant::now)).await?;
        for site in [Site::Broker, Site::Ledger, Site::Source] {
            self.repair(site);
        }
        self.fleet.supervise()
    }

    async fn recover(&mut self, now: Instant) -> Result<()> {
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, recovery) in due {
            match recovery {
                Recovery::Start(role) => self.fleet.add(role)?,
                Recovery::Thaw(role, process) => {
                    process.signal(Signal::CONT)?;
                    self.fleet.put_back(role, *process);
                }
                Recovery::Repair(site) => self.repair(site),
            }
        }
        Ok(())
    }

    fn repair(&self, site: Site) {
        let proxy = &self.servers.at(site).proxy;
        proxy.refuse(false);
        proxy.delay(Duration::ZERO);
        proxy.cut();
    }

    /// Returns `false` if there was nothing to strike.
    async fn strike(&mut self, fault: Fault) -> Result<bool> {
        match fault {
            Fault::Kill(role) | Fault::Terminate(role) | Fault::Freeze(role) => {
                return self.strike_process(fault, role).await;
            }
            Fault::Cut(site) => self.servers.at(site).proxy.cut(),
            Fault::Stall(site) => {
                self.servers.at(site).proxy.strand();
                self.repair_later(site);
            }
            Fault::HalfClose(site) => {
                self.servers.at(site).proxy.half_close();
                self.repair_later(site);
            }
            Fault::Delay(site) => {
                let delay = self.between(20, 300);
                self.servers.at(site).proxy.delay(delay);
                self.repair_later(site);
            }
            Fault::Refuse(site) => {
                self.servers.at(site).proxy.refuse(true);
                self.servers.at(site).proxy.cut();
                self.repair_later(site);
            }
            Fault::Restart(Site::Broker) => self.broker_ctl(&["stop_app", "start_app"]).await?,
            Fault::Empty => self.broker_ctl(&["stop_app", "reset", "start_app"]).await?,
            Fault::Restart(site) => {
                self.servers.at(site).server.stop().await?;
                self.servers.at(site).server.start().await?;
            }
            Fault::Crash(site) => {
                self.servers.at(site).server.crash().await?;
                self.servers.at(site).server.start().await?;
            }
            Fault::Purge => {
                let queue = self.a_queue();
                return Ok(self.stage.purge(queue).await.is_ok());
            }
            Fault::Delete => {
                let queue = self.a_queue();
                return Ok(self.stage.delete_queue(queue).await.is_ok());
            }
        }
        Ok(true)
    }

    async fn strike_process(&mut self, fault: Fault, role: Role) -> Result<bool> {
        let Some(process) = self.fleet.take(role, &mut self.rng) else {
            return Ok(false);
        };
        if let Fault::Freeze(_) = fault {
            process.signal(Signal::STOP)?;
            let thaw = Instant::now() + self.between(500, 6_000);
            self.later.push((thaw, Recovery::Thaw(role, Box::new(process))));
            return Ok(true);
        }
        if let Fault::Kill(_) = fault {
            process.kill().await?;
        } else {
            process.terminate().await?;
        }
        let start = Instant::now() + self.between(0, 2_000);
        self.later.push((start, Recovery::Start(role)));
        Ok(true)
    }

    async fn broker_ctl(&self, verbs: &[&str]) -> Result<()> {
        for verb in verbs {
            self.servers.broker.server.ctl(&[verb]).await?;
        }
        Ok(())
    }

    fn repair_later(&mut self, site: Site) {
        let at = Instant::now() + self.between(500, 5_000);
        self.later.push((at, Recovery::Repair(site)));
    }

    fn a_queue(&mut self) -> &'static str {
        ["chunks.live", "chunks.bulk", "events"]
            .choose(&mut self.rng)
            .expect("there are queues")
    }

    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least_ms..=most_ms))
    }
}

//! The processes that chaos strikes: a process that ends is replaced.

use std::sync::Arc;

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;

use super::fault::Role;
use crate::stage::{Process, Stage};

pub const PRODUCERS: u32 = 2;
pub const WORKERS: u32 = 3;
pub const FINALIZERS: u32 = 2;

pub struct SupervisedFleet {
    stage: Arc<Stage>,
    settings: Vec<(&'static str, String)>,
    members: Vec<(Role, Process)>,
    /// Processes that ended without a signal.
    pub ended_by_themselves: u64,
}

impl SupervisedFleet {
    pub fn start(stage: Arc<Stage>, settings: Vec<(&'static str, String)>) -> Result<Self> {
        let mut fleet = Self {
            stage,
            settings,
            members: Vec::new(),
            ended_by_themselves: 0,
        };
        for (role, count) in [
            (Role::Producer, PRODUCERS),
            (Role::Worker, WORKERS),
            (Role::Finalizer, FINALIZERS),
        ] {
            for _ in 0..count {
                fleet.add(role)?;
            }
        }
        Ok(fleet)
    }

    /// Starts one more process of this role.
    pub fn add(&mut self, role: Role) -> Result<()> {
        let settings: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let process = self.stage.start_with(&[&role.to_string()], &settings)?;
        self.members.push((role, process));
        Ok(())
    }

    /// Takes a random process of this role out of the fleet; `None` if there is none.
    pub fn take(&mut self, role: Role, rng: &mut StdRng) -> Option<Process> {
        let candidates: Vec<usize> = (0..self.members.len())
            .filter(|member| self.members[*member].0 == role)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let chosen = candidates[rng.random_range(0..candidates.len())];
        Some(self.members.swap_remove(chosen).1)
    }

    /// Returns a process that was taken out.
    pub fn put_back(&mut self, role: Role, process: Process) {
        self.members.push((role, process));
    }

    /// Replaces processes that have ended, as a supervisor would.
    pub fn supervise(&mut self) -> Result<()> {
        for member in (0..self.members.len()).rev() {
            if let Some(code) = self.members[member].1.exit_code()? {
                let (role, _) = self.members.swap_remove(member);
                eprintln!("a {role} ended by itself with {code}");
                self.ended_by_themselves += 1;
                self.add(role)?;
            }
        }
        Ok(())
    }

    /// SIGTERM to all processes; each must end with exit code 0.
    pub async fn stop(self) -> Result<()> {
        let mut fleet = self.stage.fleet(&[])?;
        for (_, process) in self.members {
            fleet.take_in(process);
        }
        fleet.stop().await
    }
}

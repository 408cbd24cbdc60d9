//! The long-running processes of a test. All of them must stop cleanly, which is asserted here and nowhere else.

use anyhow::Result;

use super::{Process, Signal, Stage};

/// Processes that are stopped together. All have the same settings.
pub struct Fleet<'a> {
    stage: &'a Stage,
    settings: Vec<(&'a str, &'a str)>,
    processes: Vec<Process>,
}

impl Stage {
    /// Starts one process for each command, such as `worker --concurrency 2`.
    pub fn fleet(&self, commands: &[&str]) -> Result<Fleet<'_>> {
        self.fleet_with(commands, &[])
    }

    /// Starts one process for each command, all with these settings.
    pub fn fleet_with<'a>(&'a self, commands: &[&str], settings: &[(&'a str, &'a str)]) -> Result<Fleet<'a>> {
        let mut fleet = Fleet {
            stage: self,
            settings: settings.to_vec(),
            processes: Vec::new(),
        };
        for command in commands {
            fleet.add(command)?;
        }
        Ok(fleet)
    }
}

impl Fleet<'_> {
    /// Starts one more process.
    pub fn add(&mut self, command: &str) -> Result<()> {
        let args: Vec<&str> = command.split_whitespace().collect();
        self.take_in(self.stage.start_with(&args, &self.settings)?);
        Ok(())
    }

    /// Stops this process with the others.
    pub fn take_in(&mut self, process: Process) {
        self.processes.push(process);
    }

    /// Waits until every process has started. Before that, a lock on the tenants' rows would block it.
    pub async fn until_started(&self) -> Result<()> {
        self.stage.until_started(self.processes.len()).await
    }

    /// SIGTERM to all processes; each must end with exit code 0.
    pub async fn stop(self) -> Result<()> {
        for process in &self.processes {
            process.signal(Signal::TERM)?;
        }
        for process in self.processes {
            process.finish().await?;
        }
        Ok(())
    }
}

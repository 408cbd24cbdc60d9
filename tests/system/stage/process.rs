//! One running `tidemark`, and how it ends.

use anyhow::{Context, Result, ensure};
pub use rustix::process::Signal;
use tokio::process::Child;

use super::wait::WAIT_LIMIT;

/// A running `tidemark`; killed when dropped.
pub struct Process {
    command: String,
    child: Child,
}

impl Process {
    pub(super) fn new(args: &[&str], child: Child) -> Self {
        Self {
            command: args.join(" "),
            child,
        }
    }

    /// SIGTERM; the process must end with exit code 0.
    pub async fn stop(self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.finish().await
    }

    /// Waits until the process ends by itself, which must be with exit code 0.
    pub async fn finish(self) -> Result<()> {
        let command = self.command.clone();
        let code = self.wait().await?;
        ensure!(code == 0, "`{command}` ended with exit code {code}");
        Ok(())
    }

    /// SIGTERM; returns the exit code.
    pub async fn terminate(self) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.wait().await
    }

    /// Waits until the process ends by itself; returns the exit code.
    pub async fn wait(mut self) -> Result<i32> {
        let status = tokio::time::timeout(WAIT_LIMIT, self.child.wait())
            .await
            .with_context(|| format!("`{}` does not end", self.command))??;
        Ok(status.code().unwrap_or(-1))
    }

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends a signal: SIGSTOP freezes the process and SIGCONT lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self
            .child
            .id()
            .with_context(|| format!("`{}` has ended already", self.command))?;
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).context("a process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// The exit code, if the process has ended.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        let status = self.child.try_wait()?;
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }
}

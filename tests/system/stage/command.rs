//! The `tidemark` commands of a test, run to their end.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::wait::WAIT_LIMIT;
use super::{Process, Stage};

/// The output of a command that has ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// Stdout, which must be JSON; the last document, if there are several.
    pub fn json(&self) -> Value {
        self.documents()
            .pop()
            .unwrap_or_else(|| panic!("no JSON in {self:?}"))
    }

    /// The JSON documents of stdout, one after the other.
    pub fn documents(&self) -> Vec<Value> {
        serde_json::Deserializer::from_str(&self.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Stage {
    fn command(&self, args: &[&str]) -> Command {
        let program = self
            .program
            .lock()
            .expect("no test panics while it has the lock")
            .clone();
        let mut command = Command::new(program.unwrap_or_else(binary));
        let target = if args.first() == Some(&"migrate") {
            self.owner_url("target")
        } else {
            self.url("target")
        };
        command
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            // not in a folder where the developer may have a tidemark.toml
            .current_dir(std::env::temp_dir())
            .env("TIDEMARK_DATABASE_URL", target)
            .env("TIDEMARK_SOURCE_URL", self.url("source"))
            .env("TIDEMARK_AMQP_URL", &self.servers.amqp)
            .env("TIDEMARK_AMQP_PREFIX", &self.name)
            // a killed worker costs one lease
            .env("TIDEMARK_WORKER_LEASE", "3s")
            .env("TIDEMARK_PRODUCER_TICK", "100ms");
        command
    }

    /// Starts this program from now on; none: the program under test.
    #[cfg(feature = "previous-release")]
    pub fn use_program(&self, program: Option<PathBuf>) {
        *self.program.lock().expect("no test panics while it has the lock") = program;
    }

    /// Runs a command to its end.
    pub async fn tidemark(&self, args: &[&str]) -> Result<Answer> {
        self.tidemark_with(args, &[]).await
    }

    /// The same with other settings.
    pub async fn tidemark_with(&self, args: &[&str], settings: &[(&str, &str)]) -> Result<Answer> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.sessions.register(command.spawn()?);
        Self::answer(args, child).await
    }

    /// Runs a command to its end, with a standard output that nothing reads.
    pub async fn tidemark_without_reader(&self, args: &[&str]) -> Result<Answer> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.sessions.register(command.spawn()?);
        drop(child.stdout.take());
        Self::answer(args, child).await
    }

    /// Runs a command to its end, with this standard input.
    pub async fn tidemark_with_input(&self, args: &[&str], input: &str) -> Result<Answer> {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.sessions.register(command.spawn()?);
        let mut stdin = child.stdin.take().context("a pipe")?;
        tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await?;
        drop(stdin);
        Self::answer(args, child).await
    }

    async fn answer(args: &[&str], child: Child) -> Result<Answer> {
        let output: Output = tokio::time::timeout(WAIT_LIMIT, child.wait_with_output())
            .await
            .with_context(|| format!("{args:?} hangs"))??;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Starts a process that runs until it is stopped.
    pub fn start(&self, args: &[&str]) -> Result<Process> {
        self.start_with(args, &[])
    }

    /// The same with other settings.
    pub fn start_with(&self, args: &[&str], settings: &[(&str, &str)]) -> Result<Process> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        let child = command.stdout(Stdio::null()).spawn()?;
        Ok(Process::new(args, self.sessions.register(child)))
    }

    /// The same, with all output appended to a file.
    pub fn start_into(
        &self,
        log: &std::fs::File,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Process> {
        let mut command = self.command(args);
        command.envs(settings.iter().copied());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(Process::new(args, self.sessions.register(command.spawn()?)))
    }

    /// Syncs a tenant in one process and returns the run.
    pub async fn sync_local(&self, args: &[&str]) -> Result<Value> {
        let answer = self
            .tidemark(&[&["sync", "--local", "--json"], args].concat())
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        Ok(answer.json())
    }

    /// Asks for a full sync of tenant 1 in chunks of this size; returns the run.
    pub async fn ask_full(&self, chunk_size: &str) -> Result<String> {
        let args = [
            "sync",
            "--tenant",
            "1",
            "--full",
            "--json",
            "--chunk-size",
            chunk_size,
        ];
        let asked = self.tidemark(&args).await?;
        ensure!(asked.code == 0, "{asked:?}");
        Ok(asked.json()["run_id"].to_string())
    }

    /// Asserts that source and target are equal for these tenants, column by column.
    pub async fn assert_equal(&self, tenants: &[i32]) -> Result<()> {
        for tenant in tenants {
            let answer = self
                .tidemark(&["verify", "--deep", "--tenant", &tenant.to_string(), "--json"])
                .await?;
            let is_equal = answer.code == 0 && answer.json()["pending"] == 0;
            ensure!(is_equal, "tenant {tenant} differs: {answer:?}");
        }
        Ok(())
    }

    /// Asserts that digests prove both sides equal, with nothing pending. `settings` say how the source is read.
    pub async fn assert_proven(&self, tenants: &[i32], settings: &[(&str, &str)]) -> Result<()> {
        let answer = self
            .tidemark_with(&["verify", "--all", "--json"], settings)
            .await?;
        let found = answer.json();
        for tenant in tenants {
            let one = found
                .as_array()
                .and_then(|all| all.iter().find(|one| one["tenant_id"] == *tenant));
            let is_proven = one
                .is_some_and(|one| one["verdict"] == "equal" && one["pending"] == 0 && one["unproven"] == 0);
            ensure!(is_proven, "tenant {tenant} is not proven equal: {answer:?}");
        }
        Ok(())
    }
}

/// The program under test, built beside the tests.
pub fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("tidemark");
    assert!(
        path.exists(),
        "{} is missing: run the tests with `make test`",
        path.display()
    );
    path
}

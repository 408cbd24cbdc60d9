//! `tidemark`: the one binary.

mod app;
mod commands;
mod exit;
mod http;
mod output;
mod progress;
mod roles;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Cli;
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are no errors; a closed stdout is ignored
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built on every platform that this runs on");
    let outcome = runtime.block_on(cli.run());
    // do not wait for tasks that are blocked on a server
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) if error.is::<output::ReaderGone>() => Exit::Done.into(),
        Err(error) => {
            output::error(&error);
            Exit::of(&error).into()
        }
    }
}

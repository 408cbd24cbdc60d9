//! `make bench`: runs the optimised program and psql in turns, on servers of `scripts/with-services`, and writes the
//! measured values. Compare ratios only: both sides of a ratio are measured in one run, on the same data.

mod cases;
mod proxy;
mod site;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use secrecy::SecretString;
use tidemark_benches::figures::Results;
use tidemark_benches::{check, machine, report};

use crate::site::Bench;

#[derive(Debug, Parser)]
struct Args {
    /// The optimised program
    #[arg(long, env = "TIDEMARK_BIN", value_name = "FILE")]
    program: PathBuf,
    /// A superuser's connection
    #[arg(
        long,
        env = "TIDEMARK_TEST_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: SecretString,
    #[arg(
        long,
        env = "TIDEMARK_TEST_AMQP_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    amqp_url: SecretString,
    /// Conversations of the samples
    #[arg(
        long,
        env = "TIDEMARK_BENCH_SIZES",
        value_delimiter = ',',
        default_value = "20000,200000",
        value_name = "N,N"
    )]
    sizes: Vec<u64>,
    /// Only these cases, such as `full` or `memory`
    #[arg(
        long,
        env = "TIDEMARK_BENCH_CASES",
        value_delimiter = ',',
        value_name = "CASE,CASE"
    )]
    cases: Vec<String>,
    /// How often most measurements are repeated
    #[arg(long, env = "TIDEMARK_BENCH_ROUNDS", default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// How long changes are watched in each setting of `freshness`, at least two sync intervals
    #[arg(long, env = "TIDEMARK_BENCH_SECONDS", default_value_t = 30, value_name = "N",
          value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// The file of results: written, or read by `--check`
    #[arg(long, default_value = "benches/results/results.json", value_name = "FILE")]
    results: PathBuf,
    /// Compare with the committed results instead of writing new ones
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut bench = Bench::new(&args.program, &args.database_url, &args.amqp_url, args.rounds).await?;
    let mut results = Results {
        command: "make bench".to_owned(),
        machine: machine::facts(bench.server_facts().await?)?,
        cases: Vec::new(),
    };
    let outcome = cases::run(&mut bench, &args.sizes, &args.cases, args.seconds, &mut results).await;
    bench.clear().await?;
    outcome?;
    if args.check {
        return check::compare(&report::read(&args.results)?, &results);
    }
    // cases that were not measured this time keep their values
    let kept = report::read(&args.results).unwrap_or_default();
    results.keep_unmeasured(kept);
    report::write(&args.results, &results).context("write the results")?;
    Ok(())
}

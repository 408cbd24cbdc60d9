//! `tidemark sample …`.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use tidemark_net::url::ServerUrl;
use tidemark_sample::{
    CreateOptions, TrafficOptions, create, drop_sample, ensure_known, is_sample, traffic, upgrade,
};
use tidemark_shared::chatwoot::{NEWEST_KNOWN, Version};
use tokio_util::sync::CancellationToken;

use super::bounds;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct UrlArg {
    /// Database of the sample [default: the source `main`]
    #[arg(long, value_name = "URL")]
    url: Option<ServerUrl>,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a database with the tables and data of a Chatwoot
    Create {
        #[command(flatten)]
        url: UrlArg,
        /// Number of conversations
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        conversations: u64,
        /// Number of tenants
        #[arg(long, default_value_t = 5, value_name = "T", value_parser = clap::value_parser!(u16).range(1..))]
        tenants: u16,
        /// Seed; the same seed gives the same data
        #[arg(long, default_value_t = 1, value_name = "S")]
        seed: u64,
        /// Version of Chatwoot that the tables are of
        #[arg(long, default_value_t = NEWEST_KNOWN, value_name = "VERSION", value_parser = known)]
        chatwoot: Version,
        /// Drop an existing sample of that name first
        #[arg(long)]
        replace: bool,
        /// Keep an existing sample of that name
        #[arg(long, conflicts_with = "replace")]
        keep: bool,
    },
    /// Change a sample like Chatwoot does
    Traffic {
        #[command(flatten)]
        url: UrlArg,
        /// Changes per second; 0 for as fast as possible
        #[arg(long, default_value_t = 10.0, value_name = "N")]
        rate: f64,
        /// Stop after this time, such as 30s
        #[arg(long = "for", value_name = "DUR", value_parser = bounds::age)]
        duration: Option<Duration>,
        /// Stop after this many changes
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Seed; the same seed gives the same changes
        #[arg(long, default_value_t = 1, value_name = "S")]
        seed: u64,
    },
    /// Change a sample's tables to those of a newer Chatwoot, as Chatwoot's migrations do
    Upgrade {
        #[command(flatten)]
        url: UrlArg,
        /// Version of Chatwoot that the tables are of afterwards
        #[arg(long, default_value_t = NEWEST_KNOWN, value_name = "VERSION", value_parser = known)]
        chatwoot: Version,
    },
    /// Drop the database of a sample
    Drop {
        #[command(flatten)]
        url: UrlArg,
    },
}

/// A version of Chatwoot that a sample can have.
fn known(text: &str) -> Result<Version, String> {
    let version = text
        .parse()
        .map_err(|error: <Version as FromStr>::Err| error.to_string())?;
    ensure_known(version).map_err(|error| error.to_string())?;
    Ok(version)
}

impl UrlArg {
    fn get(self, app: &App) -> anyhow::Result<ServerUrl> {
        match self.url {
            Some(url) => Ok(url),
            None => Ok(app.settings.source("main")?.1.clone()),
        }
    }
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Create {
                url,
                conversations,
                tenants,
                seed,
                chatwoot,
                replace,
                keep,
            } => {
                let url = url.get(app)?;
                if keep && is_sample(url.secret().expose_secret()).await? {
                    output::note("the sample exists already and is kept");
                    return Ok(Exit::Done);
                }
                let options = CreateOptions {
                    conversations,
                    tenants,
                    seed,
                    replace,
                    reference_time: None,
                    chatwoot,
                };
                let report = create(url.secret().expose_secret(), &options).await?;
                if app.json {
                    output::json(&report)?;
                    return Ok(Exit::Done);
                }
                let rows = report
                    .tenants
                    .iter()
                    .map(|tenant| {
                        Ok(vec![
                            tenant.account_id.to_string(),
                            tenant.name.clone(),
                            tenant.timezone.clone(),
                            tenant
                                .inbox_ids
                                .iter()
                                .map(ToString::to_string)
                                .collect::<Vec<_>>()
                                .join(","),
                            output::count(i64::try_from(tenant.conversations)?),
                        ])
                    })
                    .collect::<anyhow::Result<_>>()?;
                output::table(
                    &["account", "name", "time zone", "inboxes", "conversations"],
                    &[0, 4],
                    rows,
                )?;
                output::note(format!(
                    "{} conversations with {} messages in {}, in the tables of Chatwoot {}",
                    output::count(i64::try_from(report.conversations)?),
                    output::count(i64::try_from(report.messages)?),
                    output::duration_ms(i64::try_from(report.elapsed.as_millis())?),
                    report.chatwoot
                ));
            }
            Self::Traffic {
                url,
                rate,
                duration,
                count,
                seed,
            } => {
                let stop = CancellationToken::new();
                let url = url.get(app)?;
                let options = TrafficOptions {
                    rate_per_second: rate,
                    duration,
                    count,
                    seed,
                };
                let ending = traffic(url.secret().expose_secret(), &options, stop.clone());
                let interrupted = async {
                    // if the handler cannot be installed, Ctrl-C ends the process
                    if tokio::signal::ctrl_c().await.is_ok() {
                        stop.cancel();
                    }
                    std::future::pending().await
                };
                let report = tokio::select! {
                    report = ending => report?,
                    never = interrupted => never,
                };
                if app.json {
                    output::json(&report)?;
                    return Ok(Exit::Done);
                }
                let rows = report
                    .by_kind
                    .iter()
                    .map(|(kind, count)| {
                        Ok(vec![
                            kind.as_str().to_owned(),
                            output::count(i64::try_from(*count)?),
                        ])
                    })
                    .collect::<anyhow::Result<_>>()?;
                output::table(&["change", "count"], &[1], rows)?;
            }
            Self::Upgrade { url, chatwoot } => {
                let report = upgrade(url.get(app)?.secret().expose_secret(), chatwoot).await?;
                if app.json {
                    output::json(&report)?;
                    return Ok(Exit::Done);
                }
                let steps: Vec<String> = report.steps.iter().map(ToString::to_string).collect();
                output::note(format!(
                    "the sample had the tables of Chatwoot {} and got those of {}",
                    report.from,
                    steps.join(", ")
                ));
            }
            Self::Drop { url } => {
                drop_sample(url.get(app)?.secret().expose_secret()).await?;
                output::note("the sample is dropped");
            }
        }
        Ok(Exit::Done)
    }
}

//! Encrypted connections with certificates that the tests create: they are used, and errors name the problem.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use serde_json::Value;
use sqlx::Executor;

use crate::servers::Server;
use crate::stage::{Answer, Servers, Stage, on_servers, on_stage};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Writes a certificate and its key, `NAME.pem` and `NAME.key`, valid for `localhost`, and until `year` if given.
fn issue(by: &Authority, folder: &Path, name: &str, until: Option<i32>) -> Result<()> {
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("tidemark {name}"));
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    if let Some(year) = until {
        params.not_after = date_time_ymd(year, 1, 1);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, by)?;
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(())
}

/// The certificates of one side, in a folder that is removed when dropped.
struct Files(PathBuf);

impl Files {
    fn new(trusted: &Authority, foreign: &Authority) -> Result<Self> {
        let files = Self(std::env::temp_dir().join(format!("tm_tls_{:016x}", rand::random::<u64>())));
        std::fs::create_dir(&files.0)?;
        std::fs::write(files.0.join("ca.pem"), trusted.pem())?;
        std::fs::write(files.0.join("foreign.pem"), foreign.pem())?;
        issue(trusted, &files.0, "client", None)?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A server's URL with these parameters, some of which name files.
    fn url(&self, server: &str, files: &[(&str, &str)]) -> Result<String> {
        let mut url = url::Url::parse(server)?;
        for (parameter, file) in files {
            url.query_pairs_mut().append_pair(parameter, &self.path(file));
        }
        Ok(url.into())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A server that shows a certificate of this authority and requires one from its clients.
async fn server(kind: &'static str, by: &Authority) -> Result<Server> {
    Server::encrypted(kind, |tls| {
        std::fs::write(tls.join("clients.pem"), by.pem())?;
        issue(by, tls, "server", None)
    })
    .await
}

const CLIENT_OF_POSTGRES: [(&str, &str); 3] = [
    ("sslrootcert", "ca.pem"),
    ("sslcert", "client.pem"),
    ("sslkey", "client.key"),
];
const CLIENT_OF_RABBITMQ: [(&str, &str); 3] = [
    ("cacertfile", "ca.pem"),
    ("certfile", "client.pem"),
    ("keyfile", "client.key"),
];

fn refused(answer: &Answer, code: i32, says: &str) -> Result<()> {
    let text = answer.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        answer.code == code && text.contains(says),
        "not {code} {says}: {answer:?}"
    );
    Ok(())
}

fn at(url: &str, host: &str) -> Result<String> {
    let mut url = url::Url::parse(url)?;
    url.set_host(Some(host))?;
    Ok(url.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flow_of_the_demo_passes_with_both_databases_and_the_broker_encrypted() {
    let (trusted, foreign) = (authority("ours").unwrap(), authority("foreign").unwrap());
    let files = Files::new(&trusted, &foreign).unwrap();
    let (postgres, rabbitmq) = tokio::join!(server("postgres", &trusted), server("rabbitmq", &trusted));
    let (postgres, rabbitmq) = (postgres.unwrap(), rabbitmq.unwrap());
    let url = files.url(&postgres.url().unwrap(), &CLIENT_OF_POSTGRES).unwrap();
    let servers = Servers {
        source: url.clone(),
        target: url,
        ..Servers::shared()
    };
    let amqp = rabbitmq.url().unwrap();
    on_servers(servers, async |stage| -> Result<()> {
        let mut source = url::Url::parse(&stage.url("source"))?;
        source.set_path("/demo");
        let own = files.url(&amqp, &CLIENT_OF_RABBITMQ)?;
        let settings = [
            ("TIDEMARK_AMQP_URL", own.as_str()),
            ("TIDEMARK_SOURCE_URL", source.as_str()),
        ];
        let args = [
            "demo",
            "--conversations",
            "400",
            "--tenants",
            "2",
            "--changes",
            "100",
        ];
        let (demo, seen) = tokio::join!(
            stage.tidemark_with(&args, &settings),
            look_at_connections(&stage, &rabbitmq)
        );
        let demo = demo?;
        ensure!(demo.code == 0, "{demo:?}");
        ensure!(
            demo.stdout.contains("Every tenant's target rows equal"),
            "{demo:?}"
        );
        ensure!(!demo.stderr.contains("not protected"), "{demo:?}");
        seen?;
        broker_refuses(&stage, &files, &amqp).await?;
        issue(&trusted, &rabbitmq.path("tls"), "server", Some(2020))?;
        rabbitmq.ctl(&["eval", "ssl:clear_pem_cache()."]).await?;
        refused(&dead_list(&stage, &own).await?, 78, "has expired: renew it")
    })
    .await;
}

/// Waits until the whole fleet is connected. Asserts that all connections are encrypted, with certificates of both
/// sides.
async fn look_at_connections(stage: &Stage, rabbitmq: &Server) -> Result<()> {
    stage
        .until(
            "SELECT count(DISTINCT a.application_name) FILTER (WHERE a.application_name IN \
                        ('tidemark producer', 'tidemark worker', 'tidemark finalizer')) = 3 \
                    AND count(*) FILTER (WHERE a.datname = 'demo' AND a.application_name LIKE 'tidemark %') > 0 \
             FROM pg_stat_activity a",
        )
        .await?;
    let (sessions, plain): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE NOT s.ssl OR s.client_dn IS DISTINCT FROM '/CN=tidemark client') \
         FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.backend_type = 'client backend'",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        sessions > 3 && plain == 0,
        "{plain} of {sessions} sessions are not encrypted"
    );
    // the fleet registers itself after it has asked the broker, which takes a while
    stage
        .until("SELECT count(DISTINCT role) = 3 FROM etl_process")
        .await?;
    let mut lock = stage.target.begin().await?;
    lock.execute("LOCK TABLE conversations_analytics IN EXCLUSIVE MODE")
        .await?;
    let mut listed = Vec::new();
    while listed.len() < 3 {
        listed = connections(rabbitmq).await?;
    }
    lock.rollback().await?;
    let is_encrypted = |connection: &Value| {
        connection["ssl"] == true && connection["peer_cert_subject"] == "CN=tidemark client"
    };
    ensure!(listed.iter().all(is_encrypted), "{listed:#?}");
    Ok(())
}

async fn connections(rabbitmq: &Server) -> Result<Vec<Value>> {
    let list = [
        "-q",
        "list_connections",
        "--formatter",
        "json",
        "ssl",
        "peer_cert_subject",
    ];
    Ok(serde_json::from_str(&rabbitmq.ctl(&list).await?)?)
}

async fn dead_list(stage: &Stage, amqp: &str) -> Result<Answer> {
    stage
        .tidemark_with(&["dead", "list"], &[("TIDEMARK_AMQP_URL", amqp)])
        .await
}

async fn broker_refuses(stage: &Stage, files: &Files, amqp: &str) -> Result<()> {
    let mut wrong = CLIENT_OF_RABBITMQ;
    wrong[0].1 = "foreign.pem";
    let unknown = dead_list(stage, &files.url(amqp, &wrong)?).await?;
    refused(&unknown, 78, "name the authority's file with cacertfile=FILE")?;
    let by_address = at(&files.url(amqp, &CLIENT_OF_RABBITMQ)?, "127.0.0.1")?;
    refused(&dead_list(stage, &by_address).await?, 78, "for other host names")?;
    // the broker may close the connection before its reason arrives: then the program asks again
    let nobody = files.url(amqp, &CLIENT_OF_RABBITMQ[..1])?;
    let mut refusal = dead_list(stage, &nobody).await?;
    for _ in 0..20 {
        if refusal.code == 78 {
            break;
        }
        refusal = dead_list(stage, &nobody).await?;
    }
    refused(&refusal, 78, "certfile=FILE and keyfile=FILE")?;
    let plain = dead_list(stage, &amqp.replace("amqps", "amqp")).await?;
    refused(&plain, 69, "host, port and scheme")?;
    let to_plain = Servers::shared().amqp.replace("amqp://", "amqps://");
    refused(&dead_list(stage, &to_plain).await?, 78, "speaks no TLS")?;
    let missing = dead_list(stage, &files.url(amqp, &[("cacertfile", "nothing.pem")])?).await?;
    refused(&missing, 78, "nothing.pem, a file named in the RabbitMQ URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_trusted_is_refused_with_what_to_do() {
    let (trusted, foreign) = (authority("ours").unwrap(), authority("foreign").unwrap());
    let files = Files::new(&trusted, &foreign).unwrap();
    let postgres = server("postgres", &trusted).await.unwrap();
    on_stage(async |stage| -> Result<()> {
        let url = postgres.url()?;
        let own = files.url(&url, &CLIENT_OF_POSTGRES)?;
        let migrate = async |url: &str| {
            let settings = [("TIDEMARK_DATABASE_URL", url)];
            stage.tidemark_with(&["migrate", "--check"], &settings).await
        };
        // connected and encrypted: only the tables are missing
        let reached = migrate(&own).await?;
        ensure!(
            reached.code == 1 && reached.stdout.contains("pending"),
            "{reached:?}"
        );

        let mut wrong = CLIENT_OF_POSTGRES;
        wrong[0].1 = "foreign.pem";
        let unknown = migrate(&files.url(&url, &wrong)?).await?;
        refused(&unknown, 78, "name the authority's file with sslrootcert=FILE")?;
        refused(
            &migrate(&at(&own, "127.0.0.1")?).await?,
            78,
            "for other host names",
        )?;
        let name_unchecked = at(&own.replace("verify-full", "verify-ca"), "127.0.0.1")?;
        ensure!(
            migrate(&name_unchecked).await?.code == 1,
            "verify-ca checks the name"
        );
        let nobody = migrate(&files.url(&url, &CLIENT_OF_POSTGRES[..1])?).await?;
        refused(&nobody, 78, "requires a valid client certificate")?;
        let plain = at(&url.replace("verify-full", "disable"), "0.0.0.0")?;
        refused(
            &migrate(&plain).await?,
            78,
            "not encrypted (28000): leave sslmode out",
        )?;

        // without a setting, another machine is verified, and 0.0.0.0 counts as another machine
        let shared = at(&stage.url("target"), "0.0.0.0")?;
        refused(&migrate(&shared).await?, 78, "it offers no encryption")?;

        issue(&trusted, &postgres.path("tls"), "server", Some(2020))?;
        postgres.stop().await?;
        postgres.start().await?;
        refused(&migrate(&own).await?, 78, "has expired: renew it")
    })
    .await;
}

#[tokio::test]
async fn a_process_warns_at_its_start_of_plaintext_connections_and_readable_secrets() {
    on_stage(async |stage| -> Result<()> {
        let database = format!("{}?sslmode=disable", at(&stage.url("target"), "0.0.0.0")?);
        let source = format!("{}?sslmode=require", at(&stage.url("source"), "0.0.0.0")?);
        let mut amqp = url::Url::parse(&at(stage.amqp_url(), "0.0.0.0")?)?;
        // refused at the end of the start
        amqp.set_password(Some("wr0ng"))
            .ok()
            .context("a URL with a host")?;
        let file = std::env::temp_dir().join(format!("tm_secret_{:016x}", rand::random::<u64>()));
        std::fs::write(&file, format!("{database}\n"))?;
        let name = file.display().to_string();
        let settings = [
            ("TIDEMARK_DATABASE_URL", ""),
            ("TIDEMARK_DATABASE_URL_FILE", name.as_str()),
            ("TIDEMARK_SOURCE_URL", source.as_str()),
            ("TIDEMARK_AMQP_URL", amqp.as_str()),
            ("TIDEMARK_HTTP_LISTEN", "off"),
            ("TIDEMARK_LOG_FORMAT", "json"),
        ];
        let started = stage.tidemark_with(&["finalizer"], &settings).await;
        std::fs::remove_file(&file)?;
        let started = started?;
        ensure!(started.code == 78, "{started:?}");
        let warnings: Vec<Value> = started
            .stderr
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["level"] == "WARN")
            .collect();
        let says = |field: &str, starts: &str| {
            let text = |warning: &Value| {
                warning[field]
                    .as_str()
                    .is_some_and(|text| text.starts_with(starts))
            };
            warnings.iter().filter(|warning| text(warning)).count()
        };
        ensure!(says("exposure", "plain text") == 2, "{started:?}");
        ensure!(
            says("exposure", "encrypted, but the certificate is not checked") == 1,
            "{started:?}"
        );
        ensure!(says("path", &name) == 1, "{started:?}");
        ensure!(!started.stderr.contains("wr0ng"), "{started:?}");
        Ok(())
    })
    .await;
}

//! A running console, and requests to it as a browser or a program sends them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Process, Stage, poll};

/// A console on a port of its own.
pub struct Served {
    pub process: Process,
    pub address: String,
}

/// An answer, with its head in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| {
            let is_it = line.len() >= start.len() && line[..start.len()].eq_ignore_ascii_case(&start);
            is_it.then(|| &line[start.len()..])
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Starts a process with the console and waits until it answers. Without other settings nobody has to sign in.
pub async fn serve(stage: &Stage, role: &str, settings: &[(&str, &str)]) -> Result<Served> {
    let free = TcpListener::bind("127.0.0.1:0").await?;
    let address = free.local_addr()?.to_string();
    drop(free);
    let listen = [("TIDEMARK_CONSOLE_LISTEN", address.as_str())];
    let process = stage.start_with(&[role], &[&listen, settings].concat())?;
    poll("an open console", async || {
        Ok(TcpStream::connect(&address).await.ok())
    })
    .await?;
    Ok(Served { process, address })
}

/// Somebody who sends requests.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub address: String,
    pub cookie: Option<String>,
    pub token: Option<String>,
}

impl Client {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            ..Self::default()
        }
    }

    /// Signs in with a password.
    pub async fn sign_in(&self, user: &str, password: &str) -> Result<Self> {
        let form = format!("user={user}&password={}", encode(password));
        let answer = self.post("/login", &form).await?;
        ensure!(answer.status == 303, "{answer:?}");
        let cookie = answer.header("set-cookie").context("a cookie")?;
        Ok(Self {
            cookie: cookie.split(';').next().map(str::to_owned),
            ..self.clone()
        })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], "").await
    }

    /// A form that a page of the console sends.
    pub async fn post(&self, path: &str, form: &str) -> Result<Answer> {
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.send("POST", path, &headers, form).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let mut question = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        if !has_host {
            question += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            question += &format!("{name}: {value}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            question += &format!("Cookie: {cookie}\r\n");
        }
        if let Some(token) = &self.token {
            question += &format!("Authorization: Bearer {token}\r\n");
        }
        stream
            .write_all(format!("{question}\r\n{body}").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        let status = head.split(' ').nth(1).context("an answer has a status")?;
        Ok(Answer {
            status: status.parse()?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }
}

/// A value of a form.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Adds a user by the command, with a password.
pub async fn add_user(stage: &Stage, name: &str, password: &str, more: &[&str]) -> Result<()> {
    let args = [&["console", "user", "add", name, "--password-file", "-"], more].concat();
    let added = stage.tidemark_with_input(&args, password).await?;
    ensure!(added.code == 0, "{added:?}");
    Ok(())
}

/// Adds a token by the command.
pub async fn add_token(stage: &Stage, name: &str, more: &[&str]) -> Result<String> {
    let added = stage
        .tidemark(&[&["console", "token", "add", name], more].concat())
        .await?;
    ensure!(added.code == 0, "{added:?}");
    Ok(added.stdout.trim().to_owned())
}

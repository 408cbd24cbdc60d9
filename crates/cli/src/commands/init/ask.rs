//! Questions on a terminal.

use std::io::{IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tidemark_net::url::ServerUrl;
use tidemark_operations::doctor::Server;
use url::Url;

use super::Needed;
use crate::exit::UsageError;

/// The answer for a server that is not used.
const NONE: &str = "none";

/// Somebody who can be asked.
pub struct Terminal;

impl Terminal {
    pub fn find() -> Option<Self> {
        (std::io::stdin().is_terminal() && std::io::stderr().is_terminal()).then_some(Self)
    }

    /// Asks for the URL of a server and for its password; `None`: no such server.
    pub async fn url(&self, needed: &Needed) -> anyhow::Result<Option<ServerUrl>> {
        say(&format!("The {}\n", needed.what));
        let or = match needed.server {
            Server::Broker => ", or `none`",
            Server::Ledger | Server::Source => "",
        };
        say(&format!(
            "  URL{or}; the password is asked for next [{}]: ",
            needed.example
        ));
        let text = read_line().await?;
        if needed.server == Server::Broker && text == NONE {
            return Ok(None);
        }
        let text = if text.is_empty() { needed.example } else { &text };
        let Ok(mut url) = Url::parse(text) else {
            // several hosts, or no URL at all: the check says what is wrong
            return Ok(Some(text.into()));
        };
        if !url.username().is_empty() && url.password().is_none() {
            say(&format!(
                "  password of {} (is not shown; empty: none): ",
                url.username()
            ));
            let password = read_hidden().await?;
            if !password.is_empty() && url.set_password(Some(&encoded(&password))).is_err() {
                return Ok(Some(text.into()));
            }
        }
        Ok(Some(url.as_str().into()))
    }

    /// Asks a question that is answered by yes or no; no answer is no.
    pub async fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        say(&format!("{question} [y/N]: "));
        let answer = read_line().await?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }
}

/// Every byte as `%40` that could have a meaning in a URL.
fn encoded(password: &str) -> String {
    let mut text = String::new();
    for byte in password.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    // a closed terminal also ends the input
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

async fn read_line() -> anyhow::Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|length| (length, line))
    });
    let (length, line) = read.await??;
    if length == 0 {
        let text = "the input has ended before every question was answered; nothing was written";
        return Err(UsageError(text.to_owned()).into());
    }
    Ok(line.trim().to_owned())
}

/// Reads a line that the terminal does not show.
async fn read_hidden() -> anyhow::Result<String> {
    let hidden = Hidden::start()?;
    let line = read_line().await;
    drop(hidden);
    say("\n");
    line
}

/// The terminal shows what is typed again when this is dropped, also by Ctrl-C.
struct Hidden(Termios);

impl Hidden {
    fn start() -> anyhow::Result<Self> {
        let shown = tcgetattr(std::io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Drain, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).is_err() {
            say("the terminal may not show what is typed: run `stty echo`\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_any_signs_survives_the_way_through_the_url() {
        let mut url = Url::parse("postgres://tidemark@db/tidemark").unwrap();
        url.set_password(Some(&encoded("p_@/?#%:ä"))).unwrap();
        assert_eq!(
            url.as_str(),
            "postgres://tidemark:p_%40%2F%3F%23%25%3A%C3%A4@db/tidemark"
        );
    }
}

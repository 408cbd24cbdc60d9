//! Errors of the settings.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("setting not understood: {0}")]
    Value(String),
    #[error("{0} is not set: pass it as an environment variable or in tidemark.toml (`{1}`)")]
    Missing(&'static str, &'static str),
    #[error(
        "source `{0}` is not configured: set sources.{0}.url in tidemark.toml (TIDEMARK_SOURCE_URL names `main`)"
    )]
    UnknownSource(String),
}

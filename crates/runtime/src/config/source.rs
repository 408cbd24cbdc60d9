//! Settings of a source.

use std::time::Duration;

use serde::Deserialize;

use super::value::duration;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::ident::{RelationName, SchemaName};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    pub url: Option<ServerUrl>,
    pub mode: SourceMode,
    /// Name of the view for `mode = "view"`, with or without a schema.
    pub view: Option<RelationName>,
    /// Schema of the tables or the view, where the login's search path does not find them.
    pub schema: Option<SchemaName>,
    /// Connections to this source for each process.
    pub max_connections: u32,
    /// Time limit of one statement on the source.
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
    /// Chunks of this source that may be queued or running at once in the whole fleet.
    pub max_in_flight: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceMode {
    /// Chatwoot's own tables.
    Tables,
    /// A published view.
    View,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            url: None,
            mode: SourceMode::Tables,
            view: None,
            schema: None,
            max_connections: 8,
            statement_timeout: Duration::from_secs(120),
            max_in_flight: 32,
        }
    }
}

//! Identifiers: newtypes, so that a tenant's id is never used as a run's.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// `tenants.id`.
    TenantId(i32)
}
id! {
    /// `etl_control.id`: one planned pass for one tenant.
    RunId(i64)
}

/// `etl_chunk (run_id, seq)`; `seq` counts from 1 within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId {
    pub run_id: RunId,
    pub seq: i32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run_id, self.seq)
    }
}

impl std::str::FromStr for ChunkId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(run, seq): (&str, &str)| {
            Some(Self {
                run_id: run.parse().ok()?,
                seq: seq.parse().ok()?,
            })
        };
        text.split_once('/')
            .and_then(parse)
            .ok_or_else(|| format!("`{text}` is not a chunk: write RUN/NUMBER, such as 18/3"))
    }
}

/// A conversation of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationKey {
    pub tenant_id: TenantId,
    pub conversation_id: i64,
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant_id, self.conversation_id)
    }
}

impl std::str::FromStr for ConversationKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(tenant, conversation): (&str, &str)| {
            Some(Self {
                tenant_id: tenant.parse().ok()?,
                conversation_id: conversation.parse().ok()?,
            })
        };
        text.split_once(':').and_then(parse).ok_or_else(|| {
            format!("`{text}` is not a tenant's conversation: write TENANT:CONVERSATION, such as 1:4711")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_parsed_as_it_is_printed() {
        let chunk: ChunkId = "18/3".parse().unwrap();
        assert_eq!(chunk.to_string(), "18/3");
        for text in ["18", "18/", "/3", "a/b", "18/3/1"] {
            assert!(text.parse::<ChunkId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tenants_conversation_is_parsed_as_it_is_printed() {
        let key: ConversationKey = "1:4711".parse().unwrap();
        assert_eq!(key.to_string(), "1:4711");
        for text in ["1", "1:", ":1", "a:1", "1:2:3"] {
            assert!(text.parse::<ConversationKey>().is_err(), "{text}");
        }
    }
}

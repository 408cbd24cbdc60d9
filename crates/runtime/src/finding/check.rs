//! The names of checks.

use std::fmt;

use serde::{Serialize, Serializer};

/// Declares the checks with their names, which are a contract with scripts.
macro_rules! checks {
    ($($variant:ident = $name:literal,)*) => {
        /// What a finding is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Check {
            $($variant,)*
        }

        impl Check {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

checks! {
    Alarm = "alarm",
    Backup = "backup",
    Chatwoot = "chatwoot",
    Clock = "clock",
    Columns = "columns",
    Connection = "connection",
    Connections = "connections",
    Dead = "dead",
    Disk = "disk",
    Encoding = "encoding",
    Encryption = "encryption",
    Fence = "fence",
    Files = "files",
    Fleet = "fleet",
    Inboxes = "inboxes",
    Index = "index",
    Isolation = "isolation",
    Login = "login",
    Members = "members",
    Migrations = "migrations",
    Policies = "policies",
    Processes = "processes",
    Queues = "queues",
    Rejects = "rejects",
    Retention = "retention",
    Rights = "rights",
    Rows = "rows",
    Session = "session",
    Settings = "settings",
    Statistics = "statistics",
    Tenants = "tenants",
    Time = "time",
    Timeout = "timeout",
    Vacuum = "vacuum",
    Verified = "verified",
    Version = "version",
    Versions = "versions",
    View = "view",
    ViewCost = "view cost",
    Webhooks = "webhooks",
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

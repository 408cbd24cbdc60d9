//! The words of the audit of actions: who acted, what was done, and with which result.

use std::fmt;

/// Who acts. Its text is stored wherever the ledger says who did something: `cli:…`, `console:…`, `token:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    origin: Option<String>,
}

impl Actor {
    /// A command, by the name of its process. `origin` is the machine, with the user where that is known.
    #[must_use]
    pub fn cli(instance: &str, origin: Option<String>) -> Self {
        Self::new("cli", instance, origin)
    }

    /// A user of the console. `origin` is the address that the request came from.
    #[must_use]
    pub fn console(user: &str, origin: Option<String>) -> Self {
        Self::new("console", user, origin)
    }

    /// A token of the console's API. `origin` is the address that the request came from.
    #[must_use]
    pub fn token(name: &str, origin: Option<String>) -> Self {
        Self::new("token", name, origin)
    }

    /// As it was stored: it acts now in what it began earlier.
    #[must_use]
    pub const fn stored(name: String, origin: Option<String>) -> Self {
        Self { name, origin }
    }

    fn new(kind: &str, name: &str, origin: Option<String>) -> Self {
        Self {
            name: format!("{kind}:{name}"),
            origin,
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Where it acted from.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

/// Declares the actions with their names.
macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
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

actions! {
    TenantAdd = "tenant.add",
    TenantChange = "tenant.change",
    TenantPrivacy = "tenant.privacy",
    TenantPause = "tenant.pause",
    TenantResume = "tenant.resume",
    TenantMove = "tenant.move",
    TenantRemove = "tenant.remove",
    /// A database login was bound to a tenant.
    LoginAdd = "login.add",
    LoginRemove = "login.remove",
    ContactForget = "contact.forget",
    InboxMap = "inbox.map",
    InboxUnmap = "inbox.unmap",
    /// Inboxes of an account were mapped because somebody asked to look it up.
    InboxDiscover = "inbox.discover",
    /// A run of any type was requested; `after` has the type.
    RunRequest = "run.request",
    RunCancel = "run.cancel",
    RunRetry = "run.retry",
    ChunkRetry = "chunk.retry",
    /// Source and target were compared by the command itself, and not by a run.
    VerifyCompare = "verify.compare",
    WatermarkSet = "watermark.set",
    SourceAccept = "source.accept",
    DeadRedrive = "dead.redrive",
    DeadPurge = "dead.purge",
    LedgerPrune = "ledger.prune",
    ScriptImport = "script.import",
    WebhookAdd = "webhook.add",
    WebhookRemove = "webhook.remove",
    WebhookTest = "webhook.test",
    /// A message that was given up is sent again.
    WebhookRetry = "webhook.retry",
    /// An action on many things began; each of them has an entry of its own.
    BulkStart = "bulk.start",
    BulkStop = "bulk.stop",
    UserAdd = "user.add",
    UserChange = "user.change",
    UserRemove = "user.remove",
    TokenAdd = "token.add",
    TokenRemove = "token.remove",
    SessionRevoke = "session.revoke",
    /// Personal data was shown to somebody who asked for it.
    ValuesShow = "values.show",
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionResult {
    /// It is about to act on a server that takes no part in the ledger's transaction. Another entry says how it ended; without
    /// that one, the process stopped in between.
    Begun,
    Done,
    /// What was asked for was so already.
    Unchanged,
    /// It was not allowed, or not possible in this state.
    Refused,
    Failed,
}

impl ActionResult {
    pub const ALL: [Self; 5] = [
        Self::Begun,
        Self::Done,
        Self::Unchanged,
        Self::Refused,
        Self::Failed,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_says_by_which_way_it_acts() {
        let actors = [
            Actor::cli("host/cli/7", Some("ana@host".to_owned())),
            Actor::console("ana", Some("192.0.2.7".to_owned())),
            Actor::token("deploy", None),
        ];
        let names: Vec<String> = actors.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cli:host/cli/7", "console:ana", "token:deploy"]);
    }

    #[test]
    fn every_action_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Action::ALL.len());
    }
}

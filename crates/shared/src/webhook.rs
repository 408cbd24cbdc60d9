//! Webhooks: what is reported, and in which form.

/// Declares the events with their names.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What a webhook reports.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum WebhookEvent {
            $($(#[$doc])* $variant,)*
        }

        impl WebhookEvent {
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

events! {
    RunSucceeded = "run.succeeded",
    /// It ended, and some rows were rejected or something waits for an operator.
    RunPartial = "run.partial",
    RunFailed = "run.failed",
    RunCancelled = "run.cancelled",
    /// The watermark is further behind than an ordinary run and a short outage explain.
    TenantLate = "tenant.late",
    TenantRecovered = "tenant.recovered",
    /// The last comparison of a tenant found rows at fault.
    RowsAtFault = "rows.at_fault",
    /// A source does not answer, or an old transaction holds the watermarks of its tenants.
    SourceFenced = "source.fenced",
    SourceRecovered = "source.recovered",
}

/// The event of a message that an operator sends to try a webhook.
pub const TEST_EVENT: &str = "webhook.test";

/// The form of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// Signed JSON, as in the Standard Webhooks specification.
    Json,
    /// A text for Slack and what understands the same.
    Slack,
}

impl WebhookFormat {
    pub const ALL: [Self; 2] = [Self::Json, Self::Slack];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }
}

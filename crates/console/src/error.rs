//! What a page or an action answers when it cannot do what was asked.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use tidemark_ledger::DbError;
use tidemark_operations::error::OperationError;
use tidemark_postgres::report::report;

use crate::auth::who::{Right, Role};
use crate::context::Cx;
use crate::html::layout;
use crate::i18n::Texts;
use crate::tenant_page::not_set_up;
use crate::tenant_page::pool::NoTenantPages;

#[derive(Debug)]
pub enum PageError {
    /// Nothing is there, or it is another tenant's: both look the same from outside.
    NotFound,
    Forbidden {
        needed: Right,
        role: Role,
    },
    /// The text says what to do instead.
    Refused(String),
    ReadOnly,
    /// What the form was made from has changed.
    Stale,
    /// The days that a tenant's page is asked for are none.
    WrongDates,
    /// Tenants' pages have no database.
    NoTenantPages(NoTenantPages),
    Operation(OperationError),
}

pub type PageResult<T> = Result<T, PageError>;

impl From<DbError> for PageError {
    fn from(error: DbError) -> Self {
        Self::Operation(error.into())
    }
}

impl From<OperationError> for PageError {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl PageError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Refused(_) | Self::ReadOnly | Self::WrongDates => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoTenantPages(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::Operation(error) => match error {
                OperationError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
                OperationError::Ledger(error) if error.is_unstorable_text() => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                OperationError::Ledger(error) if error.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
                OperationError::Source(_) | OperationError::Queue(_) | OperationError::Plan(_) => {
                    StatusCode::BAD_GATEWAY
                }
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// The error for people, without any secret or value.
    pub fn text(&self, t: &Texts) -> Option<String> {
        match self {
            Self::Refused(text) => Some(text.clone()),
            Self::ReadOnly => Some(t.common.read_only.to_owned()),
            Self::Operation(OperationError::Ledger(error)) if error.is_unstorable_text() => {
                Some(t.common.unstorable_text.to_owned())
            }
            Self::Operation(OperationError::Ledger(_)) => None,
            Self::Operation(error) => Some(t.operation_error(error)),
            _ => None,
        }
    }

    /// The same, also for a form that was made from an older state.
    pub fn text_or_stale(&self, cx: &Cx) -> Option<String> {
        match self {
            Self::Stale => Some(cx.t.common.stale.to_owned()),
            _ => self.text(cx.t),
        }
    }

    /// The whole page for a browser.
    pub fn page(self, cx: &Cx) -> Response {
        let status = self.status();
        if status.is_server_error()
            && let Self::Operation(error) = &self
        {
            tracing::warn!(error = %report(error), page = cx.here, "page not shown");
        }
        let (common, text) = (&cx.t.common, self.text(cx.t));
        // also before it is known who looks
        let is_visit = cx.is_visit() || cx.here.starts_with("/t/");
        if let Self::NoTenantPages(why) = &self {
            return (status, [(RETRY_AFTER, "5")], not_set_up::page(cx, why)).into_response();
        }
        let (title, text) = match &self {
            Self::NotFound => (common.unknown_page, common.unknown_page_text.to_owned()),
            Self::Forbidden { needed, role } => (
                common.forbidden,
                common
                    .forbidden_text
                    .replace("{role}", role.as_str())
                    .replace("{needed}", needed.role().as_str()),
            ),
            Self::Stale => (common.failed, common.stale.to_owned()),
            Self::WrongDates => (cx.t.visit.wrong_dates, cx.t.visit.wrong_dates_text.to_owned()),
            _ if status == StatusCode::SERVICE_UNAVAILABLE && is_visit => {
                (cx.t.visit.away, cx.t.visit.away_text.to_owned())
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => (common.away, common.away_text.to_owned()),
            _ => match text {
                Some(text) => (common.failed, text),
                None => (common.internal, common.internal_text.to_owned()),
            },
        };
        if status == StatusCode::SERVICE_UNAVAILABLE && is_visit {
            let page = layout::message_until_later(cx, title, &text);
            return (status, [(RETRY_AFTER, "5")], page).into_response();
        }
        let page = layout::message(cx, title, &text);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(RETRY_AFTER, "5")], page).into_response();
        }
        (status, page).into_response()
    }
}

/// A request that is refused before anybody is known.
#[derive(Debug, Clone, Copy)]
pub enum Refused {
    OtherOrigin,
    OtherHost,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let text = match self {
            Self::OtherOrigin => "the request came from another site, and was refused",
            Self::OtherHost => {
                "this console has no sign-in, so it answers only at localhost: open it at http://127.0.0.1, or set \
                 console.auth to `password` or `proxy`"
            }
        };
        (StatusCode::FORBIDDEN, text).into_response()
    }
}

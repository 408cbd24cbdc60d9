//! The conversations behind a number, and one of them.

use std::ops::DerefMut;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::FromRow;

use super::{Filter, Look};
use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    LIST_ROWS = include_str!("list_rows.sql");
    LIST_WAITING = include_str!("list_waiting.sql");
    LOAD_CONVERSATION = include_str!("load_conversation.sql");
}

/// Which conversations a number counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Counted {
    #[default]
    All,
    Resolved,
    Unresolved,
    Unanswered,
    Responded,
    Rated,
    Satisfied,
    /// With a contact.
    Contacts,
    /// Those that wait now, whatever the days are.
    Waiting,
}

impl Counted {
    pub const ALL: [Self; 9] = [
        Self::All,
        Self::Resolved,
        Self::Unresolved,
        Self::Unanswered,
        Self::Responded,
        Self::Rated,
        Self::Satisfied,
        Self::Contacts,
        Self::Waiting,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Resolved => "resolved",
            Self::Unresolved => "unresolved",
            Self::Unanswered => "unanswered",
            Self::Responded => "responded",
            Self::Rated => "rated",
            Self::Satisfied => "satisfied",
            Self::Contacts => "contacts",
            Self::Waiting => "waiting",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// The conversations that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub filter: Filter,
    pub counted: Counted,
    pub hour: Option<i32>,
    /// 0: Sunday.
    pub weekday: Option<i32>,
    pub handled_by: Option<String>,
}

/// The place of a conversation in a list: its day, or since when it waits, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Day(NaiveDate, i64),
    Since(DateTime<Utc>, i64),
}

/// A conversation of a list.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub conversation_id: i64,
    pub conversation_date: Option<NaiveDate>,
    pub display_id: Option<i32>,
    pub conversation_created_at: Option<DateTime<Utc>>,
    pub contact_name: Option<String>,
    pub contact_phone: Option<String>,
    pub inbox_name: Option<String>,
    pub inbox_channel_type: Option<String>,
    pub team_name: Option<String>,
    pub assignee_name: Option<String>,
    pub status: Option<i32>,
    /// `None` in a row from before the column, until its backfill.
    pub handled_by: Option<String>,
    pub response_seconds: Option<f64>,
    pub resolution_seconds: Option<f64>,
    pub csat_rating: Option<i32>,
    pub waiting_since: Option<DateTime<Utc>>,
}

impl Row {
    /// Its place in the list of this selection.
    #[must_use]
    pub fn place(&self, counted: Counted) -> Option<Place> {
        let id = self.conversation_id;
        match counted {
            Counted::Waiting => self.waiting_since.map(|since| Place::Since(since, id)),
            _ => self.conversation_date.map(|day| Place::Day(day, id)),
        }
    }
}

/// A conversation with its messages.
#[derive(Debug, Clone, FromRow)]
pub struct Conversation {
    #[sqlx(flatten)]
    pub row: Row,
    pub contact_email: Option<String>,
    pub labels: Vec<String>,
    pub csat_feedback: Option<String>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub reopened_count: Option<i32>,
    pub message_compiled: Option<Value>,
}

impl Look {
    /// Up to `limit` conversations after this place.
    pub async fn rows(
        &mut self,
        selection: &Selection,
        after: Option<Place>,
        limit: i64,
    ) -> DbResult<Vec<Row>> {
        let filter = &selection.filter;
        if selection.counted == Counted::Waiting {
            let (since, id) = match after {
                Some(Place::Since(since, id)) => (Some(since), Some(id)),
                _ => (None, None),
            };
            return sqlx::query_as(LIST_WAITING)
                .bind(Stored(self.tenant))
                .bind(filter.inbox)
                .bind(filter.team)
                .bind(filter.agent)
                .bind(filter.channel.as_deref())
                .bind(since)
                .bind(id)
                .bind(limit)
                .fetch_all(self.tx.deref_mut())
                .await
                .attempt("list the conversations that wait");
        }
        let (day, id) = match after {
            Some(Place::Day(day, id)) => (Some(day), Some(id)),
            _ => (None, None),
        };
        sqlx::query_as(LIST_ROWS)
            .bind(Stored(self.tenant))
            .bind(filter.first)
            .bind(filter.last)
            .bind(filter.inbox)
            .bind(filter.team)
            .bind(filter.agent)
            .bind(filter.channel.as_deref())
            .bind(selection.counted.as_str())
            .bind(selection.hour)
            .bind(selection.weekday)
            .bind(selection.handled_by.as_deref())
            .bind(day)
            .bind(id)
            .bind(limit)
            .fetch_all(self.tx.deref_mut())
            .await
            .attempt("list the tenant's conversations")
    }

    /// `None` where the tenant has no such conversation.
    pub async fn conversation(&mut self, id: i64) -> DbResult<Option<Conversation>> {
        sqlx::query_as(LOAD_CONVERSATION)
            .bind(Stored(self.tenant))
            .bind(id)
            .fetch_optional(self.tx.deref_mut())
            .await
            .attempt("load the conversation")
    }
}

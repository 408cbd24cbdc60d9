//! What is counted.

use std::ops::{AddAssign, DerefMut};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::FromRow;

use super::{Filter, Look};
use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    COUNT_GROUPS = include_str!("count_groups.sql");
    COUNT_CONTACTS = include_str!("count_contacts.sql");
    LIST_RESPONSES = include_str!("list_responses.sql");
    COUNT_WAITING = include_str!("count_waiting.sql");
    FIND_NEWEST = include_str!("find_newest.sql");
    LIST_NAMES = "SELECT conversation_id, inbox_id, inbox_name, inbox_channel_type, team_id, team_name, assignee_id, assignee_name \
                  FROM conversations_analytics WHERE tenant_id = $1 AND conversation_id = ANY($2)";
}

/// Counts of a group of conversations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Tally {
    pub conversations: i64,
    pub resolved: i64,
    /// The contact wrote, and neither an agent nor a bot did.
    pub unanswered: i64,
    pub ratings: i64,
    pub rating_sum: i64,
    /// With a rating of 4 or 5.
    pub satisfied: i64,
    pub responses: i64,
    /// Responses that Chatwoot's reports do not have: counted from the first reply.
    pub estimated_responses: i64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.resolved += other.resolved;
        self.unanswered += other.unanswered;
        self.ratings += other.ratings;
        self.rating_sum += other.rating_sum;
        self.satisfied += other.satisfied;
        self.responses += other.responses;
        self.estimated_responses += other.estimated_responses;
    }
}

/// Conversations of one hour of a day, or of one place: inbox, team, agent and who handled them.
#[derive(Debug, Clone, FromRow)]
pub struct Group {
    /// By day and hour; otherwise by place.
    pub is_by_time: bool,
    pub conversation_date: Option<NaiveDate>,
    pub conversation_hour: Option<i32>,
    pub inbox_id: Option<i32>,
    pub inbox_channel_type: Option<String>,
    pub team_id: Option<i64>,
    pub assignee_id: Option<i32>,
    pub handled_by: Option<String>,
    #[sqlx(flatten)]
    pub tally: Tally,
    pub newest_id: i64,
}

/// How long the first responses took that an agent gave in an inbox.
#[derive(Debug, Clone, FromRow)]
pub struct Responses {
    pub inbox_id: Option<i32>,
    /// `None`: nobody is assigned.
    pub assignee_id: Option<i32>,
    /// In no order.
    pub seconds: Vec<f64>,
}

#[derive(Debug, Clone, Copy, FromRow)]
pub struct Waiting {
    pub conversations: i64,
    pub since: Option<DateTime<Utc>>,
}

/// Names as the newest conversation has them.
#[derive(Debug, Clone, FromRow)]
pub struct Names {
    pub conversation_id: i64,
    pub inbox_id: Option<i32>,
    pub inbox_name: Option<String>,
    pub inbox_channel_type: Option<String>,
    pub team_id: Option<i64>,
    pub team_name: Option<String>,
    pub assignee_id: Option<i32>,
    pub assignee_name: Option<String>,
}

impl Look {
    pub async fn groups(&mut self, filter: &Filter) -> DbResult<Vec<Group>> {
        sqlx::query_as(COUNT_GROUPS)
            .bind(Stored(self.tenant))
            .bind(filter.first)
            .bind(filter.last)
            .bind(filter.inbox)
            .bind(filter.team)
            .bind(filter.agent)
            .bind(filter.channel.as_deref())
            .fetch_all(self.tx.deref_mut())
            .await
            .attempt("count the tenant's conversations")
    }

    pub async fn contacts(&mut self, filter: &Filter) -> DbResult<i64> {
        sqlx::query_scalar(COUNT_CONTACTS)
            .bind(Stored(self.tenant))
            .bind(filter.first)
            .bind(filter.last)
            .bind(filter.inbox)
            .bind(filter.team)
            .bind(filter.agent)
            .bind(filter.channel.as_deref())
            .fetch_one(self.tx.deref_mut())
            .await
            .attempt("count the tenant's contacts")
    }

    pub async fn responses(&mut self, filter: &Filter) -> DbResult<Vec<Responses>> {
        sqlx::query_as(LIST_RESPONSES)
            .bind(Stored(self.tenant))
            .bind(filter.first)
            .bind(filter.last)
            .bind(filter.inbox)
            .bind(filter.team)
            .bind(filter.agent)
            .bind(filter.channel.as_deref())
            .fetch_all(self.tx.deref_mut())
            .await
            .attempt("list the tenant's first responses")
    }

    pub async fn waiting(&mut self, filter: &Filter) -> DbResult<Waiting> {
        sqlx::query_as(COUNT_WAITING)
            .bind(Stored(self.tenant))
            .bind(filter.inbox)
            .bind(filter.team)
            .bind(filter.agent)
            .bind(filter.channel.as_deref())
            .fetch_one(self.tx.deref_mut())
            .await
            .attempt("count the conversations that wait")
    }

    /// The newest conversation of what the filter names, on any day; `None`: the tenant has none of it.
    pub async fn find_newest(&mut self, filter: &Filter) -> DbResult<Option<i64>> {
        sqlx::query_scalar(FIND_NEWEST)
            .bind(Stored(self.tenant))
            .bind(filter.inbox)
            .bind(filter.team.filter(|team| *team != 0))
            .bind(filter.agent.filter(|agent| *agent != 0))
            .bind(filter.channel.as_deref())
            .fetch_optional(self.tx.deref_mut())
            .await
            .attempt("find the newest conversation")
    }

    /// The names in these conversations.
    pub async fn names(&mut self, conversations: &[i64]) -> DbResult<Vec<Names>> {
        sqlx::query_as(LIST_NAMES)
            .bind(Stored(self.tenant))
            .bind(conversations)
            .fetch_all(self.tx.deref_mut())
            .await
            .attempt("list names of inboxes, teams and agents")
    }
}

//! What things are chosen by: ids, or what a list is filtered by.

use serde::{Deserialize, Serialize};
use tidemark_ledger::reject::RejectSide;
use tidemark_ledger::run::RunFilter;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunStatus, RunType};

use crate::error::OperationResult;
use crate::refusal::{FilterField, Refusal};
use crate::status::{TenantFilter, TenantState};

/// The same fields as those of the lists; the default takes everything. It is stored with the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BulkFilter {
    /// Only these: tenants `4`, runs `18`, chunks `18/3`, conversations `4:4711`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Only of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Tenants: late, failing, paused, never, rejects, attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Tenants of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Tenants with this in their name or slug.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Runs with this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Runs of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub run_type: Option<String>,
    /// Rejects of this side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Rejects with this SQLSTATE, or its first characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// Rejects with exactly this error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Finds the one of `all` with this name.
fn named<T: Copy>(
    field: FilterField,
    text: Option<&str>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> OperationResult<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    if let Some(found) = all.iter().copied().find(|one| name(*one) == text) {
        return Ok(Some(found));
    }
    let names = all.iter().map(|one| name(*one)).collect();
    Err(Refusal::UnknownName { field, names }.into())
}

impl BulkFilter {
    pub(super) fn tenants(&self) -> OperationResult<TenantFilter> {
        Ok(TenantFilter {
            state: named(
                FilterField::State,
                self.state.as_deref(),
                &TenantState::ALL,
                TenantState::as_str,
            )?,
            source: self.source.clone(),
            text: self.text.clone(),
        })
    }

    pub(super) fn runs(&self, tenant: Option<TenantId>) -> OperationResult<RunFilter> {
        let status = named(
            FilterField::Status,
            self.status.as_deref(),
            &RunStatus::ALL,
            RunStatus::as_str,
        )?;
        let run_type = named(
            FilterField::Type,
            self.run_type.as_deref(),
            &RunType::ALL,
            RunType::as_str,
        )?;
        Ok(RunFilter {
            tenant,
            types: run_type.into_iter().collect(),
            statuses: status.into_iter().collect(),
            since: None,
        })
    }

    pub(super) fn side(&self) -> OperationResult<Option<RejectSide>> {
        named(
            FilterField::Side,
            self.side.as_deref(),
            &RejectSide::ALL,
            RejectSide::as_str,
        )
    }
}

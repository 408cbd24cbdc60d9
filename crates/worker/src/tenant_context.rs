//! Builds a tenant's [`TenantContext`] from the ledger's settings.

use std::sync::Arc;

use secrecy::SecretString;
use tidemark_ledger::inbox::Mapping;
use tidemark_shared::ids::TenantId;

use crate::error::ExecuteError;
use crate::transform::TenantContext;
use crate::transform::privacy::Privacy;

/// Fails when the time zone is unknown, or when columns are hashed and there is no key.
pub(crate) fn tenant_context(
    tenant: TenantId,
    timezone: &str,
    mapping: &Mapping,
    privacy_key: Option<&SecretString>,
) -> Result<TenantContext, ExecuteError> {
    let forgotten = mapping.forgotten.iter().copied();
    let privacy = Privacy::new(tenant.0, mapping.privacy.clone(), forgotten, privacy_key)
        .map_err(|_| ExecuteError::PrivacyKey(tenant))?;
    Ok(TenantContext {
        tenant_id: tenant.0,
        timezone: timezone
            .parse()
            .map_err(|_| ExecuteError::TimeZone(timezone.to_owned()))?,
        privacy: Arc::new(privacy),
    })
}

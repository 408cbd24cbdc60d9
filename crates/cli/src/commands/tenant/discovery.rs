//! Looks up the account of a tenant that was added or changed, and says what comes next.

use tidemark_operations::inboxes::{AccountLookup, look_up_account};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::inbox::UnsyncedInbox;
use tidemark_shared::tenant::Tenant;

use crate::app::App;
use crate::output;

/// Maps the inboxes of the tenant's account. A source that does not answer now is no error: the first plan maps them.
pub async fn look_up(app: &App, db: &DbPool, tenant: &Tenant, done: &str) -> anyhow::Result<()> {
    let id = tenant.id;
    let looked_up = match app.sources() {
        Ok(sources) => look_up_account(db, &app.actor(), &sources, tenant)
            .await
            .map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match looked_up {
        Ok(Some(found)) => tell(tenant, done, &found),
        Ok(None) => {}
        Err(error) => {
            let when = if tenant.discover {
                "the next sync maps its inboxes"
            } else {
                "its inboxes are not mapped"
            };
            output::note(format!(
                "tenant {id} {done}; source `{}` cannot be asked now: {}. {when}; next: tidemark sync --tenant {id}",
                tenant.source,
                report(error.as_ref())
            ));
        }
    }
    Ok(())
}

fn tell(tenant: &Tenant, done: &str, found: &AccountLookup) {
    let (id, source, account) = (tenant.id, &tenant.source, found.account);
    let taken = ids(found.taken.iter().copied());
    output::note(if found.found == 0 {
        format!(
            "tenant {id} {done}; source `{source}` shows no inbox of account {account}. tidemark account list --source {source} \
             shows the accounts; if this is the right one, the plans map its inboxes when there are any"
        )
    } else if taken.is_empty() {
        format!("tenant {id} {done}; no inbox of account {account} is newly mapped")
    } else {
        format!(
            "tenant {id} {done}; {} inboxes of account {account} mapped: {taken}; next: tidemark sync --tenant {id}",
            found.taken.len()
        )
    });
    for (inbox, owner) in &found.of_others {
        output::note(format!(
            "inbox {inbox} of account {account} is tenant {owner}'s; to move it: tidemark inbox map --tenant {id} --inbox {inbox} \
             --from-tenant {owner}"
        ));
    }
    for inbox in &found.unsynced {
        output::note(inbox.to_string());
    }
    let free: Vec<&UnsyncedInbox> = found
        .unsynced
        .iter()
        .filter(|inbox| !inbox.is_decided())
        .collect();
    if !free.is_empty() {
        let free = ids(free.iter().map(|inbox| inbox.inbox_id));
        output::note(format!("next: tidemark inbox map --tenant {id} --inbox {free}"));
    }
}

fn ids(ids: impl Iterator<Item = i32>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

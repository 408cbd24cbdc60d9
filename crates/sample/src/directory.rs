//! Rows that conversations refer to: accounts, agents, teams, inboxes and contacts.

use anyhow::Result;
use chrono::{NaiveDateTime, TimeDelta};
use rand::{Rng, RngExt};

use crate::account::AccountRows;
use crate::copy::{Jsonb, Rows, Table};
use crate::inboxes::{Inbox, InboxRows};
use crate::layout::{Layout, Tenant};
use crate::text::{long_person, nth, odd_person, person};
use crate::words::{CONTACT_ATTRIBUTES, CONTACT_DETAILS, COUNTRIES, TEAMS};

static ACCOUNTS: Table = Table {
    name: "accounts",
    columns: "id, name, created_at, updated_at",
};
static USERS: Table = Table {
    name: "users",
    columns: "id, uid, name, display_name, email, created_at, updated_at",
};
static TEAMS_TABLE: Table = Table {
    name: "teams",
    columns: "id, name, account_id, created_at, updated_at",
};
static CONTACTS: Table = Table {
    name: "contacts",
    columns: "id, name, email, phone_number, account_id, identifier, created_at, updated_at, last_activity_at, \
              additional_attributes, custom_attributes, country_code, blocked",
};
static CONTACT_INBOXES: Table = Table {
    name: "contact_inboxes",
    columns: "id, contact_id, inbox_id, source_id, created_at, updated_at",
};

/// Accounts, users, teams, inboxes and settings of all tenants, and the inboxes in the order of their ids.
pub fn organisation(layout: &Layout, rng: &mut impl Rng) -> Result<(Vec<Rows>, Vec<Inbox>)> {
    let founded = layout.reference - TimeDelta::days(900);
    let mut accounts = Rows::new(&ACCOUNTS);
    let mut users = Rows::new(&USERS);
    let mut teams = Rows::new(&TEAMS_TABLE);
    let mut settings = AccountRows::new();
    let mut inbox_rows = InboxRows::new();
    let mut inboxes = Vec::new();
    for tenant in &layout.tenants {
        accounts.push(&[&tenant.account_id, &tenant.name, &founded, &founded]);
        for id in tenant.agent_ids.clone() {
            push_user(&mut users, id, founded, rng);
        }
        for (id, name) in tenant.team_ids.clone().zip(TEAMS) {
            teams.push(&[
                &i64::from(id),
                name,
                &i64::from(tenant.account_id),
                &founded,
                &founded,
            ]);
        }
        for id in tenant.inbox_ids.clone() {
            inboxes.push(inbox_rows.push(id, tenant, founded, rng)?);
        }
        settings.push(tenant, founded);
    }
    let mut rows = vec![accounts, users, teams];
    rows.extend(inbox_rows.into_rows());
    rows.extend(settings.into_rows());
    Ok((rows, inboxes))
}

fn push_user(rows: &mut Rows, id: i32, at: NaiveDateTime, rng: &mut impl Rng) {
    let email = match id % 29 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(format!("agente.{id}@example.com")),
    };
    let display_name = rng.random_ratio(1, 3).then(|| person(rng));
    rows.push(&[
        &id,
        &format!("agente-{id}"),
        &person(rng),
        &display_name,
        &email,
        &at,
        &at,
    ]);
}

/// Contacts and their `contact_inboxes` rows.
pub struct ContactRows {
    contacts: Rows,
    contact_inboxes: Rows,
}

impl ContactRows {
    pub fn new() -> Self {
        Self {
            contacts: Rows::new(&CONTACTS),
            contact_inboxes: Rows::new(&CONTACT_INBOXES),
        }
    }

    pub fn size(&self) -> usize {
        self.contacts.size() + self.contact_inboxes.size()
    }

    pub fn into_rows(self) -> Vec<Rows> {
        vec![self.contacts, self.contact_inboxes]
    }

    pub fn push(&mut self, tenant: &Tenant, id: i32, reference: NaiveDateTime, rng: &mut impl Rng) {
        let created_at = reference - TimeDelta::minutes(rng.random_range(576_000..1_152_000));
        let last_activity_at = created_at + TimeDelta::seconds(rng.random_range(0..34_000_000));
        let name = match id {
            _ if id % 41 == 0 => Some(long_person(rng)),
            _ if id % 31 == 0 => None,
            _ if id % 13 == 0 => Some(odd_person(rng)),
            _ => Some(person(rng)),
        };
        // emails and identifiers are unique in an account, so only its first contact has empty ones
        let first = id == tenant.contact_ids.start;
        let email = (first || id % 3 != 0).then(|| if first { String::new() } else { email(id) });
        let identifier =
            (first || id % 10 == 0).then(|| if first { String::new() } else { format!("crm:{id}") });
        let phone = match id {
            _ if id % 23 == 0 => Some(String::new()),
            _ if id % 7 == 0 => None,
            _ => Some(phone(id)),
        };
        self.contacts.push(&[
            &id,
            &name,
            &email,
            &phone,
            &tenant.account_id,
            &identifier,
            &created_at,
            &created_at,
            &last_activity_at,
            &nth(CONTACT_DETAILS, id).map(Jsonb),
            &nth(CONTACT_ATTRIBUTES, id).map(Jsonb),
            &nth(COUNTRIES, id),
            &(id % 17 == 0),
        ]);
        let key = i64::from(id);
        let inbox = i64::from(tenant.inbox_of(id));
        self.contact_inboxes
            .push(&[&key, &key, &inbox, &contact_source(id), &created_at, &created_at]);
    }
}

fn email(contact_id: i32) -> String {
    format!("contato.{contact_id}@example.com")
}

/// A Brazilian mobile number.
pub fn phone(number: i32) -> String {
    format!("+55{}", 11_900_000_000 + i64::from(number))
}

/// The channel's id of the contact.
pub fn contact_source(contact_id: i32) -> String {
    format!("55{}", 11_900_000_000 + i64::from(contact_id))
}

//! The paths of the console. Every link goes through here, so that a prefix is in one place.

use std::sync::Arc;

use tidemark_shared::ids::{RunId, TenantId};

#[derive(Debug, Clone)]
pub struct Links {
    prefix: Arc<str>,
}

impl Links {
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// `path` begins with a slash.
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    pub fn tenant(&self, id: TenantId) -> String {
        self.to(&format!("/tenants/{id}"))
    }

    /// The page that a tenant's own people look at.
    pub fn visit(&self, slug: &str) -> String {
        self.to(&format!("/t/{}", encode(slug)))
    }

    pub fn run(&self, id: RunId) -> String {
        self.to(&format!("/runs/{id}"))
    }

    pub fn conversation(&self, tenant: TenantId, id: i64) -> String {
        self.to(&format!("/tenants/{tenant}/conversations/{id}"))
    }

    pub fn source(&self, name: &str) -> String {
        self.to(&format!("/sources#source-{}", encode(name)))
    }

    /// The path without the prefix.
    pub fn strip<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&*self.prefix).unwrap_or(path)
    }
}

/// A text as a part of a path or of a query.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

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
        match path.strip_prefix(&*self.prefix) {
            Some("") => "/",
            Some(rest) if rest.starts_with(['/', '?']) => rest,
            _ => path,
        }
    }
}

/// A text as a part of a path or of a query.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_prefix_is_stripped() {
        let links = Links::new("/ops");
        for (path, stripped) in [
            ("/ops/runs/1", "/runs/1"),
            ("/ops/", "/"),
            ("/ops", "/"),
            ("/ops?x=1", "?x=1"),
            ("/opsworks", "/opsworks"),
            ("/runs", "/runs"),
        ] {
            assert_eq!(links.strip(path), stripped, "{path}");
        }
        assert_eq!(Links::new("").strip("/runs"), "/runs");
    }
}

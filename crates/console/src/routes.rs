//! Routes with the rights that they need. A route cannot be added without one.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{RequestExt, Router};
use tidemark_ledger as ledger;
use tidemark_postgres::report::report;
use tidemark_shared::ids::TenantId;

use crate::actions::{audit, upload};
use crate::api::problem;
use crate::auth::identify::{Stranger, identify};
use crate::auth::who::{Right, Who};
use crate::console::Console;
use crate::context::Cx;
use crate::error::PageError;
use crate::links::encode;
use crate::pages::login::{self, Kept};

/// The largest body, except for files of ids.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The largest body with a file of a million ids.
const IDS_LIMIT: usize = 16 * 1024 * 1024;

/// A route for tests and documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteReport {
    pub method: Method,
    pub path: String,
    pub right: Right,
}

/// Collects routes. Each gets the check of its right.
pub(crate) struct Routes {
    console: Arc<Console>,
    pub router: Router<Arc<Console>>,
    pub list: Vec<RouteReport>,
}

impl Routes {
    pub fn new(console: &Arc<Console>) -> Self {
        Self {
            console: Arc::clone(console),
            router: Router::new(),
            list: Vec::new(),
        }
    }

    pub fn get<H, T>(self, path: &str, right: Right, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.add(Method::GET, path, right, get(handler))
    }

    pub fn post<H, T>(self, path: &str, right: Right, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.add(Method::POST, path, right, post(handler))
    }

    /// For a body with a file of ids.
    pub fn post_large<H, T>(self, path: &str, right: Right, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.add(
            Method::POST,
            path,
            right,
            post(handler).layer(DefaultBodyLimit::max(IDS_LIMIT)),
        )
    }

    fn add(mut self, method: Method, path: &str, right: Right, handler: MethodRouter<Arc<Console>>) -> Self {
        self.list.push(RouteReport {
            method,
            path: path.to_owned(),
            right,
        });
        let console = Arc::clone(&self.console);
        let check = from_fn_with_state((console, right), check);
        self.router = self.router.route(path, handler.layer(check));
        self
    }
}

/// Lets a request through when its author may do this to this tenant.
pub async fn check(
    State((console, right)): State<(Arc<Console>, Right)>,
    mut request: Request,
    next: Next,
) -> Response {
    if right == Right::Public {
        return next.run(request).await;
    }
    let path = console.links.strip(request.uri().path()).to_owned();
    let is_api = path.starts_with("/api/");
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let who = match identify(&console, request.headers(), request.extensions()).await {
        Ok(who) => who,
        Err(stranger) => return refuse(&console, stranger, request, is_api).await,
    };
    request.extensions_mut().insert(who.clone());
    if !who.may(right) {
        if is_change {
            audit::refused(&console, &who, &path).await;
        }
        if let Some(tenant) = who.own_tenant() {
            return send_home(&console, tenant, request, &path).await;
        }
        let error = PageError::Forbidden {
            needed: right,
            role: who.role,
        };
        return answer(&console, error, request, is_api).await;
    }
    match foreign_tenant(&mut request, &who).await {
        Ok(false) => {}
        Ok(true) => {
            if is_change {
                audit::refused(&console, &who, &path).await;
            }
            return answer(&console, PageError::NotFound, request, is_api).await;
        }
        Err(error) => return answer(&console, error, request, is_api).await,
    }
    if is_change && console.settings.console.read_only {
        return answer(&console, PageError::ReadOnly, request, is_api).await;
    }
    next.run(request).await
}

/// For a tenant's user nothing exists but the page of its tenant. The root leads there.
async fn send_home(console: &Arc<Console>, tenant: TenantId, request: Request, path: &str) -> Response {
    if path != "/" || *request.method() != Method::GET {
        return answer(console, PageError::NotFound, request, path.starts_with("/api/")).await;
    }
    match ledger::tenant::find(&console.db, tenant).await {
        Ok(Some(found)) => Redirect::to(&console.links.visit(&found.slug)).into_response(),
        Ok(None) => answer(console, PageError::NotFound, request, false).await,
        Err(error) => answer(console, error.into(), request, false).await,
    }
}

/// Whether the path names a tenant that this author does not see.
async fn foreign_tenant(request: &mut Request, who: &Who) -> Result<bool, PageError> {
    let Ok(params) = request.extract_parts::<RawPathParams>().await else {
        return Err(PageError::NotFound);
    };
    let Some((_, tenant)) = params.iter().find(|(name, _)| *name == "tenant") else {
        return Ok(false);
    };
    let tenant: TenantId = tenant.parse().map_err(|_| PageError::NotFound)?;
    Ok(!who.sees(tenant))
}

async fn answer(console: &Arc<Console>, error: PageError, request: Request, is_api: bool) -> Response {
    let (mut parts, _) = request.into_parts();
    match Cx::from_request_parts(&mut parts, console).await {
        Ok(cx) if is_api => problem::of(&error, &cx).into_response(),
        Ok(cx) => error.page(&cx),
    }
}

async fn refuse(console: &Arc<Console>, stranger: Stranger, request: Request, is_api: bool) -> Response {
    let (status, text) = match stranger {
        Stranger::Ledger(error) => {
            tracing::debug!(error = %report(&error), "sign-in not checked");
            return answer(console, error.into(), request, is_api).await;
        }
        Stranger::Nobody if !is_api && *request.method() == Method::POST => {
            return keep_form(console, request).await;
        }
        Stranger::Nobody if !is_api && request.headers().get("x-dialog").is_none() => {
            return Redirect::to(&login_link(console, request.method(), request.uri())).into_response();
        }
        Stranger::Nobody => (
            StatusCode::UNAUTHORIZED,
            "sign in, or send a token of `tidemark console token add` as Authorization: Bearer TOKEN"
                .to_owned(),
        ),
        Stranger::WrongToken => (
            StatusCode::UNAUTHORIZED,
            "the token is unknown or has expired: `tidemark console token add` makes another".to_owned(),
        ),
        Stranger::OtherPeer => (
            StatusCode::UNAUTHORIZED,
            "this peer is not among console.proxy_peers: open the console through its proxy".to_owned(),
        ),
        Stranger::Unnamed => (
            StatusCode::UNAUTHORIZED,
            "the proxy names no user: see console.proxy_header".to_owned(),
        ),
        Stranger::Unknown(_) => (
            StatusCode::FORBIDDEN,
            "the console does not know this user: `tidemark console user add NAME` adds it".to_owned(),
        ),
    };
    if is_api {
        return problem::plain(status, &text).into_response();
    }
    (status, text).into_response()
}

/// The sign-in for somebody whose session has ended, with the form that was sent.
async fn keep_form(console: &Arc<Console>, request: Request) -> Response {
    let action = console.links.strip(request.uri().path()).to_owned();
    let (mut parts, body) = request.into_parts();
    let Ok(cx) = Cx::from_request_parts(&mut parts, console).await;
    let fields = if upload::is_multipart(&parts.headers) {
        let given = upload::fields(&cx, Request::from_parts(parts, body)).await;
        given.map_or_else(
            |_| String::new(),
            |given| {
                let mut fields = url::form_urlencoded::Serializer::new(String::new());
                fields.extend_pairs(given).finish()
            },
        )
    } else {
        let is_form = parts
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        match axum::body::to_bytes(body, BODY_LIMIT).await {
            Ok(bytes) if is_form => String::from_utf8(bytes.to_vec()).unwrap_or_default(),
            _ => String::new(),
        }
    };
    login::ask(&cx, &Kept { action, fields }).await
}

/// The sign-in, and from there back to where the request went.
fn login_link(console: &Console, method: &Method, uri: &Uri) -> String {
    let here = match *method {
        Method::GET => uri
            .path_and_query()
            .map_or("/", |whole| console.links.strip(whole.as_str())),
        _ => "/",
    };
    console.links.to(&format!("/login?to={}", encode(here)))
}

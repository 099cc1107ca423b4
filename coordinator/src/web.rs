//! HTTP: `/healthz` (the process answers), `/readyz` (it knows who leads), webhooks, Submit. The allow-list is this file.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::control::Control;
use crate::api::over_http;
use crate::handle::{Handle, Role};
use crate::hooks;

pub(crate) fn router(handle: Handle, control: Arc<Control>) -> Router {
    let hooks = hooks::router(handle.clone());
    let ready = move || {
        let ready = match &*handle.role.borrow() {
            Role::Leader(_) | Role::Follower(Some(_)) => (StatusCode::OK, "ready\n"),
            Role::Follower(None) | Role::Starting => (StatusCode::SERVICE_UNAVAILABLE, "no leader is known\n"),
        };
        std::future::ready(ready)
    };
    Router::new()
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
        .merge(hooks)
        .merge(over_http::router(control))
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

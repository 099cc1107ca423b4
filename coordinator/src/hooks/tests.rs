//! Calls as they come over HTTP, answered by a real scheduler.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use penstock_common::limits::MAX_EVENT_PAYLOAD_BYTES;
use penstock_common::{Digest, PipelineName};
use penstock_scheduler::Input;
use tower::ServiceExt as _;

use super::router;
use crate::desk::Desk;

const HOOK: &str = "/api/v1/hooks/default/p/landed";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.register("pipeline: p\ntriggers: [{name: landed, event: ready}]\ntasks: {a: {noop: true}}\n");
    desk
}

fn set_token(desk: &Desk, token: &str) {
    let (pipeline, trigger) = (PipelineName::parse("p").unwrap(), "landed".parse().unwrap());
    let digest = Some(Digest::of(token.as_bytes()));
    desk.decide(Input::SetTriggerToken { pipeline, trigger, digest, by: "me".into(), note: "".into() }).unwrap();
}

/// The status and the body of the answer to a call.
async fn call(desk: &Desk, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router(desk.handle.clone()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const BEARER: (&str, &str) = ("authorization", "Bearer open sesame");

#[tokio::test]
async fn a_call_is_an_event_and_the_same_key_is_the_same_event() {
    let desk = desk();
    set_token(&desk, "open sesame");
    let key = ("idempotency-key", "load 7");
    for _ in 0..2 {
        let (status, body) = call(&desk, HOOK, &[JSON, BEARER, key], r#"{"n": 1}"#).await;
        assert_eq!((status, &*body), (StatusCode::ACCEPTED, "{\"event\":1}\n"));
    }
    assert_eq!(desk.runs().len(), 1);
    assert_eq!(call(&desk, HOOK, &[JSON, BEARER, key], r#"{"n": 2}"#).await.0, StatusCode::CONFLICT);
    let own = ("x-penstock-token", "open sesame");
    for body in ["{}", "{}"] {
        assert_eq!(call(&desk, HOOK, &[JSON, own], body).await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(desk.runs().len(), 3, "without a key each call is another event");
}

#[tokio::test]
async fn who_shows_no_token_is_told_nothing_but_how_to_set_one() {
    let desk = desk();
    let unset = call(&desk, HOOK, &[JSON, BEARER], "{}").await;
    assert_eq!(unset.0, StatusCode::UNAUTHORIZED);
    assert!(unset.1.contains("penstock triggers token p landed"), "{}", unset.1);
    set_token(&desk, "open sesame");
    for headers in [&[JSON][..], &[JSON, ("authorization", "Bearer other")], &[JSON, ("authorization", "Basic open sesame")]] {
        assert_eq!(call(&desk, HOOK, headers, "{}").await, unset, "{headers:?}");
    }
    for path in ["/api/v1/hooks/default/q/landed", "/api/v1/hooks/default/p/other"] {
        assert_eq!(call(&desk, path, &[JSON, BEARER], "{}").await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/api/v1/hooks/default/P!/landed", "/api/v1/hooks/default/p/%2e%2e", "/api/v1/hooks/p/landed", "/api/v1/hooks"] {
        assert_eq!(call(&desk, path, &[JSON, BEARER], "{}").await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(desk.runs().is_empty());
}

#[tokio::test]
async fn what_is_no_json_or_too_large_is_refused() {
    let desk = desk();
    set_token(&desk, "open sesame");
    let large = format!("\"{}\"", "x".repeat(MAX_EVENT_PAYLOAD_BYTES));
    for (headers, body, status) in [
        (&[BEARER][..], "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[BEARER, ("content-type", "text/csv")], "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[BEARER, JSON], "{", StatusCode::BAD_REQUEST),
        (&[BEARER, JSON, ("idempotency-key", "")], "{}", StatusCode::BAD_REQUEST),
        (&[BEARER, JSON], &large, StatusCode::PAYLOAD_TOO_LARGE),
        (&[BEARER, ("content-type", "application/cloudevents+json; charset=utf-8")], "{}", StatusCode::ACCEPTED),
    ] {
        assert_eq!(call(&desk, HOOK, headers, body.to_owned()).await.0, status, "{headers:?} {}", body.len());
    }
    assert_eq!(desk.runs().len(), 1);
}

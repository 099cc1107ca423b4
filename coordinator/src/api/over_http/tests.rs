//! Calls as they come over HTTP, answered by a real scheduler.

use axum::body::Body;
use axum::http::Request;
use penstock_store::{Keys, Memory};
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::archive::History;
use crate::desk::Desk;

const RUNS: &str = "/api/v1/pipelines/default/p/runs";
const JSON: (&str, &str) = ("content-type", "application/json");

fn desk() -> Desk {
    let desk = Desk::new();
    desk.register("pipeline: p\ntimezone: Europe/Paris\nparams: {n: {type: int, default: 1}}\ntasks: {a: {noop: true}, b: {noop: true}}\n");
    desk
}

fn control(desk: &Desk) -> Arc<Control> {
    let store: Arc<dyn penstock_store::Store> = Arc::new(Memory::default());
    Arc::new(Control {
        handle: desk.handle.clone(),
        history: History { store: store.clone(), keys: Keys::default() },
        store,
        clock: desk.clock.clone(),
        node: "n1".parse().unwrap(),
        address: "localhost:1".to_owned(),
        logs: std::path::PathBuf::new(),
    })
}

/// The status and the body of the answer to a call.
async fn call(desk: &Desk, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, serde_json::Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router(control(desk)).oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_call_starts_a_run_with_checked_parameters_and_any_interval_and_the_same_again_is_the_same() {
    let desk = desk();
    let body = r#"{"run_id": "first", "params": {"n": 7}, "interval": "2024-03-31", "only": ["a"], "by": "scheduler of ours"}"#;
    let created = json!({"run_id": "first", "version": 1, "created": true});
    assert_eq!(call(&desk, RUNS, &[JSON], body).await, (StatusCode::CREATED, created));
    assert_eq!(call(&desk, RUNS, &[JSON], body).await.0, StatusCode::OK);
    assert_eq!(call(&desk, RUNS, &[JSON], r#"{"run_id": "first"}"#).await.0, StatusCode::CONFLICT);
    let run = desk.scheduler.lock().unwrap().run(&"first".parse().unwrap()).unwrap().clone();
    let interval = run.interval.unwrap();
    assert_eq!((&*run.params, &*run.trigger.by), (r#"{"n":7}"#, "scheduler of ours"));
    assert_eq!(interval.end().since(interval.start()).0, 23 * 3_600_000, "a day of Paris with 23 hours");
    let (status, answer) = call(&desk, RUNS, &[JSON], r#"{"interval": "2024-01-01/2024-01-02T06:00:00Z"}"#).await;
    assert_eq!((status, answer["created"].as_bool()), (StatusCode::CREATED, Some(true)), "{answer}");
    assert_eq!(desk.runs().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_starts_nothing_and_says_why() {
    let desk = desk();
    let text = ("content-type", "text/plain");
    let origin = ("origin", "https://elsewhere.example");
    for (path, headers, body, status, why) in [
        (RUNS, &[JSON][..], r#"{"params": {"n": "many"}}"#, StatusCode::BAD_REQUEST, "not of type int"),
        (RUNS, &[JSON], r#"{"parameters": {}}"#, StatusCode::BAD_REQUEST, "unknown field"),
        (RUNS, &[JSON], r#"{"interval": "2024-01-02/2024-01-01"}"#, StatusCode::BAD_REQUEST, "the earlier first"),
        (RUNS, &[JSON], r#"{"interval": "yesterday"}"#, StatusCode::BAD_REQUEST, "interval"),
        (RUNS, &[JSON], r#"{"only": ["nope"]}"#, StatusCode::BAD_REQUEST, "nope"),
        (RUNS, &[JSON], "[1", StatusCode::BAD_REQUEST, "the body"),
        (RUNS, &[text], "{}", StatusCode::BAD_REQUEST, "application/json"),
        (RUNS, &[JSON, origin], "{}", StatusCode::FORBIDDEN, "web pages"),
        ("/api/v1/pipelines/default/q/runs", &[JSON], "{}", StatusCode::NOT_FOUND, "no pipeline"),
        ("/api/v1/pipelines/default/P!/runs", &[JSON], "{}", StatusCode::BAD_REQUEST, "P!"),
    ] {
        let (found, answer) = call(&desk, path, headers, body).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(why)), "{body}: {answer}");
    }
    assert_eq!(desk.runs().len(), 0);
}

//! `http` tasks against a real server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;

use penstock_common::lease::Lease;
use penstock_common::pipeline::{Action, Body, Http, Setting};
use penstock_common::record::Ended;
use penstock_common::{Millis, Reason, State, Timestamp};
use penstock_worker::attempt::{Secrets, Stop};
use serde_json::json;
use support::server::{Server, reply};
use support::tls::TlsServer;
use support::{World, assert_ended, eventually, secret, template, with};

fn world() -> World {
    let mut world = World::new();
    world.host.http_allow_private = true;
    world.host.secrets = Secrets::new(None, [("PENSTOCK_SECRET_TOKEN".into(), "Bearer hunter2-hunter2".into())]);
    world
}

fn get(url: impl Into<String>) -> Http {
    let (method, headers) = ("GET".into(), BTreeMap::new());
    Http { method, url: url.into(), headers, body: None, success: vec![(200, 299)], keep_body: true }
}

fn lease(world: &World, http: Http) -> Lease {
    world.lease(Action::Http(http))
}

fn header(http: &mut Http, name: &str, setting: Setting) {
    http.headers.insert(name.into(), setting);
}

fn output(ended: &Ended, key: &str) -> serde_json::Value {
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    serde_json::from_str(&ended.outputs.0[key]).unwrap()
}

const HOSTILE: &str = "\"; touch pwned; # $(id) {{ 7*7 }} ../..?a=b&c\r\nX-Evil: 1";

#[tokio::test]
async fn status_and_body_are_outputs_and_json_stays_json() {
    let world = world();
    let server = Server::start(|request| match request.path.as_str() {
        "/json" => reply(200, &[("Content-Type", "application/json; charset=utf-8")], r#"{"rows": [1, 2]}"#),
        "/huge" => reply(200, &[("Content-Type", "application/json")], r#"{"id": 12345678901234567890123}"#),
        "/broken" => reply(200, &[("Content-Type", "application/json")], "{"),
        _ => reply(201, &[("Content-Type", "text/plain")], "done"),
    })
    .await;
    let ended = world.execute(&lease(&world, get(server.url("/json")))).await;
    assert_eq!((output(&ended, "status"), output(&ended, "body")), (json!(200), json!({"rows": [1, 2]})));
    assert_eq!(ended.metrics.0["bytes"], 16.0);
    assert!(ended.started_at > Timestamp(0) && ended.ended_at > ended.started_at);

    let ended = world.execute(&lease(&world, get(server.url("/text")))).await;
    assert_eq!((output(&ended, "status"), output(&ended, "body")), (json!(201), json!("done")));
    let ended = world.execute(&lease(&world, get(server.url("/broken")))).await;
    assert_eq!(output(&ended, "body"), json!("{"));
    let ended = world.execute(&lease(&world, get(server.url("/huge")))).await;
    assert_eq!(output(&ended, "body"), json!(r#"{"id": 12345678901234567890123}"#), "a number would be another one");
    let ended = world.execute(&lease(&world, Http { keep_body: false, ..get(server.url("/text")) })).await;
    assert_eq!(ended.outputs.0.keys().collect::<Vec<_>>(), ["status"]);
    let log = world.lines("P").join("\n");
    assert!(log.contains(&format!("GET {}", server.url("/json"))) && log.contains("HTTP 200"), "{log}");
}

#[tokio::test]
async fn a_request_says_which_attempt_it_is_of() {
    let world = world();
    let server = Server::start(|_| reply(200, &[], "")).await;
    let mut http = Http {
        method: "POST".into(),
        body: Some(Body::Json(json!({"n": "{{ params.n }}", "s": "n={{ params.n }}"}))),
        ..get(server.url("/"))
    };
    let mut first = lease(&world, http.clone());
    first.params = r#"{"n": 5}"#.into();
    world.execute(&first).await;
    let got = server.last();
    assert_eq!((got.method.as_str(), got.body.as_str()), ("POST", r#"{"n":5,"s":"n=5"}"#));
    for (name, value) in [
        ("idempotency-key", "run-1/load/1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("content-type", "application/json"),
        ("host", &server.address.to_string()),
    ] {
        assert_eq!(got.headers[name], value);
    }
    assert!(got.headers["user-agent"].starts_with("penstock/"));

    header(&mut http, "Idempotency-Key", template("mine"));
    header(&mut http, "Authorization", secret("TOKEN"));
    http.body = Some(Body::Text("a={{ run.id }}".into()));
    world.execute(&lease(&world, http)).await;
    let got = server.last();
    assert_eq!((got.headers["idempotency-key"].as_str(), got.headers["authorization"].as_str()), ("mine", "Bearer hunter2-hunter2"));
    assert_eq!(got.body, "a=run-1");
}

#[tokio::test]
async fn another_status_fails_and_shows_what_the_server_said() {
    let world = world();
    let server =
        Server::start(|_| reply(503, &[], &format!("maintenance until six \u{1b}[31m Bearer hunter2-hunter2 {}", "x".repeat(5_000)))).await;
    let mut http = get(server.url("/a"));
    header(&mut http, "Authorization", secret("TOKEN"));
    let ended = world.execute(&lease(&world, http)).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    let expected = format!("HTTP 503 from {}: maintenance until six [31m *** xxx", server.url("/a"));
    assert!(ended.detail.starts_with(&expected), "{}", ended.detail);
    assert!(ended.outputs.0.is_empty());
    let ended = world.execute(&lease(&world, Http { success: vec![(200, 200), (500, 503)], ..get(server.url("/a")) })).await;
    assert_eq!(ended.state, State::Success);
}

#[tokio::test]
async fn what_does_not_answer_fails_with_the_address_that_was_tried() {
    let world = world();
    // Bound for a moment, so that nobody listens there now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = world.execute(&lease(&world, get(format!("http://{free}/")))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains(&free.to_string()), "{}", ended.detail);
    let ended = world.execute(&lease(&world, get("http://nowhere.invalid/"))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("nowhere.invalid"), "{}", ended.detail);
    let half = Server::start(|_| Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into())).await;
    let ended = world.execute(&lease(&world, get(half.url("/")))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("breaks off"), "{}", ended.detail);
}

#[tokio::test]
async fn private_addresses_are_refused_after_resolution_and_on_redirects() {
    let mut world = world();
    world.host.http_allow_private = false;
    let server = Server::start(|_| reply(200, &[], "secret of the machine")).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
    {
        let ended = world.execute(&lease(&world, get(format!("http://{host}:{port}/latest/meta-data")))).await;
        assert_ended(&ended, State::Failed, Reason::Spawn);
        assert!(ended.detail.contains("--http-allow-private"), "{host}: {}", ended.detail);
    }
    assert!(server.received().is_empty());
    // With leave for this server a redirect elsewhere is still checked as a URL.
    world.host.http_allow_private = true;
    let redirect = Server::start(|request| {
        let to = if request.path == "/file" { "file:///etc/passwd" } else { "http://user:pass@127.0.0.1/" };
        reply(302, &[("Location", to)], "")
    })
    .await;
    for path in ["/file", "/user"] {
        let ended = world.execute(&lease(&world, get(redirect.url(path)))).await;
        assert_ended(&ended, State::Failed, Reason::Spawn);
        assert!(!ended.detail.contains("pass@"), "{}", ended.detail);
    }
}

#[tokio::test]
async fn redirects_are_followed_and_secrets_stay_with_their_origin() {
    let world = world();
    let other = Server::start(|_| reply(200, &[], "there")).await;
    let to = other.url("/landing");
    let server = Server::start(move |request| match request.path.as_str() {
        "/away" => reply(307, &[("Location", &to)], ""),
        "/see" => reply(303, &[("Location", "/here?x=1")], ""),
        "/loop" => reply(302, &[("Location", "/loop")], ""),
        _ => reply(200, &[], "here"),
    })
    .await;
    let mut http = Http { method: "POST".into(), body: Some(Body::Text("payload".into())), ..get(server.url("/see")) };
    header(&mut http, "X-Token", secret("TOKEN"));
    header(&mut http, "Cookie", template("a=b"));
    let ended = world.execute(&lease(&world, http.clone())).await;
    assert_eq!(output(&ended, "body"), json!("here"));
    let got = server.last();
    assert_eq!((got.method.as_str(), got.path.as_str(), got.body.as_str()), ("GET", "/here?x=1", ""));
    assert_eq!(got.headers["x-token"], "Bearer hunter2-hunter2", "the same origin");

    http.url = server.url("/away");
    let ended = world.execute(&lease(&world, http)).await;
    assert_eq!(output(&ended, "body"), json!("there"));
    let got = other.last();
    assert_eq!((got.method.as_str(), got.body.as_str()), ("POST", "payload"), "307 keeps the method");
    assert!(!got.headers.contains_key("x-token") && !got.headers.contains_key("cookie"), "{got:?}");
    assert_eq!(got.headers["host"], other.address.to_string());

    let ended = world.execute(&lease(&world, get(server.url("/loop")))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("10 redirects"), "{}", ended.detail);
    let ended = world.execute(&lease(&world, Http { success: vec![(302, 302)], ..get(server.url("/loop")) })).await;
    assert_eq!(output(&ended, "status"), json!(302), "a status that is asked for is not followed");
}

#[tokio::test]
async fn hostile_values_stay_where_they_are_put() {
    let world = world();
    let server = Server::start(|_| reply(200, &[], "")).await;
    let mut http = get(server.url("/v1/{{ params.x }}/end?q={{ params.x }}&r=1"));
    http.method = "POST".into();
    http.body = Some(Body::Json(json!({"x": "{{ params.x }}", "y": "<{{ params.x }}>"})));
    let mut hostile = lease(&world, http.clone());
    hostile.params = json!({ "x": HOSTILE }).to_string().into();
    let ended = world.execute(&hostile).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let got = server.last();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&got.body).unwrap(), json!({"x": HOSTILE, "y": format!("<{HOSTILE}>")}));
    let url = url::Url::parse(&server.url(&got.path)).unwrap();
    assert_eq!(
        url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect::<Vec<_>>(),
        [("q".into(), HOSTILE.into()), ("r".to_owned(), "1".to_owned())]
    );
    assert_eq!(url.path_segments().unwrap().count(), 3, "{}", got.path);
    assert!(!got.headers.contains_key("x-evil"));

    http.body = Some(Body::Text("{{ params.x }}".into()));
    let mut text = lease(&world, http.clone());
    text.params = hostile.params.clone();
    world.execute(&text).await;
    assert_eq!(server.last().body, HOSTILE);

    header(&mut http, "X-Value", template("{{ params.x }}"));
    let mut in_header = lease(&world, http);
    in_header.params = hostile.params.clone();
    let ended = world.execute(&in_header).await;
    assert_ended(&ended, State::Failed, Reason::Template);
    assert!(ended.detail.contains("X-Value") && ended.detail.contains("newline"), "{}", ended.detail);
    in_header.params = json!({"x": "\"; touch pwned; # $(id) {{ 7*7 }}"}).to_string().into();
    world.execute(&in_header).await;
    assert_eq!(server.last().headers["x-value"], "\"; touch pwned; # $(id) {{ 7*7 }}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_by_its_place() {
    let world = world();
    for (change, place) in [
        ((|http: &mut Http| http.url = "ftp://example.com/".into()) as fn(&mut Http), "http.url"),
        (|http| http.url = "{{ params.nope }}".into(), "http.url"),
        (|http| http.url = "http://u:hunter2@example.com/".into(), "Authorization"),
        (|http| http.method = "GE T".into(), "http.method"),
        (|http| header(http, "Bad Name", template("x")), "http.headers.Bad Name"),
        (|http| header(http, "Content-Length", template("5")), "http.headers.Content-Length"),
        (|http| http.body = Some(Body::Json(json!({"a": ["{{ x }}"]}))), "http.body.a[0]"),
    ] {
        let mut http = get("http://127.0.0.1:1/");
        change(&mut http);
        let ended = world.execute(&lease(&world, http)).await;
        assert_ended(&ended, State::Failed, Reason::Template);
        assert!(ended.detail.contains(place) && !ended.detail.contains("hunter2"), "{}", ended.detail);
        assert_eq!(ended.started_at, Timestamp(0));
    }
    let mut http = get("http://127.0.0.1:1/");
    header(&mut http, "Authorization", secret("NOPE"));
    let ended = world.execute(&lease(&world, http)).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("PENSTOCK_SECRET_NOPE"), "{}", ended.detail);
}

#[tokio::test]
async fn a_large_answer_is_read_to_a_bound_and_is_no_output() {
    let world = world();
    let server = Server::start(|request| match request.path.as_str() {
        "/64k" => reply(200, &[], &"x".repeat(70_000)),
        // Far more than it promises to be read: the connection is closed on it.
        _ => Some(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n{}", "x".repeat(20_000_000))),
    })
    .await;
    for path in ["/64k", "/endless"] {
        let ended = world.execute(&lease(&world, get(server.url(path)))).await;
        assert_ended(&ended, State::Failed, Reason::OutputTooLarge);
        assert!(ended.detail.contains("pass a reference"), "{}", ended.detail);
        let ended = world.execute(&lease(&world, Http { keep_body: false, ..get(server.url(path)) })).await;
        assert_eq!(ended.state, State::Success, "{path}: {}", ended.detail);
    }
}

#[tokio::test]
async fn a_cancel_and_a_timeout_close_the_connection() {
    let world = world();
    let server = Server::start(|_| None).await;
    let slow = lease(&world, get(server.url("/slow")));
    let ended = world
        .execute_while(&slow, async |go| {
            eventually("the request comes", || !server.received().is_empty()).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    let ended = world.execute(&with(slow, |task| task.timeout = Some(Millis(50)))).await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
}

/// Not a test: the worker that trusts the authority of `certificates_are_verified`, by its environment.
#[tokio::test]
#[ignore = "run by another test"]
async fn helper_trusting() {
    let world = world();
    let ended = world.execute(&lease(&world, get(std::env::var("HELPER_URL").unwrap()))).await;
    assert_eq!(output(&ended, "status"), json!(200));
}

#[tokio::test]
async fn certificates_are_verified() {
    let world = world();
    let server = TlsServer::start(&world.root).await;
    let url = format!("https://localhost:{}/", server.port);
    let trusting = |url: &str, authority: &std::path::Path| {
        let mut helper = std::process::Command::new(std::env::current_exe().unwrap());
        helper.args(["--exact", "helper_trusting", "--ignored"]).env("HELPER_URL", url).env("SSL_CERT_FILE", authority);
        helper.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().success()
    };
    assert!(trusting(&url, &server.certificate));
    assert!(!trusting(&format!("https://127.0.0.1:{}/", server.port), &server.certificate), "it is the certificate of another name");
    let ended = world.execute(&lease(&world, get(url))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("certificate"), "{}", ended.detail);
}

//! A stub of a Kubernetes API server, with as much of a Job controller, a scheduler and a kubelet as a test tells it to be. It
//! stores what it is sent, and at its end has every object checked against the published schemas (`schemas.rs`).
//!
//! What it knows: Jobs, Pods (with watch and log) and Secrets; label selectors `a=b`; names that are taken; preconditions;
//! foreground deletion; merge patches. What it is told: how far a Pod is, what it logs, and which requests fail in which way.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::schemas;
use super::world::{LIMIT, eventually};

const TOKEN: &str = "stub-token";

pub(crate) struct Stub {
    pub(crate) kubeconfig: PathBuf,
    inner: Arc<Inner>,
    _dir: tempfile::TempDir,
}

struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By kind, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// Of Pods: version, type, object.
    events: Vec<(u64, &'static str, Value)>,
    logs: BTreeMap<String, Vec<(String, String)>>,
    /// All that was ever created or changed.
    received: Vec<Value>,
    /// What is done with requests that match: once each, in this order.
    faults: VecDeque<(String, Fault)>,
    requests: Vec<String>,
    /// Whether deleted Pods end.
    deaf: bool,
    /// Raised to end every stream that is open.
    cut: u64,
}

/// How a request fails.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    Status(u16),
    /// It is done, and the connection breaks before the answer.
    LostAnswer,
}

type Key = (String, String, String);

impl Stub {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Inner { state: Mutex::default(), changed: watch::channel(0).0 });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "stub", "user": {"token": TOKEN}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub", "namespace": "etl"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { kubeconfig, inner, _dir: dir }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// The next request whose `METHOD path?query` contains this fails so.
    pub(crate) fn fail(&self, request: &str, fault: Fault) {
        self.lock().faults.push_back((request.to_owned(), fault));
    }
    pub(crate) fn set_deaf(&self) {
        self.lock().deaf = true;
    }
    /// Ends every open stream.
    pub(crate) fn cut(&self) {
        self.lock().cut += 1;
        self.inner.tell();
    }
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        self.lock().objects.keys().filter(|(k, ..)| k == kind).map(|(_, _, name)| name.clone()).collect()
    }
    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let state = self.lock();
        let found = state.objects.iter().find(|((k, _, n), _)| k == kind && n == name);
        found.map_or(Value::Null, |(_, object)| object.clone())
    }
    /// Puts an object there as if someone else had.
    pub(crate) fn put(&self, kind: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.lock().objects.insert((kind.to_owned(), "etl".to_owned(), name), object);
    }
    pub(crate) fn requests(&self, what: &str) -> usize {
        self.lock().requests.iter().filter(|request| request.contains(what)).count()
    }
    pub(crate) fn received(&self) -> Vec<Value> {
        self.lock().received.clone()
    }

    /// Waits for the one Pod there is.
    pub(crate) async fn pod(&self) -> String {
        eventually("there is a Pod", || !self.names("pods").is_empty()).await;
        self.names("pods").remove(0)
    }
    /// Sets a Pod's status.
    pub(crate) fn status(&self, pod: &str, status: Value) {
        let mut state = self.lock();
        if let Some(key) = state.key("pods", pod) {
            state.change(&key, |object| object["status"] = status);
        }
        drop(state);
        self.inner.tell();
    }
    pub(crate) fn waiting(&self, pod: &str, reason: &str, message: &str) {
        self.status(
            pod,
            json!({"phase": "Pending", "containerStatuses": task(json!({"waiting": {"reason": reason, "message": message}}))}),
        );
    }
    pub(crate) fn run(&self, pod: &str) {
        self.status(pod, json!({"phase": "Running", "containerStatuses": task(json!({"running": {}}))}));
    }
    pub(crate) fn end(&self, pod: &str, code: i32, reason: &str, message: &str) {
        self.status(pod, terminated(code, reason, message));
    }
    pub(crate) fn log(&self, pod: &str, time: &str, line: &str) {
        self.lock().logs.entry(pod.to_owned()).or_default().push((time.to_owned(), line.to_owned()));
        self.inner.tell();
    }
    /// The Job's Failed condition.
    pub(crate) fn fail_job(&self, reason: &str, message: &str) {
        let mut state = self.lock();
        let key = state.objects.keys().find(|(kind, ..)| kind == "jobs").cloned().unwrap();
        let condition = json!({"type": "Failed", "status": "True", "reason": reason, "message": message});
        state.change(&key, |job| job["status"]["conditions"] = json!([condition]));
    }
    /// Someone deletes the Pod, and it ends.
    pub(crate) fn delete_pod(&self, pod: &str) {
        let key = self.lock().key("pods", pod).unwrap();
        self.lock().remove(&key);
        self.inner.tell();
    }

    /// A Job goes; its Pod stays for a while under another name, as if the garbage collector were slow.
    pub(crate) fn orphan(&self) {
        let mut state = self.lock();
        state.objects.retain(|(kind, ..), _| kind != "jobs");
        for (key, mut pod) in std::mem::take(&mut state.objects) {
            pod["metadata"]["name"] = format!("a-{}", key.2).into();
            state.objects.insert((key.0, key.1, format!("a-{}", key.2)), pod);
        }
    }

    /// What the kubelet would start: argv and environment, with `$(NAME)` expanded as it does, and Secrets looked up.
    pub(crate) fn started(&self, pod: &str) -> (Vec<String>, BTreeMap<String, String>) {
        let object = self.object("pods", pod);
        let container = &object["spec"]["containers"][0];
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for variable in container["env"].as_array().unwrap() {
            let value = match variable["value"].as_str() {
                Some(text) => expand(text, &env),
                None => {
                    let reference = &variable["valueFrom"]["secretKeyRef"];
                    let secret = self.object("secrets", reference["name"].as_str().unwrap());
                    let encoded = secret["data"][reference["key"].as_str().unwrap()].as_str().expect("the Secret has the key").to_owned();
                    base64(&encoded)
                }
            };
            env.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        let texts = |key: &str| container[key].as_array().cloned().unwrap_or_default();
        let argv = texts("command").into_iter().chain(texts("args")).map(|text| expand(text.as_str().unwrap(), &env)).collect();
        (argv, env)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            schemas::check(&self.received());
        }
    }
}

impl Inner {
    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

impl State {
    fn key(&self, kind: &str, name: &str) -> Option<Key> {
        self.objects.keys().find(|(k, _, n)| k == kind && n == name).cloned()
    }
    fn add(&mut self, key: &Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.event(key, "ADDED", &object);
        object
    }
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Value {
        self.version += 1;
        let object = self.objects.get_mut(key).unwrap();
        change(object);
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = object.clone();
        self.event(key, "MODIFIED", &object);
        object
    }
    /// With all that it owns.
    fn remove(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        self.version += 1;
        self.event(key, "DELETED", &object);
        let owns = |other: &Value| {
            other["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|o| o["uid"] == object["metadata"]["uid"]))
        };
        let owned: Vec<Key> = self.objects.iter().filter(|(_, other)| owns(other)).map(|(key, _)| key.clone()).collect();
        owned.iter().for_each(|key| self.remove(key));
    }
    fn event(&mut self, key: &Key, kind: &'static str, object: &Value) {
        if key.0 == "pods" {
            self.events.push((self.version, kind, object.clone()));
        }
    }
    fn list(&self, kind: &str, namespace: Option<&str>, selector: &str) -> Vec<Value> {
        let fits = |(k, ns, _): &Key| k == kind && namespace.is_none_or(|wanted| wanted == ns);
        self.objects.iter().filter(|(key, object)| fits(key) && selects(selector, object)).map(|(_, object)| object.clone()).collect()
    }
    /// The Job controller: a Pod for each Job that is not suspended.
    fn control(&mut self, key: &Key) {
        let job = self.objects[key].clone();
        let has_pod =
            self.objects.values().any(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"] && pod["kind"] == "Pod");
        if job["spec"]["suspend"] == true || has_pod {
            return;
        }
        let name = format!("{}-x7k2p", key.2);
        let mut metadata = job["spec"]["template"]["metadata"].clone();
        metadata["name"] = name.clone().into();
        metadata["namespace"] = key.1.clone().into();
        metadata["labels"]["job-name"] = key.2.clone().into();
        metadata["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": key.2, "uid": job["metadata"]["uid"]}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": job["spec"]["template"]["spec"], "status": {"phase": "Pending"}});
        self.add(&("pods".to_owned(), key.1.clone(), name), pod);
    }
}

async fn answer(Shared(inner): Shared<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let query: BTreeMap<String, String> = parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    let what = format!("{} {}", parts.method, parts.uri);
    let fault = {
        let mut state = inner.state.lock().unwrap();
        state.requests.push(what.clone());
        let at = state.faults.iter().position(|(wanted, _)| what.contains(wanted.as_str()));
        at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
    };
    if parts.headers.get(header::AUTHORIZATION).is_none_or(|value| value != &format!("Bearer {TOKEN}")) {
        return refuse(401, "Unauthorized", "no token");
    }
    match fault {
        Some(Fault::Status(code)) => refuse(code, "Fault", "a fault of the stub"),
        Some(Fault::LostAnswer) => {
            drop(obey(&inner, &parts.method, parts.uri.path(), &query, &body));
            let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("the connection breaks"))]);
            Response::new(Body::from_stream(broken))
        }
        None => obey(&inner, &parts.method, parts.uri.path(), &query, &body),
    }
}

fn obey(inner: &Arc<Inner>, method: &Method, path: &str, query: &BTreeMap<String, String>, body: &[u8]) -> Response {
    let rest = path.strip_prefix("/apis/batch/v1/").or(path.strip_prefix("/api/v1/")).unwrap_or_default();
    let parts: Vec<&str> = rest.split('/').collect();
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let answer = match (method.as_str(), parts.as_slice()) {
        ("POST", ["namespaces", ns, kind]) => create(inner, kind, ns, body),
        ("GET", ["namespaces", ns, kind]) if get("watch") == "true" => {
            return watched(inner.clone(), (*kind).to_owned(), (*ns).to_owned(), query.clone());
        }
        ("GET", ["namespaces", ns, kind]) => list(inner, kind, Some(ns), get("labelSelector")),
        ("GET", [kind]) => list(inner, kind, None, get("labelSelector")),
        ("GET", ["namespaces", _, "pods", name, "log"]) => return log(inner.clone(), (*name).to_owned(), query.clone()),
        ("GET", ["namespaces", ns, kind, name]) => read(inner, kind, ns, name),
        ("PATCH", ["namespaces", ns, kind, name]) => patch(inner, kind, ns, name, &body),
        ("DELETE", ["namespaces", ns, kind, name]) => delete(inner, kind, ns, name, &body),
        _ => refuse(404, "NotFound", &format!("the stub knows nothing of {method} {path}")),
    };
    inner.tell();
    answer
}

fn key(kind: &str, ns: &str, name: &str) -> Key {
    (kind.to_owned(), ns.to_owned(), name.to_owned())
}

fn create(inner: &Inner, kind: &str, ns: &str, mut object: Value) -> Response {
    let mut state = inner.state.lock().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    state.received.push(object.clone());
    if let Err(why) = schemas::is_admissible(&object) {
        return refuse(422, "Invalid", &why);
    }
    let key = key(kind, ns, &name);
    if state.objects.contains_key(&key) {
        return refuse(409, "AlreadyExists", &format!("{kind} {name:?} already exists"));
    }
    object["metadata"]["namespace"] = ns.into();
    let object = state.add(&key, object);
    if kind == "jobs" {
        state.control(&key);
    }
    (StatusCode::CREATED, axum_json(&object)).into_response()
}

fn list(inner: &Inner, kind: &str, ns: Option<&str>, selector: &str) -> Response {
    let state = inner.state.lock().unwrap();
    let (api, name) = if kind == "jobs" { ("batch/v1", "JobList") } else { ("v1", "PodList") };
    let items = state.list(kind, ns, selector);
    axum_json(&json!({"apiVersion": api, "kind": name, "metadata": {"resourceVersion": state.version.to_string()}, "items": items}))
}

fn read(inner: &Inner, kind: &str, ns: &str, name: &str) -> Response {
    let state = inner.state.lock().unwrap();
    state.objects.get(&key(kind, ns, name)).map_or_else(|| none(kind, name), axum_json)
}

fn patch(inner: &Inner, kind: &str, ns: &str, name: &str, patch: &Value) -> Response {
    let mut state = inner.state.lock().unwrap();
    let key = key(kind, ns, name);
    let Some(object) = state.objects.get(&key).cloned() else { return none(kind, name) };
    if patch["metadata"]["uid"].as_str().is_some_and(|uid| uid != object["metadata"]["uid"]) {
        return refuse(409, "Conflict", "the uid is another");
    }
    let object = state.change(&key, |object| merge(object, patch));
    state.control(&key);
    axum_json(&object)
}

fn delete(inner: &Arc<Inner>, kind: &str, ns: &str, name: &str, options: &Value) -> Response {
    let mut state = inner.state.lock().unwrap();
    let key = key(kind, ns, name);
    let Some(object) = state.objects.get(&key).cloned() else { return none(kind, name) };
    if options["preconditions"]["uid"].as_str().is_some_and(|uid| uid != object["metadata"]["uid"]) {
        return refuse(409, "Conflict", "the uid is another");
    }
    let deaf = state.deaf;
    let mark = |state: &mut State, key: &Key| {
        drop(state.change(key, |object| object["metadata"]["deletionTimestamp"] = "2024-01-31T02:00:00Z".into()))
    };
    match kind {
        "jobs" | "pods" => {
            if kind == "jobs" {
                assert_eq!(options["propagationPolicy"], "Foreground", "else nobody knows when its Pods have ended");
            }
            mark(&mut state, &key);
            let pods = if kind == "pods" { vec![key.clone()] } else { pods_of(&state, &object) };
            pods.iter().for_each(|pod| mark(&mut state, pod));
            // The kubelet and the garbage collector, a moment later.
            let inner = inner.clone();
            let ended = async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut state = inner.state.lock().unwrap();
                for pod in &pods {
                    if state.objects.get(pod).is_some_and(|pod| pod["status"]["phase"] == "Running") {
                        state.change(pod, |pod| pod["status"] = terminated(143, "Error", ""));
                    }
                    state.remove(pod);
                }
                state.remove(&key);
                drop(state);
                inner.tell();
            };
            if !deaf {
                tokio::spawn(ended);
            }
        }
        _ => state.remove(&key),
    }
    axum_json(&json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "code": 200}))
}

fn pods_of(state: &State, job: &Value) -> Vec<Key> {
    let is_of = |pod: &Value| pod["kind"] == "Pod" && pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"];
    state.objects.iter().filter(|(_, object)| is_of(object)).map(|(key, _)| key.clone()).collect()
}

fn watched(inner: Arc<Inner>, kind: String, ns: String, query: BTreeMap<String, String>) -> Response {
    assert_eq!(kind, "pods");
    let from: u64 = query["resourceVersion"].parse().unwrap();
    let selector = query["labelSelector"].clone();
    let cut = inner.state.lock().unwrap().cut;
    let changed = inner.changed.subscribe();
    let events = stream::unfold((inner, from, changed), move |(inner, from, mut changed)| {
        let (ns, selector) = (ns.clone(), selector.clone());
        async move {
            loop {
                {
                    let state = inner.state.lock().unwrap();
                    if state.cut != cut {
                        return None;
                    }
                    let fits = |object: &Value| object["metadata"]["namespace"] == *ns && selects(&selector, object);
                    if let Some((version, kind, object)) = state.events.iter().find(|(version, _, object)| *version > from && fits(object))
                    {
                        let line = format!("{}\n", json!({"type": kind, "object": object}));
                        let version = *version;
                        drop(state);
                        return Some((Ok::<_, Infallible>(line), (inner, version, changed)));
                    }
                }
                if tokio::time::timeout(LIMIT, changed.changed()).await.is_err() {
                    return None;
                }
            }
        }
    });
    Response::new(Body::from_stream(events))
}

fn log(inner: Arc<Inner>, pod: String, query: BTreeMap<String, String>) -> Response {
    assert_eq!((query["container"].as_str(), query["timestamps"].as_str()), ("task", "true"));
    if inner.state.lock().unwrap().key("pods", &pod).is_none() {
        return none("pods", &pod);
    }
    let follow = query.get("follow").is_some_and(|follow| follow == "true");
    // Whole seconds, as the server has it: what was read is given again.
    let since: String = query.get("sinceTime").map(|time| time.chars().take(19).collect()).unwrap_or_default();
    let cut = inner.state.lock().unwrap().cut;
    let changed = inner.changed.subscribe();
    let lines = stream::unfold((inner, 0, changed), move |(inner, at, mut changed)| {
        let (pod, since) = (pod.clone(), since.clone());
        async move {
            loop {
                {
                    let state = inner.state.lock().unwrap();
                    if state.cut != cut {
                        return None;
                    }
                    let line = state.logs.get(&pod).and_then(|lines| lines.get(at)).cloned();
                    let running = state.key("pods", &pod).is_some_and(|key| state.objects[&key]["status"]["phase"] == "Running");
                    drop(state);
                    match line {
                        Some((time, line)) => {
                            let line = if time[..19] >= *since { format!("{time} {line}\n") } else { String::new() };
                            return Some((Ok::<_, Infallible>(line), (inner, at + 1, changed)));
                        }
                        None if !follow || !running => return None,
                        None => {}
                    }
                }
                if tokio::time::timeout(LIMIT, changed.changed()).await.is_err() {
                    return None;
                }
            }
        }
    });
    Response::new(Body::from_stream(lines))
}

fn task(state: Value) -> Value {
    json!([{"name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

fn terminated(code: i32, reason: &str, message: &str) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    json!({"phase": phase, "containerStatuses": task(json!({"terminated": {"exitCode": code, "reason": reason, "message": message}}))})
}

fn axum_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refuse(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code});
    (StatusCode::from_u16(code).unwrap(), axum_json(&status)).into_response()
}

fn none(kind: &str, name: &str) -> Response {
    refuse(404, "NotFound", &format!("{kind} {name:?} not found"))
}

fn selects(selector: &str, object: &Value) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| {
        let (name, value) = part.split_once('=').unwrap();
        object["metadata"]["labels"][name] == value
    })
}

fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| merge(&mut into[name.as_str()], value)),
        value => *into = value.clone(),
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), decode(value)))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text.bytes().filter_map(|b| DIGITS.iter().position(|d| *d == b)).map(|d| d as u32).collect();
    let group = |group: &[u32]| {
        let bits = group.iter().enumerate().fold(0, |bits, (i, digit)| bits | digit << (18 - 6 * i));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    String::from_utf8(digits.chunks(4).flat_map(group).collect()).unwrap()
}

/// As `k8s.io/kubernetes/third_party/forked/golang/expansion` does.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.chars().next() {
            Some('$') => {
                out.push('$');
                rest = &rest[1..];
            }
            Some('(') => match rest.find(')') {
                Some(end) => {
                    let name = &rest[1..end];
                    out.push_str(&env.get(name).cloned().unwrap_or_else(|| format!("$({name})")));
                    rest = &rest[end + 1..];
                }
                None => out.push('$'),
            },
            _ => out.push('$'),
        }
    }
    out + rest
}

#[test]
fn the_stub_expands_as_a_kubelet_does() {
    let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    for (text, expanded) in
        [("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(B)", "$(B)"), ("$A $", "$A $"), ("$$$$", "$$"), ("$(", "$(")]
    {
        assert_eq!(expand(text, &env), expanded, "{text}");
    }
    assert_eq!(base64("aHVudGVyMg=="), "hunter2");
}

//! Webhooks: `POST /api/v1/hooks/NAMESPACE/PIPELINE/TRIGGER` is an event of the trigger's name, its body what the event carries.
//! Whoever shows the trigger's token may call; nothing here tells others which pipelines there are.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use penstock_common::limits::MAX_EVENT_PAYLOAD_BYTES;
use penstock_common::{Digest, PipelineName, RequestId, TriggerName};
use penstock_scheduler::{Answer, Emitted, Input, Rejection};
use tokio::sync::Semaphore;

use crate::handle::{Handle, Refusal, Role};
use crate::web::json;

/// Calls at a time: those without a token must not keep the loop busy.
const MAX_CALLS: usize = 64;
/// An `Idempotency-Key` is no longer than this.
const MAX_KEY_BYTES: usize = 256;

#[derive(Clone)]
struct Hooks {
    handle: Handle,
    calls: Arc<Semaphore>,
}

pub(crate) fn router(handle: Handle) -> Router {
    let hooks = Hooks { handle, calls: Arc::new(Semaphore::new(MAX_CALLS)) };
    Router::new()
        .route("/api/v1/hooks/{namespace}/{pipeline}/{trigger}", post(call))
        .layer(DefaultBodyLimit::max(MAX_EVENT_PAYLOAD_BYTES))
        .with_state(hooks)
}

/// Why a call is not taken: the status, what the caller reads, and whether to call again soon.
struct Refused(StatusCode, String, bool);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error, again) = self;
        let mut response = json(status, &serde_json::json!({ "error": error }));
        if again {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

async fn call(
    State(hooks): State<Hooks>,
    Path((namespace, pipeline, trigger)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let pipeline = PipelineName::parse(&format!("{namespace}/{pipeline}"));
    let (Ok(pipeline), Ok(trigger)) = (pipeline, trigger.parse::<TriggerName>()) else {
        return Err(Refused(StatusCode::NOT_FOUND, "hooks are at /api/v1/hooks/NAMESPACE/PIPELINE/TRIGGER".to_owned(), false));
    };
    let busy = |_| Refused(StatusCode::SERVICE_UNAVAILABLE, format!("{MAX_CALLS} calls are being answered: call again"), true);
    let _call = hooks.calls.try_acquire().map_err(busy)?;
    leads(&hooks.handle.role.borrow())?;
    let (of, whose) = (pipeline.clone(), trigger.clone());
    let hook = hooks.handle.read(move |scheduler, _| scheduler.hook(&of, &whose)).await.map_err(refused)?;
    let shown = token(request.headers()).map(|token| Digest::of(token.as_bytes()));
    // The same work and the same words whether the token is wrong, missing, or there is none to compare it with.
    let known = hook.as_ref().map_or(Digest([0; 32]), |hook| hook.token);
    let is_shown = shown.as_ref().is_some_and(|shown| shown.is_same(&known));
    let Some(hook) = hook.filter(|_| is_shown) else { return Err(unauthorized(&pipeline, &trigger)) };

    let request_id = request_id(request.headers(), &pipeline, &trigger)?;
    let payload = payload(request).await?;
    let emitted = Emitted {
        digest: Digest::of(payload.as_bytes()).number(),
        request: request_id,
        name: hook.event.into(),
        payload: payload.into(),
        by: format!("webhook {pipeline}/{trigger}").into(),
    };
    match hooks.handle.submit(Input::EmitEvent(emitted)).await.map_err(refused)? {
        (Answer::Event(event), _) => Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "event": event }))),
        (answer, _) => Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("the event was answered with {answer:?}"), false)),
    }
}

fn leads(role: &Role) -> Result<(), Refused> {
    let leader = match role {
        Role::Leader(_) => return Ok(()),
        Role::Follower(leader) => leader.clone(),
        Role::Starting => None,
    };
    Err(refused(Refusal::NotLeader(leader)))
}

fn unauthorized(pipeline: &PipelineName, trigger: &TriggerName) -> Refused {
    let why = format!(
        "the token in `Authorization: Bearer TOKEN` or `X-Penstock-Token: TOKEN` is missing or wrong, or none is set: \
         set one with `penstock triggers token {pipeline} {trigger}`"
    );
    Refused(StatusCode::UNAUTHORIZED, why, false)
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = || {
        let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    let token = headers.get("x-penstock-token").and_then(|value| value.to_str().ok()).map(str::trim).or_else(bearer)?;
    (!token.is_empty()).then_some(token)
}

/// The same key for the same trigger is the same event; without one each call is an event of its own.
fn request_id(headers: &HeaderMap, pipeline: &PipelineName, trigger: &TriggerName) -> Result<RequestId, Refused> {
    let wrong = |why: String| Refused(StatusCode::BAD_REQUEST, why, false);
    let id = match headers.get("idempotency-key") {
        Some(key) if key.is_empty() || key.len() > MAX_KEY_BYTES => {
            return Err(wrong(format!("the Idempotency-Key has {} bytes: 1 to {MAX_KEY_BYTES} are taken", key.len())));
        }
        Some(key) => {
            let seed = [pipeline.full().as_bytes(), trigger.as_str().as_bytes(), key.as_bytes()].join(&b'\n');
            format!("hook-{}", &Digest::of(&seed).to_string()[..32])
        }
        None => format!("hook-{}", ulid::Ulid::generate()),
    };
    id.parse().map_err(|error| wrong(format!("{error}")))
}

/// The body, which is JSON of at most [`MAX_EVENT_PAYLOAD_BYTES`].
async fn payload(request: Request) -> Result<String, Refused> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_json(kind) {
        let why = format!("the content type is {kind:?}: send JSON, as application/json");
        return Err(Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why, false));
    }
    let body = Bytes::from_request(request, &()).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("an event carries at most {MAX_EVENT_PAYLOAD_BYTES} bytes: store what is larger and pass a reference");
            Refused(StatusCode::PAYLOAD_TOO_LARGE, why, false)
        }
        status => Refused(status, format!("the body could not be read: {error}"), false),
    })?;
    // As it is written again: what is kept is JSON whatever was sent.
    let value: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"), false))?;
    Ok(value.to_string())
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn refused(refusal: Refusal) -> Refused {
    let why = refusal.to_string();
    match refusal {
        Refusal::NotLeader(_) | Refusal::Overloaded(_) | Refusal::Interrupted | Refusal::NoSpace(_) => {
            Refused(StatusCode::SERVICE_UNAVAILABLE, why, true)
        }
        Refusal::Rejected(Rejection::Overloaded { .. }) => Refused(StatusCode::TOO_MANY_REQUESTS, why, true),
        Refusal::Rejected(Rejection::RequestReused(_)) => {
            Refused(StatusCode::CONFLICT, "this Idempotency-Key was used for another body".to_owned(), false)
        }
        Refusal::Rejected(_) => Refused(StatusCode::UNPROCESSABLE_ENTITY, why, false),
    }
}

#[cfg(test)]
mod tests;

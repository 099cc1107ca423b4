//! Submit over HTTP: `POST /api/v1/pipelines/NAMESPACE/NAME/runs`, for what has an HTTP client and no gRPC. It is the same Submit.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use penstock_common::PipelineName;
use penstock_common::limits::{MAX_NOTE_BYTES, MAX_PARAMS_BYTES};
use penstock_common::schedule::span;
use penstock_proto::v1::{self, control_server::Control as _};
use serde::Deserialize;
use tonic::{Code, Request, Status};

use super::control::Control;
use crate::web::json;

/// What a call carries.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Minted by the server where it is not said: then the same call again is another run.
    run_id: String,
    /// 0: the newest.
    version: u32,
    params: serde_json::Map<String, serde_json::Value>,
    /// A day of the pipeline's zone, or START/END.
    interval: String,
    only: Vec<String>,
    /// Who asks, as the client claims.
    by: String,
}

pub(crate) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/api/v1/pipelines/{namespace}/{pipeline}/runs", post(submit))
        .layer(DefaultBodyLimit::max(2 * MAX_PARAMS_BYTES))
        .with_state(control)
}

async fn submit(
    State(control): State<Arc<Control>>,
    Path((namespace, pipeline)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match submitted(&control, &namespace, &pipeline, &headers, &body).await {
        Ok(run) => {
            let status = if run.created { StatusCode::CREATED } else { StatusCode::OK };
            json(status, &serde_json::json!({ "run_id": run.run_id, "version": run.version, "created": run.created }))
        }
        Err(status) => refused(&status),
    }
}

async fn submitted(
    control: &Control,
    namespace: &str,
    pipeline: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<v1::SubmitResponse, Status> {
    // A browser names the page that calls, and no page of others may start runs.
    if headers.contains_key(header::ORIGIN) {
        return Err(Status::permission_denied("calls from web pages are not taken"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err(Status::invalid_argument(format!("the content type is {kind:?}: send JSON, as application/json")));
    }
    let name = PipelineName::parse(&format!("{namespace}/{pipeline}")).map_err(|e| super::status::invalid(&e))?;
    let asked: Asked = serde_json::from_slice(body).map_err(|e| Status::invalid_argument(format!("the body: {e}")))?;
    if asked.by.len() > MAX_NOTE_BYTES {
        return Err(Status::invalid_argument(format!("by: {} bytes, {MAX_NOTE_BYTES} is the limit", asked.by.len())));
    }
    let (_, zone) = control.calendar(&name).await?;
    let interval = match asked.interval.as_str() {
        "" => None,
        text => Some(span(text, &zone).map_err(|why| Status::invalid_argument(format!("interval {text:?}: {why}")))?.into()),
    };
    let request = v1::SubmitRequest {
        run_id: if asked.run_id.is_empty() { ulid::Ulid::generate().to_string() } else { asked.run_id },
        pipeline: name.full().to_owned(),
        version: asked.version,
        params: serde_json::Value::Object(asked.params).to_string(),
        interval,
        by: if asked.by.is_empty() { "http".to_owned() } else { asked.by },
        only: asked.only,
    };
    Ok(control.submit(Request::new(request)).await?.into_inner())
}

fn refused(status: &Status) -> Response {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::FailedPrecondition => StatusCode::UNPROCESSABLE_ENTITY,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // Another coordinator leads: FailedPrecondition too, as for gRPC clients, which are told where.
    let leads_not = status.metadata().contains_key(penstock_proto::LEADER_TRAILER);
    let code = if leads_not { StatusCode::SERVICE_UNAVAILABLE } else { code };
    let mut response = json(code, &serde_json::json!({ "error": status.message() }));
    if matches!(code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests;

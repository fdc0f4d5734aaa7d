//! The web service: a request is a task, and what became of the task is the answer.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pkit::{TaskHandle, WorkError, WorkerPool};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::search::{Matches, Problem, Search, find};
use crate::settings::Settings;

/// So long a search may wait for a worker, and at the end so long all the rest may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What handlers have.
#[derive(Clone)]
pub(crate) struct Service {
    pool: WorkerPool,
    /// How long a search may take.
    limit: Duration,
}

/// Ends the task when nobody waits any longer: a client that hangs up, say.
struct Wanted<R>(TaskHandle<R>);

impl<R> Drop for Wanted<R> {
    fn drop(&mut self) {
        // Nothing is to be done for one that is done.
        let _ = self.0.cancel();
    }
}

/// Why a request has no result.
struct Refusal(StatusCode, String);

impl Service {
    pub(crate) fn new(pool: WorkerPool, settings: &Settings) -> Service {
        Service { pool, limit: settings.timeout }
    }

    /// Serves until a signal comes, and then until all that was asked is answered, within reason.
    pub(crate) async fn run(self, port: u16) -> io::Result<()> {
        // Before anybody can know that it is there.
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let patience = self.limit + PATIENCE;
        let routes = Router::new()
            .route("/match", post(search))
            .route("/statistics", get(statistics))
            .with_state(self);
        let (stop, stopped) = oneshot::channel();
        let stopped = async { _ = stopped.await };
        let server =
            tokio::spawn(axum::serve(listener, routes).with_graceful_shutdown(stopped).into_future());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        _ = stop.send(());
        match timeout(patience, server).await {
            Ok(served) => served?,
            Err(_) => {
                eprintln!("regex_service: connections that are still open are closed");
                Ok(())
            }
        }
    }
}

async fn search(
    service: State<Service>,
    asked: Result<Json<Search>, JsonRejection>,
) -> Result<Json<Value>, Refusal> {
    let Json(asked) = asked.map_err(|error| Refusal(error.status(), error.body_text()))?;
    let mut task = Wanted(service.pool.try_submit(find, asked)?);
    let found = timeout(service.limit + PATIENCE, &mut task.0).await;
    let found = found.map_err(|_| Refusal(StatusCode::SERVICE_UNAVAILABLE, "no worker had time".into()))?;
    let matches: Matches = found??;
    Ok(Json(json!({ "matches": matches })))
}

async fn statistics(service: State<Service>) -> Result<Json<Value>, Refusal> {
    let done = service.pool.statistics()?;
    Ok(Json(json!({
        "submitted": done.submitted,
        "answered": done.answered,
        "timed_out": done.timed_out,
        "cancelled": done.cancelled,
        "lost": done.lost,
        "waiting": done.waiting,
        "under_way": done.under_way,
        "workers": done.workers,
        "idle": done.idle,
        "started": done.started,
        "died": done.died,
        "pids": service.pool.pids()?,
    })))
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        match problem {
            Problem::Pattern(why) => Refusal(StatusCode::BAD_REQUEST, why),
            Problem::Search(why) => Refusal(StatusCode::UNPROCESSABLE_ENTITY, why),
        }
    }
}

impl From<WorkError> for Refusal {
    fn from(error: WorkError) -> Refusal {
        let status = match &error {
            WorkError::TimedOut { limit } => {
                let why = format!("the search took longer than {limit:?} and was stopped");
                return Refusal(StatusCode::UNPROCESSABLE_ENTITY, why);
            }
            // By its memory's limit, as a rule: an allocation that fails aborts.
            WorkError::Died { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            // The result is too long.
            WorkError::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            WorkError::Argument(_) => StatusCode::PAYLOAD_TOO_LARGE,
            WorkError::Full | WorkError::Closed | WorkError::Ended { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

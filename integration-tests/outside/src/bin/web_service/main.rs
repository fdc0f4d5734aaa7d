//! `web_service`: a web service beside tokio whose work is done by four supervised children, as a user would write it.
//! `web_chaos` starts it, asks it and kills its children.
//!
//! - `GET /work?n=NUMBER` has a child count. If that dies, the answer is 502 and says of what.
//! - `GET /status` tells how the children are.
//! - `POST /reload` replaces all of them, one after another; requests go on meanwhile.
//!
//! It says on which port of the loopback it listens. SIGTERM and Ctrl-C end it, with exit code 0, when it has answered
//! what it was asked and its children have ended.

mod dispatcher;
mod worker;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use multiprocess::link::Queue;
use multiprocess::supervisor::{ChildState, Ended, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::dispatcher::{Answer, Dispatcher, Order, Worker};

const NAMES: [&str; 4] = ["worker-1", "worker-2", "worker-3", "worker-4"];
const MOST: u64 = 1_000_000;

/// What handlers have.
#[derive(Clone)]
struct Service {
    supervisor: Arc<Supervisor>,
    orders: mpsc::Sender<Order>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // What keeps the children's closures is forked here, so before the runtime has threads.
    let replies = Queue::new()?;
    let mut builder = Supervisor::builder().intensity(u32::MAX, Duration::from_secs(5));
    let events = builder.events();
    let mut workers = Vec::new();
    for name in NAMES {
        let requests = Queue::new()?;
        builder = builder.child(worker::spec(name, &requests, &replies));
        workers.push(Worker { name, requests });
    }
    let supervisor = Arc::new(builder.start()?);
    Runtime::new()?.block_on(async {
        let (orders, ordered) = mpsc::channel(64);
        let dispatcher = Dispatcher::new(Arc::clone(&supervisor), workers, replies);
        tokio::spawn(dispatcher.run(ordered, events));
        serve(Service { supervisor, orders }).await
    })
}

async fn serve(service: Service) -> Result<ExitCode, Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let supervisor = Arc::clone(&service.supervisor);
    let supervised = Arc::clone(&supervisor);
    let end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = supervised.wait_async() => {}
        }
    };
    let routes = Router::new()
        .route("/status", get(status))
        .route("/work", get(work))
        .route("/reload", post(reload))
        .with_state(service);
    axum::serve(listener, routes).with_graceful_shutdown(end).await?;
    Ok(match supervisor.stop_async().await? {
        Ended::Stopped { .. } => ExitCode::SUCCESS,
        failed => {
            eprintln!("web_service: {failed}");
            ExitCode::FAILURE
        }
    })
}

type Reply<T> = Result<Json<T>, (StatusCode, String)>;

fn internal(error: impl ToString) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

#[derive(Deserialize)]
struct Work {
    n: u64,
}

async fn work(service: State<Service>, Query(Work { n }): Query<Work>) -> Reply<Answer> {
    if n > MOST {
        return Err((StatusCode::BAD_REQUEST, format!("n is {MOST} at the most")));
    }
    let (tell, told) = oneshot::channel();
    // Without a dispatcher the order is dropped, and `tell` with it.
    let _ = service.orders.send(Order { n, tell }).await;
    told.await.map_err(internal)?.map(Json)
}

#[derive(Serialize)]
struct Child {
    name: String,
    status: String,
    pid: Option<u32>,
    generation: u64,
    restarts: u64,
    last_failure: Option<String>,
}

impl From<ChildState> for Child {
    fn from(state: ChildState) -> Child {
        Child {
            name: state.name.to_string(),
            status: format!("{:?}", state.status),
            pid: state.pid,
            generation: state.generation,
            restarts: state.restarts,
            last_failure: state.last_failure.map(|failure| failure.to_string()),
        }
    }
}

async fn status(service: State<Service>) -> Reply<Vec<Child>> {
    let children = service.supervisor.children().map_err(internal)?;
    Ok(Json(children.into_iter().map(Child::from).collect()))
}

async fn reload(service: State<Service>) -> Reply<&'static str> {
    match service.supervisor.rolling_restart_all_async().await {
        Ok(()) => Ok(Json("all were replaced")),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

//! What viewers ask for, and what they get.

use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use valkka_multiprocess::RemoteError;

use super::hub::Hub;

const PAGE: &str = include_str!("page.html");
const BOUNDARY: &str = "frame-of-the-wall";

/// All that there is at once, or what comes as time goes by.
type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// Serves a connection until its end, whatever that is.
pub(crate) async fn serve(stream: TcpStream, hub: Rc<Hub>) -> Result<(), RemoteError> {
    // A small answer is sent as it is, and not kept back until more comes.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Rc::clone(&hub)));
    // Viewers leave in the midst of streams: that is no failure of ours.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    Ok(())
}

async fn answer(request: Request<Incoming>, hub: Rc<Hub>) -> Result<Response<Body>, RemoteError> {
    if request.method() != Method::GET {
        let refused = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, "GET");
        return Ok(refused.body(whole("Only GET is allowed.\n"))?);
    }
    let answer = Response::builder().header(CACHE_CONTROL, "no-store");
    Ok(match request.uri().path() {
        "/" => answer.header(CONTENT_TYPE, "text/html; charset=utf-8").body(whole(PAGE))?,
        "/status" => answer.header(CONTENT_TYPE, "application/json").body(whole(hub.status()))?,
        "/wall.jpg" => {
            let mut pictures = hub.pictures();
            pictures.changed().await?;
            let picture = pictures.borrow().clone();
            answer.header(CONTENT_TYPE, "image/jpeg").body(whole(picture))?
        }
        "/wall.mjpeg" => {
            let (parts, body) = Channel::new(1);
            spawn_local(stream(parts, hub));
            let content_type = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
            answer.header(CONTENT_TYPE, content_type).body(Either::Right(body))?
        }
        _ => answer
            .status(StatusCode::NOT_FOUND)
            .body(whole("There is /, /wall.jpg, /wall.mjpeg, /status.\n"))?,
    })
}

fn whole(content: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(content.into()))
}

/// Sends picture after picture until the viewer leaves. One who is slow gets fewer of them.
async fn stream(mut parts: http_body_util::channel::Sender<Bytes, Infallible>, hub: Rc<Hub>) {
    let mut pictures = hub.pictures();
    while pictures.changed().await.is_ok() {
        let picture = pictures.borrow_and_update().clone();
        let head =
            format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
        for part in [head.into(), picture, Bytes::from_static(b"\r\n")] {
            if parts.send_data(part).await.is_err() {
                return;
            }
        }
    }
}

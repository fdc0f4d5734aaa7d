//! The web server: what runs in a process of its own, has the cameras' frames in shared memory, and shows them.

mod http;
mod hub;
mod mosaic;

use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::{AsyncBackend, AsyncContext, Failure, Policy, RemoteError};

use crate::settings::Frames;
use hub::Hub;
use mosaic::Mosaic;

/// To the web server.
#[derive(Serialize, Deserialize)]
pub(crate) enum Command {
    /// This buffer of a camera is the web server's until it says that it has released it.
    Show { camera: usize, buffer: usize },
    /// How the cameras are.
    Tell(Vec<Status>),
}

/// From the web server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It has done with this buffer.
    Released { camera: usize, buffer: usize },
}

/// How a camera is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    /// None: it isn't there.
    pub(crate) pid: Option<u32>,
    pub(crate) health: Health,
    pub(crate) frames: u64,
    /// Per second.
    pub(crate) fps: f64,
    pub(crate) restarts: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Health {
    Live,
    /// It has sent nothing for some time.
    Stale,
    /// It isn't there, or is to be replaced: why.
    Down(String),
}

/// The web server. Its process is made from a template, which keeps the listener and the arrays for it.
pub(crate) struct Web {
    listener: TcpListener,
    frames: Frames,
    hub: Rc<Hub>,
}

impl Web {
    /// `arrays`: those of each camera.
    pub(crate) fn new(listener: TcpListener, frames: Frames, arrays: Vec<Vec<SharedArray<u8>>>) -> Web {
        let hub = Rc::new(Hub::new(Mosaic::new(arrays, frames.width, frames.height)));
        Web { listener, frames, hub }
    }
}

impl AsyncBackend for Web {
    type Command = Command;
    type Event = Event;

    /// There is a runtime now. What is begun here goes on as long as the back end.
    async fn async_pre(&mut self, cx: &AsyncContext<Self>) -> Result<(), RemoteError> {
        let (hub, period) = (Rc::clone(&self.hub), self.frames.period());
        cx.spawn_background(async move { hub.draw(period).await });

        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (hub, its_cx) = (Rc::clone(&self.hub), cx.clone());
        cx.spawn_background(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(its_cx.spawn_background(http::serve(stream, Rc::clone(&hub)))),
                    Err(error) => {
                        // No descriptors left, say: until some viewer leaves.
                        its_cx.report(error).await;
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(())
    }

    async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Show { camera, buffer } => {
                if let Some(buffer) = self.hub.show(camera, buffer) {
                    cx.send_out(&Event::Released { camera, buffer }).await?;
                }
            }
            Command::Tell(statuses) => self.hub.tell(statuses),
        }
        Ok(())
    }

    /// The wall starts another one.
    fn policy(&mut self, _: &Failure) -> Policy {
        Policy::Die
    }
}

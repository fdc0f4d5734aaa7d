//! What the web server knows at this moment: how cameras are, which buffers are shown, and the last picture of the wall.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use valkka_multiprocess::RemoteError;

use super::mosaic::{Canvas, Mosaic};
use super::{Health, Status};

pub(crate) struct Hub {
    mosaic: Mosaic,
    /// The buffer of each camera that has its last frame.
    shown: RefCell<Vec<Option<usize>>>,
    statuses: RefCell<Vec<Status>>,
    /// There is something to draw.
    is_new: Cell<bool>,
    /// As JPEG.
    picture: watch::Sender<Bytes>,
}

impl Hub {
    pub(crate) fn new(mosaic: Mosaic) -> Hub {
        let shown = RefCell::new(vec![None; mosaic.tiles()]);
        let picture = watch::Sender::new(Bytes::new());
        Hub { mosaic, shown, statuses: RefCell::default(), is_new: Cell::new(false), picture }
    }

    /// Shows this buffer of a camera from now on, and returns the one that was shown.
    pub(crate) fn show(&self, camera: usize, buffer: usize) -> Option<usize> {
        self.is_new.set(true);
        self.shown.borrow_mut()[camera].replace(buffer)
    }

    pub(crate) fn tell(&self, statuses: Vec<Status>) {
        self.is_new.set(true);
        *self.statuses.borrow_mut() = statuses;
    }

    /// As JSON.
    pub(crate) fn status(&self) -> String {
        let statuses = self.statuses.borrow();
        let camera = |status: &Status| {
            let (state, reason) = match &status.health {
                Health::Live => ("live", None),
                Health::Stale => ("stale", None),
                Health::Down(reason) => ("down", Some(reason)),
            };
            serde_json::json!({
                "name": status.name, "pid": status.pid, "alive": status.pid.is_some(), "state": state,
                "reason": reason, "frames": status.frames, "fps": status.fps, "restarts": status.restarts,
            })
        };
        serde_json::json!({ "cameras": statuses.iter().map(camera).collect::<Vec<_>>() }).to_string()
    }

    /// The pictures from now on. Whoever doesn't keep up misses some.
    pub(crate) fn pictures(&self) -> watch::Receiver<Bytes> {
        self.is_new.set(true);
        self.picture.subscribe()
    }

    /// Makes pictures as long as somebody looks at them.
    pub(crate) async fn draw(&self, period: Duration) -> Result<(), RemoteError> {
        let mut turns = interval(period);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut canvas = Canvas::default();
        loop {
            turns.tick().await;
            if self.picture.receiver_count() == 0 || !self.is_new.take() {
                continue;
            }
            // Not for a moment does this wait: a buffer that is read here is not given back meanwhile.
            self.mosaic.draw(&mut canvas, &self.shown.borrow(), &self.statuses.borrow())?;
            // This takes longer. Viewers are served meanwhile.
            let encoding = move || canvas.to_jpeg().map(|jpeg| (canvas, jpeg));
            let (drawn, jpeg) = tokio::task::spawn_blocking(encoding).await??;
            canvas = drawn;
            self.picture.send_replace(jpeg.into());
        }
    }
}

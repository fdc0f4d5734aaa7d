//! What the wall has of a camera: its process, who has which of its buffers, and how it is.

use std::time::{Duration, Instant};

use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::{Child, Ended, MessageProcess, ProcessError, Zygote};

use crate::camera::{BUFFERS, Camera, Command};
use crate::settings::Frames;
use crate::wall::Failed;
use crate::web::{Health, Status};

/// A camera is stale when it has missed so many frames, and is silent for that long.
const STALE_FRAMES: u32 = 5;
const STALE: Duration = Duration::from_millis(600);
/// Over so long the rate of frames is measured.
const MEASURE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Camera,
    Web,
}

pub(crate) struct Desk {
    process: MessageProcess<Camera>,
    buffers: Vec<SharedArray<u8>>,
    holders: [Holder; BUFFERS],
    frames: u64,
    restarts: u32,
    /// Its last frame, or its start.
    last_sign: Instant,
    stale_after: Duration,
    /// Since when the web server has all of its buffers, so that it can't be expected to send a frame.
    starves_since: Option<Instant>,
    /// Why it isn't there, or is to go.
    reason: Option<String>,
    /// When, and with how many frames, the measurement of the rate began.
    measured: (Instant, u64),
    rate: f64,
}

impl Desk {
    pub(crate) fn new(number: usize, frames: &Frames) -> Result<Desk, Failed> {
        let array = || SharedArray::with_shape(&[frames.height, frames.width, 3]);
        let buffers = (0..BUFFERS).map(|_| array()).collect::<Result<Vec<_>, _>>()?;
        let camera = Camera::new(number, frames.clone(), buffers.clone());
        // From a zygote: a camera is started again whenever it has died, whatever threads there are by then.
        let process = MessageProcess::new(format!("camera-{number}"), camera)
            .ignore_sigint()
            .launch_in(&Zygote::global());
        let now = Instant::now();
        Ok(Desk {
            process,
            buffers,
            holders: [Holder::Camera; BUFFERS],
            frames: 0,
            restarts: 0,
            last_sign: now,
            stale_after: STALE.max(frames.period() * STALE_FRAMES),
            starves_since: None,
            reason: None,
            measured: (now, 0),
            rate: 0.0,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.process.name()
    }

    pub(crate) fn buffers(&self) -> Vec<SharedArray<u8>> {
        self.buffers.clone()
    }

    pub(crate) fn start(&mut self) -> Result<&MessageProcess<Camera>, ProcessError> {
        self.process.start()?;
        self.last_sign = Instant::now();
        for buffer in 0..BUFFERS {
            if self.holders[buffer] == Holder::Camera {
                self.fill(buffer);
            }
        }
        Ok(&self.process)
    }

    /// It says that a buffer is full. False: the buffer isn't its own.
    pub(crate) fn full(&mut self, buffer: usize) -> bool {
        if self.holders.get(buffer) != Some(&Holder::Camera) {
            return false;
        }
        self.holders[buffer] = Holder::Web;
        self.frames += 1;
        self.last_sign = Instant::now();
        self.starves_since =
            self.holders.iter().all(|holder| *holder == Holder::Web).then_some(self.last_sign);
        if self.process.is_alive() {
            self.reason = None;
        }
        true
    }

    /// The web server has done with a buffer.
    pub(crate) fn released(&mut self, buffer: usize) {
        if self.holders.get(buffer) == Some(&Holder::Web) {
            self.holders[buffer] = Holder::Camera;
            if self.starves_since.take().is_some() {
                self.last_sign = Instant::now();
            }
            self.fill(buffer);
        }
    }

    /// The web server has died.
    pub(crate) fn released_all(&mut self) {
        (0..BUFFERS).for_each(|buffer| self.released(buffer));
    }

    /// A camera that isn't there gets it when it is started.
    fn fill(&self, buffer: usize) {
        let _ = self.process.try_send(&Command::Fill(buffer));
    }

    pub(crate) fn died(&mut self, ended: &Ended) {
        self.restarts += 1;
        self.reason.get_or_insert_with(|| ended.to_string());
    }

    pub(crate) fn cannot_start(&mut self, why: &str) {
        self.reason = Some(why.to_owned());
    }

    /// Why it isn't there.
    pub(crate) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    /// Ends it if it hangs, and measures how fast it is.
    pub(crate) fn look(&mut self, now: Instant, hang_timeout: Duration) {
        let (since, frames) = self.measured;
        let time = now.duration_since(since);
        if time >= MEASURE {
            self.rate = (self.frames - frames) as f64 / time.as_secs_f64();
            self.measured = (now, self.frames);
        }
        let is_silent = now.duration_since(self.last_sign) >= hang_timeout;
        if is_silent && self.starves_since.is_none() && self.process.is_alive() {
            self.reason = Some(format!("no frame for {hang_timeout:?}"));
            // It can't be asked: it doesn't listen. Its end is an event like any other.
            if let Some(child) = self.child() {
                let _ = child.kill();
            }
        }
    }

    /// Whether the web server has had all of its buffers for so long: then that hangs.
    pub(crate) fn starves_for(&self, now: Instant, time: Duration) -> bool {
        self.starves_since.is_some_and(|since| now.duration_since(since) >= time)
    }

    pub(crate) fn status(&self) -> Status {
        let pid = self.process.pid();
        let health = match (&self.reason, pid) {
            (Some(reason), _) => Health::Down(reason.clone()),
            (None, Some(_)) if self.last_sign.elapsed() < self.stale_after => Health::Live,
            (None, _) => Health::Stale,
        };
        let (name, fps) = (self.name().to_owned(), (self.rate * 10.0).round() / 10.0);
        Status { name, pid, health, frames: self.frames, fps, restarts: self.restarts }
    }

    /// Its process, if it was ever started.
    pub(crate) fn child(&self) -> Option<Child> {
        self.process.child().ok()
    }
}

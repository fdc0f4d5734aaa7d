//! One worker, over all its runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use multiprocess::valkka_multiprocess::Ended;
use multiprocess::{LaunchOptions, MessageProcess, ProcessError, Signal, StartError, Zygote};
use serde_json::{Value, json};

use crate::ask::PATIENCE;
use crate::manager::Error;
use crate::tally::{Tally, count};
use crate::worker::{Command, FRAME, Filled, Shared, Worker};

/// How many frames a worker is to fill in a second.
const FRAMES_PER_SECOND: u32 = 50;

pub struct Managed {
    pub process: MessageProcess<Worker>,
    tally: Arc<Tally>,
    shared: Shared,
    /// The frame that it is at, and since when.
    at: Option<(u64, Instant)>,
    next_frame: u64,
    /// How many frames it is still to fill in this second.
    to_fill: u32,
    run: u64,
    /// Whether the end of this run is still to be told.
    is_running: bool,
    /// Events of this run.
    received: u64,
    is_replaced: bool,
}

impl Managed {
    pub fn new(number: usize, tally: &Arc<Tally>) -> Result<Managed, Error> {
        let shared = Shared::new()?;
        let options = LaunchOptions::new().ready_timeout(Duration::from_secs(5));
        let process = MessageProcess::new(format!("worker-{number}"), Worker::new(shared.clone()))
            .launch_with(options)
            .launch_in(&Zygote::global())
            .ignore_sigint();
        Ok(Managed {
            process,
            tally: Arc::clone(tally),
            shared,
            at: None,
            next_frame: 1,
            to_fill: FRAMES_PER_SECOND,
            run: 0,
            is_running: false,
            received: 0,
            is_replaced: false,
        })
    }

    /// Starts a run. False: it can't be had now, and may be another time.
    pub fn start(&mut self) -> Result<bool, Error> {
        self.shared.begun().store(0, Ordering::SeqCst);
        self.shared.done().store(0, Ordering::SeqCst);
        self.received = 0;
        match self.process.start() {
            Ok(()) => (),
            Err(ProcessError::Start(error)) if is_passing(&error) => {
                log::warn!("{error}");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        self.run += 1;
        self.is_running = true;
        self.is_replaced = false;
        count(&self.tally.runs);
        Ok(true)
    }

    /// Has it fill the next frame, unless it is at one or has done enough for now. It never waits.
    pub fn fill(&mut self) -> Result<(), Error> {
        if self.at.is_some() || self.to_fill == 0 {
            return Ok(());
        }
        match self.process.try_send(&Command::Fill { frame: self.next_frame }) {
            Ok(_) => {
                self.at = Some((self.next_frame, Instant::now()));
                self.next_frame += 1;
                self.to_fill -= 1;
                Ok(())
            }
            // The loop will tell of its end, or it is stopped, and has no room for anything.
            Err(
                ProcessError::Ended { .. } | ProcessError::NotStarted { .. } | ProcessError::TimedOut { .. },
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Another second has begun.
    pub fn second(&mut self) -> Result<(), Error> {
        self.to_fill = FRAMES_PER_SECOND;
        if !self.is_replaced && self.at.is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
            // Its end is an event of the loop's; `stop` would wait for it here.
            log::warn!("{} doesn't answer: it is replaced", self.process.name());
            count(&self.tally.replaced);
            self.is_replaced = true;
            self.process.child()?.kill()?;
        }
        self.fill()
    }

    pub fn filled(&mut self, Filled { frame, nth, pid }: Filled) {
        let (name, run) = (self.process.name(), self.run);
        self.received += 1;
        count(&self.tally.frames);
        let received = self.received;
        self.tally
            .check(nth == received, || format!("{name}, run {run}: event {nth} came as number {received}"));
        let asked = self.at.take().map(|(frame, _)| frame);
        self.tally.check(asked == Some(frame), || format!("{name}, run {run}: frame {frame} for {asked:?}"));
        let now = self.process.pid();
        self.tally
            .check(now.is_none_or(|now| now == pid), || format!("{name}: an event of {pid}, not {now:?}"));
        let elements = self.shared.frame.to_vec();
        let is_complete = elements.len() == FRAME && elements.iter().all(|&element| element == frame);
        self.tally.check(is_complete, || format!("{name}, run {run}: frame {frame} isn't complete"));
    }

    pub fn ended(&mut self, ended: &Ended) {
        log::info!("{ended}");
        let (begun, done) =
            (self.shared.begun().load(Ordering::SeqCst), self.shared.done().load(Ordering::SeqCst));
        let (run, received) = (self.run, self.received);
        self.tally.check((done..=begun).contains(&received), || {
            format!("{ended}: run {run} has sent {done} to {begun} events, and {received} have come")
        });
        if ended.status.signal() == Some(Signal::KILL) {
            count(&self.tally.killed);
        } else {
            self.tally.check(ended.is_clean(), || ended.to_string());
        }
        self.at = None;
        self.is_running = false;
    }

    /// Ends it, and takes what it had sent before.
    pub fn close(&mut self) -> Result<(), Error> {
        if !self.is_running {
            return Ok(());
        }
        self.process.stop_timeout(Duration::from_secs(1))?;
        loop {
            match self.process.recv() {
                Ok(event) => self.filled(event),
                Err(ProcessError::Ended { ended, .. }) => {
                    self.ended(&ended);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn status(&self) -> Value {
        json!({ "pid": self.process.pid(), "run": self.run, "frames": self.received })
    }
}

/// Whether a start that has failed may succeed another time.
fn is_passing(error: &StartError) -> bool {
    use StartError::{Os, ServerDied, ServerStuck};
    matches!(error, Os { .. } | ServerDied { .. } | ServerStuck { .. })
}

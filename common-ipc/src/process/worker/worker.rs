//! The process, as whoever deals out jobs sees it.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use crate::link::jobs::{JobReceiver, JobSender, jobs};
use crate::link::{LinkError, Poller};
use crate::ownership::descriptors::PrivateFd;
use crate::process::child::Child;
use crate::process::errors::StartError;
use crate::process::fork_server::{Start, Thunk};
use crate::process::launch::Launch;
use crate::process::panic_report::PanicReport;
use crate::process::portable::Portable;
use crate::process::worker::body::{body, plain_body};
use crate::process::worker::kind;
use crate::process::worker::reply::Reply;
use crate::process::worker::work::Work;
use crate::process::zygote::Zygote;
use crate::sys::function::{self, Modules};

/// A process that does one job after another, for a pool of such.
///
/// Nothing here waits, so that one thread can look after many: jobs are sent if there is room, replies are received if they
/// are there, and a [`Poller`] says when. Of each job without a reply it is known whether it was begun; those that
/// weren't can be taken back at any time, also from a worker that is dead, stuck or hostile.
///
/// ```
/// use common_ipc::link::Poller;
/// use common_ipc::process::{self, Launch, LaunchOptions, Told, Work, Worker, Zygote};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// process::init()?;
/// let options = LaunchOptions::new();
/// let mut worker = Worker::start(&Launch::new(&options), &Zygote::global(), |()| (), &(), 1 << 20)?;
/// let poller = Poller::new()?;
/// worker.watch(&poller, 1)?;
/// worker.try_send(1, &mut Work::call(|n: u64| n * n, &12, 1 << 20)?)?;
/// let result = loop {
///     worker.is_to_ring(true);
///     match worker.try_recv()? {
///         Some(Told::Done { number: 1, reply }) => break reply.decode::<u64>()?,
///         Some(_) => {} // it is ready
///         None => {
///             poller.wait(None, &mut Vec::new())?;
///             worker.hear()?;
///         }
///     }
/// };
/// assert_eq!(result, 144);
/// # Ok(())
/// # }
/// ```
///
/// **Dropping** it, the worker ends when it has done the jobs that it has; kill its [`child`](Worker::child) if that is to
/// be at once.
#[derive(Debug)]
pub struct Worker {
    sender: JobSender,
    child: Child,
    pidfd: Option<Arc<PrivateFd>>,
    modules: Arc<Modules>,
    /// What it is known to have the code for.
    known: Vec<[usize; 2]>,
}

/// What a worker has said.
#[derive(Debug)]
pub enum Told {
    /// Its state is made.
    Ready,
    /// The making of its state has panicked, and it ends.
    InitFailed(PanicReport),
    /// A job is done.
    Done {
        /// Its number.
        number: u64,
        /// What became of it.
        reply: Reply,
    },
}

/// So many functions are remembered.
const KNOWN_MAX: usize = 16;

impl Worker {
    /// Starts a worker from a zygote. It calls `init` for its state, which it keeps from job to job, and drops at its end.
    /// Jobs and replies have up to `max_frame` bytes, or 36 KiB if that is more.
    ///
    /// # Errors
    ///
    /// As for [`Launch::start_in`].
    pub fn start<I: Portable, S: 'static>(
        launch: &Launch<'_>,
        zygote: &Zygote,
        init: fn(I) -> S,
        argument: &I,
        max_frame: usize,
    ) -> Result<Worker, StartError> {
        Worker::start_thunk(launch, zygote, body::<I, S>, function::address(init), argument, max_frame)
    }

    /// As [`start`](Worker::start), of a function that takes nothing.
    ///
    /// # Errors
    ///
    /// As for [`start`](Worker::start).
    pub fn start_plain<S: 'static>(
        launch: &Launch<'_>,
        zygote: &Zygote,
        init: fn() -> S,
        max_frame: usize,
    ) -> Result<Worker, StartError> {
        Worker::start_thunk(launch, zygote, plain_body::<S>, function::address(init), &(), max_frame)
    }

    fn start_thunk<I: Portable>(
        launch: &Launch<'_>,
        zygote: &Zygote,
        thunk: Thunk,
        init: usize,
        argument: &I,
        max_frame: usize,
    ) -> Result<Worker, StartError> {
        let os = |source| StartError::Os { step: "make a link to the worker", source };
        let (sender, receiver) = jobs(max_frame).map_err(os)?;
        let start = Start::pair::<JobReceiver, I>(thunk, init, &(receiver, argument))?;
        let (child, modules) = zygote.start_knowing(&launch.plan()?, start)?;
        let pidfd = child.record().pidfd();
        if let Some(pidfd) = &pidfd {
            sender.receiver_stays_with(Arc::clone(pidfd)).map_err(|error| os(io::Error::other(error)))?;
        }
        Ok(Worker { sender, child, pidfd, modules, known: Vec::new() })
    }

    /// Its process.
    #[must_use]
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Sends it a job, under a number of the caller's that isn't zero, if there is room for it.
    ///
    /// # Errors
    ///
    /// [`LinkError::Full`]: try again when it has replied to something. [`LinkError::Closed`]: it is gone. [`LinkError::Io`]:
    /// descriptors in the argument can't be sent, or ([`io::ErrorKind::Unsupported`]) it doesn't have the function, which is
    /// in a library that was loaded later.
    pub fn try_send(&mut self, number: u64, work: &mut Work) -> Result<(), LinkError> {
        let what = work.parcel.what();
        if self.known.last() != Some(&what) && !self.known.contains(&what) {
            if !self.modules.had(what) {
                let why = "the worker doesn't have the function: it is in a library that was loaded later";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why).into());
            }
            if self.known.len() == KNOWN_MAX {
                self.known.remove(0);
            }
            self.known.push(what);
        }
        self.sender.try_send(number, &mut work.parcel)
    }

    /// What it has said, if there is something.
    ///
    /// # Errors
    ///
    /// It has written what makes no sense, and is to be killed.
    pub fn try_recv(&mut self) -> Result<Option<Told>, LinkError> {
        let Some(arrived) = self.sender.try_recv()? else { return Ok(None) };
        Ok(Some(match (arrived.number, arrived.kind) {
            (0, kind::READY) => Told::Ready,
            (0, kind::INIT_FAILED) => Told::InitFailed(arrived.decode()?),
            (0, _) => return Err(LinkError::Garbled("it says what no worker says")),
            (number, _) => Told::Done { number, reply: Reply(arrived) },
        }))
    }

    /// Whether it has said something.
    #[inline]
    #[must_use]
    pub fn has_something(&self) -> bool {
        self.sender.has_something()
    }

    /// Whether it rings when it says the next thing, so that a poller that [watches](Worker::watch) it wakes. It does so
    /// once; ask it, then look, then sleep.
    #[inline]
    pub fn is_to_ring(&self, is_to: bool) {
        self.sender.is_to_ring(is_to);
    }

    /// Whether what it says of that can be. One that says what can't be has had its memory written to, and is to be killed.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.sender.is_word_sane()
    }

    /// Wakes it, should it sleep though it has jobs: one that has spoilt the words in its own memory may.
    pub fn remind(&self) {
        self.sender.ring();
    }

    /// After a poller has told of it: silences the bell, and says whether it has cut itself off, as one does that ends,
    /// executes another program, or closes all its descriptors.
    ///
    /// # Errors
    ///
    /// It has written what makes no sense; no descriptors left.
    pub fn hear(&self) -> Result<bool, LinkError> {
        self.sender.hear()
    }

    /// Takes back the jobs that it hasn't begun, and returns their numbers. It never begins them.
    pub fn recall(&mut self) -> Vec<u64> {
        self.sender.recall()
    }

    /// How many of its jobs it hasn't begun.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sender.waiting()
    }

    /// The place of the item that it is working on in the job of this number, which is one of [many](Work::each), by its
    /// own word; zero if it isn't on one.
    #[must_use]
    pub fn item(&self, number: u64) -> usize {
        self.sender.part(number) as usize
    }

    /// Has a poller tell, by this token, when it rings and when its process has ended.
    ///
    /// # Errors
    ///
    /// As for [`Poller::add`].
    pub fn watch(&self, poller: &Poller, token: u64) -> io::Result<()> {
        poller.add(self.sender.bell().map_err(io::Error::other)?, token)?;
        match &self.pidfd {
            Some(pidfd) => poller.add(pidfd.get().map_err(io::Error::other)?, token),
            None => Ok(()),
        }
    }

    /// Has it tell only when its process has ended: for one that is cut off, whose bell would never be silent.
    pub fn watch_end_only(&self, poller: &Poller) {
        if let Ok(bell) = self.sender.bell() {
            poller.remove(bell.as_raw_fd());
        }
    }

    /// Ends that.
    pub fn unwatch(&self, poller: &Poller) {
        self.watch_end_only(poller);
        if let Some(Ok(pidfd)) = self.pidfd.as_ref().map(|pidfd| pidfd.get()) {
            poller.remove(pidfd.as_raw_fd());
        }
    }
}

//! Making a pool.

use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::DEFAULT_MAX_FRAME;
use common_ipc::process::{AtExit, Launch, LaunchOptions, Portable, Sigint, StartError, Worker, Zygote};
use common_ipc::sync::Semaphore;

use crate::workers::core::{Core, StartWorker};
use crate::workers::errors::WorkError;
use crate::workers::settings::{Recycle, Settings};
use crate::workers::state_pool::StatePool;
use crate::workers::task::Terms;
use crate::workers::{WorkerPool, Workers, thread};

/// What a [`WorkerPool`] or a [`StatePool`] is to be like.
#[derive(Debug, Clone)]
#[must_use = "it makes a pool when it is told to"]
pub struct WorkerPoolBuilder {
    settings: Settings,
    terms: Terms,
}

/// So many bytes of tasks may wait unless another number is set: 64 MiB.
const MAX_WAITING: usize = 64 << 20;
/// So long workers may take over their end unless another time is set.
const GRACE: Duration = Duration::from_secs(5);
/// For ever, which is a time that can be added to any other.
const GRACE_MAX: Duration = Duration::from_secs(1 << 30);
/// The most workers.
const SIZE_MAX: usize = Semaphore::MAX_PERMITS;

impl WorkerPoolBuilder {
    pub(crate) fn new(size: usize) -> WorkerPoolBuilder {
        WorkerPoolBuilder {
            settings: Settings {
                size,
                options: LaunchOptions::new(),
                zygote: Zygote::global(),
                max_waiting: MAX_WAITING,
                max_frame: DEFAULT_MAX_FRAME,
                recycle: Recycle::default(),
                grace: GRACE,
            },
            terms: Terms { limit: None, attempts: 1 },
        }
    }

    /// What its workers are started with: name, user, limits, directory, ... A worker has
    /// [`ready_timeout`](LaunchOptions::ready_timeout) to start and to make its state.
    pub fn options(mut self, options: LaunchOptions) -> Self {
        self.settings.options = options;
        self
    }

    /// From which zygote they come; the program's own without this. One with a preload has what that has made.
    pub fn zygote(mut self, zygote: &Zygote) -> Self {
        self.settings.zygote = zygote.clone();
        self
    }

    /// As [`WorkerPool::task_timeout`].
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.terms.limit = Some(limit);
        self
    }

    /// As [`WorkerPool::attempts`].
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.terms.attempts = attempts.max(1);
        self
    }

    /// Replaces a worker by a fresh one after so many tasks.
    #[doc(alias = "max_tasks_per_child")]
    pub fn recycle_after_tasks(mut self, tasks: u64) -> Self {
        self.settings.recycle.tasks = Some(tasks);
        self
    }

    /// Replaces a worker by a fresh one after so long, up to a tenth more, so that not all are replaced at once. One that
    /// has done nothing yet isn't.
    pub fn recycle_after(mut self, age: Duration) -> Self {
        self.settings.recycle.age = Some(age);
        self
    }

    /// Replaces a worker by a fresh one when it takes more than so many bytes of memory (its resident set, which is looked
    /// at 0.1 s after a task). It does what it is at before: this is for leaks. What a task may take at the most is set by
    /// [`LaunchOptions::limit`].
    pub fn recycle_above_memory(mut self, bytes: u64) -> Self {
        self.settings.recycle.memory = Some(bytes);
        self
    }

    /// So many bytes of tasks may wait for a worker, their arguments and 300 bytes for each; 64 MiB without this. One task
    /// may always wait.
    pub fn max_waiting(mut self, bytes: usize) -> Self {
        self.settings.max_waiting = bytes;
        self
    }

    /// The longest argument and the longest result, in bytes of their encoding; 64 MiB without this. A result of up to
    /// 36 KiB is never too long.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_frame = bytes;
        self
    }

    /// How long a worker may take over its end when its pool is closed, or it is replaced, before it is killed; 5 s
    /// without this.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace.min(GRACE_MAX);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::new`].
    pub fn build(self) -> Result<WorkerPool, WorkError> {
        Ok(WorkerPool { workers: self.start(of(|()| (), ()))? })
    }

    /// Starts the workers of a [`StatePool`], each of which calls `init` for its state.
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::new`].
    pub fn with_state<S: 'static>(self, init: fn() -> S) -> Result<StatePool<S>, WorkError> {
        let start: StartWorker = Box::new(move |settings| {
            Worker::start_plain(&launch(settings), &settings.zygote, init, settings.max_frame)
        });
        Ok(StatePool::of(self.start(start)?))
    }

    /// As [`with_state`](WorkerPoolBuilder::with_state), of a function that takes an argument. Each worker, also one that
    /// replaces another one, has a copy of that; what belongs to one process can't be in it.
    ///
    /// ```
    /// use pkit::WorkerPool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let words = vec!["any".to_owned(), "words".to_owned()];
    /// let pool = WorkerPool::builder(2).with_state_of(|words: Vec<String>| words, words)?;
    /// let word = pool.submit(|words: &mut Vec<String>, place: usize| words[place].clone(), 1)?;
    /// assert_eq!(word.join()?, "words");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::new`].
    pub fn with_state_of<I, S>(self, init: fn(I) -> S, argument: I) -> Result<StatePool<S>, WorkError>
    where
        I: Portable + Send + Sync,
        S: 'static,
    {
        Ok(StatePool::of(self.start(of(init, argument))?))
    }

    fn start(self, start: StartWorker) -> Result<Workers, WorkError> {
        let WorkerPoolBuilder { mut settings, terms } = self;
        let failed = |error| WorkError::Start(Arc::new(error));
        if !(1..=SIZE_MAX).contains(&settings.size) {
            return Err(WorkError::Size { size: settings.size });
        }
        settings.options = settings.options.or_sigint(Sigint::Ignore);
        let os = |step| move |source| failed(StartError::Os { step, source });
        let core = Arc::new(Core::new(settings, start).map_err(os("make what a pool waits on"))?);
        let workers = Workers::new(core, terms);
        let core = &workers.owner.core;
        for place in 0..core.settings.size {
            let worker = (core.start)(&core.settings).map_err(failed)?;
            core.with(|state| core.install(state, place, worker));
        }
        thread::start(core).map_err(os("start the thread of a pool"))?;
        Ok(workers)
    }
}

/// Of workers that are made by a function with an argument.
fn of<I, S>(init: fn(I) -> S, argument: I) -> StartWorker
where
    I: Portable + Send + Sync,
    S: 'static,
{
    Box::new(move |settings| {
        Worker::start(&launch(settings), &settings.zygote, init, &argument, settings.max_frame)
    })
}

fn launch(settings: &Settings) -> Launch<'_> {
    Launch::new(&settings.options).kind(KIND).at_exit(AtExit::Stop { grace: settings.grace })
}

/// What a worker without a name is named after.
const KIND: &str = "worker";

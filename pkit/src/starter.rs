//! How a target is started, any number of times: by a fork, from a template, from a zygote.

use std::fmt;

use common_ipc::process::{AtExit, Child, Launch, LaunchOptions, Portable, StartError, Template, Zygote};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::target::Target;

/// A target and the way to start it.
pub(crate) struct Starter {
    start: Box<dyn Fn() -> Result<Child, StartError> + Send + Sync>,
}

/// What is common to all starts of a target.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) options: LaunchOptions,
    pub(crate) at_exit: AtExit,
    /// The target says itself when it is ready; otherwise that is said when it is about to run.
    pub(crate) ready_by_target: bool,
    /// The target takes requests to stop itself.
    pub(crate) hold_stop_signals: bool,
}

/// What a child without a name is named after.
const KIND: &str = "pkit";

impl Starter {
    /// By forks of the program. The target stays here, and each child runs its own copy.
    pub(crate) fn by_fork<T: Target + Send + 'static>(manner: Manner, target: T) -> Starter {
        let target = Mutex::new(Some(target));
        let start = move || {
            let mut target = target.lock();
            manner.launch().start(|| take(&mut target).run())
        };
        Starter { start: Box::new(start) }
    }

    /// From a template that is made now. Such a start waits until the target is about to run.
    pub(crate) fn by_template<T: Target>(manner: &Manner, target: T) -> Result<Starter, StartError> {
        let template: Template = manner.launch().template(move || target.run())?;
        Ok(Starter { start: Box::new(move || template.start()) })
    }

    /// From a zygote: a function, on a value that is serialised anew for each start, which waits as one from a
    /// template does.
    pub(crate) fn in_zygote<A, O>(manner: Manner, zygote: Zygote, run: fn(A) -> O, argument: A) -> Starter
    where
        A: Portable + Send,
        O: Serialize + DeserializeOwned + 'static,
    {
        let argument = Mutex::new(argument);
        let start = move || manner.launch().start_in(&zygote, run, &*argument.lock());
        Starter { start: Box::new(start) }
    }

    pub(crate) fn start(&self) -> Result<Child, StartError> {
        (self.start)()
    }
}

impl Manner {
    /// As most are started.
    pub(crate) fn new(options: LaunchOptions) -> Manner {
        Manner { options, at_exit: AtExit::default(), ready_by_target: false, hold_stop_signals: false }
    }

    pub(crate) fn launch(&self) -> Launch<'_> {
        Launch::new(&self.options)
            .kind(KIND)
            .at_exit(self.at_exit)
            .announce_ready(!self.ready_by_target)
            .hold_stop_signals(self.hold_stop_signals)
    }
}

#[expect(clippy::expect_used, reason = "a child takes it once, out of its own copy")]
fn take<T>(target: &mut Option<T>) -> T {
    target.take().expect("it is taken once")
}

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starter").finish_non_exhaustive()
    }
}

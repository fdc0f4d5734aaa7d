//! How a target is started, any number of times: by a fork, from a template, from a zygote.

use std::fmt;

use common_ipc::process::{AtExit, Child, Launch, LaunchOptions, Portable, StartError, Template, Zygote};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether a start returns only when the child is about to run its target. Templates and zygotes wait for that in
/// any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Started,
    Running,
}

/// A target and the way to start it.
pub(crate) struct Starter {
    start: Box<dyn Fn(Until) -> Result<Child, StartError> + Send + Sync>,
}

/// What a child without a name is named after.
const KIND: &str = "pkit";

impl Starter {
    /// By forks of the program. The target stays here, and each child calls its own copy.
    pub(crate) fn by_fork<O, F>(options: LaunchOptions, at_exit: AtExit, target: F) -> Starter
    where
        F: FnOnce() -> O + Send + 'static,
        O: Serialize + DeserializeOwned,
    {
        let target = Mutex::new(Some(target));
        let start = move |until| {
            let mut target = target.lock();
            let launch = launch(&options, at_exit).wait_until_ready(until == Until::Running);
            launch.start(|| take(&mut target)())
        };
        Starter { start: Box::new(start) }
    }

    /// From a template that is made now.
    pub(crate) fn by_template<O, F>(
        options: &LaunchOptions,
        at_exit: AtExit,
        target: F,
    ) -> Result<Starter, StartError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        let template: Template = launch(options, at_exit).template(target)?;
        Ok(Starter { start: Box::new(move |_| template.start()) })
    }

    /// From a zygote: a function, on a value that is serialised anew for each start.
    pub(crate) fn in_zygote<A, O>(
        options: LaunchOptions,
        at_exit: AtExit,
        zygote: Zygote,
        run: fn(A) -> O,
        argument: A,
    ) -> Starter
    where
        A: Portable + Send,
        O: Serialize + DeserializeOwned + 'static,
    {
        let argument = Mutex::new(argument);
        let start = move |_| launch(&options, at_exit).start_in(&zygote, run, &*argument.lock());
        Starter { start: Box::new(start) }
    }

    pub(crate) fn start(&self, until: Until) -> Result<Child, StartError> {
        (self.start)(until)
    }
}

#[expect(clippy::expect_used, reason = "a child takes it once, out of its own copy")]
fn take<T>(target: &mut Option<T>) -> T {
    target.take().expect("it is taken once")
}

fn launch(options: &LaunchOptions, at_exit: AtExit) -> Launch<'_> {
    Launch::new(options).kind(KIND).at_exit(at_exit)
}

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starter").finish_non_exhaustive()
    }
}

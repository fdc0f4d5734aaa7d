//! The keeper: a copy of the program from before it did anything, which makes zygotes.
//!
//! It runs nothing of the user's, so nothing of the user's can break it: it is a fork server whose tasks are the
//! library's own. A zygote that has died is replaced by asking it for another one.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ownership::descriptors;
use crate::ownership::harmless;
use crate::ownership::per_process::PerProcess;
use crate::process::child_side;
use crate::process::errors::StartError;
use crate::process::fork_rule::{ForkRule, Refusal};
use crate::process::fork_server::{self, Births, ForkServer, Server, Surroundings, Work};
use crate::process::forking;
use crate::process::options::LaunchOptions;
use crate::process::plan::Plan;
use crate::process::report::OutputFailure;
use crate::sys;
use crate::sys::function::Modules;

static KEEPER: PerProcess<Mutex<Option<Arc<Server>>>> = PerProcess::new(Mutex::new(None), Mutex::default);

fn keeper() -> MutexGuard<'static, Option<Arc<Server>>> {
    KEEPER.own().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes [`Zygote`](crate::process::Zygote)s possible: forks a small process, the *keeper*, while the program is
/// as small and as single-threaded as it ever is. The first line of `main`:
///
/// ```
/// use common_ipc::process::{self, Launch, LaunchOptions, Zygote};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process::init()?;
///     std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(1)));
///     // Beside that thread a fork would be refused. This is safe.
///     let child = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |n: u64| n * 7, &6)?;
///     assert_eq!(child.output::<u64>()?, 42);
///     Ok(())
/// }
/// ```
///
/// In a program with an async runtime `main` has to be a plain function, since `#[tokio::main]` builds the
/// runtime, with its threads, before the first line is reached:
///
/// ```no_run
/// # mod tokio { pub mod runtime { pub struct Runtime; impl Runtime {
/// #     pub fn new() -> std::io::Result<Runtime> { Ok(Runtime) }
/// #     pub fn block_on<F: Future>(&self, _: F) -> F::Output { std::process::exit(0) } } } }
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     common_ipc::process::init()?;
///     tokio::runtime::Runtime::new()?.block_on(async_main())
/// }
///
/// async fn async_main() -> Result<(), Box<dyn std::error::Error>> {
///     Ok(())
/// }
/// ```
///
/// It may be called again, also by a library that doesn't know whether its user has: if there is a keeper, that
/// is all that happens, unless the keeper is dead, or too far behind the program to follow it (see
/// [`ProgramState`](crate::process::ProgramState)): then it is replaced. It takes about as long as a fork of the
/// small program, some 0.3 ms; the keeper sleeps until it is needed, and dies with the program. In `ps` it is `mp-keeper`, and zygotes are `mp-zygote`.
///
/// A program that executes another one in its place leaves keeper and zygote to that as zombies.
///
/// It has copies of what the program has in memory at this moment, and none of its descriptors. Statics that are
/// set later, loggers among them, are as they were at this moment in every zygote's child (for log records, see
/// [`logging`](crate::logging)).
///
/// # Errors
///
/// [`StartError::InitTooLate`] if other threads are running and there is no keeper; [`StartError::Os`].
pub fn init() -> Result<(), StartError> {
    let mut keeper = keeper();
    let now = fork_server::now()?;
    let is_good = |keeper: &Arc<Server>| keeper.is_alive() && keeper.surroundings().until(&now).is_ok();
    if !keeper.as_ref().is_some_and(is_good) {
        *keeper = Some(Arc::new(start(now)?));
    }
    Ok(())
}

fn start(surroundings: Surroundings) -> Result<Server, StartError> {
    let modules = Modules::loaded();
    let (ours, theirs) = fork_server::both_sides()?;
    let mut options = LaunchOptions::new().name("mp-keeper");
    options.fork_rule = Some(ForkRule::Refuse);
    options.given.extend(theirs.given());
    let plan = Plan::of_server(&options)?;
    let child = forking::fork(&plan, &mut |_| {
        let births = Births::receive(&theirs.births);
        let closed = close_all_others();
        let served =
            closed.and(births).and_then(|births| fork_server::serve(&theirs.socket, births, Work::Tasks));
        let errno = served.err().and_then(|error| error.raw_os_error());
        errno.map_or(Ok(Vec::new()), |errno| Err(OutputFailure::Undeliverable { errno }))
    });
    match child {
        Ok(child) => Ok(Server::new(ForkServer::Keeper, child, ours, surroundings, Arc::new(modules))),
        Err(StartError::Refused(Refusal::OtherThreads { count })) => {
            Err(StartError::InitTooLate { threads: count })
        }
        Err(error) => Err(error),
    }
}

/// In the keeper: whatever the program was started with, or has opened, is not for its zygotes' children.
fn close_all_others() -> io::Result<()> {
    let mut keep = descriptors::registry().numbers();
    keep.extend(child_side::report_link().map(|link| link.as_raw_fd()));
    keep.extend(harmless::numbers());
    keep.sort_unstable();
    let mut from = 3;
    for number in keep.into_iter().filter(|number| *number > 2) {
        if from < number {
            sys::descriptors::close_range(from, number - 1);
        }
        from = number + 1;
    }
    sys::descriptors::close_from(from)
}

/// The keeper of this process.
pub(crate) fn current() -> Result<Arc<Server>, StartError> {
    keeper().clone().ok_or(StartError::NotInitialised)
}

/// Called before `main`, where there is nobody to tell: the first start says what is missing.
#[doc(hidden)]
pub extern "C" fn init_before_main() {
    if let Err(error) = init() {
        log::error!("init_before_main: {error}");
    }
}

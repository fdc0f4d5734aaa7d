//! System calls that fail when one wants them to, and processes that are killed in the midst of one.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::ownership::descriptors::PrivateFd;
use crate::process::{Signal, start_library_thread};
use crate::sys;
use crate::sys::seccomp::Asked;
use crate::testing::SystemCall;

/// Whose calls are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// This process's, those of all its threads.
    Here,
    /// Those of the processes that it has started since the injector was installed, and of theirs.
    Children,
}

/// What happens instead of a call, or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It isn't done, and fails with this error.
    Fail(Errno),
    /// The process that calls is sent this signal, and the call goes on if that lets it. Only for calls of a process's
    /// first thread: others aren't counted.
    Signal(Signal),
}

impl Action {
    /// Each [plausible](SystemCall::plausible) error of a call.
    #[must_use]
    pub fn plausible(call: SystemCall) -> Vec<Action> {
        call.plausible().iter().map(|errno| Action::Fail(*errno)).collect()
    }
}

/// The n-th call of a kind, and what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub call: SystemCall,
    /// The how manieth one from now on: 1 is the next one.
    pub nth: u32,
    /// Whose.
    pub scope: Scope,
    /// What happens to it.
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { call, nth, scope, action } = self;
        let whose = match scope {
            Scope::Here => "this process's",
            Scope::Children => "the children's",
        };
        match action {
            Action::Fail(errno) => write!(f, "{whose} {call} number {nth} fails with {errno}"),
            Action::Signal(signal) => write!(f, "{signal} at {whose} {call} number {nth}"),
        }
    }
}

/// Why system calls can't be made to fail here.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum InjectorError {
    /// The kernel doesn't let system calls be answered by this process: it is older than 5.5, a sandbox forbids it, or
    /// this process, or one that it comes from, has done so already.
    #[error("the kernel doesn't let this process answer system calls (seccomp's user notification)")]
    Unavailable(#[source] io::Error),
    /// There is no thread to be had that answers.
    #[error("no thread that answers system calls can be started")]
    NoThread(#[source] io::Error),
    /// One of the standard streams is closed.
    #[error("standard input, output or error is closed: open them, of /dev/null if of nothing else")]
    StreamsClosed(#[source] io::Error),
}

crate::error::debug_is_display!(InjectorError);

/// Makes system calls fail, of this process or of those that it starts: **fault injection**, by the kernel and without
/// any change to the code that calls.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions, StartError};
/// use common_ipc::testing::{Action, Fault, FaultInjector, Scope, SystemCall};
/// use nix::errno::Errno;
///
/// // As early as possible: what was started before isn't subject to it.
/// let injector = FaultInjector::install(SystemCall::ALL)?;
/// let fault = Fault { call: SystemCall::Clone, nth: 1, scope: Scope::Here, action: Action::Fail(Errno::EAGAIN) };
/// injector.arm(fault);
/// let refused = Launch::new(&LaunchOptions::new()).start(|| ());
/// assert!(injector.disarm(), "it was provoked");
/// assert!(matches!(refused, Err(StartError::Os { .. })), "and told");
/// // Nothing is left of it: the next start is as good as any.
/// assert_eq!(Launch::new(&LaunchOptions::new()).start(|| 7)?.output::<i32>()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each call in question is answered by a thread of this process (a library thread: the program may go on to fork),
/// which lets it pass if it isn't the one that is to fail. That takes some 10 us for each.
///
/// # What to know
///
/// - It holds for the thread that installs it and for those threads and processes that come from it later; so install
///   it first of all, before [`init`](crate::process::init).
/// - It is for good, for this process and all that come from it. Drop does nothing.
/// - When this process ends, such calls of processes that come from it and live on fail with ENOSYS.
/// - Without the privilege for more, installing it sets `no_new_privs`.
/// - Calls that don't enter the kernel (of the vdso) can't fail, nor can what a library doesn't call.
/// - A call that a signal interrupts while it is being asked about may be counted twice.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    armed: Arc<Armed>,
}

/// The one fault that is to happen: words alone, since the thread that answers may wait for no lock.
#[derive(Debug)]
struct Armed {
    listener: OnceLock<PrivateFd>,
    /// The place of the call in [`SystemCall::ALL`].
    call: AtomicU32,
    /// How many are still to come, the one that fails included. 0: none fails.
    left: AtomicU32,
    scope: AtomicU32,
    /// An error below 0, a signal above.
    action: AtomicI32,
    provoked: AtomicBool,
}

/// The thread that answers looks so often for what it is to answer.
const LOOK: Duration = Duration::from_micros(200);

impl FaultInjector {
    /// Has this process answer these system calls of the calling thread and of all that comes from it.
    ///
    /// # Errors
    ///
    /// [`InjectorError`].
    pub fn install(calls: &[SystemCall]) -> Result<FaultInjector, InjectorError> {
        // With one of them closed the listener would have to move, by calls that nobody answers yet.
        for number in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            fcntl(number, FcntlArg::F_GETFD).map_err(|errno| InjectorError::StreamsClosed(errno.into()))?;
        }
        let numbers: Vec<_> = calls.iter().flat_map(|call| call.numbers()).copied().collect();
        let armed = Arc::new(Armed {
            listener: OnceLock::new(),
            call: AtomicU32::new(0),
            left: AtomicU32::new(0),
            scope: AtomicU32::new(0),
            action: AtomicI32::new(0),
            provoked: AtomicBool::new(false),
        });
        // The thread first: it isn't subject to what it answers. Until it has its descriptor it only looks.
        let given_up = Arc::new(AtomicBool::new(false));
        let (its, gives_up) = (Arc::clone(&armed), Arc::clone(&given_up));
        let answer = move |thread: &mut crate::process::LibraryThread| {
            // For good: also in the midst of a fork, whose calls it answers.
            thread.sleep(|| its.answer_all(&gives_up));
        };
        start_library_thread("fault-injector", answer).map_err(InjectorError::NoThread)?;
        let listener = PrivateFd::new(|| sys::seccomp::ask_before(&numbers));
        match listener {
            Ok(listener) => {
                // Nobody has set it before.
                let _ = armed.listener.set(listener);
                Ok(FaultInjector { armed })
            }
            Err(error) => {
                given_up.store(true, Ordering::Release);
                Err(InjectorError::Unavailable(error))
            }
        }
    }

    /// From now on counts the calls in question, up to the one that fails. Instead of what was armed before.
    pub fn arm(&self, fault: Fault) {
        let Armed { call, left, scope, action, provoked, .. } = &*self.armed;
        // The thread that answers looks at this one first, and only at the others if it isn't 0.
        left.store(0, Ordering::SeqCst);
        provoked.store(false, Ordering::SeqCst);
        call.store(fault.call as u32, Ordering::SeqCst);
        scope.store(fault.scope as u32, Ordering::SeqCst);
        let what = match fault.action {
            Action::Fail(errno) => -(errno as i32),
            Action::Signal(signal) => signal.into(),
        };
        action.store(what, Ordering::SeqCst);
        left.store(fault.nth, Ordering::SeqCst);
    }

    /// Nothing fails any more. Says whether what was armed has happened.
    #[must_use = "a test that didn't provoke its fault has shown nothing"]
    pub fn disarm(&self) -> bool {
        self.armed.left.store(0, Ordering::SeqCst);
        self.armed.provoked.load(Ordering::SeqCst)
    }
}

impl Armed {
    /// Answers as long as there is somebody who asks. Neither locks nor takes memory: who asks may hold the allocator.
    fn answer_all(&self, given_up: &AtomicBool) {
        let listener = loop {
            if let Some(listener) = self.listener.get() {
                break listener;
            }
            if given_up.load(Ordering::Acquire) {
                return;
            }
            thread::sleep(LOOK);
        };
        let Ok(listener) = listener.get() else { return };
        while let Ok(asked) = sys::seccomp::next(listener) {
            let errno = self.errno_for(listener, &asked);
            sys::seccomp::answer(listener, &asked, errno);
        }
    }

    /// With what the call fails, if it does.
    fn errno_for(&self, listener: BorrowedFd<'_>, asked: &Asked) -> Option<i32> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let call = SystemCall::ALL.get(self.call.load(Ordering::SeqCst) as usize)?;
        let here = self.scope.load(Ordering::SeqCst) == Scope::Here as u32;
        if !call.numbers().contains(&asked.number) || sys::seccomp::is_mine(asked.thread) != here {
            return None;
        }
        let action = self.action.load(Ordering::SeqCst);
        // By a descriptor, and only if it still waits once we have that: a number alone could be another's by then.
        let victim = (action > 0).then(|| sys::pidfd::open(asked.thread).ok());
        if victim.as_ref().is_some_and(Option::is_none) {
            return None;
        }
        let counted = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted) != Ok(1) {
            return None;
        }
        if let Some(victim) = victim.flatten() {
            // Before: whoever waits for its end may ask at once.
            self.provoked.store(true, Ordering::SeqCst);
            let sent = sys::seccomp::still_waits(listener, asked)
                && sys::pidfd::send_signal(victim.as_fd(), action).is_ok();
            self.provoked.store(sent, Ordering::SeqCst);
            return None;
        }
        self.provoked.store(true, Ordering::SeqCst);
        Some(-action)
    }
}

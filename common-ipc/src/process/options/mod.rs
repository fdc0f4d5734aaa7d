//! What a child is to be like: everything but the work that it does.

mod ends;
mod prepare;
mod values;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use ends::Ends;
pub use prepare::OptionError;
pub(crate) use prepare::{COMM_MAX, Identity, Prepared};
pub use values::{ParentDeath, ProcessGroup, Resource, Sigint, Stdio};

use crate::ownership::give::{Give, Given, Giver, How};
use crate::process::fork_rule::ForkRule;

/// How long a start waits for a child's word unless the options say otherwise.
pub(crate) const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How a child is set up before its body runs. The same for every kind of child in this family of
/// crates; how the child is started is a matter of the call that takes the options.
///
/// (The crates that stand on this one have it as well, e.g. as `offspring::LaunchOptions`, for
/// `offspring::spawn_with`; the examples here start their children with [`Launch`](super::Launch).)
///
/// Without any option a child has its parent's working directory, environment, user and limits, a
/// standard input that is empty, the parent's standard output and error, default signal actions
/// (only SIGPIPE and SIGHUP stay ignored where the parent ignores them), an empty signal mask, and
/// it doesn't outlive its parent.
///
/// With options that can fail, the start waits until the child has applied them, so that what
/// fails comes back as [`StartError::Setup`](crate::process::StartError::Setup) with the step and
/// the reason, and nothing half-started stays behind. Whatever the order of the calls here, the
/// child does it in this order: standard streams, process group, nice, affinity, umask, limits,
/// groups, group, user (verified), working directory, no_new_privs, environment.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let options = LaunchOptions::new().name("in-root").cwd("/").env("GREETING", "hello");
/// let child = Launch::new(&options).start(|| {
///     (std::env::current_dir().unwrap(), std::env::var("GREETING").unwrap())
/// })?;
/// let (cwd, greeting) = child.output::<(std::path::PathBuf, String)>()?;
/// assert_eq!((cwd.to_str(), greeting.as_str()), (Some("/"), "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct LaunchOptions {
    pub(crate) name: Option<OsString>,
    /// Somebody has said what SIGINT does.
    pub(crate) sigint_set: bool,
    /// What the child does with itself.
    pub(crate) own: OwnSetup,
    pub(crate) user: Option<OsString>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    pub(crate) parent_death: Option<ParentDeath>,
    pub(crate) ready_timeout: Option<Duration>,
    pub(crate) given: Vec<Given>,
    pub(crate) fork_rule: Option<ForkRule>,
}

/// The options that the child carries out as they are: a zygote's child is sent them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnSetup {
    pub(crate) cwd: Option<OsString>,
    pub(crate) env_clear: bool,
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) limits: Vec<(Resource, u64, u64)>,
    pub(crate) nice: Option<i32>,
    pub(crate) affinity: Option<Vec<usize>>,
    pub(crate) umask: Option<u32>,
    pub(crate) sigint: Sigint,
    pub(crate) process_group: ProcessGroup,
    pub(crate) no_new_privs: bool,
    pub(crate) max_output: Option<usize>,
}

/// What a child may send back at the most, unless [`LaunchOptions::max_output`] says otherwise: 256 MiB.
pub const DEFAULT_MAX_OUTPUT: usize = 256 << 20;

impl LaunchOptions {
    /// Options that change nothing.
    pub fn new() -> LaunchOptions {
        LaunchOptions::default()
    }

    /// The child's name: what `ps -o comm` shows, cut to the 15 bytes that the kernel keeps, and
    /// what its handle gives in full. Without one a child is named after what it runs.
    ///
    /// A NUL in it is an error of the start.
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// As [`name`](Self::name), unless these options name the child already: for libraries that start children for
    /// others, and have a better name than a number.
    pub fn or_name(self, name: impl AsRef<OsStr>) -> Self {
        if self.name.is_some() { self } else { self.name(name) }
    }

    /// The working directory, entered as the child's user. A relative one is meant from the parent's.
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.own.cwd = Some(directory.as_ref().as_os_str().to_owned());
        self
    }

    /// Sets an environment variable.
    ///
    /// A name that is empty or holds `=` or NUL, or a value with NUL, is an error of the start.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.own.env.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.own.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Starts from an empty environment; what was set before this call is dropped as well.
    ///
    /// The strings that the program was started with are overwritten in the child, so that its `/proc/self/environ` is
    /// empty as well, for whoever gets it to read a file. That hides no secrets from the child's own code: every child is
    /// a fork, of the program, of a template or of a zygote, and has in its memory what copies of them were made there,
    /// as by [`std::env::vars`].
    pub fn env_clear(mut self) -> Self {
        self.own.env.clear();
        self.own.env_clear = true;
        self
    }

    /// Becomes this user: its uid, its primary group and all its groups, as the user database has
    /// them at the time of the start. [`uid`](Self::uid), [`gid`](Self::gid) and
    /// [`groups`](Self::groups) override their part. A name that the database doesn't have is an
    /// error of the start.
    pub fn user(mut self, name: impl AsRef<OsStr>) -> Self {
        self.user = Some(name.as_ref().to_owned());
        self
    }

    /// Becomes this user id: real, effective and saved, verified afterwards by trying to become
    /// root again. A parent that is root gives up its supplementary groups too, unless
    /// [`groups`](Self::groups) names some; but its group id stays, root's as a rule, unless
    /// [`gid`](Self::gid) sets another one. [`user`](Self::user) sets them all.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Becomes this group id: real, effective and saved.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gid = Some(gid);
        self
    }

    /// Has exactly these supplementary groups. Needs the right to set groups (CAP_SETGID).
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.groups = Some(groups.into_iter().collect());
        self
    }

    /// Limits a resource: `soft` is what applies, `hard` how far the child may raise it itself.
    /// [`Resource::UNLIMITED`] stands for no limit. A soft limit above the hard one, or a hard limit
    /// above the present one without the right to raise it, is an error of the start.
    pub fn limit(mut self, resource: Resource, soft: u64, hard: u64) -> Self {
        self.own.limits.push((resource, soft, hard));
        self
    }

    /// The largest core dump in bytes; 0 for none. Short for [`limit`](Self::limit) on
    /// [`Resource::Core`].
    pub fn core_limit(self, bytes: u64) -> Self {
        self.limit(Resource::Core, bytes, bytes)
    }

    /// The nice value: -20 (served first) to 19 (last). Below the present one needs CAP_SYS_NICE.
    /// Linux clips values outside of that range.
    pub fn nice(mut self, nice: i32) -> Self {
        self.own.nice = Some(nice);
        self
    }

    /// Runs only on these processors, counted from 0. None at all, or none that this machine has, is
    /// an error of the start.
    pub fn affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.own.affinity = Some(processors.into_iter().collect());
        self
    }

    /// The permissions that new files don't get, e.g. `0o077`. Only the lower nine bits count.
    pub fn umask(mut self, mask: u32) -> Self {
        self.own.umask = Some(mask);
        self
    }

    /// Standard input. Empty unless set.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Standard output. The parent's unless set.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = stdout.into();
        self
    }

    /// Standard error. The parent's unless set.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = stderr.into();
        self
    }

    /// What Ctrl-C does to the child.
    pub fn sigint(mut self, policy: Sigint) -> Self {
        self.own.sigint = policy;
        self.sigint_set = true;
        self
    }

    /// As [`sigint`](Self::sigint), unless these options say that already: for libraries that start children for others,
    /// and whose business their end is.
    pub fn or_sigint(self, policy: Sigint) -> Self {
        if self.sigint_set { self } else { self.sigint(policy) }
    }

    /// The process group of the child.
    pub fn process_group(mut self, group: ProcessGroup) -> Self {
        self.own.process_group = group;
        self
    }

    /// What happens to the child when its parent dies. Unless set, a child that holds its stop signals,
    /// a loop, is stopped with a grace of [`ParentDeath::LOOP_GRACE`]; any other is killed.
    pub fn on_parent_death(mut self, policy: ParentDeath) -> Self {
        self.parent_death = Some(policy);
        self
    }

    /// Forbids the child, and whatever it executes, to gain privileges (set-user-ID files and the like).
    pub fn no_new_privs(mut self) -> Self {
        self.own.no_new_privs = true;
        self
    }

    /// How long a start waits for a child that has to report that it is set up or ready; 60 s
    /// unless set. Then the child is killed and the start is an error.
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = Some(timeout);
        self
    }

    /// As [`ready_timeout`](Self::ready_timeout), unless these options set one: for libraries that start children for
    /// others, and can't wait for so long.
    pub fn or_ready_timeout(self, timeout: Duration) -> Self {
        if self.ready_timeout.is_some() { self } else { self.ready_timeout(timeout) }
    }

    /// How long a start with these options waits at the most: what [`ready_timeout`](Self::ready_timeout) set, or 60 s.
    #[must_use]
    pub fn ready_within(&self) -> Duration {
        self.ready_timeout.unwrap_or(DEFAULT_READY_TIMEOUT)
    }

    /// How many bytes the child's encoded output may have; [`DEFAULT_MAX_OUTPUT`] unless set.
    /// A longer one is an error of the wait.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.own.max_output = Some(bytes);
        self
    }

    /// Whether these options [give](Self::give) something that moves, so that only one start with them can succeed.
    #[must_use]
    pub fn moves_something(&self) -> bool {
        self.given.iter().any(|given| given.how != How::Shared)
    }

    /// Gives something to the child that has descriptors of the library's: there it can be used by the
    /// closure that captured it, or by the object that holds it. Descriptors that aren't given to a
    /// child don't exist in it: their use there is [`WrongProcess`](crate::process::WrongProcess).
    ///
    /// An end of a connection or of a pipe moves: at the first successful start it becomes the child's,
    /// and is of no more use here; a second start with the same options is
    /// [`StartError::GivenTwice`](crate::process::StartError::GivenTwice). What processes share - queues,
    /// events, semaphores, memory - both have afterwards, and any number of children can be given it.
    ///
    /// What is started from a zygote has it in its argument instead, and these options give nothing.
    ///
    /// The options keep nothing open: in the child the last handle that is dropped closes it.
    pub fn give(mut self, end: &(impl Give + ?Sized)) -> Self {
        end.list(&mut Giver(&mut self.given));
        self
    }
}

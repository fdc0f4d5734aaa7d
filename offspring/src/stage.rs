//! What a handle keeps of its task, before the first start and for another one.

use common_ipc::process::{Child, LaunchOptions, StartError, Template, Zygote};

/// What there is beside the process.
pub(crate) enum Stage<T> {
    NotStarted(Box<Pending<T>>),
    /// By some thread, at this moment.
    Starting,
    /// It was started, and can't be again.
    Once,
    /// It was started, and what another start needs was let go.
    Forgotten,
    /// By a closure in a process of its own.
    Template(Box<Template>),
    /// By serialising the task again.
    InZygote {
        pending: Box<Pending<T>>,
        zygote: Zygote,
        start: StartInZygote<T>,
    },
}

/// What is needed for a start.
pub(crate) struct Pending<T> {
    pub(crate) task: T,
    pub(crate) options: LaunchOptions,
    /// Made by a start that has failed after that.
    pub(crate) template: Option<Box<Template>>,
}

/// How a task is started, or a function on an argument.
pub(crate) type StartInZygote<T> =
    Box<dyn Fn(&T, &LaunchOptions, &Zygote) -> Result<Child, StartError> + Send + Sync>;
/// The process and what there is beside it from now on, or why not and all as it was.
pub(crate) type Begun<T> = Result<(Child, Stage<T>), (StartError, Box<Pending<T>>)>;

impl<T> Stage<T> {
    /// A process, if there is a way to start one again.
    pub(crate) fn start_again(&self) -> Result<Child, StartError> {
        match self {
            Stage::Template(template) => template.start(),
            Stage::InZygote { pending, zygote, start } => start(&pending.task, &pending.options, zygote),
            Stage::Forgotten => Err(StartError::NotRestartable {
                why: "into_started let go of the task, which a start from a zygote serialises again; keep the \
                      handle that names its type",
            }),
            Stage::Once | Stage::NotStarted(_) | Stage::Starting => Err(StartError::NotRestartable {
                why: "it was started by a fork of its own. Set RESTARTABLE, use spawn_restartable, or start it \
                      from a zygote",
            }),
        }
    }
}

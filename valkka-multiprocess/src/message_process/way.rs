//! The ways to start a back end.

use common_ipc::process::{Child, Launch, Portable, StartError, Template, Zygote};

use crate::message_process::body::Body;
use crate::message_process::error::ProcessError;
use crate::message_process::wire::BackEnds;

/// From what it is started.
pub(crate) enum Way<B> {
    Fork,
    Template(Box<Template<BackEnds>>),
    Zygote(Zygote, StartIn<B>),
}

/// A start from a zygote, of a type that can be sent there. The back end that it takes it gives back.
pub(crate) type StartIn<B> = fn(&Launch<'_>, &Zygote, B, BackEnds) -> (B, Result<Child, StartError>);

/// A fork in the midst of a runtime takes a copy of it along.
pub(crate) fn must_be_forkable(name: &str) -> Result<(), ProcessError> {
    #[cfg(feature = "tokio")]
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(ProcessError::InsideRuntime { name: name.to_owned() });
    }
    let _ = name;
    Ok(())
}

/// In the fork's child.
pub(crate) fn fork<B: Body<K>, K>(
    launch: &Launch<'_>,
    back: &mut Option<B>,
    ends: BackEnds,
) -> Result<Child, StartError> {
    // The child takes it out of its own copy.
    launch.start(move || back.take().map_or(Ok(()), |back| back.serve(ends)))
}

pub(crate) fn template<B: Body<K>, K>(
    launch: &Launch<'_>,
    back: &mut Option<B>,
) -> Result<Template<BackEnds>, StartError> {
    launch.template_with(move |ends: BackEnds| back.take().map_or(Ok(()), |back| back.serve(ends)))
}

pub(crate) fn start_in<B: Body<K> + Portable, K>(
    launch: &Launch<'_>,
    zygote: &Zygote,
    back: B,
    ends: BackEnds,
) -> (B, Result<Child, StartError>) {
    let argument = (back, ends);
    let started = launch.start_in(zygote, |(back, ends): (B, BackEnds)| back.serve(ends), &argument);
    (argument.0, started)
}

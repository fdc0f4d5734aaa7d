//! Processes of pkit's as most scenarios need them: the same one in each way in which it can be started.

use common_ipc::link::Queue;
use common_ipc::process::{LaunchOptions, Portable};
use pkit::{Process, ProcessBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::servers::zygote;

/// By forks, from a template, from the program's zygote: each runs `body`.
pub(crate) fn all_ways<O>(body: fn(()) -> O) -> [Process<O>; 3]
where
    O: Serialize + DeserializeOwned + 'static,
{
    dressed(body, |builder, options| builder.options(options))
}

/// As [`all_ways`], with something to `dress` the builders in.
pub(crate) fn dressed<O>(
    body: fn(()) -> O,
    dress: impl Fn(ProcessBuilder<O>, LaunchOptions) -> ProcessBuilder<O>,
) -> [Process<O>; 3]
where
    O: Serialize + DeserializeOwned + 'static,
{
    ways(body, (), LaunchOptions::new(), dress)
}

/// As [`dressed`], of a body that tells something by a queue.
pub(crate) fn telling<T, O>(
    body: fn(Queue<T>) -> O,
    queue: &Queue<T>,
    dress: impl Fn(ProcessBuilder<O>, LaunchOptions) -> ProcessBuilder<O>,
) -> [Process<O>; 3]
where
    Queue<T>: Portable + Send,
    O: Serialize + DeserializeOwned + 'static,
{
    ways(body, queue.clone(), LaunchOptions::new().give(queue), dress)
}

/// The options are for those whose argument isn't sent: they give what is in it.
pub(crate) fn ways<A, O>(
    body: fn(A) -> O,
    argument: A,
    giving: LaunchOptions,
    dress: impl Fn(ProcessBuilder<O>, LaunchOptions) -> ProcessBuilder<O>,
) -> [Process<O>; 3]
where
    A: Portable + Send + Clone,
    O: Serialize + DeserializeOwned + 'static,
{
    let zygote = zygote();
    let (forked, copied) = (argument.clone(), argument.clone());
    [
        dress(Process::builder(), giving.clone()).build(move || body(forked)),
        dress(Process::builder(), giving).build_template(move || body(copied)).unwrap(),
        dress(Process::builder(), LaunchOptions::new()).build_function_in(&zygote, body, argument),
    ]
}

//! Who does what with processes: one kind of traffic each, on threads of its own.
//!
//! Each works in rounds. What it begins in a round it brings to an end in it, and then looks whether all has happened as
//! it was told. It reckons with the death of any process at any moment, and with starts that fail for a fault.

mod bridges;
mod forks;
mod managers;
mod messages;
mod nested;
mod pools;
mod queues;
mod runs;
mod states;
mod streams;
mod supervised;
mod tasks;
mod workers;

pub(crate) use forks::{Forker, Program};

use crate::stage::Stage;

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Stage),
}

pub(crate) const ALL: &[Kind] = &[
    Kind {
        name: "tasks",
        about: "tasks of offspring: results, panics, exits, no memory, restarts",
        run: tasks::run,
    },
    Kind { name: "runs", about: "a Process of pkit, started again, with exit callbacks", run: runs::run },
    Kind { name: "pools", about: "a ProcessPool: maps and time-outs", run: pools::run },
    Kind { name: "workers", about: "a WorkerPool: tasks, attempts, maps, cancels", run: workers::run },
    Kind { name: "states", about: "a StatePool, whose results are awaited, or forgotten", run: states::run },
    Kind { name: "supervised", about: "a Supervisor with several children", run: supervised::run },
    Kind { name: "bridges", about: "calls of several threads through one bridge", run: bridges::run },
    Kind { name: "streams", about: "streams and closures of a bridge", run: streams::run },
    Kind { name: "messages", about: "a MessageProcess: commands, requests, events", run: messages::run },
    Kind { name: "queues", about: "a Queue with producers and consumers", run: queues::run },
    Kind {
        name: "managers",
        about: "a Manager's list, map, lock and queue, from several processes",
        run: managers::run,
    },
    Kind { name: "nested", about: "a process with children of each kind, which is killed", run: nested::run },
    Kind { name: "forks", about: "a process without threads, which starts by fork", run: forks::run },
];

//! `scenario NAME` plays a scenario in this process, which has one thread; `scenario --list` names
//! them all, and `scenario --list of_tasks` those that need the feature `tokio`.
//! Exit code 0: it passed and left nothing behind; 77: it can't be played here, for the reason that is
//! printed; anything else: it failed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scenario fails by panicking")]
#![allow(clippy::zombie_processes, reason = "grandchildren that nobody waits for are what some are about")]

use common_ipc::testing::LeakPolice;
use integration_tests::{raw, watchdog};
use nix::sys::signal::Signal;

/// Scenarios as a table of their names.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[$crate::Scenario] = &[$((stringify!($name), $name)),*];
    };
}

#[cfg(feature = "tokio")]
mod async_process;
mod bad_input;
mod beside_threads;
mod bridge_blocks;
mod bridge_callbacks;
mod bridge_chaos;
mod bridge_faults;
mod bridge_hostile;
mod bridge_life;
mod bridge_moving;
mod bridge_names;
mod bridge_nested;
mod bridge_reentry;
mod bridge_results;
mod bridge_reviewed;
mod bridge_shapes;
mod bridge_start_stop;
mod bridge_stream_faults;
mod bridge_streams;
mod bridge_threads;
mod bridge_traits;
mod bridge_ways;
mod callbacks;
mod calls;
mod children;
mod collecting;
mod death;
mod event_faults;
mod event_sweep;
mod events;
mod failed_starts;
mod fault_ids;
mod fault_inherited;
mod fault_starts;
mod fault_stops;
mod fault_told;
mod fault_waits;
mod fork_rule;
mod inheritance;
mod injected;
mod injected_children;
mod injected_first_starts;
mod injected_links;
mod injected_siblings;
mod kinds;
mod link;
mod link_death;
mod log_abuse;
mod log_collector;
mod log_faults;
mod log_programs;
mod logs;
mod main_loop;
mod main_loop_context;
mod main_loop_load;
mod main_loop_processes;
mod main_loop_signals;
mod manager_death;
mod manager_hostile;
mod manager_kinds;
mod manager_many;
mod manager_shared;
mod many;
mod memory;
mod message_commands;
mod message_hostile;
mod message_keeping;
mod message_life;
mod message_loop;
mod message_parameters;
mod message_ways;
mod messages;
mod nested;
mod offspring_restarts;
mod offspring_tasks;
mod parent_death;
mod pkit_again;
mod pkit_bad_input;
mod pkit_exits;
mod pkit_open;
mod pkit_process;
mod pkit_restarts;
mod pkit_statuses;
mod pkit_stops;
mod pkit_targets;
mod pkit_ways;
mod pool;
mod pool_faults;
mod pool_times;
mod preload;
mod programs;
mod queue;
mod security_honest;
mod security_liar;
mod security_rights;
mod security_secrets;
mod server_programs;
mod servers;
mod setup;
mod sharing;
mod slots;
mod supervisor;
mod supervisor_faults;
mod supervisor_logger;
mod supervisor_many;
mod supervisor_targets;
mod sync;
mod template_deaths;
mod templates;
mod together;
#[cfg(feature = "tokio")]
mod together_async;
mod together_back_ends;
mod together_loops;
mod together_manager;
mod together_nested;
mod together_pools;
mod together_programs;
mod together_supervised;
mod words;
mod workers;
#[cfg(feature = "tokio")]
mod workers_async;
mod workers_ends;
mod workers_faults;
mod workers_hostile;
mod workers_life;
mod workers_limits;
mod workers_maps;
mod workers_reviewed;
mod zygote;
mod zygote_arguments;
mod zygote_deaths;
mod zygote_faults;
mod zygote_kernel;
mod zygote_options;
mod zygote_rights;
mod zygote_state;

/// What became of a scenario that didn't panic.
enum Outcome {
    Passed,
    /// Why it can't be played here.
    Skipped(&'static str),
}

type Scenario = (&'static str, fn() -> Outcome);

/// Of back ends, workers and others in tasks of a tokio runtime.
#[cfg(feature = "tokio")]
const OF_TASKS: &[&[Scenario]] = &[async_process::ALL, together_async::ALL, workers_async::ALL];
#[cfg(not(feature = "tokio"))]
const OF_TASKS: &[&[Scenario]] = &[];

const TABLES: &[&[Scenario]] = &[
    bad_input::ALL,
    beside_threads::ALL,
    bridge_blocks::ALL,
    bridge_callbacks::ALL,
    bridge_chaos::ALL,
    bridge_faults::ALL,
    bridge_hostile::ALL,
    bridge_life::ALL,
    bridge_moving::ALL,
    bridge_names::ALL,
    bridge_nested::ALL,
    bridge_results::ALL,
    bridge_reviewed::ALL,
    bridge_shapes::ALL,
    bridge_start_stop::ALL,
    bridge_stream_faults::ALL,
    bridge_streams::ALL,
    bridge_threads::ALL,
    bridge_traits::ALL,
    callbacks::ALL,
    calls::ALL,
    collecting::ALL,
    death::ALL,
    event_faults::ALL,
    event_sweep::ALL,
    events::ALL,
    failed_starts::ALL,
    fault_ids::ALL,
    fault_inherited::ALL,
    fault_starts::ALL,
    fault_stops::ALL,
    fault_told::ALL,
    fault_waits::ALL,
    fork_rule::ALL,
    inheritance::ALL,
    injected_children::ALL,
    injected_first_starts::ALL,
    injected_links::ALL,
    injected_siblings::ALL,
    link::ALL,
    link_death::ALL,
    log_abuse::ALL,
    log_faults::ALL,
    logs::ALL,
    main_loop::ALL,
    main_loop_context::ALL,
    main_loop_load::ALL,
    main_loop_processes::ALL,
    main_loop_signals::ALL,
    manager_death::ALL,
    manager_hostile::ALL,
    manager_kinds::ALL,
    manager_many::ALL,
    manager_shared::ALL,
    many::ALL,
    memory::ALL,
    message_commands::ALL,
    message_hostile::ALL,
    message_keeping::ALL,
    message_life::ALL,
    message_loop::ALL,
    message_parameters::ALL,
    messages::ALL,
    nested::ALL,
    offspring_restarts::ALL,
    offspring_tasks::ALL,
    parent_death::ALL,
    pkit_again::ALL,
    pkit_bad_input::ALL,
    pkit_exits::ALL,
    pkit_open::ALL,
    pkit_process::ALL,
    pkit_restarts::ALL,
    pkit_statuses::ALL,
    pkit_stops::ALL,
    pkit_targets::ALL,
    pool::ALL,
    pool_faults::ALL,
    pool_times::ALL,
    preload::ALL,
    queue::ALL,
    security_liar::ALL,
    security_rights::ALL,
    security_secrets::ALL,
    setup::ALL,
    sharing::ALL,
    slots::ALL,
    supervisor::ALL,
    supervisor_faults::ALL,
    supervisor_logger::ALL,
    supervisor_many::ALL,
    supervisor_targets::ALL,
    sync::ALL,
    template_deaths::ALL,
    templates::ALL,
    together_back_ends::ALL,
    together_loops::ALL,
    together_manager::ALL,
    together_nested::ALL,
    together_pools::ALL,
    together_programs::ALL,
    together_supervised::ALL,
    words::ALL,
    workers::ALL,
    workers_ends::ALL,
    workers_faults::ALL,
    workers_hostile::ALL,
    workers_life::ALL,
    workers_limits::ALL,
    workers_maps::ALL,
    workers_reviewed::ALL,
    zygote::ALL,
    zygote_arguments::ALL,
    zygote_deaths::ALL,
    zygote_faults::ALL,
    zygote_kernel::ALL,
    zygote_options::ALL,
    zygote_rights::ALL,
    zygote_state::ALL,
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        eprintln!("usage: scenario NAME | scenario --list");
        std::process::exit(2);
    };
    if name == "--list" {
        let tables = if arguments.get(1).is_some_and(|which| which == "of_tasks") { &[][..] } else { TABLES };
        for (name, _) in tables.iter().chain(OF_TASKS).copied().flatten() {
            println!("{name}");
        }
        return;
    }
    if programs::run(name, &arguments[1..])
        || server_programs::run(name, &arguments[1..])
        || log_programs::run(name)
        || together_programs::play(name, &arguments[1..])
        || workers_life::run(name)
        || security_secrets::run(name, &arguments[1..])
    {
        return;
    }
    let Some((_, play)) = TABLES.iter().chain(OF_TASKS).copied().flatten().find(|(known, _)| known == name)
    else {
        eprintln!("there is no scenario {name}; try --list");
        std::process::exit(2);
    };
    // Whoever runs the tests may have had it ignored (nohup), which children leave as it is.
    raw::ignore_signal(Signal::SIGHUP, false);
    let before = LeakPolice::new();
    let outcome = play();
    if let Err(leaks) = before.check(watchdog::CLEARING_UP) {
        eprintln!("{name} left behind:\n{leaks}");
        std::process::exit(1);
    }
    if let Outcome::Skipped(why) = outcome {
        println!("{why}");
        std::process::exit(watchdog::SKIPPED);
    }
}

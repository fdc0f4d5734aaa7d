//! Processes, pools, slots and supervisors of pkit's; its pools of workers are in a folder of their own.

mod again;
mod bad_input;
mod exits;
mod open;
mod pool;
mod pool_faults;
mod pool_times;
mod process;
mod restarts;
mod slots;
mod statuses;
mod stops;
pub(crate) mod supervisor;
mod supervisor_faults;
mod supervisor_logger;
mod supervisor_many;
mod supervisor_targets;
mod targets;
mod ways;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[
    again::ALL,
    bad_input::ALL,
    exits::ALL,
    open::ALL,
    pool::ALL,
    pool_faults::ALL,
    pool_times::ALL,
    process::ALL,
    restarts::ALL,
    slots::ALL,
    statuses::ALL,
    stops::ALL,
    supervisor::ALL,
    supervisor_faults::ALL,
    supervisor_logger::ALL,
    supervisor_many::ALL,
    supervisor_targets::ALL,
    targets::ALL,
];

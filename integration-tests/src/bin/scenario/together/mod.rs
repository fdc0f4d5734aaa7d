//! What scenarios of several kinds of processes at once have in common.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod back_ends;
mod loops;
mod manager;
mod nested;
mod pools;
pub(crate) mod programs;
mod supervised;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Child, LaunchOptions, Portable};
use cross_process_bridge::{BridgeError, BridgeProcess};
use integration_tests::proc;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, MessageProcess};

use crate::Scenario;
use crate::bridge::ways::{Made, ProbeBridge, Tally, status_of};
use crate::servers::zygote;

pub(crate) const TABLES: &[&[Scenario]] =
    &[back_ends::ALL, loops::ALL, manager::ALL, nested::ALL, pools::ALL, programs::ALL, supervised::ALL];

/// A test that fails waits no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a process comes from: from whoever starts it, or from a zygote of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    Fork,
    Zygote,
}

pub(crate) const WAYS: [Way; 2] = [Way::Fork, Way::Zygote];

/// Each way of what is above with each way of what is below it.
pub(crate) fn pairs() -> impl Iterator<Item = (Way, Way)> {
    WAYS.into_iter().flat_map(|above| WAYS.into_iter().map(move |below| (above, below)))
}

impl Way {
    pub(crate) fn of_bridge(self, process: &BridgeProcess) {
        if self == Way::Zygote {
            process.launch_in(&zygote());
        }
    }

    /// A bridge that is started.
    pub(crate) fn bridge(self, tally: &Tally) -> ProbeBridge {
        let bridge = ProbeBridge::new(tally.clone(), Made::Well);
        self.of_bridge(bridge.process());
        bridge.start().unwrap();
        bridge
    }

    /// A message process that is started.
    pub(crate) fn message<B: Backend + Portable>(
        self,
        name: &str,
        back: B,
        options: LaunchOptions,
    ) -> MessageProcess<B> {
        let process = MessageProcess::new(name, back);
        let process = match self {
            Way::Fork => process.launch_with(options),
            // What the options give to a fork is sent along with the back end.
            Way::Zygote => process.launch_in(&zygote()),
        };
        process.start().unwrap();
        process
    }

    /// A task of offspring's.
    pub(crate) fn task<A: Portable, O>(self, options: LaunchOptions, run: fn(A) -> O, argument: A) -> Child
    where
        O: Serialize + DeserializeOwned + 'static,
    {
        match self {
            Way::Fork => offspring::spawn_with(options, move || run(argument)).unwrap().process().cloned(),
            Way::Zygote => {
                let task = offspring::spawn_in(&zygote(), LaunchOptions::new(), run, argument);
                task.unwrap().process().cloned()
            }
        }
        .unwrap()
    }
}

/// The output of a task that doesn't hang.
pub(crate) fn output<O: DeserializeOwned>(child: &Child) -> O {
    child.output_timeout(PATIENCE).unwrap().expect("a task that hangs")
}

/// Where processes write down their ids for others.
pub(crate) type Pids = SharedAtomics;

pub(crate) fn note(pids: &Pids, place: usize, pid: u32) {
    pids[place].store(pid.into(), Ordering::SeqCst);
}

/// Waits until the first so many are written down, and returns them.
pub(crate) fn noted(pids: &Pids, count: usize) -> Vec<i32> {
    let all = || (0..count).map(|place| pids[place].load(Ordering::SeqCst) as i32).collect::<Vec<_>>();
    assert!(proc::eventually(|| all().iter().all(|pid| *pid != 0)), "{:?}", all());
    all()
}

pub(crate) fn run(pids: &[i32]) -> bool {
    pids.iter().all(|pid| proc::runs(*pid))
}

/// Waits until none of them runs.
pub(crate) fn gone(pids: &[i32]) {
    for pid in pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} ({}) of {pids:?} goes on", proc::name(*pid));
    }
}

/// The signal by which the object's process has died, of which the error tells.
pub(crate) fn signal_of(error: &BridgeError) -> Option<i32> {
    status_of(error).signal().map(|signal| signal.as_raw())
}

//! Faults that are not about one child: a zygote that dies, and no descriptors.

use std::time::Duration;

use common_ipc::process::Zygote;
use common_ipc::testing::{Harm, Monkey, MonkeyBuilder, Random};
use integration_tests::proc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What they are called in the record.
pub(crate) const ZYGOTE: &str = "zygote killed";
pub(crate) const DESCRIPTORS: &str = "no descriptors";

/// Names of children that the monkey leaves alone: those of whom there is only one, and who do their own harm.
pub(crate) const SPARED: &str = "spared";

/// The soak's monkey, which has all faults.
pub(crate) fn monkey(seed: u64) -> MonkeyBuilder {
    Monkey::builder(seed)
        .every(Duration::from_millis(12))
        .victims(|child| child.name() != SPARED)
        .harm(50, Harm::Kill)
        .harm(15, Harm::Segfault)
        .harm(20, Harm::Pause(Duration::from_millis(120)))
        .harm(15, Harm::PauseAndKill(Duration::from_millis(80)))
        .other(3, ZYGOTE, kill_zygote)
        .other(3, DESCRIPTORS, no_descriptors)
}

/// The keeper makes another one. It is killed by its number, which is its own: only this process collects it.
fn kill_zygote(_: &mut Random) {
    let Some(pid) = Zygote::global().id() else { return };
    let pid = pid as i32;
    let is_ours = proc::stat(pid).is_some_and(|stat| stat.parent == std::process::id() as i32);
    if is_ours && proc::name(pid) == "mp-zygote" {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// For some milliseconds this process can open nothing, or nearly nothing.
fn no_descriptors(random: &mut Random) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let low = proc::lowest_free_descriptor() + random.below(4);
    if setrlimit(Resource::RLIMIT_NOFILE, low.min(soft), hard).is_ok() {
        std::thread::sleep(Duration::from_millis(1) + random.up_to(Duration::from_millis(8)));
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
}

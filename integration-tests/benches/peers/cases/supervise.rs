//! How long a supervised child is away, beside few siblings and beside many.

use std::time::{Duration, Instant};

use common_ipc::process::{Signal, Zygote};
use pkit::supervisor::{Backoff, ChildSpec, Event, Supervisor};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::needs::{Needs, raise_descriptors};
use crate::place::Place;
use crate::support::median;

/// Children of a zygote, of which one after another is killed, in an order without a pattern, and is ready again.
/// Its restart doesn't wait: no backoff.
pub(crate) const CASE: Case = Case {
    name: "supervise",
    task: "from the kill of a supervised child to its being ready again",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(FEW, away::<10>).needs(files(10)),
        Contender::peer("beside 100 others", away::<100>).needs(files(100)),
        Contender::peer(MANY, away::<1000>).needs(files(1000)),
    ],
    bounds: &[Bound::ratio(MANY, FEW, 1.5)],
};

const FEW: &str = "beside 10 others";
const MANY: &str = "beside 1000 others";

/// Two for each child, and some for the program.
const fn files(children: u64) -> Needs {
    Needs::Descriptors(2 * children + 100)
}

fn away<const OTHERS: usize>(setting: Setting) -> f64 {
    raise_descriptors();
    let mut builder = Supervisor::builder().intensity(u32::MAX, Duration::from_secs(1));
    for number in 0..=OTHERS {
        let sleep = |()| std::thread::sleep(Duration::from_secs(600));
        let child = ChildSpec::in_zygote(format!("child-{number}"), &Zygote::global(), sleep, ());
        builder = builder.child(child.backoff(Backoff::new(Duration::ZERO, Duration::ZERO)));
    }
    let supervisor = builder.start().unwrap();
    let events = supervisor.events().unwrap();
    let mut pids: Vec<u32> = supervisor.children().unwrap().iter().filter_map(|child| child.pid).collect();
    let mut figures = Vec::new();
    let begin = Instant::now();
    let mut place = 0;
    while begin.elapsed() < setting.time {
        // Coprime to the numbers of children.
        place = (place + 7919) % pids.len();
        let killed = Instant::now();
        let pid = nix::unistd::Pid::from_raw(pids[place] as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        pids[place] = loop {
            match events.recv().unwrap() {
                Event::Ready { pid, .. } => break pid,
                Event::Exited { cause, .. } => {
                    assert_eq!(cause.status().and_then(|status| status.signal()), Some(Signal::KILL));
                }
                _ => {}
            }
        };
        figures.push(killed.elapsed().as_nanos() as f64 / 1e3);
    }
    supervisor.stop().unwrap();
    median(&mut figures)
}

//! What a connection costs on which nothing is said.

use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::LaunchOptions;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::case::{Better, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;

/// Both processes wait in `recv` for a second; how long both together computed meanwhile.
pub(crate) const CASE: Case = Case {
    name: "idle",
    task: "processor time that both ends of a connection take together while both wait in recv",
    unit: "ms/s",
    better: Better::Lower,
    places: &[Place::Free],
    contenders: &[
        Contender::ours("Connection", ours),
        // By definition, not by measurement.
        Contender::limit("nothing", |_| 0.0),
    ],
    bounds: &[],
};

/// In one second, however long the setting would have it: short waits would only show the way in and out.
const TIME: Duration = Duration::from_secs(1);

fn ours(setting: Setting) -> f64 {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let child = setting.child(&LaunchOptions::new().give(&there), move || {
        while let Ok(byte) = there.recv() {
            there.send(&byte).unwrap();
        }
    });
    // After this it is back in `recv`, or nearly.
    here.send(&1).unwrap();
    here.recv().unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let own = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let child_clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32)).unwrap();
    let both = || Duration::from(own.now().unwrap()) + Duration::from(child_clock.now().unwrap());
    let before = both();
    assert!(here.recv_timeout(TIME).unwrap().is_none());
    let took = both() - before;
    drop(here);
    child.output::<()>().unwrap();
    took.as_nanos() as f64 / 1e6 / TIME.as_secs_f64()
}

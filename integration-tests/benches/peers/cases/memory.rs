//! What a process costs that waits for something.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Zygote};
use integration_tests::proc;
use integration_tests::raw::zygote::{BareZygote, Body};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;

/// What it has written to and has for itself, or what others have written to and left to it.
pub(crate) const CASE: Case = Case {
    name: "memory",
    task: "private dirty memory of a process that sleeps",
    unit: "KiB",
    better: Better::Lower,
    places: &[Place::Free],
    contenders: &[
        Contender::ours(CHILD, zygotes_child),
        Contender::limit("bare zygote's child", bare_child),
        Contender::peer("Template's child", templates_child),
        Contender::peer("forked child", forked_child),
        Contender::peer("bare fork", bare_fork),
        Contender::peer(KEEPER, |_| of_servers().keeper),
        Contender::peer(ZYGOTE, |_| of_servers().zygote),
        Contender::peer(TEMPLATE, template),
        Contender::peer("bare zygote", bare_zygote),
    ],
    bounds: &[
        Bound::figure(CHILD, 40.0),
        Bound::figure(KEEPER, 60.0),
        Bound::figure(ZYGOTE, 60.0),
        Bound::figure(TEMPLATE, 60.0),
    ],
};

const CHILD: &str = "Zygote's child";
const KEEPER: &str = "keeper, after three starts";
const ZYGOTE: &str = "Zygote, after three starts";
const TEMPLATE: &str = "Template, after three starts";

/// Of a process, once it sleeps.
fn dirty(pid: u32) -> f64 {
    let pid = pid as i32;
    assert!(proc::eventually(|| proc::stat(pid).is_some_and(|stat| stat.state == 'S')));
    // It may sleep on its way as well.
    std::thread::sleep(Duration::from_millis(20));
    proc::private_dirty_kib(pid).unwrap() as f64
}

fn sleep() {
    std::thread::sleep(Duration::from_secs(600));
}

fn of_child(child: &Child) -> f64 {
    let figure = dirty(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    figure
}

fn zygotes_child(_: Setting) -> f64 {
    let child = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| sleep(), &());
    of_child(&child.unwrap())
}

fn templates_child(_: Setting) -> f64 {
    let template = Launch::new(&LaunchOptions::new()).template(sleep).unwrap();
    of_child(&template.start().unwrap())
}

fn forked_child(_: Setting) -> f64 {
    of_child(&Launch::new(&LaunchOptions::new()).start(sleep).unwrap())
}

fn bare_fork(setting: Setting) -> f64 {
    let fork = setting.fork(sleep);
    dirty(fork.id())
}

struct Servers {
    keeper: f64,
    zygote: f64,
}

fn of_servers() -> Servers {
    for _ in 0..3 {
        let child = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| (), &()).unwrap();
        child.output::<()>().unwrap();
    }
    let keeper = proc::child_called(std::process::id() as i32, "mp-keeper").unwrap();
    Servers { keeper: dirty(keeper as u32), zygote: dirty(Zygote::global().id().unwrap()) }
}

fn template(_: Setting) -> f64 {
    let template = Launch::new(&LaunchOptions::new()).template(|| ()).unwrap();
    for _ in 0..3 {
        template.start().unwrap().output::<()>().unwrap();
    }
    dirty(template.id())
}

fn bare_zygote(_: Setting) -> f64 {
    let zygote = BareZygote::new();
    (0..3).for_each(|_| zygote.start(Body::End).wait());
    dirty(zygote.process().id() as u32)
}

fn bare_child(_: Setting) -> f64 {
    let zygote = BareZygote::new();
    let child = zygote.start(Body::Sleep);
    let figure = dirty(child.id() as u32);
    child.kill();
    child.wait();
    figure
}

//! A child of a zygote or a template, which costs the same however large the program is.

use std::hint::black_box;

use common_ipc::process::{Launch, LaunchOptions, Zygote};
use integration_tests::raw::zygote::{BareZygote, Body};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::needs::Needs;
use crate::place::Place;
use crate::support::starts;

/// Beside nothing, and beside memory that the program has written to since its start. As in a program that
/// does the right thing, zygotes and templates are made before that.
pub(crate) const CASE: Case = Case {
    name: "zygote",
    task: "an empty task in a child of a zygote, from its start to its collected end",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(OURS, ours::<0>),
        Contender::limit(BARE, bare::<0>),
        Contender::peer(TEMPLATE, template::<0>),
        Contender::peer(FORK, fork::<0>),
        Contender::peer("1 GiB: Zygote::global", ours::<1>).needs(Needs::Memory { gib: 1 }),
        Contender::peer("1 GiB: bare zygote", bare::<1>).needs(Needs::Memory { gib: 1 }),
        Contender::peer("1 GiB: Template", template::<1>).needs(Needs::Memory { gib: 1 }),
        Contender::peer("1 GiB: fork + _exit + waitpid", fork::<1>).needs(Needs::Memory { gib: 1 }),
        Contender::peer(OURS_4, ours::<4>).needs(Needs::Memory { gib: 4 }),
        Contender::peer("4 GiB: bare zygote", bare::<4>).needs(Needs::Memory { gib: 4 }),
        Contender::peer(TEMPLATE_4, template::<4>).needs(Needs::Memory { gib: 4 }),
        Contender::peer(FORK_4, fork::<4>).needs(Needs::Memory { gib: 4 }),
    ],
    bounds: &[
        Bound::ratio(OURS, BARE, 1.5),
        Bound::ratio(TEMPLATE, BARE, 1.5),
        Bound::ratio(OURS_4, OURS, 1.3),
        Bound::ratio(TEMPLATE_4, TEMPLATE, 1.3),
        Bound::at_least(FORK_4, OURS_4, 900.0),
    ],
};

const OURS: &str = "Zygote::global";
const BARE: &str = "bare zygote: clone3, SCM_RIGHTS, waitid";
const TEMPLATE: &str = "Template";
const FORK: &str = "fork + _exit + waitpid";
const OURS_4: &str = "4 GiB: Zygote::global";
const TEMPLATE_4: &str = "4 GiB: Template";
const FORK_4: &str = "4 GiB: fork + _exit + waitpid";

/// Memory of which every page was written to.
fn written(gib: usize) -> Vec<u8> {
    // Of this size the allocator maps it anew, and private.
    let mut memory = vec![0; gib << 30];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    black_box(memory)
}

fn ours<const GIB: usize>(setting: Setting) -> f64 {
    let options = LaunchOptions::new();
    let start = || Launch::new(&options).start_in(&Zygote::global(), |()| (), &()).unwrap().output::<()>();
    // The first one has the zygote made.
    start().unwrap();
    let _memory = written(GIB);
    setting.time_of(|| start().unwrap())
}

fn template<const GIB: usize>(setting: Setting) -> f64 {
    let template = Launch::new(&LaunchOptions::new()).template(|| ()).unwrap();
    let _memory = written(GIB);
    setting.time_of(|| template.start().unwrap().output::<()>().unwrap())
}

fn bare<const GIB: usize>(setting: Setting) -> f64 {
    let zygote = BareZygote::new();
    let _memory = written(GIB);
    setting.time_of(|| zygote.start(Body::End).wait())
}

fn fork<const GIB: usize>(setting: Setting) -> f64 {
    let _memory = written(GIB);
    setting.time_of(starts::limit)
}

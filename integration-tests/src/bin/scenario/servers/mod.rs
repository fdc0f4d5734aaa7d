//! Fork servers, and children of them, as most scenarios need them.

mod arguments;
mod faults;
mod filtered;
mod kernel;
mod options;
mod preload;
pub(crate) mod programs;
mod rights;
mod state;
mod template_deaths;
mod templates;
mod zygote_deaths;
mod zygotes;

use crate::Scenario;
use common_ipc::process::{self, Child, Launch, LaunchOptions, Portable, StartError, Template, Zygote};
use integration_tests::proc;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const TABLES: &[&[Scenario]] = &[
    arguments::ALL,
    faults::ALL,
    filtered::ALL,
    kernel::ALL,
    options::ALL,
    preload::ALL,
    rights::ALL,
    state::ALL,
    template_deaths::ALL,
    templates::ALL,
    zygotes::ALL,
    zygote_deaths::ALL,
];

/// The program's zygote.
pub(crate) fn zygote() -> Zygote {
    process::init().unwrap();
    Zygote::global()
}

/// A child of the program's zygote without any options.
pub(crate) fn start_in<A: Portable, O: Serialize + DeserializeOwned>(run: fn(A) -> O, argument: &A) -> Child {
    Launch::new(&LaunchOptions::new()).start_in(&zygote(), run, argument).unwrap()
}

/// A template without any options.
pub(crate) fn template<O: serde::Serialize + serde::de::DeserializeOwned>(
    body: impl FnOnce() -> O,
) -> Template {
    Launch::new(&LaunchOptions::new()).template(body).unwrap()
}

/// The living child of this process that has this name.
pub(crate) fn server(name: &str) -> Option<i32> {
    let me = std::process::id() as i32;
    let children = proc::children(me).into_iter().filter(|child| child.state != 'Z');
    children.map(|child| child.pid).find(|pid| proc::name(*pid) == name)
}

pub(crate) fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// The same body in the program's zygote and in a template of its own: both were made when this was.
pub(crate) struct Both<O> {
    body: fn(()) -> O,
    options: LaunchOptions,
    template: Template,
}

impl<O: Serialize + DeserializeOwned> Both<O> {
    pub(crate) fn new(body: fn(()) -> O) -> Both<O> {
        Both::with(LaunchOptions::new(), body)
    }

    pub(crate) fn with(options: LaunchOptions, body: fn(()) -> O) -> Both<O> {
        let template = Launch::new(&options).template(move || body(())).unwrap();
        let warm = start_in(|()| (), &());
        warm.output::<()>().unwrap();
        Both { body, options, template }
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// A start by each.
    pub(crate) fn start(&self) -> [Result<Child, StartError>; 2] {
        let zygotes = Launch::new(&self.options).start_in(&zygote(), self.body, &());
        [zygotes, self.template.start()]
    }

    /// The outputs of both.
    pub(crate) fn outputs(&self) -> [O; 2] {
        self.start().map(|child| child.unwrap().output().unwrap())
    }
}

impl<O: Serialize + DeserializeOwned> Both<O> {
    /// The starts by each, and by a zygote that is made now: its keeper is behind, and it isn't.
    pub(crate) fn start_everywhere(&self) -> [Result<Child, StartError>; 3] {
        let [old, template] = self.start();
        let new = Zygote::with_preload(|()| (), &());
        let by_new = new.and_then(|new| Launch::new(&self.options).start_in(&new, self.body, &()));
        [old, template, by_new]
    }
}

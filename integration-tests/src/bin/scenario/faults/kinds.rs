//! Processes of every kind, by each way of starting them, all of which are told to do the same.
//!
//! For rows about what a process has of its program, and about how its end is told: that is to be the same whoever has
//! started it.

use std::error::Error;
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::Queue;
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Launch, LaunchOptions, Portable, Template};
use cross_process_bridge::manager::{Manager, ManagerTemplate};
use cross_process_bridge::{BridgeError, BridgeProcess, bridge};
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, raise};
use offspring::spawn_restartable;
use pkit::supervisor::{Backoff, ChildSpec, Event, Events, Supervisor};
use pkit::{Process, ProcessPool, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError, Reply};

use crate::servers::zygote;

/// What a process is to do, and to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Nothing,
    /// Its process id.
    Id,
    /// Which signals it blocks and ignores.
    Signals,
    /// A line for each descriptor.
    Descriptors,
    /// What is in [`SEED`], and its process id.
    Seed,
    /// Its directory, the variable `KIND` and its user.
    Place,
    /// How large a core dump of it may get.
    Core,
    /// Whether it can become root again.
    Root,
    /// The process id of a grandchild that holds all that it has.
    Grandchild,
    /// Says so by the logger, and is killed.
    Log,
    /// Hears no SIGTERM, and sleeps.
    Deaf,
    Spin,
    Stop,
    Panic,
    /// To send itself what a user's Ctrl-C sends to all.
    Interrupt,
    /// To send itself a signal for which there is no use.
    Signal,
    Kill,
    Abort,
    Segfault,
    Exit,
}

const ACTS: [Act; 20] = [
    Act::Nothing,
    Act::Id,
    Act::Signals,
    Act::Descriptors,
    Act::Seed,
    Act::Place,
    Act::Core,
    Act::Root,
    Act::Grandchild,
    Act::Log,
    Act::Deaf,
    Act::Spin,
    Act::Stop,
    Act::Panic,
    Act::Interrupt,
    Act::Signal,
    Act::Kill,
    Act::Abort,
    Act::Segfault,
    Act::Exit,
];

/// Whatever a program is to have anew in each process.
pub(crate) static SEED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn perform(act: Act) -> String {
    match act {
        Act::Nothing => {}
        Act::Id => return id().to_string(),
        Act::Signals => {
            // But for the two that are libc's own business.
            let field = |field| u64::from_str_radix(&proc::status_field(id() as i32, field), 16).unwrap();
            return ["SigBlk", "SigIgn"].map(|name| format!("{:x}", field(name) & !(3 << 31))).join(" ");
        }
        Act::Descriptors => {
            let line = |(number, target): (i32, std::path::PathBuf)| {
                format!("{} behind {:?}", target.display(), proc::behind_pidfd(number))
            };
            return proc::descriptors(id() as i32).into_iter().map(line).collect::<Vec<_>>().join("\n");
        }
        Act::Seed => return format!("{} {}", SEED.load(Ordering::Relaxed), id()),
        Act::Place => {
            let cwd = std::env::current_dir().unwrap();
            let groups = nix::unistd::getgroups().unwrap().len();
            let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
            return format!("{cwd:?} {:?} {uid} {gid} {groups}", std::env::var_os("KIND"));
        }
        Act::Core => {
            let (soft, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
            return format!("{soft} {hard}");
        }
        Act::Root => return nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok().to_string(),
        Act::Grandchild => {
            let grandchild = raw::fork(|| {
                std::thread::sleep(Duration::from_secs(600));
                0
            });
            return grandchild.to_string();
        }
        Act::Log => {
            log::info!("the last of {}", id());
            raise(Signal::SIGKILL).unwrap();
        }
        Act::Deaf => {
            raw::ignore_signal(Signal::SIGTERM, true);
            std::thread::sleep(Duration::from_secs(600));
        }
        Act::Spin => loop {
            std::hint::spin_loop();
        },
        Act::Stop => raise(Signal::SIGSTOP).unwrap(),
        Act::Panic => panic!("told on purpose"),
        Act::Interrupt => raise(Signal::SIGINT).unwrap(),
        Act::Signal => raise(Signal::SIGUSR1).unwrap(),
        Act::Kill => raise(Signal::SIGKILL).unwrap(),
        Act::Abort => std::process::abort(),
        Act::Segfault => raw::segfault(),
        Act::Exit => std::process::exit(7),
    }
    String::new()
}

/// What a process has said, or the error that came instead, with its sources.
pub(crate) type Told = Result<String, String>;

fn told<T, E: Error>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })
}

/// Where a process comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Fork,
    Template,
    Zygote,
}

pub(crate) const WAYS: [Way; 3] = [Way::Fork, Way::Template, Way::Zygote];

impl Way {
    /// Has the object's process come from there.
    pub(crate) fn of_bridge(self, process: &BridgeProcess) -> Result<(), BridgeError> {
        match self {
            Way::Fork => Ok(()),
            Way::Template => process.launch_from_template().map(drop),
            Way::Zygote => {
                process.launch_in(&zygote());
                Ok(())
            }
        }
    }

    pub(crate) fn of_back_end<B: Backend + Portable>(
        self,
        process: MessageProcess<B>,
    ) -> Result<MessageProcess<B>, ProcessError> {
        match self {
            Way::Fork => Ok(process),
            Way::Template => process.launch_from_template(),
            Way::Zygote => Ok(process.launch_in(&zygote())),
        }
    }
}

type Play = Box<dyn FnMut(Act) -> Told>;

/// All of them. Templates are made when they are used first, and kept.
pub(crate) struct Kinds(Vec<(&'static str, Way, Play)>);

/// One that has done what it was told.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) told: Told,
}

impl Kinds {
    pub(crate) fn new(options: &LaunchOptions) -> Kinds {
        zygote();
        let mut kinds = Kinds(Vec::new());
        kinds.of_the_base(options.clone());
        kinds.of_offspring(options.clone());
        kinds.of_pkit(options);
        kinds.supervised(options.clone());
        kinds.objects(options);
        kinds.managers(options);
        kinds.back_ends(options);
        kinds
    }

    /// Has each of them do it, one after another, in a process that is started now.
    pub(crate) fn play(&mut self, act: Act) -> Vec<Done> {
        let one =
            |(name, way, play): &mut (&'static str, Way, Play)| Done { name, way: *way, told: play(act) };
        self.0.iter_mut().map(one).collect()
    }

    fn add(&mut self, name: &'static str, way: Way, play: impl FnMut(Act) -> Told + 'static) {
        self.0.push((name, way, Box::new(play)));
    }

    fn of_the_base(&mut self, options: LaunchOptions) {
        let mut template: Option<Template<Act>> = None;
        let [forked, copied, sent] = [(); 3].map(|()| options.clone());
        self.add("child", Way::Fork, move |act| {
            let child = told(Launch::new(&forked).start(move || perform(act)))?;
            told(child.output::<String>())
        });
        self.add("child", Way::Template, move |act| {
            let template = kept(&mut template, || told(Launch::new(&copied).template_with(perform)))?;
            told(told(template.start_with(&act))?.output::<String>())
        });
        self.add("child", Way::Zygote, move |act| {
            let child = told(Launch::new(&sent).start_in(&zygote(), perform, &act))?;
            told(child.output::<String>())
        });
    }

    fn of_offspring(&mut self, options: LaunchOptions) {
        let order = Order::new();
        let mut task: Option<offspring::Handle<String>> = None;
        let [forked, copied, sent] = [(); 3].map(|()| options.clone());
        self.add("task", Way::Fork, move |act| {
            told(told(offspring::spawn_with(forked.clone(), move || perform(act)))?.join())
        });
        self.add("task", Way::Template, move |act| {
            order.give(act);
            match &mut task {
                Some(task) => told(task.restart())?,
                None => {
                    let order = order.clone();
                    task = Some(told(spawn_restartable(copied.clone(), move || perform(order.take())))?);
                }
            }
            task.as_ref().map(|task| told(task.wait())).unwrap()
        });
        self.add("task", Way::Zygote, move |act| {
            told(told(offspring::spawn_in(&zygote(), sent.clone(), perform, act))?.join())
        });
    }

    fn of_pkit(&mut self, options: &LaunchOptions) {
        let order = Order::new();
        let mut process: Option<Process<String>> = None;
        let run = |process: &Process<String>| {
            told(process.start())?;
            told(process.join())
        };
        let [forked, copied, sent, executed, executed_in, worked] = [(); 6].map(|()| options.clone());
        self.add("Process", Way::Fork, move |act| {
            run(&Process::builder().options(forked.clone()).build(move || perform(act)))
        });
        self.add("Process", Way::Template, move |act| {
            let its_own = order.clone();
            let builder = Process::builder().options(copied.clone());
            let process =
                kept(&mut process, || told(builder.build_template(move || perform(its_own.take()))))?;
            order.give(act);
            run(process)
        });
        self.add("Process", Way::Zygote, move |act| {
            let builder = Process::builder().options(sent.clone());
            run(&builder.build_function_in(&zygote(), perform, act))
        });
        self.add("ProcessPool", Way::Fork, move |act| {
            let pool = told(ProcessPool::new(1))?.options(executed.clone());
            told(told(pool.execute(move || perform(act)))?.join())
        });
        self.add("ProcessPool", Way::Zygote, move |act| {
            let pool = told(ProcessPool::new(1))?.options(executed_in.clone());
            told(told(pool.execute_in(&zygote(), perform, &act))?.join())
        });
        self.add("WorkerPool", Way::Zygote, move |act| {
            let pool = told(WorkerPool::builder(1).options(worked.clone()).build())?;
            told(told(pool.submit(perform, act))?.join())
        });
    }

    fn supervised(&mut self, options: LaunchOptions) {
        for way in [Way::Template, Way::Zygote] {
            let options = options.clone();
            let mut supervised: Option<Supervised> = None;
            self.add("supervised child", way, move |act| {
                if let Some(supervised) = &supervised {
                    // Or it has been since it died.
                    told(supervised.supervisor.restart(SUPERVISED))?;
                }
                kept(&mut supervised, || Supervised::start(way, options.clone()))?.play(act)
            });
        }
    }

    fn objects(&mut self, options: &LaunchOptions) {
        for way in WAYS {
            let options = options.clone();
            let mut object: Option<SpeakerBridge> = None;
            self.add("object", way, move |act| {
                let object = kept(&mut object, || {
                    let object = SpeakerBridge::new();
                    told(way.of_bridge(object.process().launch_with(options.clone())))?;
                    Ok(object)
                })?;
                told(object.start())?;
                let said = told(object.say(act));
                // It may have ended by itself.
                let _ = object.stop();
                said
            });
        }
    }

    fn managers(&mut self, options: &LaunchOptions) {
        for way in WAYS {
            let builder = Manager::builder().options(options.clone());
            let mut template: Option<ManagerTemplate> = None;
            self.add("manager", way, move |act| {
                let manager = told(match way {
                    Way::Fork => builder.start(),
                    Way::Template => builder.start_from(kept(&mut template, || told(builder.template()))?),
                    Way::Zygote => builder.start_in(&zygote()),
                })?;
                let said = told(told(manager.share(&SpeakerBridge::new()))?.say(act));
                let _ = manager.stop();
                said
            });
        }
    }

    fn back_ends(&mut self, options: &LaunchOptions) {
        for way in WAYS {
            let options = options.clone();
            let mut process: Option<MessageProcess<Servant>> = None;
            self.add("back end", way, move |act| {
                let process = kept(&mut process, || {
                    let process = MessageProcess::new("servant", Servant).launch_with(options.clone());
                    told(way.of_back_end(process))
                })?;
                told(process.start())?;
                let said = told(process.request(|reply| Say { act, reply }));
                let _ = process.stop();
                said
            });
        }
    }
}

fn kept<T>(place: &mut Option<T>, make: impl FnOnce() -> Result<T, String>) -> Result<&mut T, String> {
    if place.is_none() {
        *place = Some(make()?);
    }
    Ok(place.as_mut().unwrap())
}

/// For what is started from a closure again and again: what it is to do this time.
#[derive(Clone)]
struct Order(SharedAtomics);

impl Order {
    fn new() -> Order {
        Order(SharedAtomics::new(1).unwrap())
    }

    fn give(&self, act: Act) {
        let place = ACTS.iter().position(|known| *known == act).unwrap();
        self.0[0].store(place as u64, Ordering::SeqCst);
    }

    fn take(&self) -> Act {
        ACTS[self.0[0].load(Ordering::SeqCst) as usize]
    }
}

const SUPERVISED: &str = "speaker";

struct Supervised {
    supervisor: Supervisor,
    events: Events,
    acts: Queue<Act>,
    said: Queue<String>,
}

impl Supervised {
    fn start(way: Way, options: LaunchOptions) -> Result<Supervised, String> {
        fn serve((acts, said): (Queue<Act>, Queue<String>)) {
            loop {
                said.send(&perform(acts.recv().unwrap())).unwrap();
            }
        }
        let both = (Queue::new().unwrap(), Queue::new().unwrap());
        let (acts, said) = both.clone();
        let spec = match way {
            Way::Zygote => ChildSpec::in_zygote(SUPERVISED, &zygote(), serve, both).options(options),
            _ => ChildSpec::new(SUPERVISED, move || serve(both)).options(options.give(&acts).give(&said)),
        };
        let pause = Duration::from_millis(1);
        let mut builder = Supervisor::builder()
            .intensity(u32::MAX, Duration::from_secs(600))
            .child(spec.backoff(Backoff::new(pause, pause)));
        let events = builder.events();
        Ok(Supervised { supervisor: told(builder.start())?, events, acts, said })
    }

    fn play(&mut self, act: Act) -> Told {
        while self.events.try_recv().is_some() {}
        self.acts.send(&act).unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            if let Some(said) = self.said.recv_timeout(Duration::from_millis(5)).unwrap() {
                return Ok(said);
            }
            if let Some(Event::Exited { cause, .. }) = self.events.try_recv() {
                return Err(cause.to_string());
            }
        }
        panic!("the supervised child neither says anything nor ends")
    }
}

pub(crate) struct Speaker;

#[bridge]
impl Speaker {
    pub(crate) fn new() -> Speaker {
        Speaker
    }

    pub(crate) fn say(&self, act: Act) -> String {
        perform(act)
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Servant;

#[derive(Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) act: Act,
    pub(crate) reply: Reply<String>,
}

impl Backend for Servant {
    type Command = Say;
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, Say { act, reply }: Say) -> Result<(), RemoteError> {
        reply.send(&perform(act))?;
        Ok(())
    }
}

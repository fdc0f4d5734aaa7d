//! A process without threads, which starts everything by fork, kills some of it, and now and then its own fork servers.
//! The process itself comes from a template that was made before there were threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common_ipc::memory::SharedAtomics;
use common_ipc::process::{
    Child, JoinError, Launch, StartError, Stdio, Template, Zygote, active_children, init, join_callbacks,
};
use common_ipc::testing::{LeakPolice, Random};
use cross_process_bridge::manager::Manager;
use integration_tests::proc;
use integration_tests::watchdog::CLEARING_UP;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offspring::{spawn_in, spawn_restartable, spawn_with};
use pkit::supervisor::{Backoff, ChildSpec, Supervisor};
use pkit::{Process, ProcessPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::MessageProcess;

use super::nested::{EchoBridge, Square, Squares};
use crate::model::excuse;
use crate::model::tally::{Count, Tally};
use crate::model::watch::Pulse;
use crate::stage::{ROUND, Stage, options, rest};

const NAME: &str = "forks";

/// What the process is given.
#[derive(Serialize, Deserialize)]
pub(crate) struct Program {
    tally: Tally,
    pulse: Pulse,
    seed: u64,
}

/// From what it is started.
pub(crate) type Forker = Template<Program>;

impl Program {
    /// Before there are threads.
    pub(crate) fn template() -> Result<Forker, StartError> {
        Launch::new(&options(NAME).stderr(Stdio::Inherit)).template_with(live)
    }
}

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let inner = stage.watch.pulse("forks, within");
    while !stage.is_over() {
        pulse.at("start");
        let since = Instant::now();
        let program = Program { tally: stage.tally.clone(), pulse: inner.clone(), seed: random.number() };
        let child = match stage.forker.start_with(&program) {
            Ok(child) => child,
            Err(error) => {
                stage.not_started(NAME, &error, excuse::start(&stage.record, &error));
                continue;
            }
        };
        stage.tally.one(Count::Started);
        pulse.at("wait");
        let began = Instant::now();
        match child.output::<Vec<String>>() {
            Ok(wrongs) => wrongs.into_iter().for_each(|text| {
                stage.tally.check(false, || format!("{NAME}: {text}"));
            }),
            Err(error) => stage.not_ended(NAME, child.id(), &error, [since, began]),
        }
        stage.tally.one(Count::Ended);
        inner.over();
    }
    pulse.over();
}

/// In the process. Returns what was wrong.
fn live(program: Program) -> Vec<String> {
    program.pulse.here("begin");
    let before = LeakPolice::new();
    let Program { tally, pulse, seed } = program;
    let mut life = Life { tally, pulse: pulse.clone(), random: Random::new(seed) };
    let begun = Instant::now();
    let mut wrongs = Vec::new();
    while begun.elapsed() < ROUND {
        rest(&mut life.random, Duration::from_millis(150));
        if let Err(error) = life.step() {
            wrongs.push(error.to_string());
            break;
        }
    }
    pulse.at("callbacks");
    if !join_callbacks(Some(Duration::from_secs(20))) {
        wrongs.push("callbacks that don't end".to_owned());
    }
    pulse.at("what is left");
    if let Err(leaks) = before.check(CLEARING_UP) {
        wrongs.extend(leaks.iter().map(|left| format!("left: {left}")));
    }
    wrongs
}

struct Life {
    tally: Tally,
    pulse: Pulse,
    random: Random,
}

type Done = Result<(), Box<dyn std::error::Error>>;

impl Life {
    fn step(&mut self) -> Done {
        match self.random.below(9) {
            0 => self.bridge(),
            1 => self.manager(),
            2 => self.messages(),
            3 => self.supervisor(),
            4 => self.pool(),
            5 => self.process(),
            6 => self.restartable(),
            7 => self.fork_servers(),
            _ => self.tasks(),
        }
    }

    fn started(&self, number: u64) {
        self.tally.add(Count::Started, number);
        self.tally.add(Count::Ended, number);
    }

    fn must(&self, is_right: bool, what: &str) -> Done {
        if is_right { Ok(()) } else { Err(what.into()) }
    }

    /// Whether it was killed.
    fn perhaps_kill(&mut self, child: Option<Child>) -> Result<bool, Box<dyn std::error::Error>> {
        match child {
            Some(child) if self.random.one_in(3) => {
                child.kill()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Closures that capture something of this process, some of them killed.
    fn tasks(&mut self) -> Done {
        for _ in 0..10 {
            self.pulse.at("spawn");
            let text = std::rc::Rc::new(self.random.number().to_string());
            let task = spawn_with(options(NAME), || text.len())?;
            let killed = self.perhaps_kill(task.process().cloned())?;
            self.pulse.at("join");
            match task.join() {
                Ok(length) => self.must(length == text.len(), "a task gave something else")?,
                Err(JoinError::Died(status)) => {
                    self.must(killed && status.signal().is_some(), "a task died")?
                }
                Err(error) => return Err(error.into()),
            }
            self.started(1);
        }
        Ok(())
    }

    fn restartable(&mut self) -> Done {
        self.pulse.at("spawn_restartable");
        let number = self.random.below(1_000);
        let mut task = spawn_restartable(options(NAME), move || number)?;
        for _ in 0..3 {
            let killed = self.perhaps_kill(task.process().cloned())?;
            self.pulse.at("wait");
            match task.wait() {
                Ok(result) => self.must(result == number, "a task gave something else")?,
                Err(JoinError::Died(_)) => self.must(killed, "a restartable task died")?,
                Err(error) => return Err(error.into()),
            }
            self.pulse.at("restart");
            task.restart()?;
        }
        task.wait()?;
        self.started(5);
        Ok(())
    }

    fn process(&mut self) -> Done {
        let called = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&called);
        let process = Process::builder()
            .options(options(NAME))
            .on_exit(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .build(|| 6 * 7);
        for round in 1..=4 {
            self.pulse.at("start a process");
            process.start_wait().or_else(|error| match error {
                StartError::EndedEarly { status } if status.success() => Ok(0),
                error => Err(error),
            })?;
            let killed = self.random.one_in(3);
            if killed {
                process.kill()?;
            }
            self.pulse.at("join a process");
            match process.join() {
                Ok(result) => self.must(result == 42, "a process gave something else")?,
                Err(error) => self.must(killed, &format!("a process: {error}"))?,
            }
            self.pulse.at("a callback");
            self.must(
                proc::eventually(|| called.load(Ordering::SeqCst) == round),
                "a callback wasn't called once for each end",
            )?;
            self.tally.one(Count::Callbacks);
        }
        self.started(4);
        Ok(())
    }

    fn pool(&mut self) -> Done {
        self.pulse.at("a pool's map");
        let pool = ProcessPool::new(2)?.options(options(NAME));
        let factor = self.random.below(100);
        for (number, product) in (0..12).zip(pool.map(0..12u64, move |number| number * factor)) {
            self.must(product? == number * factor, "a map gave something else")?;
        }
        self.started(12);
        self.pulse.at("a pool's end");
        Ok(pool.close()?)
    }

    fn supervisor(&mut self) -> Done {
        self.pulse.at("a supervisor");
        let runs = SharedAtomics::new(1)?;
        let in_child = runs.clone();
        let spec = ChildSpec::new("supervised", move || -> () {
            in_child[0].fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(3_600));
        });
        let spec = spec.options(options(NAME)).backoff(Backoff::new(Duration::ZERO, Duration::ZERO));
        let supervisor =
            Supervisor::builder().intensity(u32::MAX, Duration::from_secs(1)).child(spec).start()?;
        for round in 1..=3 {
            self.pulse.at("a restart");
            let there = || runs[0].load(Ordering::SeqCst) == round;
            self.must(proc::eventually(there), "a supervised child didn't run once for each start")?;
            active_children()
                .iter()
                .filter(|child| child.name() == NAME || child.name() == "supervised")
                .try_for_each(Child::kill)?;
        }
        self.pulse.at("stop a supervisor");
        supervisor.stop()?;
        self.started(5);
        Ok(())
    }

    fn bridge(&mut self) -> Done {
        self.pulse.at("a bridge");
        let echo = EchoBridge::new();
        echo.process().launch_with(options(NAME));
        for _ in 0..3 {
            echo.start()?;
            let killed = self.perhaps_kill(echo.process().child())?;
            for number in 0..200 {
                self.pulse.at("a call");
                match echo.echo(number) {
                    Ok(same) => self.must(same == number, "a call gave something else")?,
                    Err(error) if killed && error.needs_start() => break,
                    Err(error) => return Err(error.into()),
                }
                self.tally.fine();
            }
        }
        self.started(3);
        Ok(())
    }

    fn messages(&mut self) -> Done {
        self.pulse.at("a message process");
        let squares = MessageProcess::new(NAME, Squares).launch_with(options(NAME));
        squares.start()?;
        let killed = self.perhaps_kill(squares.child().ok())?;
        for number in 0..200 {
            self.pulse.at("a request");
            match squares.request(Square::asked(number)) {
                Ok(square) => self.must(square == number * number, "a request gave something else")?,
                Err(error) if killed && error.ended().is_some() => break,
                Err(error) => return Err(error.into()),
            }
            self.tally.fine();
        }
        self.started(1);
        squares.stop()?;
        Ok(())
    }

    fn manager(&mut self) -> Done {
        self.pulse.at("a manager");
        let manager = Manager::builder().options(options(NAME)).start()?;
        let list = manager.list()?;
        let in_child = list.clone();
        let task =
            spawn_with(options(NAME), move || (0..20u64).all(|number| in_child.append(&number).is_ok()))?;
        let killed = self.perhaps_kill(Some(manager.child().clone()))?;
        let all = task.join()?;
        self.must(all || killed, "a shared list wasn't there")?;
        if !killed {
            self.must(list.to_vec()? == (0..20).collect::<Vec<_>>(), "a shared list has something else")?;
            manager.stop()?;
        }
        self.started(2);
        Ok(())
    }

    /// They die, and are there again: a zygote by the keeper, a keeper by `init`.
    fn fork_servers(&mut self) -> Done {
        for server in ["mp-zygote", "mp-keeper"] {
            self.pulse.at("init");
            init()?;
            self.pulse.at("a start by the zygote");
            match spawn_in(&Zygote::global(), options(NAME), |number: u64| number, 7) {
                Ok(task) => self.must(task.join()? == 7, "a task gave something else")?,
                Err(error) => return Err(error.into()),
            }
            self.started(1);
            let me = std::process::id() as i32;
            if let Some(pid) = proc::child_called(me, server) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                self.must(proc::eventually(|| !proc::runs(pid)), "a fork server doesn't die")?;
            }
        }
        self.pulse.at("init again");
        init()?;
        self.pulse.at("a start by a new zygote");
        let task = spawn_in(&Zygote::global(), options(NAME), |number: u64| number, 8)?;
        self.started(1);
        self.must(task.join()? == 8, "a task gave something else")
    }
}

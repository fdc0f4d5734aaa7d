//! Back ends of message processes that have bridges, which die.

use common_ipc::process::LaunchOptions;
use cross_process_bridge::{BridgeError, Execution};
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, During, Incoming, MainLoop, MessageProcess, ProcessError, RemoteError, Reply,
};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{BEGUN, Death, ProbeBridge, Tally, tally};
use crate::main_loop::sources::next;
use crate::servers::kill;
use crate::together::{PATIENCE, Way, gone, pairs, signal_of};

scenarios![
    together_a_back_end_calls_its_bridge_for_each_command,
    fault_13_together_a_back_end_goes_on_when_its_bridge_is_killed,
    fault_13_together_a_bridge_killed_in_each_moment_of_many_commands,
    together_what_a_handler_does_not_catch_is_told_of_its_command,
    fault_27_together_a_back_end_that_is_killed_takes_its_bridge_along,
    together_a_loop_hears_of_back_ends_and_what_their_bridges_did,
];

#[derive(Serialize, Deserialize)]
enum Command {
    Add {
        number: i64,
        reply: Reply<i64>,
    },
    /// The same, and an error of the bridge is the handler's.
    AddOrFail {
        number: i64,
        reply: Reply<i64>,
    },
    Object {
        reply: Reply<u32>,
    },
    /// The object doesn't come back from this by itself.
    Hang,
    Die(Death),
}

/// What a back end tells of its bridge's end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Restarted {
    signal: Option<i32>,
    may_have_run: bool,
    /// Which process it has now.
    generation: u64,
}

#[derive(Serialize, Deserialize)]
struct Accountant {
    way: Way,
    tally: Tally,
    /// Belongs to the back end's own process, so it is made there.
    #[serde(skip)]
    bridge: Option<ProbeBridge>,
}

impl Accountant {
    fn new(way: Way, tally: &Tally) -> Accountant {
        Accountant { way, tally: tally.clone(), bridge: None }
    }

    /// Calls, and calls again with a new object if there was none for the first call.
    fn call<R>(
        &self,
        cx: &mut Context<Accountant>,
        call: impl Fn(&ProbeBridge) -> Result<R, BridgeError>,
    ) -> Result<Option<R>, RemoteError> {
        let bridge = self.bridge.as_ref().ok_or(RemoteError::msg("no bridge"))?;
        loop {
            let error = match call(bridge) {
                Ok(result) => return Ok(Some(result)),
                Err(error @ BridgeError::PeerDied { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            bridge.start()?;
            let may_have_run = error.execution() != Execution::NotRun;
            let generation = bridge.process().generation();
            cx.send_out(&Restarted { signal: signal_of(&error), may_have_run, generation })?;
            if may_have_run {
                return Ok(None);
            }
        }
    }
}

impl Backend for Accountant {
    type Command = Command;
    type Event = Restarted;

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        self.bridge = Some(self.way.bridge(&self.tally));
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Add { number, reply } => {
                // One that may have been added isn't added again.
                let sum = self.call(cx, |bridge| bridge.add(number))?;
                reply.send(&sum.unwrap_or(-1))?;
            }
            Command::AddOrFail { number, reply } => {
                let bridge = self.bridge.as_ref().ok_or(RemoteError::msg("no bridge"))?;
                reply.send(&bridge.add(number)?)?;
            }
            Command::Object { reply } => reply.send(&self.call(cx, ProbeBridge::pid)?.unwrap_or(0))?,
            Command::Hang => drop(self.call(cx, |bridge| bridge.work(600_000))?),
            Command::Die(death) => drop(self.call(cx, |bridge| bridge.die(death))?),
        }
        Ok(())
    }

    fn post_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        Ok(self.bridge.take().map_or(Ok(()), |bridge| bridge.stop())?)
    }
}

type Process = MessageProcess<Accountant>;

fn accountant(above: Way, below: Way) -> (Process, Tally) {
    let tally = tally();
    // It sends it on, as an argument of the constructor.
    let options = LaunchOptions::new().give(&tally);
    (above.message("accountant", Accountant::new(below, &tally), options), tally)
}

fn add(process: &Process, number: i64) -> i64 {
    process.request_timeout(PATIENCE, |reply| Command::Add { number, reply }).unwrap()
}

fn object(process: &Process) -> i32 {
    process.request_timeout(PATIENCE, |reply| Command::Object { reply }).unwrap() as i32
}

fn heard(process: &Process) -> Restarted {
    process.recv_timeout(PATIENCE).unwrap().expect("it is told")
}

fn killed(may_have_run: bool, generation: u64) -> Restarted {
    Restarted { signal: Some(NixSignal::SIGKILL as i32), may_have_run, generation }
}

fn together_a_back_end_calls_its_bridge_for_each_command() -> Outcome {
    for (above, below) in pairs() {
        let (process, _tally) = accountant(above, below);
        for number in 1..=100 {
            assert_eq!(add(&process, number), number * (number + 1) / 2);
        }
        let seen = [process.pid().unwrap() as i32, object(&process)];
        assert!(process.stop().unwrap().status.success());
        gone(&seen);
        // A new process of the back end has a new object.
        process.start().unwrap();
        assert_eq!(add(&process, 3), 3);
        assert!(process.stop().unwrap().status.success());
    }
    Passed
}

fn fault_13_together_a_back_end_goes_on_when_its_bridge_is_killed() -> Outcome {
    for (above, below) in pairs() {
        let (process, tally) = accountant(above, below);
        let back_end = process.pid();
        let mut generation = 1;
        for round in 1..=3 {
            let seen = object(&process);
            std::thread::scope(|scope| {
                process.send(&Command::Hang).unwrap();
                // This one waits behind it, and is for the next object.
                let waits = scope.spawn(|| add(&process, 5));
                assert!(proc::eventually(|| tally.get(BEGUN).unwrap() == round));
                kill(seen, NixSignal::SIGKILL);
                generation += 1;
                assert_eq!(heard(&process), killed(true, generation));
                assert_eq!(waits.join().unwrap(), 5);
            });
            // Between two calls: what wasn't carried out is, by the next object.
            let other = object(&process);
            assert_ne!(seen, other);
            kill(other, NixSignal::SIGKILL);
            gone(&[seen, other]);
            let sum = add(&process, 7);
            let told = heard(&process);
            generation += 1;
            assert_eq!(told, killed(told.may_have_run, generation));
            assert_eq!(sum, if told.may_have_run { -1 } else { 7 });
        }
        assert_eq!(process.pid(), back_end);
        assert!(process.stop().unwrap().status.success());
    }
    Passed
}

/// Each number is added once, or its command is told to have met with the object's end.
fn fault_13_together_a_bridge_killed_in_each_moment_of_many_commands() -> Outcome {
    for (above, below) in pairs() {
        let (process, _tally) = accountant(above, below);
        let mut total = 0;
        let mut lost = 0;
        for round in 0..20u64 {
            let seen = object(&process);
            std::thread::scope(|scope| {
                let killer = scope.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_micros(round * 50));
                    kill(seen, NixSignal::SIGKILL);
                });
                // Until it has come: a sum that begins anew says so.
                let told = loop {
                    let sum = add(&process, 1);
                    if let Some(told) = process.try_recv().unwrap() {
                        lost += u64::from(told.may_have_run);
                        assert_eq!(sum, if told.may_have_run { -1 } else { 1 });
                        total = sum.max(0);
                        break told;
                    }
                    total += 1;
                    assert_eq!(sum, total);
                };
                killer.join().unwrap();
                assert_eq!(told, killed(told.may_have_run, round + 2));
            });
        }
        println!("{above:?}, {below:?}: {lost} of 20 met in the midst of a call");
        assert!(process.stop().unwrap().status.success());
    }
    Passed
}

fn together_what_a_handler_does_not_catch_is_told_of_its_command() -> Outcome {
    for (above, below) in pairs() {
        let (process, _tally) = accountant(above, below);
        let add_or_fail =
            |number| process.request_timeout(PATIENCE, |reply| Command::AddOrFail { number, reply });
        assert_eq!(add_or_fail(2).unwrap(), 2);
        let seen = object(&process);
        kill(seen, NixSignal::SIGKILL);
        gone(&[seen]);
        for _ in 0..2 {
            // Each command's own, with the cause of its cause.
            let ProcessError::Failed(failure) = add_or_fail(3).unwrap_err() else { panic!("another error") };
            let During::Command { name, .. } = &failure.during else { panic!("{failure}") };
            assert_eq!(name, "AddOrFail");
            assert!(failure.to_string().contains("SIGKILL"), "{failure}");
        }
        // The others start it again.
        assert_eq!(add(&process, 4), 4);
        assert_eq!(heard(&process), killed(false, 2));
        assert_eq!(add_or_fail(3).unwrap(), 7);
        assert!(process.stop().unwrap().status.success());
    }
    Passed
}

fn fault_27_together_a_back_end_that_is_killed_takes_its_bridge_along() -> Outcome {
    for (above, below) in pairs() {
        let (process, tally) = accountant(above, below);
        for round in 1..=2 {
            let seen = object(&process);
            process.send(&Command::Hang).unwrap();
            assert!(proc::eventually(|| tally.get(BEGUN).unwrap() == round));
            let below = proc::descendants(process.pid().unwrap() as i32);
            assert!(below.contains(&seen), "{seen} {below:?}");
            process.child().unwrap().kill().unwrap();
            let ended = process.wait_stop_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(ended.status.signal().map(|signal| signal.as_raw()), Some(NixSignal::SIGKILL as i32));
            gone(&below);
            process.start().unwrap();
            assert_eq!(add(&process, 6), 6);
        }
        // Dropped, it asks the back end to end, which is told to kill what hangs.
        let seen = object(&process);
        process.send(&Command::Hang).unwrap();
        assert!(proc::eventually(|| tally.get(BEGUN).unwrap() == 3));
        drop(process);
        gone(&[seen]);
    }
    Passed
}

fn together_a_loop_hears_of_back_ends_and_what_their_bridges_did() -> Outcome {
    let processes: Vec<_> = pairs().map(|(above, below)| accountant(above, below).0).collect();
    let mut main_loop = MainLoop::new().unwrap();
    for (place, process) in processes.iter().enumerate() {
        main_loop.watch(process, move |incoming| (place, incoming)).unwrap();
        process.send(&Command::Die(Death::Kill)).unwrap();
    }
    let mut restarted = vec![0; processes.len()];
    while restarted.contains(&0) {
        let (place, incoming) = next(&mut main_loop);
        assert_eq!(incoming, Incoming::Event(killed(true, 2)));
        restarted[place] += 1;
    }
    for (place, process) in processes.iter().enumerate() {
        let seen = object(process);
        process.child().unwrap().kill().unwrap();
        let (ended, incoming) = next(&mut main_loop);
        let Incoming::Ended(end) = incoming else { panic!("{incoming:?}") };
        assert_eq!((ended, end.status.signal().is_some()), (place, true));
        gone(&[seen]);
    }
    assert_eq!(restarted, [1; 4]);
    Passed
}

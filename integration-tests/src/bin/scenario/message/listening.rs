//! What a back end waits for beside commands: descriptors, times, signals; and what others do to its process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common_ipc::process::{Launch, LaunchOptions, ProcessGroup, Signal};
use integration_tests::{proc, raw};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, During, ExitStatus, MessageProcess, ProcessError, RemoteError, WatchError, WatchId,
};

use crate::Outcome::{self, Passed};
use crate::message::ways::{Command, HANDLED, Made, POST_RUN, PRE_RUN, Probe, all_ways, started};

scenarios![
    a_back_end_watches_descriptors_beside_commands,
    a_watch_that_fails_is_told_and_goes_on,
    a_watch_of_what_cannot_be_watched_is_an_error,
    a_back_end_has_timers,
    a_timer_is_ended_within_its_own_handler,
    a_flood_of_commands_leaves_room_for_timers_and_descriptors,
    a_listening_back_end_does_not_sleep,
    other_threads_of_a_back_end_send_events,
    a_signal_to_stop_ends_a_back_end_after_its_handler,
    a_signal_to_stop_comes_before_the_commands_that_wait,
    fault_31_ctrl_c_ends_back_ends_that_do_not_ignore_it,
    fault_32_a_signal_during_the_start_of_a_back_end,
    fault_33_handlers_of_the_program_do_not_run_in_back_ends,
    an_idle_back_end_takes_no_time,
    a_back_end_starts_processes_of_its_own,
];

#[derive(Serialize, Deserialize)]
enum Ask {
    Number(u32),
    /// Every so many milliseconds a tick, so often.
    Tick {
        every: u64,
        times: u32,
    },
    After(u64),
    Listen(bool),
    Unwatch,
    Watch(u8),
    Threads,
    Spin(u64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tell {
    Number(u32),
    Came(Vec<u8>),
    Tick(u32),
    After,
    Error(String),
    Listened(u64),
    Thread(u32),
}

#[derive(Default)]
struct Watcher {
    socket: Option<UnixStream>,
    watch: Option<WatchId>,
    ticks: u32,
    listened: u64,
}

impl Backend for Watcher {
    type Command = Ask;
    type Event = Tell;

    fn pre_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        let Some(socket) = self.socket.take() else { return Ok(()) };
        self.watch = Some(cx.watch(socket, |watcher, cx, socket| {
            let mut bytes = vec![0; 100];
            let length = socket.read(&mut bytes)?;
            bytes.truncate(length);
            if length == 0 {
                if let Some(watch) = watcher.watch.take() {
                    cx.unwatch(watch);
                }
            }
            if bytes == b"fail" {
                return Err(RemoteError::msg("as was read"));
            }
            cx.send_out(&Tell::Came(bytes))?;
            Ok(())
        })?);
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, ask: Ask) -> Result<(), RemoteError> {
        match ask {
            Ask::Number(number) => cx.send_out(&Tell::Number(number))?,
            Ask::Tick { every, times } => {
                self.ticks = 0;
                let id = cx.every(Duration::from_millis(every), move |watcher, cx| {
                    watcher.ticks += 1;
                    cx.send_out(&Tell::Tick(watcher.ticks))?;
                    if watcher.ticks == times {
                        let watch = watcher.watch.take().ok_or(RemoteError::msg("no timer"))?;
                        assert!(cx.unwatch(watch) && !cx.unwatch(watch));
                    }
                    Ok(())
                });
                self.watch = Some(id);
            }
            Ask::After(time) => {
                cx.after(Duration::from_millis(time), |_, cx| Ok(cx.send_out(&Tell::After)?));
            }
            Ask::Listen(on) => {
                cx.set_listening(on);
                if !on {
                    cx.send_out(&Tell::Listened(self.listened))?;
                }
            }
            Ask::Unwatch => {
                let ended = self.watch.take().is_some_and(|watch| cx.unwatch(watch));
                cx.send_out(&Tell::Number(ended.into()))?;
            }
            Ask::Watch(what) => {
                let (one, _other) = UnixStream::pair()?;
                let twice = std::sync::Arc::new(one);
                let error = match what {
                    0 => cx.watch(std::fs::File::open("/proc/self/exe")?, |_, _, _| Ok(())),
                    _ => {
                        cx.watch(std::sync::Arc::clone(&twice), |_, _, _| Ok(()))?;
                        cx.watch(twice, |_, _, _| Ok(()))
                    }
                };
                let error: WatchError = error.expect_err("it is watched");
                cx.send_out(&Tell::Error(error.to_string()))?;
            }
            Ask::Threads => {
                for number in 0..4 {
                    let sender = cx.sender();
                    thread::spawn(move || {
                        for _ in 0..100 {
                            sender.send(&Tell::Thread(number)).unwrap();
                        }
                    });
                }
            }
            Ask::Spin(time) => {
                let until = std::time::Instant::now() + Duration::from_millis(time);
                while std::time::Instant::now() < until {}
            }
        }
        Ok(())
    }

    fn listen(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        self.listened += 1;
        Ok(())
    }
}

fn watcher() -> (MessageProcess<Watcher>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    let process = MessageProcess::new("watcher", Watcher { socket: Some(there), ..Watcher::default() });
    process.start().unwrap();
    (process, here)
}

fn a_back_end_watches_descriptors_beside_commands() -> Outcome {
    let (process, mut socket) = watcher();
    for number in 0..100 {
        socket.write_all(&[number]).unwrap();
        assert_eq!(process.recv().unwrap(), Tell::Came(vec![number]));
        process.send(&Ask::Number(number.into())).unwrap();
        assert_eq!(process.recv().unwrap(), Tell::Number(number.into()));
    }
    process.send(&Ask::Unwatch).unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Number(1));
    // This process has a copy of the socket, with the back end that it was made of.
    socket.write_all(b"unheard").unwrap();
    assert_eq!(process.recv_timeout(Duration::from_millis(20)).unwrap(), None);
    Passed
}

fn a_watch_that_fails_is_told_and_goes_on() -> Outcome {
    let (process, mut socket) = watcher();
    socket.write_all(b"fail").unwrap();
    let ProcessError::Failed(failure) = process.recv().unwrap_err() else { panic!("no failure") };
    assert_eq!((failure.during.clone(), failure.to_string().contains("as was read")), (During::Watch, true));
    socket.write_all(b"go on").unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Came(b"go on".to_vec()));
    // The end of the other side is something to read.
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Came(Vec::new()));
    process.stop().unwrap();
    Passed
}

fn a_watch_of_what_cannot_be_watched_is_an_error() -> Outcome {
    let (process, _socket) = watcher();
    for (what, text) in [(0, "regular file"), (1, "already")] {
        process.send(&Ask::Watch(what)).unwrap();
        let Tell::Error(error) = process.recv().unwrap() else { panic!("no error") };
        assert!(error.contains(text), "{error}");
    }
    process.send(&Ask::Number(1)).unwrap();
    Passed
}

fn a_back_end_has_timers() -> Outcome {
    let (process, _socket) = watcher();
    process.send(&Ask::After(5)).unwrap();
    assert_eq!(process.recv().unwrap(), Tell::After);
    assert_eq!(process.recv_timeout(Duration::from_millis(20)).unwrap(), None, "it comes once");
    // Late by several periods: it comes once for all of them.
    process.send(&Ask::Tick { every: 10, times: u32::MAX }).unwrap();
    process.send(&Ask::Spin(200)).unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Tick(1));
    assert_eq!(process.recv().unwrap(), Tell::Tick(2));
    assert!(process.stop().unwrap().status.success());
    Passed
}

fn a_timer_is_ended_within_its_own_handler() -> Outcome {
    let (process, _socket) = watcher();
    process.send(&Ask::Tick { every: 1, times: 5 }).unwrap();
    for tick in 1..=5 {
        assert_eq!(process.recv().unwrap(), Tell::Tick(tick));
    }
    assert_eq!(process.recv_timeout(Duration::from_millis(30)).unwrap(), None);
    Passed
}

fn a_flood_of_commands_leaves_room_for_timers_and_descriptors() -> Outcome {
    let (process, mut socket) = watcher();
    process.send(&Ask::Tick { every: 1, times: 50 }).unwrap();
    let front = process.front();
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            // Until it ends.
            while front.send(&Ask::Number(0)).is_ok() {}
        });
        socket.write_all(b"beside").unwrap();
        let (mut ticks, mut came) = (0, false);
        while ticks < 50 || !came {
            match front.recv().unwrap() {
                Tell::Tick(_) => ticks += 1,
                Tell::Came(_) => came = true,
                _ => {}
            }
        }
        front.child().unwrap().kill().unwrap();
        flood.join().unwrap();
    });
    Passed
}

fn a_listening_back_end_does_not_sleep() -> Outcome {
    let (process, mut socket) = watcher();
    process.send(&Ask::Listen(true)).unwrap();
    for number in 0..20 {
        process.send(&Ask::Number(number)).unwrap();
        assert_eq!(process.recv().unwrap(), Tell::Number(number));
    }
    socket.write_all(b"!").unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Came(b"!".to_vec()));
    thread::sleep(Duration::from_millis(50));
    process.send(&Ask::Listen(false)).unwrap();
    let Tell::Listened(first) = process.recv().unwrap() else { panic!("no count") };
    assert!(first > 100, "{first}");
    thread::sleep(Duration::from_millis(20));
    process.send(&Ask::Listen(false)).unwrap();
    assert_eq!(process.recv().unwrap(), Tell::Listened(first));
    Passed
}

fn other_threads_of_a_back_end_send_events() -> Outcome {
    let (process, _socket) = watcher();
    process.send(&Ask::Threads).unwrap();
    let mut counts = [0; 4];
    for _ in 0..400 {
        let Tell::Thread(number) = process.recv().unwrap() else { panic!("no thread") };
        counts[number as usize] += 1;
    }
    assert_eq!(counts, [100; 4]);
    Passed
}

fn a_signal_to_stop_ends_a_back_end_after_its_handler() -> Outcome {
    for signal in [Signal::TERM, Signal::INT] {
        for watched in all_ways(Made::Well) {
            watched.process.start().unwrap();
            watched.process.send(&Command::Sleep(30)).unwrap();
            watched.process.send(&Command::Number(1)).unwrap();
            assert!(proc::eventually(|| watched.count(PRE_RUN) == 1));
            watched.process.child().unwrap().signal(signal).unwrap();
            let ended = watched.process.wait_stop().unwrap();
            assert_eq!((ended.status, watched.count(POST_RUN)), (ExitStatus::Exited(0), 1));
        }
    }
    Passed
}

fn a_signal_to_stop_comes_before_the_commands_that_wait() -> Outcome {
    let watched = started(Made::Well);
    for _ in 0..30 {
        watched.process.send(&Command::Sleep(20)).unwrap();
    }
    assert!(proc::eventually(|| watched.count(HANDLED) > 0));
    watched.process.child().unwrap().terminate().unwrap();
    assert!(watched.process.wait_stop().unwrap().is_clean());
    assert_eq!(watched.count(POST_RUN), 1);
    assert!(watched.count(HANDLED) < 30, "all that waited was handled");
    Passed
}

fn fault_31_ctrl_c_ends_back_ends_that_do_not_ignore_it() -> Outcome {
    let (tallies, probes): (Vec<_>, Vec<_>) =
        (0..2).map(|_| Probe::new(Made::Well)).map(|probe| (probe.tally(), probe)).unzip();
    let options =
        LaunchOptions::new().process_group(ProcessGroup::New).sigint(common_ipc::process::Sigint::Ignore);
    // A program in a group of its own, which itself minds nothing of Ctrl-C.
    let program = Launch::new(&options)
        .start(move || {
            let mut probes = probes.into_iter();
            let mut next = || probes.next().unwrap();
            let polite = MessageProcess::new("polite", next());
            // In any order.
            let deaf = MessageProcess::new("deaf", next()).ignore_sigint().launch_with(LaunchOptions::new());
            for process in [&polite, &deaf] {
                process.start().unwrap();
                assert!(process.wait_ready(Duration::from_secs(20)).unwrap());
            }
            nix::sys::signal::killpg(nix::unistd::getpgrp(), nix::sys::signal::Signal::SIGINT).unwrap();
            assert!(polite.wait_stop().unwrap().is_clean());
            let add = |number| deaf.request(|reply| Command::Add { number, reply });
            assert_eq!((add(1).unwrap(), add(2).unwrap()), (1, 3));
            deaf.stop().unwrap();
        })
        .unwrap();
    program.output::<()>().unwrap();
    assert_eq!([0, 1].map(|place: usize| tallies[place].get(POST_RUN).unwrap()), [1, 1]);
    Passed
}

fn fault_32_a_signal_during_the_start_of_a_back_end() -> Outcome {
    for watched in all_ways(Made::Well) {
        for round in 0..40u64 {
            watched.process.start().unwrap();
            thread::sleep(Duration::from_micros(round * 100));
            watched.process.child().unwrap().terminate().unwrap();
            let ended = watched.process.wait_stop().unwrap();
            assert!(ended.is_clean(), "{ended}");
            assert_eq!((watched.count(PRE_RUN), watched.count(POST_RUN)), (round + 1, round + 1));
        }
    }
    Passed
}

/// How often the program's own handler has run, in all processes.
static RUNS: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn fault_33_handlers_of_the_program_do_not_run_in_back_ends() -> Outcome {
    raw::handle_signal(nix::sys::signal::Signal::SIGUSR1, on_signal);
    let (watched, other) = (started(Made::Well), started(Made::Well));
    assert_eq!(watched.add(1).unwrap(), 1);
    watched.process.child().unwrap().signal(Signal::USR1).unwrap();
    // It has no handler: the default is its end.
    assert_eq!(watched.process.wait_stop().unwrap().status.signal(), Some(Signal::USR1));
    assert_eq!((other.add(2).unwrap(), RUNS.load(Ordering::Relaxed)), (2, 0));
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
    Passed
}

fn an_idle_back_end_takes_no_time() -> Outcome {
    let (process, _socket) = watcher();
    process.send(&Ask::Number(1)).unwrap();
    process.recv().unwrap();
    let pid = process.pid().unwrap() as i32;
    let switches = || proc::status_field(pid, "voluntary_ctxt_switches").parse::<u64>().unwrap();
    thread::sleep(Duration::from_millis(50));
    let before = switches();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(switches(), before, "it was woken for nothing");
    Passed
}

fn a_back_end_starts_processes_of_its_own() -> Outcome {
    struct Outer;
    impl Backend for Outer {
        type Command = u32;
        type Event = u32;
        fn handle(&mut self, cx: &mut Context<Self>, depth: u32) -> Result<(), RemoteError> {
            let sum = match depth {
                0 => 0,
                _ => {
                    let inner = MessageProcess::new("inner", Outer);
                    inner.start()?;
                    inner.send(&(depth - 1))?;
                    let below = inner.recv()?;
                    inner.stop()?;
                    below
                }
            };
            cx.send_out(&(sum + depth))?;
            Ok(())
        }
    }
    let outer = MessageProcess::new("outer", Outer);
    outer.start().unwrap();
    outer.send(&3).unwrap();
    assert_eq!(outer.recv().unwrap(), 6);
    outer.stop().unwrap();
    Passed
}

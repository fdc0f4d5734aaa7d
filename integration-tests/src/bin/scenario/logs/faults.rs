//! Log records under pressure: floods, loggers that are slow or panic, children that are hostile.

use std::io::{IoSlice, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common_ipc::link::Connection;
use common_ipc::process::{Child, Launch, LaunchOptions, Refusal, StartError};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use log::Level;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg};

use crate::Outcome::{self, Passed};
use crate::logs::collector::{Seen, install, install_with, log_numbers, messages, numbers, seen};
use crate::processes::children::{link, start};
use crate::servers::zygote;

scenarios!(
    fault_59_a_slow_logger_loses_nothing_and_refuses_no_fork,
    fault_59_a_logger_that_hangs_holds_up_a_child_for_a_bounded_time,
    fault_59_a_logger_that_panics_is_called_again,
    fault_59_garbage_harms_nobody,
    fault_59_forks_beside_records_hang_nobody,
    fault_59_a_body_that_closes_all_descriptors_writes_into_no_others,
    a_logger_that_logs_and_flushes_waits_for_nobody,
);

/// Children that log until the event is set, and return how many records that were.
fn noisy(count: usize, stopped: &Event) -> Vec<Child> {
    let options = LaunchOptions::new().give(stopped);
    let body = || {
        let stopped = stopped.clone();
        move || {
            let mut number = 0;
            while !stopped.is_set() {
                log::info!("{number}");
                number += 1;
            }
            number
        }
    };
    (0..count).map(|_| Launch::new(&options).start(body()).unwrap()).collect()
}

/// All of their records are there.
fn assert_all_there(noisy: &[Child]) {
    let counts: Vec<_> = noisy.iter().map(|child| child.output::<u32>().unwrap()).collect();
    let seen = seen();
    for (child, count) in noisy.iter().zip(counts) {
        assert_eq!(messages(&seen, child.id()), numbers(count));
    }
}

fn fault_59_a_slow_logger_loses_nothing_and_refuses_no_fork() -> Outcome {
    install_with(|_| std::thread::sleep(Duration::from_millis(1)));
    let stop = Event::new().unwrap();
    let noisy = noisy(2, &stop);
    // The logger is at work all of the time.
    let short: Vec<_> = (0..20).map(|_| start(|| log_numbers(1))).collect();
    stop.set();
    assert_all_there(&noisy);
    short.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    let seen = seen();
    short.iter().for_each(|child| assert_eq!(messages(&seen, child.id()), numbers(1)));
    Passed
}

/// How many records a message says were lost.
fn lost(message: &str) -> Option<u32> {
    message.split_once(" records of this process were lost")?.0.parse().ok()
}

fn fault_59_a_logger_that_hangs_holds_up_a_child_for_a_bounded_time() -> Outcome {
    static HANGS: AtomicBool = AtomicBool::new(true);
    install_with(|_| {
        while HANGS.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let (here, there) = Connection::<(), Duration>::pair().unwrap();
    let count = 5000;
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        let begin = Instant::now();
        log_numbers(count);
        there.send(&begin.elapsed()).unwrap();
        there.recv().unwrap();
        // It finds room, and tells what was lost.
        log::info!("{count}");
        there.send(&Duration::ZERO).unwrap();
        there.recv().unwrap();
        log_numbers(count);
    });
    let child = child.unwrap();
    // It has waited for one record, and not for each of the others.
    let took = here.recv().unwrap();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // A fork would have to wait as well.
    let refused = Launch::new(&LaunchOptions::new()).start(|| ()).unwrap_err();
    assert!(matches!(refused, StartError::Refused(Refusal::CallbackRunning)), "{refused}");
    HANGS.store(false, Relaxed);
    let first = seen();
    here.send(&()).unwrap();
    here.recv().unwrap();
    let second = seen();
    let news = &second[first.len()..];
    let [warning, last] = news else { panic!("{news:?}") };
    assert_eq!((warning.level, warning.target.as_str()), (Level::Warn, "common_ipc::logging"));
    assert_eq!((warning.pid, last.message.as_str()), (Some(child.id()), "5000"));
    // Those that came are the first ones: later ones found no room.
    let arrived = messages(&first, child.id());
    assert_eq!(arrived, numbers(arrived.len() as u32));
    assert_eq!(arrived.len() as u32 + lost(&warning.message).unwrap(), count);
    assert!(arrived.len() > 100, "{}", arrived.len());
    // A child that ends tells as well, if there is room by then: its patience is back.
    here.send(&()).unwrap();
    child.wait().unwrap();
    let third = seen();
    let last = messages(&third[second.len()..], child.id());
    let told: u32 = last.iter().filter_map(|message| lost(message)).sum();
    assert_eq!(last.iter().filter(|message| lost(message).is_none()).count() as u32 + told, count);
    Passed
}

fn fault_59_a_logger_that_panics_is_called_again() -> Outcome {
    install_with(|seen| assert!(seen.message.parse::<u32>().unwrap() % 2 == 0, "odd"));
    std::panic::set_hook(Box::new(|_| {}));
    let child = start(|| log_numbers(100));
    child.wait().unwrap();
    let even: Vec<_> = (0..50).map(|half| (2 * half).to_string()).collect();
    assert_eq!(messages(&seen(), child.id()), even);
    start(|| ()).wait().unwrap();
    let _ = std::panic::take_hook();
    Passed
}

fn a_logger_that_logs_and_flushes_waits_for_nobody() -> Outcome {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    install_with(|_| {
        log::logger().flush();
        if DEPTH.fetch_add(1, Relaxed) == 0 {
            log::info!("again");
        }
        DEPTH.fetch_sub(1, Relaxed);
    });
    // Would each of the flushes wait, the watchdog would end this.
    let child = start(|| log_numbers(20));
    child.wait().unwrap();
    let seen = seen();
    assert_eq!(messages(&seen, child.id()), numbers(20));
    // Those are the program's own.
    assert_eq!(seen.iter().filter(|seen| seen.pid.is_none() && seen.message == "again").count(), 20);
    Passed
}

/// Sends a packet as it is.
fn send(socket: i32, bytes: &[u8], with: &[ControlMessage<'_>]) -> nix::Result<usize> {
    sendmsg::<()>(socket, &[IoSlice::new(bytes)], with, MsgFlags::MSG_NOSIGNAL, None)
}

/// What a hostile child does; it ends as itself.
fn be_hostile(program: i32) {
    // The youngest socket is that of the records.
    let socket = link();
    log::info!("honest");
    let mut state = u64::from(process::id());
    for length in (0..2000).map(|length| 1 + length % 700) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        send(socket, &bytes, &[]).unwrap();
    }
    // Lengths without end, packets without end.
    send(socket, &[0xff; 4096], &[]).unwrap();
    send(socket, &vec![0; 100_000], &[]).unwrap();
    // Descriptors, also with what would be a record.
    let file = std::fs::File::open("/dev/null").unwrap();
    for _ in 0..100 {
        let files = [file.as_raw_fd(); 20];
        send(socket, &[0; 40], &[ControlMessage::ScmRights(&files)]).unwrap();
    }
    // Another one's name. Root may do that; who has given up being root may not.
    let nobody = nix::unistd::Uid::from_raw(65534);
    if nix::unistd::Uid::effective().is_root() {
        nix::unistd::setresuid(nobody, nobody, nobody).unwrap();
    }
    let own = UnixCredentials::new();
    let id = own.uid();
    let forged = libc::ucred { pid: program, uid: id, gid: own.gid() };
    assert!(send(socket, &[0; 40], &[ControlMessage::ScmCredentials(&forged.into())]).is_err());
    log::info!(pid = program, process = "the program"; "forged");
    // The end of its link, and of nobody else's.
    send(socket, &[], &[]).unwrap();
    assert!(proc::eventually(|| send(socket, &[0], &[]).is_err()));
    log::info!("to nobody");
}

fn fault_59_garbage_harms_nobody() -> Outcome {
    install();
    let program = process::id() as i32;
    let descriptors = || proc::descriptors(program).len();
    start(|| log_numbers(1)).wait().unwrap();
    let (first, before) = (seen().len(), descriptors());
    let count = 1000;
    let options = LaunchOptions::new().name("hostile");
    let hostile = Launch::new(&options).start(move || be_hostile(program)).unwrap();
    let honest = start(move || log_numbers(count));
    assert!(hostile.wait().unwrap().success() && honest.wait().unwrap().success());
    let seen = seen();
    assert_eq!(messages(&seen, honest.id()), numbers(count));
    let said = messages(&seen, hostile.id());
    assert_eq!(said, ["honest", "what this process sends are no records: skipped", "forged"]);
    assert_eq!(seen.len() - first, 1000 + said.len());
    let is_named =
        |seen: &&Seen| seen.pid == Some(hostile.id()) && seen.process.as_deref() == Some("hostile");
    assert_eq!(seen.iter().filter(is_named).count(), said.len());
    assert!(proc::eventually(|| descriptors() == before), "{:?}", proc::descriptors(program));
    Passed
}

fn fault_59_forks_beside_records_hang_nobody() -> Outcome {
    install();
    let zygote = zygote();
    let stop = Event::new().unwrap();
    let noisy = noisy(3, &stop);
    let rounds = 100 * stress_factor();
    let short: Vec<_> = (0..rounds)
        .map(|round| match round % 2 {
            0 => start(|| log_numbers(3)),
            _ => Launch::new(&LaunchOptions::new()).start_in(&zygote, |()| log_numbers(3), &()).unwrap(),
        })
        .collect();
    short.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    stop.set();
    assert_all_there(&noisy);
    let seen = seen();
    short.iter().for_each(|child| assert_eq!(messages(&seen, child.id()), numbers(3)));
    Passed
}

fn fault_59_a_body_that_closes_all_descriptors_writes_into_no_others() -> Outcome {
    install();
    let (mut here, there) = UnixStream::pair().unwrap();
    let child = start(move || {
        log_numbers(2);
        for (number, _) in proc::descriptors(process::id() as i32) {
            if number > 2 && number != there.as_raw_fd() {
                raw::close(number);
            }
        }
        // Whatever number that one had is taken by the socket of somebody else.
        let copies: Vec<_> = (0..64).map(|_| there.try_clone().unwrap()).collect();
        log_numbers(1000);
        drop(copies);
    });
    // What is left of its link says that it hasn't returned anything; it has ended in peace all the same.
    child.wait().unwrap();
    assert_eq!(messages(&seen(), child.id()), numbers(2));
    let mut received = Vec::new();
    here.read_to_end(&mut received).unwrap();
    assert!(received.is_empty(), "{received:?}");
    Passed
}

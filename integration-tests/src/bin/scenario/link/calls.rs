//! Calls of any type to a server that dies, or that has no room for what comes along.

use std::fs::File;
use std::time::Duration;

use common_ipc::link::{CallProgress, Connection, DEFAULT_MAX_FRAME, LinkError, OpenServer, open_calls};
use common_ipc::process::{Child, Launch, LaunchOptions, Resource};
use integration_tests::stress_factor;
use serde::de::DeserializeOwned;

use crate::Outcome::{self, Passed};
use crate::link::connections::is_closed;
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_12_a_call_without_room_for_its_descriptors_is_that_calls_error,
    fault_13_a_death_tells_calls_that_were_taken_from_those_that_were_not,
    fault_45_open_callers_on_one_connection_get_their_own_replies,
);

fn serving(server: &OpenServer, options: &LaunchOptions, serve: impl FnOnce(OpenServer)) -> Child {
    let there = server.clone();
    Launch::new(&options.clone().give(server)).start(move || serve(there)).unwrap()
}

/// Says back what it is asked.
fn echo<T: DeserializeOwned + serde::Serialize>(server: &OpenServer) {
    let mut buffer = Vec::new();
    while let Ok(request) = server.recv(&mut buffer) {
        let (value, responder) = request.decode::<T>();
        responder.reply::<T, _>(0, &value.unwrap()).unwrap();
    }
}

fn fault_13_a_death_tells_calls_that_were_taken_from_those_that_were_not() -> Outcome {
    const THREADS: usize = 8;
    for taken in 0..THREADS.min(2 * stress_factor() as usize + 2) {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        let (tell, told) = Connection::<(), ()>::pair().unwrap();
        let options = LaunchOptions::new().give(&tell);
        let child = serving(&server, &options, move |server| {
            let mut buffer = Vec::new();
            let requests: Vec<_> =
                (0..taken).map(|_| server.recv(&mut buffer).unwrap().decode::<usize>().1).collect();
            tell.send(&()).unwrap();
            sleep_for_long();
            drop(requests);
        });
        drop(server);
        std::thread::scope(|scope| {
            let call = |value: usize| caller.call::<usize, _, _>(1, &value, None, |_| ()).unwrap_err();
            let threads: Vec<_> = (0..THREADS).map(|value| scope.spawn(move || call(value))).collect();
            told.recv().unwrap();
            // Until all are sent.
            std::thread::sleep(Duration::from_millis(50));
            child.kill().unwrap();
            let errors: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(errors.iter().all(|error| matches!(error.cause, LinkError::Closed)), "{errors:?}");
            let count = |progress| errors.iter().filter(|error| error.progress == progress).count();
            let counts = (count(CallProgress::Taken), count(CallProgress::NotTaken));
            assert_eq!(counts, (taken, THREADS - taken), "{errors:?}");
        });
        child.wait().unwrap();
    }
    Passed
}

fn fault_12_a_call_without_room_for_its_descriptors_is_that_calls_error() -> Outcome {
    type End = Connection<u8, u8>;
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let options = LaunchOptions::new().limit(Resource::OpenFiles, 64, 64);
    let child = serving(&server, &options, |server| {
        let mut buffer = Vec::new();
        let mut all = Vec::new();
        while let Ok(request) = server.recv(&mut buffer) {
            if request.what() == 1 {
                all.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                request.responder().reply::<(), _>(0, &()).unwrap();
                continue;
            }
            let (end, responder) = request.decode::<End>();
            all.clear();
            match end {
                Ok(end) => responder.reply::<End, _>(0, &end).unwrap(),
                Err(error) => responder.reply::<String, _>(1, &error.to_string()).unwrap(),
            }
        }
    });
    drop(server);
    let send_end = || {
        let (one, other) = End::pair().unwrap();
        let reply = caller.call::<End, _, _>(2, &other, None, |reply| match reply.kind() {
            0 => Ok(reply.decode::<End>().unwrap()),
            _ => Err(reply.decode::<String>().unwrap()),
        });
        (one, reply.unwrap())
    };
    for _ in 0..3 {
        caller.call::<(), _, _>(1, &(), None, |reply| reply.decode::<()>()).unwrap().unwrap();
        let (one, reply) = send_end();
        assert!(reply.unwrap_err().contains("no room for the descriptors"));
        // It is nobody's any more.
        assert!(is_closed(one.recv()));
        let (one, reply) = send_end();
        let back = reply.unwrap();
        one.send(&7).unwrap();
        assert_eq!(back.recv().unwrap(), 7);
    }
    drop(caller);
    child.output::<()>().unwrap();
    Passed
}

fn fault_45_open_callers_on_one_connection_get_their_own_replies() -> Outcome {
    const EACH: u64 = 10_000;
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let child = serving(&server, &LaunchOptions::new(), |server| {
        // Answered by several at once, so in another order now and then.
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| echo::<(u64, String)>(&server));
            }
        });
    });
    drop(server);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let caller = &caller;
            scope.spawn(move || {
                for number in 0..EACH {
                    let text = "x".repeat((number % 100) as usize);
                    let argument = (thread << 32 | number, text.as_str());
                    let reply = caller.call::<(u64, String), _, _>(1, &argument, None, |reply| {
                        reply.decode::<(u64, String)>()
                    });
                    assert_eq!(reply.unwrap().unwrap(), (argument.0, text));
                }
            });
        }
    });
    drop(caller);
    child.output::<()>().unwrap();
    Passed
}

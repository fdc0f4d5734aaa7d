//! The worker's side: it makes its state, and does one job after another.

use std::any::Any;

use crate::link::LinkError;
use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::link::jobs::JobReceiver;
use crate::ownership::generation::Generation;
use crate::process::fork_server::Outcome;
use crate::process::panic_report::PanicReport;
use crate::process::portable::Portable;
use crate::process::report::OutputFailure;
use crate::process::worker::kind;
use crate::process::worker::work::JobThunk;
use crate::sys;
use crate::sys::function;

/// In a zygote's child, whose state `init` makes of an argument.
pub(super) fn body<I: Portable, S: 'static>(
    init: usize,
    argument: &[u8],
    incoming: Option<Incoming>,
    ready: &mut dyn FnMut(),
) -> Outcome {
    // `Worker::start` made it a number, and named these types.
    run(argument, incoming, ready, |argument: I| function::at::<fn(I) -> S>(init)(argument))
}

/// The same, of nothing.
pub(super) fn plain_body<S: 'static>(
    init: usize,
    argument: &[u8],
    incoming: Option<Incoming>,
    ready: &mut dyn FnMut(),
) -> Outcome {
    // As above.
    run(argument, incoming, ready, |()| function::at::<fn() -> S>(init)())
}

fn run<I: Portable, S: 'static>(
    argument: &[u8],
    incoming: Option<Incoming>,
    ready: &mut dyn FnMut(),
    init: impl FnOnce(I) -> S,
) -> Outcome {
    let read = codec::decode_message::<(JobReceiver, I)>(argument, incoming);
    let (receiver, argument) =
        read.map_err(|error| OutputFailure::Argument { message: error.to_string() })?;
    ready();
    match PanicReport::catch(|| init(argument)) {
        Ok(mut state) => {
            if receiver.tell(kind::READY, &()).is_ok() {
                serve(&receiver, &mut state);
            }
        }
        Err(report) => {
            let told = receiver.tell(kind::INIT_FAILED, &report);
            if let Err(LinkError::TooLarge(_)) = told {
                let _ = receiver.tell(kind::INIT_FAILED, &report.shortened());
            }
        }
    }
    Ok(Vec::new())
}

fn serve(receiver: &JobReceiver, state: &mut dyn Any) {
    let home = Generation::current();
    let mut buffer = Vec::new();
    loop {
        let job = match receiver.recv(&mut buffer) {
            Ok(job) => job,
            // Nobody deals out jobs any more.
            Err(LinkError::Closed) => return,
            // By this the other side learns why: it is how the process ended.
            Err(error) => panic!("the worker's link has failed: {error}"),
        };
        let [thunk, function] = job.what();
        // Both are addresses that a `Work` was made of, in the program, which is the only one that can send.
        function::at::<JobThunk>(thunk)(function, state, job);
        if home.check().is_err() {
            // The job has forked, and its copy has returned as well.
            sys::fork::exit_now(0);
        }
    }
}

//! Programs as types: what is called when, and what is closed whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use integration_tests::proc;
use nix::sys::signal::{Signal as NixSignal, raise};
use valkka_multiprocess::{LoopError, MainContext, MainLoop, Signal, ThreadError};

use crate::Outcome::{self, Passed};
use crate::processes::children::start as start_child;

scenarios!(
    a_program_is_run_in_its_order,
    an_error_in_each_step_is_followed_by_the_close,
    a_panic_in_each_step_is_followed_by_the_close,
    a_signal_during_the_starts_ends_the_program_in_order,
    a_signal_during_the_close_does_not_cut_it_short,
    a_program_may_see_to_signals_itself,
    a_program_in_a_thread_forks_before_and_is_given_back,
    a_program_in_a_thread_that_fails_is_given_back_closed,
    a_program_in_a_thread_that_fails_to_start_is_closed,
    a_dropped_program_in_a_thread_is_closed,
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Processes,
    Threads,
    Handle,
    Close,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("in {0:?}")]
    In(Step),
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// What goes wrong, or comes, in a step.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    Error,
    Panic,
    Signal,
}

#[derive(Default)]
struct Program {
    mishaps: Vec<(Step, Mishap)>,
    done: Vec<Step>,
    events: u32,
    /// After so many events it ends itself.
    stops_after: u32,
    thread: Option<std::thread::JoinHandle<()>>,
}

const STEPS: [Step; 4] = [Step::Processes, Step::Threads, Step::Handle, Step::Close];

impl Program {
    fn with(step: Step, mishap: Mishap) -> Program {
        Program { mishaps: vec![(step, mishap)], stops_after: 1, ..Program::default() }
    }

    fn step(&mut self, step: Step) -> Result<(), Error> {
        self.done.push(step);
        for (_, mishap) in self.mishaps.iter().filter(|(at, _)| *at == step) {
            match mishap {
                Mishap::Error => return Err(Error::In(step)),
                Mishap::Panic => panic!("in {step:?}"),
                Mishap::Signal => {
                    raise(NixSignal::SIGTERM).unwrap();
                    // By then the timer is due: there is an event before which the signal is to be heeded.
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(())
    }
}

impl MainContext for Program {
    type Event = ();
    type Error = Error;

    fn start_processes(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Error> {
        // Possible before there are threads only.
        start_child(|| ()).wait().unwrap();
        main_loop.every(Duration::from_millis(1), || ()).unwrap();
        self.step(Step::Processes)
    }

    fn start_threads(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Error> {
        let stop = main_loop.stop_handle();
        self.thread = Some(std::thread::spawn(move || drop(stop)));
        self.step(Step::Threads)
    }

    fn handle(&mut self, main_loop: &mut MainLoop<()>, (): ()) -> Result<(), Error> {
        self.events += 1;
        if self.events == self.stops_after {
            main_loop.stop();
        }
        self.step(Step::Handle)
    }

    fn close(&mut self) -> Result<(), Error> {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.step(Step::Close)
    }
}

fn a_program_is_run_in_its_order() -> Outcome {
    let before = proc::descriptors(std::process::id() as i32).len();
    let mut program = Program { stops_after: 1, ..Program::default() };
    program.run().unwrap();
    assert_eq!(program.done, STEPS);
    // And again.
    program.done.clear();
    program.stops_after = 3;
    program.run().unwrap();
    assert_eq!(program.done, [Step::Processes, Step::Threads, Step::Handle, Step::Handle, Step::Close]);
    // The library opens some once.
    assert!(proc::descriptors(std::process::id() as i32).len() <= before + 3);
    Passed
}

/// The steps up to this one, and the close.
fn up_to(step: Step) -> Vec<Step> {
    let mut steps: Vec<_> = STEPS.into_iter().take_while(|before| *before != step).collect();
    steps.push(step);
    if step != Step::Close {
        steps.push(Step::Close);
    }
    steps
}

fn an_error_in_each_step_is_followed_by_the_close() -> Outcome {
    for step in STEPS {
        let mut program = Program::with(step, Mishap::Error);
        // What goes wrong later isn't what is told.
        program.mishaps.push((Step::Close, Mishap::Error));
        let error = program.run().unwrap_err();
        assert!(matches!(error, Error::In(first) if first == step), "{error}");
        assert_eq!(program.done, up_to(step));
        program.mishaps = vec![(step, Mishap::Error), (Step::Close, Mishap::Panic)];
        program.done.clear();
        if step != Step::Close {
            program.events = 0;
            assert!(matches!(program.run().unwrap_err(), Error::In(first) if first == step));
        }
    }
    Passed
}

fn a_panic_in_each_step_is_followed_by_the_close() -> Outcome {
    for step in STEPS {
        let mut program = Program::with(step, Mishap::Panic);
        program.mishaps.push((Step::Close, Mishap::Error));
        let payload = catch_unwind(AssertUnwindSafe(|| program.run())).unwrap_err();
        assert_eq!(*payload.downcast::<String>().unwrap(), format!("in {step:?}"));
        assert_eq!(program.done, up_to(step));
    }
    // Signals do what they did.
    let child = start_child(|| raise(NixSignal::SIGTERM).unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM));
    Passed
}

fn a_signal_during_the_starts_ends_the_program_in_order() -> Outcome {
    for step in [Step::Processes, Step::Threads] {
        let mut program = Program::with(step, Mishap::Signal);
        program.stops_after = 0;
        program.run().unwrap();
        assert_eq!(program.done, [Step::Processes, Step::Threads, Step::Close], "no event was handled");
    }
    // Later, it is at most the events that were there.
    let mut program = Program::with(Step::Handle, Mishap::Signal);
    program.stops_after = 0;
    program.run().unwrap();
    assert_eq!(program.done.last(), Some(&Step::Close));
    Passed
}

fn a_signal_during_the_close_does_not_cut_it_short() -> Outcome {
    let child = start_child(|| {
        let mut program = Program::with(Step::Close, Mishap::Signal);
        program.run().unwrap();
        assert_eq!(program.done, STEPS);
        // From here on it does what it does.
        raise(NixSignal::SIGTERM).unwrap();
    });
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM));
    Passed
}

/// Takes the signals as events.
#[derive(Default)]
struct SeesToSignals(Vec<Signal>);

impl MainContext for SeesToSignals {
    type Event = Signal;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn start_processes(&mut self, main_loop: &mut MainLoop<Signal>) -> Result<(), Self::Error> {
        main_loop.signals(&[Signal::HUP, Signal::TERM], |signal| signal)?;
        raise(NixSignal::SIGHUP)?;
        Ok(())
    }

    fn handle(&mut self, main_loop: &mut MainLoop<Signal>, signal: Signal) -> Result<(), Self::Error> {
        self.0.push(signal);
        match signal {
            Signal::HUP => raise(NixSignal::SIGTERM)?,
            _ => main_loop.stop(),
        }
        Ok(())
    }

    fn stop_signals(&self) -> &'static [Signal] {
        &[]
    }
}

fn a_program_may_see_to_signals_itself() -> Outcome {
    let mut program = SeesToSignals::default();
    program.run().unwrap();
    assert_eq!(program.0, [Signal::HUP, Signal::TERM]);
    let program = SeesToSignals::default().run_as_thread().unwrap();
    assert!(proc::eventually(|| program.is_finished()));
    assert_eq!(program.stop_thread().unwrap().0, [Signal::HUP, Signal::TERM]);
    Passed
}

fn a_program_in_a_thread_forks_before_and_is_given_back() -> Outcome {
    for stops_after in [0, 3] {
        let running = Program { stops_after, ..Program::default() }.run_as_thread().unwrap();
        if stops_after == 3 {
            assert!(proc::eventually(|| running.is_finished()));
        } else {
            std::thread::sleep(Duration::from_millis(10));
            assert!(!running.is_finished());
        }
        let mut program = running.stop_thread().unwrap();
        assert_eq!(program.done.first(), Some(&Step::Processes));
        assert_eq!(program.done.iter().filter(|step| **step == Step::Close).count(), 1);
        assert_eq!(program.done.last(), Some(&Step::Close));
        // It is as good as before.
        program.done.clear();
        program.stops_after = program.events + 1;
        program.run().unwrap();
        assert_eq!(program.done, STEPS);
    }
    Passed
}

fn a_program_in_a_thread_that_fails_is_given_back_closed() -> Outcome {
    for step in [Step::Handle, Step::Close] {
        let error = Program::with(step, Mishap::Error).run_as_thread().unwrap().stop_when_over();
        assert!(matches!(&error, ThreadError::Failed { error: Error::In(at), .. } if *at == step), "{error}");
        assert_eq!(error.into_context().done, STEPS);
        let error = Program::with(step, Mishap::Panic).run_as_thread().unwrap().stop_when_over();
        assert!(matches!(&error, ThreadError::Panicked { .. }), "{error}");
        assert!(error.to_string().contains(&format!("in {step:?}")), "{error}");
        assert_eq!(error.into_context().done, STEPS);
    }
    Passed
}

trait StopWhenOver {
    fn stop_when_over(self) -> ThreadError<Program>;
}

impl StopWhenOver for valkka_multiprocess::RunningContext<Program> {
    fn stop_when_over(self) -> ThreadError<Program> {
        assert!(proc::eventually(|| self.is_finished()));
        match self.stop_thread() {
            Ok(_) => panic!("it hasn't failed"),
            Err(error) => error,
        }
    }
}

/// Tells by a channel what it has done, since it doesn't come back.
struct Telling(Program, std::sync::mpsc::Sender<Vec<Step>>);

impl MainContext for Telling {
    type Event = ();
    type Error = Error;

    fn start_processes(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Error> {
        self.0.start_processes(main_loop)
    }

    fn start_threads(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Error> {
        self.0.start_threads(main_loop)
    }

    fn handle(&mut self, main_loop: &mut MainLoop<()>, event: ()) -> Result<(), Error> {
        self.0.handle(main_loop, event)
    }

    fn close(&mut self) -> Result<(), Error> {
        let closed = self.0.close();
        self.1.send(self.0.done.clone()).unwrap();
        closed
    }
}

fn a_program_in_a_thread_that_fails_to_start_is_closed() -> Outcome {
    for step in [Step::Processes, Step::Threads] {
        let (tell, told) = std::sync::mpsc::channel();
        let error = Telling(Program::with(step, Mishap::Error), tell.clone()).run_as_thread().unwrap_err();
        assert!(matches!(error, Error::In(at) if at == step), "{error}");
        let program = Telling(Program::with(step, Mishap::Panic), tell);
        catch_unwind(AssertUnwindSafe(|| program.run_as_thread())).unwrap_err();
        for done in told {
            assert_eq!(done, up_to(step));
        }
    }
    Passed
}

fn a_dropped_program_in_a_thread_is_closed() -> Outcome {
    for mishaps in [vec![], vec![(Step::Handle, Mishap::Panic)], vec![(Step::Close, Mishap::Error)]] {
        let (tell, told) = std::sync::mpsc::channel();
        let program = Program { mishaps, stops_after: 0, ..Program::default() };
        drop(Telling(program, tell).run_as_thread().unwrap());
        assert_eq!(told.recv().unwrap().last(), Some(&Step::Close));
    }
    Passed
}

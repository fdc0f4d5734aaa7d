//! Runtimes on both sides of a start.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    AsyncBackMessageProcess, AsyncBackend, AsyncContext, Backend, Context, EventSender, MessageProcess,
    ProcessError, RemoteError, Reply, Zygote, init,
};

use crate::probe::{Command, Made, Probe, block_on, spread, started};

#[test]
fn a_fork_inside_of_a_runtime_is_refused() {
    block_on(async {
        let process = AsyncBackMessageProcess::new("forked", Probe::default());
        let error = process.start().unwrap_err();
        assert!(matches!(error, ProcessError::InsideRuntime { .. }), "{error}");
        assert!(error.to_string().contains("launch_in(&Zygote::global())"), "{error}");
        let error = MessageProcess::new("forked", Doubler).start().unwrap_err();
        assert!(matches!(error, ProcessError::InsideRuntime { .. }), "{error}");
        let error = MessageProcess::new("forked", Doubler).launch_from_template().unwrap_err();
        assert!(matches!(error, ProcessError::InsideRuntime { .. }), "{error}");
    });
}

#[test]
fn fault_05_the_programs_signals_are_all_counted_beside_back_ends_with_runtimes() {
    spread(async {
        let kind = tokio::signal::unix::SignalKind::from_raw(nix::sys::signal::Signal::SIGUSR2 as i32);
        let mut signals = tokio::signal::unix::signal(kind).unwrap();
        let me = nix::unistd::Pid::this();
        let mut seen = 0;
        for round in 0..20 {
            let process = started(if round % 2 == 0 { Made::Well } else { Made::Spread });
            for _ in 0..10 {
                nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGUSR2).unwrap();
                let number = seen;
                let square = process.request_async(|reply| Command::Square { number, reply }).await;
                assert_eq!(square.unwrap(), number * number);
                let signal = tokio::time::timeout(Duration::from_secs(20), signals.recv()).await;
                signal.expect("a signal was lost").unwrap();
                seen += 1;
            }
            process.stop_async().await.unwrap();
        }
        assert_eq!(seen, 200);
    });
}

/// A back end that needs no runtime.
#[derive(Serialize, Deserialize)]
struct Doubler;

#[derive(Serialize, Deserialize)]
struct Double {
    number: u64,
    reply: Reply<u64>,
}

impl Backend for Doubler {
    type Command = Double;
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, double: Double) -> Result<(), RemoteError> {
        double.reply.send(&(double.number * 2))?;
        Ok(())
    }
}

/// A back end of tasks that has one of the other kind.
#[derive(Serialize, Deserialize, Default)]
struct Owner {
    #[serde(skip)]
    doubler: Option<MessageProcess<Doubler>>,
}

impl AsyncBackend for Owner {
    type Command = Double;
    type Event = u32;

    fn pre_run(&mut self, events: &EventSender<u32>) -> Result<(), RemoteError> {
        init()?;
        let doubler = MessageProcess::new("doubler", Doubler).launch_in(&Zygote::global());
        doubler.start()?;
        events.send(&doubler.pid().unwrap_or_default())?;
        self.doubler = Some(doubler);
        Ok(())
    }

    async fn handle(&mut self, cx: &AsyncContext<Self>, double: Double) -> Result<(), RemoteError> {
        let doubler = self.doubler.as_ref().ok_or(RemoteError::msg("it isn't there"))?.front().clone();
        cx.spawn(async move {
            let number = double.number;
            let doubled = doubler.request_async(|reply| Double { number, reply }).await?;
            double.reply.send_async(&doubled).await?;
            Ok(())
        });
        Ok(())
    }

    async fn async_post(&mut self, _: &AsyncContext<Self>) -> Result<(), RemoteError> {
        if let Some(doubler) = self.doubler.take() {
            doubler.stop_async().await?;
        }
        Ok(())
    }
}

#[test]
fn a_back_end_of_tasks_has_processes_of_its_own() {
    block_on(async {
        let owner = AsyncBackMessageProcess::new("owner", Owner::default()).launch_in(&Zygote::global());
        owner.start().unwrap();
        let doubler = owner.recv_async().await.unwrap();
        assert!(std::path::Path::new(&format!("/proc/{doubler}")).exists());
        for number in 0..100 {
            assert_eq!(owner.request_async(|reply| Double { number, reply }).await.unwrap(), number * 2);
        }
        assert!(owner.stop_async().await.unwrap().status.success());
        assert!(!std::path::Path::new(&format!("/proc/{doubler}")).exists());
    });
}

#[test]
fn a_runtime_of_several_threads_serves() {
    block_on(async {
        let process = started(Made::Spread);
        for number in 0..100 {
            let square = |reply| Command::SquareInTask { number, milliseconds: number % 2, reply };
            assert_eq!(process.request_async(square).await.unwrap(), number * number);
        }
        let pid = process.request_async(|reply| Command::Pid { reply }).await.unwrap();
        assert_eq!(process.pid(), Some(pid));
        process.stop_async().await.unwrap();
    });
}

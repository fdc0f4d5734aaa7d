//! iceoryx2's request-response. It isn't made for forks, so each process has a node of its own, made
//! after the fork. It leaves a small file in /dev/shm and empty folders in /tmp/iceoryx2.

use iceoryx2::active_request::ActiveRequest;
use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::client::Client;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::server::Server;
use iceoryx2::prelude::*;
use nix::unistd::pipe;

use crate::kernel::{read_whole, write_whole};
use crate::measure::Setting;

type Message = [u64; 2];
type Request = ActiveRequest<ipc::Service, Message, (), Message, ()>;
type Answer = PendingResponse<ipc::Service, Message, (), Message, ()>;

/// Ends the process that answers.
const STOP: Message = [u64::MAX; 2];

/// Waits by looking again and again. It yields in between, which helps it where there is one core.
pub(crate) fn busy_poll(setting: Setting) -> f64 {
    round_trip(setting, false)
}

/// Waits for an event, which the sender of a message notifies.
pub(crate) fn events(setting: Setting) -> f64 {
    round_trip(setting, true)
}

/// One process's part of the service.
struct Side {
    node: Node<ipc::Service>,
    /// Where events are used: whom this process notifies, and what it waits for.
    events: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
}

impl Side {
    fn new(pid: u32, notifies: &str, waits_for: &str, with_events: bool) -> Side {
        set_log_level(LogLevel::Error);
        // The signals of a benchmark are to kill it.
        let node = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled);
        let node = node.create::<ipc::Service>().unwrap();
        let event = |name: &str| {
            let name = format!("multiprocess/peers/{pid}/{name}");
            node.service_builder(&name.as_str().try_into().unwrap()).event().open_or_create().unwrap()
        };
        let events = with_events.then(|| {
            let notifier = event(notifies).notifier_builder().create().unwrap();
            (notifier, event(waits_for).listener_builder().create().unwrap())
        });
        Side { node, events }
    }

    fn server(&self, pid: u32) -> Server<ipc::Service, Message, (), Message, ()> {
        self.service(pid).server_builder().create().unwrap()
    }

    fn client(&self, pid: u32) -> Client<ipc::Service, Message, (), Message, ()> {
        self.service(pid).client_builder().create().unwrap()
    }

    fn service(
        &self,
        pid: u32,
    ) -> iceoryx2::service::port_factory::request_response::PortFactory<ipc::Service, Message, (), Message, ()>
    {
        let name = format!("multiprocess/peers/{pid}");
        let builder = self.node.service_builder(&name.as_str().try_into().unwrap());
        builder.request_response::<Message, Message>().open_or_create().unwrap()
    }

    fn notify(&self) {
        if let Some((notifier, _)) = &self.events {
            notifier.notify().unwrap();
        }
    }

    /// Until there is one.
    fn wait<T>(&self, mut receive: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(received) = receive() {
                return received;
            }
            match &self.events {
                Some((_, listener)) => drop(listener.blocking_wait(|_| {}).unwrap()),
                None => std::thread::yield_now(),
            }
        }
    }
}

fn round_trip(setting: Setting, with_events: bool) -> f64 {
    let pid = std::process::id();
    let (ready, tell) = pipe().unwrap();
    let other = setting.fork(|| {
        let side = Side::new(pid, "back", "there", with_events);
        let server = side.server(pid);
        write_whole(&tell, &[1]);
        loop {
            let request: Request = side.wait(|| server.receive().unwrap());
            if *request == STOP {
                return;
            }
            request.send_copy(*request).unwrap();
            side.notify();
        }
    });
    drop(tell);
    read_whole(&ready, &mut [0]);
    let side = Side::new(pid, "there", "back", with_events);
    let client = side.client(pid);
    let ask = |message: Message| -> Answer {
        let answer = client.send_copy(message).unwrap();
        side.notify();
        answer
    };
    let mut number = 0;
    let figure = setting.time_of(|| {
        number += 1;
        let answer = ask([number, 1]);
        assert_eq!(*side.wait(|| answer.receive().unwrap()), [number, 1]);
    });
    // It clears up what it has in /dev/shm, which it can't when it is killed.
    let last = ask(STOP);
    other.wait();
    drop(last);
    figure
}

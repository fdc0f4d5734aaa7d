//! Message processes whose back end is a tokio runtime.

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    AsyncBackMessageProcess, AsyncBackend, AsyncContext, EventSender, RemoteError, Reply,
};

use crate::case::{Better, Bound, Case, Contender};
use crate::kernel;
use crate::measure::Setting;
use crate::place::Place;
use crate::support::pin;

const PING: &str = "AsyncBackMessageProcess: a command, an event";
const PYTHON: &str = "valkka AsyncBackMessageProcess ping-pong (Python)";

pub(crate) const CASE: Case = Case {
    name: "async_message",
    task: "a ping to a back end of tasks, and its pong",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(PING, ping),
        Contender::peer("AsyncBackMessageProcess: a request, its reply", request),
        Contender::peer("AsyncBackMessageProcess: a request, a task's reply", request_of_task),
        Contender::peer("pipe pair", kernel::pipe_round_trip),
        Contender::python(PYTHON, "valkka_async_messages", "ping"),
    ],
    bounds: &[Bound::ratio(PING, PYTHON, 1.0 / 4.0)],
};

#[derive(Serialize, Deserialize)]
enum Command {
    Ping(i64),
    Next { number: i64, reply: Reply<i64> },
    NextInTask { number: i64, reply: Reply<i64> },
}

#[derive(Serialize, Deserialize)]
enum Event {
    Pong(i64),
}

struct Player {
    core: Option<usize>,
}

impl AsyncBackend for Player {
    type Command = Command;
    type Event = Event;

    fn pre_run(&mut self, _: &EventSender<Event>) -> Result<(), RemoteError> {
        self.core.into_iter().for_each(pin);
        Ok(())
    }

    async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Ping(number) => cx.send_out(&Event::Pong(number + 1)).await?,
            Command::Next { number, reply } => reply.send_async(&(number + 1)).await?,
            Command::NextInTask { number, reply } => {
                cx.spawn(async move { Ok(reply.send_async(&(number + 1)).await?) });
            }
        }
        Ok(())
    }
}

fn player(setting: Setting) -> AsyncBackMessageProcess<Player> {
    let player = AsyncBackMessageProcess::new("player", Player { core: setting.place.second_core() });
    player.start().unwrap();
    player
}

fn ping(setting: Setting) -> f64 {
    let player = player(setting);
    setting.time_of(|| {
        player.send(&Command::Ping(7)).unwrap();
        let Event::Pong(number) = player.recv().unwrap();
        assert_eq!(number, 8);
    })
}

fn request(setting: Setting) -> f64 {
    let player = player(setting);
    setting.time_of(|| {
        assert_eq!(player.request(|reply| Command::Next { number: 7, reply }).unwrap(), 8);
    })
}

fn request_of_task(setting: Setting) -> f64 {
    let player = player(setting);
    setting.time_of(|| {
        assert_eq!(player.request(|reply| Command::NextInTask { number: 7, reply }).unwrap(), 8);
    })
}

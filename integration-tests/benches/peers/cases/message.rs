//! Message processes.

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::case::{Better, Bound, Case, Contender};
use crate::kernel;
use crate::measure::Setting;
use crate::place::Place;
use crate::support::pin;

const PING: &str = "MessageProcess: a command, an event";
const SPIN: &str = "shared memory, spin, then futex";
const PYTHON: &str = "valkka MessageProcess ping-pong (Python)";

pub(crate) const CASE: Case = Case {
    name: "message_process",
    task: "a ping to the back end, and its pong",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(PING, ping),
        Contender::limit(SPIN, kernel::shared_memory_spin),
        Contender::peer("MessageProcess: a request, its reply", request),
        Contender::peer("pipe pair", kernel::pipe_round_trip),
        Contender::python(PYTHON, "valkka_messages", "ping"),
    ],
    bounds: &[Bound::ratio(PING, SPIN, 2.0), Bound::ratio(PING, PYTHON, 1.0 / 6.0)],
};

#[derive(Serialize, Deserialize)]
enum Command {
    Ping(i64),
    Next { number: i64, reply: Reply<i64> },
}

#[derive(Serialize, Deserialize)]
enum Event {
    Pong(i64),
}

struct Player {
    core: Option<usize>,
}

impl Backend for Player {
    type Command = Command;
    type Event = Event;

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        self.core.into_iter().for_each(pin);
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Ping(number) => cx.send_out(&Event::Pong(number + 1))?,
            Command::Next { number, reply } => reply.send(&(number + 1))?,
        }
        Ok(())
    }
}

fn player(setting: Setting) -> MessageProcess<Player> {
    let player = MessageProcess::new("player", Player { core: setting.place.second_core() });
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

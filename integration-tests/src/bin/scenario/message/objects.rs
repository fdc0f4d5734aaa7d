//! Messages with named parameters, and what becomes of those that can't be handled.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::process::Zygote;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use valkka_multiprocess::{
    Backend, Cause, Context, During, Execution, Failure, MessageObject, MessageProcess, Policy, ProcessError,
    RemoteError, Reply, Router, Value, message,
};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios![
    messages_are_routed_by_each_way_of_starting,
    messages_that_cannot_be_handled_are_told_and_hurt_nothing,
    requests_that_cannot_be_handled_are_told_to_whoever_asked,
    messages_that_cannot_be_sent_are_errors_of_their_sender,
    fault_43_garbage_for_parameters,
    replies_are_parameters_of_messages,
    what_a_handler_fails_with_is_up_to_the_policy,
];

/// Counts how often its handlers were called, and dies of any failure that it is asked about.
#[derive(Serialize, Deserialize, Default)]
struct Player {
    handled: u64,
}

#[derive(Deserialize)]
struct Ping {
    #[serde(default)]
    lis: Vec<i32>,
    volume: Option<u8>,
}

#[derive(Deserialize)]
struct Square {
    n: i32,
    reply: Reply<i64>,
}

#[derive(Deserialize)]
struct Maybe {
    reply: Option<Reply<u64>>,
}

#[derive(Deserialize)]
struct Nested {
    options: BTreeMap<String, Reply<u64>>,
}

type Done = Result<(), RemoteError>;

impl Player {
    fn ping(&mut self, cx: &mut Context<Self>, ping: Ping) -> Done {
        self.handled += 1;
        Ok(cx.send_out(&message!("pong", lis = ping.lis, volume = ping.volume, handled = self.handled))?)
    }

    fn square(&mut self, _: &mut Context<Self>, square: Square) -> Done {
        self.handled += 1;
        Ok(square.reply.send(&i64::from(square.n).pow(2))?)
    }

    fn maybe(&mut self, _: &mut Context<Self>, maybe: Maybe) -> Done {
        self.handled += 1;
        Ok(maybe.reply.map_or(Ok(()), |reply| reply.send(&self.handled))?)
    }

    fn nested(&mut self, _: &mut Context<Self>, mut nested: Nested) -> Done {
        let reply = nested.options.remove("reply").ok_or(RemoteError::msg("no reply"))?;
        Ok(reply.send(&1)?)
    }

    fn drop_it(&mut self, _: &mut Context<Self>, square: Square) -> Done {
        drop(square.reply);
        Ok(())
    }

    fn fail(&mut self, _: &mut Context<Self>, (): ()) -> Done {
        Err(RemoteError::msg("it has failed"))
    }

    fn panic(&mut self, _: &mut Context<Self>, (): ()) -> Done {
        panic!("it has panicked")
    }
}

static ROUTES: LazyLock<Router<Player>> = LazyLock::new(|| {
    Router::new()
        .on("ping", Player::ping)
        .on("square", Player::square)
        .on("maybe", Player::maybe)
        .on("nested", Player::nested)
        .on("drop", Player::drop_it)
        .on("fail", Player::fail)
        .on("panic", Player::panic)
});

impl Backend for Player {
    type Command = MessageObject;
    type Event = MessageObject;

    fn handle(&mut self, cx: &mut Context<Self>, message: MessageObject) -> Done {
        ROUTES.route(self, cx, message)
    }

    fn policy(&mut self, _: &Failure) -> Policy {
        Policy::Die
    }
}

fn started() -> MessageProcess<Player> {
    let process = MessageProcess::new("player", Player::default());
    process.start().unwrap();
    process
}

/// The next that comes is this failure.
fn failure(process: &MessageProcess<Player>) -> Failure {
    match process.recv().unwrap_err() {
        ProcessError::Failed(failure) => *failure,
        error => panic!("{error}"),
    }
}

fn text(failure: &Failure) -> String {
    match &failure.cause {
        Cause::Error(error) => error.to_string(),
        Cause::Panicked(report) => report.to_string(),
    }
}

fn messages_are_routed_by_each_way_of_starting() -> Outcome {
    let way = |made: fn(MessageProcess<Player>, &Zygote) -> MessageProcess<Player>| {
        made(MessageProcess::new("player", Player::default()), &zygote())
    };
    let ways = [
        way(|process, _| process),
        way(|process, _| process.launch_from_template().unwrap()),
        way(|process, zygote| process.launch_in(zygote)),
    ];
    for process in ways {
        process.start().unwrap();
        process.send(&message!("ping", volume = 255, lis = [1, -2])).unwrap();
        process.send(&message!("ping")).unwrap();
        let pong = process.recv().unwrap();
        assert_eq!(pong, message!("pong", lis = [1, -2], volume = 255, handled = 1));
        assert_eq!(process.recv().unwrap()["volume"], Value::Nil);
        let square: i64 = process.request(|reply| message!("square", n = -7, reply = reply)).unwrap();
        assert_eq!(square, 49);
        assert!(process.stop().unwrap().status.success());
    }
    Passed
}

/// What can't be handled, and what is said of it.
fn bad_messages() -> Vec<(MessageObject, &'static str)> {
    let deep = (0..127).fold(Value::Nil, |inner, _| Value::List(vec![inner]));
    vec![
        (message!("pnig"), "there is no command 'pnig': there are 'ping',"),
        (message!(""), "there is no command '': there are 'drop',"),
        (MessageObject::new("x\n".repeat(1 << 20)), "there is no command 'x\\nx\\n"),
        (message!("ping", list = [1]), "there is no parameter 'list': there are 'lis', 'volume'"),
        (message!("fail", now = true), "there is no parameter 'now': there are none"),
        (message!("square", n = 1), "the parameter 'reply' is missing"),
        (message!("ping", lis = "text"), "the parameter 'lis' must be a sequence, and is string \"text\""),
        (message!("ping", lis = [1.5]), "the parameter 'lis'[0] must be i32, and is floating point `1.5`"),
        (message!("ping", lis = [1u64 << 40]), "the parameter 'lis'[0] must be i32, and is integer"),
        (message!("ping", volume = 300), "the parameter 'volume' must be u8, and is integer `300`"),
        (message!("ping", volume = -1), "the parameter 'volume' must be u8, and is integer `-1`"),
        (message!("ping", volume = deep), "the parameter 'volume' must be u8, and is sequence"),
        (
            message!("ping", volume = "9".repeat(1 << 20)),
            "the parameter 'volume' must be u8, and is string \"999",
        ),
    ]
}

fn messages_that_cannot_be_handled_are_told_and_hurt_nothing() -> Outcome {
    let process = started();
    let mut handled = 0;
    for (bad, expected) in bad_messages() {
        let number = process.send(&bad).unwrap();
        let failure = failure(&process);
        assert!(text(&failure).contains(expected), "{failure}");
        assert!(failure.to_string().len() < 600 && !failure.to_string().contains('\n'), "{failure}");
        assert!(matches!(failure.during, During::Command { number: told, .. } if told == number));
        handled += 1;
        process.send(&message!("ping", lis = [1])).unwrap();
        assert_eq!(process.recv().unwrap()["handled"], handled);
    }
    assert!(process.stop().unwrap().status.success());
    Passed
}

fn requests_that_cannot_be_handled_are_told_to_whoever_asked() -> Outcome {
    let process = started();
    for (bad, expected) in bad_messages().into_iter().filter(|(bad, _)| bad.command() != "square") {
        // The message has a reply that its handler doesn't take; but what is wrong first is told first.
        match process.request::<i64>(|reply| bad.with("reply", reply)).unwrap_err() {
            ProcessError::Failed(failure) => assert!(text(&failure).contains(expected), "{failure}"),
            error => panic!("{error}"),
        }
    }
    let wrong =
        process.request::<i64>(|reply| message!("square", n = 1u64 << 40, reply = reply)).unwrap_err();
    assert!(wrong.to_string().contains("the parameter 'n' must be i32"), "{wrong}");
    let good = process.request::<i64>(|reply| message!("square", n = 3, reply = reply)).unwrap();
    assert_eq!(good, 9);
    // Nobody else was told.
    assert!(process.try_recv().unwrap().is_none());
    assert!(process.stop().unwrap().status.success());
    Passed
}

fn messages_that_cannot_be_sent_are_errors_of_their_sender() -> Outcome {
    let process = started();
    for bad in [message!("ping", lis = Some(())), message!("ping", lis = 1u128 << 64)] {
        let error = process.send(&bad).unwrap_err();
        assert!(matches!(error, ProcessError::Message { execution: Some(Execution::NotRun), .. }), "{error}");
        assert!(error.to_string().contains("the parameter 'lis' can't be sent"), "{error}");
    }
    process.send(&message!("ping")).unwrap();
    assert_eq!(process.recv().unwrap()["handled"], 1);
    process.stop().unwrap();
    Passed
}

/// A message whose parameters are any bytes.
enum Garbage {
    /// As it is sent.
    Bytes(Vec<u8>),
    /// As it is read: only in the back end as a message.
    Message(MessageObject),
}

static IN_BACK_END: AtomicBool = AtomicBool::new(false);

impl Serialize for Garbage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Garbage::Bytes(bytes) => ("ping", bytes).serialize(serializer),
            Garbage::Message(message) => message.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Garbage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Garbage, D::Error> {
        if IN_BACK_END.load(Ordering::Relaxed) {
            return Ok(Garbage::Message(MessageObject::deserialize(deserializer)?));
        }
        // A connection of a debug build reads what it sends.
        Ok(Garbage::Bytes(<(String, Vec<u8>)>::deserialize(deserializer)?.1))
    }
}

/// Tells how many parameters a message has.
struct Reader;

impl Backend for Reader {
    type Command = Garbage;
    type Event = usize;

    fn pre_run(&mut self, _: &mut Context<Self>) -> Done {
        IN_BACK_END.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, garbage: Garbage) -> Done {
        let Garbage::Message(message) = garbage else { return Err(RemoteError::msg("no message")) };
        Ok(cx.send_out(&message.len())?)
    }

    fn policy(&mut self, _: &Failure) -> Policy {
        Policy::Die
    }
}

fn fault_43_garbage_for_parameters() -> Outcome {
    let process = MessageProcess::new("reader", Reader);
    process.start().unwrap();
    let garbage: [(Vec<u8>, &str); 8] = [
        (b"\xdf\xff\xff\xff\xff".to_vec(), "the parameters of 'ping'"),
        (b"\x81\xa1p\xdd\xff\xff\xff\xff".to_vec(), "the parameters of 'ping'"),
        (b"\x81\xa1p\xdb\xff\xff\xff\xffabc".to_vec(), "the parameters of 'ping'"),
        ([b"\x81\xa1p".to_vec(), b"\x91".repeat(1 << 20)].concat(), "more than 128 levels deep"),
        (b"\x82\xa1p\x01\xa1p\x02".to_vec(), "'p' occurs twice"),
        (b"\x81\x01\x02".to_vec(), "expected a string"),
        (b"\x80\x80".to_vec(), "1 bytes are left over"),
        (Vec::new(), "the parameters of 'ping'"),
    ];
    for (bytes, expected) in garbage {
        process.send(&Garbage::Bytes(bytes)).unwrap();
        let error = process.recv().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        process.send(&Garbage::Bytes(b"\x81\xa1p\x01".to_vec())).unwrap();
        assert_eq!(process.recv().unwrap(), 1);
    }
    assert!(process.stop().unwrap().status.success());
    Passed
}

fn replies_are_parameters_of_messages() -> Outcome {
    let process = started();
    // With and without somebody who asks.
    process.send(&message!("maybe")).unwrap();
    assert_eq!(process.request::<u64>(|reply| message!("maybe", reply = reply)).unwrap(), 2);
    // Deep in a parameter.
    let nested = |reply| message!("nested", options = BTreeMap::from([("reply", reply)]));
    assert_eq!(process.request::<u64>(nested).unwrap(), 1);
    // One that is dropped.
    let dropped = process.request::<i64>(|reply| message!("drop", n = 1, reply = reply)).unwrap_err();
    assert!(matches!(dropped, ProcessError::Unanswered), "{dropped}");
    // One that was asked for by other means than a request answers nobody.
    let old = std::sync::Mutex::new(None);
    let asked = process.request_timeout::<i64>(Duration::from_secs(60), |reply| {
        let message = message!("square", n = 2, reply = reply);
        *old.lock().unwrap() = Some(message.clone());
        message
    });
    assert_eq!(asked.unwrap(), 4);
    process.send(old.lock().unwrap().as_ref().unwrap()).unwrap();
    process.send(&message!("ping")).unwrap();
    assert_eq!(process.recv().unwrap()["handled"], 5);
    process.stop().unwrap();
    Passed
}

fn what_a_handler_fails_with_is_up_to_the_policy() -> Outcome {
    for (command, expected) in [("fail", "it has failed"), ("panic", "it has panicked")] {
        let process = started();
        process.send(&MessageObject::new(command)).unwrap();
        let failure = failure(&process);
        assert!(text(&failure).contains(expected), "{failure}");
        assert!(matches!(&failure.during, During::Command { name, .. } if name == command));
        let ended = process.wait_stop().unwrap();
        assert_eq!(ended.failure, Some(failure));
    }
    Passed
}

//! Parameters of messages whose types, or whose senders, mean no good.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer};
use valkka_multiprocess::{
    Backend, Cause, Context, MessageObject, MessageProcess, ProcessError, RemoteError, Reply, Router, message,
};

use crate::Outcome::{self, Passed};

scenarios![a_type_that_panics_while_it_is_read_leaves_nobody_waiting];

/// Goes on after every failure.
struct Reads;

/// Can't be read.
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Panics, D::Error> {
        panic!("not like this")
    }
}

#[derive(Deserialize)]
struct BeforeReply {
    #[expect(dead_code, reason = "it is never read")]
    a: Panics,
    #[expect(dead_code, reason = "it is never read")]
    reply: Reply<u8>,
}

#[derive(Deserialize)]
struct Fine {
    reply: Reply<u8>,
}

static ROUTES: LazyLock<Router<Reads>> = LazyLock::new(|| {
    Router::new()
        .on("panics", |_: &mut Reads, _, _: BeforeReply| Ok(()))
        .on("fine", |_, _, fine: Fine| Ok(fine.reply.send(&7)?))
});

impl Backend for Reads {
    type Command = MessageObject;
    type Event = ();

    fn handle(&mut self, cx: &mut Context<Self>, message: MessageObject) -> Result<(), RemoteError> {
        ROUTES.route(self, cx, message)
    }
}

fn a_type_that_panics_while_it_is_read_leaves_nobody_waiting() -> Outcome {
    let process = MessageProcess::new("reads", Reads);
    process.start().unwrap();
    for _ in 0..3 {
        // Were its reply kept somewhere, this would wait for ever.
        let asked = process.request::<u8>(|reply| message!("panics", a = 1, reply = reply));
        let error = asked.unwrap_err();
        let ProcessError::Failed(failure) = &error else { panic!("{error}") };
        assert!(matches!(&failure.cause, Cause::Panicked(_)), "{failure}");
        assert_eq!(process.request::<u8>(|reply| message!("fine", reply = reply)).unwrap(), 7);
    }
    process.stop().unwrap();
    Passed
}

//! Messages to their handlers, in a back end.

use std::fmt;

use common_ipc::RemoteError;
use serde::de::DeserializeOwned;

use super::error::RouteError;
use super::message_object::MessageObject;
use super::routes::{Routes, parameters};
use crate::message_process::{Backend, Context};

/// What hands each [`MessageObject`] to the handler of its command.
///
/// A handler is a method (or a closure) that takes the parameters as one value of a serde type: a struct with a field for
/// each, `()` if there are none, or a `BTreeMap<String, Value>` for whatever there is. A field is optional if it is an
/// `Option`, or has `#[serde(default)]`.
///
/// ```
/// use std::sync::LazyLock;
///
/// use serde::Deserialize;
/// use valkka_multiprocess::{
///     Backend, Context, Incoming, MessageObject, MessageProcess, RemoteError, Reply, Router, message,
/// };
///
/// struct Player;
///
/// #[derive(Deserialize)]
/// struct Ping {
///     #[serde(default)]
///     lis: Vec<i32>,
/// }
///
/// #[derive(Deserialize)]
/// struct Square {
///     n: i32,
///     reply: Reply<i64>,
/// }
///
/// impl Player {
///     fn ping(&mut self, cx: &mut Context<Self>, ping: Ping) -> Result<(), RemoteError> {
///         cx.send_out(&message!("pong", lis = ping.lis))?;
///         Ok(())
///     }
///
///     fn square(&mut self, _: &mut Context<Self>, square: Square) -> Result<(), RemoteError> {
///         square.reply.send(&i64::from(square.n).pow(2))?;
///         Ok(())
///     }
/// }
///
/// static ROUTES: LazyLock<Router<Player>> =
///     LazyLock::new(|| Router::new().on("ping", Player::ping).on("square", Player::square));
///
/// impl Backend for Player {
///     type Command = MessageObject;
///     type Event = MessageObject;
///
///     fn handle(&mut self, cx: &mut Context<Self>, message: MessageObject) -> Result<(), RemoteError> {
///         ROUTES.route(self, cx, message)
///     }
/// }
///
/// let process = MessageProcess::new("my-process", Player);
/// process.start()?;
/// process.send(&message!("ping", lis = [1, 2, 3]))?;
/// assert_eq!(process.recv()?, message!("pong", lis = [1, 2, 3]));
/// let square: i64 = process.request(|reply| message!("square", n = 7, reply = reply))?;
/// assert_eq!(square, 49);
///
/// // What can't be handled is told, and hurts nothing.
/// process.send(&message!("ping", lis = "some"))?;
/// let error = process.recv().unwrap_err();
/// assert!(error.to_string().contains("the parameter 'lis' must be a sequence, and is string \"some\""), "{error}");
/// process.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "routeMainPipe__")]
#[doc(alias = "c__ping")]
pub struct Router<B: Backend> {
    routes: Routes<Handler<B>>,
}

/// Reads the parameters, and then calls the handler.
type Handler<B> = Box<
    dyn Fn(&mut B, &mut Context<B>, MessageObject) -> Result<Result<(), RemoteError>, RouteError>
        + Send
        + Sync,
>;

impl<B: Backend> Router<B> {
    /// A router that knows no command.
    #[must_use]
    pub fn new() -> Router<B> {
        Router { routes: Routes::new() }
    }

    /// Has this handler called for messages of this command.
    ///
    /// # Panics
    ///
    /// If there is a handler for that command already: a mistake in the program, which shows at its first message. (For a
    /// test that shows it without one, `LazyLock::force(&ROUTES)`.)
    #[must_use]
    #[track_caller]
    pub fn on<P: DeserializeOwned>(
        mut self,
        command: &'static str,
        handler: impl Fn(&mut B, &mut Context<B>, P) -> Result<(), RemoteError> + Send + Sync + 'static,
    ) -> Router<B> {
        let handler: Handler<B> = Box::new(move |back, cx, message| {
            let parameters = parameters(&message)?;
            // What the message holds besides them isn't needed any more: its texts, and its share in a reply.
            drop(message);
            Ok(handler(back, cx, parameters))
        });
        self.routes.add(command, handler);
        self
    }

    /// Calls the handler of a message: for [`Backend::handle`].
    ///
    /// If there is none for its command, or it doesn't take these parameters (one is missing, one too many, of another kind
    /// or out of range: see [`RouteError`]), no handler is called. That is logged, and told: to whoever asked, if it was a
    /// [request](crate::FrontEnd::request), else to the front end as a [`Failure`](crate::Failure). It isn't an error of the
    /// back end: this returns `Ok`, and the [policy](Backend::policy) isn't asked.
    ///
    /// # Errors
    ///
    /// Those of the handler.
    pub fn route(
        &self,
        back: &mut B,
        cx: &mut Context<B>,
        message: MessageObject,
    ) -> Result<(), RemoteError> {
        let routed = match self.routes.find(&message) {
            Ok(handler) => handler(back, cx, message),
            Err(error) => Err(error),
        };
        match routed {
            Ok(handled) => handled,
            Err(error) => {
                cx.refuse(error);
                Ok(())
            }
        }
    }

    /// The commands that it knows, in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.routes.names()
    }
}

impl<B: Backend> Default for Router<B> {
    fn default() -> Router<B> {
        Router::new()
    }
}

impl<B: Backend> fmt::Debug for Router<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

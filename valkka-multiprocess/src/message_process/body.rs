//! What runs in the other process, whatever kind of back end it is.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message_process::back_loop;
use crate::message_process::backend::Backend;
use crate::message_process::failure::Done;
use crate::message_process::wire::BackEnds;

/// What a [`MessageProcess`](crate::MessageProcess) is the front of. The kind `K` is found by the trait that a type has:
/// nobody implements this, or names it.
pub trait Body<K>: Sized + 'static {
    /// What the front end sends.
    type Command: Serialize + DeserializeOwned;
    /// What the back end sends.
    type Event: Serialize + DeserializeOwned;

    /// All of its life, in its process.
    #[doc(hidden)]
    fn serve(self, ends: BackEnds) -> Done;
}

/// The kind of those whose methods block: [`Backend`].
#[derive(Debug)]
pub enum Blocking {}

impl<B: Backend> Body<Blocking> for B {
    type Command = B::Command;
    type Event = B::Event;

    fn serve(self, ends: BackEnds) -> Done {
        back_loop::serve(self, ends)
    }
}

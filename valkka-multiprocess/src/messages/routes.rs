//! Which handler a command belongs to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::RouteError;
use super::message_object::MessageObject;
use super::repr;

/// So much of a command is compared with the known ones, in characters: it may be as long as a message.
const COMPARED: usize = 64;

/// Handlers of whatever kind by their commands' names.
pub(super) struct Routes<H>(BTreeMap<&'static str, H>);

impl<H> Routes<H> {
    pub(super) fn new() -> Routes<H> {
        Routes(BTreeMap::new())
    }

    /// Adds a handler. Panics if there is one of that name.
    #[track_caller]
    pub(super) fn add(&mut self, command: &'static str, handler: H) {
        assert!(
            self.0.insert(command, handler).is_none(),
            "the command {} has two handlers",
            repr::name(command)
        );
    }

    /// The handler of a message.
    pub(super) fn find(&self, message: &MessageObject) -> Result<&H, RouteError> {
        self.0.get(message.command()).ok_or_else(|| self.unknown(message.command()))
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.0.keys().copied()
    }

    fn unknown(&self, command: &str) -> RouteError {
        let compared: String = command.chars().take(COMPARED).collect();
        let mut known: Vec<&'static str> = self.names().collect();
        known.sort_by_cached_key(|name| strsim::damerau_levenshtein(name, &compared));
        RouteError::UnknownCommand { command: command.to_owned(), known }
    }
}

/// The parameters that a handler takes, each of which it must take.
pub(super) fn parameters<'de, P: Deserialize<'de>>(message: &'de MessageObject) -> Result<P, RouteError> {
    message.read().map_err(|error| RouteError::Parameter { command: message.command().to_owned(), error })
}

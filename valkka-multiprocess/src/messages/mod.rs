//! Messages with named parameters, and what hands them to handlers.

mod anything;
mod error;
mod from_value;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod message_object;
mod parameters;
mod repr;
mod router;
mod routes;
mod sorted;
mod to_value;
mod value;
mod wire;

pub use error::{ParameterError, RouteError};
pub use message_object::MessageObject;
pub(crate) use repr::unquoted;
pub use router::Router;
pub use value::{Value, ValueError};

#[cfg(test)]
mod tests;

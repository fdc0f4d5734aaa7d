//! Why a parameter can't be read, or a message can't be handled.

use std::fmt::{self, Write};

use serde::de::{self, Expected, Unexpected};

use super::repr::{self, name};

/// How many of the known names an error lists.
const LISTED: usize = 8;
/// How much of what a type's `Deserialize` says is kept, in characters.
const REASON_MAX: usize = 400;

/// Why a parameter of a message can't be read, or sent.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// There is none of that name.
    #[error("the parameter {} is missing", name(.parameter))]
    Missing {
        /// What was looked for.
        parameter: String,
    },
    /// There is one of that name, and it isn't asked for.
    #[error("there is no parameter {}: there {}", name(.parameter), listed(.takes))]
    Unexpected {
        /// Its name.
        parameter: String,
        /// Those that there are.
        takes: &'static [&'static str],
    },
    /// It is of another kind, or a number that is out of range.
    #[error("the parameter {parameter} must be {expected}, and is {found}")]
    Wrong {
        /// Its name, and the place inside of it: `lis[2]`.
        parameter: String,
        /// What was expected there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Its type's `Deserialize` doesn't accept it.
    #[error("the parameter {parameter} isn't accepted: {reason}")]
    Refused {
        /// Its name, and the place inside of it.
        parameter: String,
        /// What the type said.
        reason: String,
    },
    /// It can't become a [`Value`](crate::Value), nor so be sent: see [`Value::new`](crate::Value::new).
    #[error("the parameter {} can't be sent: {reason}", name(.parameter))]
    Unserialisable {
        /// Its name.
        parameter: String,
        /// What was wrong.
        reason: String,
    },
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why no handler was called for a message.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There is no handler for that command.
    #[error("there is no command {}: there {}", name(.command), listed(.known))]
    UnknownCommand {
        /// The message's command.
        command: String,
        /// Those that there are, the nearest first.
        known: Vec<&'static str>,
    },
    /// There is one, but not for these parameters.
    #[error("the command {} wasn't carried out: {error}", name(.command))]
    Parameter {
        /// The message's command.
        command: String,
        /// What is wrong with which parameter.
        error: ParameterError,
    },
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first of these names, after "there".
fn listed(names: &[&'static str]) -> String {
    if names.is_empty() {
        return "are none".to_owned();
    }
    let first = names.iter().take(LISTED).map(|known| name(known)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 if names.len() == 1 => format!("is {first}"),
        0 => format!("are {first}"),
        more => format!("are {first} and {more} more"),
    }
}

/// What serde finds wrong with a value, and where.
pub(super) struct Mismatch {
    what: What,
    /// The way to it, from the inside to the outside.
    path: Vec<Step>,
}

enum What {
    Missing(String),
    Unexpected(String, &'static [&'static str]),
    Wrong { expected: String, found: String },
    Other(String),
}

enum Step {
    Key(String),
    Index(usize),
}

impl Mismatch {
    /// There is a parameter that isn't asked for.
    pub(super) fn unexpected(parameter: &str, takes: &'static [&'static str]) -> Mismatch {
        What::Unexpected(parameter.to_owned(), takes).into()
    }

    pub(super) fn missing(parameter: &str) -> Mismatch {
        What::Missing(parameter.to_owned()).into()
    }

    /// The same, seen from one level higher.
    pub(super) fn at_key(mut self, key: impl fmt::Display) -> Mismatch {
        self.path.push(Step::Key(repr::short(key, repr::SHORT)));
        self
    }

    pub(super) fn at_index(mut self, index: usize) -> Mismatch {
        self.path.push(Step::Index(index));
        self
    }

    /// The place inside of what `root` names.
    fn place(&self, root: &str) -> String {
        let mut place = root.to_owned();
        for step in self.path.iter().rev() {
            // Writing to a string doesn't fail.
            let _ = match step {
                Step::Key(key) => write!(place, "[{key}]"),
                Step::Index(index) => write!(place, "[{index}]"),
            };
        }
        place
    }

    /// About this parameter.
    pub(super) fn of(self, parameter: &str) -> ParameterError {
        self.of_root(&name(parameter))
    }

    fn of_root(self, root: &str) -> ParameterError {
        let parameter = self.place(root);
        match self.what {
            What::Wrong { expected, found } => ParameterError::Wrong { parameter, expected, found },
            What::Other(reason) => ParameterError::Refused { parameter, reason },
            // Of a struct inside: nothing that the message itself lacks, or has in vain.
            what => ParameterError::Refused { parameter, reason: format!("it {what}") },
        }
    }

    /// About all parameters of a message, each of which is a key.
    pub(super) fn of_all(mut self) -> ParameterError {
        if let Some(Step::Key(root)) = self.path.pop() {
            return self.of_root(&root);
        }
        let all = "list as a whole".to_owned();
        match self.what {
            What::Missing(parameter) => ParameterError::Missing { parameter },
            What::Unexpected(parameter, takes) => ParameterError::Unexpected { parameter, takes },
            What::Wrong { expected, found } => ParameterError::Wrong { parameter: all, expected, found },
            What::Other(reason) => ParameterError::Refused { parameter: all, reason },
        }
    }
}

impl From<What> for Mismatch {
    fn from(what: What) -> Mismatch {
        Mismatch { what, path: Vec::new() }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Missing(field) => write!(f, "lacks {}", name(field)),
            What::Unexpected(field, takes) => {
                write!(f, "has {}, and there {}", name(field), listed(takes))
            }
            What::Wrong { expected, found } => write!(f, "must be {expected}, and is {found}"),
            What::Other(reason) => write!(f, "isn't accepted: {reason}"),
        }
    }
}

/// What is wrong with "it".
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place("it"), self.what)
    }
}

impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(text: T) -> Mismatch {
        What::Other(repr::short(repr::Plain(&text.to_string()), REASON_MAX)).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Mismatch {
        What::Wrong { expected: expected.to_string(), found: repr::short(found, repr::SHORT) }.into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Mismatch {
        Mismatch::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Mismatch {
        What::Wrong { expected: expected.to_string(), found: format!("of length {length}") }.into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Mismatch {
        let found = format!("{}, where there {}", name(variant), listed(expected));
        What::Wrong { expected: "a known variant".to_owned(), found }.into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Mismatch {
        Mismatch::unexpected(field, expected)
    }

    fn missing_field(field: &'static str) -> Mismatch {
        Mismatch::missing(field)
    }
}

//! Whatever a constructor or a method fails with, as a [`RemoteError`].
//!
//! An error type may have one of several ways to say what it is, and which one is found by the compiler's search for
//! methods: `(&&&&Failure(&error)).kind()` finds the trait that is implemented for the most references, and takes away
//! one reference after another until there is one.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use common_ipc::RemoteError;

/// An error whose way is looked for.
#[derive(Debug)]
pub struct Failure<'a, E>(pub &'a E);

/// It is one, or an `Error`.
#[derive(Debug)]
pub struct ByInto;
/// It is a pointer to one: `Box<dyn Error>`, `anyhow::Error`.
#[derive(Debug)]
pub struct ByPointer;
/// It has a text: `String`.
#[derive(Debug)]
pub struct ByDisplay;
/// It has a text for programmers.
#[derive(Debug)]
pub struct ByDebug;

/// The first choice.
pub trait AnyInto {
    /// Which choice this is.
    fn kind(&self) -> ByInto {
        ByInto
    }
}
impl<E: Into<RemoteError>> AnyInto for &&&Failure<'_, E> {}

/// The second choice.
pub trait AnyPointer {
    /// Which choice this is.
    fn kind(&self) -> ByPointer {
        ByPointer
    }
}
impl<E: Deref> AnyPointer for &&Failure<'_, E> where E::Target: AsError {}

/// The third choice.
pub trait AnyDisplay {
    /// Which choice this is.
    fn kind(&self) -> ByDisplay {
        ByDisplay
    }
}
impl<E: fmt::Display> AnyDisplay for &Failure<'_, E> {}

/// The last choice.
pub trait AnyDebug {
    /// Which choice this is.
    fn kind(&self) -> ByDebug {
        ByDebug
    }
}
// Of any type, so that of one without a text the compiler says which trait it lacks.
impl<E> AnyDebug for Failure<'_, E> {}

impl ByInto {
    /// As data.
    pub fn remote<E: Into<RemoteError>>(self, error: E) -> RemoteError {
        error.into()
    }
}

impl ByPointer {
    /// With all its sources.
    pub fn remote<E: Deref>(self, error: E) -> RemoteError
    where
        E::Target: AsError,
    {
        let chain = std::iter::successors(Some(error.as_error()), |&error| error.source());
        RemoteError::from_chain(std::any::type_name::<E>(), chain)
    }
}

impl ByDisplay {
    /// Its text.
    pub fn remote<E: fmt::Display>(self, error: E) -> RemoteError {
        of_text::<E>(error.to_string())
    }
}

impl ByDebug {
    /// Its text for programmers.
    pub fn remote<E: fmt::Debug>(self, error: E) -> RemoteError {
        of_text::<E>(format!("{error:?}"))
    }
}

/// A trait object of errors.
pub trait AsError {
    /// Itself.
    fn as_error(&self) -> &(dyn Error + 'static);
}

impl AsError for dyn Error {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsError for dyn Error + Send {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsError for dyn Error + Send + Sync {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

/// An error that is only a text, of the type that it was.
fn of_text<E>(text: String) -> RemoteError {
    #[derive(Debug)]
    struct Text(String);
    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl Error for Text {}
    RemoteError::from_chain(std::any::type_name::<E>(), [&Text(text) as &(dyn Error + 'static)])
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! remote {
        ($error:expr) => {{
            let error = $error;
            (&&&&Failure(&error)).kind().remote(error)
        }};
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn an_error_is_carried_in_the_best_way_that_it_has() {
        let of_error = remote!(std::io::Error::other("broken"));
        assert_eq!((of_error.message(), of_error.type_name()), ("broken", "std::io::error::Error"));

        let boxed: Box<dyn Error + Send + Sync> = Outer(std::fmt::Error).into();
        let of_box = remote!(boxed);
        assert_eq!((of_box.message(), of_box.sources().len()), ("outer", 1));
        assert!(of_box.type_name().starts_with("alloc::boxed::Box<dyn core::error::Error"));

        let of_text = remote!("text".to_owned());
        assert_eq!((of_text.message(), of_text.type_name()), ("text", "alloc::string::String"));

        #[derive(Debug)]
        struct Plain;
        assert_eq!(remote!(Plain).message(), "Plain");
        assert_eq!(remote!(()).message(), "()");
        assert_eq!(remote!(RemoteError::msg("already")), RemoteError::msg("already"));
    }
}

//! Errors that cross a process boundary.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `main` and `unwrap` print an error's `Debug`, so the text that says what to do is that as well.
macro_rules! debug_is_display {
    ($type:ty) => {
        /// Its text: this is what `main` and `unwrap` print.
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use debug_is_display;

/// Any error, as data: what is left of it after the way from one process to another.
///
/// Most error types, `std::io::Error` among them, can't be serialised, so a body that fails returns
/// `Result<T, RemoteError>`; `?` converts into it.
///
/// ```
/// use common_ipc::RemoteError;
///
/// fn length(path: &str) -> Result<u64, RemoteError> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// let error = length("/does/not/exist").unwrap_err();
/// assert_eq!(error.type_name(), "std::io::error::Error");
/// assert!(error.to_string().contains("No such file"));
/// ```
///
/// It doesn't implement [`Error`] itself, since then it couldn't be made from every error, but it
/// becomes a boxed one by `?` where the function returns `Box<dyn Error>`. A boxed error is no
/// `Error` either, nor is an `anyhow::Error`: convert them with [`RemoteError::from_dyn`] and
/// [`RemoteError::from_chain`], and a text with [`RemoteError::msg`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    message: String,
    sources: Vec<String>,
    type_name: String,
}

/// So long a chain of sources is cut: it may be endless.
const SOURCES_MAX: usize = 64;

impl RemoteError {
    /// An error that is only a message; its type name is that of `RemoteError`.
    ///
    /// ```
    /// use common_ipc::RemoteError;
    ///
    /// fn half(number: u32) -> Result<u32, RemoteError> {
    ///     if number % 2 == 1 {
    ///         return Err(RemoteError::msg("that is odd"));
    ///     }
    ///     Ok(number / 2)
    /// }
    ///
    /// assert_eq!(half(3).unwrap_err().to_string(), "that is odd");
    /// ```
    ///
    /// `?` and `into` don't make one of a text: whoever implements them for all errors can't for `&str` and `String`, as
    /// long as the standard library may yet make errors of these.
    #[doc(alias = "new")]
    pub fn msg(message: impl fmt::Display) -> RemoteError {
        RemoteError {
            message: message.to_string(),
            sources: Vec::new(),
            type_name: std::any::type_name::<RemoteError>().to_owned(),
        }
    }

    /// An error from one whose type isn't known, and its sources: for a `Box<dyn Error>`, write
    /// `.map_err(|error| RemoteError::from_dyn(&*error))`. Its type name is that of `dyn Error`.
    ///
    /// ```
    /// use common_ipc::RemoteError;
    ///
    /// fn parse(text: &str) -> Result<i32, Box<dyn std::error::Error>> {
    ///     Ok(text.parse()?)
    /// }
    ///
    /// let error = parse("seven").map_err(|error| RemoteError::from_dyn(&*error)).unwrap_err();
    /// assert_eq!(error.message(), "invalid digit found in string");
    /// ```
    pub fn from_dyn(error: &(dyn Error + 'static)) -> RemoteError {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        RemoteError::from_chain(std::any::type_name::<dyn Error>(), chain)
    }

    /// An error from a chain of errors, the outermost first: for `anyhow::Error`, write
    /// `RemoteError::from_chain("anyhow::Error", error.chain())`. An empty chain has no message.
    pub fn from_chain<'a>(
        type_name: &str,
        chain: impl IntoIterator<Item = &'a (dyn Error + 'static)>,
    ) -> RemoteError {
        let mut messages = chain.into_iter().take(SOURCES_MAX + 1).map(ToString::to_string);
        RemoteError {
            message: messages.next().unwrap_or_default(),
            sources: messages.collect(),
            type_name: type_name.to_owned(),
        }
    }

    /// What the error said of itself.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What its sources said, the nearest first.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The Rust type that it had, as far as `std::any::type_name` tells.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }
}

/// The message, then each source after a colon; with `{:#}`, each source on a line of its own.
impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for source in &self.sources {
            if f.alternate() {
                write!(f, "\n  because: {source}")?;
            } else {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

impl<E: Error> From<E> for RemoteError {
    fn from(error: E) -> RemoteError {
        let mut sources = Vec::new();
        let mut next = error.source();
        while let Some(source) = next {
            if sources.len() == SOURCES_MAX {
                break;
            }
            sources.push(source.to_string());
            next = source.source();
        }
        RemoteError { message: error.to_string(), sources, type_name: std::any::type_name::<E>().to_owned() }
    }
}

debug_is_display!(RemoteError);

/// A `RemoteError` in a box: the same text, and the sources as a chain.
struct Boxed {
    message: String,
    source: Option<Box<Boxed>>,
}

/// The text with all sources, as `main` prints it.
impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = Some(self);
        while let Some(error) = next {
            write!(f, "{}{}", if std::ptr::eq(error, self) { "" } else { ": " }, error.message)?;
            next = error.source.as_deref();
        }
        Ok(())
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Boxed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<RemoteError> for Box<dyn Error + Send + Sync> {
    fn from(error: RemoteError) -> Self {
        let mut source = None;
        for message in error.sources.into_iter().rev() {
            source = Some(Box::new(Boxed { message, source }));
        }
        Box::new(Boxed { message: error.message, source })
    }
}

impl From<RemoteError> for Box<dyn Error> {
    fn from(error: RemoteError) -> Self {
        Box::<dyn Error + Send + Sync>::from(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn sources_survive_into_a_box() {
        let remote = RemoteError::from(Outer(std::io::Error::other("the inner failed")));
        assert_eq!(remote.to_string(), "the outer failed: the inner failed");
        assert_eq!(format!("{remote:#}"), "the outer failed\n  because: the inner failed");
        let boxed: Box<dyn Error> = remote.into();
        assert_eq!(boxed.to_string(), "the outer failed");
        assert_eq!(format!("{boxed:?}"), "the outer failed: the inner failed");
        assert_eq!(boxed.source().unwrap().to_string(), "the inner failed");
    }

    #[test]
    fn an_endless_chain_is_cut() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("again")
            }
        }
        impl Error for Endless {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }
        assert_eq!(RemoteError::from(Endless).sources().len(), SOURCES_MAX);
        assert_eq!(
            RemoteError::from_chain("x", std::iter::repeat(&Endless as _)).sources().len(),
            SOURCES_MAX
        );
    }
}

//! What a process runs.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a process runs: a closure, or an object of your own with a [`run`](Target::run).
///
/// The object is made in the program; each process that is started has a copy of it, as it was then, and runs that.
///
/// ```
/// use pkit::{Process, Target};
///
/// struct Sum(Vec<u64>);
///
/// impl Target for Sum {
///     type Output = u64;
///
///     fn run(self) -> u64 {
///         self.0.iter().sum()
///     }
/// }
///
/// let process = Process::new(Sum(vec![1, 2, 3]));
/// process.start()?;
/// assert_eq!(process.join()?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Target {
    /// What comes back from [`Process::join`](crate::Process::join), serialised.
    type Output: Serialize + DeserializeOwned;

    /// The work. A panic in it is [`JoinError::Panicked`](crate::JoinError::Panicked) at whoever joins.
    fn run(self) -> Self::Output;
}

impl<F, O> Target for F
where
    F: FnOnce() -> O,
    O: Serialize + DeserializeOwned,
{
    type Output = O;

    fn run(self) -> O {
        self()
    }
}

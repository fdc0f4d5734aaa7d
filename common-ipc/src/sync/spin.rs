//! Looking a few times before sleeping, from any thread.

use std::time::Duration;

use parking_lot::Mutex;

use crate::link::poll::Deadline;
use crate::link::spin::Spinner;

/// What the threads of this process have learnt of the waits for one thing. One of them looks at a time; where
/// several wait, it isn't there for long, or not soon.
#[derive(Debug, Default)]
pub(crate) struct Spin(Mutex<Spinner>);

/// What has to come sooner isn't worth the look at the time.
const SHORTEST: Duration = Duration::from_micros(100);

impl Spin {
    /// Looks until it is there, for a moment, and says whether it is.
    pub(crate) fn until(&self, deadline: Deadline, is_there: impl FnMut() -> bool) -> bool {
        if deadline.left().is_some_and(|left| left < SHORTEST) {
            return false;
        }
        // Never waited for: a fork may have copied it locked.
        self.0.try_lock().is_some_and(|mut spinner| spinner.spin(is_there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_unless_somebody_does_or_there_is_no_time() {
        let spin = Spin::default();
        assert!(spin.until(Deadline::NEVER, || true));
        assert!(!spin.until(Deadline::after(Duration::ZERO), || panic!("no time")));
        assert!(spin.until(Deadline::NEVER, || {
            assert!(!spin.until(Deadline::NEVER, || panic!("somebody does")));
            true
        }));
    }
}

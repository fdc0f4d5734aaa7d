//! Whose the other side of a connection is: the child whose end ends it.

use crate::link::{Connector, LinkError, OpenCaller, OpenServer};
use crate::process::child::Child;

impl Child {
    /// Makes certain that this child has the other side of `caller`, and keeps it: its end ends the calls, whatever it
    /// says, or had no descriptor to say, of whose that side is, and whoever else has copies of its descriptors.
    ///
    /// ```
    /// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
    /// let options = LaunchOptions::new().give(&server);
    /// let child = Launch::new(&options).start(move || drop(server.recv(&mut Vec::new())))?;
    /// child.serves(&caller)?;
    /// caller.call::<(), _, _>(1, &(), None, |_| ()).unwrap_err();
    /// child.output::<()>()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A child, or a caller, of another process; no room where the caller is polled.
    pub fn serves(&self, caller: &OpenCaller) -> Result<(), LinkError> {
        self.record.home.check()?;
        // Of one that was collected the closed socket tells.
        self.record.pidfd().map_or(Ok(()), |pidfd| caller.server_stays_with(pidfd))
    }

    /// As [`serves`](Child::serves), where it is the child that calls: the other side of `server` is its, and never
    /// moves on.
    ///
    /// # Errors
    ///
    /// As for [`serves`](Child::serves).
    pub fn calls(&self, server: &OpenServer) -> Result<(), LinkError> {
        self.record.home.check()?;
        self.record.pidfd().map_or(Ok(()), |pidfd| server.caller_stays_with(pidfd))
    }

    /// Makes certain that this child has the [`Listener`](crate::link::Listener) of `connector`, and keeps it: its end ends
    /// all connections and all tries to make one. To be said before the connector is used or handed on. Of a child
    /// that has ended before, the connector says that it is closed.
    ///
    /// # Errors
    ///
    /// A child of another process; no descriptors left.
    pub fn accepts(&self, connector: &Connector) -> Result<(), LinkError> {
        self.record.home.check()?;
        self.record.pidfd().map_or(Ok(()), |pidfd| Ok(connector.leads_to(&pidfd)?))
    }
}

//! How a supervisor is described and started.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::start_library_thread;
use crossbeam_channel::{bounded, unbounded};

use super::core::Core;
use super::errors::SupervisorError;
use super::handle::Supervisor;
use super::policy::{Intensity, Strategy};
use super::runtime::Runtime;
use super::shared::Shared;
use super::spec::ChildSpec;
use super::subscribers::{Events, Subscribers};

/// The description of a supervisor; made by [`Supervisor::builder`].
#[derive(Default)]
#[must_use]
pub struct SupervisorBuilder {
    strategy: Strategy,
    intensity: Intensity,
    specs: Vec<ChildSpec>,
    subscribers: Subscribers,
}

impl SupervisorBuilder {
    /// Who else is started again when a child is; [`Strategy::OneForOne`] without this.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many restarts after failures are allowed within a time, of all children together: 3 in 5 s without this.
    /// One more, and the supervisor stops all children and ends, since restarts don't help:
    /// [`Ended::Failed`](super::Ended::Failed).
    ///
    /// The restart of a group counts once. Restarts by name, by age and by memory don't count. For a child that may
    /// fail as often as it likes: `u32::MAX`.
    pub fn intensity(mut self, restarts: u32, within: Duration) -> Self {
        self.intensity = Intensity { restarts, window: within };
        self
    }

    /// Adds a child. Children are started in the order in which they are added, and stopped in the reverse one.
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.specs.push(spec);
        self
    }

    /// What happens from the start on; otherwise as [`Supervisor::events`].
    pub fn events(&mut self) -> Events {
        self.subscribers.add()
    }

    /// Starts all children in order, each when the one before is ready, and returns when the last one is.
    ///
    /// If there is a child that runs a closure ([`ChildSpec::new`]), the program may have no threads of its own yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the description: [`SupervisorError::NoChildren`], [`SupervisorError::NameTaken`],
    /// [`SupervisorError::Setting`]. [`SupervisorError::Target`], if a closure can't be kept, for one because of
    /// threads; [`SupervisorError::Thread`]. [`SupervisorError::Child`] if a child fails before it is ready: then what
    /// was started is stopped again, and has ended.
    pub fn start(self) -> Result<Supervisor, SupervisorError> {
        let SupervisorBuilder { strategy, intensity, specs, subscribers } = self;
        if specs.is_empty() {
            return Err(SupervisorError::NoChildren);
        }
        let mut names = HashMap::new();
        for (index, spec) in specs.iter().enumerate() {
            if names.insert(Arc::clone(&spec.name), index).is_some() {
                return Err(SupervisorError::NameTaken { name: Arc::clone(&spec.name) });
            }
            if let Some(why) = spec.fault() {
                return Err(SupervisorError::Setting { child: Arc::clone(&spec.name), why });
            }
        }
        let policies: Vec<_> =
            specs.iter().map(|spec| (Arc::clone(&spec.name), spec.policy.clone())).collect();
        let mut starters = Vec::with_capacity(specs.len());
        for spec in specs {
            let (child, verdict) = (Arc::clone(&spec.name), spec.verdict());
            let failed = |error| SupervisorError::Target { child, source: Arc::new(error) };
            starters.push((spec.starter().map_err(failed)?, verdict));
        }
        let (inbox, messages) = unbounded();
        let core = Core::new(strategy, intensity, Box::new(crate::measure::random), policies);
        let shared = Arc::new(Shared::new(names, core, inbox, subscribers));
        let supervisor = Supervisor::new(Arc::clone(&shared));
        let (started, answer) = bounded(1);
        let of_thread = Arc::clone(&shared);
        start_library_thread("supervisor", move |thread| {
            Runtime::new(of_thread, messages, starters).run(thread, started);
        })
        .map_err(|error| SupervisorError::Thread(Arc::new(error)))?;
        match answer.recv().unwrap_or(Err(SupervisorError::Ended)) {
            Ok(()) => Ok(supervisor),
            Err(error) => {
                // It ends by itself; until then there may be processes that keep closures.
                shared.wait(None);
                Err(error)
            }
        }
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("strategy", &self.strategy)
            .field("intensity", &self.intensity)
            .field("children", &self.specs)
            .finish_non_exhaustive()
    }
}

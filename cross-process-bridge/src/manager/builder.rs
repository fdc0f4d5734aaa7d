//! How a manager is started.

use std::sync::Arc;
use std::time::Instant;

use common_ipc::link::{DEFAULT_MAX_FRAME, listener};
use common_ipc::process::{Launch, LaunchOptions, Performer, Sigint, StartError, Template, Zygote, errands};

use crate::manager::error::ManagerError;
use crate::manager::proxy::Way;
use crate::manager::server::{self, Settings};
use crate::manager::{LAST_WORDS, Manager};
use common_ipc::link::Listener;

/// How a manager is to be, and the ways to start it.
///
/// ```
/// use cross_process_bridge::LaunchOptions;
/// use cross_process_bridge::manager::{Manager, ManagerError, SharedList};
///
/// let manager = Manager::builder()
///     .options(LaunchOptions::new().name("shared state").nice(5))
///     .max_memory(64 << 20)
///     .start()?;
/// let list: SharedList<String> = manager.list()?;
/// list.append(&"a".to_owned())?;
/// manager.stop()?;
/// # Ok::<(), ManagerError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManagerBuilder {
    options: LaunchOptions,
    settings: Settings,
}

/// What a manager is given at its start.
type Given = (Listener, Performer, Settings);

/// From which managers can be started beside threads: see [`ManagerBuilder::template`].
#[derive(Debug)]
pub struct ManagerTemplate {
    template: Template<Given>,
}

impl Default for ManagerBuilder {
    fn default() -> ManagerBuilder {
        let settings = Settings { max_memory: 1 << 30, max_message: 16 << 20, max_clients: 256 };
        ManagerBuilder { options: LaunchOptions::new(), settings }
    }
}

impl ManagerBuilder {
    /// Has the process started with these options: name, user, limits and so on. SIGINT is ignored unless they say
    /// otherwise: at a Ctrl-C the program decides.
    #[must_use]
    pub fn options(self, options: LaunchOptions) -> ManagerBuilder {
        ManagerBuilder { options, ..self }
    }

    /// How many bytes the manager may keep in all, counting 96 for each value beside its own; 1 GiB unless set. What
    /// would be more is [`ManagerError::Full`]. What objects of bridges keep isn't counted.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> ManagerBuilder {
        self.settings.max_memory = bytes;
        self
    }

    /// How many bytes one operation, or its result, may have; 16 MiB unless set, and at most 4 GiB. Each client may have
    /// the manager hold about twice as much for a time.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> ManagerBuilder {
        self.settings.max_message = (bytes as u64).min(u32::MAX.into());
        self
    }

    /// How many processes may be connected; 256 unless set, and four connections of any one process. The manager has a
    /// thread for each, and six descriptors: with more than about 150, raise its limit of those
    /// ([`LaunchOptions::limit`]).
    #[must_use]
    pub fn max_clients(mut self, count: usize) -> ManagerBuilder {
        self.settings.max_clients = count as u64;
        self
    }

    /// Forks the manager's process.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Start`]: beside other threads for example.
    pub fn start(&self) -> Result<Manager, ManagerError> {
        self.start_by(|options, (listener, performer, settings)| {
            let options = options.give(&listener).give(&performer);
            Launch::new(&options).kind("manager").start(move || server::run(listener, &performer, settings))
        })
    }

    /// Starts it from a zygote, which can be done beside any threads.
    ///
    /// # Errors
    ///
    /// As for [`start`](ManagerBuilder::start).
    pub fn start_in(&self, zygote: &Zygote) -> Result<Manager, ManagerError> {
        let run = |(listener, performer, settings): Given| server::run(listener, &performer, settings);
        self.start_by(|options, given| Launch::new(&options).kind("manager").start_in(zygote, run, &given))
    }

    /// Makes a template now, from which managers can be started later, also beside threads, with the memory that the
    /// program has now.
    ///
    /// # Errors
    ///
    /// As for [`start`](ManagerBuilder::start).
    pub fn template(&self) -> Result<ManagerTemplate, ManagerError> {
        let options = self.options.clone().or_sigint(Sigint::Ignore);
        let body = |(listener, performer, settings): Given| server::run(listener, &performer, settings);
        let template = Launch::new(&options).kind("manager").template_with(body);
        Ok(ManagerTemplate { template: template? })
    }

    /// Starts it from a template.
    ///
    /// # Errors
    ///
    /// As for [`start`](ManagerBuilder::start), but for the threads.
    pub fn start_from(&self, template: &ManagerTemplate) -> Result<Manager, ManagerError> {
        self.start_by(|options, given| template.template.start_as(&options, &given))
    }

    fn start_by(
        &self,
        start: impl FnOnce(LaunchOptions, Given) -> Result<common_ipc::process::Child, StartError>,
    ) -> Result<Manager, ManagerError> {
        let no_connection =
            |source| ManagerError::from(StartError::Os { step: "make the connections of a manager", source });
        let (settings, begin) = (self.settings, Instant::now());
        let (door, connector) = listener(settings.max_message as usize).map_err(no_connection)?;
        let (errands, performer) =
            errands(DEFAULT_MAX_FRAME.max(settings.max_message as usize)).map_err(no_connection)?;
        let options = self.options.clone().or_sigint(Sigint::Ignore);
        let time = options.ready_within();
        let child = start(options, (door, performer, settings))?;
        let watched = child.serves(errands.caller()).and_then(|()| child.accepts(&connector));
        let way = Arc::new(Way::new(connector, Some(child.clone())));
        let manager = Manager::new(errands, way, child, settings);
        if let Err(error) = watched {
            manager.kill();
            return Err(no_connection(std::io::Error::other(error)));
        }
        let left = time.saturating_sub(begin.elapsed());
        match manager.errand("Manager::start", server::greet, &(), Some(left)) {
            Ok(true) => Ok(manager),
            Ok(false) | Err(ManagerError::Timeout { .. }) => {
                manager.kill();
                Err(StartError::NotReady { timeout: time }.into())
            }
            Err(ManagerError::Gone { status: Some(status), .. }) => {
                Err(StartError::EndedEarly { status }.into())
            }
            Err(error) => {
                manager.end_within(LAST_WORDS);
                Err(error)
            }
        }
    }
}

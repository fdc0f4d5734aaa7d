//! Several children at once.

use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::link::poll::{Deadline, wait_until};
use crate::process::child::Child;
use crate::process::errors::ChildError;
use crate::process::record::HELD_UP;

/// Waits until at least one of these children has ended, and returns the places of those that have; none after
/// `timeout`. Without one it waits for as long as it takes. Those that have ended are collected by this. Of no
/// children none has ended.
///
/// ```
/// use std::time::Duration;
/// use common_ipc::process::{Child, Launch, LaunchOptions, stop_all, wait_any};
///
/// let sleep = |seconds| {
///     Launch::new(&LaunchOptions::new()).start(move || std::thread::sleep(Duration::from_secs(seconds)))
/// };
/// let children: [Child; 3] = [sleep(60)?, sleep(0)?, sleep(60)?];
/// assert_eq!(wait_any(&children, None)?, [1]);
/// stop_all(&children, Duration::from_secs(5))?;
/// assert_eq!(wait_any(&children, None)?, [0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ChildError`].
#[doc(alias = "wait")]
pub fn wait_any<'a>(
    children: impl IntoIterator<Item = &'a Child>,
    timeout: Option<Duration>,
) -> Result<Vec<usize>, ChildError> {
    let children: Vec<_> = children.into_iter().collect();
    wait_until_some(&children, Deadline::optional(timeout))
}

fn wait_until_some(children: &[&Child], deadline: Deadline) -> Result<Vec<usize>, ChildError> {
    for child in children {
        child.record().home.check()?;
    }
    loop {
        // Kept open for as long as they are polled, whoever collects the child meanwhile.
        let pidfds: Vec<_> = children.iter().map(|child| child.record().pidfd()).collect();
        let mut ended: Vec<_> = (0..children.len()).filter(|place| pidfds[*place].is_none()).collect();
        let running: Vec<_> = (0..children.len()).filter(|place| pidfds[*place].is_some()).collect();
        if running.is_empty() {
            return Ok(ended);
        }
        let fds = pidfds.iter().flatten().map(Arc::as_ref).map(|pidfd| pidfd.get());
        let fds = fds.map(|fd| fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let mut fds = fds.collect::<Result<Vec<_>, _>>()?;
        let until = if ended.is_empty() { deadline } else { Deadline::after(Duration::ZERO) };
        let any = wait_until(&mut fds, until)
            .map_err(|source| ChildError::Os { step: "poll their pidfds", source })?;
        for (place, _) in running.iter().zip(&fds).filter(|(_, fd)| any && fd.any().unwrap_or(true)) {
            if children[*place].record().collect()? {
                ended.push(*place);
            }
        }
        // One that has ended may be held up by who traces it.
        if !ended.is_empty() || !any || !deadline.pause(HELD_UP) {
            ended.sort_unstable();
            return Ok(ended);
        }
    }
}

/// Ends these children and collects them, all at the same time: SIGTERM (and SIGCONT), up to `grace` of waiting, then
/// SIGKILL for those that are left. For each it is what [`Child::stop`] does.
///
/// # Errors
///
/// The first [`ChildError`], when all that can be was done.
pub fn stop_all<'a>(
    children: impl IntoIterator<Item = &'a Child>,
    grace: Duration,
) -> Result<(), ChildError> {
    let mut left: Vec<_> = children.into_iter().collect();
    let mut first = None;
    let mut noted = |result: Result<(), ChildError>| match result {
        Ok(()) => true,
        Err(error) => {
            first.get_or_insert(error);
            false
        }
    };
    left.retain(|child| noted(child.record().home.check().map_err(ChildError::from)));
    for child in &left {
        noted(child.begin_stop());
    }
    let deadline = Deadline::after(grace);
    while !left.is_empty() {
        let Ok(ended) = wait_until_some(&left, deadline) else { break };
        if ended.is_empty() {
            break;
        }
        for place in ended.into_iter().rev() {
            left.swap_remove(place);
        }
    }
    // One that can't be killed isn't waited for.
    left.retain(|child| noted(child.kill()));
    for child in left {
        noted(child.wait().map(drop));
    }
    first.map_or(Ok(()), Err)
}

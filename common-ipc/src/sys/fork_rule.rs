//! The two doors around the fork rule. They are unsafe because only the program can know that no
//! other thread holds anything that its children will need.

use crate::process::fork_rule::{ForkRule, set_program_rule};
use crate::process::options::LaunchOptions;

/// Sets what happens, anywhere in this program, when a fork is asked for while threads are
/// running that don't belong to this library. The start is [`ForkRule::Refuse`].
///
/// A launch can have a rule of its own: [`LaunchOptions::fork_rule`].
///
/// A start beside other threads waits until it has the locks of standard output and standard error:
/// for as long as another thread holds one.
///
/// # Safety
///
/// A forked child has one thread and a copy of all memory. What the other threads were doing at
/// that moment stays half done in the copy for ever: a mutex that one of them held is never
/// unlocked, data that one of them was changing stays torn. With [`ForkRule::Warn`] or
/// [`ForkRule::Allow`] the caller promises that whatever the child uses - standard output, the
/// environment, the allocator, the logger, locks and `unsafe` code of the program and of every
/// library in it - is sound in such a copy. This is the promise of
/// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec), for the whole body.
pub unsafe fn set_fork_rule(rule: ForkRule) {
    set_program_rule(rule);
}

impl LaunchOptions {
    /// Sets the fork rule for what is started with these options.
    ///
    /// # Safety
    ///
    /// As for [`set_fork_rule`].
    pub unsafe fn fork_rule(mut self, rule: ForkRule) -> Self {
        self.fork_rule = Some(rule);
        self
    }
}

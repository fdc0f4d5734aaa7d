//! What other code in a user's program may do, and a library has to live with. In [`shared`] and
//! [`ring`], what such code could do without a library: the limit of the benchmarks.
#![expect(unsafe_code, reason = "the doings of foreign code can't be had otherwise")]

pub mod ring;
pub mod shared;

use std::sync::Mutex;
use std::time::Duration;

use common_ipc::process::{ForkRule, LaunchOptions, set_fork_rule};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Allows forks beside other threads in this whole process.
pub fn allow_forks() {
    // SAFETY: the threads of these scenarios sleep, or hold no locks that the children use.
    unsafe { set_fork_rule(ForkRule::Allow) };
}

/// The options with a rule of their own.
pub fn with_rule(options: LaunchOptions, rule: ForkRule) -> LaunchOptions {
    // SAFETY: as above.
    unsafe { options.fork_rule(rule) }
}

/// Sets SIGCHLD and the like to be ignored, or back to default.
///
/// # Panics
///
/// If the kernel refuses.
pub fn ignore_signal(signal: Signal, ignore: bool) {
    let handler = if ignore { SigHandler::SigIgn } else { SigHandler::SigDfl };
    set_handler(signal, handler);
}

/// Installs a handler, without SA_RESTART.
///
/// # Panics
///
/// If the kernel refuses.
pub fn handle_signal(signal: Signal, handler: extern "C" fn(libc::c_int)) {
    set_handler(signal, SigHandler::Handler(handler));
}

fn set_handler(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers of these scenarios only touch atomics.
    unsafe { sigaction(signal, &action) }.unwrap_or_else(|errno| panic!("sigaction: {errno}"));
}

static AT_EXIT: Mutex<Option<fn()>> = Mutex::new(None);

extern "C" fn run_at_exit() {
    if let Some(handler) = AT_EXIT.lock().ok().and_then(|handler| *handler) {
        handler();
    }
}

/// Registers an atexit handler.
pub fn at_exit(handler: fn()) {
    if let Ok(mut registered) = AT_EXIT.lock() {
        *registered = Some(handler);
    }
    // SAFETY: a plain function that lives as long as the program.
    unsafe { libc::atexit(run_at_exit) };
}

/// Writes to C's standard output, which buffers it.
pub fn c_print(text: &std::ffi::CStr) {
    // SAFETY: a format without parameters, by way of %s.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

unsafe extern "C" {
    static stdin: *mut libc::FILE;
}

/// Reads a line of C's standard input, which is locked meanwhile.
pub fn c_read_line() {
    let mut line = [0; 64];
    // SAFETY: libc's stdin is a stream for the life of the program; the line has this many bytes.
    unsafe { libc::fgets(line.as_mut_ptr(), 64, stdin) };
}

/// Leaves by C's `exit`, which Rust's runtime doesn't see.
pub fn c_exit(code: i32) -> ! {
    // SAFETY: exit never returns.
    unsafe { libc::exit(code) }
}

/// Forks without the library; the child runs `body` and leaves by `_exit` with its code.
///
/// # Panics
///
/// If the fork fails.
pub fn fork(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the process has one thread.
    match unsafe { libc::fork() } {
        // SAFETY: _exit never returns.
        0 => unsafe { libc::_exit(body()) },
        pid if pid > 0 => pid,
        _ => panic!("fork: {}", std::io::Error::last_os_error()),
    }
}

/// Becomes the tracer of a process, if that is allowed.
#[must_use]
pub fn trace(pid: i32) -> bool {
    // SAFETY: two integers and two null pointers, which this request doesn't look at.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0 }
}

/// Closes every descriptor from `first` on, whoever owns it.
pub fn close_from(first: u32) {
    // SAFETY: only for processes that use no descriptor of theirs afterwards.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Puts a copy of `fd` behind a number, whoever owns that.
pub fn place(fd: std::os::fd::BorrowedFd<'_>, number: i32) {
    use std::os::fd::AsRawFd;
    // SAFETY: only for processes that use nothing of theirs behind that number afterwards.
    unsafe { libc::dup2(fd.as_raw_fd(), number) };
}

/// Reads from an address that isn't there.
pub fn segfault() {
    // SAFETY: none: that is the purpose. The process is a child that is meant to die of it.
    unsafe { std::ptr::null_mut::<u8>().wrapping_add(8).write_volatile(1) };
}

/// Has SIGALRM sent to this process again and again.
pub fn interval_timer(every: Duration) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: every.as_micros() as libc::suseconds_t };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: timer is valid for the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Processor time that this process has used.
#[must_use]
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time has room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

//! What other code in a user's program may do, and a library has to live with. In [`shared`], [`ring`]
//! and [`zygote`], what such code could do without a library: the limit of the benchmarks.
#![expect(unsafe_code, reason = "the doings of foreign code can't be had otherwise")]

pub mod filter;
pub mod garbage;
pub mod pthread;
pub mod rights;
pub mod ring;
pub mod shared;
pub mod zygote;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Sets an environment variable, in a process with one thread.
pub fn set_variable(name: &str, value: &str) {
    // SAFETY: for scenarios, whose processes have one thread when they call this.
    unsafe { std::env::set_var(name, value) };
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

/// Ends this process without any clearing up.
pub fn exit_at_once() {
    // SAFETY: _exit never returns.
    unsafe { libc::_exit(0) };
}

/// Writes one word of a shared mapping with that name.
///
/// # Panics
///
/// If there is no such mapping.
pub fn poke(name: &str, at: usize, value: u32) {
    let (start, end) = mapping(name);
    assert!(at % 4 == 0 && start + at < end);
    // SAFETY: within the mapping that this process has, aligned. That others share it is the point.
    unsafe { ((start + at) as *mut u32).write_volatile(value) };
}

/// Where the shared mapping with that name is.
fn mapping(name: &str) -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapping = maps.lines().find(|line| line.contains(&format!("memfd:{name}")));
    let range = mapping.and_then(|line| line.split(' ').next()?.split_once('-'));
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap_or(0);
    range
        .map(|(start, end)| (number(start), number(end)))
        .unwrap_or_else(|| panic!("no mapping of {name}:\n{maps}"))
}

/// Writes pseudo-random words all over this process's mappings of the memfd with this name, again and again,
/// as a hostile process may.
///
/// # Panics
///
/// If there is no such mapping.
pub fn scribble(name: &str, seed: u64, time: Duration) {
    let (start, end) = mapping(name);
    let mut state = seed;
    let mut random = || {
        // Knuth's linear congruential generator: any other would do.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let begin = std::time::Instant::now();
    while begin.elapsed() < time {
        // The words of the protocol more often than the data, and now and then one that might be right.
        let length = if random() % 2 == 0 { 2048 } else { end - start };
        let at = start + random() % (length / 4) * 4;
        let value = if random() % 2 == 0 { random() } else { 0x3000_0000 + random() % 4096 } as u32;
        // SAFETY: within the mapping that this process has, aligned. That others share it is the point.
        unsafe { (at as *mut u32).write_volatile(value) };
    }
}

/// Forks without the library; the child runs `body` and leaves by `_exit` with its code.
///
/// # Panics
///
/// If the fork fails.
pub fn fork(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the process has one thread, or beside it that of the fault injector, which holds no lock that the child uses.
    match unsafe { libc::fork() } {
        // SAFETY: _exit never returns.
        0 => unsafe { libc::_exit(body()) },
        pid if pid > 0 => pid,
        _ => panic!("fork: {}", std::io::Error::last_os_error()),
    }
}

/// Copies of a child's sockets.
///
/// # Panics
///
/// If they can't be had.
#[must_use]
pub fn sockets_of(pid: i32) -> Vec<OwnedFd> {
    let duplicate = |number: i32| {
        // SAFETY: integers only; what comes back is a new descriptor of this process, or an error.
        unsafe {
            let pidfd = OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32);
            let copy = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) as i32;
            assert!(copy >= 0, "pidfd_getfd: {}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(copy)
        }
    };
    let open = crate::proc::descriptors(pid).into_iter();
    open.filter(|(_, what)| what.to_string_lossy().starts_with("socket:"))
        .map(|(number, _)| duplicate(number))
        .collect()
}

/// Forks without the library; both go on. Zero in the child.
///
/// # Panics
///
/// If the fork fails.
#[must_use]
pub fn fork_and_return() -> i32 {
    // SAFETY: other threads of these scenarios' processes hold no locks that the child uses.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

/// Becomes the tracer of a process, if that is allowed.
#[must_use]
pub fn trace(pid: i32) -> bool {
    // SAFETY: two integers and two null pointers, which this request doesn't look at.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0 }
}

/// Tells the other ends of all connections that they are now of another process: whose it is not.
///
/// # Panics
///
/// If there is no such process.
pub fn tell_owner(pid: i32) {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockType, getsockopt, sendmsg, sockopt};
    // SAFETY: two integers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    assert!(pidfd >= 0, "{}", std::io::Error::last_os_error());
    for number in 3..1024 {
        // SAFETY: only asked what it is, and sent to; whatever it is, it stays open.
        let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        if getsockopt(&socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket) {
            let packet = [std::io::IoSlice::new(&[1])];
            let rights = [ControlMessage::ScmRights(&[pidfd])];
            let _ = sendmsg::<()>(number, &packet, &rights, MsgFlags::MSG_DONTWAIT, None);
        }
    }
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

/// Two words that a process and its children share, to be posted and waited for with nothing but the kernel's
/// futex: the limit of what an event can do that always sleeps.
#[derive(Debug)]
pub struct FutexPair(&'static [AtomicU32; 2]);

impl Default for FutexPair {
    fn default() -> Self {
        let (flags, access) = (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, zeroed and never unmapped, of which nothing but these two atomics is used.
        FutexPair(unsafe {
            let page = libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            &*page.cast::<[AtomicU32; 2]>()
        })
    }
}

impl FutexPair {
    /// Posts one of the two.
    pub fn post(&self, which: usize) {
        self.0[which].store(1, Ordering::Release);
        // SAFETY: the address of an atomic that lives; the kernel only looks for who sleeps there.
        unsafe { libc::syscall(libc::SYS_futex, self.0[which].as_ptr(), libc::FUTEX_WAKE, 1) };
    }

    /// Waits until it is posted, and takes that.
    pub fn wait(&self, which: usize) {
        while self.0[which].swap(0, Ordering::Acquire) == 0 {
            // SAFETY: as above; no time-out.
            unsafe { libc::syscall(libc::SYS_futex, self.0[which].as_ptr(), libc::FUTEX_WAIT, 0, 0) };
        }
    }
}

/// Memory in pages of the smallest size, each with its own entry in the page tables.
#[must_use]
pub fn memory_in_small_pages(length: usize) -> Vec<u8> {
    let mut memory = Vec::<u8>::with_capacity(length);
    let first = memory.as_ptr().align_offset(4096);
    // SAFETY: whole pages within what was allocated; it changes how they will be mapped and nothing else.
    unsafe {
        let start = memory.as_mut_ptr().add(first);
        libc::madvise(start.cast(), (length - first) / 4096 * 4096, libc::MADV_NOHUGEPAGE);
    }
    memory.resize(length, 1);
    memory
}

/// Sets an environment variable, or removes it.
pub fn set_env(name: impl AsRef<std::ffi::OsStr>, value: Option<impl AsRef<std::ffi::OsStr>>) {
    match value {
        // SAFETY: only where no other thread looks at the environment.
        Some(value) => unsafe { std::env::set_var(name, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(name) },
    }
}

/// As a just-in-time compiler has them: it is in no program or library.
///
/// # Panics
///
/// If there is no memory.
#[must_use]
pub fn function_made_at_run_time() -> fn(()) {
    let (flags, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_EXEC);
    // SAFETY: a new mapping. Nobody calls what is there: that is what the scenario is about.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        std::mem::transmute::<*mut libc::c_void, fn(())>(page)
    }
}

/// A function of a library that comes with libc and that hardly any program loads.
#[must_use]
pub fn function_of_a_library_loaded_now() -> Option<fn(())> {
    let (library, symbol) = (c"libresolv.so.2", c"ns_get16");
    // SAFETY: texts that end with a NUL; a function's address, which nobody calls.
    unsafe {
        let loaded = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        if !loaded.is_null() {
            return None;
        }
        let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        let address = libc::dlsym(library, symbol.as_ptr());
        (!address.is_null()).then(|| std::mem::transmute::<*mut libc::c_void, fn(())>(address))
    }
}

/// Closes a descriptor, whoever owns it.
pub fn close(number: i32) {
    // SAFETY: only for processes that use nothing of theirs behind that number afterwards.
    unsafe { libc::close(number) };
}

/// Sets the nice value of this process.
pub fn set_nice(nice: i32) {
    // SAFETY: integers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Collects any child whatever it is, as a program may that has started some by a bare clone. The errno if there
/// is none.
///
/// # Errors
///
/// The errno.
pub fn collect_any(flags: i32) -> Result<i32, i32> {
    let mut status = 0;
    // SAFETY: status has room for the answer.
    match unsafe { libc::waitpid(-1, &raw mut status, flags) } {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        pid => Ok(pid),
    }
}

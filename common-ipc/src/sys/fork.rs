//! fork itself, a new child's first steps, and the ways out of it.
//!
//! The child's steps are bare system calls through the one function `syscall`: after a fork each
//! page of code that is touched for the first time costs a page fault, 1 to 2 us. For the same
//! reason what a child runs is `#[inline]`, here and elsewhere: it then lies together.

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU32;

use super::check;

/// Which side of the fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the pid of the new.
    Parent(i32),
}

/// Forks by libc's `fork`, which keeps malloc and libc's own state whole in the child and runs
/// the `pthread_atfork` handlers of other libraries; a bare clone would do neither.
///
/// Safe to call: that a child of a program with several threads may find locks held for ever is
/// a matter of liveness, kept out by the fork rule of the caller.
#[inline]
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: fork has no preconditions of memory safety; the child continues with a private
    // copy of everything.
    let pid = check(libc::c_long::from(unsafe { libc::fork() }))?;
    Ok(if pid == 0 { Forked::Child } else { Forked::Parent(pid as i32) })
}

/// The first version of the kernel's `struct clone_args` (linux/sched.h).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// linux/prctl.h; missing from libc.
const PR_GET_TID_ADDRESS: libc::c_int = 40;

/// Forks a child of this process that only those see who wait for it by its pid or pidfd, with `__WALL`: its
/// end sends no signal, `waitpid(-1)` doesn't collect it, and SIGCHLD being ignored doesn't lose its status.
///
/// A bare system call: libc doesn't prepare its allocator for it, nor does it run `pthread_atfork` handlers.
/// So only for a process with one thread, whose locks are free.
pub(crate) fn fork_unseen() -> io::Result<Forked> {
    bare_fork(&OfThread::find(), CloneArgs::default())
}

/// As [`fork_unseen`], of a child of this process's parent, which is unseen there if this process is. Its id is in `pid` before it runs.
#[inline]
pub(crate) fn fork_sibling(of_thread: &OfThread, pid: &AtomicU32) -> io::Result<Forked> {
    let flags = (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;
    bare_fork(of_thread, CloneArgs { flags, parent_tid: pid.as_ptr() as u64, ..CloneArgs::default() })
}

/// What libc keeps of the calling thread, in its memory, and has told the kernel.
#[derive(Debug)]
pub(crate) struct OfThread {
    tid: *mut libc::pid_t,
    robust_list: *mut RobustList,
    length: usize,
}

impl OfThread {
    /// Asks the kernel. What it doesn't say (without CONFIG_CHECKPOINT_RESTORE, or because of a filter) is null.
    pub(crate) fn find() -> OfThread {
        let mut found = OfThread { tid: ptr::null_mut(), robust_list: ptr::null_mut(), length: 0 };
        // SAFETY: the kernel writes addresses and a length to where there is room for them.
        unsafe {
            libc::syscall(libc::SYS_prctl, PR_GET_TID_ADDRESS, &raw mut found.tid, 0, 0, 0);
            let (list, length) = (&raw mut found.robust_list, &raw mut found.length);
            libc::syscall(libc::SYS_get_robust_list, 0, list, length);
        }
        found
    }
}

/// As libc's own fork does, the child's thread id is written to where libc keeps it, and cleared there at its
/// end; and what the kernel does for robust mutexes at a thread's end it does for the child, too.
#[inline]
fn bare_fork(of_thread: &OfThread, mut arguments: CloneArgs) -> io::Result<Forked> {
    let OfThread { tid, robust_list, length } = *of_thread;
    if !tid.is_null() {
        arguments.flags |= (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as u64;
        arguments.child_tid = tid as u64;
    }
    // SAFETY: without CLONE_VM the child continues on a private copy of everything, this stack included. The
    // address of the thread id is the one that libc gave to the kernel, and so of an integer that lives as
    // long as the thread; that of the child's id here is null or an atomic's that lives for the call.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) })?;
    if pid != 0 {
        return Ok(Forked::Parent(pid as i32));
    }
    if !robust_list.is_null() {
        // SAFETY: the list's head is libc's, in this thread's own memory; empty, it points to itself, and in
        // the child it is: what the parent has locked is the parent's.
        unsafe {
            (*robust_list).next = robust_list.cast();
            libc::syscall(libc::SYS_set_robust_list, robust_list, length);
        }
    }
    Ok(Forked::Child)
}

/// The first field of the kernel's `struct robust_list_head` (linux/futex.h).
#[repr(C)]
#[derive(Debug)]
struct RobustList {
    next: *mut libc::c_void,
}

/// Ends the process at once: no destructors, no atexit handlers, no flushing.
#[inline]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

unsafe extern "C" {
    // glibc, <stdlib.h>: like atexit, but the handler is told the exit code.
    fn on_exit(
        handler: extern "C" fn(libc::c_int, *mut libc::c_void),
        argument: *mut libc::c_void,
    ) -> libc::c_int;
    static stdout: *const StreamHead;
}

/// The first fields of glibc's `struct _IO_FILE` (<bits/types/struct_FILE.h>).
#[repr(C)]
struct StreamHead {
    flags: libc::c_int,
    read: [*const libc::c_char; 3],
    write_base: *const libc::c_char,
    write_ptr: *const libc::c_char,
}

extern "C" fn trapped(code: libc::c_int, leave: *mut libc::c_void) {
    // SAFETY: the argument that `trap_exit` registered: a function of this type, made a pointer there.
    let leave = unsafe { std::mem::transmute::<*mut libc::c_void, fn(i32) -> !>(leave) };
    leave(code);
}

/// From now on `exit` in this process runs the handlers registered after this call, then `leave`
/// with the exit code, and none that were registered before it: handlers run last in, first out.
///
/// Called in a child right after the fork, so that its parent's handlers never run in it.
#[inline]
pub(crate) fn trap_exit(leave: fn(i32) -> !) {
    // SAFETY: the handler is a plain function that lives as long as the program, as does the one
    // that is its argument. Out of memory leaves no handler, which `exit` then can't be caught by:
    // the child has other things to fail on first.
    unsafe { on_exit(trapped, leave as *mut libc::c_void) };
}

/// Sets the name of the calling thread, which is the process's in a new child: up to the first NUL,
/// or 15 bytes.
#[inline]
pub(crate) fn set_name(name: &[u8; 16]) {
    // SAFETY: the kernel reads at most 16 bytes. It can't fail.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr()) };
}

static AT_EXIT: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

extern "C" fn at_exit_entry() {
    if let Some(hook) = AT_EXIT.get() {
        hook();
    }
}

/// Has `hook` run when the program ends by returning from `main` or by `exit`; registered once
/// however often it is called.
pub(crate) fn at_exit(hook: fn()) {
    if AT_EXIT.set(hook).is_ok() {
        // SAFETY: the handler is a plain function that lives as long as the program.
        unsafe { libc::atexit(at_exit_entry) };
    }
}

/// Writes out what C code left in its streams: in all of them, or, beside other threads, in its
/// standard output. (All includes standard input, which a thread may have locked for as long as it
/// waits for a line.)
pub(crate) fn flush_c_streams(beside_others: bool) {
    // SAFETY: libc's stdout is a stream for the life of the program, or null, which means all streams
    // that have output; libc locks them itself.
    unsafe {
        let stream = if beside_others { stdout.cast_mut().cast() } else { ptr::null_mut() };
        libc::fflush(stream)
    };
}

/// As [`flush_c_streams`], if C's standard output holds anything: for the common child that never
/// used C's streams, a read instead of the copies of several pages that flushing costs after a fork.
#[inline]
pub(crate) fn flush_c_streams_if_pending(beside_others: bool) {
    // SAFETY: libc's stdout is a stream for the life of the program, or null if C code closed and
    // cleared it. Another thread that writes to it at this moment is cut off in a moment anyway.
    let pending = unsafe { stdout.as_ref().is_some_and(|head| head.write_ptr > head.write_base) };
    if pending {
        flush_c_streams(beside_others);
    }
}

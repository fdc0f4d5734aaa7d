//! A filter of system calls, as container engines and service managers set it up.

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Of the call's number in `struct seccomp_data`.
const NUMBER: u32 = 0;

/// From now on this call fails with this error, in this process and all that come from it.
///
/// # Panics
///
/// If the kernel doesn't let a process have a filter.
pub fn forbid(call: libc::c_long, errno: i32) {
    nix::sys::prctl::set_no_new_privs().unwrap_or_else(|errno| panic!("no_new_privs: {errno}"));
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        instruction(LOAD, 0, 0, NUMBER),
        instruction(JUMP_IF_EQUAL, 0, 1, call as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: it points to as many instructions as it says, for the length of the call, which copies them.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    assert!(set == 0, "a filter: {}", std::io::Error::last_os_error());
}

//! The rights of this process: what only it can change, and only for itself.

/// Sets the five sets of capabilities(7), as far as this process may: permitted, effective, inheritable, ambient,
/// and what stays of the bounding set. With `None` the user's change takes none away.
///
/// # Panics
///
/// If the kernel refuses.
pub fn set_capabilities(
    permitted: u64,
    effective: u64,
    inheritable: u64,
    ambient: u64,
    bounding: Option<u64>,
) {
    let checked = |result: i64| assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // linux/capability.h, version 3: a header, then effective, permitted and inheritable in two words each.
    let header = [0x2008_0522u32, 0];
    let words = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data = [words(0), words(32)];
    // SAFETY: integers, and what this version of capset reads.
    unsafe {
        for bit in (0..41).filter(|bit| bounding.is_some_and(|keep| keep & (1 << bit) == 0)) {
            checked(libc::prctl(libc::PR_CAPBSET_DROP, bit, 0, 0, 0).into());
        }
        checked(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()));
        for bit in (0..41).filter(|bit| ambient & (1 << bit) != 0) {
            checked(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, bit, 0, 0).into());
        }
    }
}

/// Has the capabilities of this process survive its change to another user.
pub fn keep_capabilities() {
    // SAFETY: integers.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
}

/// Installs a filter of system calls that allows them all.
///
/// # Panics
///
/// If the kernel refuses.
pub fn filter_system_calls() {
    // BPF_RET | BPF_K, SECCOMP_RET_ALLOW
    let mut allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
    // SAFETY: a program of one instruction, valid for the call.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Has this thread use files as another user, and nothing else.
pub fn set_user_for_files(uid: u32) {
    // SAFETY: an integer.
    unsafe { libc::setfsuid(uid) };
}

/// Sets the securebits of capabilities(7).
#[must_use]
pub fn set_secure_bits(bits: u64) -> bool {
    // SAFETY: integers.
    unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) == 0 }
}

/// Forbids this process and all that it starts to read the contents of files, by landlock(7). False if the kernel
/// doesn't have it.
#[must_use]
pub fn forbid_reading_files() -> bool {
    // LANDLOCK_ACCESS_FS_READ_FILE, for all files: there is no rule that allows it for some.
    let handled = [1u64 << 2];
    // SAFETY: the attributes in the first version's size; integers otherwise.
    unsafe {
        let rules = libc::syscall(libc::SYS_landlock_create_ruleset, handled.as_ptr(), 8, 0);
        if rules < 0 {
            return false;
        }
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let result = libc::syscall(libc::SYS_landlock_restrict_self, rules, 0);
        libc::close(rules as i32);
        result == 0
    }
}

/// The three sets of capabilities of this process that capget(2) tells: effective, permitted, inheritable.
fn capabilities() -> [u64; 3] {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: what this version of capget reads and has room to write to.
    unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
    [0, 1, 2].map(|set| u64::from(data[set]) | u64::from(data[3 + set]) << 32)
}

/// Whether this process has any in its effective or permitted set.
#[must_use]
pub fn has_capabilities() -> bool {
    let [effective, permitted, _] = capabilities();
    effective | permitted != 0
}

/// Whether this process gets all of them by asking, in each way that there is.
#[must_use]
pub fn raise_capabilities() -> bool {
    let header = [0x2008_0522u32, 0];
    let data = [u32::MAX, u32::MAX, u32::MAX, 0x1ff, 0x1ff, 0x1ff];
    // SAFETY: integers, and what this version of capset reads.
    let (set, raised) = unsafe {
        let set = libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) == 0;
        (set, libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, 21, 0, 0) == 0)
    };
    set || raised
}

/// Whether this process gets a nice value of this much, which is less than it has.
#[must_use]
pub fn is_nicer(nice: i32) -> bool {
    // SAFETY: integers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
}

/// Whether this process gets a socket on which it sees what is sent to others.
#[must_use]
pub fn has_raw_socket() -> bool {
    // SAFETY: integers; the number is a socket's that nobody else knows.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP);
        if socket >= 0 {
            libc::close(socket);
        }
        socket >= 0
    }
}

/// What is forbidden of memory that is both written and executed (PR_GET_MDWE).
#[must_use]
pub fn memory_rules() -> i32 {
    // SAFETY: integers.
    unsafe { libc::prctl(66, 0, 0, 0, 0) }
}

/// Forbids what would make code of what was written (PR_SET_MDWE). False if the kernel doesn't know that.
#[must_use]
pub fn forbid_changes_of_code() -> bool {
    // SAFETY: integers.
    unsafe { libc::prctl(65, 1, 0, 0, 0) == 0 }
}

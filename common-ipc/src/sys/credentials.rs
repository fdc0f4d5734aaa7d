//! A process's capabilities, and the other marks of its rights for which nix has no door.

use std::io;

use serde::{Deserialize, Serialize};

use super::check;

/// The five sets of capabilities(7), one bit for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Capabilities {
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
}

/// linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The third version, of two words a set.
const VERSION: u32 = 0x2008_0522;

/// Has the permitted capabilities survive the change to another user (until they are set).
pub(crate) fn keep_across_users(keep: bool) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) }.into()).map(drop)
}

/// The flags of capabilities(7) for what being root is worth.
pub(crate) fn secure_bits() -> io::Result<u32> {
    // SAFETY: integers only.
    Ok(check(unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) }.into())? as u32)
}

/// As [`secure_bits`], to set them.
pub(crate) fn set_secure_bits(bits: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, libc::c_ulong::from(bits), 0, 0, 0) }.into())
        .map(drop)
}

/// PR_GET_DUMPABLE: 1 if other processes of this user may look into this one.
pub(crate) fn dumpable() -> i32 {
    // SAFETY: integers only.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }
}

/// As [`dumpable`], to set it.
pub(crate) fn set_dumpable(dumpable: i32) -> io::Result<()> {
    // A process can't give itself the value 2, by which the kernel marks one that has changed its user: 0 is as strict.
    let value = libc::c_ulong::from(dumpable == 1);
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, value, 0, 0, 0) }.into()).map(drop)
}

// linux/prctl.h, Linux 6.3.
const PR_SET_MDWE: libc::c_int = 65;
const PR_GET_MDWE: libc::c_int = 66;

/// PR_GET_MDWE: what is forbidden of memory that is both written and executed. Zero also where the kernel doesn't
/// know it.
pub(crate) fn memory_rules() -> i32 {
    // SAFETY: integers only.
    unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) }.max(0)
}

/// As [`memory_rules`], to set them. They can't be taken back.
pub(crate) fn set_memory_rules(rules: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(PR_SET_MDWE, rules as libc::c_ulong, 0, 0, 0) }.into()).map(drop)
}

/// Makes effective whatever is permitted.
pub(crate) fn use_all_permitted() -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: a header, and room for two words of each set.
    unsafe {
        check(libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()))?;
        data.iter_mut().for_each(|word| word.effective = word.permitted);
        check(libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr())).map(drop)
    }
}

/// Takes the capabilities that aren't in `keep` out of the bounding set, of which `have` is known.
pub(crate) fn cut_bounding(have: u64, keep: u64) -> io::Result<()> {
    for capability in (0..64).filter(|bit| have & !keep & (1 << bit) != 0) {
        // SAFETY: integers only.
        check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) }.into())?;
    }
    Ok(())
}

impl Capabilities {
    /// Makes these the calling thread's, but for the bounding set.
    ///
    /// # Errors
    ///
    /// EPERM: there is one among them that the thread doesn't have.
    pub(crate) fn set(&self) -> io::Result<()> {
        let header = Header { version: VERSION, pid: 0 };
        let data = [0, 32].map(|shift| Data {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        });
        // SAFETY: a header and two words of each set, as this version of the call reads.
        check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
        let ambient = |operation: libc::c_int, capability: libc::c_ulong| {
            // SAFETY: integers only.
            check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, capability, 0, 0) }.into())
        };
        ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
        for capability in (0..64).filter(|bit| self.ambient & (1 << bit) != 0) {
            ambient(libc::PR_CAP_AMBIENT_RAISE, capability as libc::c_ulong)?;
        }
        Ok(())
    }
}

/// A limit by its number: soft and hard.
pub(crate) fn limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to limit. Numbers that it doesn't know are an error.
    check(unsafe { libc::getrlimit(resource as _, &mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// As [`limit`], to set it.
pub(crate) fn set_limit(resource: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads limit.
    check(unsafe { libc::setrlimit(resource as _, &limit) }.into()).map(drop)
}

/// The processors that the calling thread may run on, as the kernel's own bits.
pub(crate) fn affinity() -> io::Result<Vec<u8>> {
    // Room for 8192 processors, the most that kernels are built for.
    let mut bits = vec![0u8; 1024];
    // SAFETY: the kernel writes at most as many bytes as there are, and says how many.
    let length =
        check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, bits.len(), bits.as_mut_ptr()) })?;
    bits.truncate(length as usize);
    Ok(bits)
}

/// As [`affinity`], to set them.
pub(crate) fn set_affinity(bits: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads these bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bits.len(), bits.as_ptr()) }).map(drop)
}

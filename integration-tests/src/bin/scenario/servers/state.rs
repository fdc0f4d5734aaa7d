//! Rows 55 and 57 for children of zygotes and templates: they are as the program is at their start, whatever it
//! has changed since the server was made.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::id;

use common_ipc::process::{Launch, LaunchOptions, ProgramState, StartError, Stdio, Zygote};
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children;
use crate::servers::Both;

scenarios!(
    fault_55_a_zygotes_child_has_no_more_rights_than_the_program,
    fault_55_a_zygotes_child_never_regains_root,
    fault_57_a_zygotes_child_is_where_the_program_is,
    a_filter_of_system_calls_is_told,
    another_root_directory_is_told,
    the_environment_of_the_program_is_its_zygotes_childrens,
    the_limits_and_habits_of_the_program_are_its_zygotes_childrens,
    the_streams_of_the_program_are_its_zygotes_childrens,
);

/// What a process is like: what a child of a zygote takes over, in words.
type Seen = Vec<String>;

fn seen(_: ()) -> Seen {
    let me = id() as i32;
    let fields =
        "Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Umask SigIgn Seccomp Cpus_allowed";
    let mut seen: Seen =
        fields.split(' ').map(|field| format!("{field}: {}", proc::status_field(me, field))).collect();
    seen.push(format!("{:?}", std::fs::read_link("/proc/self/cwd")));
    // To the same directory, not only to one of the same name.
    seen.push(format!("{:?}", std::fs::metadata(".").map(|cwd| std::os::unix::fs::MetadataExt::ino(&cwd))));
    seen.extend(std::fs::read_to_string("/proc/self/limits").unwrap_or_default().lines().map(str::to_owned));
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    seen.push(format!("nice {:?}", stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16)));
    seen.push(format!("group {}, rules for memory {}", nix::unistd::getpgrp(), raw::rights::memory_rules()));
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    seen.extend(environment.into_iter().map(|variable| format!("{variable:?}")));
    seen.extend((0..=2).map(|number| format!("{:?}", std::fs::read_link(format!("/proc/self/fd/{number}")))));
    seen
}

/// Runs the body in a process of its own, so that what it changes stays there.
fn apart(body: impl FnOnce()) {
    children::start(body).output::<()>().unwrap();
}

/// Has a program make its servers and change; its children are as it is afterwards.
fn is_taken_over(change: impl FnOnce()) {
    apart(|| {
        let inherit_all = LaunchOptions::new().stdin(Stdio::Inherit);
        let both = Both::with(inherit_all, seen);
        let before = seen(());
        for child in both.start_everywhere() {
            assert_eq!(child.unwrap().output::<Seen>().unwrap(), before);
        }
        change();
        let after = seen(());
        assert_ne!(before, after, "nothing has changed: the test proves nothing");
        for (server, child) in ["zygote", "template", "new zygote"].iter().zip(both.start_everywhere()) {
            assert_eq!(child.unwrap().output::<Seen>().unwrap(), after, "child of a {server}");
        }
    });
}

fn uids(ids: [u32; 3]) {
    let [real, effective, saved] = ids.map(Uid::from_raw);
    setresuid(real, effective, saved).unwrap();
}

fn gids(ids: [u32; 3]) {
    let [real, effective, saved] = ids.map(Gid::from_raw);
    setresgid(real, effective, saved).unwrap();
}

fn groups(ids: &[u32]) {
    setgroups(&ids.iter().copied().map(Gid::from_raw).collect::<Vec<_>>()).unwrap();
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// What this process may: not all there is, where it is root of a container.
fn permitted() -> u64 {
    u64::from_str_radix(&proc::status_field(id() as i32, "CapPrm"), 16).unwrap()
}

const NET_ADMIN: u64 = 1 << 12;
const SYS_NICE: u64 = 1 << 23;
const SETUID: u64 = 1 << 7;

fn fault_55_a_zygotes_child_has_no_more_rights_than_the_program() -> Outcome {
    if !is_root() {
        return Skipped("giving up rights needs some");
    }
    let drop_all = || {
        groups(&[]);
        gids([65534; 3]);
        uids([65534; 3]);
    };
    is_taken_over(drop_all);
    is_taken_over(|| groups(&[7, 5, 9]));
    is_taken_over(|| gids([1, 2, 3]));
    is_taken_over(|| {
        groups(&[]);
        gids([1, 2, 3]);
        uids([4, 5, 6]);
    });
    // Root still, with the rights of nobody.
    is_taken_over(|| raw::rights::set_capabilities(0, 0, 0, 0, None));
    is_taken_over(|| raw::rights::set_capabilities(0, 0, 0, 0, Some(0)));
    is_taken_over(|| {
        raw::rights::set_capabilities(NET_ADMIN | SETUID, SETUID, NET_ADMIN, 0, Some(NET_ADMIN))
    });
    is_taken_over(|| raw::rights::set_capabilities(permitted(), permitted(), 0, 0, Some(!NET_ADMIN)));
    // Nobody, with some rights of root.
    is_taken_over(|| {
        raw::rights::keep_capabilities();
        groups(&[]);
        gids([65534; 3]);
        uids([65534; 3]);
        raw::rights::set_capabilities(NET_ADMIN | SYS_NICE, NET_ADMIN, SYS_NICE, 0, None);
    });
    is_taken_over(|| {
        raw::rights::keep_capabilities();
        uids([65534; 3]);
        raw::rights::set_capabilities(SYS_NICE, SYS_NICE, SYS_NICE, SYS_NICE, None);
    });
    is_taken_over(|| {
        raw::rights::keep_capabilities();
        groups(&[5]);
        gids([5; 3]);
        raw::rights::set_capabilities(permitted(), permitted(), 0, 0, Some(NET_ADMIN));
        uids([65534; 3]);
        raw::rights::set_capabilities(NET_ADMIN, 0, 0, 0, None);
    });
    is_taken_over(|| nix::sys::prctl::set_no_new_privs().unwrap());
    Passed
}

fn fault_55_a_zygotes_child_never_regains_root() -> Outcome {
    if !is_root() {
        return Skipped("giving up rights needs some");
    }
    // The servers are made after the first change, and the second leads somewhere else.
    type Change = fn();
    let changes: [(Change, Change); 7] = [
        (|| (), || uids([0, 65534, 0])),
        (|| uids([0, 65534, 0]), || uids([0, 0, 0])),
        (|| uids([65534, 65534, 0]), || uids([65534, 0, 0])),
        (|| uids([65534, 65534, 0]), || uids([0, 0, 0])),
        (|| uids([65534, 65534, 0]), || uids([65534; 3])),
        (|| uids([0, 65534, 0]), || uids([65534; 3])),
        (|| gids([0, 7, 0]), || gids([7; 3])),
    ];
    for (number, (first, second)) in changes.into_iter().enumerate() {
        apart(move || {
            let options = LaunchOptions::new().stdin(Stdio::Inherit);
            first();
            let both = Both::with(options, |()| {
                (seen(()), nix::unistd::setresuid(0.into(), 0.into(), 0.into()).is_ok())
            });
            second();
            let after = seen(());
            let started = both.start_everywhere().map(|child| match child {
                Ok(child) => {
                    let (child, root_again) = child.output::<(Seen, bool)>().unwrap();
                    assert_eq!(child, after, "change {number}");
                    // As the program itself could.
                    assert_eq!(root_again, after[0].contains(" 0"), "change {number}");
                    true
                }
                Err(StartError::ZygoteStale { .. }) => false,
                Err(other) => panic!("change {number}: {other}"),
            });
            // One that was made after the first change has its rights, and so can follow.
            assert!(started[2] || started[0], "change {number}: {started:?}");
        });
    }
    Passed
}

fn fault_57_a_zygotes_child_is_where_the_program_is() -> Outcome {
    let directory = std::env::temp_dir().join(format!("multiprocess-where-{}", id()));
    is_taken_over(|| std::env::set_current_dir("/").unwrap());
    std::fs::create_dir_all(directory.join("inner")).unwrap();
    is_taken_over(|| std::env::set_current_dir(directory.join("inner")).unwrap());
    // It goes on there after that is gone, and even if another one has its name.
    is_taken_over(|| {
        std::env::set_current_dir(directory.join("inner")).unwrap();
        std::fs::remove_dir(directory.join("inner")).unwrap();
    });
    std::fs::create_dir_all(directory.join("inner")).unwrap();
    is_taken_over(|| {
        std::env::set_current_dir(directory.join("inner")).unwrap();
        std::fs::remove_dir(directory.join("inner")).unwrap();
        std::fs::create_dir(directory.join("inner")).unwrap();
    });
    if is_root() {
        // Who is nobody by now couldn't enter it.
        is_taken_over(|| {
            std::env::set_current_dir(directory.join("inner")).unwrap();
            let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(&directory, closed).unwrap();
            uids([65534; 3]);
        });
    }
    std::fs::remove_dir_all(&directory).unwrap();
    Passed
}

fn the_environment_of_the_program_is_its_zygotes_childrens() -> Outcome {
    is_taken_over(|| raw::set_env("ADDED", Some("value")));
    is_taken_over(|| raw::set_env("PATH", None::<&str>));
    is_taken_over(|| raw::set_env("PATH", Some("")));
    is_taken_over(|| {
        raw::set_env(OsStr::from_bytes(b"\xff\xfe"), Some(OsStr::from_bytes(b"\x80 = \xc0")));
    });
    is_taken_over(|| {
        (0..2000).for_each(|number| raw::set_env(format!("MANY_{number}"), Some("x".repeat(50))))
    });
    is_taken_over(|| {
        for (name, _) in std::env::vars_os() {
            raw::set_env(name, None::<&str>);
        }
    });
    Passed
}

fn the_limits_and_habits_of_the_program_are_its_zygotes_childrens() -> Outcome {
    let limit = |resource| {
        let (_, hard) = getrlimit(resource).unwrap();
        setrlimit(resource, hard.min(500), hard.min(1000)).unwrap();
    };
    is_taken_over(|| limit(Resource::RLIMIT_NOFILE));
    is_taken_over(|| limit(Resource::RLIMIT_CORE));
    is_taken_over(|| limit(Resource::RLIMIT_MSGQUEUE));
    is_taken_over(|| {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o123));
    });
    is_taken_over(|| raw::set_nice(7));
    let this = nix::unistd::Pid::from_raw(0);
    is_taken_over(|| nix::unistd::setpgid(this, this).unwrap());
    if children::start(raw::rights::forbid_changes_of_code).output::<bool>().unwrap() {
        is_taken_over(|| assert!(raw::rights::forbid_changes_of_code()));
    }
    is_taken_over(|| raw::ignore_signal(nix::sys::signal::Signal::SIGHUP, true));
    is_taken_over(|| raw::ignore_signal(nix::sys::signal::Signal::SIGPIPE, false));
    let processors = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let usable: Vec<usize> = (0..1024).filter(|number| processors.is_set(*number).unwrap()).collect();
    if usable.len() > 1 {
        is_taken_over(|| {
            let mut one = nix::sched::CpuSet::new();
            one.set(usable[1]).unwrap();
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
        });
    }
    if is_root() {
        // Further down than the servers are, then with fewer rights than it took.
        is_taken_over(|| {
            raw::set_nice(-5);
            limit(Resource::RLIMIT_NPROC);
            uids([65534; 3]);
        });
    }
    Passed
}

fn the_streams_of_the_program_are_its_zygotes_childrens() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-redirected-{}", id()));
    let file = std::fs::File::create(&path).unwrap();
    is_taken_over(|| raw::place(file.as_fd(), 1));
    is_taken_over(|| raw::place(file.as_fd(), 2));
    is_taken_over(|| raw::place(file.as_fd(), 0));
    is_taken_over(|| raw::close(0));
    is_taken_over(|| raw::close(1));
    is_taken_over(|| (0..=1).for_each(raw::close));
    apart(|| {
        let both = Both::with(LaunchOptions::new(), |()| {
            print!("to the file");
            std::fs::read_link("/proc/self/fd/2").is_err()
        });
        raw::place(file.as_fd(), 1);
        raw::close(2);
        assert!(both.outputs() == [true, true]);
    });
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written.matches("to the file").count(), 2, "{written}");
    Passed
}

/// The starts by all servers are refused after a change, and say what has changed.
fn is_told(expected: ProgramState, change: fn()) {
    apart(move || {
        let both = Both::new(|()| ());
        change();
        let by_zygote = || Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| (), &());
        for child in [by_zygote(), both.template().start()] {
            let error = child.unwrap_err();
            assert!(
                matches!(&error, StartError::ZygoteStale { what, source: None } if *what == expected),
                "{error:?}"
            );
            assert!(error.to_string().contains(&expected.to_string()), "{error}");
        }
        // Another keeper isn't behind.
        common_ipc::process::init().unwrap();
        by_zygote().unwrap().output::<()>().unwrap();
    });
}

fn another_root_directory_is_told() -> Outcome {
    if !is_root() {
        return Skipped("chroot needs root");
    }
    is_told(ProgramState::RootDirectory, || nix::unistd::chroot("/usr").unwrap());
    is_told(ProgramState::RootDirectory, || {
        nix::unistd::chroot("/usr").unwrap();
        std::env::set_current_dir("/").unwrap();
    });
    Passed
}

fn a_filter_of_system_calls_is_told() -> Outcome {
    is_told(ProgramState::Seccomp, raw::rights::filter_system_calls);
    Passed
}

//! Rows 55 to 58: users, core dumps, environment, working directory, and names that aren't UTF-8.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use common_ipc::process::{
    Child, ExitStatus, Launch, LaunchOptions, OptionError, ProcessGroup, Resource, SetupStep, Signal,
    StartError, Stdio,
};
use integration_tests::{proc, raw};

use crate::Outcome::{self, Passed, Skipped};

scenarios!(
    fault_55_a_user_is_become_for_good,
    fault_55_a_plain_user_cannot_become_another,
    fault_56_core_dumps_are_limited_and_told,
    fault_57_environment_and_directory_are_the_childs_own,
    fault_57_a_missing_directory_is_an_error_of_the_start,
    fault_58_names_need_not_be_text,
    options_that_cannot_be_meant_are_errors_of_the_start,
    limits_nice_affinity_umask_and_groups_apply,
    a_limit_above_the_hard_limit_is_an_error_of_the_start,
    a_child_has_no_standard_input_unless_told,
);

fn start_with<O: serde::Serialize + serde::de::DeserializeOwned>(
    options: &LaunchOptions,
    body: impl FnOnce() -> O,
) -> Result<Child, StartError> {
    Launch::new(options).start(body)
}

fn setup_error(options: &LaunchOptions) -> (SetupStep, Option<i32>, String) {
    match start_with(options, || ()).unwrap_err() {
        error @ StartError::Setup { .. } => {
            let text = error.to_string();
            let StartError::Setup { step, source, .. } = error else { unreachable!() };
            (step, source.raw_os_error(), text)
        }
        other => panic!("{other:?}"),
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn fault_55_a_user_is_become_for_good() -> Outcome {
    if !is_root() {
        return Skipped("becoming another user needs root");
    }
    // Some that are to be lost.
    nix::unistd::setgroups(&[7, 8].map(nix::unistd::Gid::from_raw)).unwrap();
    let ids = || {
        let (uids, gids) = (nix::unistd::getresuid().unwrap(), nix::unistd::getresgid().unwrap());
        let groups: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(|gid| gid.as_raw()).collect();
        let root_again = nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok();
        let text = format!("{uids:?} {gids:?}");
        (uids.real.as_raw(), gids.real.as_raw(), groups, root_again, text)
    };
    type Ids = (u32, u32, Vec<u32>, bool, String);
    let by_id = LaunchOptions::new().uid(65534).gid(65533);
    let (uid, gid, groups, root_again, text) = start_with(&by_id, ids).unwrap().output::<Ids>().unwrap();
    assert_eq!((uid, gid, groups, root_again), (65534, 65533, vec![], false), "{text}");
    let with_groups = by_id.clone().groups([7, 5]);
    let (_, _, mut groups, ..) = start_with(&with_groups, ids).unwrap().output::<Ids>().unwrap();
    groups.sort_unstable();
    assert_eq!(groups, [5, 7]);
    let by_name = LaunchOptions::new().user("nobody");
    let expected = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid, groups, ..) = start_with(&by_name, ids).unwrap().output::<Ids>().unwrap();
    assert_eq!((uid, gid), (expected.uid.as_raw(), expected.gid.as_raw()));
    assert!(!groups.contains(&0));
    // It is still ours to signal, and it still dies with us.
    let sleeper = start_with(&by_name, || std::thread::sleep(Duration::from_secs(600))).unwrap();
    assert_eq!(sleeper.stop(Duration::from_secs(20)).unwrap().status.signal(), Some(Signal::TERM));
    Passed
}

fn fault_55_a_plain_user_cannot_become_another() -> Outcome {
    // As root, by way of a child that isn't.
    let options = if is_root() { LaunchOptions::new().uid(65534) } else { LaunchOptions::new() };
    let errors = start_with(&options, || {
        [
            setup_error(&LaunchOptions::new().uid(1)).0,
            setup_error(&LaunchOptions::new().gid(1)).0,
            setup_error(&LaunchOptions::new().groups([1])).0,
            setup_error(&LaunchOptions::new().user("root")).0,
            setup_error(&LaunchOptions::new().nice(-20)).0,
        ]
        .map(|step| format!("{step:?}"))
    });
    let errors = errors.unwrap().output::<[String; 5]>().unwrap();
    assert_eq!(errors, ["User", "Group", "Groups", "Groups", "Nice"]);
    Passed
}

fn fault_56_core_dumps_are_limited_and_told() -> Outcome {
    let directory = std::env::temp_dir().join(format!("multiprocess-core-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let options = LaunchOptions::new().cwd(&directory).stderr(Stdio::Null);
    let without = start_with(&options.clone().core_limit(0), raw::segfault).unwrap().wait().unwrap();
    assert_eq!(without, ExitStatus::Signaled { signal: Signal::SEGV, core_dumped: false });
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let with = start_with(&options.core_limit(Resource::UNLIMITED), raw::segfault).map(|child| child.wait());
    let _ = std::fs::remove_dir_all(&directory);
    match with {
        Err(StartError::Setup { .. }) => Skipped("core dumps are forbidden by the hard limit"),
        Ok(status) if pattern.trim() == "core" => {
            assert_eq!(status.unwrap(), ExitStatus::Signaled { signal: Signal::SEGV, core_dumped: true });
            Passed
        }
        Ok(status) => {
            assert_eq!(status.unwrap().signal(), Some(Signal::SEGV));
            Skipped("core dumps don't go to the working directory here")
        }
        Err(error) => panic!("{error}"),
    }
}

fn fault_57_environment_and_directory_are_the_childs_own() -> Outcome {
    let (cwd, path) = (std::env::current_dir().unwrap(), std::env::var_os("PATH"));
    let seen = || {
        let mut all: Vec<_> = std::env::vars_os().collect();
        all.sort();
        (std::env::current_dir().unwrap(), all)
    };
    let options = LaunchOptions::new().cwd("/").env("ADDED", "value").env_remove("PATH");
    type Seen = (PathBuf, Vec<(OsString, OsString)>);
    let (seen_cwd, all) = start_with(&options, seen).unwrap().output::<Seen>().unwrap();
    assert_eq!(seen_cwd, PathBuf::from("/"));
    assert!(all.contains(&("ADDED".into(), "value".into())));
    assert!(!all.iter().any(|(name, _)| name == "PATH"));
    assert!(all.len() > 1, "the rest is inherited");
    let options = LaunchOptions::new().env("DROPPED", "x").env_clear().env("ONLY", "this");
    let (_, all) = start_with(&options, seen).unwrap().output::<Seen>().unwrap();
    assert_eq!(all, [("ONLY".into(), "this".into())]);
    assert_eq!((std::env::current_dir().unwrap(), std::env::var_os("PATH")), (cwd, path));
    assert!(std::env::var_os("ADDED").is_none());
    Passed
}

fn fault_57_a_missing_directory_is_an_error_of_the_start() -> Outcome {
    let (step, errno, text) = setup_error(&LaunchOptions::new().cwd("/does/not/exist"));
    assert_eq!((step, errno), (SetupStep::WorkingDirectory, Some(libc::ENOENT)));
    assert!(text.contains("/does/not/exist") && text.contains("No such file"), "{text}");
    let (step, errno, _) = setup_error(&LaunchOptions::new().cwd("/proc/self/exe"));
    assert_eq!((step, errno), (SetupStep::WorkingDirectory, Some(libc::ENOTDIR)));
    Passed
}

fn fault_58_names_need_not_be_text() -> Outcome {
    let strange = OsString::from_vec(b"\xff\xfe strange".to_vec());
    let directory = std::env::temp_dir().join(format!("multiprocess-{}", std::process::id())).join(&strange);
    std::fs::create_dir_all(&directory).unwrap();
    let options = LaunchOptions::new().name(&strange).cwd(&directory).env(&strange, &strange);
    let child = start_with(&options, || {
        let comm = std::fs::read("/proc/self/comm").unwrap();
        (
            comm,
            std::env::current_dir().unwrap().into_os_string(),
            std::env::var_os(OsStr::from_bytes(b"\xff\xfe strange")),
        )
    });
    let child = child.unwrap();
    assert_eq!(child.name(), strange);
    let (comm, cwd, value) = child.output::<(Vec<u8>, OsString, Option<OsString>)>().unwrap();
    assert_eq!(comm, b"\xff\xfe strange\n");
    assert_eq!((PathBuf::from(cwd), value), (directory.canonicalize().unwrap(), Some(strange)));
    std::fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    // Longer than the kernel keeps.
    let long = LaunchOptions::new().name("a name of more than fifteen bytes");
    let child = start_with(&long, || std::fs::read_to_string("/proc/self/comm").unwrap()).unwrap();
    assert_eq!(child.name(), "a name of more than fifteen bytes");
    assert_eq!(child.output::<String>().unwrap(), "a name of more \n");
    Passed
}

fn options_that_cannot_be_meant_are_errors_of_the_start() -> Outcome {
    let option_error = |options: &LaunchOptions| match start_with(options, || ()).unwrap_err() {
        StartError::Option(error) => error,
        other => panic!("{other:?}"),
    };
    let new = LaunchOptions::new;
    for options in [
        new().name("nul\0"),
        new().cwd("nul\0"),
        new().env("", "x"),
        new().env("a=b", "x"),
        new().env("nul\0", "x"),
        new().env("x", "nul\0"),
        new().user("nul\0"),
    ] {
        assert!(matches!(option_error(&options), OptionError::Text { .. }));
    }
    let nobody = option_error(&new().user("no-such-user-anywhere"));
    assert!(matches!(&nobody, OptionError::NoSuchUser(name) if name == "no-such-user-anywhere"));
    assert!(matches!(option_error(&new().affinity([])), OptionError::Processor(_)));
    assert!(matches!(option_error(&new().affinity([1 << 30])), OptionError::Processor(_)));
    let (step, errno, _) = setup_error(&new().affinity([1023]));
    assert_eq!((step, errno), (SetupStep::Affinity, Some(libc::EINVAL)));
    Passed
}

fn limits_nice_affinity_umask_and_groups_apply() -> Outcome {
    let options = LaunchOptions::new()
        .limit(Resource::OpenFiles, 50, 60)
        .nice(5)
        .affinity([0])
        .umask(0o077)
        .process_group(ProcessGroup::NewSession)
        .no_new_privs();
    let child = start_with(&options, || {
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let affinity = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let processors = (0..1024).filter(|processor| affinity.is_set(*processor).unwrap()).count();
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty()).bits();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let pid = std::process::id().to_string();
        let leads = (fields[2] == pid, fields[3] == pid);
        let nice: i32 = fields[16].parse().unwrap();
        let nnp = nix::sys::prctl::get_no_new_privs().unwrap();
        (limit, processors, mask, leads, nice, nnp)
    });
    type Seen = ((u64, u64), usize, u32, (bool, bool), i32, bool);
    let seen = child.unwrap().output::<Seen>().unwrap();
    assert_eq!(seen, ((50, 60), 1, 0o077, (true, true), 5, true));
    Passed
}

fn a_limit_above_the_hard_limit_is_an_error_of_the_start() -> Outcome {
    // Even root can't have more descriptors than the kernel allows a process.
    let (step, errno, text) = setup_error(&LaunchOptions::new().core_limit(0).limit(
        Resource::OpenFiles,
        u64::MAX - 1,
        u64::MAX - 1,
    ));
    assert_eq!((step, errno), (SetupStep::Limit(1), Some(libc::EPERM)));
    assert!(text.contains("OpenFiles"), "{text}");
    let (step, errno, _) = setup_error(&LaunchOptions::new().limit(Resource::OpenFiles, 20, 10));
    assert_eq!((step, errno), (SetupStep::Limit(0), Some(libc::EINVAL)));
    Passed
}

fn a_child_has_no_standard_input_unless_told() -> Outcome {
    let read = || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).unwrap();
        text
    };
    let plain = start_with(&LaunchOptions::new(), read).unwrap();
    assert_eq!(plain.output::<String>().unwrap(), "");
    let (reader, mut writer) = common_ipc::link::pipe().unwrap();
    let child = start_with(&LaunchOptions::new().stdin(&reader), read).unwrap();
    std::io::Write::write_all(&mut writer, b"told").unwrap();
    drop(writer);
    assert_eq!(child.output::<String>().unwrap(), "told");
    assert!(proc::descriptors(std::process::id() as i32).iter().any(|(number, _)| *number == 0));
    Passed
}

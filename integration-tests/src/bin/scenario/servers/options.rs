//! Rows 31 and 55 to 58 for children of zygotes and templates: the options of a start.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::id;
use std::time::Duration;

use common_ipc::link::pipe;
use common_ipc::process::{
    Child, JoinError, Launch, LaunchOptions, OptionError, ParentDeath, ProcessGroup, Resource, SetupStep,
    Sigint, Signal, StartError, Stdio, StopSignals,
};
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::sleep_for_long;
use crate::servers::{Both, server, zygote};

scenarios!(
    fault_31_ctrl_c_leaves_servers_alone,
    fault_32_a_zygotes_child_that_holds_its_stop_signals_takes_them_itself,
    fault_55_a_zygotes_child_becomes_a_user_for_good,
    fault_57_a_set_up_that_fails_is_an_error_of_the_zygotes_start,
    fault_57_environment_and_directory_of_a_zygotes_child_are_its_own,
    fault_58_names_of_a_zygotes_child_need_not_be_text,
    limits_nice_affinity_umask_and_group_of_a_zygotes_child_apply,
    streams_of_a_zygotes_child_lead_where_they_are_told,
    the_ties_of_a_zygotes_child_are_as_told,
    too_large_an_output_of_a_zygotes_child_is_an_error,
);

fn me() -> i32 {
    id() as i32
}

fn setup_errors(options: LaunchOptions) -> [(SetupStep, Option<i32>, String); 2] {
    Both::with(options, |()| ()).start().map(|started| match started.unwrap_err() {
        StartError::Setup { step, source, action } => (step, source.raw_os_error(), action),
        other => panic!("{other:?}"),
    })
}

fn fault_31_ctrl_c_leaves_servers_alone() -> Outcome {
    // A group of its own for this program, as a shell would make it.
    let own = nix::unistd::Pid::from_raw(0);
    nix::unistd::setpgid(own, own).unwrap();
    integration_tests::raw::ignore_signal(NixSignal::SIGINT, true);
    integration_tests::raw::ignore_signal(NixSignal::SIGTERM, true);
    let both = Both::new(|()| sleep_for_long());
    let ignoring = Both::with(LaunchOptions::new().sigint(Sigint::Ignore), |()| sleep_for_long());
    let apart =
        Both::with(LaunchOptions::new().process_group(ProcessGroup::New), |()| sleep_for_long()).start();
    let ignored = ignoring.start();
    let plain = both.start();
    let servers = ["mp-keeper", "mp-zygote", "tmpl:child-1"].map(|name| server(name).expect(name));
    nix::sys::signal::killpg(nix::unistd::getpgrp(), NixSignal::SIGINT).unwrap();
    for child in plain {
        assert_eq!(child.unwrap().wait().unwrap().signal(), Some(Signal::INT));
    }
    for child in ignored.into_iter().chain(apart).map(Result::unwrap) {
        assert!(child.wait_timeout(Duration::from_millis(20)).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for signal in [NixSignal::SIGTERM, NixSignal::SIGHUP] {
        integration_tests::raw::ignore_signal(signal, true);
        nix::sys::signal::killpg(nix::unistd::getpgrp(), signal).unwrap();
    }
    for child in both.start().map(Result::unwrap) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(servers.iter().all(|pid| proc::runs(*pid)), "{servers:?}");
    Passed
}

fn fault_32_a_zygotes_child_that_holds_its_stop_signals_takes_them_itself() -> Outcome {
    let zygote = zygote();
    let options = LaunchOptions::new();
    let launch = Launch::new(&options).hold_stop_signals(true);
    let until_told: fn(()) -> bool =
        |()| StopSignals::held().unwrap().wait_timeout(Duration::from_secs(60)).unwrap();
    let template = launch.template(move || until_told(())).unwrap();
    for _ in 0..20 {
        for child in [launch.start_in(&zygote, until_told, &()), template.start()].map(Result::unwrap) {
            // However early it comes.
            child.terminate().unwrap();
            assert!(child.output::<bool>().unwrap());
        }
    }
    Passed
}

fn fault_55_a_zygotes_child_becomes_a_user_for_good() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming another user needs root");
    }
    fn ids(_: ()) -> ([String; 3], bool) {
        let fields = ["Uid", "Gid", "Groups"].map(|field| proc::status_field(me(), field));
        (fields, nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok())
    }
    // Some that are to be lost.
    nix::unistd::setgroups(&[7, 8].map(nix::unistd::Gid::from_raw)).unwrap();
    let options = LaunchOptions::new().uid(65534).gid(65533);
    let expected = ["65534 65534 65534 65534", "65533 65533 65533 65533", ""].map(str::to_owned);
    assert_eq!(Both::with(options.clone(), ids).outputs(), [(expected.clone(), false), (expected, false)]);
    for (fields, root_again) in Both::with(options.groups([7, 5]), ids).outputs() {
        assert_eq!((fields[2].as_str(), root_again), ("5 7", false));
    }
    let [one, other] = Both::with(LaunchOptions::new().user("nobody"), ids).outputs();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.to_string();
    assert!(one.0[0].starts_with(&nobody) && !one.1, "{one:?}");
    assert_eq!(one, other);
    let unknown = Both::with(LaunchOptions::new(), ids);
    unknown.outputs();
    let error = Launch::new(&LaunchOptions::new().user("no-such-user-anywhere"))
        .start_in(&zygote(), |()| (), &())
        .unwrap_err();
    assert!(matches!(error, StartError::Option(OptionError::NoSuchUser(_))), "{error:?}");
    Passed
}

fn fault_57_a_set_up_that_fails_is_an_error_of_the_zygotes_start() -> Outcome {
    for (step, errno, action) in setup_errors(LaunchOptions::new().cwd("/does/not/exist")) {
        assert_eq!((step, errno), (SetupStep::WorkingDirectory, Some(libc::ENOENT)));
        assert!(action.contains("/does/not/exist"), "{action}");
    }
    let limits = LaunchOptions::new().core_limit(0).limit(Resource::OpenFiles, u64::MAX - 1, u64::MAX - 1);
    for (step, errno, action) in setup_errors(limits) {
        assert_eq!((step, errno), (SetupStep::Limit(1), Some(libc::EPERM)));
        assert!(action.contains("OpenFiles"), "{action}");
    }
    for (step, errno, _) in setup_errors(LaunchOptions::new().affinity([1023])) {
        assert_eq!((step, errno), (SetupStep::Affinity, Some(libc::EINVAL)));
    }
    assert!(common_ipc::process::active_children().is_empty());
    Passed
}

fn fault_57_environment_and_directory_of_a_zygotes_child_are_its_own() -> Outcome {
    type Seen = (PathBuf, Vec<(OsString, OsString)>);
    fn seen(_: ()) -> Seen {
        let mut all: Vec<_> = std::env::vars_os().collect();
        all.sort();
        (std::env::current_dir().unwrap(), all)
    }
    let before = seen(());
    let options = LaunchOptions::new().cwd("/").env("ADDED", "value").env_remove("PATH");
    for (cwd, all) in Both::with(options, seen).outputs() {
        assert_eq!(cwd, PathBuf::from("/"));
        assert!(all.contains(&("ADDED".into(), "value".into())));
        assert!(!all.iter().any(|(name, _)| name == "PATH"));
        assert!(all.len() > 1, "the rest is inherited");
    }
    let options = LaunchOptions::new().env("DROPPED", "x").env_clear().env("ONLY", "this");
    for (_, all) in Both::with(options, seen).outputs() {
        assert_eq!(all, [("ONLY".into(), "this".into())]);
    }
    // More than a request's page.
    let long = "x".repeat(20_000);
    for (_, all) in Both::with(LaunchOptions::new().env("LONG", &long), seen).outputs() {
        assert!(all.contains(&("LONG".into(), long.clone().into())));
    }
    assert_eq!(Both::new(seen).outputs(), [before.clone(), before]);
    Passed
}

const STRANGE: &[u8] = b"\xff\xfe strange";

fn fault_58_names_of_a_zygotes_child_need_not_be_text() -> Outcome {
    let strange = OsStr::from_bytes(STRANGE);
    let directory = std::env::temp_dir().join(format!("multiprocess-zygote-{}", id())).join(strange);
    std::fs::create_dir_all(&directory).unwrap();
    let options = LaunchOptions::new().name(strange).cwd(&directory).env(strange, strange);
    let both = Both::with(options, |()| {
        let comm = std::fs::read("/proc/self/comm").unwrap();
        (
            comm,
            std::env::current_dir().unwrap().into_os_string(),
            std::env::var_os(OsStr::from_bytes(STRANGE)),
        )
    });
    for child in both.start().map(Result::unwrap) {
        assert_eq!(child.name(), strange);
        let (comm, cwd, value): (Vec<u8>, OsString, Option<OsString>) = child.output().unwrap();
        assert_eq!(comm, [STRANGE, b"\n"].concat());
        assert_eq!(
            (PathBuf::from(cwd), value),
            (directory.canonicalize().unwrap(), Some(strange.to_owned()))
        );
    }
    std::fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    let long = LaunchOptions::new().name("a name of more than fifteen bytes");
    for child in Both::with(long, |()| proc::name(me())).start().map(Result::unwrap) {
        assert_eq!(child.name(), "a name of more than fifteen bytes");
        assert_eq!(child.output::<String>().unwrap(), "a name of more ");
    }
    Passed
}

fn limits_nice_affinity_umask_and_group_of_a_zygotes_child_apply() -> Outcome {
    type Seen = (((u64, u64), usize, String), (bool, bool), String, String);
    fn seen(_: ()) -> Seen {
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let affinity = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let processors = (0..1024).filter(|processor| affinity.is_set(*processor).unwrap()).count();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let pid = id().to_string();
        let status = |field| proc::status_field(me(), field);
        let leads = (fields[2] == pid, fields[3] == pid);
        ((limit, processors, status("Umask")), leads, fields[16].to_owned(), status("NoNewPrivs"))
    }
    let options = LaunchOptions::new()
        .limit(Resource::OpenFiles, 50, 60)
        .nice(5)
        .affinity([0])
        .umask(0o077)
        .process_group(ProcessGroup::NewSession)
        .no_new_privs();
    let expected: Seen = (((50, 60), 1, "0077".to_owned()), (true, true), "5".to_owned(), "1".to_owned());
    assert_eq!(Both::with(options, seen).outputs(), [expected.clone(), expected]);
    let group = LaunchOptions::new().process_group(ProcessGroup::New);
    assert_eq!(Both::with(group, seen).outputs().map(|seen| seen.1), [(true, false); 2]);
    Passed
}

fn streams_of_a_zygotes_child_lead_where_they_are_told() -> Outcome {
    fn copies(_: ()) -> usize {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).unwrap();
        println!("out: {text}");
        eprintln!("error: {text}");
        text.len()
    }
    let path = std::env::temp_dir().join(format!("multiprocess-streams-{}", id()));
    let errors = path.with_extension("errors");
    for which in 0..2 {
        std::fs::write(&path, "from a file").unwrap();
        std::fs::write(&errors, "").unwrap();
        let (mut out, out_there) = pipe().unwrap();
        let error = std::fs::File::options().append(true).open(&errors).unwrap();
        let input = std::fs::File::open(&path).unwrap();
        let options = LaunchOptions::new().stdin(input).stdout(&out_there).stderr(error);
        let [by_zygote, by_template] = Both::with(options, copies).start().map(Result::unwrap);
        // One reads the file, for the other nothing is left of it.
        let lengths = [by_zygote, by_template].map(|child| child.output::<usize>().unwrap());
        assert!(lengths.contains(&11), "{lengths:?} in round {which}");
        drop(out_there);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert!(text.contains("out: from a file"), "{text}");
        assert!(std::fs::read_to_string(&errors).unwrap().contains("error: from a file"));
    }
    [path, errors].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let targets: fn(()) -> [PathBuf; 3] =
        |()| [0, 1, 2].map(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap());
    let own = targets(());
    let null = PathBuf::from("/dev/null");
    let expected = [null.clone(), own[1].clone(), own[2].clone()];
    assert_eq!(Both::new(targets).outputs(), [expected.clone(), expected]);
    let quiet = LaunchOptions::new().stdin(Stdio::Inherit).stdout(Stdio::Null).stderr(Stdio::Null);
    let expected = [own[0].clone(), null.clone(), null];
    assert_eq!(Both::with(quiet, targets).outputs(), [expected.clone(), expected]);
    Passed
}

/// The signal that the kernel sends the child when its parent's thread dies: the fastest look at its tie.
fn tie(_: ()) -> Option<i32> {
    nix::sys::prctl::get_pdeathsig().unwrap().map(|signal| signal as i32)
}

fn the_ties_of_a_zygotes_child_are_as_told() -> Outcome {
    let ties = |policy| Both::with(LaunchOptions::new().on_parent_death(policy), tie).outputs();
    assert_eq!(Both::new(tie).outputs(), [Some(libc::SIGKILL); 2]);
    assert_eq!(ties(ParentDeath::Signal(Signal::USR1)), [Some(libc::SIGUSR1); 2]);
    assert_eq!(ties(ParentDeath::Survive), [None; 2]);
    Passed
}

fn too_large_an_output_of_a_zygotes_child_is_an_error() -> Outcome {
    let both = Both::with(LaunchOptions::new().max_output(1000), |()| "x".repeat(2000));
    for child in both.start().map(Result::unwrap) {
        let child: Child = child;
        let error = child.output::<String>().unwrap_err();
        assert!(matches!(error, JoinError::TooLarge { bytes: 2008, max: 1000 }), "{error:?}");
    }
    Passed
}

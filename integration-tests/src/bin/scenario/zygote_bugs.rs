//! What zygotes and templates don't do yet as they promise. Not listed: each of these fails.

use std::process::id;

use common_ipc::link::Connection;
use common_ipc::process::{ExitStatus, Launch, LaunchOptions, StartError, Zygote};
use integration_tests::raw;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios!(
    bug_a_child_that_cannot_follow_is_stale,
    bug_a_long_report_of_a_preload_arrives,
    bug_a_program_of_many_groups_has_zygotes_children,
    bug_a_sandbox_of_the_program_is_its_zygotes_childrens,
    bug_a_stopped_zygote_that_cannot_be_killed_is_replaced,
    bug_an_end_stays_here_when_a_templates_start_fails,
    bug_an_end_stays_here_when_its_reading_fails,
    bug_files_are_used_as_whom_the_program_uses_them,
    bug_root_without_rights_stays_so_across_an_exec,
    bug_what_else_a_fork_takes_over_is_as_the_programs,
);

fn bug_a_child_that_cannot_follow_is_stale() -> Outcome {
    let uids = |ids: [u32; 3]| {
        let [real, effective, saved] = ids.map(nix::unistd::Uid::from_raw);
        nix::unistd::setresuid(real, effective, saved).unwrap();
    };
    let start = || Launch::new(&LaunchOptions::new()).start_in(&zygote(), |()| (), &());
    zygote();
    uids([0, 65534, 0]);
    start().unwrap().wait().unwrap();
    uids([0; 3]);
    nix::unistd::setgroups(&[]).unwrap();
    uids([8; 3]);
    // Its child can't give up its groups, and the program can't kill it.
    match start() {
        Ok(child) => child.output::<()>().unwrap(),
        Err(error) => assert!(matches!(error, StartError::ZygoteStale { .. }), "{error:?}"),
    }
    Passed
}

fn bug_files_are_used_as_whom_the_program_uses_them() -> Outcome {
    fn uids(_: ()) -> String {
        integration_tests::proc::status_field(id() as i32, "Uid")
    }
    zygote();
    raw::rights::set_user_for_files(65534);
    let own = uids(());
    assert!(own.ends_with("65534"), "{own}");
    match Launch::new(&LaunchOptions::new()).start_in(&zygote(), uids, &()) {
        Ok(child) => assert_eq!(child.output::<String>().unwrap(), own),
        Err(error) => assert!(matches!(error, StartError::ZygoteStale { .. }), "{error:?}"),
    }
    Passed
}

fn bug_root_without_rights_stays_so_across_an_exec() -> Outcome {
    fn rights_after_exec(_: ()) -> String {
        let output = std::process::Command::new("/bin/cat").arg("/proc/self/status").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("CapEff")).unwrap().to_owned()
    }
    zygote();
    // SECBIT_NOROOT: to be root is worth nothing to what is executed.
    assert!(raw::rights::set_secure_bits(1));
    raw::rights::set_capabilities(0, 0, 0, 0, None);
    let own = rights_after_exec(());
    assert_eq!(own, "CapEff:\t0000000000000000");
    match Launch::new(&LaunchOptions::new()).start_in(&zygote(), rights_after_exec, &()) {
        Ok(child) => assert_eq!(child.output::<String>().unwrap(), own),
        Err(error) => assert!(matches!(error, StartError::ZygoteStale { .. }), "{error:?}"),
    }
    Passed
}

fn bug_a_long_report_of_a_preload_arrives() -> Outcome {
    zygote();
    // Or a short one, with a backtrace.
    let error = Zygote::with_preload(|()| panic!("{}", "a long story ".repeat(1000)), &()).unwrap_err();
    let StartError::EndedEarly { status: ExitStatus::Panicked(report) } = &error else { panic!("{error:?}") };
    assert!(report.message.starts_with("a long story"), "{report:?}");
    Passed
}

struct ErrsElsewhere;

impl Serialize for ErrsElsewhere {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        id().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ErrsElsewhere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrsElsewhere, D::Error> {
        match u32::deserialize(deserializer)? == id() {
            true => Ok(ErrsElsewhere),
            false => Err(serde::de::Error::custom("not today")),
        }
    }
}

fn bug_an_end_stays_here_when_its_reading_fails() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let argument = (there, ErrsElsewhere);
    let run = |_: (Connection<u8, u8>, ErrsElsewhere)| ();
    let error = Launch::new(&LaunchOptions::new()).start_in(&zygote(), run, &argument).unwrap_err();
    assert!(matches!(error, StartError::Argument { .. }), "{error:?}");
    argument.0.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    Passed
}

fn bug_an_end_stays_here_when_a_templates_start_fails() -> Outcome {
    let directory = std::env::temp_dir().join(format!("multiprocess-template-{}", id()));
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let options = LaunchOptions::new().give(&there).cwd(&directory);
    // To be made, it needs none of what its children need.
    let template =
        Launch::new(&options).template(move || there.send(&there.recv().unwrap()).unwrap()).unwrap();
    let error = template.start().unwrap_err();
    assert!(matches!(error, StartError::Setup { .. }), "{error:?}");
    std::fs::create_dir(&directory).unwrap();
    let second = template.start();
    std::fs::remove_dir(&directory).unwrap();
    let child = second.unwrap();
    here.send(&7).unwrap();
    assert_eq!(here.recv().unwrap(), 7);
    child.output::<()>().unwrap();
    Passed
}

fn bug_a_sandbox_of_the_program_is_its_zygotes_childrens() -> Outcome {
    fn can_read(_: ()) -> bool {
        std::fs::read("/etc/passwd").is_ok()
    }
    zygote();
    Launch::new(&LaunchOptions::new()).start_in(&zygote(), |()| (), &()).unwrap().wait().unwrap();
    if !raw::rights::forbid_reading_files() {
        return crate::Outcome::Skipped("the kernel has no landlock");
    }
    assert!(!can_read(()));
    assert!(!crate::children::start(|| can_read(())).output::<bool>().unwrap(), "a forked child");
    match Launch::new(&LaunchOptions::new()).start_in(&zygote(), can_read, &()) {
        Ok(child) => {
            assert!(!child.output::<bool>().unwrap(), "a zygote's child reads what the program can't")
        }
        Err(error) => assert!(matches!(error, StartError::ZygoteStale { .. }), "{error:?}"),
    }
    Passed
}

fn bug_what_else_a_fork_takes_over_is_as_the_programs() -> Outcome {
    fn seen(_: ()) -> Vec<String> {
        let files = ["oom_score_adj", "timerslack_ns", "personality", "coredump_filter"];
        let read = |name: &&str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        files.iter().map(|name| format!("{name} {}", read(name).trim())).collect()
    }
    zygote();
    let before = seen(());
    std::fs::write("/proc/self/oom_score_adj", "500").unwrap();
    std::fs::write("/proc/self/coredump_filter", "0x1").unwrap();
    std::fs::write("/proc/self/timerslack_ns", "70000").unwrap();
    assert_ne!(seen(()), before);
    let forked = crate::children::start(|| seen(())).output::<Vec<String>>().unwrap();
    let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), seen, &()).unwrap();
    assert_eq!(child.output::<Vec<String>>().unwrap(), forked);
    Passed
}

fn bug_a_stopped_zygote_that_cannot_be_killed_is_replaced() -> Outcome {
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let child = Launch::new(&options).start(|| {
        let start = || {
            let options = LaunchOptions::new().ready_timeout(std::time::Duration::from_millis(300));
            Launch::new(&options).start_in(&zygote(), |()| (), &())
        };
        start().unwrap().wait().unwrap();
        let nobody = nix::unistd::Uid::from_raw(65534);
        nix::unistd::setresuid(nobody, nobody, nobody).unwrap();
        there.send(&zygote().id().unwrap()).unwrap();
        there.recv().unwrap();
        // The zygote is root's, and nobody may not kill it.
        let error = start().unwrap_err();
        assert!(matches!(error, StartError::ServerStuck { .. }), "{error:?}");
        start().map(|child| child.wait().unwrap().success()).map_err(|error| error.to_string())
    });
    let stopped = here.recv().unwrap() as i32;
    crate::servers::kill(stopped, nix::sys::signal::Signal::SIGSTOP);
    here.send(&()).unwrap();
    let outcome = child.unwrap().output::<Result<bool, String>>().unwrap();
    crate::servers::kill(stopped, nix::sys::signal::Signal::SIGKILL);
    assert_eq!(outcome, Ok(true));
    Passed
}

fn bug_a_program_of_many_groups_has_zygotes_children() -> Outcome {
    use nix::unistd::{Gid, setgroups};
    setgroups(&(100_000..100_600).map(Gid::from_raw).collect::<Vec<_>>()).unwrap();
    assert_eq!(crate::children::start(|| 1).output::<i32>().unwrap(), 1, "a forked child");
    let groups = |()| nix::unistd::getgroups().unwrap().len();
    let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), groups, &()).unwrap();
    assert_eq!(child.output::<usize>().unwrap(), 600);
    Passed
}

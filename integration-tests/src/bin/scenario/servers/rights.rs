//! What a program may and may not do, down to the rarer rights, and its zygotes' children with it.

use std::process::id;
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{Launch, LaunchOptions, StartError};
use integration_tests::raw;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresuid};

use crate::Outcome::{self, Passed, Skipped};
use crate::servers::{kill, zygote};

scenarios!(
    fault_55_a_zygote_that_comes_late_gives_no_rights_of_old,
    fault_55_rights_that_the_program_kept_its_zygotes_child_has,
    fault_29_a_stopped_zygote_that_cannot_be_killed_is_replaced,
    fault_55_files_are_used_as_whom_the_program_uses_them,
    fault_55_root_without_rights_stays_so_across_an_exec,
    a_child_that_cannot_follow_is_stale,
    a_program_of_many_groups_has_zygotes_children,
);

fn fault_55_root_without_rights_stays_so_across_an_exec() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
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

fn fault_55_files_are_used_as_whom_the_program_uses_them() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
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

fn fault_29_a_stopped_zygote_that_cannot_be_killed_is_replaced() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let child = Launch::new(&options).start(|| {
        let start = || {
            let options = LaunchOptions::new().ready_timeout(Duration::from_millis(300));
            Launch::new(&options).start_in(&zygote(), |()| (), &())
        };
        start().unwrap().wait().unwrap();
        let nobody = Uid::from_raw(65534);
        setresuid(nobody, nobody, nobody).unwrap();
        there.send(&zygote().id().unwrap()).unwrap();
        there.recv().unwrap();
        // The zygote is root's, and nobody may not kill it.
        let error = start().unwrap_err();
        assert!(matches!(error, StartError::ServerStuck { .. }), "{error:?}");
        start().map(|child| child.wait().unwrap().success()).map_err(|error| error.to_string())
    });
    let stopped = here.recv().unwrap() as i32;
    kill(stopped, Signal::SIGSTOP);
    here.send(&()).unwrap();
    let outcome = child.unwrap().output::<Result<bool, String>>().unwrap();
    kill(stopped, Signal::SIGKILL);
    assert_eq!(outcome, Ok(true));
    Passed
}

fn a_child_that_cannot_follow_is_stale() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
    let uids = |ids: [u32; 3]| {
        let [real, effective, saved] = ids.map(Uid::from_raw);
        setresuid(real, effective, saved).unwrap();
    };
    let start = || Launch::new(&LaunchOptions::new()).start_in(&zygote(), |()| (), &());
    zygote();
    uids([0, 65534, 0]);
    start().unwrap().wait().unwrap();
    uids([0; 3]);
    setgroups(&[]).unwrap();
    uids([8; 3]);
    // Its child can't give up its groups, and the program can't kill it.
    match start() {
        Ok(child) => child.output::<()>().unwrap(),
        Err(error) => assert!(matches!(error, StartError::ZygoteStale { .. }), "{error:?}"),
    }
    Passed
}

fn a_program_of_many_groups_has_zygotes_children() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
    setgroups(&(100_000..100_600).map(Gid::from_raw).collect::<Vec<_>>()).unwrap();
    assert_eq!(crate::processes::children::start(|| 1).output::<i32>().unwrap(), 1, "a forked child");
    let groups = |()| nix::unistd::getgroups().unwrap().len();
    let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), groups, &()).unwrap();
    assert_eq!(child.output::<usize>().unwrap(), 600);
    Passed
}

fn fault_55_rights_that_the_program_kept_its_zygotes_child_has() -> Outcome {
    fn rights(_: ()) -> Vec<String> {
        let field = |name| integration_tests::proc::status_field(id() as i32, name);
        ["Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(field).to_vec()
    }
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
    zygote();
    raw::rights::keep_capabilities();
    setresuid(Uid::from_raw(65534), Uid::from_raw(65534), Uid::from_raw(65534)).unwrap();
    // CAP_KILL and CAP_NET_ADMIN, of which one is in use.
    raw::rights::set_capabilities(1 << 5 | 1 << 12, 1 << 5, 0, 0, None);
    let own = rights(());
    assert!(own[2].ends_with("1020") && own[3].ends_with("0020"), "{own:?}");
    let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), rights, &()).unwrap();
    assert_eq!(child.output::<Vec<String>>().unwrap(), own);
    Passed
}

fn fault_55_a_zygote_that_comes_late_gives_no_rights_of_old() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("it takes root to change its rights");
    }
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let child = Launch::new(&options).start(|| {
        let own = |()| Uid::effective().as_raw();
        let start = move || Launch::new(&LaunchOptions::new()).start_in(&zygote(), own, &());
        assert_eq!(start().unwrap().output::<u32>().unwrap(), 0);
        there.send(&zygote().id().unwrap()).unwrap();
        there.recv().unwrap();
        // The zygote is stopped: the request, which speaks of root, waits.
        let starting = std::thread::spawn(start);
        std::thread::sleep(Duration::from_millis(200));
        assert!(!starting.is_finished());
        let nobody = Uid::from_raw(65534);
        setresuid(nobody, nobody, nobody).unwrap();
        std::thread::sleep(Duration::from_millis(1000));
        there.send(&0).unwrap();
        starting.join().unwrap().unwrap().output::<u32>().unwrap()
    });
    let stopped = here.recv().unwrap() as i32;
    kill(stopped, Signal::SIGSTOP);
    here.send(&()).unwrap();
    here.recv().unwrap();
    kill(stopped, Signal::SIGCONT);
    assert_eq!(child.unwrap().output::<u32>().unwrap(), 65534);
    Passed
}

//! Rows 1, 11, 12, 17, 23, 28 and 32 where siblings, templates and zygotes start what there is.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::process::{ExitStatus, Launch, LaunchOptions, StartError, active_children};
use cross_process_bridge::bridge;
use cross_process_bridge::manager::Manager;
use integration_tests::{proc, stress_factor};
use nix::fcntl::{Flock, FlockArg};
use offspring::{LoopStep, Subprocess, SubprocessLoop};
use pkit::supervisor::{Backoff, ChildSpec, Event, Supervisor};
use pkit::{Process, ProcessPool, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::Outcome::{self, Passed, Skipped};
use crate::faults::kinds::{Act, Kinds, Say, Servant, SpeakerBridge, WAYS, Way, perform};
use crate::processes::children::sleep_for_long;
use crate::servers::{self, template, zygote};

scenarios!(
    fault_01_starts_of_every_kind_beside_a_thread,
    fault_11_starts_of_every_kind_without_processes_to_spare,
    fault_11_a_template_without_processes_to_spare_is_a_typed_error,
    fault_12_starts_and_ends_of_every_kind_leave_descriptors_as_they_were,
    fault_17_dropped_handles_of_a_templates_children_leave_no_zombies,
    fault_23_two_back_ends_of_a_front_end_never_overlap,
    fault_23_two_objects_of_a_bridge_never_overlap,
    fault_23_two_processes_of_a_supervised_child_never_overlap,
    fault_28_what_a_thread_has_started_outlives_it,
    fault_32_a_loop_of_a_template_or_a_zygote_begins_and_ends,
);

const PATIENCE: Duration = Duration::from_secs(60);

fn plain() -> Kinds {
    Kinds::new(&LaunchOptions::new())
}

fn fault_01_starts_of_every_kind_beside_a_thread() -> Outcome {
    let mut old = plain();
    old.play(Act::Nothing);
    let (stop, wait) = channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let assert_refused = |told: &Result<String, String>| {
        assert!(told.as_ref().is_err_and(|text| text.contains("before the first thread")), "{told:?}");
    };
    for done in old.play(Act::Nothing) {
        match done.way {
            Way::Fork => assert_refused(&done.told),
            Way::Template | Way::Zygote => assert!(done.told.is_ok(), "{done:?}"),
        }
    }
    // Nor is there a template of this moment.
    for done in plain().play(Act::Nothing) {
        match done.way {
            Way::Fork | Way::Template => assert_refused(&done.told),
            Way::Zygote => assert!(done.told.is_ok(), "{done:?}"),
        }
    }
    drop(stop);
    let _ = other.join().unwrap();
    for done in plain().play(Act::Nothing) {
        assert!(done.told.is_ok(), "{done:?}");
    }
    Passed
}

fn fault_11_a_template_without_processes_to_spare_is_a_typed_error() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming a user with no processes to spare needs root");
    }
    let limit = |pid: u32, limit: &str| {
        let mut command = Command::new("prlimit");
        // As that user: not every root may touch the limits of others.
        command.uid(65534).gid(65534).args(["--pid", &pid.to_string(), &format!("--nproc={limit}:")]);
        command.status().is_ok_and(|status| status.success())
    };
    let (tell, told) = (common_ipc::sync::Event::new().unwrap(), common_ipc::sync::Event::new().unwrap());
    let (link, there) = common_ipc::link::Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().uid(65534).gid(65534).give(&there);
    let program = Launch::new(&options).start(|| {
        let template = template(|| 1);
        assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
        there.send(&template.id()).unwrap();
        told.wait().unwrap();
        told.clear();
        let before = proc::descriptors(std::process::id() as i32).len();
        for _ in 0..20 {
            let error = template.start().unwrap_err();
            let StartError::Os { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(source.raw_os_error(), Some(libc::EAGAIN), "{error}");
        }
        assert_eq!(proc::descriptors(std::process::id() as i32).len(), before);
        assert!(active_children().is_empty() && template.is_alive());
        tell.set();
        told.wait().unwrap();
        // It was the limit, and nothing else.
        assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
    });
    let program = program.unwrap();
    let pid = link.recv().unwrap();
    let limited = limit(pid, "0");
    told.set();
    if limited {
        assert!(tell.wait_or_death(&program, Some(PATIENCE)).unwrap());
        assert!(limit(pid, "unlimited") || limit(pid, "10000"));
        told.set();
        program.output::<()>().unwrap();
        return Passed;
    }
    program.kill().unwrap();
    program.wait().unwrap();
    Skipped("there is no program that sets the limits of another one")
}

fn fault_11_starts_of_every_kind_without_processes_to_spare() -> Outcome {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming a user with no processes to spare needs root");
    }
    let options = LaunchOptions::new().uid(65534).gid(65534);
    let program = Launch::new(&options).start(|| {
        let me = std::process::id() as i32;
        let mut kinds = plain();
        for _ in 0..2 {
            kinds.play(Act::Nothing);
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        let before = proc::descriptors(me).len();
        setrlimit(Resource::RLIMIT_NPROC, 0, hard).unwrap();
        for _ in 0..10 {
            for done in kinds.play(Act::Nothing) {
                // Servers that were there before aren't limited; those who need a thread for it can't have that.
                let is_spent = |text: &String| text.contains("os error 11");
                let may_be = done.way != Way::Fork && done.told.is_ok();
                assert!(may_be || done.told.as_ref().is_err_and(is_spent), "{done:?}");
            }
        }
        for done in plain().play(Act::Nothing).iter().filter(|done| done.way != Way::Zygote) {
            assert!(done.told.is_err(), "{done:?}");
        }
        setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
        for done in kinds.play(Act::Nothing) {
            assert!(done.told.is_ok(), "{done:?}");
        }
        // Less than one for each round; those of threads that are about to end come and go.
        let after = || proc::descriptors(me).len();
        assert!(proc::eventually(|| after() < before + 8), "{before} descriptors, then {}", after());
    });
    program.unwrap().output::<()>().unwrap();
    Passed
}

fn fault_12_starts_and_ends_of_every_kind_leave_descriptors_as_they_were() -> Outcome {
    let me = std::process::id() as i32;
    let mut kinds = Kinds::new(&LaunchOptions::new().stderr(common_ipc::process::Stdio::Null));
    let mut round = || {
        kinds.play(Act::Nothing);
        kinds.play(Act::Kill);
        kinds.play(Act::Panic);
    };
    for _ in 0..3 {
        round();
    }
    let all = |pids: &[i32]| pids.iter().map(|pid| proc::descriptors(*pid).len()).collect::<Vec<_>>();
    // This process, its servers and its templates.
    let count = || {
        let mut pids: Vec<i32> = proc::children(me).iter().map(|child| child.pid).collect();
        pids.retain(|pid| proc::name(*pid).starts_with("mp-") || proc::name(*pid).starts_with("tmpl:"));
        pids.push(me);
        all(&pids)
    };
    let before = count();
    assert!(before.len() > 7, "{before:?}");
    for _ in 0..10 * stress_factor() {
        round();
    }
    // Those of threads that are about to end come and go.
    let is_as_before = || count().iter().zip(&before).all(|(now, before)| *now < before + 8);
    assert!(count().len() == before.len() && proc::eventually(is_as_before), "{before:?} {:?}", count());
    Passed
}

fn fault_17_dropped_handles_of_a_templates_children_leave_no_zombies() -> Outcome {
    let template =
        template(|| std::thread::sleep(Duration::from_micros(u64::from(std::process::id()) % 1000)));
    for _ in 0..200 * stress_factor() {
        drop(template.start().unwrap());
    }
    let me = std::process::id() as i32;
    // Nobody asks the library, which would have it look.
    let others = || proc::children(me).into_iter().filter(|child| child.pid != template.id() as i32).count();
    assert!(proc::eventually(|| others() == 0), "{:?}", proc::children(me));
    assert!(active_children().is_empty());
    Passed
}

/// A file in which each process has a lock of its own until its end.
struct Locked(PathBuf);

impl Locked {
    fn new() -> Locked {
        let path = std::env::temp_dir().join(format!("multiprocess-overlap-{}", std::process::id()));
        File::create(&path).unwrap();
        Locked(path)
    }

    /// Whether somebody has the lock now: without that the test would prove nothing.
    fn assert_held(&self) {
        let held = || Flock::lock(File::open(&self.0).unwrap(), FlockArg::LockExclusiveNonblock).is_err();
        assert!(proc::eventually(held), "nobody has the lock");
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the lock for as long as this process lives.
fn take(path: &Path) -> Result<(), String> {
    match Flock::lock(File::open(path).unwrap(), FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            std::mem::forget(lock);
            Ok(())
        }
        Err(_) => Err("another process has it".to_owned()),
    }
}

struct Locker;

#[bridge]
impl Locker {
    fn new(path: &Path) -> Result<Locker, String> {
        take(path).map(|()| Locker)
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

fn fault_23_two_objects_of_a_bridge_never_overlap() -> Outcome {
    let file = Locked::new();
    for way in WAYS {
        let object = LockerBridge::new(&file.0);
        way.of_bridge(object.process()).unwrap();
        object.start().unwrap();
        for round in 0..60 * stress_factor() {
            let old = object.pid().unwrap();
            match round % 3 {
                0 => object.process().restart().unwrap(),
                1 => {
                    object.process().kill().unwrap();
                    object.start().unwrap();
                }
                _ => {
                    servers::kill(old as i32, nix::sys::signal::Signal::SIGKILL);
                    object.process().restart().unwrap();
                }
            }
            assert_ne!(object.pid().unwrap(), old, "{way:?}");
        }
        file.assert_held();
        object.stop().unwrap();
    }
    Passed
}

#[derive(Serialize, Deserialize)]
struct LockedServant(PathBuf);

impl Backend for LockedServant {
    type Command = Reply<u32>;
    type Event = ();

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        take(&self.0).map_err(RemoteError::msg)
    }

    fn handle(&mut self, _: &mut Context<Self>, reply: Reply<u32>) -> Result<(), RemoteError> {
        reply.send(&std::process::id())?;
        Ok(())
    }
}

fn fault_23_two_back_ends_of_a_front_end_never_overlap() -> Outcome {
    let file = Locked::new();
    for way in WAYS {
        let process = MessageProcess::new("locked", LockedServant(file.0.clone()));
        let process = way.of_back_end(process).unwrap();
        process.start().unwrap();
        for round in 0..60 * stress_factor() {
            let old = process.request(|reply| reply).unwrap();
            if round % 2 == 0 {
                process.stop().unwrap();
            } else {
                process.child().unwrap().kill().unwrap();
                process.wait_stop_timeout(PATIENCE).unwrap().unwrap();
            }
            process.start().unwrap();
            assert_ne!(process.request(|reply| reply).unwrap(), old);
        }
        file.assert_held();
        process.stop().unwrap();
    }
    Passed
}

fn fault_23_two_processes_of_a_supervised_child_never_overlap() -> Outcome {
    fn hold(path: PathBuf) {
        take(&path).unwrap();
        pkit::ready();
        sleep_for_long();
    }
    let file = Locked::new();
    let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    for way in [Way::Template, Way::Zygote] {
        let path = file.0.clone();
        let spec = match way {
            Way::Zygote => ChildSpec::in_zygote("a", &zygote(), hold, path),
            _ => ChildSpec::new("a", move || hold(path)),
        };
        let mut builder = Supervisor::builder()
            .intensity(u32::MAX, Duration::from_secs(1))
            .child(spec.ready_by_target().backoff(at_once));
        let events = builder.events();
        let supervisor = builder.start().unwrap();
        for round in 0..60 * stress_factor() {
            let old = supervisor.child("a").unwrap();
            if round % 2 == 0 {
                supervisor.restart("a").unwrap();
            } else {
                while events.try_recv().is_some() {}
                servers::kill(old.pid.unwrap() as i32, nix::sys::signal::Signal::SIGKILL);
                let is_new =
                    |event: &Event| matches!(event, Event::Ready { pid, .. } if Some(*pid) != old.pid);
                while !is_new(&events.recv_timeout(PATIENCE).expect("it isn't started again")) {}
            }
            // One that finds another with the lock panics, and is started once more.
            assert_eq!(supervisor.child("a").unwrap().generation, old.generation + 1, "{way:?}");
        }
        file.assert_held();
        supervisor.stop().unwrap();
    }
    Passed
}

fn fault_28_what_a_thread_has_started_outlives_it() -> Outcome {
    let zygote = zygote();
    let processes = [
        Process::builder().build_template(sleep_for_long).unwrap(),
        Process::builder().build_function_in(&zygote, |()| sleep_for_long(), ()),
    ];
    let objects = [(); 2].map(|()| SpeakerBridge::new());
    objects[0].process().launch_from_template().unwrap();
    objects[1].process().launch_in(&zygote);
    let new = || MessageProcess::new("servant", Servant);
    let back_ends = [new().launch_from_template().unwrap(), new().launch_in(&zygote)];
    let pool = ProcessPool::new(1).unwrap();
    // The zygote itself is made there.
    let (pids, task, workers, supervisor, manager) = std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            let mut pids: Vec<u32> = processes.iter().map(|process| process.start().unwrap()).collect();
            for object in &objects {
                object.start().unwrap();
                pids.extend(object.process().pid());
            }
            for back_end in &back_ends {
                back_end.start().unwrap();
                pids.extend(back_end.pid());
            }
            let task = pool.execute_in(&zygote, |()| sleep_for_long(), &()).unwrap();
            let workers = WorkerPool::new(1).unwrap();
            workers.submit(perform, Act::Nothing).unwrap().join().unwrap();
            let spec = ChildSpec::in_zygote("a", &zygote, |()| sleep_for_long(), ());
            let supervisor = Supervisor::builder().child(spec).start().unwrap();
            let manager = Manager::builder().start_in(&zygote).unwrap();
            pids.extend([task.pid(), manager.child().id()]);
            pids.extend(workers.pids().unwrap());
            pids.extend(supervisor.child("a").unwrap().pid);
            (pids, task, workers, supervisor, manager)
        });
        starter.join().unwrap()
    });
    assert_eq!(pids.len(), 10, "{pids:?}");
    std::thread::sleep(Duration::from_millis(100));
    for pid in &pids {
        assert!(proc::runs(*pid as i32), "{pid} of {pids:?} died with the thread");
    }
    // They are of use, and are the same.
    assert!(
        objects.iter().map(|object| object.say(Act::Id).unwrap()).eq(pids[2..4].iter().map(u32::to_string))
    );
    let ask =
        |back_end: &MessageProcess<Servant>| back_end.request(|reply| Say { act: Act::Id, reply }).unwrap();
    assert!(back_ends.iter().map(ask).eq(pids[4..6].iter().map(u32::to_string)));
    let by_worker = workers.submit(perform, Act::Id).unwrap().join().unwrap();
    assert_eq!(by_worker, pids[8].to_string());
    assert_eq!(supervisor.child("a").unwrap().restarts, 0);
    for process in &processes {
        process.kill().unwrap();
    }
    task.kill().unwrap();
    supervisor.stop().unwrap();
    manager.stop().unwrap();
    Passed
}

/// How often it has begun, and ended.
#[derive(Clone, Serialize, Deserialize)]
struct Counting(SharedAtomics);

impl SubprocessLoop for Counting {
    const RESTARTABLE: bool = true;

    fn begin(&mut self) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }

    fn step(&mut self) -> LoopStep {
        LoopStep::After(Duration::from_millis(1))
    }

    fn end(&mut self) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

fn fault_32_a_loop_of_a_template_or_a_zygote_begins_and_ends() -> Outcome {
    let zygote = zygote();
    let counts = [(); 2].map(|()| SharedAtomics::new(2).unwrap());
    let mut of_template = Counting(counts[0].clone()).spawn().unwrap();
    of_template.stop(PATIENCE).unwrap();
    for round in 1..=50 * u64::from(stress_factor()) {
        of_template.restart().unwrap();
        let of_zygote = Counting(counts[1].clone()).spawn_in(&zygote, LaunchOptions::new()).unwrap();
        // 0 to 20 ms after the start, most of them right after it.
        std::thread::sleep(Duration::from_micros((round % 50).pow(2) * 8));
        for task in [&of_template, &of_zygote] {
            task.process().unwrap().terminate().unwrap();
            task.wait().unwrap();
            assert_eq!(task.process().unwrap().wait().unwrap(), ExitStatus::Exited(0));
        }
        // The template's had a first run.
        let counted = [&counts[0], &counts[1]].map(|of| [0, 1].map(|place| of[place].load(Ordering::SeqCst)));
        assert_eq!(counted, [[round + 1; 2], [round; 2]]);
    }
    Passed
}

//! Rows 2, 3, 4, 6, 9, 33, 55, 57 and 58 for processes of every kind: what they have of their program, and what they
//! haven't.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::id;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use common_ipc::link::{Connection, pipe};
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Launch, LaunchOptions, Stdio, after_fork};
use integration_tests::{proc, raw};
use nix::sys::signal::{SigSet, Signal as NixSignal};

use crate::Outcome::{self, Passed, Skipped};
use crate::faults::kinds::{Act, Kinds, SEED};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_02_no_kind_of_process_writes_what_its_program_has_pending,
    fault_03_no_kind_of_process_has_what_is_of_others,
    fault_04_no_kind_of_process_blocks_or_ignores_what_its_program_does,
    fault_06_processes_of_every_kind_differ_after_a_hook,
    fault_09_no_kind_of_process_runs_its_programs_exit_handlers,
    fault_33_no_kind_of_process_runs_its_programs_signal_handlers,
    fault_55_processes_of_every_kind_become_a_user_for_good,
    fault_56_core_dumps_of_every_kind_of_process_are_limited,
    fault_57_a_missing_directory_is_an_error_of_every_kind_of_start,
    fault_57_processes_of_every_kind_have_a_place_of_their_own,
    fault_58_the_place_of_every_kind_of_process_need_not_be_text,
);

fn plain() -> Kinds {
    Kinds::new(&LaunchOptions::new())
}

fn fault_02_no_kind_of_process_writes_what_its_program_has_pending() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-pending-{}", id()));
    let file = std::fs::File::create(&path).unwrap();
    let options = LaunchOptions::new().stdout(Stdio::from(file)).stderr(Stdio::Null);
    let program = Launch::new(&options).start(|| {
        let mut kinds = plain();
        for act in [Act::Nothing, Act::Exit, Act::Panic] {
            // For a file both buffer more than lines.
            print!("rust-{act:?} ");
            raw::c_print(c"libc ");
            kinds.play(act);
        }
        std::io::stdout().flush().unwrap();
    });
    program.unwrap().output::<()>().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for word in ["rust-Nothing ", "rust-Exit ", "rust-Panic "] {
        assert_eq!(text.matches(word).count(), 1, "{word} in {text}");
    }
    assert_eq!(text.matches("libc ").count(), 3, "{text}");
    Passed
}

fn fault_03_no_kind_of_process_has_what_is_of_others() -> Outcome {
    // Sockets and pipes, which have numbers of their own.
    let targets = || {
        let open = proc::descriptors(id() as i32).into_iter();
        let targets = open.map(|(_, target)| target.display().to_string());
        targets
            .filter(|target| target.starts_with("socket:") || target.starts_with("pipe:"))
            .collect::<BTreeSet<_>>()
    };
    start(|| ()).wait().unwrap();
    let before = targets();
    let other = start(sleep_for_long);
    let (_here, _there) = Connection::<u8, u8>::pair().unwrap();
    let (_reader, _writer) = pipe().unwrap();
    let of_others: BTreeSet<String> = targets().difference(&before).cloned().collect();
    assert!(of_others.len() > 3, "{of_others:?}");
    let mut kinds = plain();
    for _ in 0..2 {
        for done in kinds.play(Act::Descriptors) {
            for line in done.told.as_ref().unwrap().lines() {
                let (target, behind) = line.split_once(" behind ").unwrap();
                assert!(!of_others.contains(target), "{line} of {done:?}");
                assert_ne!(behind, format!("Some({})", other.id()), "{done:?}");
            }
        }
    }
    other.kill().unwrap();
    other.wait().unwrap();
    Passed
}

fn fault_04_no_kind_of_process_blocks_or_ignores_what_its_program_does() -> Outcome {
    let own = || proc::status_field(id() as i32, "SigBlk") + &proc::status_field(id() as i32, "SigIgn");
    let mut old = plain();
    let (fresh, own_before) = (old.play(Act::Signals), own());
    SigSet::all().thread_block().unwrap();
    for signal in [NixSignal::SIGUSR1, NixSignal::SIGUSR2, NixSignal::SIGQUIT] {
        raw::ignore_signal(signal, true);
    }
    assert_ne!(own(), own_before);
    // Templates that were made before, and those that are made now.
    for now in [old.play(Act::Signals), plain().play(Act::Signals)] {
        for (done, fresh) in now.iter().zip(&fresh) {
            assert_eq!(done.told.as_ref().unwrap(), fresh.told.as_ref().unwrap(), "{done:?}");
        }
    }
    for done in fresh.iter().filter(|done| done.name != "back end") {
        // A back end waits for those that end it, beside its commands.
        assert!(done.told.as_ref().unwrap().starts_with("0 "), "{done:?}");
    }
    SigSet::all().thread_unblock().unwrap();
    Passed
}

fn fault_06_processes_of_every_kind_differ_after_a_hook() -> Outcome {
    SEED.store(1, Ordering::Relaxed);
    assert_eq!(
        start(|| SEED.load(Ordering::Relaxed)).output::<u32>().unwrap(),
        1,
        "without a hook it is a copy"
    );
    after_fork(|| SEED.store(id(), Ordering::Relaxed));
    let mut kinds = plain();
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        for done in kinds.play(Act::Seed) {
            let (seed, pid) = done.told.as_ref().unwrap().split_once(' ').unwrap();
            assert_eq!(seed, pid, "{done:?}");
            assert!(seen.insert(pid.to_owned()), "{done:?}");
        }
    }
    assert_eq!(SEED.load(Ordering::Relaxed), 1);
    Passed
}

/// How many exit handlers have run, in whatever process.
static RUN: Mutex<Option<SharedAtomics>> = Mutex::new(None);

fn fault_09_no_kind_of_process_runs_its_programs_exit_handlers() -> Outcome {
    let run = SharedAtomics::new(1).unwrap();
    *RUN.lock().unwrap() = Some(run.clone());
    let register = || {
        raw::at_exit(|| {
            if let Some(run) = &*RUN.lock().unwrap() {
                run[0].fetch_add(1, Ordering::SeqCst);
            }
        });
    };
    // One before the library has one of its own, one after that.
    register();
    let mut kinds = Kinds::new(&LaunchOptions::new().stderr(Stdio::Null));
    kinds.play(Act::Nothing);
    register();
    let mut new = Kinds::new(&LaunchOptions::new().stderr(Stdio::Null));
    for act in [Act::Nothing, Act::Exit, Act::Panic] {
        kinds.play(act);
        new.play(act);
    }
    assert_eq!(run[0].load(Ordering::SeqCst), 0);
    // Whom the library knows nothing of has both.
    let stranger = raw::fork(|| std::process::exit(0));
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stranger), None).unwrap();
    assert_eq!(run[0].load(Ordering::SeqCst), 2);
    *RUN.lock().unwrap() = None;
    Passed
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn fault_33_no_kind_of_process_runs_its_programs_signal_handlers() -> Outcome {
    let mut old = plain();
    old.play(Act::Nothing);
    raw::handle_signal(NixSignal::SIGUSR1, note);
    // Who runs a handler goes on, and says something.
    for now in [old.play(Act::Signal), plain().play(Act::Signal)] {
        for done in now {
            assert!(done.told.as_ref().is_err_and(|text| text.contains("SIGUSR1")), "{done:?}");
        }
    }
    assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
    nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap();
    assert_eq!(HANDLED.load(Ordering::Relaxed), 1, "the program still has it");
    Passed
}

fn fault_55_processes_of_every_kind_become_a_user_for_good() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming another user needs root");
    }
    // Some that are to be lost.
    nix::unistd::setgroups(&[7, 8].map(nix::unistd::Gid::from_raw)).unwrap();
    let mut kinds = Kinds::new(&LaunchOptions::new().uid(65534).gid(65533));
    for done in kinds.play(Act::Place) {
        assert!(done.told.as_ref().unwrap().ends_with(" 65534 65533 0"), "{done:?}");
    }
    for done in kinds.play(Act::Root) {
        assert_eq!(done.told.as_deref(), Ok("false"), "{done:?}");
    }
    assert!(nix::unistd::geteuid().is_root());
    Passed
}

fn fault_56_core_dumps_of_every_kind_of_process_are_limited() -> Outcome {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    if hard == 0 || setrlimit(Resource::RLIMIT_CORE, hard, hard).is_err() {
        return Skipped("core dumps are forbidden by the hard limit");
    }
    let mut limited = Kinds::new(&LaunchOptions::new().core_limit(0).stderr(Stdio::Null));
    for done in limited.play(Act::Core) {
        assert!(done.told.as_ref().unwrap().starts_with("0 "), "{done:?}");
    }
    // Where one is written, it would be told.
    for done in limited.play(Act::Segfault) {
        assert!(done.told.as_ref().is_err_and(|text| !text.contains("core dumped")), "{done:?}");
    }
    for done in plain().play(Act::Core) {
        assert_eq!(done.told, Ok(format!("{hard} {hard}")), "{done:?}");
    }
    Passed
}

fn fault_57_a_missing_directory_is_an_error_of_every_kind_of_start() -> Outcome {
    let mut kinds = Kinds::new(&LaunchOptions::new().cwd("/does/not/exist"));
    for _ in 0..2 {
        for done in kinds.play(Act::Nothing) {
            assert!(done.told.as_ref().is_err_and(|text| text.contains("/does/not/exist")), "{done:?}");
        }
    }
    Passed
}

fn fault_57_processes_of_every_kind_have_a_place_of_their_own() -> Outcome {
    let own = || (std::env::current_dir().unwrap(), std::env::var_os("KIND"));
    let before = own();
    for done in Kinds::new(&LaunchOptions::new().cwd("/").env("KIND", "its own")).play(Act::Place) {
        assert!(done.told.as_ref().unwrap().starts_with(r#""/" Some("its own") "#), "{done:?}");
    }
    assert_eq!(own(), before);
    // Without any of these it is the program's, as it is now.
    let mut kinds = plain();
    kinds.play(Act::Nothing);
    std::env::set_current_dir("/").unwrap();
    raw::set_env("KIND", Some("the program's"));
    for done in kinds.play(Act::Place) {
        assert!(done.told.as_ref().unwrap().starts_with(r#""/" Some("the program's") "#), "{done:?}");
    }
    Passed
}

fn fault_58_the_place_of_every_kind_of_process_need_not_be_text() -> Outcome {
    let strange = OsStr::from_bytes(b"\xff strange");
    let directory = std::env::temp_dir().join(format!("multiprocess-place-{}", id()));
    let place = directory.join(strange);
    std::fs::create_dir_all(&place).unwrap();
    let options = LaunchOptions::new().cwd(&place).env("KIND", strange).name(strange);
    let expected = format!("{:?} {:?} ", place.canonicalize().unwrap(), Some(strange));
    for done in Kinds::new(&options).play(Act::Place) {
        assert!(done.told.as_ref().unwrap().starts_with(&expected), "{done:?}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
    Passed
}

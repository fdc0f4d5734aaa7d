//! What the parent knows reaches no child that wasn't told: not by its memory, its descriptors, or its environment.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, id};

use common_ipc::link::{Bytes, Connection};
use common_ipc::memory::SharedMemory;
use common_ipc::process::{self, Launch, LaunchOptions, Template, Zygote};
use integration_tests::{proc, raw};
use nix::sys::signal::Signal;

use crate::Outcome::{self, Passed};
use crate::processes::children;
use crate::servers::{kill, start_in, template, zygote};

scenarios!(
    security_memory_of_the_parent_is_in_no_zygotes_child,
    security_what_one_child_was_told_is_not_in_the_next,
    security_files_of_the_parent_are_not_open_in_a_zygotes_child,
    security_a_cleared_environment_is_not_in_the_childs_proc,
    security_an_environment_of_later_is_not_in_a_child_that_clears_it,
);

/// A secret as those know it who look for it: its bytes are turned over, so that they don't find what they are told.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Wanted(Vec<u8>);

const TURN: u8 = 0xa5;

/// A new secret of so many bytes, which was nowhere before.
fn secret(length: usize) -> (Vec<u8>, Wanted) {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    let wanted = Wanted(bytes.iter().map(|byte| byte ^ TURN).collect());
    (bytes, wanted)
}

/// As [`secret`], of letters.
fn secret_text(length: usize) -> (String, Wanted) {
    let (bytes, _) = secret(length);
    let text: String = bytes.iter().map(|byte| char::from(b'a' + byte % 16)).collect();
    let wanted = Wanted(text.bytes().map(|byte| byte ^ TURN).collect());
    (text, wanted)
}

impl Wanted {
    fn is_in(&self, bytes: &[u8]) -> bool {
        let (first, length) = (self.0[0] ^ TURN, self.0.len());
        let mut at = 0;
        while let Some(found) = raw::garbage::find(first, &bytes[at..]) {
            at += found;
            let here = bytes[at..].iter().take(length);
            if at + length <= bytes.len() && here.zip(&self.0).all(|(byte, wanted)| byte ^ TURN == *wanted) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Where it is in the memory of this process, in words.
    fn in_memory(&self) -> Vec<String> {
        const STEP: u64 = 1 << 20;
        let mut part = vec![0; STEP as usize + self.0.len()];
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut found = Vec::new();
        let mut looked_at = 0;
        for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with('r')) {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (start, end) = (number(start), number(end));
            for at in (start..end).step_by(STEP as usize) {
                // One part overlaps the next one, so that what lies across is found.
                let length = part.len().min((end - at) as usize);
                // What the kernel keeps to itself (`[vvar]`, a page beyond the end of a file) can't be read.
                let read = memory.read_at(&mut part[..length], at).unwrap_or(0);
                looked_at += read;
                if self.is_in(&part[..read]) {
                    found.push(format!("{at:x} of {line}"));
                }
            }
        }
        assert!(looked_at > 100_000, "{looked_at} bytes of\n{maps}");
        found
    }
}

/// What a child of the program's zygote finds. It is told a part only, which is shorter than whatever was told the last
/// one, and comes to lie elsewhere.
fn found_in_zygotes_child(wanted: &Wanted) -> Vec<String> {
    let end = Wanted(wanted.0[wanted.0.len() - 16..].to_vec());
    start_in(|wanted: Wanted| wanted.in_memory(), &end).output().unwrap()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

fn security_memory_of_the_parent_is_in_no_zygotes_child() -> Outcome {
    let found_by = |template: &Template| template.start().unwrap().output::<Vec<String>>().unwrap();
    start_in(|()| (), &()).output::<()>().unwrap();
    let (bytes, wanted) = secret(32);
    let shared = SharedMemory::new(4096).unwrap();
    shared.write_from(77, &bytes).unwrap();
    let (here, there) = Connection::<Vec<u8>, ()>::pair().unwrap();
    let other = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        let told = there.recv().unwrap();
        there.send(&()).unwrap();
        let _ = there.recv();
        drop(told);
    });
    here.send(&bytes).unwrap();
    here.recv().unwrap();
    // The search finds what is there: here, and in copies of this process.
    assert!(wanted.in_memory().len() > 1);
    assert!(children::start(|| wanted.in_memory()).output::<Vec<String>>().unwrap().len() > 1);
    let in_copy = wanted.clone();
    assert!(found_by(&template(move || in_copy.in_memory())).len() > 1);
    // A zygote of before, one of now, and one that takes the place of a dead one.
    assert_eq!(found_in_zygotes_child(&wanted), nothing());
    let new = Zygote::with_preload(|()| (), &()).unwrap();
    let child =
        Launch::new(&LaunchOptions::new()).start_in(&new, |wanted: Wanted| wanted.in_memory(), &wanted);
    assert_eq!(child.unwrap().output::<Vec<String>>().unwrap(), nothing());
    let old = zygote().id().unwrap() as i32;
    kill(old, Signal::SIGKILL);
    assert!(proc::eventually(|| !proc::runs(old)));
    assert_eq!(found_in_zygotes_child(&wanted), nothing());
    drop(here);
    other.unwrap().output::<()>().unwrap();
    drop((bytes, shared));
    Passed
}

fn security_what_one_child_was_told_is_not_in_the_next() -> Outcome {
    type Told = (Bytes, Vec<u8>, Wanted);
    zygote();
    // By a packet, and by memory beside it; as an argument, and as bytes that go along.
    for length in [100, 200, 700, 5000, 100_000] {
        let (bytes, wanted) = secret(length);
        for told in [
            (Bytes::from(&bytes[..]), Vec::new(), wanted.clone()),
            (Bytes::new(), bytes.clone(), wanted.clone()),
        ] {
            let finds = |told: Told| {
                let found = told.2.in_memory();
                drop(told);
                !found.is_empty()
            };
            assert!(start_in(finds, &told).output::<bool>().unwrap());
            assert_eq!(found_in_zygotes_child(&wanted), nothing(), "{length} bytes");
        }
    }
    // By its environment, and its name.
    let (text, wanted) = secret_text(100);
    for options in [
        LaunchOptions::new().env("TOLD", &text),
        LaunchOptions::new().name(&text),
        LaunchOptions::new().env(&text, ""),
    ] {
        let told = Launch::new(&options).start_in(&zygote(), |wanted: Wanted| wanted.in_memory(), &wanted);
        assert!(!told.unwrap().output::<Vec<String>>().unwrap().is_empty());
        assert_eq!(found_in_zygotes_child(&wanted), nothing(), "{options:?}");
    }
    // By a preload, to the children of another zygote.
    let (bytes, wanted) = secret(300);
    let told = Zygote::with_preload(|bytes: Vec<u8>| std::mem::forget(bytes), &bytes).unwrap();
    let other = Zygote::with_preload(|()| (), &()).unwrap();
    let find = |zygote: &Zygote| {
        let child =
            Launch::new(&LaunchOptions::new()).start_in(zygote, |wanted: Wanted| wanted.in_memory(), &wanted);
        child.unwrap().output::<Vec<String>>().unwrap()
    };
    assert!(!find(&told).is_empty());
    assert_eq!(find(&other), nothing());
    Passed
}

fn security_files_of_the_parent_are_not_open_in_a_zygotes_child() -> Outcome {
    fn open_files(wanted: Wanted) -> Vec<String> {
        let open = proc::descriptors(id() as i32).into_iter();
        let leads_there = |number: i32| {
            let mut bytes = vec![0; 4096];
            let file = File::open(format!("/proc/self/fd/{number}"));
            let read = file.and_then(|file| file.read_at(&mut bytes, 0)).unwrap_or(0);
            wanted.is_in(&bytes[..read])
        };
        let found = open.filter(|(number, _)| *number > 2 && leads_there(*number));
        found.map(|(number, target)| format!("{number} -> {}", target.display())).collect()
    }
    fn file_with(bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("multiprocess-secret-{}", id()));
        File::create_new(&path).unwrap().write_all(bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }
    let (bytes, of_early) = secret(64);
    let early = file_with(&bytes);
    zygote();
    let (bytes, wanted) = secret(64);
    let file = file_with(&bytes);
    // One that would stay open across an exec.
    let copy = nix::unistd::dup(&file).unwrap();
    assert_eq!((open_files(wanted.clone()).len(), open_files(of_early.clone()).len()), (2, 1));
    let new = Zygote::with_preload(|()| (), &()).unwrap();
    for zygote in [zygote(), new] {
        let open_there = |wanted| {
            let child = Launch::new(&LaunchOptions::new()).start_in(&zygote, open_files, wanted);
            child.unwrap().output::<Vec<String>>().unwrap()
        };
        assert_eq!(open_there(&wanted), nothing());
        assert_eq!(open_there(&of_early), nothing(), "open before `init`");
    }
    let forked = children::start(|| open_files(wanted.clone()).len());
    assert_eq!(forked.output::<usize>().unwrap(), 2, "a fork has what the program has opened itself");
    drop((early, file, copy));
    Passed
}

const NAME: &str = "A_SECRET";

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "program_with_a_secret" => with_a_secret(&arguments[0]),
        _ => return false,
    }
    true
}

/// In the program that was started with a secret in its environment: ends with code 0 if no child that clears its own
/// has it before it.
fn with_a_secret(turned_over: &str) {
    let wanted = Wanted(turned_over.split(' ').map(|byte| byte.parse().unwrap()).collect());
    type Seen = (usize, bool);
    let look: fn(Wanted) -> Seen = |wanted| {
        let environ = std::fs::read("/proc/self/environ").unwrap();
        (std::env::vars_os().count(), wanted.is_in(&environ))
    };
    process::init().unwrap();
    assert!(look(wanted.clone()).1, "it is there in the beginning");
    let (plain, cleared) = (LaunchOptions::new(), LaunchOptions::new().env_clear().env("ONLY", "this"));
    for (options, there) in [(&plain, true), (&cleared, false)] {
        let (of_fork, of_template) = (wanted.clone(), wanted.clone());
        let launch = Launch::new(options);
        let template = launch.template(move || look(of_template.clone())).unwrap();
        let children = [
            launch.start(move || look(of_fork)),
            template.start(),
            launch.start_in(&Zygote::global(), look, &wanted),
        ];
        for child in children.map(Result::unwrap) {
            let (count, found) = child.output::<Seen>().unwrap();
            assert_eq!((count == 1, found), (!there, there), "{count} variables");
        }
    }
    assert!(look(wanted).1, "it is the parent's as before");
}

fn security_a_cleared_environment_is_not_in_the_childs_proc() -> Outcome {
    let (text, wanted) = secret_text(60);
    let turned_over = wanted.0.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
    let mut program = Command::new(std::env::current_exe().unwrap());
    let output = program.args(["program_with_a_secret", &turned_over]).env(NAME, text).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Passed
}

/// The program has changed its own, of which its zygotes' children are told: not those that clear it.
fn security_an_environment_of_later_is_not_in_a_child_that_clears_it() -> Outcome {
    start_in(|()| (), &()).output::<()>().unwrap();
    let (text, wanted) = secret_text(60);
    raw::set_variable(NAME, &text);
    let find = |options: &LaunchOptions| {
        let child = Launch::new(options).start_in(&zygote(), |wanted: Wanted| wanted.in_memory(), &wanted);
        child.unwrap().output::<Vec<String>>().unwrap()
    };
    assert!(!find(&LaunchOptions::new()).is_empty(), "without that it has the environment of the program");
    assert_eq!(find(&LaunchOptions::new().env_clear()), nothing());
    assert_eq!(find(&LaunchOptions::new().env_clear().env("ONLY", "this")), nothing());
    Passed
}

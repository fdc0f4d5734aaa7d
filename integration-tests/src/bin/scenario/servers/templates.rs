//! Templates: any closure, started again and again, also beside threads.

use std::cell::RefCell;
use std::process::id;
use std::rc::Rc;
use std::time::Duration;

use common_ipc::link::{Connection, LinkError, Queue, pipe};
use common_ipc::memory::SharedArray;
use common_ipc::process::{
    Child, ForkRule, Launch, LaunchOptions, Refusal, StartError, Template, active_children, after_fork,
};
use common_ipc::sync::{Event, Mutex};
use integration_tests::{proc, raw, stress_factor};

use crate::Outcome::{self, Passed};
use crate::processes::children::{self, sleep_for_long};
use crate::servers::template;

scenarios!(
    of_two_starts_at_once_one_has_the_moving_end,
    fault_01_a_template_beside_threads_is_refused_whatever_the_rule,
    fault_03_a_templates_child_has_what_it_was_given_and_no_more,
    fault_06_a_templates_children_differ_after_a_hook,
    fault_07_a_template_is_wrong_process_in_a_child,
    fault_10_a_templates_child_is_as_small_as_the_template,
    a_closure_is_started_five_hundred_times,
    a_moving_end_goes_to_the_first_child,
    a_template_has_its_name_and_its_memory,
    what_is_shared_every_child_of_a_template_has,
);

fn fault_01_a_template_beside_threads_is_refused_whatever_the_rule() -> Outcome {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let is_refused = |options: &LaunchOptions| {
        let error = Launch::new(options).template(|| 1).unwrap_err();
        assert!(matches!(error, StartError::Refused(Refusal::OtherThreads { count: 1 })), "{error:?}");
    };
    is_refused(&LaunchOptions::new());
    for rule in [ForkRule::Allow, ForkRule::Warn, ForkRule::Refuse] {
        is_refused(&raw::with_rule(LaunchOptions::new(), rule));
    }
    raw::allow_forks();
    is_refused(&LaunchOptions::new());
    drop(go);
    thread.join().unwrap().unwrap_err();
    assert_eq!(template(|| 1).start().unwrap().output::<i32>().unwrap(), 1);
    Passed
}

fn fault_03_a_templates_child_has_what_it_was_given_and_no_more() -> Outcome {
    let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/etc/passwd").unwrap()).collect();
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let other = children::start(sleep_for_long);
    let given = Event::new().unwrap();
    let (not_given, event) = (Event::new().unwrap(), given.clone());
    let options = LaunchOptions::new().give(&given);
    let template = Launch::new(&options).template(move || {
        event.set();
        let wrong = matches!(here.send(&1), Err(LinkError::WrongProcess(_)));
        let _captured = (&there, &not_given);
        (wrong, other.kill().is_err(), proc::descriptors(id() as i32))
    });
    let template = template.unwrap();
    // What is opened later isn't there either.
    let later: Vec<_> = (0..20).map(|_| std::fs::File::open("/etc/hostname").unwrap()).collect();
    type Seen = (bool, bool, Vec<(i32, std::path::PathBuf)>);
    for _ in 0..2 {
        let (wrong, unreachable, open): Seen = template.start().unwrap().output().unwrap();
        assert!(wrong && unreachable && given.is_set());
        let count = |start: &str| open.iter().filter(|fd| fd.0 > 2 && fd.1.starts_with(start)).count();
        // What the program had open it has as well, as after any fork, but nothing of the library's.
        assert_eq!((count("/etc/passwd"), count("/etc/hostname")), (files.len(), 0), "{open:?}");
        let of_kind = |kind: &str| open.iter().filter(|fd| fd.1.to_string_lossy().contains(kind)).count();
        // Its link, and the socket that is always ready; the event that it was given.
        assert_eq!((of_kind("socket:"), of_kind("pidfd"), of_kind("memfd:")), (2, 0, 1), "{open:?}");
    }
    drop(later);
    for child in active_children() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn fault_06_a_templates_children_differ_after_a_hook() -> Outcome {
    static SEED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(7);
    let read = || SEED.load(std::sync::atomic::Ordering::Relaxed);
    let without = template(read);
    after_fork(|| SEED.store(id(), std::sync::atomic::Ordering::Relaxed));
    let with = template(read);
    for _ in 0..10 {
        assert_eq!(without.start().unwrap().output::<u32>().unwrap(), 7, "the hook came later");
        let child = with.start().unwrap();
        assert_eq!(child.output::<u32>().unwrap(), child.id());
    }
    Passed
}

fn fault_07_a_template_is_wrong_process_in_a_child() -> Outcome {
    let template = template(|| 1);
    let child = children::start(|| {
        assert!(matches!(template.start(), Err(StartError::WrongProcess(_))));
        template.is_alive()
    });
    assert!(!child.output::<bool>().unwrap());
    // Nor does the drop of the copy end it.
    assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
    Passed
}

fn fault_10_a_templates_child_is_as_small_as_the_template() -> Outcome {
    const MIB: usize = 256;
    fn page_tables() -> u64 {
        proc::status_field(id() as i32, "VmPTE").split_whitespace().next().unwrap().parse().unwrap()
    }
    let template = template(page_tables);
    let small: u64 = template.start().unwrap().output().unwrap();
    let large = raw::memory_in_small_pages(MIB << 20);
    let forked: u64 = children::start(page_tables).output().unwrap();
    let started: u64 = template.start().unwrap().output().unwrap();
    std::hint::black_box(&large);
    assert!(forked >= small + MIB as u64, "{forked} KiB of page tables: the test proves nothing");
    assert!(started <= small + 16, "{started} KiB of page tables where {small} were enough");
    Passed
}

fn a_closure_is_started_five_hundred_times() -> Outcome {
    // Nothing of it can be sent anywhere, and it consumes what it captured.
    let (words, count) = (vec!["any".to_owned(), "words".to_owned()], Rc::new(RefCell::new(0u32)));
    let (rc, place) = (Rc::clone(&count), &words as *const _ as usize);
    let template = template(|| {
        *rc.borrow_mut() += 1;
        let last: Vec<String> = words;
        drop(last);
        let once: Box<dyn FnOnce() -> u32> = Box::new(move || *rc.borrow());
        (place, once())
    });
    let seen = std::thread::scope(|scope| {
        let starts = |count| {
            move |template: &Template| -> Vec<(usize, u32)> {
                (0..count).map(|_| template.start().unwrap().output().unwrap()).collect()
            }
        };
        let (template, each) = (&template, 125 * stress_factor());
        let starters: Vec<_> = (0..4).map(|_| scope.spawn(move || starts(each)(template))).collect();
        starters.into_iter().flat_map(|starter| starter.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(seen.len(), 500 * stress_factor() as usize);
    // Each has a copy of its own, of how it was when the template was made.
    assert!(seen.iter().all(|seen| *seen == (place, 1)), "{seen:?}");
    assert_eq!(*count.borrow(), 0);
    Passed
}

fn a_moving_end_goes_to_the_first_child() -> Outcome {
    use std::io::{Read, Write};
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let (mut reader, mut writer) = pipe().unwrap();
    let options = LaunchOptions::new().give(&there).give(&writer);
    let template = Launch::new(&options).template(move || {
        writer.write_all(b"through the pipe").unwrap();
        while let Ok(number) = there.recv() {
            there.send(&(number + 1)).unwrap();
        }
    });
    let template = template.unwrap();
    let child: Child = template.start().unwrap();
    for _ in 0..3 {
        let error = template.start().unwrap_err();
        assert!(matches!(error, StartError::GivenTwice(_)), "{error:?}");
    }
    here.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 2);
    // Neither the program nor the template has a copy: the child's end is the end's.
    child.kill().unwrap();
    assert!(matches!(here.recv_timeout(Duration::from_secs(20)), Err(LinkError::Closed)));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the pipe");
    child.wait().unwrap();
    assert!(template.is_alive());
    Passed
}

fn a_template_has_its_name_and_its_memory() -> Outcome {
    let options = LaunchOptions::new().name("a long name of a task");
    let (mut state, mut later) = (vec![1u8; 1000], 0);
    let captured = state.clone();
    let template =
        Launch::new(&options).template(move || (proc::name(id() as i32), captured, later)).unwrap();
    state.fill(9);
    later += 1;
    assert_eq!(later, 1);
    assert!(proc::eventually(|| proc::name(template.id() as i32) == "tmpl:a long nam"));
    let child = template.start().unwrap();
    assert_eq!(child.name(), "a long name of a task");
    let (name, captured, copied): (String, Vec<u8>, i32) = child.output().unwrap();
    assert_eq!((name.as_str(), captured, copied), ("a long name of ", vec![1u8; 1000], 0));
    // Without a name each child has a number.
    let nameless = crate::servers::template(|| proc::name(id() as i32));
    let names: Vec<String> = (0..3).map(|_| nameless.start().unwrap().output().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("child-")) && names[0] != names[1], "{names:?}");
    Passed
}

fn what_is_shared_every_child_of_a_template_has() -> Outcome {
    let (jobs, done, go) =
        (Queue::<u32>::new().unwrap(), Queue::<u32>::new().unwrap(), Event::new().unwrap());
    let (total, array) = (Mutex::new(0u64).unwrap(), SharedArray::<u32>::new(4).unwrap());
    let options = LaunchOptions::new().give(&jobs).give(&done).give(&go).give(&total).give(&array);
    let theirs = (jobs.clone(), done.clone(), go.clone(), total.clone(), array.clone());
    let template = Launch::new(&options).template(move || {
        let (jobs, done, go, total, array) = theirs;
        go.wait().unwrap();
        let job = jobs.recv().unwrap();
        *total.lock().unwrap() += u64::from(job);
        array.set(job as usize % 4, job).unwrap();
        done.send(&job).unwrap();
    });
    let template = template.unwrap();
    let children: Vec<Child> = (0..20).map(|_| template.start().unwrap()).collect();
    (0..20).for_each(|job| jobs.send(&job).unwrap());
    assert!(done.recv_timeout(Duration::from_millis(20)).unwrap().is_none());
    go.set();
    for child in children {
        child.output::<()>().unwrap();
    }
    let mut seen: Vec<u32> = (0..20).map(|_| done.try_recv().unwrap().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..20));
    assert_eq!(*total.lock().unwrap(), 190);
    assert!((0..4).all(|place| array.get(place).unwrap() as usize % 4 == place));
    Passed
}

fn of_two_starts_at_once_one_has_the_moving_end() -> Outcome {
    for _ in 0..20 {
        let (here, there) = Connection::<(), u32>::pair().unwrap();
        let options = LaunchOptions::new().give(&there);
        let template = Launch::new(&options).template(move || there.send(&id()).unwrap()).unwrap();
        let started: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| template.start())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refused = started.iter().filter(|start| matches!(start, Err(StartError::GivenTwice(_)))).count();
        assert_eq!(refused, 1, "{started:?}");
        let child = started.into_iter().find_map(Result::ok).unwrap();
        assert_eq!(here.recv().unwrap(), child.id());
        child.wait().unwrap();
    }
    Passed
}

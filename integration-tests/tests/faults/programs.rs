//! Programs whose ends are looked at from outside: rows 2, 9, 24, 30 and 59.

use std::path::Path;

use integration_tests::proc;
use integration_tests::watchdog::{self, Ran};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("fault_02_pending_output_is_written_once", fault_02_pending_output_is_written_once),
    (
        "fault_09_exit_handlers_run_where_they_belong_and_once",
        fault_09_exit_handlers_run_where_they_belong_and_once,
    ),
    ("fault_30_the_return_of_main_shuts_children_down", fault_30_the_return_of_main_shuts_children_down),
    ("fault_30_exit_shuts_children_down", fault_30_exit_shuts_children_down),
    (
        "fault_30_the_end_of_a_child_shuts_its_children_down",
        fault_30_the_end_of_a_child_shuts_its_children_down,
    ),
    ("fault_30_a_panic_of_main_shuts_children_down", fault_30_a_panic_of_main_shuts_children_down),
    ("fault_30_the_exit_does_not_wait_for_a_callback", fault_30_the_exit_does_not_wait_for_a_callback),
    ("fault_24_nothing_is_started_again_at_the_exit", fault_24_nothing_is_started_again_at_the_exit),
    (
        "fault_30_the_exit_ends_supervisors_and_their_children",
        fault_30_the_exit_ends_supervisors_and_their_children,
    ),
    (
        "fault_02_output_that_is_pending_beside_servers_is_written_once",
        fault_02_output_that_is_pending_beside_servers_is_written_once,
    ),
    (
        "fault_30_the_exit_shuts_servers_and_their_children_down",
        fault_30_the_exit_shuts_servers_and_their_children_down,
    ),
    (
        "fault_59_what_children_log_is_there_at_the_programs_exit",
        fault_59_what_children_log_is_there_at_the_programs_exit,
    ),
];

fn run(arguments: &[&str]) -> Ran {
    watchdog::run(Path::new(env!("CARGO_BIN_EXE_scenario")), arguments)
}

fn pids(ran: &Ran) -> Vec<i32> {
    ran.stdout.lines().filter_map(|line| line.parse().ok()).collect()
}

fn fault_02_pending_output_is_written_once() {
    let ran = run(&["program_with_pending_output"]);
    assert!(ran.status.success(), "{ran:?}");
    for word in ["rust-parent", "c-parent", "rust-child", "c-child", "rust-exit", "c-exit", "rust-end"] {
        assert_eq!(ran.stdout.matches(word).count(), 1, "{word} in {:?}", ran.stdout);
    }
    assert_eq!(ran.stderr.matches("rust-error").count(), 1);
}

fn fault_09_exit_handlers_run_where_they_belong_and_once() {
    let path = std::env::temp_dir().join(format!("multiprocess-atexit-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let ran = run(&["program_with_exit_handlers", &path.to_string_lossy()]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let [program, own] = pids(&ran)[..] else { panic!("{ran:?}") };
    assert_eq!(text, format!("own {own}\nhandler {program}\n"));
}

fn exits_with_children(how: &str, code: i32, finished: usize) {
    let ran = run(&["program_that_exits_with_children", how]);
    assert_eq!(ran.status.code(), Some(code), "{ran:?}");
    assert_eq!(ran.stdout.matches("finished").count(), finished, "{ran:?}");
    let pids = pids(&ran);
    assert_eq!(pids.len(), 4 * finished, "{ran:?}");
    for pid in pids {
        assert!(!proc::runs(pid), "{pid} survives its program: {ran:?}");
    }
}

fn fault_30_the_return_of_main_shuts_children_down() {
    exits_with_children("return", 0, 1);
}

fn fault_30_exit_shuts_children_down() {
    exits_with_children("exit", 3, 1);
}

fn fault_30_the_end_of_a_child_shuts_its_children_down() {
    exits_with_children("nested", 0, 2);
}

fn fault_30_a_panic_of_main_shuts_children_down() {
    let ran = run(&["program_that_panics_with_a_child"]);
    assert_eq!(ran.status.code(), Some(101), "{ran:?}");
    assert!(pids(&ran).iter().all(|pid| !proc::runs(*pid)), "{ran:?}");
}

fn fault_30_the_exit_does_not_wait_for_a_callback() {
    let ran = run(&["program_that_exits_in_a_callback"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(ran.stdout, "ended\n");
}

fn fault_24_nothing_is_started_again_at_the_exit() {
    let ran = run(&["program_that_restarts_to_the_end"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(ran.stdout, "again\nthe program is ending, and starts nothing any more\n");
}

fn fault_30_the_exit_ends_supervisors_and_their_children() {
    for (how, code) in [("return", 0), ("exit", 3), ("panic", 101)] {
        let ran = run(&["program_that_exits_with_a_supervisor", how]);
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        let pids = pids(&ran);
        assert_eq!(pids.len(), 27, "{ran:?}");
        for pid in pids {
            assert!(!proc::runs(pid), "{pid} survives its program: {ran:?}");
        }
        // The ends are no failures.
        for word in ["was started", "started again", "gave up", "could not"] {
            assert!(!ran.stdout.contains(word), "{word} in {}", ran.stdout);
        }
        assert!(ran.stdout.contains("was stopped"), "{ran:?}");
    }
}

fn fault_02_output_that_is_pending_beside_servers_is_written_once() {
    let ran = run(&["program_with_servers_and_pending_output"]);
    assert!(ran.status.success(), "{ran:?}");
    for place in ["early", "initialised", "preload", "template", "parent", "child", "exit", "end"] {
        for language in ["rust", "c"] {
            let word = format!("{language}-{place} ");
            let expected = usize::from(word != "c-end ");
            assert_eq!(ran.stdout.matches(&word).count(), expected, "{word} in {:?}", ran.stdout);
        }
    }
    // Row 9: neither servers nor their children run the program's exit handlers.
    assert_eq!(ran.stdout.matches("handler").count(), 1, "{:?}", ran.stdout);
}

fn fault_30_the_exit_shuts_servers_and_their_children_down() {
    for (how, code) in [("return", 0), ("exit", 3), ("panic", 101)] {
        let ran = run(&["program_that_exits_with_servers", how]);
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        assert_eq!(ran.stdout.matches("finished").count(), 1, "{ran:?}");
        let pids = pids(&ran);
        assert_eq!(pids.len(), 6, "{ran:?}");
        for pid in pids {
            assert!(!proc::runs(pid), "{pid} survives its program: {ran:?}");
        }
    }
}

fn fault_59_what_children_log_is_there_at_the_programs_exit() {
    let ran = run(&["program_that_exits_while_its_child_logs"]);
    assert!(ran.status.success(), "{ran:?}");
    let numbers: Vec<u32> = ran.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..2000), "{} of 2000: {}", numbers.len(), ran.stderr);
    let ran = run(&["program_that_ends_its_children_as_they_log"]);
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    for name in ["a", "b"] {
        let of_it = ran.stdout.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
        let numbers: Vec<u32> = of_it.collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "a gap in what {name} has logged");
    }
}

//! Workers that crash, hang and grow, and a supervisor that keeps them at work.
//!
//! `cargo run -p pkit --example supervise`

use std::error::Error;
use std::thread;
use std::time::Duration;

use pkit::supervisor::{Backoff, ChildSpec, Event, Restart, Supervisor};

/// Works, and crashes now and then.
fn crashes() {
    for round in 0.. {
        if round == 5 {
            std::process::abort();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Gets on for a while, then no more.
fn hangs() {
    for _ in 0..10 {
        pkit::progress();
        thread::sleep(Duration::from_millis(20));
    }
    loop {
        thread::park();
    }
}

/// Warms up first, then has a little to do, and doesn't get to its end.
fn warms_up() -> Result<(), String> {
    thread::sleep(Duration::from_millis(50));
    pkit::ready();
    thread::sleep(Duration::from_millis(300));
    Err("the little that there was to do was too much".to_owned())
}

/// Is there.
fn serves() {
    loop {
        thread::park();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Supervisor::builder()
        .intensity(100, Duration::from_secs(1))
        .child(ChildSpec::new("warms-up", warms_up).ready_by_target().restart(Restart::Transient))
        .child(ChildSpec::new("serves", serves))
        .child(
            ChildSpec::new("crashes", crashes)
                .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(1))),
        )
        .child(
            ChildSpec::new("hangs", hangs)
                .hang_timeout(Duration::from_millis(200))
                .grace(Duration::from_millis(100)),
        );
    let events = builder.events();
    // Before the first thread: what the children run is kept in small processes from now on.
    let supervisor = builder.start()?;
    let told = thread::spawn(move || {
        let mut restarts = 0;
        for event in events {
            println!("{event}");
            restarts += u32::from(matches!(event, Event::Restarting { .. }));
        }
        restarts
    });
    thread::sleep(Duration::from_secs(1));
    // The new process is ready before the old one is stopped.
    supervisor.rolling_restart("serves")?;
    for child in supervisor.children()? {
        let failure = child.last_failure.map_or("never failed".to_owned(), |failure| failure.to_string());
        println!("{}: {:?} after {} restarts; {failure}", child.name, child.status, child.restarts);
    }
    println!("{}", supervisor.stop()?);
    println!("{} restarts", told.join().map_err(|_| "the thread that prints has panicked")?);
    Ok(())
}

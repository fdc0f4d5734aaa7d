//! More than the links have room for.

use std::time::Duration;

use valkka_multiprocess::link::Bytes;

use crate::probe::{Command, Event, Made, Process, block_on, started};

const LARGE: usize = 32 << 20;

fn large(round: u8) -> Bytes {
    vec![round; LARGE].into()
}

async fn ticks(process: &Process) -> u64 {
    process.request_async(|reply| Command::Ticks { reply }).await.unwrap()
}

#[test]
fn fault_39_both_sides_send_a_lot_at_once_and_tasks_go_on() {
    block_on(async {
        let process = started(Made::Well);
        let before = ticks(&process).await;
        let here = std::cell::Cell::new(0u64);
        let ticking = async {
            let mut every = tokio::time::interval(Duration::from_millis(1));
            loop {
                every.tick().await;
                here.set(here.get() + 1);
            }
        };
        let transfer = async {
            for round in 0..3 {
                process.send_async(&Command::Bytes(large(round))).await.unwrap();
            }
            for round in 0..3 {
                assert!(process.recv_async().await.unwrap() == Event::Bytes(large(round)));
            }
        };
        let mut ticking = std::pin::pin!(ticking);
        let mut transfer = std::pin::pin!(transfer);
        std::future::poll_fn(|context| {
            let _: std::task::Poll<()> = ticking.as_mut().poll(context);
            transfer.as_mut().poll(context)
        })
        .await;
        let there = ticks(&process).await - before;
        assert!(here.get() > 20 && there > 20, "{} {there}", here.get());
        process.stop_async().await.unwrap();
    });
}

#[test]
fn fault_39_a_front_end_of_threads_sends_before_it_receives() {
    let process = started(Made::Well);
    for round in 0..3 {
        process.send(&Command::Bytes(large(round))).unwrap();
    }
    for round in 0..3 {
        assert!(process.recv().unwrap() == Event::Bytes(large(round)));
    }
    for number in 0..30_000 {
        process.send(&Command::Echo(number)).unwrap();
    }
    for number in 0..30_000 {
        assert_eq!(process.recv().unwrap(), Event::Echo(number));
    }
    process.stop().unwrap();
}

#[test]
fn a_stop_in_the_midst_of_a_long_event() {
    for _ in 0..5 {
        let process = started(Made::Well);
        process.send(&Command::Bytes(large(1))).unwrap();
        process.child().unwrap().signal(valkka_multiprocess::Signal::TERM).unwrap();
        // Whole or not at all.
        match process.recv() {
            Ok(event) => assert!(event == Event::Bytes(large(1))),
            Err(error) => assert!(error.ended().unwrap().is_clean(), "{error}"),
        }
        process.stop().unwrap();
    }
}

//! Front ends of tasks.

use std::time::Duration;

use valkka_multiprocess::ProcessError;

use crate::probe::{Command, Event, Made, Process, block_on, spread, started};

#[test]
fn fault_48_a_dropped_request_leaves_the_others_their_replies() {
    block_on(async {
        let process = started(Made::Well);
        let mut dropped = 0;
        for round in 0..100 {
            let (number, milliseconds) = (round, round % 5);
            let slow = process.request_async(|reply| Command::SquareInTask { number, milliseconds, reply });
            match tokio::time::timeout(Duration::from_millis(round % 4), slow).await {
                Ok(square) => assert_eq!(square.unwrap(), number * number),
                Err(_) => dropped += 1,
            }
            let number = round + 1000;
            let square = process.request_async(|reply| Command::Square { number, reply }).await;
            assert_eq!(square.unwrap(), number * number);
        }
        assert!(dropped > 5, "{dropped}");
        process.stop_async().await.unwrap();
    });
}

#[test]
fn a_dropped_receive_loses_no_event() {
    block_on(async {
        let process = started(Made::Well);
        let mut dropped = 0;
        for number in 0..200 {
            process.send_async(&Command::EchoAfter(number, number % 3)).await.unwrap();
        }
        let mut next = 0;
        while next < 200 {
            match tokio::time::timeout(Duration::from_millis(dropped % 2), process.recv_async()).await {
                Ok(event) => {
                    assert_eq!(event.unwrap(), Event::Echo(next));
                    next += 1;
                }
                Err(_) => dropped += 1,
            }
        }
        assert!(dropped > 5, "{dropped}");
        process.stop_async().await.unwrap();
    });
}

async fn echoed(process: &Process, count: u64) {
    for number in 0..count {
        assert_eq!(process.recv_async().await.unwrap(), Event::Echo(number));
    }
}

#[test]
fn a_wait_for_the_end_keeps_what_comes() {
    block_on(async {
        let process = started(Made::Well);
        // More than the link has room for.
        for number in 0..30_000 {
            process.send_async(&Command::Echo(number)).await.unwrap();
        }
        process.request_stop().unwrap();
        assert!(process.wait_stop_async().await.unwrap().is_clean());
        echoed(&process, 30_000).await;
        assert!(process.recv_async().await.unwrap_err().ended().is_some());
    });
}

#[test]
fn what_is_kept_wakes_who_receives() {
    spread(async {
        let process = started(Made::Well);
        let front = process.front().clone();
        // Dropped again and again, whatever it has received by then.
        let keeping = tokio::spawn(async move {
            for _ in 0..200 {
                let waited = tokio::time::timeout(Duration::from_millis(1), front.wait_stop_async());
                assert!(waited.await.is_err());
            }
        });
        for number in 0..200 {
            process.send_async(&Command::Echo(number)).await.unwrap();
            assert_eq!(process.recv_async().await.unwrap(), Event::Echo(number));
        }
        keeping.await.unwrap();
        process.stop_async().await.unwrap();
    });
}

#[test]
fn tasks_and_threads_share_a_front_end() {
    spread(async {
        let process = started(Made::Well);
        let mut tasks = tokio::task::JoinSet::new();
        for place in 0..8u64 {
            let front = process.front().clone();
            tasks.spawn(async move {
                for number in place * 1000..place * 1000 + 200 {
                    let square = match place % 2 {
                        0 => front.request_async(|reply| Command::Square { number, reply }).await,
                        _ => tokio::task::block_in_place(|| {
                            front.request(|reply| Command::Square { number, reply })
                        }),
                    };
                    assert_eq!(square.unwrap(), number * number);
                }
            });
        }
        tasks.join_all().await;
        process.stop_async().await.unwrap();
    });
}

#[test]
fn a_front_end_serves_several_runtimes() {
    let process = started(Made::Well);
    let mut ended = Vec::new();
    // More of them than are remembered.
    for number in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let square = process.request_async(|reply| Command::Square { number, reply }).await;
            assert_eq!(square.unwrap(), number * number);
            process.send_async(&Command::Echo(number)).await.unwrap();
            assert_eq!(process.recv_async().await.unwrap(), Event::Echo(number));
        });
        match number % 2 {
            0 => drop(runtime),
            _ => ended.push(runtime),
        }
    }
    for runtime in &ended {
        runtime.block_on(async {
            assert_eq!(process.request_async(|reply| Command::Square { number: 2, reply }).await.unwrap(), 4);
        });
    }
    assert_eq!(process.request(|reply| Command::Square { number: 3, reply }).unwrap(), 9);
    process.stop().unwrap();
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    let process = started(Made::Well);
    let mut recv = std::pin::pin!(process.recv_async());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match recv.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(error @ ProcessError::OutsideRuntime)) => {
            assert!(error.to_string().contains("block_on"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn futures_may_go_to_other_threads() {
    fn check<T: Send>(_: &T) {}
    let process = started(Made::Well);
    let front = process.front();
    check(&front.recv_async());
    check(&front.send_async(&Command::Stop));
    check(&front.request_async(|reply| Command::Square { number: 1, reply }));
    check(&front.wait_stop_async());
    check(&front.stop_async());
    process.stop().unwrap();
}

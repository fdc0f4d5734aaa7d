//! Bridges in tasks of tokio's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cross_process_bridge::{BridgeError, Execution, Timeout, Zygote, bridge};

cross_process_bridge::init_before_main!();

struct Store {
    known: HashMap<String, u64>,
    calls: u64,
}

#[bridge]
impl Store {
    fn new() -> Store {
        Store { known: HashMap::new(), calls: 0 }
    }

    fn put(&mut self, key: String, value: u64) -> Option<u64> {
        self.known.insert(key, value)
    }

    fn get(&self, key: &str) -> Option<u64> {
        self.known.get(key).copied()
    }

    fn echo(&self, number: u64) -> u64 {
        number
    }

    fn long(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn sleep(&mut self, milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.calls += 1;
        self.calls
    }

    fn fill(&self, list: &mut Vec<u64>) {
        list.push(7);
    }

    #[bridge(one_way)]
    fn note(&mut self) {
        self.calls += 1;
    }

    fn panic(&self) {
        panic!("on purpose");
    }

    fn finish(self) -> u64 {
        self.calls
    }
}

fn store() -> StoreBridge {
    let store = StoreBridge::new();
    store.process().launch_in(&Zygote::global());
    store
}

/// On one thread, which nobody may block.
fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// On several.
fn spread(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn a_bridge_is_started_called_and_stopped() {
    block_on(async {
        let store = store().to_async();
        assert!(matches!(store.echo(1).await, Err(BridgeError::NotStarted { .. })));
        store.start().await.unwrap();
        assert_eq!(store.put("a".to_owned(), 1).await.unwrap(), None);
        assert_eq!(store.get("a").await.unwrap(), Some(1));
        let mut list = vec![1];
        store.fill(&mut list).await.unwrap();
        assert_eq!(list, [1, 7]);
        store.note().await.unwrap();
        assert_eq!(store.sleep(0).await.unwrap(), 2);
        assert!(matches!(store.panic().await, Err(BridgeError::Panicked { .. })));
        assert_eq!(store.clone().finish().await.unwrap(), 2);
        assert!(matches!(store.echo(1).await, Err(BridgeError::NotStarted { .. })));
        store.start().await.unwrap();
        assert_eq!(store.echo(1).await.unwrap(), 1);
        store.stop().await.unwrap();
    });
}

#[test]
fn futures_are_send_and_find_their_replies() {
    spread(async {
        let blocking = store();
        blocking.start().unwrap();
        let store = blocking.to_async();
        let tasks: Vec<_> = (0..16u64)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0..500 {
                        let mine = task << 32 | number;
                        assert_eq!(store.echo(mine).await.unwrap(), mine);
                    }
                })
            })
            .collect();
        // Threads beside them, on the same connection.
        let threads: Vec<_> = (100..104u64)
            .map(|thread| {
                let store = blocking.clone();
                std::thread::spawn(move || {
                    for number in 0..2000 {
                        let mine = thread << 32 | number;
                        assert_eq!(store.echo(mine).unwrap(), mine);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let joined =
            tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
        joined.await.unwrap();
        store.stop().await.unwrap();
    });
}

#[test]
fn fault_48_a_dropped_future_leaves_the_bridge_usable() {
    block_on(async {
        let store = store().to_async();
        store.start().await.unwrap();
        let long = vec![3; 3_000_000];
        for round in 0..200u64 {
            let timeout = Duration::from_micros(round % 20 * 40);
            let _ = tokio::time::timeout(timeout, store.sleep(round % 3)).await;
            if round % 20 == 0 {
                let _ = tokio::time::timeout(timeout, store.long(&long)).await;
            }
            assert_eq!(store.echo(round).await.unwrap(), round);
        }
        assert_eq!(store.long(&long).await.unwrap(), long);
        store.stop().await.unwrap();
    });
}

#[test]
fn a_death_ends_all_futures() {
    spread(async {
        let store = store().to_async();
        store.start().await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.sleep(600_000).await.unwrap_err() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.process().kill().unwrap();
        let mut not_run = 0;
        for task in tasks {
            let error = task.await.unwrap();
            assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
            not_run += u32::from(error.execution() == Execution::NotRun);
        }
        assert_eq!(not_run, 7);
        assert_eq!(store.echo(1).await.unwrap_err().execution(), Execution::NotRun);
        store.start().await.unwrap();
        assert_eq!(store.echo(1).await.unwrap(), 1);
        store.stop().await.unwrap();
    });
}

#[test]
fn time_outs_end_calls() {
    block_on(async {
        let store = store().to_async();
        store.start().await.unwrap();
        let hasty = store.with_timeout(Duration::from_millis(20));
        assert!(matches!(hasty.sleep(60).await, Err(BridgeError::Timeout { killed: false, .. })));
        assert_eq!(store.sleep(0).await.unwrap(), 2);
        let ruthless = store.with_timeout(Timeout::after(Duration::from_millis(20)).and_kill());
        assert!(matches!(ruthless.sleep(600_000).await, Err(BridgeError::Timeout { killed: true, .. })));
        store.start().await.unwrap();
        assert_eq!(store.sleep(0).await.unwrap(), 1);
        store.stop().await.unwrap();
    });
}

#[test]
fn one_bridge_serves_several_runtimes() {
    let store = Arc::new(store());
    store.start().unwrap();
    for round in 0..3 {
        let store = Arc::clone(&store);
        block_on(async move {
            let tasks = store.to_async();
            assert_eq!(tasks.echo(round).await.unwrap(), round);
        });
    }
    assert_eq!(store.echo(9).unwrap(), 9);
    store.stop().unwrap();
}

#[test]
fn a_bridge_of_tasks_goes_on_in_another_runtime() {
    let store = store();
    store.start().unwrap();
    let pid = store.process().pid();
    let tasks = store.to_async();
    let new = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, ended) = (new(), new());
    assert_eq!(idle.block_on(tasks.echo(1)).unwrap(), 1);
    // In the first one nothing runs now.
    let call = ended.block_on(async { tokio::time::timeout(Duration::from_secs(20), tasks.echo(2)).await });
    assert_eq!(call.expect("the call hangs").unwrap(), 2);
    drop(ended);
    let third = new();
    assert_eq!(third.block_on(tasks.echo(3)).unwrap(), 3);
    assert_eq!(store.process().pid(), pid);
    third.block_on(async {
        let calls = [600_000, 0].map(|time| {
            let tasks = tasks.clone();
            tokio::spawn(async move { tasks.sleep(time).await.unwrap_err() })
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        store.process().child().unwrap().kill().unwrap();
        for (call, execution) in calls.into_iter().zip([Execution::Unknown, Execution::NotRun]) {
            let told = tokio::time::timeout(Duration::from_secs(20), call).await;
            let error = told.expect("the call hangs").unwrap();
            assert_eq!(error.execution(), execution, "{error}");
        }
    });
    drop(idle);
    store.start().unwrap();
    assert_eq!(third.block_on(tasks.echo(4)).unwrap(), 4);
    store.stop().unwrap();
}

#[test]
fn a_death_is_told_to_a_task_beside_one_that_keeps_a_future_unpolled() {
    spread(async {
        for _ in 0..10 {
            let store = store().to_async();
            store.start().await.unwrap();
            let (begin, begun) = tokio::sync::oneshot::channel();
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            let other = store.clone();
            let keeper = tokio::spawn(async move {
                let mut call = std::pin::pin!(other.sleep(600_000));
                let first = tokio::time::timeout(Duration::from_millis(20), call.as_mut()).await;
                assert!(first.is_err());
                begin.send(()).unwrap();
                // What the others have to say comes first.
                ended.await.unwrap();
                call.await.unwrap_err()
            });
            begun.await.unwrap();
            let waits = store.clone();
            let waiter = tokio::spawn(async move { waits.echo(1).await.unwrap_err() });
            tokio::time::sleep(Duration::from_millis(20)).await;
            store.process().child().unwrap().kill().unwrap();
            let told = tokio::time::timeout(Duration::from_secs(20), waiter).await;
            let error = told.expect("the call hangs").unwrap();
            assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
            end.send(()).unwrap();
            keeper.await.unwrap();
        }
    });
}

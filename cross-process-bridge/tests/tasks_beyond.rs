//! Streams and closures in tasks of a tokio runtime, and what becomes of those that are given up.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::time::Duration;

use common_ipc::memory::SharedArray;
use cross_process_bridge::{AsyncBridgeStream, BridgeError, Execution, Zygote, bridge};

cross_process_bridge::init_before_main!();

/// Counts the iterators that were dropped, and the methods that came to their end.
struct Source {
    ended: SharedArray<u64>,
}

struct Ends(SharedArray<u64>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.set(0, self.0.get(0).unwrap() + 1).unwrap();
    }
}

#[bridge]
impl Source {
    fn new(ended: SharedArray<u64>) -> Source {
        Source { ended }
    }

    fn echo(&self, number: u64) -> u64 {
        number
    }

    fn numbers(&self, microseconds: u64) -> impl Iterator<Item = u64> {
        let ends = Ends(self.ended.clone());
        (0..).inspect(move |_| {
            let _ = &ends;
            std::thread::sleep(Duration::from_micros(microseconds));
        })
    }

    fn fast(&self, count: u64) -> Result<impl Iterator<Item = Vec<u8>>, String> {
        if count == 0 { Err("none".to_owned()) } else { Ok((0..count).map(|number| vec![number as u8; 9])) }
    }

    fn panics(&self) -> impl Iterator<Item = u8> {
        (0..).inspect(|number| assert_ne!(*number, 3, "at three"))
    }

    fn dies(&self) -> impl Iterator<Item = u8> {
        (0..).inspect(|number| {
            if *number == 3 {
                std::process::abort();
            }
        })
    }

    fn steps(&mut self, count: u64, mut step: impl FnMut(&str, u64) -> u64) -> u64 {
        let sum = (0..count).map(|number| step(&number.to_string(), number)).sum();
        self.ended.set(0, self.ended.get(0).unwrap() + 1).unwrap();
        sum
    }

    fn sleeps(&self, milliseconds: u64, closure: &mut dyn FnMut()) {
        closure();
        std::thread::sleep(Duration::from_millis(milliseconds));
        closure();
        self.ended.set(0, self.ended.get(0).unwrap() + 1).unwrap();
    }
}

async fn started() -> (AsyncSourceBridge, SharedArray<u64>) {
    let ended = SharedArray::new(1).unwrap();
    let source = SourceBridge::new(ended.clone());
    source.process().launch_in(&Zygote::global());
    let source = source.to_async();
    source.start().await.unwrap();
    (source, ended)
}

/// On several threads, so that every future has to be one that can move.
fn spread(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test).await.unwrap() });
}

async fn rest<T>(mut stream: AsyncBridgeStream<T>) -> (Vec<T>, Option<BridgeError>) {
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}

#[test]
fn streams_are_read_by_tasks() {
    spread(async {
        let (source, ended) = started().await;
        let mut numbers = source.numbers(0).await.unwrap();
        for number in 0..20_000 {
            assert_eq!(numbers.next().await.unwrap().unwrap(), number);
        }
        let error = source.echo(1).await.unwrap_err();
        assert!(matches!(error, BridgeError::Busy { .. }), "{error}");
        drop(numbers);
        assert_eq!(source.echo(1).await.unwrap(), 1);
        assert_eq!(ended.get(0).unwrap(), 1);
        assert_eq!(source.fast(0).await.unwrap().unwrap_err(), "none");
        let (items, error) = rest(source.fast(1000).await.unwrap().unwrap()).await;
        assert!(error.is_none() && items.len() == 1000 && items[7] == [7; 9]);
        let (_, error) = rest(source.panics().await.unwrap()).await;
        assert!(error.unwrap().to_string().contains("at three"));
        let mut dies = source.dies().await.unwrap();
        let error = loop {
            if let Err(error) = dies.next().await.unwrap() {
                break error;
            }
        };
        assert!(matches!(error, BridgeError::PeerDied { execution: Execution::Unknown, .. }), "{error}");
        assert!(dies.next().await.is_none());
        source.start().await.unwrap();
        assert_eq!(source.echo(2).await.unwrap(), 2);
        source.stop().await.unwrap();
    });
}

#[test]
fn fault_48_futures_of_a_stream_that_are_dropped_lose_nothing() {
    spread(async {
        let (source, ended) = started().await;
        let mut numbers = source.numbers(700).await.unwrap();
        let (mut seen, mut given_up) = (0, 0);
        while seen < 300 {
            match tokio::time::timeout(Duration::from_micros(seen % 5 * 300), numbers.next()).await {
                Ok(item) => {
                    assert_eq!(item.unwrap().unwrap(), seen);
                    seen += 1;
                }
                Err(_) => given_up += 1,
            }
        }
        assert!(given_up > 10, "{given_up}");
        drop(numbers);
        assert_eq!(source.echo(1).await.unwrap(), 1);
        // In the midst of the call that opens it, and of one for items.
        for round in 0..100 {
            let opened = tokio::time::timeout(Duration::from_micros(round * 5), source.numbers(50)).await;
            if let Ok(opened) = opened {
                let mut numbers = opened.unwrap();
                let _ = tokio::time::timeout(Duration::from_micros(round % 7 * 40), numbers.next()).await;
            }
            assert_eq!(source.echo(round).await.unwrap(), round);
        }
        source.stop().await.unwrap();
        assert!(ended.get(0).unwrap() > 1);
    });
}

#[test]
fn closures_are_called_by_tasks() {
    spread(async {
        let (source, ended) = started().await;
        let mut texts = Vec::new();
        let sum = source.steps(100, |text, number| {
            texts.push(text.to_owned());
            number
        });
        assert_eq!(sum.await.unwrap(), 4950);
        assert_eq!((texts.len(), texts[7].as_str(), ended.get(0).unwrap()), (100, "7", 1));
        let error = source.with_timeout(Duration::from_millis(30)).steps(1 << 40, |_, number| number).await;
        let error = error.unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { execution: Execution::Unknown, .. }), "{error}");
        assert_eq!(source.echo(1).await.unwrap(), 1);
        let other = source.clone();
        let panics = tokio::spawn(async move { other.steps(3, |_, _| panic!("in a task")).await });
        assert!(panics.await.unwrap_err().is_panic());
        assert_eq!((source.echo(2).await.unwrap(), ended.get(0).unwrap()), (2, 1));
        source.stop().await.unwrap();
    });
}

#[test]
fn fault_48_calls_with_closures_that_are_given_up() {
    spread(async {
        let (source, ended) = started().await;
        let given_up = || async {
            for round in 0..100 {
                let steps = source.steps(1 << 40, |_, number| number);
                let done = tokio::time::timeout(Duration::from_micros(round * 20), steps);
                assert!(done.await.is_err());
                // The method was unwound: nobody lends it the closure any more.
                assert_eq!(source.echo(round).await.unwrap(), round);
            }
        };
        given_up().await;
        assert_eq!(ended.get(0).unwrap(), 0);
        source.stop().await.unwrap();
    });
}

#[test]
fn a_closure_that_cannot_move_is_called_where_it_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (source, ended) = started().await;
        let mut calls = std::rc::Rc::new(0);
        source.sleeps(10, &mut || *std::rc::Rc::get_mut(&mut calls).unwrap() += 1).await.unwrap();
        assert_eq!((*calls, ended.get(0).unwrap()), (2, 1));
        source.stop().await.unwrap();
    });
}

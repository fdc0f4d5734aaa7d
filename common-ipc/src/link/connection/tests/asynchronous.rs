//! Tasks instead of threads.

use super::*;
use crate::link::AsyncConnection;

type Pair = (AsyncConnection<Bytes, Bytes>, AsyncConnection<Bytes, Bytes>);

fn pair(ring: usize) -> Pair {
    let (one, other) = Connection::pair_with(16 << 20, ring).unwrap();
    (one.into_async().unwrap(), other.into_async().unwrap())
}

async fn echo(end: AsyncConnection<Bytes, Bytes>) {
    loop {
        match end.recv().await {
            Ok(message) => end.send(&message).await.unwrap(),
            Err(error) => return assert!(matches!(error, LinkError::Closed), "{error}"),
        }
    }
}

#[tokio::test]
async fn messages_of_every_size_come_back_on_one_thread() {
    let (one, other) = pair(4096);
    let echo = tokio::spawn(echo(other));
    for length in [0, 1, 100, 4096, 5000, 1 << 20] {
        let message = Bytes::from(vec![length as u8; length]);
        one.send(&message).await.unwrap();
        assert_eq!(one.recv().await.unwrap(), message);
    }
    drop(one);
    echo.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_an_end() {
    const EACH: usize = 2000;
    let (one, other) = pair(4096);
    let echo = tokio::spawn(echo(other));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8u8 {
        let one = one.clone();
        tasks.spawn(async move {
            for _ in 0..EACH {
                one.send(&vec![task; 64].into()).await.unwrap();
                assert_eq!(one.recv().await.unwrap().len(), 64);
            }
        });
    }
    tasks.join_all().await;
    drop(one);
    echo.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_threads_receive_beside_each_other() {
    const MESSAGES: u32 = 20_000;
    let (one, other) = Connection::<u32, u32>::pair().unwrap();
    let task_end = one.clone().into_async().unwrap();
    let task = tokio::spawn(async move {
        let mut sum = 0u64;
        while let Ok(number) = task_end.recv().await {
            sum += u64::from(number);
        }
        sum
    });
    let thread = std::thread::spawn(move || one.iter().flatten().map(u64::from).sum::<u64>());
    tokio::task::spawn_blocking(move || (0..MESSAGES).for_each(|number| other.send(&number).unwrap()))
        .await
        .unwrap();
    let sum = task.await.unwrap() + thread.join().unwrap();
    assert_eq!(sum, u64::from(MESSAGES) * u64::from(MESSAGES - 1) / 2);
}

#[tokio::test]
async fn a_send_that_is_given_up_is_not_delivered() {
    let (one, other) = pair(4096);
    for round in 0..3u8 {
        let large = Bytes::from(vec![round; 1 << 20]);
        let sending = tokio::time::timeout(Duration::from_millis(5), one.send(&large));
        assert!(sending.await.is_err());
        let (next, received) = (Bytes::from(vec![round; 10]), other.clone());
        let received = tokio::spawn(async move { received.recv().await.unwrap() });
        one.send(&next).await.unwrap();
        assert_eq!(received.await.unwrap(), next);
    }
}

#[tokio::test]
async fn a_recv_that_is_given_up_loses_nothing() {
    let (one, other) = pair(4096);
    for round in 0..100u8 {
        let waiting = tokio::time::timeout(Duration::from_micros(u64::from(round)), other.recv());
        assert!(waiting.await.is_err());
        one.send(&vec![round].into()).await.unwrap();
        assert_eq!(other.recv().await.unwrap(), vec![round].into());
    }
}

#[tokio::test]
async fn a_drop_ends_what_waits() {
    let (one, other) = pair(4096);
    let (receiving, sending) = (one.clone(), one.clone());
    let receiving = tokio::spawn(async move { receiving.recv().await });
    let sending = tokio::spawn(async move { sending.send(&vec![0; 1 << 20].into()).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(other);
    assert!(matches!(receiving.await.unwrap(), Err(LinkError::Closed)));
    assert!(matches!(sending.await.unwrap(), Err(LinkError::Closed)));
}

#[tokio::test]
async fn a_try_sends_what_there_is_room_for() {
    let (one, other) = pair(4096);
    let mut sent = 0u32;
    let full = loop {
        match one.try_send(&sent.to_ne_bytes().to_vec().into()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LinkError::Full), "{full}");
    assert!(sent > 100, "{sent}");
    for number in 0..sent {
        assert_eq!(*other.recv().await.unwrap(), number.to_ne_bytes());
    }
    assert!(other.try_recv().unwrap().is_none());
    one.try_send(&vec![1].into()).unwrap();
    drop(other);
    assert!(matches!(one.try_send(&vec![2].into()), Err(LinkError::Closed)));
}

#[test]
fn without_a_runtime_it_is_an_error() {
    let error = Connection::<u8, u8>::pair().unwrap().0.into_async().unwrap_err();
    assert!(error.to_string().contains("block_on"), "{error}");
}

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::*;
use crate::link::{Bytes, LinkError};

const MAX: usize = 1 << 20;

fn parcel(number: u64) -> Parcel {
    Parcel::pack::<u64, u64>([1, 2], &number, MAX).unwrap()
}

/// Does one job: replies with its argument.
fn echo(receiver: &JobReceiver) -> u64 {
    let mut buffer = Vec::new();
    let job = receiver.recv(&mut buffer).unwrap();
    assert_eq!(job.what(), [1, 2]);
    let (number, answer) = job.decode::<u64>();
    let number = number.unwrap();
    answer.reply::<u64, u64>(7, &number).unwrap();
    number
}

fn reply(sender: &mut JobSender) -> Option<(u64, u32, u64)> {
    let arrived = sender.try_recv().unwrap()?;
    Some((arrived.number, arrived.kind, arrived.decode().unwrap()))
}

#[test]
fn jobs_are_done_in_order_and_those_not_begun_come_back() {
    let (mut sender, receiver) = jobs(MAX).unwrap();
    for number in 1..=5 {
        sender.try_send(number, &mut parcel(number * 10)).unwrap();
    }
    assert_eq!((sender.under_way(), sender.waiting()), (5, 5));
    assert_eq!((echo(&receiver), echo(&receiver)), (10, 20));
    assert_eq!((sender.under_way(), sender.waiting()), (5, 3));
    assert_eq!(sender.recall(), [3, 4, 5]);
    assert_eq!((sender.under_way(), sender.waiting()), (2, 0));
    // What was taken back is never done; what comes afterwards is.
    sender.try_send(6, &mut parcel(60)).unwrap();
    assert_eq!(echo(&receiver), 60);
    assert_eq!(reply(&mut sender), Some((1, 7, 10)));
    assert_eq!(reply(&mut sender), Some((2, 7, 20)));
    assert_eq!(reply(&mut sender), Some((6, 7, 60)));
    assert_eq!(reply(&mut sender), None);
    assert!(sender.recall().is_empty() && sender.recall().is_empty());
    sender.try_send(7, &mut parcel(70)).unwrap();
    assert_eq!(echo(&receiver), 70);
}

#[test]
fn a_job_is_either_done_or_comes_back() {
    const COUNT: u64 = 20_000;
    let (mut sender, receiver) = jobs(MAX).unwrap();
    let done = std::thread::spawn(move || {
        let mut done = Vec::new();
        let mut buffer = Vec::new();
        while let Ok(job) = receiver.recv(&mut buffer) {
            let (number, answer) = job.decode::<u64>();
            let number = number.unwrap();
            done.push(number);
            answer.reply::<u64, u64>(7, &number).unwrap();
        }
        done
    });
    let (mut replied, mut recalled) = (HashSet::new(), HashSet::new());
    for number in 1..=COUNT {
        while let Err(error) = sender.try_send(number, &mut parcel(number)) {
            assert!(matches!(error, LinkError::Full), "{error}");
            std::thread::yield_now();
        }
        if number % 7 == 0 {
            recalled.extend(sender.recall());
        }
        while let Some((number, 7, again)) = reply(&mut sender) {
            assert_eq!(number, again);
            assert!(replied.insert(number));
        }
    }
    recalled.extend(sender.recall());
    while sender.under_way() > 0 {
        replied.extend(reply(&mut sender).map(|(number, ..)| number));
        std::thread::yield_now();
    }
    drop(sender);
    let done: Vec<u64> = done.join().unwrap();
    assert_eq!(done.len(), replied.len());
    assert!(done.iter().all(|number| replied.contains(number) && !recalled.contains(number)));
    assert_eq!(replied.len() + recalled.len(), COUNT as usize);
    assert!(!replied.is_empty() && !recalled.is_empty());
}

#[test]
fn what_a_hostile_receiver_claims_harms_nobody() {
    for claimed in [u64::MAX, 0, 1 << 32 | 99, 7 << 32] {
        let (mut sender, receiver) = jobs(MAX).unwrap();
        for number in 1..=3 {
            sender.try_send(number, &mut parcel(number)).unwrap();
        }
        receiver.word().store(claimed, Ordering::Relaxed);
        assert!(sender.waiting() <= 3);
        let recalled = sender.recall();
        assert!(recalled.len() + sender.under_way() == 3, "{claimed:x}: {recalled:?}");
        sender.try_send(4, &mut parcel(4)).unwrap();
        assert_eq!(echo(&receiver), 4);
    }
}

#[test]
fn a_reply_to_another_job_is_nonsense() {
    let (mut sender, receiver) = jobs(MAX).unwrap();
    sender.try_send(1, &mut parcel(1)).unwrap();
    sender.try_send(2, &mut parcel(2)).unwrap();
    let mut buffers = [Vec::new(), Vec::new()];
    let [one, two] = &mut buffers;
    let _first = receiver.recv(one).unwrap();
    let second = receiver.recv(two).unwrap().decode::<u64>().1;
    second.reply::<u64, u64>(7, &2).unwrap();
    assert!(matches!(sender.try_recv(), Err(LinkError::Garbled(_))));
}

#[test]
fn what_is_long_lies_beside_and_can_be_sent_again() {
    let long: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    type Argument = (Vec<u8>, Bytes, Bytes);
    let argument: Argument = (long[..100_000].to_vec(), Bytes::from(&long[..]), Bytes::from(&b"short"[..]));
    let mut parcel = Parcel::pack::<Argument, Argument>([1, 2], &argument, MAX).unwrap();
    assert!(parcel.size() > 300_000);
    for _ in 0..2 {
        let (mut sender, receiver) = jobs(MAX).unwrap();
        for number in 1..=20 {
            // All of them have room, and none is read.
            sender.try_send(number, &mut parcel).unwrap();
        }
        let mut buffer = Vec::new();
        let came = receiver.recv(&mut buffer).unwrap().decode::<Argument>().0.unwrap();
        assert_eq!(
            (came.0.as_slice(), &came.1[..], &came.2[..]),
            (&long[..100_000], &long[..], &b"short"[..])
        );
    }
    assert!(parcel.is_whole());
    let error = Parcel::pack::<Vec<u8>, Vec<u8>>([1, 2], &vec![0; MAX], MAX).unwrap_err();
    assert!(matches!(error, LinkError::TooLarge(_)), "{error}");
}

#[test]
fn what_belongs_to_one_process_goes_with_its_job() {
    let (_here, there) = Connection::<u8, u8>::pair().unwrap();
    let mut parcel = Parcel::pack::<Connection<u8, u8>, _>([1, 2], &there, MAX).unwrap();
    assert!(parcel.is_whole());
    let (mut sender, _receiver) = jobs(MAX).unwrap();
    sender.try_send(1, &mut parcel).unwrap();
    assert!(!parcel.is_whole());
}

#[test]
fn more_jobs_than_the_word_can_count() {
    let (mut sender, receiver) = jobs(MAX).unwrap();
    sender.try_send(1, &mut parcel(1)).unwrap();
    assert_eq!(echo(&receiver), 1);
    assert!(reply(&mut sender).is_some());
    // As if there had been as many, without a recall.
    let sent = u32::MAX - 3;
    sender.has_sent(sent);
    receiver.word().store(claims(1, sent), Ordering::Relaxed);
    for number in 2..20 {
        match sender.try_send(number, &mut parcel(number)) {
            Ok(()) if number % 2 == 0 => continue,
            Ok(()) => {}
            Err(error) => assert!(matches!(error, LinkError::Full), "{error}"),
        }
        while sender.under_way() > 0 {
            let done = echo(&receiver);
            assert_eq!(reply(&mut sender), Some((done, 7, done)));
        }
        sender.try_send(100 + number, &mut parcel(100 + number)).unwrap();
        assert_eq!(sender.waiting(), 1);
        assert_eq!(echo(&receiver), 100 + number);
        assert_eq!(sender.waiting(), 0);
        assert!(reply(&mut sender).is_some());
    }
}

//! Ends and descriptors as parts of messages.

use super::*;

type Inner = Connection<String, String>;

#[test]
fn an_end_moves_with_all_that_was_sent_through_it() {
    let (outer, far_outer) = Connection::<(u8, Inner), ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    // Used on both sides before it moves, with a message on its way in each direction.
    here.send(&"first".to_owned()).unwrap();
    assert_eq!(there.recv().unwrap(), "first");
    there.send(&"second".to_owned()).unwrap();
    here.send(&"third".to_owned()).unwrap();
    outer.send(&(7, there.clone())).unwrap();
    assert!(matches!(there.recv(), Err(LinkError::WrongProcess(_))));
    drop(there);
    let (seven, moved) = far_outer.recv().unwrap();
    assert_eq!(seven, 7);
    assert_eq!(moved.recv().unwrap(), "third");
    assert_eq!(here.recv().unwrap(), "second");
    for round in 0..100_000 {
        let text = if round % 1000 == 0 { "x".repeat(3000) } else { round.to_string() };
        moved.send(&text).unwrap();
        assert_eq!(here.recv().unwrap(), text);
    }
    drop(moved);
    assert!(matches!(here.recv(), Err(LinkError::Closed)));
}

#[test]
fn an_end_that_could_not_be_sent_stays() {
    let (outer, far_outer) = Connection::<Inner, ()>::pair_with(1 << 20, 4096).unwrap();
    let (here, there) = Inner::pair().unwrap();
    // Full: the next one finds no room.
    while outer.try_send(&Inner::pair().unwrap().0).is_ok() {}
    assert!(matches!(outer.send_timeout(&there, Duration::from_millis(5)), Err(LinkError::TimedOut)));
    here.send(&"still there".to_owned()).unwrap();
    assert_eq!(there.recv().unwrap(), "still there");
    while let Ok(Some(_)) = far_outer.try_recv() {}
    outer.send(&there).unwrap();
    assert!(there.send(&String::new()).is_err());
    drop(far_outer);
    assert!(matches!(here.recv(), Err(LinkError::Closed)), "the message with it was never received");
}

#[test]
fn an_end_is_in_one_message_once_and_not_in_its_own() {
    let (outer, _far) = Connection::<Vec<Inner>, ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    let error = outer.send(&vec![there.clone(), there.clone()]).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    here.send(&"x".to_owned()).unwrap();
    assert_eq!(there.recv().unwrap(), "x");
}

#[test]
fn what_has_descriptors_goes_through_connections_only() {
    let error = codec::encode(&Inner::pair().unwrap().0).unwrap_err();
    assert!(error.to_string().contains("only a Connection or a Queue"), "{error}");
}

#[test]
fn hundreds_of_ends_are_too_many_for_one_message() {
    let (outer, far) = Connection::<Vec<Inner>, ()>::pair().unwrap();
    let ends: Vec<_> = (0..130).map(|_| Inner::pair().unwrap()).collect();
    let there: Vec<_> = ends.iter().map(|(_, there)| there.clone()).collect();
    let error = outer.send(&there).unwrap_err();
    assert!(error.to_string().contains("253"), "{error}");
    outer.send(&there[..100].to_vec()).unwrap();
    let moved = far.recv().unwrap();
    moved[99].send(&"hello".to_owned()).unwrap();
    assert_eq!(ends[99].0.recv().unwrap(), "hello");
}

#[test]
fn an_end_is_gone_from_the_moment_it_is_encoded() {
    thread_local!(static END: std::cell::RefCell<Option<Inner>> = const { std::cell::RefCell::new(None) });
    /// Uses the end that is before it in the message.
    #[derive(Debug, serde::Deserialize)]
    struct Nosy;
    impl Serialize for Nosy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            END.with_borrow(|end| {
                let end = end.as_ref().unwrap();
                assert!(matches!(end.try_recv(), Err(LinkError::WrongProcess(_))));
                assert!(matches!(end.send(&"lost?".to_owned()), Err(LinkError::WrongProcess(_))));
            });
            serializer.serialize_unit_struct("Nosy")
        }
    }
    let (outer, far) = Connection::<(Inner, Nosy), ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    here.send(&"first".to_owned()).unwrap();
    END.set(Some(there.clone()));
    outer.send(&(there, Nosy)).unwrap();
    END.set(None);
    let (moved, _) = far.recv().unwrap();
    moved.send(&"second".to_owned()).unwrap();
    assert_eq!((moved.recv().unwrap().as_str(), here.recv().unwrap().as_str()), ("first", "second"));
}

#[test]
fn an_end_whose_message_could_not_be_encoded_is_here() {
    #[derive(Debug, serde::Deserialize)]
    struct Failing;
    impl Serialize for Failing {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let (outer, _far) = Connection::<(Inner, Failing), ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    assert!(matches!(outer.send(&(there.clone(), Failing)), Err(LinkError::Encode(_))));
    there.send(&"still".to_owned()).unwrap();
    assert_eq!(here.recv().unwrap(), "still");
}

#[test]
fn ends_that_find_no_room_leave_nothing_behind() {
    let (outer, far) = Connection::<Inner, ()>::pair_with(1 << 20, 4096).unwrap();
    let (here, there) = Inner::pair().unwrap();
    let mut sent = 0;
    while outer.try_send(&Inner::pair().unwrap().0).is_ok() {
        sent += 1;
    }
    for _ in 0..600 {
        assert!(outer.send_timeout(&there, Duration::ZERO).is_err());
    }
    for _ in 0..sent {
        far.recv().unwrap();
    }
    outer.send(&there).unwrap();
    far.recv().unwrap().send(&"arrived".to_owned()).unwrap();
    assert_eq!(here.recv().unwrap(), "arrived");
}

#[test]
fn a_queue_and_memory_travel_as_well() {
    type Shared = (crate::link::Queue<u32>, Connection<u8, u8>);
    let (one, other) = Connection::<Shared, ()>::pair().unwrap();
    let (near, far) = Connection::<u8, u8>::pair().unwrap();
    let queue = crate::link::Queue::new().unwrap();
    one.send(&(queue.clone(), far)).unwrap();
    let (came, end) = other.recv().unwrap();
    came.send(&7).unwrap();
    assert_eq!(queue.recv().unwrap(), 7);
    end.send(&8).unwrap();
    assert_eq!(near.recv().unwrap(), 8);
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Knot(Connection<Knot, Knot>);

#[test]
fn an_end_is_not_sent_through_itself() {
    let (one, other) = Connection::<Knot, Knot>::pair().unwrap();
    let error = one.send(&Knot(one.clone())).unwrap_err();
    assert!(matches!(error, LinkError::Encode(_)) && error.to_string().contains("through itself"), "{error}");
    // Another one is, and nothing is left of the attempt.
    let (third, fourth) = Connection::<Knot, Knot>::pair().unwrap();
    one.send(&Knot(third)).unwrap();
    let Knot(third) = other.recv().unwrap();
    drop(third);
    assert!(matches!(fourth.recv(), Err(LinkError::Closed)));
}

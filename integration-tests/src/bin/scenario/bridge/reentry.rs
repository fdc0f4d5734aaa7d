//! Two objects that know each other's bridges, as statics that a fork copies.

use std::sync::OnceLock;

use cross_process_bridge::{BridgeError, bridge};

pub(crate) static HANDLE: OnceLock<ABridge> = OnceLock::new();

/// Which error it is.
fn kind<T>(called: Result<T, BridgeError>) -> String {
    match called {
        Ok(_) => "called",
        Err(BridgeError::Reentrant { .. }) => "Reentrant",
        Err(BridgeError::WrongProcess(_)) => "WrongProcess",
        Err(error) => return error.to_string(),
    }
    .to_owned()
}

pub(crate) struct A;

#[bridge]
impl A {
    pub(crate) fn new() -> A {
        A
    }

    pub(crate) fn answer(&self) -> i32 {
        42
    }

    pub(crate) fn call_itself(&self) -> String {
        kind(HANDLE.get().unwrap().answer())
    }

    pub(crate) fn call_by_way_of_b(&self) -> String {
        let b = BBridge::new();
        b.start().unwrap();
        b.call_a().unwrap()
    }
}

pub(crate) struct B;

#[bridge]
impl B {
    pub(crate) fn new() -> B {
        B
    }

    pub(crate) fn call_a(&self) -> String {
        kind(HANDLE.get().unwrap().answer())
    }
}

// error[E0515]: it would be returned while its owner is dropped
use common_ipc::memory::{FrozenArray, SharedArray};

fn first_ten() -> &'static [u64] {
    let frozen: FrozenArray<u64> = SharedArray::from_slice(&[7; 100]).unwrap().freeze().unwrap();
    &frozen[..10]
}

fn main() {
    println!("{:?}", first_ten());
}

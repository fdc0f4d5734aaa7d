// error[E0505]: dropped while it is borrowed
use common_ipc::memory::{FrozenArray, SharedMemory};

fn main() {
    let frozen: FrozenArray<u8> = SharedMemory::new(4096).unwrap().freeze().unwrap();
    let slice = &frozen[..10];
    drop(frozen);
    println!("{slice:?}");
}

// It compiles, or the others would prove nothing.
use common_ipc::memory::{FrozenArray, SharedArray};
use common_ipc::sync::Mutex;

fn main() {
    let frozen: FrozenArray<u64> = SharedArray::from_slice(&[7; 100]).unwrap().freeze().unwrap();
    let slice = &frozen[..10];
    println!("{slice:?}");
    drop(frozen);
    let mutex = Mutex::new(5u32).unwrap();
    let guard = mutex.lock().unwrap();
    drop(guard);
    drop(mutex);
}

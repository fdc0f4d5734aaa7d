// error[E0505]: dropped while it is borrowed
use std::sync::atomic::Ordering;

use common_ipc::memory::SharedAtomics;

fn main() {
    let atomics = SharedAtomics::new(1).unwrap();
    let first = &atomics[0];
    drop(atomics);
    first.store(1, Ordering::SeqCst);
}

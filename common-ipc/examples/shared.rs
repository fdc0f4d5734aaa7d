//! A picture in shared memory, which children fill in stripes, each under the same lock; then it is frozen.
//!
//! `cargo run -p common-ipc --example shared`

use std::error::Error;

use common_ipc::memory::SharedArray;
use common_ipc::process::{Launch, LaunchOptions};
use common_ipc::sync::{LockError, Mutex};

const ROWS: usize = 100;
const COLUMNS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let picture = SharedArray::<f32>::with_shape(&[ROWS, COLUMNS])?;
    // The next row that nobody has taken. A process that dies while it holds the lock doesn't keep it.
    let next = Mutex::new(0u64)?;
    let options = LaunchOptions::new();
    let mut children = Vec::new();
    for _ in 0..3 {
        // What processes share is captured as it is.
        children.push(Launch::new(&options).start(|| {
            let mut painted = 0;
            loop {
                let mut row = match next.lock() {
                    Ok(row) => row,
                    // Somebody died with it; the value is the last one that was published.
                    Err(LockError::OwnerDied(row)) => row,
                    Err(_) => return painted,
                };
                let mine = *row as usize;
                if mine >= ROWS {
                    return painted;
                }
                *row += 1;
                drop(row);
                let stripe: Vec<f32> = (0..COLUMNS).map(|column| (mine * column) as f32).collect();
                if picture.write_from(mine * COLUMNS, &stripe).is_err() {
                    return painted;
                }
                painted += 1;
            }
        })?);
    }
    for child in children {
        println!("painted {} rows", child.output::<u32>()?);
    }
    // From here on nobody can change it: a plain slice.
    let picture = picture.freeze()?;
    println!("{:?}, the last pixel is {}", picture.shape(), picture[ROWS * COLUMNS - 1]);
    Ok(())
}

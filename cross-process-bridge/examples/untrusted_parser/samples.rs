//! Files of the kinds that a parser meets when anybody may send one.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_good: bool,
}

pub(crate) fn all() -> io::Result<Vec<Sample>> {
    let orders: String = (0..500)
        .map(|number| format!(r#"{{"number": {number}, "goods": ["ink", "paper"], "paid": true}},"#))
        .collect();
    let orders = format!(r#"{{"orders": [{} null]}}"#, orders);
    let packed = gzip(orders.as_bytes())?;
    let mut truncated = packed.clone();
    truncated.truncate(packed.len() / 2);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let sample = |name, is_good, bytes| Sample { name, bytes, is_good };
    Ok(vec![
        sample("good.json.gz", true, packed),
        sample("truncated.json.gz", false, truncated),
        sample("text.json", false, b"Dear parser, \x1b[31mthis is a letter.".to_vec()),
        // The stack of whoever follows it ends before.
        sample("deep.json.gz", false, gzip(deep.as_bytes())?),
        // In memory each number takes 32 bytes, where the file had less than one bit.
        sample("numbers.json.gz", false, bomb(b"[", b"1,")?),
        // Takes no memory, only time.
        sample("spaces.json.gz", false, bomb(b"[", b"  ")?),
        sample("good.json", true, orders.into_bytes()),
    ])
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A kilobyte or so that unpacks to `first` and then 64 GiB of `filling`. gzip packs a thousand bytes into one at the
/// best, so it takes three layers. What makes them quick to write: files packed by gzip, one after another in one file,
/// are the packed form of their contents, one after another.
fn bomb(first: &[u8], filling: &[u8]) -> io::Result<Vec<u8>> {
    let (mut first, mut rest) = (first.to_vec(), filling.to_vec());
    for times in [(1 << 20) / filling.len(), 256, 256] {
        first = gzip(&first)?;
        rest = gzip(&rest.repeat(times))?;
    }
    Ok([first, rest].concat())
}

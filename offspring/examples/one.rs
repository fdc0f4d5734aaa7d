fn main(){ let n: u32 = std::env::args().nth(1).map_or(4, |n| n.parse().unwrap()); for _ in 0..n { offspring::spawn(|| ()).unwrap().join().unwrap(); } }

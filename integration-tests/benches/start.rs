#![allow(unsafe_code, clippy::unwrap_used, missing_docs, clippy::undocumented_unsafe_blocks)]
fn raw() {
    unsafe {
        let p = libc::fork();
        if p == 0 { libc::_exit(0) }
        let mut s = 0;
        libc::waitpid(p, &mut s, 0);
    }
}
fn ours() { offspring::spawn(|| ()).unwrap().join().unwrap() }
fn main() {
    let n = 3000;
    let mut t = [vec![], vec![]];
    for i in 0..n {
        for k in 0..2 {
            let which = (i + k) % 2;
            let s = std::time::Instant::now();
            if which == 0 { raw() } else { ours() }
            t[which].push(s.elapsed().as_nanos() as f64 / 1e3);
        }
    }
    for v in &mut t { v.sort_by(|a, b| a.total_cmp(b)); }
    let m = |v: &Vec<f64>| v[v.len() / 2];
    println!("raw {:.1} ours {:.1} ratio {:.2}", m(&t[0]), m(&t[1]), m(&t[1]) / m(&t[0]));
}

//! The program `wharf`: every program gets its own ports.
#![allow(dead_code, unused_imports)]

mod list;

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        use std::os::fd::AsFd;
        for _ in 0..5 {
            let t = std::time::Instant::now();
            let d = list::diag::open().unwrap();
            let s = list::diag::dump(d.as_fd()).unwrap();
            let a = t.elapsed();
            let t = std::time::Instant::now();
            let inodes = s.iter().map(|s| s.inode).collect();
            let h = list::holders::holders(&inodes, list::holders::Scope::Everywhere).unwrap();
            let b = t.elapsed();
            let t = std::time::Instant::now();
            let l = list::machine_listeners().unwrap();
            println!(
                "{} sockets {a:?}, {} holders {b:?}, {} listeners {:?}",
                s.len(),
                h.len(),
                l.len(),
                t.elapsed()
            );
        }
        return;
    }
    let listeners = list::machine_listeners().expect("the machine lists its sockets");
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", list::render::json(&listeners));
    } else {
        print!(
            "{}",
            list::render::table(&listeners, &list::render::Look::of_stdout())
        );
    }
}

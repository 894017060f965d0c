//! The program `wharf`: every program gets its own ports.
#![allow(dead_code, unused_imports)]

mod list;

fn main() {
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

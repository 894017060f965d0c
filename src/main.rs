//! The program `wharf`: every program gets its own ports.
#![allow(dead_code, unused_imports)]

mod doctor;
mod list;

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let look = list::render::Look::of_stdout();
    if std::env::args().nth(1).as_deref() == Some("doctor") {
        let settings = doctor::Settings {
            names_port: 7070,
            runtime_directory: "/tmp/wharf-x".into(),
            daemon: None,
        };
        if std::env::args().any(|argument| argument == "--apparmor") {
            print!(
                "{}",
                doctor::apparmor_profile(&std::env::current_exe().expect("exe"))
            );
            return;
        }
        let checks = doctor::examine(&settings);
        if json {
            println!("{}", doctor::json(&checks));
        } else {
            print!("{}", doctor::text(&checks, look.colour));
        }
        std::process::exit(i32::from(!doctor::all_well(&checks)));
    }
    let listeners = list::machine_listeners().expect("the machine lists its sockets");
    if json {
        println!("{}", list::render::json(&listeners));
    } else {
        print!("{}", list::render::table(&listeners, &look));
    }
}

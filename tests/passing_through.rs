//! What a program has outside, it has inside: arguments, environment, directory, streams, files, its user.

use std::os::unix::fs::MetadataExt;

use crate::harness::{Played, World, scenes};

scenes![
    arguments_arrive_as_they_were_typed,
    files_it_makes_belong_to_the_user,
    it_is_the_same_user_in_the_same_directory,
    large_streams_pass_whole_both_ways,
    no_descriptor_of_wharfs_own_is_left_open_inside,
    the_environment_arrives_with_the_spaces_name,
];

fn arguments_arrive_as_they_were_typed(world: &World) -> Played {
    let shop = world.project("shop");
    let script = "for word do printf '<%s>' \"$word\"; done";
    let words = [
        "",
        "two words",
        "-q",
        "--",
        "--space",
        "naïve",
        "*",
        "$HOME",
        "a\nb",
        "\"'\\",
    ];
    let said = shop.shell(script).word("sh").words(words).out();
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(said, expected);
    // Without `--`, the first word that is no option of wharf's begins the program's own line.
    assert_eq!(
        shop.wharf(["run", "-q", "echo", "-n", "--json"]).out(),
        "--json"
    );
    Ok(())
}

fn the_environment_arrives_with_the_spaces_name(world: &World) -> Played {
    let shop = world.project("shop");
    let said = shop
        .run(["env", "-0"])
        .with("GREETING", "good\nmorning")
        .out();
    let variables: Vec<_> = said.split('\0').collect();
    for expected in ["GREETING=good\nmorning", "WHARF_SPACE=shop", "LANG=C.UTF-8"] {
        assert!(variables.contains(&expected), "{expected} in {said}");
    }
    Ok(())
}

fn it_is_the_same_user_in_the_same_directory(world: &World) -> Played {
    let deep = world.project("shop/deep");
    let outside = world.line(&deep.path, "sh").words([
        "-c",
        "id -u; id -g; pwd -P; umask; ulimit -n; ps -o sid= -p $$ || :",
    ]);
    let inside = deep.run([
        "sh",
        "-c",
        "id -u; id -g; pwd -P; umask; ulimit -n; ps -o sid= -p $$ || :",
    ]);
    assert_eq!(inside.out(), outside.out());
    Ok(())
}

fn files_it_makes_belong_to_the_user(world: &World) -> Played {
    let shop = world.project("shop");
    shop.shell("echo new > made; mkdir -p deeper; touch deeper/too")
        .run()
        .ended_with(0);
    for file in ["made", "deeper", "deeper/too"] {
        let made = std::fs::metadata(shop.path.join(file)).unwrap();
        assert_eq!(
            (made.uid(), made.gid()),
            (world.user.uid(), shop.path.metadata().unwrap().gid()),
            "{file}"
        );
    }
    // And what the user has stays the user's to read and to remove.
    let private = shop.path.join("private");
    std::fs::write(&private, "secret").unwrap();
    world.own(&private);
    assert_eq!(
        shop.shell("chmod 600 private && cat private && rm private")
            .out(),
        "secret"
    );
    Ok(())
}

fn large_streams_pass_whole_both_ways(world: &World) -> Played {
    let shop = world.project("shop");
    let input: Vec<u8> = (0..4_000_000_u32)
        .map(|n| b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 28).unwrap())
        .collect();
    let mut run = shop.shell("tee copy; cat copy >&2").start();
    run.write(&input);
    run.close_input();
    let outcome = run.outcome().ended_with(0);
    assert!(
        outcome.stdout.as_bytes() == input,
        "{} bytes came",
        outcome.stdout.len()
    );
    assert!(
        outcome.stderr.as_bytes() == input,
        "{} bytes came on standard error",
        outcome.stderr.len()
    );
    Ok(())
}

fn no_descriptor_of_wharfs_own_is_left_open_inside(world: &World) -> Played {
    let shop = world.project("shop");
    let script = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))";
    let outside = world.program("python3").words(["-c", script]).out();
    assert_eq!(shop.run(["python3", "-c", script]).out(), outside);
    Ok(())
}

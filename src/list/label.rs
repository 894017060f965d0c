//! What to call a program in one short cell: an interpreter is named with what it runs.
//!
//! `python3.11` alone says little when four of them listen; `python3.11 -m
//! http.server` says it all. The whole command line is in the JSON form.

use super::process::{Process, file_name};

/// A label is never wider than this many characters; what is cut off is marked by `…`.
const LABEL_CHARACTERS: usize = 32;

/// How an interpreter says, on its command line, what it runs.
#[derive(Debug, Clone, Copy)]
struct Interpreter {
    /// The executable's name, without a version at its end.
    name: &'static str,
    /// Flags whose argument is the thing that runs (a module, an archive).
    runs: &'static [&'static str],
    /// Flags whose argument is code, not a name: then there is nothing short to say.
    code: &'static [&'static str],
    /// Other flags that take the next argument.
    takes: &'static [&'static str],
    /// Words that stand before the script, as in `deno run`.
    verbs: &'static [&'static str],
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        name: "bun",
        runs: &[],
        code: &["-e"],
        takes: &[],
        verbs: &["run", "x"],
    },
    Interpreter {
        name: "deno",
        runs: &[],
        code: &[],
        takes: &[],
        verbs: &["run", "serve"],
    },
    Interpreter {
        name: "java",
        runs: &["-jar", "-m"],
        code: &[],
        takes: &["-cp", "-classpath", "--class-path", "-p", "--module-path"],
        verbs: &[],
    },
    Interpreter {
        name: "node",
        runs: &[],
        code: &["-e", "--eval", "-p", "--print"],
        takes: &["-r", "--require", "--import", "--loader"],
        verbs: &[],
    },
    Interpreter {
        name: "perl",
        runs: &[],
        code: &["-e", "-E"],
        takes: &["-I"],
        verbs: &[],
    },
    Interpreter {
        name: "php",
        runs: &["-S", "-f"],
        code: &["-r"],
        takes: &["-c", "-d"],
        verbs: &[],
    },
    Interpreter {
        name: "python",
        runs: &["-m"],
        code: &["-c"],
        takes: &["-W", "-X"],
        verbs: &[],
    },
    Interpreter {
        name: "ruby",
        runs: &[],
        code: &["-e"],
        takes: &["-I", "-r"],
        verbs: &[],
    },
];

/// The program's name, with what it runs if it is an interpreter.
pub(crate) fn label(process: &Process) -> String {
    let label = match interpreter(&process.program).and_then(|it| it.runs_what(&process.command)) {
        Some(what) => format!("{} {what}", process.program),
        None => process.program.clone(),
    };
    shortened(label)
}

/// Knows an interpreter by its name, with or without a version: `python`, `python3.11`, `ruby3.1`.
fn interpreter(program: &str) -> Option<&'static Interpreter> {
    let name = program.trim_end_matches(|end: char| end.is_ascii_digit() || end == '.');
    INTERPRETERS
        .iter()
        .find(|interpreter| interpreter.name == name)
}

impl Interpreter {
    /// The script, module or archive that a command line runs; `None` when it runs none.
    fn runs_what(&self, command: &[String]) -> Option<String> {
        let mut arguments = command.iter().skip(1).map(String::as_str);
        while let Some(argument) = arguments.next() {
            if self.code.contains(&argument) {
                return None;
            }
            if self.runs.contains(&argument) {
                return arguments
                    .next()
                    .map(|what| format!("{argument} {}", file_name(what)));
            }
            if self.takes.contains(&argument) {
                arguments.next();
            } else if !argument.starts_with('-') && !self.verbs.contains(&argument) {
                return Some(file_name(argument).to_owned());
            }
        }
        None
    }
}

/// Cuts a label that is too long.
fn shortened(label: String) -> String {
    if label.chars().count() <= LABEL_CHARACTERS {
        return label;
    }
    label
        .chars()
        .take(LABEL_CHARACTERS - 1)
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::sample_process as sample;
    use super::*;

    #[test]
    fn an_interpreter_is_named_with_what_it_runs() {
        let cases = [
            (
                "python3.11 -m http.server 8000",
                "python3.11 -m http.server",
            ),
            ("python3 -u -X dev /srv/app.py --port 80", "python3 app.py"),
            ("python3 -c import(x)", "python3"),
            ("python3", "python3"),
            ("node --inspect ./node_modules/.bin/vite dev", "node vite"),
            ("node -r ts-node/register server.ts", "node server.ts"),
            ("node -e setInterval", "node"),
            (
                "java -cp a.jar:b.jar com.example.Main",
                "java com.example.Main",
            ),
            ("java -Xmx1g -jar /opt/x/app.jar", "java -jar app.jar"),
            ("ruby3.1 bin/rails server", "ruby3.1 rails"),
            ("deno run -A main.ts", "deno main.ts"),
            ("php -d x=1 -S 127.0.0.1:80", "php -S 127.0.0.1:80"),
            ("nginx -c /etc/nginx.conf", "nginx"),
            ("pythonista -m x", "pythonista"),
            ("python3 -m", "python3"),
        ];
        for (command, expected) in cases {
            assert_eq!(label(&sample(command)), expected, "{command}");
        }
    }

    #[test]
    fn a_long_label_is_cut_at_a_character() {
        let process = sample("python3 éééééééééééééééééééééééééééééééééééééééééé.py");
        let label = label(&process);
        assert_eq!(label.chars().count(), LABEL_CHARACTERS);
        assert!(label.ends_with("é…"), "{label}");
    }
}

//! What GitHub's workflows show beside a job: commands in its log, with what stands in them escaped.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use super::summary::{Summary, called, in_short};

/// A warning for each conflict and for what was left behind, and a notice of what listened.
pub(super) fn github(summary: &Summary) -> String {
    let mut text = String::new();
    for event in &summary.conflicts {
        let title = format!("Port {} was taken", event.port);
        text.push_str(&command("warning", &title, &in_short(event)));
    }
    if !summary.left.is_empty() {
        let left: Vec<_> = summary.left.iter().map(called).collect();
        let message = format!("still ran at the end, and was ended:\n{}", left.join("\n"));
        text.push_str(&command("warning", "Left behind", &message));
    }
    if !summary.listened.is_empty() {
        let ports: Vec<_> = summary.listened.iter().map(|one| one.said()).collect();
        text.push_str(&command("notice", "Ports that listened", &ports.join("\n")));
    }
    text
}

fn command(kind: &str, title: &str, message: &str) -> String {
    format!("::{kind} title={}::{}\n", property(title), data(message))
}

/// What follows the second pair of colons.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_is_taken_for_a_command() {
        assert_eq!(
            command("warning", "a: 50%, b", "x\r\n::error::y: 100%25"),
            "::warning title=a%3A 50%25%2C b::x%0D%0A::error::y: 100%2525\n"
        );
    }
}

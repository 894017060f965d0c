//! Who stands behind a port that is carried on to elsewhere: containers' proxies, and the firewall's rules.

use std::num::NonZeroU16;
use std::process::{Command, Stdio};

use super::Sight;
use crate::list::{Hold, Protocol, containers};

/// Somewhere that the machine carries the port on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    /// By a rule of the firewall.
    Rule {
        /// The rule, in short.
        text: String,
    },
    /// To a container, says Docker.
    Container {
        /// What people call it.
        name: String,
        /// The port inside.
        port: u16,
        /// Compose's project and service.
        compose: Option<(String, String)>,
    },
}

/// Everything that carries this port on, as far as it may be seen: rules are for root only.
pub(super) fn carried(port: NonZeroU16, protocol: Option<Protocol>, sight: Sight) -> Vec<Carried> {
    let mut all: Vec<_> = containers::published(port, protocol)
        .into_iter()
        .map(|it| Carried::Container {
            name: it.name,
            port: it.port,
            compose: it.compose,
        })
        .collect();
    if sight == Sight::All {
        let wanted = |known| protocol.is_none_or(|only| only == known);
        for known in [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .filter(|it| wanted(*it))
        {
            let nft = said(&["nft", "list", "ruleset"]);
            all.extend(nft.lines().filter_map(|line| nft_rule(line, port, known)));
            let iptables = said(&["iptables-save", "-t", "nat"]);
            all.extend(
                iptables
                    .lines()
                    .filter_map(|line| iptables_rule(line, port, known)),
            );
        }
        all.dedup();
    }
    all
}

/// What a program says; nothing if there is none, or it fails.
fn said(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success());
    output.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// `tcp dport 8080 … dnat to 172.17.0.2:80`, `udp dport { 53, 54 } redirect to :5353`.
fn nft_rule(line: &str, port: NonZeroU16, protocol: Protocol) -> Option<Carried> {
    let (_, rest) = line.split_once(&format!("{protocol} dport "))?;
    let ports = match rest.strip_prefix('{') {
        Some(set) => set.split_once('}')?.0,
        None => rest.split_whitespace().next()?,
    };
    if !ports.split(',').any(|one| has(one, '-', port)) {
        return None;
    }
    let target = ["dnat ", "redirect "]
        .into_iter()
        .find_map(|verb| line.split_once(verb).map(|(_, to)| (verb, to)))?;
    let (verb, to) = target;
    let to = to.split_once("to ")?.1.split_whitespace().next()?;
    Some(rule(protocol, port, verb.trim(), to))
}

/// `-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80`.
fn iptables_rule(line: &str, port: NonZeroU16, protocol: Protocol) -> Option<Carried> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    if value("-p") != Some(protocol.name()) {
        return None;
    }
    let ports = value("--dport").or_else(|| value("--dports"))?;
    if !ports.split(',').any(|one| has(one, ':', port)) {
        return None;
    }
    match value("-j")? {
        "DNAT" => Some(rule(protocol, port, "dnat", value("--to-destination")?)),
        "REDIRECT" => Some(rule(protocol, port, "redirect", value("--to-ports")?)),
        _ => None,
    }
}

fn rule(protocol: Protocol, port: NonZeroU16, verb: &str, to: &str) -> Carried {
    Carried::Rule {
        text: format!("{verb} of {protocol} port {port} to {to}"),
    }
}

/// Whether a number, or a range with this sign between, has the port.
fn has(text: &str, sign: char, port: NonZeroU16) -> bool {
    let (first, last) = text
        .trim()
        .split_once(sign)
        .unwrap_or((text.trim(), text.trim()));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&port.get()),
        _ => false,
    }
}

/// Whom a container's proxy serves, if a holder of this is one, or may be: Docker's says it on its command line.
pub(super) fn of_hold(hold: &Hold) -> Option<String> {
    let seen = hold.programs.iter().map(|program| &program.command);
    let suspects = hold.unseen.iter().flat_map(|unseen| &unseen.suspects);
    seen.chain(suspects.map(|suspect| &suspect.command))
        .find_map(|command| proxied(command))
}

fn proxied(command: &[String]) -> Option<String> {
    let name = command.first()?.rsplit('/').next()?;
    let value = |flag: &str| {
        let at = command.iter().position(|word| word == flag)?;
        command.get(at + 1).map(String::as_str)
    };
    match name {
        "docker-proxy" => Some(format!(
            "It is Docker's proxy: what comes here goes on to a container, {} port {}.",
            value("-container-ip")?,
            value("-container-port")?
        )),
        "rootlessport" | "rootlesskit" | "slirp4netns" | "gvproxy" => Some(format!(
            "It is {name}, which carries ports of containers; which of them, the container engine says."
        )),
        "pasta" | "pasta.avx2" | "passt" | "passt.avx2" => Some(format!(
            "It is {name}, which carries ports of a namespace or a virtual machine."
        )),
        "kubectl" if command.iter().any(|word| word == "port-forward") => {
            let what = command
                .iter()
                .skip_while(|word| *word != "port-forward")
                .nth(1)?;
            Some(format!(
                "It is kubectl, which carries the port on to {what} in a cluster."
            ))
        }
        "ssh"
            if command
                .iter()
                .any(|word| word.starts_with("-L") || word.starts_with("-D")) =>
        {
            Some("It is ssh, which carries the port on to another machine (-L or -D).".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    fn text(carried: Option<Carried>) -> Option<String> {
        match carried? {
            Carried::Rule { text } => Some(text),
            Carried::Container { .. } => None,
        }
    }

    #[test]
    fn rules_of_nftables_are_read() {
        let read = |line: &str, number, protocol| text(nft_rule(line, port(number), protocol));
        let docker =
            "\t\tip daddr 127.0.0.1 tcp dport 8080 counter packets 0 bytes 0 dnat to 172.17.0.2:80";
        assert_eq!(
            read(docker, 8080, Protocol::Tcp).as_deref(),
            Some("dnat of tcp port 8080 to 172.17.0.2:80")
        );
        assert_eq!(read(docker, 8080, Protocol::Udp), None);
        assert_eq!(read(docker, 80, Protocol::Tcp), None);
        let set = "udp dport { 53, 5000-5010 } redirect to :5353";
        assert_eq!(
            read(set, 5005, Protocol::Udp).as_deref(),
            Some("redirect of udp port 5005 to :5353")
        );
        assert_eq!(read(set, 5011, Protocol::Udp), None);
        assert_eq!(read("tcp dport 22 accept", 22, Protocol::Tcp), None);
    }

    #[test]
    fn rules_of_iptables_are_read() {
        let read = |line: &str, number| text(iptables_rule(line, port(number), Protocol::Tcp));
        let docker = "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80";
        assert_eq!(
            read(docker, 8080).as_deref(),
            Some("dnat of tcp port 8080 to 172.17.0.2:80")
        );
        assert_eq!(read(docker, 8081), None);
        let many =
            "-A PREROUTING -p tcp -m multiport --dports 80,8000:8010 -j REDIRECT --to-ports 3128";
        assert_eq!(
            read(many, 8001).as_deref(),
            Some("redirect of tcp port 8001 to 3128")
        );
        assert_eq!(read("-A INPUT -p tcp --dport 80 -j ACCEPT", 80), None);
        assert_eq!(read("-A INPUT -p tcp --dport", 80), None);
    }

    #[test]
    fn a_proxy_says_whom_it_serves() {
        let told = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            proxied(&words)
        };
        let docker = "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 80 -container-ip 172.17.0.2 -container-port 8000";
        assert!(told(docker).unwrap().contains("172.17.0.2 port 8000"));
        assert!(
            told("kubectl port-forward svc/web 8080:80")
                .unwrap()
                .contains("svc/web")
        );
        assert!(told("ssh -NL 5432:db:5432 host").is_none());
        assert!(told("ssh -N -L 5432:db:5432 host").unwrap().contains("ssh"));
        assert_eq!(told("python3 docker-proxy"), None);
        assert_eq!(told("docker-proxy"), None);
    }
}

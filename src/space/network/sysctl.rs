//! The kernel settings of a space's network namespace, under `/proc/sys/net`.
//!
//! See the kernel's `Documentation/networking/ip-sysctl.rst`. Each is written by one write(2) whose answer is looked at;
//! a refusal becomes a remark.

use std::fs::File;
use std::io::{self, Write};

/// No duplicate address detection and no router solicitation: nobody else is on the link.
pub(super) fn quiet_ipv6(remarks: &mut Vec<String>) {
    for setting in ["accept_dad", "accept_ra"] {
        let path = format!("ipv6/conf/default/{setting}");
        try_write(&path, "0", "IPv6 is ready a second later", remarks);
    }
}

/// Every port, system ports too, is free to bind, and ping sockets are free to open.
pub(super) fn open_ports(remarks: &mut Vec<String>) {
    try_write(
        "ipv4/ip_unprivileged_port_start",
        "0",
        "programs can't bind ports below 1024 by themselves",
        remarks,
    );
    // All groups where all are mapped; else the kernel says EINVAL, and the keeper's own is the one that its programs have.
    if write("ipv4/ping_group_range", "0 2147483647").is_err() {
        let group = rustix::process::getegid().as_raw();
        try_write(
            "ipv4/ping_group_range",
            &format!("{group} {group}"),
            "ping works only where it has a file capability",
            remarks,
        );
    }
}

/// No IPv6 on `interface`: no address, and nothing answered.
pub(super) fn without_ipv6(interface: &str, remarks: &mut Vec<String>) {
    let path = format!("ipv6/conf/{interface}/disable_ipv6");
    try_write(
        &path,
        "1",
        &format!("{interface} shows a link-local address"),
        remarks,
    );
}

fn try_write(path: &str, value: &str, otherwise: &str, remarks: &mut Vec<String>) {
    match write(path, value) {
        Ok(()) => {}
        // No such setting: the kernel is without IPv6, which the address will tell.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let name = path.replace('/', ".");
            remarks.push(format!(
                "net.{name} can't be set to {value} ({error}): {otherwise}"
            ));
        }
    }
}

fn write(path: &str, value: &str) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .open(format!("/proc/sys/net/{path}"))?;
    match file.write(value.as_bytes())? {
        written if written == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

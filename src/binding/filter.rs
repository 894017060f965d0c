//! The filter: which system calls go to the daemon. A program for the kernel's classic BPF machine.
//!
//! Every call that isn't named is allowed by comparisons of its number alone: the kernel finds that out when the filter is
//! installed, and doesn't run it for these any more (`seccomp_cache_prepare` in its sources).
//!
//! bind(2) with an address shorter than a `sockaddr_in` can't be of an Internet socket, and isn't sent: netlink sockets,
//! which every look-up of a name opens, bind with 12 bytes.

use libc::sock_filter;

/// `sizeof(struct sockaddr_in)`.
pub(super) const SHORTEST_ADDRESS: u32 = 16;

/// `struct seccomp_data`: the number.
const NUMBER: u32 = 0;
/// `struct seccomp_data`: the architecture.
const ARCHITECTURE: u32 = 4;

/// `struct seccomp_data`: the low half of an argument. All architectures that are known here are little-endian.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// `AUDIT_ARCH_X86_64`.
pub(super) const X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
pub(super) const I386: u32 = 0x4000_0003;
/// `AUDIT_ARCH_AARCH64`.
pub(super) const AARCH64: u32 = 0xc000_00b7;
/// `AUDIT_ARCH_ARM`.
pub(super) const ARM: u32 = 0x4000_0028;

/// `__X32_SYSCALL_BIT`: the calls of x32 programs have the numbers of x86-64 with this bit.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// socketcall(2): the number of bind.
pub(super) const SOCKETCALL_BIND: u32 = 2;
/// socketcall(2): the number of listen.
pub(super) const SOCKETCALL_LISTEN: u32 = 4;

/// One way to make system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface {
    /// `AUDIT_ARCH_…`.
    pub(super) architecture: u32,
    /// Bits that belong to the number.
    pub(super) mask: u32,
    /// The number of bind(2).
    pub(super) bind: u32,
    /// The number of listen(2).
    pub(super) listen: u32,
    /// The number of socketcall(2), through which older programs make both.
    pub(super) socketcall: Option<u32>,
}

/// Those of all machines that are known; an unknown one has none, and its programs aren't supervised.
pub(super) const INTERFACES: [Interface; 4] = [
    Interface {
        architecture: X86_64,
        mask: !X32_BIT,
        bind: 49,
        listen: 50,
        socketcall: None,
    },
    Interface {
        architecture: I386,
        mask: u32::MAX,
        bind: 361,
        listen: 363,
        socketcall: Some(102),
    },
    Interface {
        architecture: AARCH64,
        mask: u32::MAX,
        bind: 200,
        listen: 201,
        socketcall: None,
    },
    Interface {
        architecture: ARM,
        mask: u32::MAX,
        bind: 282,
        listen: 284,
        socketcall: None,
    },
];

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The filter for the machine that this is built for.
pub(crate) fn program() -> Vec<sock_filter> {
    let families: &[u32] = if cfg!(target_arch = "x86_64") {
        &[X86_64, I386]
    } else if cfg!(target_arch = "aarch64") {
        &[AARCH64, ARM]
    } else {
        &[]
    };
    let mut program = Vec::new();
    for interface in INTERFACES {
        if families.contains(&interface.architecture) {
            program.extend(section(&interface));
        }
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// What happens to the calls of one interface; those of another fall through behind the section.
fn section(interface: &Interface) -> Vec<sock_filter> {
    let (notify, allow) = (
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    );
    let mut body = vec![
        step(LOAD, NUMBER),
        step(AND, interface.mask),
        // listen: to the notification right behind it.
        jump(EQUAL, interface.listen, 0, 1),
        notify,
        jump(EQUAL, interface.bind, 0, 3),
        step(LOAD, argument(2)),
        jump(AT_LEAST, SHORTEST_ADDRESS, 0, 1),
        notify,
    ];
    if let Some(socketcall) = interface.socketcall {
        // A bind whose address is too short, too, comes here; its length is no call's number.
        body.extend([
            jump(EQUAL, socketcall, 0, 4),
            step(LOAD, argument(0)),
            jump(EQUAL, SOCKETCALL_BIND, 1, 0),
            jump(EQUAL, SOCKETCALL_LISTEN, 0, 1),
            notify,
        ]);
    }
    body.push(allow);
    let length = u8::try_from(body.len()).expect("a section has 14 steps at most");
    let mut section = vec![
        step(LOAD, ARCHITECTURE),
        jump(EQUAL, interface.architecture, 0, length),
    ];
    section.extend(body);
    section
}

fn step(code: u32, operand: u32) -> sock_filter {
    jump(code, operand, 0, 0)
}

fn jump(code: u32, operand: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).expect("codes of instructions have 16 bits"),
        jt: if_so,
        jf: if_not,
        k: operand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says to a call: the kernel's machine, as far as the filter uses it. Answers too whether it looked
    /// at an argument.
    fn run(program: &[sock_filter], architecture: u32, number: u32, args: [u64; 6]) -> (u32, bool) {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&number.to_le_bytes());
        data[4..8].copy_from_slice(&architecture.to_le_bytes());
        for (place, argument) in data[16..].chunks_mut(8).zip(args) {
            place.copy_from_slice(&argument.to_le_bytes());
        }
        let (mut at, mut accumulator, mut looked) = (0, 0, false);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let choose = |so: bool| usize::from(if so { jt } else { jf });
            match u32::from(code) {
                LOAD => {
                    let offset = k as usize;
                    looked |= offset >= 16;
                    accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                AND => accumulator &= k,
                EQUAL => at += choose(accumulator == k),
                AT_LEAST => at += choose(accumulator >= k),
                RETURN => return (k, looked),
                other => panic!("instruction {other}"),
            }
        }
    }

    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn all() -> Vec<sock_filter> {
        let mut program: Vec<_> = INTERFACES.iter().flat_map(section).collect();
        program.push(step(RETURN, ALLOW));
        program
    }

    #[test]
    fn bind_and_listen_are_sent_whatever_way_they_are_made() {
        let long = [3, 0x7fff_0000, 16, 0, 0, 0];
        let cases = [
            (X86_64, 49, long),
            (X86_64, 50, [3, 128, 0, 0, 0, 0]),
            (X86_64, 49 | X32_BIT, long),
            (X86_64, 50 | X32_BIT, [3; 6]),
            (I386, 361, long),
            (I386, 363, [3, 128, 0, 0, 0, 0]),
            (I386, 102, [2, 0xffff_0000, 0, 0, 0, 0]),
            (I386, 102, [4, 0xffff_0000, 0, 0, 0, 0]),
            (AARCH64, 200, long),
            (AARCH64, 201, [3; 6]),
            (ARM, 282, long),
            (ARM, 284, [3; 6]),
            // Longer than any address: the kernel refuses it, and is let.
            (X86_64, 49, [3, 0x7fff_0000, u64::MAX, 0, 0, 0]),
        ];
        for (architecture, number, args) in cases {
            let (said, _) = run(&all(), architecture, number, args);
            assert_eq!(said, NOTIFY, "{architecture:x} {number} {args:?}");
        }
    }

    #[test]
    fn addresses_of_netlink_and_every_other_call_pass() {
        for interface in INTERFACES {
            let short = [3, 0x7fff_0000, 12, 0, 0, 0];
            let (said, _) = run(&all(), interface.architecture, interface.bind, short);
            assert_eq!(said, ALLOW, "{interface:?}");
            let sent = [
                Some(interface.bind),
                Some(interface.listen),
                interface.socketcall,
            ];
            for number in (0..1000).filter(|number| !sent.contains(&Some(*number))) {
                let (said, looked) = run(&all(), interface.architecture, number, [2; 6]);
                // Without a look at its arguments, or the kernel would run the filter each time.
                assert_eq!((said, looked), (ALLOW, false), "{interface:?} {number}");
            }
        }
        for call in (0..30).filter(|call| ![2, 4].contains(call)) {
            let args = [call, 0xffff_0000, 0, 0, 0, 0];
            assert_eq!(run(&all(), I386, 102, args).0, ALLOW, "socketcall {call}");
        }
        assert_eq!(run(&all(), 0xc000_00f3, 49, [16; 6]).0, ALLOW);
    }

    #[test]
    fn the_low_half_of_the_length_counts_as_the_kernel_takes_it() {
        let length = |length| run(&all(), X86_64, 49, [3, 0, length, 0, 0, 0]).0;
        assert_eq!(length(15), ALLOW);
        assert_eq!(length(0xffff_ffff_0000_0010), NOTIFY);
        assert_eq!(length(0xffff_ffff_0000_000c), ALLOW);
    }

    #[test]
    fn this_machines_filter_is_short_and_knows_its_own_calls() {
        let program = program();
        assert!(program.len() < 40);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(run(&program, X86_64, 49, [16; 6]).0, NOTIFY);
            assert_eq!(run(&program, I386, 361, [16; 6]).0, NOTIFY);
            assert_eq!(run(&program, AARCH64, 200, [16; 6]).0, ALLOW);
        }
    }
}

//! A call as it was made: which one it is, and its arguments, whatever way the program makes system calls.

use super::filter::{INTERFACES, SOCKETCALL_BIND, SOCKETCALL_LISTEN};

/// What a notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notification {
    /// Names it in the answer.
    pub(crate) id: u64,
    /// The thread that waits, as seen from here. 0 if it can't be seen.
    pub(crate) thread: i32,
    /// `AUDIT_ARCH_…`.
    pub(crate) architecture: u32,
    /// The call's number in that architecture.
    pub(crate) number: u32,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// A call that is to be performed. Arguments are as wide as the kernel takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// bind(2).
    Bind {
        descriptor: i32,
        /// Where the address is in the program's memory.
        address: u64,
        /// Its length in bytes, as the program says.
        length: u32,
    },
    /// listen(2).
    Listen { descriptor: i32, backlog: i32 },
}

/// A call, or where its arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    /// All is known.
    Direct(Call),
    /// Made by socketcall(2): its arguments are words of four bytes in the program's memory, at this place.
    Indirect { which: Which, block: u64 },
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Bind,
    Listen,
}

impl Which {
    /// The call of these arguments.
    pub(super) fn with(self, arguments: [u64; 3]) -> Call {
        let [first, second, third] = arguments;
        match self {
            Self::Bind => Call::Bind {
                descriptor: first as i32,
                address: second,
                length: third as u32,
            },
            Self::Listen => Call::Listen {
                descriptor: first as i32,
                backlog: second as i32,
            },
        }
    }
}

impl Call {
    /// The descriptor that the call is about, as the program numbers it.
    pub(super) fn descriptor(self) -> i32 {
        match self {
            Self::Bind { descriptor, .. } | Self::Listen { descriptor, .. } => descriptor,
        }
    }
}

impl Notification {
    /// The call; `None` of one that the filter doesn't send.
    pub(super) fn call(&self) -> Option<Decoded> {
        let interface = INTERFACES
            .iter()
            .find(|interface| interface.architecture == self.architecture)?;
        let number = self.number & interface.mask;
        let [first, second, third, ..] = self.arguments;
        let direct = |which: Which| Some(Decoded::Direct(which.with([first, second, third])));
        match number {
            _ if number == interface.bind => direct(Which::Bind),
            _ if number == interface.listen => direct(Which::Listen),
            _ if Some(number) == interface.socketcall => {
                let which = match first as u32 {
                    SOCKETCALL_BIND => Which::Bind,
                    SOCKETCALL_LISTEN => Which::Listen,
                    _ => return None,
                };
                // A pointer of such a program has four bytes.
                let block = u64::from(second as u32);
                Some(Decoded::Indirect { which, block })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::{AARCH64, I386, X32_BIT, X86_64};
    use super::*;

    fn notification(architecture: u32, number: u32, arguments: [u64; 6]) -> Notification {
        Notification {
            id: 1,
            thread: 2,
            architecture,
            number,
            arguments,
        }
    }

    #[test]
    fn calls_are_told_apart_by_number_and_architecture() {
        let bind = Decoded::Direct(Call::Bind {
            descriptor: 3,
            address: 0x7fff_1234_5678,
            length: 28,
        });
        let listen = Decoded::Direct(Call::Listen {
            descriptor: -1,
            backlog: 128,
        });
        let with_address = [3, 0x7fff_1234_5678, 28, 0, 0, 0];
        let with_backlog = [0xffff_ffff, 128, 0, 0, 0, 0];
        let cases = [
            (X86_64, 49, with_address, Some(bind)),
            (X86_64, 49 | X32_BIT, with_address, Some(bind)),
            (AARCH64, 200, with_address, Some(bind)),
            (I386, 361, with_address, Some(bind)),
            (X86_64, 50, with_backlog, Some(listen)),
            (I386, 363, with_backlog, Some(listen)),
            (X86_64, 51, with_backlog, None),
            (X86_64, 102, [2; 6], None),
            (I386, 102, [5; 6], None),
            (0, 49, with_address, None),
        ];
        for (architecture, number, arguments, expected) in cases {
            let call = notification(architecture, number, arguments).call();
            assert_eq!(call, expected, "{architecture:x} {number}");
        }
    }

    #[test]
    fn socketcall_points_to_its_arguments() {
        let arguments = [2, 0xffff_ffff_ffff_0010, 0, 0, 0, 0];
        let expected = Decoded::Indirect {
            which: Which::Bind,
            block: 0xffff_0010,
        };
        assert_eq!(notification(I386, 102, arguments).call(), Some(expected));
    }
}

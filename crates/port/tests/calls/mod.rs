//! Octets as a sequence of calls to a table, for whoever makes octets: a test on every machine, a fuzzer on a patient one.
//!
//! Whatever is called in whatever order, nothing may panic, an answer must name holds that exist, and a table that was emptied
//! must be empty.

use std::net::IpAddr;

use wharf_port::table::{
    BindError, Config, ConnectError, Cursor, Device, ListenError, Moment, Request, Reservation,
    Right,
};
use wharf_port::{Domain, Endpoint, Flow, Hold, Local, Port, PortRange, Protocol, Reuse, Table};

const ADDRESSES: [&str; 10] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.0.0.2",
    "10.0.0.1",
    "::",
    "::1",
    "fd00::2",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "224.0.0.1",
];
/// Few enough to meet, the edges of the range among them.
const PORTS: [u16; 6] = [1, 80, 40_000, 40_001, 40_003, 65_535];
const MOST_HOLDS: usize = 96;
const MOST_RESERVATIONS: usize = 8;

/// Plays a sequence.
pub(crate) fn play(octets: &[u8]) {
    let mut player = Player::new(octets);
    while player.step().is_some() {}
    player.finish();
}

struct Player<'a> {
    octets: std::slice::Iter<'a, u8>,
    table: Table<u32>,
    holds: Vec<Hold>,
    reservations: Vec<Reservation>,
    opened: u32,
    seen: u64,
}

impl<'a> Player<'a> {
    fn new(octets: &'a [u8]) -> Self {
        let mut octets = octets.iter();
        let mut seed = [7; 32];
        seed[0] = octets.next().copied().unwrap_or(0);
        let mut config = Config::new(seed);
        config.ephemeral = range(40_000, 40_003);
        config.unprivileged = port(81);
        config.feed = usize::from(octets.next().copied().unwrap_or(0) % 32);
        Self {
            octets,
            table: Table::new(&config),
            holds: Vec::new(),
            reservations: Vec::new(),
            opened: 0,
            seen: 0,
        }
    }

    fn octet(&mut self) -> Option<u8> {
        self.octets.next().copied()
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        let octet = usize::from(self.octet()?);
        Some(values[octet % values.len()])
    }

    fn address(&mut self) -> Option<IpAddr> {
        let text = self.one_of(&ADDRESSES)?;
        Some(text.parse().expect("the addresses are addresses"))
    }

    fn endpoint(&mut self) -> Option<Endpoint> {
        Some(Endpoint::new(self.address()?, port(self.one_of(&PORTS)?)))
    }

    fn protocol(&mut self) -> Option<Protocol> {
        self.one_of(&[Protocol::Tcp, Protocol::Udp])
    }

    fn flow(&mut self) -> Option<Flow> {
        Some(Flow {
            protocol: self.protocol()?,
            local: self.endpoint()?,
            remote: self.endpoint()?,
        })
    }

    /// A hold, perhaps one that was released.
    fn hold(&mut self) -> Option<Hold> {
        let octet = usize::from(self.octet()?);
        self.holds.get(octet % self.holds.len().max(1)).copied()
    }

    fn request(&mut self) -> Option<Request> {
        let reuses = [Reuse::Nothing, Reuse::Address, Reuse::Port, Reuse::Both];
        Some(Request {
            protocol: self.protocol()?,
            domain: self.one_of(&[Domain::V4, Domain::V6Only, Domain::Dual])?,
            reuse: self.one_of(&reuses)?,
            user: u32::from(self.octet()? % 2),
            device: Device::new(u32::from(self.octet()? % 3)),
            right: self.one_of(&[Right::Ordinary, Right::System])?,
        })
    }

    /// The next call; nothing at the end of the octets.
    fn step(&mut self) -> Option<()> {
        let call = self.octet()?;
        if self.holds.is_empty() || call < 40 && self.holds.len() < MOST_HOLDS {
            let request = self.request()?;
            self.opened += 1;
            self.holds.push(self.table.open(request, self.opened));
            return Some(());
        }
        match call % 24 {
            0..=3 => self.bind()?,
            4..=5 => self.listen()?,
            6..=8 => self.connect()?,
            9..=10 => self.accept()?,
            11 => self.admit()?,
            12..=13 => self.set()?,
            14 => {
                let _ = self.hold().map(|hold| self.table.unlisten(hold));
            }
            15 => {
                let _ = self.hold().map(|hold| self.table.disconnect(hold));
                let _ = self.hold().map(|hold| self.table.conclude(hold));
            }
            16 => self.narrow()?,
            17 => self.wait()?,
            18 => self.reserve()?,
            19 => self.release()?,
            20..=21 => self.look_up()?,
            22 => self.holders()?,
            _ => self.watch(),
        }
        Some(())
    }

    fn bind(&mut self) -> Option<()> {
        let hold = self.hold()?;
        let number = self.one_of(&[0, 1, 80, 81, 40_000, 40_003])?;
        let local = Local {
            address: self.address()?,
            port: Port::new(number),
        };
        match self.table.bind(hold, local) {
            Ok(chosen) => assert_eq!(self.table.port(hold), Some(chosen)),
            Err(BindError::InUse(error)) => self.exists(error.holder.hold),
            Err(_) => {}
        }
        Some(())
    }

    fn listen(&mut self) -> Option<()> {
        let hold = self.hold()?;
        if let Err(ListenError::Bind(BindError::InUse(error))) = self.table.listen(hold) {
            self.exists(error.holder.hold);
        }
        Some(())
    }

    fn connect(&mut self) -> Option<()> {
        let (hold, source, remote) = (self.hold()?, self.address()?, self.endpoint()?);
        match self.table.connect(hold, source, remote) {
            Ok(flow) => {
                assert_eq!(self.table.flow(hold), Some(flow));
                let found = self.table.connected(&flow).expect("it was connected");
                assert!(flow.protocol == Protocol::Udp || found.hold() == hold);
            }
            Err(ConnectError::Taken(error)) => self.exists(error.holder.hold),
            Err(ConnectError::InUse(error)) => self.exists(error.holder.hold),
            Err(_) => {}
        }
        Some(())
    }

    fn accept(&mut self) -> Option<()> {
        let flow = self.flow()?;
        let found = self.table.who(&flow).map(|found| found.hold());
        let listener = found.or(self.hold())?;
        self.opened += 1;
        if self.holds.len() < MOST_HOLDS
            && let Ok(hold) = self.table.accept(listener, &flow, self.opened)
        {
            assert_eq!(self.table.flow(hold), Some(flow));
            self.holds.push(hold);
        }
        Some(())
    }

    fn admit(&mut self) -> Option<()> {
        let flow = self.flow()?;
        self.opened += 1;
        if self.holds.len() < MOST_HOLDS
            && let Ok(hold) = self.table.admit(&flow, self.opened)
        {
            self.holds.push(hold);
        }
        Some(())
    }

    fn set(&mut self) -> Option<()> {
        let (hold, request, which) = (self.hold()?, self.request()?, self.octet()?);
        let narrow = (which & 0x80 == 0).then_some(range(40_001, 40_001));
        let table = &mut self.table;
        let result = match which % 5 {
            0 => table.set_reuse(hold, request.reuse),
            1 => table.set_device(hold, request.device),
            2 => table.set_user(hold, request.user),
            3 => table.set_domain(hold, request.domain),
            _ => table.set_range(hold, narrow),
        };
        assert_eq!(result.is_ok(), self.table.owner(hold).is_some());
        Some(())
    }

    fn narrow(&mut self) -> Option<()> {
        let (hold, address) = (self.hold()?, self.address()?);
        if self.table.narrow(hold, address).is_ok() {
            let holding = self.table.holding(hold).expect("it was narrowed");
            assert_eq!(holding.cover.address(), Some(address.to_canonical()));
        }
        Some(())
    }

    fn wait(&mut self) -> Option<()> {
        let (hold, moment) = (self.hold()?, Moment(u64::from(self.octet()?)));
        if moment.0 % 2 == 0 {
            let _ = self.table.time_wait(hold, moment);
            return Some(());
        }
        while let Some((hold, _)) = self.table.expire(moment) {
            assert!(self.table.owner(hold).is_none());
        }
        assert!(self.table.deadline().is_none_or(|next| next > moment));
        Some(())
    }

    fn reserve(&mut self) -> Option<()> {
        let (hold, which, number) = (self.hold()?, self.octet()?, self.one_of(&PORTS)?);
        match (which % 3, self.reservations.last()) {
            (0, Some(reservation)) => {
                let _ = self.table.claim(hold, *reservation);
            }
            (1, Some(_)) => {
                let reservation = self.reservations.pop()?;
                self.table.unreserve(reservation);
            }
            _ if self.reservations.len() < MOST_RESERVATIONS => {
                let protocol = self.protocol()?;
                let kept = range(number, number.saturating_add(1));
                if let Ok(reservation) = self.table.reserve(protocol, kept, "kept") {
                    self.reservations.push(reservation);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn release(&mut self) -> Option<()> {
        let octet = usize::from(self.octet()?);
        let hold = self.holds.swap_remove(octet % self.holds.len());
        let was = self.table.owner(hold).copied();
        assert_eq!(self.table.release(hold), was);
        assert_eq!(self.table.release(hold), None);
        Some(())
    }

    fn look_up(&mut self) -> Option<()> {
        let flow = self.flow()?;
        let device = Device::new(u32::from(self.octet()? % 3));
        let found = match device {
            Some(device) => self.table.who_on(&flow, device),
            None => self.table.who(&flow),
        };
        if let Some(hold) = found.map(|found| found.hold()) {
            let holding = self.table.holding(hold).expect("who it is, exists");
            assert_eq!(holding.protocol, flow.protocol);
            assert_eq!(holding.port, Some(flow.local.port()));
        }
        Some(())
    }

    fn holders(&mut self) -> Option<()> {
        let (protocol, domain, address) = (
            self.protocol()?,
            self.one_of(&[Domain::V4, Domain::Dual, Domain::V6Only])?,
            self.address()?,
        );
        let number = port(self.one_of(&PORTS)?);
        let Ok(cover) = domain.cover(address) else {
            return Some(());
        };
        for holding in self.table.holders(protocol, cover, number) {
            self.exists(holding.hold);
            assert!(holding.cover.meets(cover) && holding.port == Some(number));
        }
        Some(())
    }

    fn watch(&mut self) {
        self.seen = match self.table.changes(self.seen) {
            Ok(changes) => changes.count() as u64 + self.seen,
            Err(_) => self.table.next_change(),
        };
        assert_eq!(self.seen, self.table.next_change());
        let (mut cursor, mut count) = (Some(Cursor::default()), 0);
        while let Some(at) = cursor {
            let (page, next) = self.table.page(at, 7);
            (cursor, count) = (next, count + page.len());
        }
        assert_eq!(count, self.table.len());
    }

    fn exists(&self, hold: Hold) {
        assert!(self.table.owner(hold).is_some(), "an answer names {hold:?}");
    }

    fn finish(mut self) {
        self.watch();
        for reservation in core::mem::take(&mut self.reservations) {
            self.table.unreserve(reservation);
        }
        for hold in core::mem::take(&mut self.holds) {
            self.table.release(hold);
        }
        assert!(
            self.table.is_empty() && self.table.is_tidy(),
            "{:?}",
            self.table
        );
    }
}

fn port(number: u16) -> Port {
    Port::new(number).expect("no port here is 0")
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(port(first), port(last)).expect("the first comes first")
}

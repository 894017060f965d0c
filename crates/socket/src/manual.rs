//! A manual: the defaults and why, how to choose, and what went wrong elsewhere.
//!
//! There is nothing to call in here.
//!
//! # Choosing a link
//!
//! | you want | take |
//! |---|---|
//! | a network for a test | [`memory::pair`](wharf_link::memory::pair), and [`Impaired`](wharf_link::Impaired) around its ends; `tokio::time::pause` makes hours of it pass at once |
//! | the kernel at the other end | [`Descriptor`](crate::Descriptor) around a [`Tap`](wharf_link::Tap) |
//! | a virtual machine at the other end | [`QemuServer`](crate::QemuServer), or [`qemu::Stream`](wharf_link::qemu::Stream) where the machine listens |
//! | a foot on several networks | [`Stack::start_on`](crate::Stack::start_on): each link with its own addresses and routes; [`Joined`](wharf_link::Joined) where several cables are one network |
//! | to see what passes | [`pcap::Recorded`](wharf_link::pcap::Recorded) around any of them, the descriptor's wrapper included: it is the stack who tells the time |
//! | to repeat what passed | [`pcap::Replay`](wharf_link::pcap::Replay) |
//!
//! A link with [`Capabilities`](wharf_link::Capabilities) gets trains of up to 64 KiB with their checksums left to it, which is worth more than any other
//! setting: fewer packets, not larger windows, make a local link fast.
//!
//! # The defaults
//!
//! What can be changed is in [`Config`](crate::Config) and [`tcp::Config`](wharf_net::tcp::Config); for one socket, by its options.
//!
//! | what | default | why |
//! |---|---|---|
//! | receive window | 256 KiB, grown to 2 MiB while the reader keeps up; never beyond what the link holds | a larger window than the link's queue only asks for loss, and loss costs more than waiting |
//! | send buffer | 256 KiB, grown to 2 MiB with the congestion window | so that a writer that doesn't read its peer's mind fills the way, and yet has to wait in the end |
//! | congestion control | CUBIC (RFC 9438), ten segments at first (RFC 6928) | what most others on the way use: neither starved nor rude |
//! | loss recovery | SACK, RACK-TLP (RFC 8985), PRR (RFC 6937) | time tells loss from reordering better than three duplicates do; a lost tail is probed for within two round trips |
//! | shortest retransmission timeout | 200 ms | RFC 6298 says a second, of clocks that no computer has any more; below 200 ms a peer's delayed acknowledgment would count as loss |
//! | delayed acknowledgments | 40 ms, at once for every second full segment | half of the acknowledgments at no price: the RFC's 500 ms would stall whoever has Nagle's algorithm on |
//! | Nagle's algorithm | on; [`set_nodelay`](crate::TcpStream::set_nodelay) | as everywhere, so that moving over changes nothing |
//! | timestamps, window scaling | offered | round-trip times without guessing, and PAWS (RFC 7323) |
//! | ECN | taken when the peer asks | to ask is refused by boxes on some ways still |
//! | keep-alives, user timeout | off; about fifteen minutes of retransmissions | RFC 9293 §3.8.4: an idle connection costs nothing, and breaking one because a way was down does |
//! | a SYN without an answer | given up after three minutes | RFC 9293 §3.8.3; [`tokio::time::timeout`] for the impatient, which is safe |
//! | TIME-WAIT | a minute, by a small record | as others have it; a new connection with later timestamps may take the place at once (RFC 6191) |
//! | backlog | n and one more wait to be accepted, further SYNs are not answered | Linux's; the peer asks again, and a refusal would be final |
//! | ports chosen for connections | 32768–60999, unpredictable, per peer | RFC 6056 |
//! | ICMP errors | at a limited rate | RFC 4443 §2.4 (f) |
//! | datagrams that wait in a socket | 208 KiB | Linux's; what exceeds it is lost, as UDP is |
//!
//! # What went wrong elsewhere
//!
//! Stacks have failed in ways that are remembered by name. Each of them is an argument for something here.
//!
//! - **SACK Panic** (CVE-2019-11477, with 11478 and 11479): tiny segments and selective acknowledgments made a 16-bit count of segments overflow,
//!   and walks over what was sent endless. Here what is outstanding is ranges of sequence numbers, not segments; blocks are believed only
//!   about what is outstanding; a peer's segment size is taken as 48 at least.
//! - **SegmentSmack and FragmentSmack** (CVE-2018-5390, 5391): queues of what came out of order, cheap to fill and dear to search.
//!   Here both are bounded by what they cost rather than by what they carry. Of segments, what exceeds the budget is dropped unreported; of
//!   fragments, 256 datagrams of 256 pieces, 4 MiB in all, and the oldest goes first.
//! - **Teardrop, Ping of Death, Rose** and their kin: fragments that overlap, or add up to more than a packet. An overlap spoils its datagram
//!   (RFC 5722), and no datagram is longer than 65,535 bytes.
//! - **LAND**: a packet from the host to itself. Nothing from the link is believed to come from an own address, the loopback, a group or everybody.
//! - **URGENT/11** (CVE-2019-12255 and others): arithmetic on the urgent pointer. Here it is read and never used: urgent data stays in line, as RFC 6093
//!   advises.
//! - **Ripple20** (CVE-2020-11896 and others): lengths in packets that were believed twice, differently. Here a header is parsed once, into
//!   slices that can't be longer than what came, and there is no unsafe code in the host.
//! - **Predictable sequence numbers** (Mitnick's attack, NUMBER:JACK): hijacked connections. They are a keyed hash of the flow and a clock
//!   (RFC 6528); so are timestamps, identifications and ports beyond guessing, all by the one [seed](crate::Stack::seed) that a stack wants.
//! - **Slipping in the window** (CVE-2004-0230): a reset or SYN anywhere in the window killed a connection. A reset has to be exact, everything else is
//!   asked back (RFC 5961).
//! - **The shared challenge counter** (CVE-2016-5696): the limit on such questions, being one for all connections, told strangers about them.
//!   Here each connection has its own.
//! - **ICMP against TCP** (CVE-2004-0790, 0791, 1060): forged errors reset connections or slowed them to nothing. Errors are believed only about what
//!   is in flight (RFC 5927); none ends an established connection; no path gets smaller than 552 bytes over IPv4, 1,280 over IPv6.
//! - **Sockstress** (CVE-2008-4609): peers that close their window and leave, with everything that is queued. Who holds a connection may wait
//!   for ever, that is RFC 9293's; a connection that nobody holds any more is given up.
//! - **Hash flooding**: keys that a peer chooses, all in one bucket. Every table that a peer can fill is keyed by the seed.
//! - **Silly windows, shrinking windows**: a window once offered is never taken back, and never opened by less than a segment (RFC 9293 §3.8.6.2.2).
//! - **The linear stack**: some embedded stacks look through all sockets for each packet, and are a hundred times slower at a thousand. Here
//!   a packet is found its socket in constant time, by the table that binding asks as well: there are no two that could disagree.
//! - **`TIME_WAIT` that eats the server**: a resting connection has no buffers, and doesn't keep a listener from its port.
//! - **Cancelled and lost**: asynchronous wrappers that took data from the stack before the caller was there to have it. Here
//!   a future has done nothing until it is ready, and what it would have taken is the next one's.

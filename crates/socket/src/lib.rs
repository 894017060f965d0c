//! Asynchronous TCP and UDP sockets over any wharf link.

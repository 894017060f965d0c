//! What can be set on a connection.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wharf_net::Setting;
use wharf_net::tcp::KeepAlive;

use super::TcpStream;

/// Options.
impl TcpStream {
    /// `TCP_NODELAY`: whether small segments go out at once rather than being gathered (Nagle).
    ///
    /// # Errors
    ///
    /// When the stack has ended, as for all options.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.held().set(Setting::NoDelay(nodelay))
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.held().settings()?.nodelay)
    }

    /// `TCP_CORK`: while it is set, only full segments go out.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_cork(&self, cork: bool) -> io::Result<()> {
        self.held().set(Setting::Cork(cork))
    }

    /// `SO_KEEPALIVE` and its times; none without.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_keepalive(&self, keepalive: Option<KeepAlive>) -> io::Result<()> {
        self.held().set(Setting::KeepAlive(keepalive))
    }

    /// Whether `SO_KEEPALIVE` is set, and its times.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn keepalive(&self) -> io::Result<Option<KeepAlive>> {
        Ok(self.held().settings()?.keepalive)
    }

    /// `TCP_USER_TIMEOUT`: how long data may stay unacknowledged (RFC 5482).
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.held().set(Setting::UserTimeout(timeout))
    }

    /// `SO_RCVBUF`, in bytes; ends its auto-tuning.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held().set(Setting::ReceiveBuffer(size as usize))
    }

    /// `SO_SNDBUF`, in bytes; ends its auto-tuning.
    ///
    /// # Errors
    ///
    /// When the stack has ended.
    pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
        self.held().set(Setting::SendBuffer(size as usize))
    }

    /// `SO_LINGER` with time zero: when it is dropped, the connection is reset. A drop never waits, so there is no other linger.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.connection.reset_on_drop.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Zero after [`set_zero_linger`](Self::set_zero_linger), else nothing.
    ///
    /// # Errors
    ///
    /// None, but tokio's has some.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let zero = self.connection.reset_on_drop.load(Ordering::Relaxed);
        Ok(zero.then_some(Duration::ZERO))
    }
}

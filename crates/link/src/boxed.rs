//! A link in a box is a link: for those of which only at run time is known what they are.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use crate::{AsyncLink, Capabilities, Link};

impl<L: Link + ?Sized> Link for Box<L> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn mtu(&self) -> u16 {
        (**self).mtu()
    }

    fn queue_bytes(&self) -> usize {
        (**self).queue_bytes()
    }

    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        (**self).receive(buffer)
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        (**self).send(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

impl<L: AsyncLink + ?Sized> AsyncLink for Box<L> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_receive(cx, buffer)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        (**self).poll_send(cx, parts)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn deadline(&self) -> Option<Duration> {
        (**self).deadline()
    }

    fn advance(&mut self, now: Duration) -> io::Result<()> {
        (**self).advance(now)
    }
}

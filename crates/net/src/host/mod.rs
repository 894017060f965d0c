//! The host.

mod config;
mod event;

pub use config::{Config, Route};
pub use event::{Event, KnockId, Ready, Refusal, SocketId, Unreachable};
use bytes::Bytes; use crate::{Frame, Instant}; use core::net::IpAddr; use wharf_port::Flow;
pub struct Host;
#[allow(unused)]
impl Host {
 pub fn new(c: Config)->Self{Self} pub fn receive(&mut self, n:Instant,f:Frame){} pub fn transmit(&mut self,n:Instant)->Option<Frame>{None}
 pub fn deadline(&self)->Option<Instant>{None} pub fn expire(&mut self,n:Instant){} pub fn event(&mut self)->Option<Event>{None}
 pub fn admit(&mut self,n:Instant,k:KnockId)->Result<SocketId,()>{todo!()} pub fn refuse(&mut self,n:Instant,k:KnockId,r:Refusal){}
 pub fn room(&self,s:SocketId)->usize{0} pub fn write(&mut self,n:Instant,s:SocketId,b:Bytes){} pub fn chunks(&self,s:SocketId)->impl Iterator<Item=&[u8]>{core::iter::empty()}
 pub fn consume(&mut self,n:Instant,s:SocketId,c:usize){} pub fn shutdown(&mut self,n:Instant,s:SocketId){} pub fn abort(&mut self,n:Instant,s:SocketId){} pub fn close(&mut self,n:Instant,s:SocketId){}
 pub fn send_datagram(&mut self,n:Instant,f:Flow,b:Bytes,s:Option<u16>)->Result<(),()>{Ok(())} pub fn reject_datagram(&mut self,n:Instant,f:Flow,u:Unreachable){}
 pub fn echo_reply(&mut self,n:Instant,l:IpAddr,r:IpAddr,i:u16,s:u16,p:Bytes){} pub fn reject_echo(&mut self,n:Instant,l:IpAddr,r:IpAddr,i:u16,s:u16,u:Unreachable){}
}
pub mod fwd { use crate::wire::ethernet::Mac; pub fn destination(f:&[u8])->Option<core::net::IpAddr>{None} pub fn lower_hops(f:&mut [u8], a:Mac,b:Mac)->bool{false} }

//! Two hosts in one process, a server and a client, with a memory link between them: no privileges, no kernel network.
//!
//! ```text
//! cargo run -p wharf-socket --example echo
//! ```

use std::error::Error;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use wharf_link::{Capabilities, memory};
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Config, Stack, TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (left, right) = memory::pair(256, 1500, Capabilities::ALL);
    let server = Stack::start(left, host(1)?);
    let client = Stack::start(right, host(2)?);

    let listener = TcpListener::bind(&server, "10.0.0.1:7").await?;
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            println!("{peer} has come");
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });

    let mut stream = TcpStream::connect(&client, "10.0.0.1:7").await?;
    stream.write_all(b"hello, other host").await?;
    stream.shutdown().await?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await?;
    println!("{} says: {echo}", stream.peer_addr()?);
    Ok(())
}

/// The host 10.0.0.`number`.
fn host(number: u8) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, number]), Stack::seed());
    config.addresses = vec![format!("10.0.0.{number}/24").parse()?];
    Ok(config)
}

//! An axum server on an address of its own, at the far end of a TAP: nothing else of this machine's network is touched.
//!
//! ```text
//! unshare --map-root-user --net bash -c '
//!     cargo run -p wharf-ecosystem --example web & sleep 1
//!     ip address add 10.0.0.1/24 dev wharf0; ip link set wharf0 up
//!     curl http://10.0.0.2/; wrk -c 50 http://10.0.0.2/'
//! ```

use std::error::Error;

use axum::Router;
use axum::routing::get;
use wharf_ecosystem::web::Listener;
use wharf_link::Tap;
use wharf_net::wire::ethernet::Mac;
use wharf_socket::{Config, Descriptor, Stack, TcpListener};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tap = Descriptor::new(Tap::open("wharf0", 1500)?)?;
    let mut config = Config::new(Mac([2, 0, 0, 0, 0, 2]), Stack::seed());
    config.addresses = vec!["10.0.0.2/24".parse()?];
    let stack = Stack::start(tap, config);
    let pages = Router::new().route("/", get(|| async { "hello from a network of its own\n" }));
    let listener = TcpListener::bind(&stack, "0.0.0.0:80").await?;
    println!("http://10.0.0.2/ is served at the far end of wharf0");
    axum::serve(Listener(listener), pages).await?;
    Ok(())
}

//! A port that stays whose it is. Between a server that stops and one that starts again at the same place, the system
//! gives a free port to whoever asks next, be it the other end of somebody's connection.
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1, bound for as long as this value lives. While nobody listens, connections are refused; whoever
/// listens has to say SO_REUSEADDR, as Rust's and Go's libraries do.
pub struct Port {
    held: Socket,
}

impl Port {
    /// One that nobody has.
    pub fn take() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port")
    }

    /// This one, if nobody listens there; others that hold it too are not in the way.
    pub fn at(address: SocketAddr) -> std::io::Result<Self> {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        held.set_reuse_address(true)?;
        held.bind(&address.into())?;
        Ok(Self { held })
    }

    pub fn address(&self) -> SocketAddr {
        self.held.local_addr().ok().and_then(|a| a.as_socket()).expect("an address")
    }

    /// Listens there, as often as is wanted, once at a time.
    pub fn listen(&self) -> std::io::Result<TcpListener> {
        let listener = TcpListener::bind(self.address())?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Nobody else's until the process ends.
    pub fn kept(self) -> SocketAddr {
        let address = self.address();
        std::mem::forget(self);
        address
    }
}

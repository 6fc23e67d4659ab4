//! A port that is taken, and where nobody listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback port that refuses every connection for as long as this lives.
///
/// A port that is merely free is given to the next socket that asks for one, and tests run side by side: whoever
/// means to meet nobody there meets the server of another test.
pub struct ClosedPort {
    socket: TcpSocket,
}

impl ClosedPort {
    /// A port of the system's choice.
    ///
    /// # Panics
    /// If the system has no port left.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "taking a port is no default")]
    pub fn new() -> ClosedPort {
        ClosedPort::at(0).expect("the system has a port left")
    }

    /// Takes `port`, or any port if it is zero.
    pub(crate) fn at(port: u16) -> io::Result<ClosedPort> {
        let socket = TcpSocket::new_v4()?;
        // Connections of the server that was here before may still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(ClosedPort { socket })
    }

    /// The port's number.
    ///
    /// # Panics
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.socket.local_addr().expect("a bound socket has an address").port()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn nobody_listens_and_nobody_else_gets_the_port() {
        let closed = ClosedPort::new();
        let error = TcpStream::connect((Ipv4Addr::LOCALHOST, closed.number())).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // Each is given up at once; of the 28,232 ports that Linux chooses from, so many draws leave few out.
        for _ in 0..60_000 {
            let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
            assert_ne!(other.local_addr().expect("a listener has an address").port(), closed.number());
        }
    }
}

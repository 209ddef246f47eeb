//! Connections through a link and through a round robin.

use super::*;
use crate::round_robin::RoundRobin;

/// A server that answers each byte with itself, after its own name.
async fn echo(name: u8) -> (SocketAddr, Serving) {
    Serving::start(move |mut client| async move {
        drop(client.write_all(&[name]).await);
        let mut byte = [0];
        while client.read_exact(&mut byte).await.is_ok() {
            drop(client.write_all(&byte).await);
        }
    })
    .await
}

async fn connect(address: SocketAddr) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let name = stream.read_u8().await.unwrap();
    (stream, name)
}

#[tokio::test]
async fn what_is_held_arrives_after_the_release() {
    let (server, _serving) = echo(b'a').await;
    let link = Link::to(server).await;
    let (mut stream, _) = connect(link.address()).await;
    link.line().hold();
    stream.write_all(b"x").await.unwrap();
    let mut byte = [0];
    {
        let mut answer = pin!(stream.read_exact(&mut byte));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut answer).await;
        assert!(early.is_err());
        link.line().delay(Duration::from_millis(1));
        link.line().release();
        answer.await.unwrap();
    }
    assert_eq!(byte, *b"x");
}

#[tokio::test]
async fn a_reset_breaks_what_is_open_and_not_what_comes_later() {
    let (server, _serving) = echo(b'a').await;
    let link = Link::to(server).await;
    let (mut stream, _) = connect(link.address()).await;
    link.line().hold();
    link.line().reset();
    let broken = stream.read_u8().await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
    link.line().release();
    connect(link.address()).await;
}

#[tokio::test]
async fn connections_are_spread_and_a_replica_that_refuses_is_skipped() {
    let balance = RoundRobin::over(3).await;
    let mut none = TcpStream::connect(balance.address()).await.unwrap();
    assert!(none.read_u8().await.is_err());
    let (a, first) = echo(b'a').await;
    let (b, _second) = echo(b'b').await;
    let (c, _third) = echo(b'c').await;
    for (number, address) in [a, b, c].into_iter().enumerate() {
        balance.place(number, Some(address));
    }
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(connect(balance.address()).await.1);
    }
    names.sort_unstable();
    assert_eq!(names, b"aabbcc");
    drop(first);
    while TcpStream::connect(a).await.is_ok() {
        tokio::task::yield_now().await;
    }
    balance.place(1, None);
    for _ in 0..6 {
        assert_eq!(connect(balance.address()).await.1, b'c');
    }
}

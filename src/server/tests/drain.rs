//! The end of a server: running requests finish, in bounded time.

use super::*;

#[tokio::test]
async fn the_drain_lets_a_running_request_finish_and_accepts_no_new_connection() {
    let begun = Arc::new(Notify::new());
    let allowed = Arc::new(Notify::new());
    let server = Running::start(
        Some(Pki::new().server(ClientAuth::Off, None)),
        Limits::default(),
        says_who(),
    )
    .await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap(); // with nothing open it ends at once

    let server = Running::start(None, Limits::default(), waits(&begun, &allowed)).await;
    let mut busy = server.connect().await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(GET_AND_STAY).await.unwrap();
    begun.notified().await;
    allowed.notify_one();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    busy.write_all(GET_AND_STAY).await.unwrap();
    begun.notified().await;

    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut silent).await, b"");
    rest(&mut idle).await;
    TcpStream::connect(server.address).await.unwrap_err();
    assert!(!server.ended.is_finished());
    allowed.notify_one();
    let answer = String::from_utf8(rest(&mut busy).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"),
        "{answer}"
    );
    server.ended.await.unwrap();
}

#[tokio::test]
async fn the_drain_does_not_wait_for_ever() {
    let begun = Arc::new(Notify::new());
    let never = Arc::new(Notify::new());
    let limits = Limits {
        drain_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(None, limits, waits(&begun, &never)).await;
    let mut busy = server.connect().await;
    busy.write_all(GET).await.unwrap();
    begun.notified().await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
    assert_eq!(rest(&mut busy).await, b"");
}

//! A client cannot hold the server, and the server does not let go of a client.

use std::time::Duration;

use producer::{ConnectionLimits, IntakeSettings, Stopped};
use tokio::time::{Instant, sleep_until};

use super::{
    door::{Door, Plan, eventually, signed},
    http::{Connection, exchange, get, head},
};

const SHORT: Duration = Duration::from_millis(300);

async fn open(plan: Plan) -> Door {
    let redis = tests::redis().await;
    plan.open(&redis.url, &redis.prefix).await
}

fn limits(limits: ConnectionLimits) -> Plan {
    Plan { limits, ..Plan::default() }
}

#[tokio::test]
async fn who_says_nothing_is_hung_up_on() {
    let door = open(limits(ConnectionLimits { header_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut silent = Connection::open(door.address).await;

    assert_eq!(silent.receive().await, None);
}

#[tokio::test]
async fn a_header_that_drips_is_cut_off_at_its_deadline() {
    let door = open(limits(ConnectionLimits { header_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    let began = Instant::now();

    connection.send(b"POST /hooks/wa HTTP/1.1\r\nx-slow: ").await;
    let answer = connection.drip().await;

    assert_eq!(answer, None);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_second_header_of_a_connection_has_the_same_deadline() {
    let door = open(limits(ConnectionLimits { header_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    connection.send(&signed(b"{}")).await;
    assert_eq!(connection.receive().await.unwrap().status, 200);

    connection.send(b"POST /hooks/wa HTTP/1.1\r\nx-slow: ").await;
    let answer = connection.drip().await;

    assert_eq!(answer, None);
}

#[tokio::test]
async fn a_connection_may_idle_for_longer_than_a_header_may_take() {
    let door = open(limits(ConnectionLimits { header_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    connection.send(&signed(b"{}")).await;
    assert_eq!(connection.receive().await.unwrap().status, 200);

    sleep_until(Instant::now() + 3 * SHORT).await;
    connection.send(&signed(b"{}")).await;

    assert_eq!(connection.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let deadlines = ConnectionLimits { header_deadline: SHORT, idle_deadline: SHORT, ..ConnectionLimits::default() };
    let door = open(limits(deadlines)).await;
    let mut connection = Connection::open(door.address).await;
    connection.send(&signed(b"{}")).await;
    assert_eq!(connection.receive().await.unwrap().status, 200);

    assert_eq!(connection.receive().await, None);
}

#[tokio::test]
async fn a_connection_that_is_used_now_and_then_may_grow_older_than_it_may_idle() {
    let idle_deadline = 5 * SHORT;
    let door = open(limits(ConnectionLimits { idle_deadline, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    let began = Instant::now();

    let mut answered = 0;
    while began.elapsed() < idle_deadline + SHORT {
        sleep_until(Instant::now() + SHORT).await;
        connection.send(&signed(b"{}")).await;
        answered += usize::from(connection.receive().await.is_some_and(|answer| answer.status == 200));
    }

    assert!(answered > 1 && began.elapsed() > idle_deadline);
    connection.send(&signed(b"{}")).await;
    assert_eq!(connection.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_at_its_deadline() {
    let intake = IntakeSettings { body_deadline: SHORT, ..IntakeSettings::default() };
    let door = open(Plan { intake, ..Plan::default() }).await;
    let mut connection = Connection::open(door.address).await;
    let began = Instant::now();

    connection.send(&head("/hooks/wa", &[("content-length", "1000")])).await;
    let answer = connection.drip().await;

    assert_eq!(answer.unwrap().error().0, 408);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn too_many_headers_or_too_large_ones_are_refused() {
    let door = open(Plan::default()).await;
    let many: Vec<_> = (0..65).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "value")).collect();
    let large = "x".repeat(100 << 10);

    assert_eq!(exchange(door.address, &head("/hooks/wa", &many)).await.status, 431);
    assert_eq!(exchange(door.address, &head("/hooks/wa", &[("x-large", &large)])).await.status, 431);
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_their_turn() {
    let door = open(limits(ConnectionLimits { connections: 1, ..ConnectionLimits::default() })).await;
    let mut first = Connection::open(door.address).await;
    first.send(&get("/healthz")).await;
    assert_eq!(first.receive().await.unwrap().status, 200);

    let mut second = Connection::open(door.address).await;
    second.send(&signed(b"{}")).await;
    first.send(&get("/healthz")).await;
    assert_eq!(first.receive().await.unwrap().status, 200);
    assert_eq!(door.inbound.depth().await.unwrap().ready, 0);
    drop(first);

    assert_eq!(second.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_between_two_requests_do_not_keep_another_from_being_answered() {
    let door = open(limits(ConnectionLimits { connections: 8, ..ConnectionLimits::default() })).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(door.address).await;
        connection.send(&get("/healthz")).await;
        assert_eq!(connection.receive().await.unwrap().status, 200);
        idle.push(connection);
        // Silence is told apart to the millisecond of tokio's timers.
        sleep_until(Instant::now() + Duration::from_millis(5)).await;
    }

    let began = Instant::now();
    let answer = door.post_signed(b"{}").await;

    assert_eq!(answer.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(idle.remove(0).receive().await, None, "the one that has idled longest has left");
    for mut connection in idle {
        connection.send(&get("/healthz")).await;
        assert_eq!(connection.receive().await.unwrap().status, 200, "the others have not");
    }
}

#[tokio::test]
async fn connections_that_have_never_said_anything_do_not_keep_another_from_being_answered() {
    let door = open(limits(ConnectionLimits { connections: 8, ..ConnectionLimits::default() })).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Connection::open(door.address).await);
    }

    let began = Instant::now();
    let answer = door.post_signed(b"{}").await;

    assert_eq!(answer.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_request_in_flight_is_never_cut_off_for_a_connection_that_waits() {
    let door = open(limits(ConnectionLimits { connections: 1, ..ConnectionLimits::default() })).await;
    let mut first = Connection::open(door.address).await;
    let request = signed(b"in flight");
    let (begun, rest) = request.split_at(request.len() - 3);
    first.send(begun).await;
    has_received(&door, 1).await;

    let mut second = Connection::open(door.address).await;
    second.send(&get("/healthz")).await;
    sleep_until(Instant::now() + Duration::from_secs(2)).await;
    first.send(rest).await;

    assert_eq!(first.receive().await.unwrap().status, 200);
    assert_eq!(second.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn who_does_not_read_the_answers_is_hung_up_on() {
    let door = open(limits(ConnectionLimits { write_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    let requests = get("/healthz").repeat(1000);

    let hung_up = async { while connection.try_send(&requests).await.is_ok() {} };

    tokio::time::timeout(Duration::from_secs(30), hung_up).await.expect("the server hangs up");
}

#[tokio::test]
async fn stopping_finishes_the_requests_in_flight_and_takes_no_more() {
    let door = open(Plan::default()).await;
    let mut connection = Connection::open(door.address).await;
    let request = signed(b"in flight");
    let (begun, rest) = request.split_at(request.len() - 3);
    connection.send(begun).await;
    has_received(&door, 1).await;

    door.stop.cancel();
    eventually("nobody is let in", async || tokio::net::TcpStream::connect(door.address).await.is_err()).await;
    connection.send(rest).await;

    let response = connection.receive().await.unwrap();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(door.stored().await.len(), 1);
    assert_eq!(door.ended().await, Stopped { cut_off: 0 });
}

#[tokio::test]
async fn stopping_does_not_wait_for_connections_that_are_between_requests_or_before_the_first() {
    let door =
        open(limits(ConnectionLimits { drain_deadline: Duration::from_secs(15), ..ConnectionLimits::default() })).await;
    let (mut used, mut fresh) = (Connection::open(door.address).await, Connection::open(door.address).await);
    used.send(&get("/healthz")).await;
    assert_eq!(used.receive().await.unwrap().status, 200);

    let began = Instant::now();
    door.stop.cancel();

    assert_eq!((used.receive().await, fresh.receive().await), (None, None));
    assert_eq!(door.ended().await, Stopped { cut_off: 0 });
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_hold_the_server_from_stopping() {
    let door = open(limits(ConnectionLimits { drain_deadline: SHORT, ..ConnectionLimits::default() })).await;
    let mut connection = Connection::open(door.address).await;
    connection.send(&head("/hooks/wa", &[("content-length", "1000")])).await;
    has_received(&door, 1).await;

    door.stop.cancel();

    assert_eq!(door.ended().await, Stopped { cut_off: 1 });
}

async fn has_received(door: &Door, requests: u64) {
    let received = &door.intake.counters().received;
    eventually("the request has arrived", async || received.get() == requests).await;
}

//! The etcd adapter against real servers: who is let in, what is said when there is none, when it is full, and when
//! it comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, ConnectOptions, Permission};
use penstock_store::{Error, Etcd, EtcdOptions, Guard, Op, Outcome, Range, Store, Tls, Txn};

use support::etcd::EtcdServer;
use support::tls::Authority;

fn to(endpoint: impl Into<String>) -> EtcdOptions {
    EtcdOptions { endpoints: vec![endpoint.into()], ..EtcdOptions::default() }
}

fn put(key: &str, bytes: usize) -> Txn {
    Txn { then: vec![Op::Put(key.to_owned(), vec![7; bytes].into(), None)], ..Txn::default() }
}

async fn refused(options: EtcdOptions) -> (Error, String, Duration) {
    let since = Instant::now();
    let error = Etcd::connect(options).await.expect_err("is refused");
    let text = error.to_string();
    println!("{text}");
    assert!(!text.contains('\n'), "one line: {text}");
    (error, text, since.elapsed())
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_said_to_be_unreachable_at_once_by_name() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
    let (error, text, took) = refused(to(&free)).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(text.contains(&free) && text.contains("refused"), "{text}");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // It takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_at = silent.local_addr().unwrap().to_string();
    let quick = EtcdOptions { request_timeout: Duration::from_millis(500), connect_timeout: Duration::from_millis(500), ..to(&silent_at) };
    let (error, text, took) = refused(quick).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(text.contains(&silent_at), "{text}");
    assert!(took < Duration::from_secs(2), "{took:?}");

    let (error, text, _) = refused(to("no-such-host.invalid:2379")).await;
    assert!(matches!(error, Error::Unavailable(_)) && text.contains("no-such-host.invalid"), "{error:?}");
    assert!(matches!(refused(EtcdOptions { endpoints: vec![], ..EtcdOptions::default() }).await.0, Error::Invalid(_)));
}

#[tokio::test]
async fn the_member_that_answers_is_used_and_another_one_after_it_went_away() {
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
    let mut server = EtcdServer::start();
    let options =
        EtcdOptions { endpoints: vec![dead.clone(), server.endpoint()], request_timeout: Duration::from_secs(1), ..EtcdOptions::default() };
    let store = Etcd::connect(options).await.unwrap();
    let name = store.describe();
    assert!(name.starts_with("etcd 3.") && name.ends_with(&format!(" at {dead},{}", server.endpoint())), "{name}");
    let Outcome::Committed(revision) = store.txn(put("k", 1)).await.unwrap() else { panic!("refused") };
    for _ in 0..20 {
        store.range(Range::key("k")).await.unwrap();
    }
    let mut watch = store.watch("k").await.unwrap();
    let session = store.open_session(Duration::from_secs(5)).await.unwrap();
    server.kill();
    assert!(matches!(watch.next().await, Err(Error::Unavailable(_))), "a watch ends with its server");
    for _ in 0..3 {
        let since = Instant::now();
        assert!(matches!(store.txn(put("k", 1)).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.keep_session(session).await, Err(Error::Unavailable(_))));
        assert!(since.elapsed() < Duration::from_secs(3));
    }
    server.restart();
    let since = Instant::now();
    while store.range(Range::key("k")).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(10), "it does not find the server again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.range(Range::key("k")).await.unwrap()[0].created, revision);
    assert!(store.keep_session(session).await.unwrap(), "a restarted etcd keeps its leases");
}

async fn with_users(server: &EtcdServer) {
    let mut root = Client::connect([server.endpoint()], None).await.unwrap();
    root.user_add("root", "root-password", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("penstock", "right", None).await.unwrap();
    root.role_add("penstock").await.unwrap();
    let all = Permission::read_write("/penstock/").with_prefix();
    root.role_grant_permission("penstock", all).await.unwrap();
    root.user_grant_role("penstock", "penstock").await.unwrap();
    root.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_password_is_let_in_and_only_to_its_keys() {
    let mut server = EtcdServer::start();
    let user = |user: &str, password: &str| EtcdOptions { user: Some((user.to_owned(), password.to_owned())), ..to(server.endpoint()) };
    let (error, text, _) = refused(user("penstock", "right")).await;
    assert!(matches!(error, Error::Denied(_)) && text.contains("not enabled"), "{error:?}");
    with_users(&server).await;
    for options in [user("penstock", "wrong"), user("nobody", "right"), to(server.endpoint())] {
        let (error, text, took) = refused(options).await;
        assert!(matches!(error, Error::Denied(_)), "{error:?}");
        assert!(text.contains(&server.endpoint()) && !text.contains("right"), "{text}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let store = Etcd::connect(user("penstock", "right")).await.unwrap();
    store.txn(put("/penstock/k", 1)).await.unwrap();
    assert!(matches!(store.txn(put("/other/k", 1)).await, Err(Error::Denied(_))));
    assert!(matches!(store.range(Range::prefix("/other/")).await, Err(Error::Denied(_))));
    assert!(matches!(store.watch("/other/").await, Err(Error::Denied(_))));
    store.watch("/penstock/").await.unwrap();
    let session = store.open_session(Duration::from_secs(30)).await.unwrap();

    // A restart forgets all simple tokens: each kind of call gets a new one by itself.
    for round in 0..3 {
        server.restart();
        let since = Instant::now();
        loop {
            let done = match round {
                0 => store.txn(put("/penstock/k", 1)).await.map(drop),
                1 => store.watch("/penstock/").await.map(drop),
                _ => store.keep_session(session).await.map(|kept| assert!(kept)),
            };
            match done {
                Ok(()) => break,
                Err(Error::Unavailable(_)) => {}
                Err(other) => panic!("round {round}: {other:?}"),
            }
            assert!(since.elapsed() < Duration::from_secs(10), "it is not let in again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let reads = (0..8).map(|_| store.range(Range::prefix("/penstock/")));
        for read in futures_util::future::join_all(reads).await {
            assert_eq!(read.unwrap().len(), 1);
        }
    }

    // So does a change of users, which makes older tokens stale.
    let options = ConnectOptions::new().with_user("root", "root-password");
    let mut root = Client::connect([server.endpoint()], Some(options)).await.unwrap();
    root.user_add("somebody", "else", None).await.unwrap();
    store.txn(put("/penstock/k", 1)).await.unwrap();
    root.user_change_password("penstock", "another").await.unwrap();
    let denied = store.txn(put("/penstock/k", 1)).await;
    assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed() {
    let server = EtcdServer::with(&["--auth-token-ttl", "1"]);
    with_users(&server).await;
    let user = Some(("penstock".to_owned(), "right".to_owned()));
    let store = Etcd::connect(EtcdOptions { user, ..to(server.endpoint()) }).await.unwrap();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        store.txn(put("/penstock/k", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn tls_takes_only_the_authority_it_was_given_and_shows_its_own_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("server");
    ours.issue("client");
    theirs.issue("client");
    let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|file| ours.path(file));
    let server = EtcdServer::with(&["--cert-file", &certificate, "--key-file", &key]);
    let to_server = |tls| EtcdOptions { tls: Some(tls), ..to(server.endpoint()) };
    let trusts = |authority: &Authority| Tls { ca: authority.pem("ca.pem"), identity: None, domain: None };

    let store = Etcd::connect(to_server(trusts(&ours))).await.unwrap();
    store.txn(put("k", 1)).await.unwrap();
    let mut watch = store.watch("k").await.unwrap();
    store.txn(put("k", 1)).await.unwrap();
    watch.next().await.unwrap();

    let (error, text, took) = refused(to_server(trusts(&theirs))).await;
    assert!(matches!(error, Error::Denied(_)) && text.contains("certificate"), "{error:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let elsewhere = Tls { domain: Some("etcd.example".to_owned()), ..trusts(&ours) };
    let (error, text, _) = refused(to_server(elsewhere)).await;
    assert!(matches!(error, Error::Denied(_)) && text.contains("certificate"), "{error:?}");
    let (error, text, took) = refused(to(server.endpoint())).await;
    assert!(matches!(error, Error::Unavailable(_)) && text.contains("TLS"), "{error:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let plain = EtcdServer::start();
    let (error, text, _) = refused(EtcdOptions { tls: Some(trusts(&ours)), ..to(plain.endpoint()) }).await;
    assert!(matches!(error, Error::Unavailable(_)) && text.contains("TLS"), "{error:?}");
    let no_pem = Tls { ca: "no certificate".to_owned(), ..trusts(&ours) };
    assert!(matches!(refused(to_server(no_pem)).await.0, Error::Denied(_) | Error::Invalid(_)));
    let no_identity = Tls { identity: Some(("no".to_owned(), "pem".to_owned())), ..trusts(&ours) };
    assert!(matches!(refused(to_server(no_identity)).await.0, Error::Invalid(_)));

    let flags = ["--cert-file", &certificate, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let strict = EtcdServer::with(&flags);
    let shows = |authority: Option<&Authority>| {
        let identity = authority.map(|authority| (authority.pem("client.pem"), authority.pem("client.key")));
        EtcdOptions { tls: Some(Tls { identity, ..trusts(&ours) }), ..to(strict.endpoint()) }
    };
    let store = Etcd::connect(shows(Some(&ours))).await.unwrap();
    store.txn(put("k", 1)).await.unwrap();
    for authority in [None, Some(&theirs)] {
        // etcd may just close the connection.
        let (error, text, took) = refused(shows(authority)).await;
        assert!(matches!(error, Error::Denied(_) | Error::Unavailable(_)) && text.contains("certificate"), "{error:?}");
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
}

#[tokio::test]
async fn a_full_etcd_refuses_puts_and_sessions_while_reads_and_deletions_go_on() {
    let server = EtcdServer::with(&["--quota-backend-bytes", "4000000"]);
    let store = Etcd::connect(EtcdOptions { quota: 4_000_000, ..to(server.endpoint()) }).await.unwrap();
    store.txn(put("before", 100)).await.unwrap();
    let session = store.open_session(Duration::from_secs(30)).await.unwrap();
    let mut full = None;
    // etcd learns its size when it flushes, every 100 ms.
    for number in 0..200 {
        match store.txn(put(&format!("fill/{number}"), 1_000_000)).await {
            Ok(_) => {}
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    let Some(Error::NoSpace(text)) = full else { panic!("expected NoSpace, got {full:?}") };
    assert!(text.contains("defrag") && text.contains("alarm disarm") && !text.contains('\n'), "{text}");
    // The alarm is raised a moment after the first refusal.
    let since = Instant::now();
    while !store.space().await.unwrap().full {
        assert!(since.elapsed() < Duration::from_secs(10), "no alarm");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(store.txn(put("small", 1)).await, Err(Error::NoSpace(_))));
    let mixed = Txn { then: vec![Op::Delete("before".to_owned()), put("small", 1).then.remove(0)], ..Txn::default() };
    assert!(matches!(store.txn(mixed).await, Err(Error::NoSpace(_))));
    assert!(matches!(store.open_session(Duration::from_secs(5)).await, Err(Error::NoSpace(_))));
    let space = store.space().await.unwrap();
    assert!(space.full && space.quota == 4_000_000 && space.used > 2_000_000 && space.file >= space.used, "{space:?}");

    assert_eq!(store.range(Range::key("before")).await.unwrap().len(), 1);
    assert!(store.keep_session(session).await.unwrap());
    let delete = Txn {
        guards: vec![Guard::Exists("before".to_owned())],
        then: vec![Op::DeleteRange("fill/".to_owned(), "fill0".to_owned())],
        otherwise: Vec::new(),
    };
    let Outcome::Committed(revision) = store.txn(delete).await.unwrap() else { panic!("refused") };
    store.compact(revision).await.unwrap();

    // etcd forgets in the background, and gives up room only when it is defragmented after that.
    let mut admin = Client::connect([server.endpoint()], None).await.unwrap();
    let since = Instant::now();
    loop {
        admin.defragment().await.unwrap();
        disarm(&mut admin).await;
        match store.txn(put("after", 100)).await {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::NoSpace(_)), "{error:?}"),
        }
        assert!(since.elapsed() < Duration::from_secs(20), "compaction frees nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!store.space().await.unwrap().full);
}

async fn disarm(admin: &mut Client) {
    let raised = admin.alarm(AlarmAction::Get, AlarmType::Nospace, None).await.unwrap();
    for alarm in raised.alarms() {
        let mut member = AlarmOptions::new();
        member.with_member(alarm.member_id());
        admin.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(member)).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_idles_is_not_closed_for_pinging_too_much() {
    let server = EtcdServer::start();
    let store = Etcd::connect(to(server.endpoint())).await.unwrap();
    let mut watch = store.watch("k").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    assert!(ended.is_err(), "the watch ended while idle: {ended:?}");
    store.txn(put("k", 1)).await.unwrap();
    watch.next().await.unwrap();
}

//! `sql` tasks against a real PostgreSQL server and real SQLite files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::pipeline::{Action, Sql, Statement};
use penstock_common::record::Ended;
use penstock_common::{Millis, Reason, State, Timestamp};
use penstock_worker::attempt::{Connections, Secrets, Stop};
use serde_json::{Value, json};
use support::postgres::{PASSWORD, Postgres};
use support::{World, assert_ended, eventually_async, with};

const HOSTILE: &str = "'\"; drop table t; -- $1 $(id) {{ 7*7 }}\n\\";

fn configure(world: &mut World, text: &str) {
    let file = world.root.join("connections.toml");
    std::fs::write(&file, text).unwrap();
    world.host.connections = Connections::load(&file).unwrap();
}

/// A worker with a SQLite file and this server.
async fn world() -> (World, Arc<Postgres>) {
    let server = Postgres::start().await;
    let mut world = World::new();
    let text = format!(
        "[warehouse]\nurl = \"{}\"\npassword = {{secret = \"PG\"}}\n[whole]\nurl = {{secret = \"URL\"}}\n[local]\nurl = \"sqlite:local.db\"\n",
        server.bare_url()
    );
    configure(&mut world, &text);
    let url = format!("{}?sslmode=disable", server.url());
    let env = [("PENSTOCK_SECRET_PG".into(), PASSWORD.into()), ("PENSTOCK_SECRET_URL".into(), url.into())];
    world.host.secrets = Secrets::new(None, env);
    (world, server)
}

fn sql(connection: &str, statements: &[(&str, &[Value])]) -> Sql {
    let statements = statements.iter().map(|(text, bind)| Statement { text: (*text).into(), bind: bind.to_vec() }).collect();
    Sql { connection: connection.into(), statements, transaction: true, keep_row: false }
}

fn lease(world: &World, sql: Sql, params: Value) -> Lease {
    Lease { params: params.to_string().into(), ..world.lease(Action::Sql(sql)) }
}

fn outputs(ended: &Ended) -> Value {
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    ended
        .outputs
        .0
        .iter()
        .map(|(key, json)| (key.clone(), serde_json::from_str::<Value>(json).unwrap()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn query(world: &World, connection: &str, text: &str) -> Value {
    outputs(&world.execute(&lease(world, Sql { keep_row: true, ..sql(connection, &[(text, &[])]) }, json!({}))).await)
}

#[tokio::test]
async fn rows_affected_are_records_and_the_first_row_becomes_outputs() {
    let (world, _server) = world().await;
    for connection in ["warehouse", "local"] {
        let script = Sql {
            keep_row: true,
            ..sql(
                connection,
                &[
                    ("create table records_t (id int, name text)", &[]),
                    ("insert into records_t values (1, 'a'), (2, 'b'), (3, 'c')", &[]),
                    ("/* all */ update records_t set name = upper(name) where id > $1", &[json!(1)]),
                    ("select count(*) as n, min(name) as first from records_t", &[]),
                ],
            )
        };
        let ended = world.execute(&lease(&world, script, json!({}))).await;
        assert_eq!(outputs(&ended), json!({"n": 3, "first": "B"}), "{connection}");
        assert_eq!(ended.metrics.0, [("records_out".to_owned(), 5.0)].into());
        assert!(ended.started_at > Timestamp(0));
        assert!(
            world
                .lines("P")
                .iter()
                .any(|line| line
                    == &format!("{connection}, statement 2 (3 rows): insert into records_t values (1, 'a'), (2, 'b'), (3, 'c')")),
            "{}",
            world.log()
        );

        let only_read = world.execute(&lease(&world, sql(connection, &[("select * from records_t", &[])]), json!({}))).await;
        assert!(outputs(&only_read) == json!({}) && only_read.metrics.0.is_empty(), "what is only read is no record");
        let returning = Sql { keep_row: true, ..sql(connection, &[("insert into records_t values (9, 'z') returning id, name", &[])]) };
        let ended = world.execute(&lease(&world, returning, json!({}))).await;
        assert_eq!((outputs(&ended), ended.metrics.0["records_out"]), (json!({"id": 9, "name": "z"}), 1.0));
        let none = Sql { keep_row: true, ..sql(connection, &[("select id from records_t where id = 77", &[])]) };
        assert_eq!(outputs(&world.execute(&lease(&world, none, json!({}))).await), json!({}));
        assert!(world.log().contains("gave no row"));
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing_and_without_one_each_statement_stays() {
    let (world, _server) = world().await;
    for connection in ["warehouse", "local"] {
        let failing = |transaction| Sql {
            transaction,
            ..sql(
                connection,
                &[
                    ("insert into atomic_t values (1)", &[]),
                    ("insert into atomic_t values (2)", &[]),
                    ("insert into\natomic_t values (x)", &[]),
                ],
            )
        };
        world.execute(&lease(&world, sql(connection, &[("create table atomic_t (id int)", &[])]), json!({}))).await;
        let ended = world.execute(&lease(&world, failing(true), json!({}))).await;
        assert_ended(&ended, State::Failed, Reason::ExitCode);
        let start = format!("connection {connection}, statement 3: ");
        assert!(
            ended.detail.starts_with(&start) && ended.detail.contains("line 2, column 18") && ended.detail.ends_with("rolled back"),
            "{}",
            ended.detail
        );
        assert_eq!(query(&world, connection, "select count(*) as n from atomic_t").await, json!({"n": 0}));

        let ended = world.execute(&lease(&world, failing(false), json!({}))).await;
        assert!(ended.detail.ends_with("Statements 1 to 2 stay done"), "{}", ended.detail);
        assert_eq!(query(&world, connection, "select count(*) as n from atomic_t").await, json!({"n": 2}));
    }
}

/// What the statements left in a table of one column.
async fn left(world: &World, connection: &str, table: &str) -> Value {
    query(world, connection, &format!("select count(*) as n from {table}")).await["n"].clone()
}

#[tokio::test]
async fn a_statement_that_would_end_the_transaction_is_refused_before_anything_is_done() {
    let (world, _server) = world().await;
    for connection in ["warehouse", "local"] {
        world.execute(&lease(&world, sql(connection, &[("create table controlled_t (id int)", &[])]), json!({}))).await;
        let insert: (&str, &[Value]) = ("insert into controlled_t values (1)", &[]);
        for control in ["commit", "-- now\n/* and here */ END", "; rollback", "BEGIN", "savepoint a", "/**/prepare transaction 'x'"] {
            let ended = world.execute(&lease(&world, sql(connection, &[insert, (control, &[]), insert]), json!({}))).await;
            assert_ended(&ended, State::Failed, Reason::Template);
            let line = control.matches('\n').count() + 1;
            assert!(ended.detail.contains(&format!("statement 2: line {line} has ")), "{}", ended.detail);
            assert!(ended.detail.contains("transaction: false") && ended.detail.contains("Nothing was executed"), "{}", ended.detail);
        }
        assert_eq!(left(&world, connection, "controlled_t").await, 0, "{connection}");
    }
}

#[tokio::test]
async fn a_procedure_cannot_commit_half_of_a_transaction() {
    let (world, _server) = world().await;
    let commits = "do $$ begin insert into halves_t values (2); commit; end $$";
    let halves = |transaction| Sql {
        transaction,
        ..sql(
            "warehouse",
            &[("create table if not exists halves_t (id int)", &[]), ("insert into halves_t values (1)", &[]), (commits, &[])],
        )
    };
    let ended = world.execute(&lease(&world, halves(true), json!({}))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("invalid transaction termination") && ended.detail.ends_with("rolled back"), "{}", ended.detail);
    let ended = world.execute(&lease(&world, halves(false), json!({}))).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert_eq!(left(&world, "warehouse", "halves_t").await, 2);
}

#[tokio::test]
async fn statements_may_have_transactions_of_their_own_and_must_end_them() {
    let (world, _server) = world().await;
    for connection in ["warehouse", "local"] {
        let of_its_own = |statements: &[&str]| {
            let statements: Vec<(&str, &[Value])> = statements.iter().map(|text| (*text, &[][..])).collect();
            lease(&world, Sql { transaction: false, ..sql(connection, &statements) }, json!({}))
        };
        let insert = "insert into own_t values (1)";
        let ended = world.execute(&of_its_own(&["create table own_t (id int)", "begin", insert, "commit"])).await;
        assert_eq!(ended.state, State::Success, "{}", ended.detail);
        assert_eq!(left(&world, connection, "own_t").await, 1);
        let ended = world.execute(&of_its_own(&["begin", insert])).await;
        assert_ended(&ended, State::Failed, Reason::Template);
        assert!(ended.detail.contains("statement 2: a transaction") && ended.detail.contains("COMMIT"), "{}", ended.detail);
        let ended = world.execute(&of_its_own(&["begin", insert, "insert into nowhere values (1)"])).await;
        assert_ended(&ended, State::Failed, Reason::ExitCode);
        assert!(ended.detail.ends_with("what was committed stays done"), "{}", ended.detail);
        assert_eq!(left(&world, connection, "own_t").await, 1);
    }
}

#[tokio::test]
async fn a_transaction_may_say_how_isolated_it_is() {
    let (world, _server) = world().await;
    let statements: [(&str, &[Value]); 4] = [
        ("set transaction isolation level serializable", &[]),
        ("create table isolated_t (id int)", &[]),
        ("insert into isolated_t values (1)", &[]),
        ("select current_setting('transaction_isolation') as level", &[]),
    ];
    let ended = world.execute(&lease(&world, Sql { keep_row: true, ..sql("warehouse", &statements) }, json!({}))).await;
    assert_eq!(outputs(&ended), json!({"level": "serializable"}));
}

#[tokio::test]
async fn data_of_the_client_is_refused_with_what_to_do() {
    let (world, _server) = world().await;
    world.execute(&lease(&world, sql("warehouse", &[("create table copied_t (id int)", &[])]), json!({}))).await;
    for copy in ["copy copied_t from stdin", "copy copied_t to stdout"] {
        let ended = world.execute(&lease(&world, sql("warehouse", &[("select 1", &[]), (copy, &[])]), json!({}))).await;
        assert_ended(&ended, State::Failed, Reason::Template);
        assert!(ended.detail.contains("statement 2: COPY") && ended.detail.contains("psql"), "{}", ended.detail);
    }
}

#[tokio::test]
async fn an_attempt_that_was_stopped_does_not_commit_though_its_statement_succeeds() {
    let (world, server) = world().await;
    let looks = server.client().await;
    looks.batch_execute("create table stubborn_t (id int)").await.unwrap();
    // It ends well when it is cancelled.
    let stubborn = "do $$ begin insert into stubborn_t values (1); perform pg_sleep(1000); exception when query_canceled then \
                    insert into stubborn_t values (2); end $$ /* stubborn */";
    let running = async || {
        let text = "select count(*) from pg_stat_activity where state <> 'idle' and query like '%/* stubborn */'";
        looks.query_one(text, &[]).await.unwrap().get::<_, i64>(0)
    };
    for (stop, reason) in [(Stop::Cancel(Reason::User), Reason::User), (Stop::Kill, Reason::Lost)] {
        let ended = world
            .execute_while(&lease(&world, sql("warehouse", &[(stubborn, &[])]), json!({})), async |go| {
                eventually_async("it sleeps", async || running().await == 1).await;
                go.send_replace(stop);
                go.closed().await;
            })
            .await;
        assert_ended(&ended, State::Cancelled, reason);
        eventually_async("the server has ended it", async || running().await == 0).await;
        let rows: i64 = looks.query_one("select count(*) from stubborn_t", &[]).await.unwrap().get(0);
        assert_eq!(rows, 0, "{reason:?}");
    }
    let ended =
        world.execute(&with(lease(&world, sql("warehouse", &[(stubborn, &[])]), json!({})), |task| task.timeout = Some(Millis(200)))).await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
    let rows: i64 = looks.query_one("select count(*) from stubborn_t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn an_attempt_that_was_stopped_does_not_wait_for_another_writer_of_its_file() {
    let (world, _server) = world().await;
    world.execute(&lease(&world, sql("local", &[("create table locked_t (id int)", &[])]), json!({}))).await;
    let other = rusqlite::Connection::open(world.root.join("code/local.db")).unwrap();
    // A reader: the attempt's COMMIT waits for it, and would for a day.
    other.execute_batch("begin; select * from locked_t").unwrap();
    let statements: [(&str, &[Value]); 2] = [("pragma busy_timeout = 86400000", &[]), ("insert into locked_t values (1)", &[])];
    let wrote = || world.root.join("code/local.db-journal").exists();
    let ended = world
        .execute_while(&lease(&world, sql("local", &statements), json!({})), async |go| {
            support::eventually("it has written", wrote).await;
            go.send_replace(Stop::Kill);
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::Lost);
    other.execute_batch("end").unwrap();
    assert_eq!(left(&world, "local", "locked_t").await, 0);
}

#[tokio::test]
async fn values_are_bound_with_their_types_and_are_never_sql() {
    let (world, _server) = world().await;
    for (connection, boolean) in [("warehouse", json!(true)), ("local", json!(1))] {
        let create = "create table t (i bigint, f double precision, b boolean, z text, s text, l text, small smallint)";
        let bind = [
            json!("{{ params.i }}"),
            json!("{{ params.f }}"),
            json!("{{ params.b }}"),
            json!("{{ params.z }}"),
            json!("{{ params.s }}"),
            json!("<{{ params.i }}>"),
            json!("{{ params.i / 1 }}"),
        ];
        let insert = ("insert into t values ($1, $2, $3, $4, $5, $6, $7)", bind.as_slice());
        let select = ("select i, f, b, z, s, l, small from t where s = $2 and i = $1", &[json!(7), json!("{{ params.s }}")][..]);
        let script = Sql { keep_row: true, ..sql(connection, &[("drop table if exists t", &[]), (create, &[]), insert, select]) };
        let params = json!({"i": 7, "f": 1.5, "b": true, "z": null, "s": HOSTILE});
        let ended = world.execute(&lease(&world, script, params)).await;
        assert_eq!(
            outputs(&ended),
            json!({"i": 7, "f": 1.5, "b": boolean, "z": null, "s": HOSTILE, "l": "<7>", "small": 7}),
            "{connection}"
        );
    }
    // A server reads a text as the type that is wanted there.
    let dated = Sql {
        keep_row: true,
        ..sql(
            "warehouse",
            &[(
                "select $1::date + 1 as d, $2::numeric * 2 as n, $3::jsonb as j, $4::timestamptz as t",
                &[json!("2024-01-30"), json!(1.25), json!({"a": [1]}), json!("2024-01-31T02:00:00Z")],
            )],
        )
    };
    assert_eq!(
        outputs(&world.execute(&lease(&world, dated, json!({}))).await),
        json!({"d": "2024-01-31", "n": 2.5, "j": {"a": [1]}, "t": "2024-01-31T02:00:00Z"})
    );
    // SQLite numbers by place, the document by name.
    let swapped = Sql { keep_row: true, ..sql("local", &[("select $2 as b, $1 as a, $2 as c", &[json!("one"), json!("two")])]) };
    assert_eq!(outputs(&world.execute(&lease(&world, swapped, json!({}))).await), json!({"a": "one", "b": "two", "c": "two"}));
}

#[tokio::test]
async fn the_types_of_a_server_have_their_form_in_json() {
    let (world, _server) = world().await;
    let text = "select 1::int2 as i2, 2147483647 as i4, 9007199254740993::int8 as i8, 0.5::float4 as f4, 'NaN'::float8 as nan, \
        12345.6789::numeric as num, -0.001::numeric as neg, 0::numeric as zero, 0::numeric(38, 18) as nil, 10000::numeric as big, 123456789012345678.90::numeric as exact, \
        true as b, 'x'::varchar as v, 'y '::char(2) as c, null::int as n, array[1,2,null] as arr, '{\"a\": 1}'::json as js, \
        '2024-01-31 02:00:00.5'::timestamp as ts, '2024-01-31 02:00:00+01'::timestamptz as tz, '-infinity'::timestamp as inf, \
        '1969-07-20'::date as d, '23:59:59.25'::time as t, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as u, sum(x) as total from generate_series(1, 3) x";
    let row = query(&world, "warehouse", text).await;
    let expected = json!({
        "i2": 1, "i4": 2_147_483_647, "i8": 9_007_199_254_740_993_i64, "f4": 0.5, "nan": "NaN",
        "num": 12345.6789, "neg": -0.001, "zero": 0, "nil": 0, "big": 10000, "exact": "123456789012345678.90",
        "b": true, "v": "x", "c": "y ", "n": null, "arr": [1, 2, null], "js": {"a": 1},
        "ts": "2024-01-31T02:00:00.5", "tz": "2024-01-31T01:00:00Z", "inf": "-infinity",
        "d": "1969-07-20", "t": "23:59:59.25", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "total": 6,
    });
    assert_eq!(row, expected);
    let ended = world
        .execute(&lease(&world, Sql { keep_row: true, ..sql("warehouse", &[("select '1 day'::interval as i", &[])]) }, json!({})))
        .await;
    assert_ended(&ended, State::Failed, Reason::Template);
    assert!(ended.detail.contains("interval") && ended.detail.contains("::text"), "{}", ended.detail);
}

#[tokio::test]
async fn integers_stay_what_they_are_or_are_refused() {
    let (world, _server) = world().await;
    let exact = |connection: &str| {
        let bind = [json!("{{ params.i }}"), json!("{{ params.i - 1 }}")];
        Sql { keep_row: true, ..sql(connection, &[("select cast($1 as bigint) as a, cast($2 as bigint) as b", &bind)]) }
    };
    for connection in ["warehouse", "local"] {
        let ended = world.execute(&lease(&world, exact(connection), json!({"i": i64::MAX}))).await;
        assert_eq!(outputs(&ended), json!({"a": i64::MAX, "b": i64::MAX - 1}), "{connection}");
        let ended = world.execute(&lease(&world, exact(connection), json!({"i": u64::MAX}))).await;
        assert_eq!(ended.state, State::Failed, "{connection}: {}", ended.detail);
        let ended = world.execute(&lease(&world, exact(connection), json!({"i": i64::MIN}))).await;
        assert_eq!(ended.state, State::Failed, "{connection}: {}", ended.detail);
    }
    let huge = Sql { keep_row: true, ..sql("warehouse", &[("select '{\"a\": 12345678901234567890123}'::jsonb as j", &[])]) };
    let ended = world.execute(&lease(&world, huge, json!({}))).await;
    assert_ended(&ended, State::Failed, Reason::Template);
    assert!(ended.detail.contains("the integer 12345678901234567890123 has more than 64 bits"), "{}", ended.detail);
}

#[tokio::test]
async fn what_cannot_be_an_output_or_a_value_is_told_and_not_retried() {
    let (world, _server) = world().await;
    for connection in ["warehouse", "local"] {
        for (text, bind, why) in [
            ("select 1 as \"Not a key\"", vec![], "AS name"),
            ("select 1 as a, 2 as a", vec![], "two columns"),
            ("select $1 as a", vec![], "takes 1 values"),
            ("select 1 as a", vec![json!(1)], "takes 0 values"),
            ("create table if not exists no_row (a int)", vec![], "gives no row"),
            ("select $1 as a", vec![json!("{{ params.nope }}")], "sql.statements[0].bind[0]"),
        ] {
            let ended = world.execute(&lease(&world, Sql { keep_row: true, ..sql(connection, &[(text, &bind)]) }, json!({}))).await;
            assert_ended(&ended, State::Failed, Reason::Template);
            assert!(ended.detail.contains(why), "{}", ended.detail);
        }
        let several = world.execute(&lease(&world, sql(connection, &[("select 1; select 2", &[])]), json!({}))).await;
        assert_ended(&several, State::Failed, Reason::ExitCode);
        let large = Sql { keep_row: true, ..sql(connection, &[("select $1 as a", &[json!("{{ 'x' * 70000 }}")])]) };
        assert_ended(&world.execute(&lease(&world, large, json!({}))).await, State::Failed, Reason::OutputTooLarge);
    }
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_told_without_its_password() {
    let (mut world, server) = world().await;
    let ended = world.execute(&lease(&world, sql("warehouze", &[("select 1", &[])]), json!({}))).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("local, warehouse, whole"), "{}", ended.detail);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "[nobody]\nurl = 'postgres://u:{PASSWORD}@127.0.0.1:{free}/d'\n[port]\nurl = 'postgres://u:hunter2%2F@127.0.0.1:{free}/d'\n\
         [wrong]\nurl = '{}'\npassword = 'not-hunter2'\n[dir]\nurl = 'sqlite:no/such/dir.db'\n[missing]\nurl = {{secret = 'NOPE'}}\n[other]\nurl = {{secret = 'OTHER'}}\n",
        server.bare_url()
    );
    configure(&mut world, &text);
    world.host.secrets = Secrets::new(None, [("PENSTOCK_SECRET_OTHER".into(), "mysql://u:hunter2@h/d".into())]);
    for (connection, expected) in [
        ("nobody", "percent-encoded"),
        ("port", "127.0.0.1"),
        ("wrong", "password authentication failed"),
        ("dir", "no/such/dir.db"),
        ("missing", "PENSTOCK_SECRET_NOPE"),
        ("other", "postgres://"),
    ] {
        let ended = world.execute(&lease(&world, sql(connection, &[("select 1", &[])]), json!({}))).await;
        assert_ended(&ended, State::Failed, Reason::Spawn);
        assert!(ended.detail.contains(expected) && ended.detail.contains(connection), "{}", ended.detail);
        assert!(!ended.detail.contains("hunter2") && !world.log().contains("hunter2"), "{}", world.log());
    }
    assert!(!format!("{:?} {:?}", world.host.connections, world.host.secrets).contains("hunter2"));
}

#[tokio::test]
async fn a_url_that_is_a_secret_connects_and_is_masked() {
    let (world, _server) = world().await;
    let script = Sql { keep_row: true, ..sql("whole", &[("select 'the password is ' || $1 as said", &[json!(PASSWORD)])]) };
    let ended = world.execute(&lease(&world, script, json!({}))).await;
    assert_eq!(outputs(&ended), json!({"said": "the password is ***"}));
    let ended = world.execute(&lease(&world, sql("whole", &[("select $1::int", &[json!(PASSWORD)])]), json!({}))).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("***") && !world.log().contains("hunter2"), "{}", ended.detail);
}

#[tokio::test]
async fn what_a_server_notices_is_in_the_log() {
    let (world, _server) = world().await;
    let ended = world.execute(&lease(&world, sql("warehouse", &[("do $x$ begin raise notice 'half way'; end $x$", &[])]), json!({}))).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert!(world.lines("P").iter().any(|line| line.contains("NOTICE: half way")), "{}", world.log());
}

#[tokio::test]
async fn a_cancel_ends_the_statement_on_the_server() {
    let (world, server) = world().await;
    let looks = server.client().await;
    let running = async || {
        let text = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(1000), 1%'";
        looks.query_one(text, &[]).await.unwrap().get::<_, i64>(0)
    };
    let statements: [(&str, &[Value]); 2] = [("create table cancelled_t (a int)", &[]), ("select pg_sleep(1000), 1", &[])];
    let slow = lease(&world, sql("warehouse", &statements), json!({}));
    let ended = world
        .execute_while(&slow, async |go| {
            eventually_async("the statement runs", async || running().await == 1).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    eventually_async("the server has ended it", async || running().await == 0).await;
    assert!(looks.query_one("select count(*) from cancelled_t", &[]).await.is_err(), "the transaction was rolled back");

    let ended = world.execute(&with(slow, |task| task.timeout = Some(Millis(200)))).await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
    eventually_async("the server has ended it", async || running().await == 0).await;
}

#[tokio::test]
async fn a_cancel_interrupts_a_file_and_rolls_back() {
    let (world, _server) = world().await;
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
    let slow = lease(&world, sql("local", &[("create table cancelled_t (a int)", &[]), (endless, &[])]), json!({}));
    let ended = world
        .execute_while(&slow, async |go| {
            support::eventually("the statement runs", || world.root.join("code/local.db-journal").exists()).await;
            go.send_replace(Stop::Kill);
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::Lost);
    let ended = world.execute(&lease(&world, sql("local", &[("create table cancelled_t (a int)", &[])]), json!({}))).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let ended =
        world.execute(&with(lease(&world, sql("local", &[(endless, &[])]), json!({})), |task| task.timeout = Some(Millis(50)))).await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
}

/// Not a test: a worker that trusts the server's certificate, by its environment.
#[tokio::test]
#[ignore = "run by another test"]
async fn helper_trusting() {
    let mut world = World::new();
    configure(&mut world, &format!("[c]\nurl = '{}'\n", std::env::var("HELPER_URL").unwrap()));
    let row = query(&world, "c", "select ssl as encrypted from pg_stat_ssl where pid = pg_backend_pid()").await;
    assert_eq!(row, json!({"encrypted": true}));
}

#[tokio::test]
async fn tls_is_used_and_verified() {
    let server = Postgres::start().await;
    let trusting = |url: String, authority: &Path| {
        let mut helper = std::process::Command::new(std::env::current_exe().unwrap());
        helper.args(["--exact", "helper_trusting", "--ignored"]).env("HELPER_URL", url).env("SSL_CERT_FILE", authority);
        helper.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().success()
    };
    for mode in ["require", "verify-full", "prefer"] {
        let url = format!("{}?sslmode={mode}", server.url());
        assert!(trusting(url.replace("127.0.0.1", "localhost"), &server.certificate), "{mode}");
        assert!(!trusting(url, &server.certificate), "{mode}: the certificate is of another name");
    }
}

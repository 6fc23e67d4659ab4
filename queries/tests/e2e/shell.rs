//! `highwater sql`: over what jobs wrote, over running jobs, and what it says when something is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use highwater_testnode::{Builder, Node, Transaction, address_of};
use serde_json::Value;

use crate::chain::{DEVNET, lines};
use crate::command::{Desk, Ran, accumulate, here, highwater, parse_lines, run, text};
use crate::live_command::Running;
use crate::rows::Row;

/// The rows that a query prints as JSON.
#[track_caller]
fn rows(arguments: &[&str]) -> BTreeMap<Row, i64> {
    let ran = run(&[&["sql", "--format", "json"][..], arguments].concat()).succeeds();
    count(&parse_lines(&ran.stdout))
}

fn count(rows: &[Value]) -> BTreeMap<Row, i64> {
    let mut counted = BTreeMap::new();
    for row in rows {
        *counted.entry(Row::of_json(row)).or_insert(0) += 1;
    }
    counted
}

/// Rows of SUBSCRIBE in the form of the lines of a sink.
fn as_changes(printed: &str) -> Vec<Value> {
    let change = |line: Value| {
        let Value::Object(mut row) = line else { panic!("a row is an object") };
        let [tick, _, progressed, diff] = ["tick", "block", "progressed", "diff"].map(|name| row.remove(name).unwrap());
        if progressed == Value::Bool(true) {
            None
        } else {
            Some(serde_json::json!({"tick": tick, "diff": diff, "row": row}))
        }
    };
    parse_lines(printed).into_iter().filter_map(change).collect()
}

#[test]
fn what_a_job_wrote_is_what_it_said() {
    let desk = Desk::new("");
    let job = text(&here("jobs/quickstart.sql"));
    let ran = run(&["run", &job, "--out", &desk.at("")]).succeeds();
    let query = |folder: &str, more: &str| format!("SELECT * FROM '{}'{more}", desk.at(folder));
    assert_eq!(rows(&["-c", &query("out/metrics_minute", "")]), ran.contents("metrics"));
    assert_eq!(rows(&["-c", &query("out/metrics_minute/*.parquet", "")]), ran.contents("metrics"));
    let failing = query("out/failure_rate", " WHERE total >= 20 AND failed * 20 > total");
    assert_eq!(rows(&["-c", &failing]), ran.contents("failing"));
    let changes = format!(
        "CREATE TABLE changes WITH (connector = 'parquet', path = '{}');
         CREATE VIEW now_there AS
         SELECT window_start, token_address, transfers, senders, window_end, sum(_diff) AS n FROM changes
         GROUP BY window_start, token_address, transfers, senders, window_end;
         SELECT window_start, token_address, transfers, senders, window_end FROM now_there WHERE n > 0;",
        desk.at("out/top_tokens")
    );
    assert_eq!(rows(&["-c", &changes]), ran.contents("tokens"));
}

#[test]
fn amounts_of_256_bits_come_back_whole_and_join_with_a_csv_file() {
    let desk = Desk::new(
        "CREATE SOURCE eth WITH (connector = 'recording', path = 'all.ndjson', confirmations = 12);
         CREATE MATERIALIZED VIEW moved WITH (unbounded = 'yes') AS
         SELECT token_address, sum(amount) AS amount, -int256(max(amount)) AS down FROM eth.token_transfers
         GROUP BY token_address;
         CREATE SINK shown FROM moved WITH (connector = 'stdout');
         CREATE SINK kept FROM moved WITH (connector = 'parquet', path = 'moved');",
    );
    desk.write("all.ndjson", lines(&DEVNET));
    let ran = desk.run(&[]).succeeds();
    let expected = ran.contents("shown");
    let folder = desk.at("moved");
    assert_eq!(rows(&["-c", &format!("SELECT * FROM '{folder}'")]), expected);
    let token = expected.keys().next().unwrap().value()["token_address"].as_str().unwrap().to_owned();
    let csv = desk.write("names.csv", format!("address,name\n{token},first\n"));
    let joined =
        format!("SELECT n.name, m.amount > 0 AS some FROM '{folder}' m JOIN '{csv}' n ON n.address = m.token_address");
    let joined = run(&["sql", "--format", "csv", "-c", &joined]).succeeds();
    assert_eq!(joined.stdout, "name,some\nfirst,true\n");
}

#[test]
fn statements_come_from_arguments_files_and_pipes() {
    let desk = Desk::new("");
    let script = desk.write(
        "script.sql",
        "CREATE TABLE t (a INT, b TEXT);\nINSERT INTO t VALUES (1, 'x;y'), (2, NULL);\nSELECT * FROM t ORDER BY a;\n",
    );
    let table = " a  b\n ─  ────\n 1  x;y\n 2  null\n(2 rows)\n";
    let whole = format!("2 rows changed\n{table}");
    assert_eq!(run(&["sql", "-f", &script]).succeeds().stdout, whole);
    let mut piped = highwater(&["sql"]);
    let mut child = piped.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&script).unwrap()).unwrap();
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).succeeds().stdout, whole);
    let made = "CREATE TABLE t (a INT NOT NULL); INSERT INTO t VALUES (3); CREATE VIEW v AS SELECT a + 1 AS b FROM t";
    let ran =
        run(&["sql", "-c", made, "-c", "SUBSCRIBE v WITH (PROGRESS)", "-c", "\\d", "-c", "\\d t", "--format", "csv"]);
    let expected = "tick,block,progressed,diff,b\n0,,false,1,4\n0,,true,,\n table            t\n view             v\n a INT NOT NULL\n";
    assert_eq!(ran.succeeds().stdout, expected);
}

#[test]
fn what_is_wrong_has_its_place_and_ends_the_rest() {
    let wrong = |text: &str, said: &[&str]| {
        let ran = run(&["sql", "-c", text, "-c", "SELECT 'never'"]).fails(1, said);
        assert!(!ran.stdout.contains("never") && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    };
    wrong("SELECT 1;\nSELECT nothing", &["error[Q0103]", "--> -c:2:8"]);
    wrong("SELECT 1; SELCT 2", &["error[Q0001]: expected a statement, found SELCT", "--> -c:1:11"]);
    wrong("SELECT * FROM 'nowhere/*.parquet'", &["there is no file", "nowhere/*.parquet"]);
    wrong("SUBSCRIBE nobody", &["table \"nobody\" does not exist", "--> -c:1:11"]);
    wrong("SUBSCRIBE t WITH (SNAPSHOTS)", &["expected SNAPSHOT or PROGRESS"]);
    wrong("CREATE TABLE t WITH (connector = 'orc', path = 'x')", &["no table connector \"orc\"", "csv, parquet"]);
    wrong("CREATE SOURCE s WITH (connector = 'simulator')", &["belongs into a job"]);
    wrong("\\x", &["there is no command \\x"]);
    run(&["sql", "--connect", "127.0.0.1:1", "-c", "SELECT 1"]).fails(1, &["nothing listens at 127.0.0.1:1"]);
    run(&["sql", "-f", "nowhere.sql"]).fails(2, &["reading nowhere.sql failed"]);
}

const VIEWS: &str = "
CREATE MATERIALIZED VIEW heads AS SELECT block_number, block_hash FROM eth.blocks;
CREATE MATERIALIZED VIEW payments WITH (unbounded = 'yes') AS
SELECT to_address, count(*) AS payments, sum(value) AS paid FROM eth.transactions GROUP BY to_address;
CREATE VIEW hidden AS SELECT block_number FROM heads;
CREATE SINK heads_out FROM heads WITH (connector = 'stdout');
CREATE SINK payments_out FROM payments WITH (connector = 'stdout');
";

fn desk(node: &Node, views: &str) -> Desk {
    Desk::new(&format!(
        "CREATE SOURCE eth WITH (connector = 'evm', url = '{}', from_block = 'earliest', confirmations = 12,
           poll_interval = '20 ms', request_timeout = '5 seconds');
         SET sql.listen = '127.0.0.1:0';{views}",
        node.http_url()
    ))
}

/// Four blocks, then a branch from the second that takes two back, then two more.
fn reorged() -> Node {
    let mut builder = Builder::new(31_337);
    let pay = |salt: u64| Transaction::payment(address_of(1), address_of(salt % 3), alloy_primitives::U256::from(salt));
    let genesis = builder.genesis();
    let mut branch = |mut parent, salts: std::ops::RangeInclusive<u64>| {
        let push = |salt| {
            parent = builder.push(parent, &[pay(salt), pay(salt + 1)]);
            parent
        };
        salts.map(push).collect::<Vec<_>>()
    };
    let old = branch(genesis, 1..=4);
    let new = branch(old[1], 13..=17);
    Node::start(builder.into_chain(old[0], &[old[1], old[2], old[3], new[2], new[3], new[4]]))
}

/// Starts a job and waits for its address.
fn start(arguments: &[&str]) -> (Running, String) {
    let running = Running::start(arguments);
    let found = RefCell::new(None);
    running.wait_for_message("the address", |line| {
        let listening = serde_json::from_str::<Value>(line).ok();
        let address = listening.and_then(|line| line["listening"].as_str().map(str::to_owned));
        let is_it = address.is_some();
        if is_it {
            found.replace(address);
        }
        is_it
    });
    (running, found.into_inner().unwrap())
}

fn subscribe(address: &str, statement: &str) -> Running {
    Running::start(&["sql", "--connect", address, "--format", "json", "-c", statement])
}

/// Waits until a subscriber to heads has seen the node's head.
fn wait_for_head(client: &Running, node: &Node) {
    let hash = node.head().hash.to_string();
    client.wait_for_line("the head", |line| line.contains(&hash) && line.contains("\"diff\":1,"));
}

#[test]
fn subscribers_follow_a_job_exactly_through_a_reorg() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let (job, address) = start(&["run", &desk.job]);
    job.wait_for_head_of(&node);
    let heads = subscribe(&address, "SUBSCRIBE heads");
    let later = subscribe(&address, "SUBSCRIBE TO heads WITH (SNAPSHOT = false, PROGRESS)");
    let totals = "SUBSCRIBE (SELECT count(*) AS blocks, max(block_number) AS newest FROM heads)";
    let totals = subscribe(&address, totals);
    let paid = "SUBSCRIBE (SELECT h.block_hash, p.* FROM payments p, heads h WHERE h.block_number = 4)";
    let paid = subscribe(&address, paid);
    wait_for_head(&heads, &node);
    later.wait_for_line("progress", |line| line.contains("\"progressed\":true"));
    totals.wait_for_line("the snapshot", |line| line.contains("\"diff\":1,"));
    while node.step(1) > 0 {
        job.wait_for_head_of(&node);
        wait_for_head(&heads, &node);
        wait_for_head(&later, &node);
        let newest = format!("\"newest\":{}", node.head().number);
        totals.wait_for_line("the totals", |line| line.contains(&newest) && line.contains("\"diff\":1,"));
        let query = "SELECT h.*, n.newest FROM heads h, (SELECT max(block_number) AS newest FROM heads) n";
        let (number, rows) = (node.head().number, rows(&["--connect", &address, "-c", query]));
        assert_eq!(rows.keys().filter(|row| row.value()["newest"] == number).count(), rows.len());
        assert!(rows.keys().any(|row| row.value()["block_hash"] == node.head().hash.to_string()));
    }
    let now = |view: &str| rows(&["--connect", &address, "-c", &format!("SELECT * FROM {view}")]);
    let (heads_now, payments_now) = (now("heads"), now("payments"));
    let ended = heads.interrupt().succeeds();
    let all = as_changes(&ended.stdout);
    assert_eq!(accumulate(&all), heads_now);
    assert!(all.iter().any(|change| change["diff"] == -1), "the reorg takes rows back");
    let from_later = as_changes(&later.interrupt().succeeds().stdout);
    assert!(accumulate(&from_later).keys().all(|row| heads_now.contains_key(row)));
    let totals = accumulate(&as_changes(&totals.interrupt().succeeds().stdout));
    assert_eq!(totals.len(), 1);
    let ran = job.interrupt().succeeds();
    // The job's end is told to who still listens.
    let paid = paid.end().succeeds();
    assert!(paid.stderr.contains("the job has ended"), "{}", paid.stderr);
    assert_eq!(accumulate(&as_changes(&paid.stdout)).len(), payments_now.len());
    assert_eq!((heads_now, payments_now), (ran.contents("heads_out"), ran.contents("payments_out")));
    run(&["sql", "--connect", &address, "-c", "SELECT 1"]).fails(1, &["nothing listens"]);
}

#[test]
fn only_kept_views_are_served_and_up_to_ends_by_itself() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let (job, address) = start(&["run", &desk.job]);
    job.wait_for_head_of(&node);
    let sql = |text: &str| run(&["sql", "--connect", &address, "--format", "csv", "-c", text]);
    let listed = sql("\\d").succeeds().stdout;
    assert_eq!(listed, " view of the job  heads\n view of the job  payments\n");
    assert_eq!(sql("\\d heads").succeeds().stdout, " block_number BIGINT NOT NULL\n block_hash HASH NOT NULL\n");
    sql("SELECT * FROM hidden").fails(1, &["table \"hidden\" does not exist"]);
    sql("INSERT INTO heads SELECT * FROM heads").fails(1, &["cannot be changed by statements"]);
    let own = "CREATE TABLE known (block_number BIGINT); INSERT INTO known SELECT block_number FROM heads;
               CREATE VIEW missing AS SELECT block_number FROM heads EXCEPT SELECT block_number FROM known;
               SELECT count(*) AS n FROM missing";
    assert_eq!(sql(own).succeeds().stdout, "n\n0\n");
    let snapshot =
        Running::start(&["sql", "--connect", &address, "--format", "json", "-c", "SUBSCRIBE heads UP TO 1000"]);
    wait_for_head(&snapshot, &node);
    let tick = as_changes(&snapshot.interrupt().succeeds().stdout)[0]["tick"].as_u64().unwrap();
    let short = subscribe(&address, &format!("SUBSCRIBE heads UP TO {}; SELECT 'after' AS it", tick + 2));
    wait_for_head(&short, &node);
    node.step(1);
    wait_for_head(&short, &node);
    node.step(1);
    let short = short.end().succeeds();
    assert!(short.stdout.ends_with("{\"it\":\"after\"}\n"), "{}", short.stdout);
    let ticks = |line: &str| serde_json::from_str::<Value>(line).unwrap()["tick"].as_u64();
    assert!(short.stdout.lines().filter_map(ticks).all(|at| at < tick + 2), "{}", short.stdout);
    sql("SUBSCRIBE heads UP TO 1").fails(1, &["UP TO 1 is over"]);
    drop(job);
}

#[test]
fn a_job_that_is_killed_is_a_clean_error() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let (job, address) = start(&["run", &desk.job]);
    job.wait_for_head_of(&node);
    let heads = subscribe(&address, "SUBSCRIBE heads");
    wait_for_head(&heads, &node);
    assert_eq!(job.kill().code, None);
    heads.end().fails(1, &["the job at", "went away"]);
}

#[test]
fn what_views_hold_survives_a_restart_and_only_then_is_served() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let state = desk.at("state");
    let (job, _) = start(&["run", &desk.job, "--state", &state]);
    job.walk(&node, 3);
    let before = job.interrupt().succeeds();
    node.step(1);
    let (job, address) = start(&["run", &desk.job, "--state", &state, "--workers", "2"]);
    job.wait_for_head_of(&node);
    let held = rows(&["--connect", &address, "-c", "SELECT * FROM heads"]);
    let after = job.interrupt().succeeds();
    let told = [before.lines_of("heads_out"), after.lines_of("heads_out")].concat();
    assert_eq!(held, accumulate(&told));
    let silent = std::fs::read_to_string(&desk.job).unwrap().replace("SET sql.listen", "-- SET sql.listen");
    let silent = desk.write("silent.sql", silent);
    let job = Running::start(&["run", &silent, "--state", &state]);
    node.step(1);
    job.wait_for_head_of(&node);
    job.interrupt().succeeds();
    desk.run(&["--state", &state]).fails(2, &["was kept without sql.listen", "--reset"]);
}

fn say(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, request.as_bytes()].concat()).unwrap();
    stream
}

/// A thousand blocks of twenty thousand letters each do not fit where they wait.
#[test]
fn a_reader_that_stops_reading_does_not_stop_the_job() {
    const BLOCKS: usize = 1_400;
    let mut builder = Builder::new(31_337);
    let genesis = builder.genesis();
    let blocks = builder.extend(genesis, BLOCKS);
    let node = Node::start(builder.into_chain(blocks[0], &[blocks[1], blocks[BLOCKS - 1]]));
    let wide = "CREATE MATERIALIZED VIEW heads AS
                SELECT block_number, block_hash, repeat('x', 20000) AS padding FROM eth.blocks;
                CREATE SINK heads_out FROM (SELECT block_number, block_hash FROM heads) WITH (connector = 'stdout');";
    let desk = desk(&node, wide);
    let (job, address) = start(&["run", &desk.job, "--blocks-per-tick", "1"]);
    job.wait_for_head_of(&node);
    let lazy = say(&address, "{\"subscribe\":[\"heads\"],\"snapshot\":true,\"progress\":true}");
    let eager = subscribe(&address, "SUBSCRIBE (SELECT block_number, block_hash FROM heads)");
    wait_for_head(&eager, &node);
    while node.step(1) > 0 {
        job.wait_for_head_of(&node);
    }
    wait_for_head(&eager, &node);
    let count =
        run(&["sql", "--connect", &address, "--format", "csv", "-c", "SELECT count(*) AS n FROM heads"]).succeeds();
    assert_eq!(count.stdout, format!("n\n{}\n", BLOCKS + 1));
    assert_eq!(accumulate(&as_changes(&eager.interrupt().succeeds().stdout)).len(), BLOCKS + 1);
    job.interrupt().succeeds();
    drop(lazy);
}

#[test]
fn strangers_are_turned_away() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let (job, address) = start(&["run", &desk.job]);
    job.wait_for_head_of(&node);
    let mut browser = TcpStream::connect(&address).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    browser.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("the request cannot be read"));
    let mut other = say(&address, "{\"snapshot\":[\"nothing\"]}");
    answer.clear();
    other.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("no materialised view"));
    job.interrupt().succeeds();
    desk.run(&["--sql-listen", "no such place"]).fails(1, &["listening at no such place failed"]);
}

#[test]
fn a_crowd_is_turned_away_and_the_job_goes_on() {
    let node = reorged();
    let desk = desk(&node, VIEWS);
    let (job, address) = start(&["run", &desk.job]);
    job.wait_for_head_of(&node);
    let follow = "{\"subscribe\":[\"heads\"]}";
    let crowd: Vec<TcpStream> = (0..40).map(|_| say(&address, follow)).collect();
    run(&["sql", "--connect", &address, "-c", "SELECT 1"]).fails(1, &["has 32 readers already"]);
    drop(crowd);
    node.step(1);
    job.wait_for_head_of(&node);
    job.interrupt().succeeds();
}

//! The binary while it runs: what it has printed so far, signals, its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use highwater_testnode::Node;

use crate::command::{Ran, highwater};

/// How long the binary may take to get to where it must be.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

type Shared = Arc<(Mutex<Printed>, Condvar)>;

/// The binary at work.
pub(crate) struct Running {
    child: Child,
    stdout: Shared,
    stderr: Shared,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts it with arguments.
    pub(crate) fn start(arguments: &[&str]) -> Running {
        Running::of(&mut highwater(arguments))
    }

    pub(crate) fn of(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let threads = vec![
            collect(child.stdout.take().unwrap(), stdout.clone()),
            collect(child.stderr.take().unwrap(), stderr.clone()),
        ];
        Running { child, stdout, stderr, threads }
    }

    /// Waits until a line of standard output fulfils a condition. Fails if the binary ends first.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, what: &str, condition: impl Fn(&str) -> bool) {
        self.wait_in(&self.stdout, what, condition);
    }

    /// The same of standard error.
    #[track_caller]
    pub(crate) fn wait_for_message(&self, what: &str, condition: impl Fn(&str) -> bool) {
        self.wait_in(&self.stderr, what, condition);
    }

    #[track_caller]
    fn wait_in(&self, (lock, changed): &(Mutex<Printed>, Condvar), what: &str, condition: impl Fn(&str) -> bool) {
        let mut seen = 0;
        let mut found = false;
        let waits = |printed: &mut Printed| {
            found = found || printed.lines[seen..].iter().any(|line| condition(line));
            seen = printed.lines.len();
            !found && !printed.ended
        };
        let waited = changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, waits).unwrap();
        drop(waited);
        assert!(found, "waited in vain for {what}:\n{}\n{}", text_of(&self.stdout), text_of(&self.stderr));
    }

    /// Waits until a row with the hash of the node's head is there.
    #[track_caller]
    pub(crate) fn wait_for_head_of(&self, node: &Node) {
        let hash = node.head().hash.to_string();
        self.wait_for_line("the head", |line| line.contains("\"insert\"") && line.contains(&hash));
    }

    /// Steps a node through its script, one head at a time, each awaited.
    #[track_caller]
    pub(crate) fn walk(&self, node: &Node, steps: usize) {
        self.wait_for_head_of(node);
        for _ in 0..steps {
            if node.step(1) == 0 {
                return;
            }
            self.wait_for_head_of(node);
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Interrupts it as Ctrl-C does, and waits for its end.
    pub(crate) fn interrupt(self) -> Ran {
        self.signal("-INT");
        self.end()
    }

    /// Kills it.
    pub(crate) fn kill(self) -> Ran {
        self.signal("-KILL");
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        Ran { code: status.code(), stdout: text_of(&self.stdout), stderr: text_of(&self.stderr) }
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of(printed: &Shared) -> String {
    printed.0.lock().unwrap().lines.concat()
}

fn collect(stream: impl std::io::Read + Send + 'static, printed: Shared) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            // A last line without an end is kept too.
            let length = stream.by_ref().read_line(&mut line).unwrap_or(0);
            let mut printed_lines = printed.0.lock().unwrap();
            printed_lines.ended = length == 0;
            printed_lines.lines.push(line);
            drop(printed_lines);
            printed.1.notify_all();
            if length == 0 {
                return;
            }
        }
    })
}

//! The machine behind the figures, and the assignment of cores: the server on the first, the load on the last.

use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, in order.
pub fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// The core of what is measured.
pub fn server_core() -> usize {
    cores()[0]
}

/// The core of what measures; the same one on a machine that has one only.
pub fn load_core() -> usize {
    *cores().last().unwrap()
}

/// Keeps a thread's work on one core until it is dropped.
pub struct Pinned(CpuSet);

impl Pinned {
    /// The calling thread, and those that it starts meanwhile.
    pub fn to(core: usize) -> Self {
        let before = sched_getaffinity(None).unwrap();
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).unwrap();
        Self(before)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Lets the disk write what was left to it, or it would do so beside what is measured, and every commit would wait.
pub fn settle() {
    assert!(Command::new("sync").status().unwrap().success(), "sync");
}

/// `taskset` before a command, or nothing before it.
pub fn on_core(core: Option<usize>, program: &str) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string(), program]);
            command
        }
        None => Command::new(program),
    }
}

/// The first line of what a command prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("not there").trim().to_owned()
}

fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The machine and every version, a row each.
pub fn about() -> Vec<(String, String)> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let commit = said("git", &["describe", "--always", "--dirty"]);
    let rows = [
        ("doorward", format!("{} ({commit})", env!("CARGO_PKG_VERSION"))),
        ("profile", if cfg!(debug_assertions) { "dev: figures mean nothing" } else { "release" }.to_owned()),
        ("processor", format!("{}, {} cores for this run", processor(), cores().len())),
        ("system", said("uname", &["-srm"])),
        ("load before", load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        ("rustc", said("rustc", &["-V"])),
        ("wrk", said("wrk", &["-v"])),
        ("oha", said("oha", &["--version"])),
        ("nginx", said("nginx", &["-v"])),
        ("PostgreSQL", super::postgres::version()),
    ];
    rows.map(|(what, said)| (what.to_owned(), said)).to_vec()
}

//! No room for SQLite: a real file system that is full where the test may mount one, and a limit of the file's size
//! everywhere. What is there is still read.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit};

use super::scenario::Day;
use crate::support::process::Place;
use crate::support::{Backend, on_sqlite};

on_sqlite!(a_full_disk_loses_no_session, a_file_size_limit_loses_no_session);

/// A file system of its own, gone when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Of this many megabytes; none where the test has not the right.
    fn mount(at: &'a Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|ran| ran.status.success()).then_some(Self(at))
    }

    /// Takes what room there is.
    fn fill(&self) {
        let full = std::fs::write(self.0.join("filler"), vec![1; 64 << 20]);
        assert!(full.is_err(), "there is room for the filler");
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

fn a_full_disk_loses_no_session() {
    let place = Place::on(Backend::Sqlite);
    let folder = place.file("small");
    let Some(disk) = Small::mount(&folder, 4) else {
        crate::support::print_figure("no right to mount a small disk; the limit of the file's size stands for it");
        return a_file_size_limit_loses_no_session();
    };
    let url = format!("sqlite://{}", folder.join("doorward.db").display());
    let day = Day::begin_at("full disk", Backend::Sqlite, place, &[("DATABASE_URL", url.as_str())]);
    disk.fill();
    day.assert_refused_in_time();
    disk.empty();
    day.assert_well_again();
    // Before the folder that it stands in.
    drop(disk);
}

/// The kernel refuses each write beyond the limit. Its signal is ignored by the shell that starts the node, and so by the
/// node: what a service manager with such a limit should do as well.
fn a_file_size_limit_loses_no_session() {
    let place = Place::on(Backend::Sqlite).after("trap '' XFSZ;");
    let day = Day::begin_at("file size limited", Backend::Sqlite, place, &[]);
    let process = Pid::from_raw(i32::try_from(day.node().id()).unwrap()).unwrap();
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(process), Resource::Fsize, limit).unwrap();
    };
    limit(Some(0));
    day.assert_refused_in_time();
    limit(None);
    day.assert_well_again();
}

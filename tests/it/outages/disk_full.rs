//! Disk full for SQLite: a small file system that is really full where the test may mount one, and a file size limit
//! everywhere. Reads still work.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit};

use super::scenario::Scenario;
use crate::support::process::WorkDir;
use crate::support::{Backend, on_sqlite};

on_sqlite!(a_full_disk_loses_no_session, a_file_size_limit_loses_no_session);

/// A mounted tmpfs, unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Mounts one of this size; `None` without the privilege to mount.
    fn mount(at: &'a Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|ran| ran.status.success()).then_some(Self(at))
    }

    /// Writes a file that uses up the free space.
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
    let workdir = WorkDir::on(Backend::Sqlite);
    let folder = workdir.file("small");
    let Some(disk) = Small::mount(&folder, 4) else {
        crate::support::print_figure("no privilege to mount a small disk; tested with a file size limit instead");
        return a_file_size_limit_loses_no_session();
    };
    let url = format!("sqlite://{}", folder.join("doorward.db").display());
    let scenario = Scenario::begin_at("full disk", Backend::Sqlite, workdir, &[("DATABASE_URL", url.as_str())]);
    disk.fill();
    scenario.assert_writes_refused();
    disk.empty();
    scenario.assert_recovered();
    // Unmounted before the folder that contains it is removed.
    drop(disk);
}

/// The kernel refuses each write beyond the limit (RLIMIT_FSIZE). The shell that starts the node ignores SIGXFSZ, and
/// the node inherits that; a service manager with such a limit should do the same.
fn a_file_size_limit_loses_no_session() {
    let workdir = WorkDir::on(Backend::Sqlite).after("trap '' XFSZ;");
    let scenario = Scenario::begin_at("file size limited", Backend::Sqlite, workdir, &[]);
    let process = Pid::from_raw(i32::try_from(scenario.node().id()).unwrap()).unwrap();
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(process), Resource::Fsize, limit).unwrap();
    };
    limit(Some(0));
    scenario.assert_writes_refused();
    limit(None);
    scenario.assert_recovered();
}

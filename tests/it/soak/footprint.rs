//! Resource usage of a process, as Linux reports it; unknown on other systems.

use std::path::Path;

/// Memory in use and open descriptors.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub resident_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Footprint {
    pub fn of(process: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        Some(Self {
            resident_kib: number("VmRSS")?,
            descriptors: u64::try_from(folder.join("fd").read_dir().ok()?.count()).ok()?,
            threads: number("Threads")?,
        })
    }
}

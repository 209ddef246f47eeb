//! Memory, processor time and open files of this process, under the names that Prometheus's own clients use.
//!
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use super::Samples;
use rustix::process::{Resource, getrlimit};
use std::sync::OnceLock;

/// Adds these metrics. Values that the system does not report are left out; outside Linux that is all of
/// them.
pub fn process(samples: &mut Samples) {
    if let Some(Stat {
        ticks,
        started,
        virtual_bytes,
        resident_pages,
    }) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| stat(&text))
    {
        let per_second = number(rustix::param::clock_ticks_per_second());
        let page = number(rustix::param::page_size() as u64);
        samples.add("process_cpu_seconds_total", &[], number(ticks) / per_second);
        samples.add("process_virtual_memory_bytes", &[], number(virtual_bytes));
        samples.add(
            "process_resident_memory_bytes",
            &[],
            number(resident_pages) * page,
        );
        if let Some(boot) = boot_time() {
            samples.add(
                "process_start_time_seconds",
                &[],
                number(boot) + number(started) / per_second,
            );
        }
    }
    let most = getrlimit(Resource::Nofile).current;
    match std::fs::read_dir("/proc/self/fd") {
        // Do not count the descriptor that reads the folder.
        Ok(open) => samples.add(
            "process_open_fds",
            &[],
            number((open.count() as u64).saturating_sub(1)),
        ),
        // No descriptor is left to read the folder.
        Err(why) if why.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            samples.add("process_open_fds", &[], most.map_or(f64::INFINITY, number));
        }
        Err(_) => {}
    }
    samples.add("process_max_fds", &[], most.map_or(f64::INFINITY, number));
}

/// Fields of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Processor time in user and kernel mode, in clock ticks.
    ticks: u64,
    /// When the process started, in clock ticks since boot.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, which may contain any character.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        ticks: field(14)? + field(15)?,
        started: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// In seconds since 1970.
fn boot_time() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    let read = || {
        std::fs::read_to_string("/proc/stat")
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()
    };
    *BOOT.get_or_init(read)
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
const fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_look_like_the_fields_behind_it() {
        let text = "7 (a) 1 (b) c) S 1 7 7 0 -1 4194304 9 0 0 0 120 30 0 0 20 0 4 0 5000 1048576 256 18446744073709551615 1 1 0 0\n";
        assert_eq!(
            stat(text),
            Some(Stat {
                ticks: 150,
                started: 5000,
                virtual_bytes: 1_048_576,
                resident_pages: 256
            })
        );
        for bad in ["", "7 (a", "7 (a) S 1 2"] {
            assert_eq!(stat(bad), None, "{bad}");
        }
    }
}

//! The flags every GFS process has. Each can be given as an environment variable too.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Flags of every daemon.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessFlags {
    /// Address and port of the HTTP endpoint with /healthz, /readyz and /metrics
    ///
    /// Port 0 takes any free port; the one taken is logged.
    #[arg(long, env = "GFS_HTTP_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    pub http_listen: SocketAddr,

    /// How long shutdown may take before what still runs is abandoned, in seconds
    ///
    /// Keep it below the time after which your supervisor kills the process.
    #[arg(long, env = "GFS_SHUTDOWN_GRACE", value_name = "SECONDS", default_value_t = 20)]
    pub shutdown_grace: u64,

    /// End, killed by the kernel, as soon as this parent process is gone
    ///
    /// For clusters on one machine: their processes must not outlive whoever started them.
    #[arg(long, value_name = "PID")]
    pub die_with_parent: Option<i32>,

    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogFlags,
}

impl ProcessFlags {
    /// How long shutdown may take.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace)
    }
}

/// What is logged, and how. Logs go to the standard error stream.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogFlags {
    /// What to log: error, warn, info, debug or trace, or a filter by module
    ///
    /// Example of a filter: `info,gfs_master=debug`.
    #[arg(long, env = "GFS_LOG", value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// How log lines are written
    #[arg(long, env = "GFS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        process: ProcessFlags,
    }

    #[test]
    fn flags_have_defaults_and_refuse_nonsense() {
        let flags = Flags::try_parse_from(["test"]).expect("defaults");
        assert_eq!(flags.process.http_listen.port(), 8080);
        assert_eq!(flags.process.log.log_format, LogFormat::Text);
        for nonsense in ["--http-listen=nowhere", "--log-format=xml", "--shutdown-grace=-1"] {
            assert!(Flags::try_parse_from(["test", nonsense]).is_err(), "{nonsense}");
        }
    }
}

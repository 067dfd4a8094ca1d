//! Exit codes, one for each class of failure, so that scripts and service managers can tell them apart.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    #[default]
    Ok = 0,
    /// The command worked, but some input could not be processed; each such input was named.
    SomeInputFailed = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// The model bundle is missing, not signed by a trusted key, altered, or does not give its golden masks.
    Bundle = 4,
    /// The broker cannot be reached or refuses the device.
    Broker = 5,
    /// A folder or the store cannot be read or written.
    Storage = 6,
    /// Anything else: a defect of the agent or of the system below it.
    Internal = 70,
}

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
   0  all done
   1  some input could not be processed (each is named on stderr)
   2  wrong command line
   3  wrong configuration
   4  model bundle missing, not signed by a trusted key, altered or failing its golden images
   5  broker out of reach or refusing the device
   6  a folder or the store cannot be read or written
  70  internal error";

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that knows how the process should end.
pub trait ExitStatus {
    /// The exit code that fits.
    fn exit(&self) -> Exit;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_documents_every_code() {
        for exit in [
            Exit::Ok,
            Exit::SomeInputFailed,
            Exit::Usage,
            Exit::Config,
            Exit::Bundle,
            Exit::Broker,
            Exit::Storage,
            Exit::Internal,
        ] {
            let shown = format!("{:>4}  ", exit.code());
            assert!(HELP.lines().any(|line| line.starts_with(&shown)), "{exit:?}");
        }
        assert_eq!(HELP.lines().count(), 9);
    }
}

use std::str::FromStr;

use tch::{Cuda, Device};

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that libtorch sees, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU by number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("cuda:")) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) => {
                number.parse().map(Self::Cuda).map_err(|_| format!("\"{number}\" is no number"))
            }
            _ => Err("expected auto, cpu or cuda:N".into()),
        }
    }
}

impl DeviceChoice {
    /// The device, if it is there.
    pub fn device(self) -> Result<Device, super::CliError> {
        let found = Cuda::device_count().max(0) as usize;
        match self {
            Self::Auto if found > 0 => Ok(Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) if number < found => Ok(Device::Cuda(number)),
            Self::Cuda(number) => Err(super::CliError::NoSuchGpu { number, found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }
}

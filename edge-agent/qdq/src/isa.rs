//! Which instructions the kernels are written in.

use std::fmt;
use std::str::FromStr;

/// The environment variable that forces one.
const VARIABLE: &str = "CXR_ISA";

/// An instruction set. All of them compute the same to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, on any processor.
    Scalar,
    /// x86-64 with AVX2 and FMA-less arithmetic: products of 16-bit pairs, which cannot saturate.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI: `vpdpbusd` on 512 bits.
    Avx512Vnni,
    /// aarch64, every one of them: widening multiplications.
    Neon,
    /// aarch64 with the dot product extension: `sdot`.
    Dotprod,
    /// aarch64 with 8-bit matrix products: `usmmla`.
    I8mm,
}

/// Why no instruction set was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No such instruction set.
    #[error("there is no instruction set '{0}'; {VARIABLE} takes {names}", names = Isa::names())]
    Unknown(String),
    /// This processor lacks it.
    #[error("this processor has no {0}; {VARIABLE} takes {names} here", names = Isa::names_here())]
    Absent(Isa),
}

impl Isa {
    /// All, the fastest of a processor last.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::Avx512Vnni, Self::Neon, Self::Dotprod, Self::I8mm];

    /// What `CXR_ISA` says, else the fastest that this processor has.
    ///
    /// # Errors
    /// If the variable names none, or one that this processor lacks.
    pub fn choose() -> Result<Self, IsaError> {
        match std::env::var(VARIABLE) {
            Ok(name) if !name.is_empty() => {
                let isa: Self = name.parse()?;
                if isa.is_here() { Ok(isa) } else { Err(IsaError::Absent(isa)) }
            }
            _ => Ok(Self::best()),
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_here()).unwrap_or(Self::Scalar)
    }

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::I8mm => std::arch::is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }

    /// As `CXR_ISA` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512vnni",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::I8mm => "i8mm",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn names_here() -> String {
        Self::ALL.iter().filter(|isa| isa.is_here()).map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let found = Self::ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name.trim()));
        found.ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        assert!(Isa::ALL.iter().all(|isa| isa.name().parse() == Ok(*isa)));
        let error = "sse9".parse::<Isa>().unwrap_err().to_string();
        assert!(error.contains("'sse9'") && error.contains("scalar, avx2"), "{error}");
        assert!(Isa::Scalar.is_here() && Isa::best().is_here());
        let absent = Isa::ALL.into_iter().find(|isa| !isa.is_here()).map(IsaError::Absent).unwrap();
        assert!(absent.to_string().contains("CXR_ISA takes scalar"), "{absent}");
    }

    #[test]
    fn what_the_environment_forces_is_here() {
        // deploy/aarch64.sh runs the tests with each set.
        assert!(Isa::choose().is_ok_and(Isa::is_here), "{:?}", Isa::choose());
    }
}

/// Makes of a function that is always inlined one for each instruction set, and a front that takes the set as its first
/// argument.
macro_rules! versions {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        $vis fn $name(isa: crate::Isa, $($arg: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $kind),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            fn avx512($($arg: $kind),*) {
                $body($($arg),*);
            }
            match isa {
                // SAFETY: a program is made for sets that this processor has (Program::new).
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                crate::Isa::Avx512Vnni => unsafe { avx512($($arg),*) },
                // NEON belongs to every aarch64 and needs no version of its own.
                _ => $body($($arg),*),
            }
        }
    };
}
pub(crate) use versions;

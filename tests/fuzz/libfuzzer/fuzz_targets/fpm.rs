#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rewire_fuzz::fpm::run(bytes);
});

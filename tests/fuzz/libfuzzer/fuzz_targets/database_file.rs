#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rewire_fuzz::database_file::run(bytes);
});

//! A wall clock that a test can set, for one program alone: the host's own is never touched.
//!
//! A library that is loaded before all others answers `clock_gettime(CLOCK_REALTIME)` with the true time and an offset, which it
//! reads from a file that the test writes to. All other clocks are as they are, as on a host whose clock is set.

use crate::{process, wait};
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
    offset: File,
}

impl WallClock {
    /// Builds the library in `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let (source, library) = (directory.join("wall_clock.rs"), directory.join("libwall_clock.so"));
        std::fs::write(&source, SOURCE)?;
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        rustc
            .args(["--edition=2021", "--crate-type=cdylib", "-Cpanic=abort", "-o"])
            .args([&library, &source]);
        process::run(rustc, wait::PATIENCE)?.ok().context("the library of the wall clock (rustc)")?;
        let file = directory.join("wall_clock.offset");
        std::fs::write(&file, 0_i64.to_ne_bytes())?;
        let offset = File::options().write(true).open(&file)?;
        Ok(Self { library, file, offset })
    }

    /// A program and its arguments that start others under this clock.
    pub fn launcher(&self) -> Vec<String> {
        vec![
            "env".into(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("WALL_CLOCK_OFFSET={}", self.file.display()),
        ]
    }

    /// Sets the clock to so many seconds before or after the true time.
    pub fn set(&self, offset_s: i64) -> Result<()> {
        Ok(self.offset.write_all_at(&offset_s.to_ne_bytes(), 0)?)
    }
}

const SOURCE: &str = r#"
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

#[repr(C)]
pub struct Timespec { seconds: i64, nanoseconds: i64 }
type Read = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;
extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, from: i64) -> *mut c_void;
}
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static OFFSET: AtomicPtr<i64> = AtomicPtr::new(std::ptr::null_mut());

/// Before `main`, so before the program gives anything up.
#[used]
#[link_section = ".init_array"]
static START: unsafe extern "C" fn() = start;
unsafe extern "C" fn start() {
    NEXT.store(dlsym(-1_isize as *mut c_void, c"clock_gettime".as_ptr()), Ordering::SeqCst);
    let path = getenv(c"WALL_CLOCK_OFFSET".as_ptr());
    if path.is_null() { return }
    let file = open(path, 0);
    let mapped = mmap(std::ptr::null_mut(), 8, 1, 1, file, 0);
    if mapped as isize != -1 { OFFSET.store(mapped.cast(), Ordering::SeqCst); }
}

#[no_mangle]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let mut next = NEXT.load(Ordering::SeqCst);
    if next.is_null() {
        next = dlsym(-1_isize as *mut c_void, c"clock_gettime".as_ptr());
        NEXT.store(next, Ordering::SeqCst);
    }
    let read: Read = std::mem::transmute(next);
    let result = read(clock, time);
    let offset = OFFSET.load(Ordering::SeqCst);
    if result == 0 && clock == 0 && !offset.is_null() {
        (*time).seconds += offset.read_volatile();
    }
    result
}
"#;

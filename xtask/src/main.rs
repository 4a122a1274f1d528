//! governor's build, test, demo and bench commands.

mod build_ebpf;

use anyhow::{Context as _, Result, bail};
use std::path::Path;

fn main() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    match std::env::args().nth(1).as_deref() {
        Some("build") => {
            let object = build_ebpf::build_ebpf(workspace)?;
            println!("{}", object.display());
            Ok(())
        }
        _ => bail!("usage: cargo xtask build"),
    }
}

//! `governor policy show`.

use super::super::globals::Globals;
use super::choice::{pack_parser, profile_parser};
use crate::engine::policy::{Pack, PolicySet, PolicySource, Profile, SCHEMA_TEXT};
use serde_json::json;
use std::io::Write;

/// Print the built-in policies, rule packs, and the schema that policies are validated against
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Whose built-in policies
    #[arg(long, value_name = "PROFILE", default_value = "protect", value_parser = profile_parser())]
    profile: Profile,

    /// Only the schema
    #[arg(long)]
    schema: bool,

    /// Only this rule pack: what it claims, its policies
    #[arg(long, value_name = "NAME", conflicts_with = "schema", value_parser = pack_parser())]
    pack: Option<String>,

    /// With --pack: its cases, as `governor policy test` runs them
    #[arg(long, requires = "pack")]
    cases: bool,
}

pub(super) fn run(args: &ShowArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    if let Some(pack) = args.pack.as_deref().and_then(Pack::named) {
        let source = pack.source();
        if globals.json {
            let answer =
                json!({ "pack": pack.name, "name": source.name, "text": source.text, "cases": pack.cases });
            writeln!(out, "{answer}")?;
        } else {
            out.write_all(if args.cases { pack.cases } else { &source.text }.as_bytes())?;
        }
        return Ok(true);
    }
    let builtin = if args.schema { vec![] } else { PolicySet::builtin(args.profile) };
    if globals.json {
        let files: Vec<_> =
            builtin.iter().map(|PolicySource { name, text }| json!({ "name": name, "text": text })).collect();
        let packs = Pack::ALL.map(|pack| pack.name);
        let answer =
            json!({ "profile": args.profile, "files": files, "packs": packs, "schema": SCHEMA_TEXT });
        writeln!(out, "{answer}")?;
        return Ok(true);
    }
    for PolicySource { name, text } in &builtin {
        writeln!(out, "// ==== {name}\n{text}")?;
    }
    if !args.schema {
        writeln!(out, "// ==== rule packs (governor policy show --pack NAME): {}", Pack::names())?;
        writeln!(out, "// ==== builtin/schema.cedarschema")?;
    }
    out.write_all(SCHEMA_TEXT.as_bytes())?;
    Ok(true)
}

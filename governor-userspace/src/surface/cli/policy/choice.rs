//! Which policies a command is about: those of the configuration, unless the command line says otherwise.

use super::super::globals::Globals;
use crate::engine::policy::{Pack, PolicyError, PolicyParts, Profile};
use crate::host::config::{self, Overrides};
use crate::host::policy::{PolicyFiles, PolicyOptions, read_path};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// What stands beside the policy files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Beside {
    /// Built-in policies [default: those of the configuration]
    #[arg(long, value_name = "PROFILE", value_parser = profile_parser())]
    pub profile: Option<Profile>,

    /// Without the built-in policies
    #[arg(long)]
    pub no_builtin: bool,

    /// Leave out the policy with this @id (may be repeated)
    #[arg(long = "disable", value_name = "ID")]
    pub disabled: Vec<String>,

    /// A rule pack, besides those of the configuration (may be repeated)
    #[arg(long = "pack", value_name = "NAME", value_parser = pack_parser())]
    pub packs: Vec<String>,
}

impl Beside {
    /// The policies of `paths`; with none, of the configured directory.
    ///
    /// # Errors
    /// [`PolicyError`] with every unreadable file; else what is wrong with the configuration.
    pub fn parts(&self, paths: &[PathBuf], globals: &Globals) -> anyhow::Result<PolicyParts> {
        let (options, required) = self.options(globals)?;
        let mut parts = options.parts()?;
        let mut files = PolicyFiles::default();
        let mut problems = vec![];
        let configured = options.dir.filter(|dir| paths.is_empty() && (required || dir.exists()));
        for path in paths.iter().chain(&configured) {
            match read_path(path) {
                Ok(found) => files.extend(found),
                Err(error) => problems.extend(error.problems),
            }
        }
        files.join(&mut parts);
        if !problems.is_empty() {
            // Unreadable files are told together with what is wrong in the readable ones.
            if let Err(error) = crate::engine::policy::PolicySet::compile_parts(&parts) {
                problems.extend(error.problems);
            }
            return Err(PolicyError { problems }.into());
        }
        Ok(parts)
    }

    /// The options, and whether their directory has to exist.
    fn options(&self, globals: &Globals) -> anyhow::Result<(PolicyOptions, bool)> {
        let profile = self.profile.map(|profile| match profile {
            Profile::Protect => config::Profile::Protect,
            Profile::Observe => config::Profile::Observe,
        });
        let config = config::load(globals.config.as_deref(), Overrides { profile })?;
        let mut options = config.policy.options();
        options.builtin &= !self.no_builtin;
        options.disabled.extend(self.disabled.iter().cloned());
        for pack in &self.packs {
            if !options.packs.contains(pack) {
                options.packs.push(pack.clone());
            }
        }
        Ok((options, config.policy.directory_required))
    }
}

pub(super) fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .map(|word| Profile::ALL.into_iter().find(|profile| profile.as_str() == word).unwrap_or_default())
}

pub(super) fn pack_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(Pack::ALL.map(|pack| pack.name))
}

//! `governor tls`: the CA, for people who have to make clients trust it.

use super::globals::Globals;
use super::text::safe;
use crate::host::tls::CaInfo;
use anyhow::Context;
use clap::Subcommand;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct TlsArgs {
    #[command(subcommand)]
    verb: TlsVerb,
}

#[derive(Debug, Subcommand)]
enum TlsVerb {
    Ca(CaArgs),
}

/// Show governor's CA and how clients come to trust it
///
/// Only clients that verify their server need it (sslmode=verify-ca and verify-full, and what is like them), and
/// only where governor does not hold the server's own key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor tls ca                                     where it is, and what to do with it\n  \
    governor tls ca --pem >> ~/.postgresql/root.crt     trust it in libpq, beside what is there")]
struct CaArgs {
    /// Print the certificate alone, in PEM form
    #[arg(long)]
    pem: bool,
}

pub fn run(args: TlsArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let TlsVerb::Ca(args) = args.verb;
    let (info, pem) = CaInfo::read(&globals.tls_dir())
        .context("there is no CA yet: the agent makes it at its first start (or name its --state-dir)")?;
    if args.pem {
        print!("{pem}");
    } else if globals.json {
        let ca = serde_json::json!({ "path": info.path, "subject": info.subject, "sha256": info.sha256 });
        println!("{}", serde_json::to_string_pretty(&ca)?);
    } else {
        print!("{}", page(&info));
    }
    Ok(ExitCode::SUCCESS)
}

fn page(info: &CaInfo) -> String {
    let path = safe(&info.path.display().to_string());
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "certificate  {path}\nsubject      {}\nSHA-256      {}\n\n\
         Clients that verify their server have to trust it, beside the CA that they trust now:\n  \
         libpq, psycopg   append it to the file that sslrootcert names (default ~/.postgresql/root.crt)\n  \
         JDBC             sslrootcert=FILE with both, or keytool -importcert -file {path}\n  \
         node-postgres    ssl: {{ ca: [theirs, fs.readFileSync('{path}')] }}\n  \
         whole host       cp {path} /usr/local/share/ca-certificates/governor.crt && update-ca-certificates\n\n\
         governor itself verifies each server, and vouches only for those that it could verify: tls.upstream_roots\n\
         in the configuration names the CAs of yours beside the system's.\n",
        safe(&info.subject),
        info.sha256,
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_to_do() {
        let info = CaInfo {
            path: "/var/lib/governor/tls/ca.crt".into(),
            subject: "CN=governor CA of db1, O=governor".into(),
            sha256: "00ff".into(),
            created: false,
        };
        let page = page(&info);
        assert!(page.contains("append it to the file that sslrootcert names"));
        assert!(page.contains("cp /var/lib/governor/tls/ca.crt "));
    }
}

//! From the checked configuration to the parts of a running agent.

use super::agent::{KernelSlot, Running};
use super::completeness::Bookkeeper;
use super::handle::{Handle, HandleParts};
use super::life::{GapLog, LifeKeeper, Trouble};
use super::namespaces::{Board, Means};
use super::open_connections::Arrivals;
use super::options::RunOptions;
use super::upgrade::{Launcher, Launches};
use crate::engine::masking::{Detectors, Masker};
use crate::engine::model::{MaskStyle, Timestamp};
use crate::engine::session::{Discovery, EngineLimits, InferenceLimits, LabelledPlace, Labels, TlsMode};
use crate::host::approvals::{Approval, ApprovalLimits, ApprovalStore, ApproverRules};
use crate::host::clock;
use crate::host::completeness::Books;
use crate::host::config::{self, Approver, CancelUnknown, Config, UnknownColumns};
use crate::host::discovery::{DiscoveryFile, DiscoveryFiles, DiscoveryKeeper};
use crate::host::glass::GlassKeeper;
use crate::host::identity::Identifier;
use crate::host::inbound::{InboundServer, ServerKeeper};
use crate::host::kernel::{
    CaptureRule, Exemption, InboundOptions, InboundRule, Kernel, KernelOptions, cgroup2_mount,
};
use crate::host::ledger::{Ledger, LedgerOptions};
use crate::host::masking::{KeySource, MaskingKeys, RevealKeeper};
use crate::host::namespaces::Entrance;
use crate::host::peers::Peers;
use crate::host::policy::PolicyStore;
use crate::host::privileges;
use crate::host::proxy::{
    self, Ask, CancelRegistry, Doors, Drain, Inbound, InboundPorts, OwnQuestions, PortRule, Shared, Sources,
};
use crate::host::telemetry::Metrics;
use crate::host::tls::{TLS_DIRECTORY, Tls, TlsOptions};
use anyhow::Context as _;
use parking_lot::Mutex;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::watch;

/// Everything, not yet running.
pub(super) struct Built {
    pub board: Board,
    pub handle: Handle,
    pub listeners: Vec<TcpListener>,
    /// Of connections that arrive for servers of this host.
    pub inbound_listeners: Vec<TcpListener>,
    pub servers: Option<Servers>,
    pub shared: Arc<Shared>,
    pub kernel: KernelSlot,
    pub data: Arc<DiscoveryKeeper>,
    /// Holds that an earlier run left unanswered.
    pub lost: Vec<Approval>,
    pub reveal: RevealKeeper,
    pub bookkeeper: Arc<Bookkeeper>,
    pub life: Arc<LifeKeeper>,
    pub launches: Launches,
}

/// Who looks for servers of this host, and the requests to look again.
pub(super) type Servers = (Arc<ServerKeeper>, Receiver<Ask>);

/// What two agents of one instance may have at the same time.
pub(super) struct Prepared {
    metrics: Arc<Metrics>,
    policy: Arc<PolicyStore>,
    masking_keys: Arc<MaskingKeys>,
    tls: Tls,
    peers: Peers,
    identifier: Identifier,
    detectors: Arc<Detectors>,
    kernel: Kernel,
    exemption: Exemption,
    listeners: Vec<TcpListener>,
    inbound_listeners: Vec<TcpListener>,
}

/// The slow part of a start, which changes nothing for anybody. `beside` are the pins of a living agent that is taken over
/// from. Dropping the result undoes it.
pub(super) fn prepare(
    options: &RunOptions,
    config: &Config,
    beside: Option<PathBuf>,
) -> anyhow::Result<Prepared> {
    let state = options.state_dir.as_path();
    let policy = Arc::new(PolicyStore::open(config.policy.options())?);
    let masking_keys = Arc::new(MaskingKeys::open(key_source(state, config), clock::now())?);
    let tls = open_tls(state, config)?;
    let peers = Peers::open(&state.join("keys"), config.identity.peers.clone())?;
    let mount = cgroup2_mount()?;
    let identifier = Identifier::new(config.identity.rules.clone(), mount.clone())?;
    let detectors = Arc::new(Detectors::with_user_defined(config.masking.detectors.clone())?);
    let mut kernel = Kernel::load(&KernelOptions { beside, ..kernel_options(state, config, &mount)? })?;
    let exemption = kernel.exemption()?;
    let listeners = proxy::serve(&mut kernel, proxy::bind(&exemption, config.capture.listeners, false)?)?;
    let inbound_listeners =
        if captures_here(config) { proxy::bind(&exemption, 1, false)? } else { Vec::new() };
    for listener in &inbound_listeners {
        kernel.serve_inbound(listener.as_fd())?;
    }
    Ok(Prepared {
        metrics: Arc::new(Metrics::new()?),
        policy,
        masking_keys,
        tls,
        peers,
        identifier,
        detectors,
        kernel,
        exemption,
        listeners,
        inbound_listeners,
    })
}

/// Opens what only one agent may have, and puts everything together.
pub(super) fn build(
    options: &RunOptions,
    config: &Config,
    prepared: Prepared,
    drain: watch::Receiver<Drain>,
) -> anyhow::Result<Built> {
    let now = clock::now();
    let state = options.state_dir.as_path();
    let Prepared {
        metrics,
        policy,
        masking_keys,
        tls,
        peers,
        identifier,
        detectors,
        mut kernel,
        exemption,
        listeners,
        inbound_listeners,
    } = prepared;
    let ledger = Ledger::open(ledger_options(state, config), now)?;
    let limits = ApprovalLimits { pending_max: config.approvals.pending_max, ..ApprovalLimits::default() };
    let approvals_dir = state.join("approvals");
    let (approvals, lost) =
        ApprovalStore::open_beside(approvals_dir, limits, metrics.clone(), now, options.take_over)?;
    let approvals = Arc::new(approvals);
    let discovery_files = DiscoveryFiles {
        columns: DiscoveryFile::new(state.join("discovery.jsonl")),
        remembered: DiscoveryFile::new(state.join("sensitive-columns.jsonl")),
    };
    let discovery = open_discovery(&discovery_files, config, now)?;
    let (clients, mount) = (kernel.clients(), cgroup2_mount()?);
    let shared = Arc::new(Shared {
        flows: kernel.flows()?,
        exemption,
        entrance: Entrance::open(privileges::settle).context("the thread that enters network namespaces")?,
        identifier,
        ledger: ledger.clone(),
        approvals: approvals.clone(),
        policy: policy.clone(),
        tls: Arc::new(tls),
        peers: Arc::new(peers),
        retries: proxy::Retries::default(),
        metrics: metrics.clone(),
        books: Arc::new(Books::default()),
        masker: Masker { detectors, keys: masking_keys.ring(), settings: config.masking.transforms },
        labels: Arc::new(labels(config)),
        engine_limits: engine_limits(config),
        rates: Arc::default(),
        inference: Arc::default(),
        glass: Arc::default(),
        discovery: discovery.clone(),
        ports: ports(config),
        inbound: std::sync::OnceLock::new(),
        own_questions: OwnQuestions::default(),
        cancels: CancelRegistry::default(),
        sources: Sources::default(),
        startup_timeout: config.limits.startup_timeout,
        authentication_timeout: config.limits.authentication_timeout,
        connect_timeout: config.limits.upstream_connect_timeout,
        peer_timeout: config.limits.peer_timeout,
        connections_max: config.limits.connections_max,
        connections_per_source_max: config.limits.connections_per_source_max,
        drain,
    });
    let closed_sockets = kernel.take_closed_sockets()?;
    let kernel: KernelSlot = Arc::new(Mutex::new(Some(kernel)));
    let servers = (!config.capture.inbound.is_empty()).then(|| {
        let ports = inbound_ports(config);
        let servers = inbound_servers(config);
        let keeper = Arc::new(ServerKeeper::new(servers, mount.clone(), ports.clone(), kernel.clone()));
        let (look_again, asked) = std::sync::mpsc::sync_channel(ASKS_MAX);
        // It was not set before.
        let _first = shared.inbound.set(Inbound { ports, clients, look_again });
        (keeper, asked)
    });
    let bookkeeper = Arc::new(Bookkeeper::new(
        shared.books.clone(),
        closed_sockets,
        kernel.clone(),
        ledger.clone(),
        metrics.clone(),
        u64::try_from(config.audit.checkpoint_interval.as_nanos()).unwrap_or(u64::MAX),
        now,
    ));
    let glass = GlassKeeper { glass: shared.glass.clone(), ledger: ledger.clone(), metrics: metrics.clone() };
    let reveal = RevealKeeper { keys: masking_keys, ledger: ledger.clone(), metrics: metrics.clone() };
    let data = Arc::new(DiscoveryKeeper::new(discovery, discovery_files, ledger.clone(), metrics.clone()));
    let (gaps, trouble) = (GapLog::default(), Trouble::default());
    let board = Board::default();
    let launcher = Launcher::of_this_process()?;
    let launches = launcher.launches();
    let agent = Running {
        config: options.config.clone(),
        capture: capture_lines(config),
        namespaces: board.clone(),
        servers: servers.as_ref().map(|(keeper, _)| keeper.clone()),
        policy,
        ledger: ledger.clone(),
        kernel: kernel.clone(),
        glass,
        reveal: reveal.clone(),
        data: data.clone(),
        shared: shared.clone(),
        bookkeeper: bookkeeper.clone(),
        gaps: gaps.clone(),
        trouble: trouble.clone(),
        launcher,
    };
    let handle = Handle::new(HandleParts {
        profile: config.policy.profile.as_str().into(),
        started: now,
        agent: Box::new(agent),
        approvals,
        approver_rules: approver_rules(config),
        metrics,
    });
    let life =
        Arc::new(LifeKeeper::new(state, kernel.clone(), ledger, shared.metrics.clone(), gaps, trouble));
    Ok(Built {
        handle,
        listeners,
        inbound_listeners,
        servers,
        shared,
        kernel,
        data,
        lost,
        reveal,
        life,
        bookkeeper,
        board,
        launches,
    })
}

/// What earlier runs knew of columns. Damage costs what is damaged, and is told.
fn open_discovery(files: &DiscoveryFiles, config: &Config, now: Timestamp) -> anyhow::Result<Arc<Discovery>> {
    let now_unix_s = now.unix_ns / 1_000_000_000;
    let loaded = files.columns.load(now_unix_s)?;
    if let Some((lines, aside)) = &loaded.damage {
        tracing::error!(
            lines,
            kept = %aside.display(),
            columns = loaded.records.len(),
            "the discovery catalogue is damaged: these lines are lost, and labels among them have to be given again \
             (`governor audit search --event data_ruling` has them); the file is kept as it was"
        );
    }
    // A network namespace is known by numbers that mean another one after the host was booted.
    let lasting = loaded.records.into_iter().filter(|record| record.place.server.namespace.is_none());
    let remembered = files.remembered.load(now_unix_s)?;
    if let Some((lines, aside)) = &remembered.damage {
        tracing::error!(
            lines,
            kept = %aside.display(),
            relations = remembered.records.len(),
            "what is remembered of sensitive columns is damaged: columns in these lines that were renamed while governor was \
             away are not noticed; the file is kept as it was"
        );
    }
    let relations = remembered.records.into_iter().filter(|one| one.server.namespace.is_none());
    let discovery = Discovery::new(config.masking.discovery, lasting.collect());
    Ok(Arc::new(discovery.recall(relations.collect())))
}

/// Reads the certificates, and says once what a new CA means for clients.
fn open_tls(state: &Path, config: &Config) -> anyhow::Result<Tls> {
    let written = &config.tls;
    let tls = Tls::open(&TlsOptions {
        directory: state.join(TLS_DIRECTORY),
        server_keys: written
            .server_keys
            .iter()
            .map(|pair| (pair.certificate.clone(), pair.key.clone()))
            .collect(),
        discover_server_keys: written.discover_server_keys,
        upstream_roots: written.upstream_roots.clone(),
        upstream_crls: written.upstream_crls.clone(),
        system_roots: written.system_roots,
        client_roots: written.client_roots.clone(),
        client_crls: written.client_crls.clone(),
        reissue_client_certificates: written.client_certificates == config::ClientCertificates::Reissue,
    })
    .context("TLS")?;
    let ca = tls.authority().info();
    if ca.created {
        tracing::info!(
            certificate = %ca.path.display(),
            sha256 = ca.sha256,
            "made a CA for TLS; clients that verify servers (sslmode=verify-ca, verify-full) have to trust it: \
             `governor tls ca` says how"
        );
    }
    Ok(tls)
}

/// The instance's directory: nobody but its owner and group looks into it.
pub(super) fn private_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path).with_context(|| {
        format!("cannot make the state directory {}: choose another with --state-dir", path.display())
    })
}

fn key_source(state: &Path, config: &Config) -> KeySource {
    match &config.masking.keys {
        config::MaskingKeys::State => KeySource::Directory(state.join("keys")),
        config::MaskingKeys::Directory(directory) => KeySource::Directory(directory.clone()),
        config::MaskingKeys::Credential(name) => {
            KeySource::Credential { name: name.clone(), directory: std::env::var_os("CREDENTIALS_DIRECTORY") }
        }
    }
}

fn ledger_options(state: &Path, config: &Config) -> LedgerOptions {
    LedgerOptions {
        segment_bytes_max: config.audit.segment_bytes_max,
        checkpoint_every_records: u64::from(config.audit.checkpoint_records),
        checkpoint_every_ms: u64::try_from(config.audit.checkpoint_interval.as_millis()).unwrap_or(u64::MAX),
        ..LedgerOptions::new(state.join("audit"), state.join("keys"))
    }
}

fn kernel_options(state: &Path, config: &Config, mount: &Path) -> anyhow::Result<KernelOptions> {
    let (mut rules, mut raw_refused) = (Vec::new(), Vec::new());
    for rule in &config.capture.rules {
        let cgroup = rule.cgroup.directory(mount);
        anyhow::ensure!(
            cgroup.is_dir(),
            "the configuration captures the cgroup {}, which does not exist: make it first, or name another",
            cgroup.display()
        );
        if rule.raw_sockets == config::RawSockets::Refuse {
            raw_refused.push(cgroup.clone());
        }
        for port in &rule.ports {
            let fail_open = rule.when_down == config::WhenDown::Pass;
            rules.push(CaptureRule { port: *port, cgroup: cgroup.clone(), fail_open });
        }
    }
    let inbound = (!config.capture.inbound.is_empty()).then(|| inbound_options(config, mount));
    let own = match &config.capture.own_cgroup {
        Some(own) => own.directory(mount),
        None => own_cgroup(mount)?,
    };
    Ok(KernelOptions {
        rules,
        own_cgroups: vec![own],
        raw_refused,
        pin_dir: Some(state.join("pins")),
        inbound,
        beside: None,
        debug_log: config.log.level >= config::LogLevel::Debug,
        map_capacities: Vec::new(),
    })
}

/// What the keeper of network namespaces works with.
pub(super) fn means(
    config: &Config,
    shared: &Arc<Shared>,
    kernel: &KernelSlot,
    doors: Doors,
    board: Board,
) -> anyhow::Result<Means> {
    let mount = cgroup2_mount()?;
    let below = |directory: PathBuf| {
        let path = directory.canonicalize().unwrap_or(directory);
        format!("/{}", path.strip_prefix(&mount).unwrap_or(&path).display())
    };
    Ok(Means {
        kernel: kernel.clone(),
        exemption: shared.exemption.clone(),
        doors,
        metrics: shared.metrics.clone(),
        cgroups: config.capture.rules.iter().map(|rule| below(rule.cgroup.directory(&mount))).collect(),
        count_max: config.capture.namespaces_max,
        listeners: config.capture.listeners,
        board,
        servers: shared.inbound.get().map(|inbound| inbound.look_again.clone()),
        names: super::namespaces::names(shared),
    })
}

/// Whether servers of governor's own network namespace are captured.
fn captures_here(config: &Config) -> bool {
    config.capture.inbound.iter().any(|server| server.namespaces.has_own())
}

fn inbound_options(config: &Config, mount: &Path) -> InboundOptions {
    let elsewhere_only = !captures_here(config);
    let mut options = InboundOptions { elsewhere_only, ..InboundOptions::default() };
    for server in &config.capture.inbound {
        let fail_open = server.when_down == config::WhenDown::Pass;
        if server.namespaces.has_own() {
            options.rules.extend(server.ports.iter().map(|port| InboundRule { port: *port, fail_open }));
        }
        let clients = server.clients.directory(mount);
        if !options.clients.contains(&clients) {
            options.clients.push(clients);
        }
    }
    options
}

/// Those that are known before a server was found.
fn inbound_ports(config: &Config) -> Arc<InboundPorts> {
    let published = config.capture.inbound.iter().flat_map(|server| server.published.iter().copied());
    let ports = InboundPorts::new(published.collect());
    for server in config.capture.inbound.iter().filter(|server| server.namespaces.has_own()) {
        for port in &server.ports {
            ports.add(None, PortRule { port: *port, tls: tls_mode(server.tls) });
        }
    }
    Arc::new(ports)
}

/// What is looked at for connections to servers of this host that were open before.
pub(super) fn arrivals(config: &Config, shared: &Shared) -> Option<Arrivals> {
    let ports = shared.inbound.get()?.ports.clone();
    Some(Arrivals { ports, servers: inbound_servers(config) })
}

fn inbound_servers(config: &Config) -> Vec<InboundServer> {
    let server = |server: &config::CaptureInbound| InboundServer {
        ports: server.ports.clone(),
        unit: server.unit.clone(),
        cgroup: server.cgroup.clone(),
        here: server.namespaces.has_own(),
        elsewhere: server.namespaces.has_others(),
        fail_open: server.when_down == config::WhenDown::Pass,
        ends_open: server.open_connections == config::OpenConnections::End,
        tls: tls_mode(server.tls),
    };
    config.capture.inbound.iter().map(server).collect()
}

/// The cgroup that governor itself runs in: its sockets are made there.
fn own_cgroup(mount: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let path =
        text.lines().find_map(|line| line.strip_prefix("0::")).context("this process has no cgroup v2")?;
    Ok(mount.join(path.trim_start_matches('/')))
}

fn ports(config: &Config) -> Vec<PortRule> {
    let rules = config.capture.rules.iter();
    rules
        .flat_map(|rule| {
            let tls = tls_mode(rule.tls);
            rule.ports.iter().map(move |port| PortRule { port: *port, tls })
        })
        .collect()
}

fn tls_mode(written: config::TlsMode) -> TlsMode {
    match written {
        config::TlsMode::Terminate => TlsMode::Terminate,
        config::TlsMode::Decline => TlsMode::Decline,
        config::TlsMode::Refuse => TlsMode::Refuse,
        config::TlsMode::PassUnread => TlsMode::PassUnread,
    }
}

/// What the configuration says of columns.
pub(crate) fn labels(config: &Config) -> Labels {
    Labels {
        sensitive: config
            .masking
            .columns
            .iter()
            .filter(|label| label.path.is_none())
            .map(|label| (label.column.clone(), label.category))
            .collect(),
        places: config
            .masking
            .columns
            .iter()
            .filter_map(|label| {
                let (path, category) = (label.path.clone()?, label.category);
                let style = label.style.unwrap_or(MaskStyle::Redact);
                Some((label.column.clone(), LabelledPlace { path, category, style }))
            })
            .collect(),
        clear: config.masking.clear.clone(),
        styles: config
            .masking
            .columns
            .iter()
            .filter(|label| label.path.is_none())
            .filter_map(|label| Some((label.column.clone(), label.style?)))
            .collect(),
        hide_unknown: config.masking.unknown_columns == UnknownColumns::Hide,
        ..Labels::default()
    }
}

fn engine_limits(config: &Config) -> EngineLimits {
    EngineLimits {
        statement_bytes_max: config.limits.statement_bytes_max,
        row_bytes_max: config.limits.row_bytes_max,
        record_text_bytes_max: config.audit.text_bytes_max,
        record_parameters_max: config.audit.parameters_max,
        hold_timeout_ns: u64::try_from(config.approvals.timeout.as_nanos()).unwrap_or(u64::MAX),
        forward_unknown_cancel: config.limits.cancel_unknown == CancelUnknown::Forward,
        detect_values: config.masking.detect_values,
        keys_per_column: config.masking.keys_per_column,
        compare_tokens: config.masking.compare_tokens,
        inference: Arc::new(inference_limits(&config.masking.inference)),
        ..EngineLimits::default()
    }
}

fn inference_limits(config: &config::Inference) -> InferenceLimits {
    let millibits = |bits: u32| (bits > 0).then(|| u64::from(bits) * 1_000);
    InferenceLimits {
        classes: config.classes.clone(),
        window_ns: u64::try_from(config.window.as_nanos()).unwrap_or(u64::MAX),
        warn_millibits: millibits(config.warn_bits),
        hold_millibits: millibits(config.hold_bits),
        deny_millibits: millibits(config.deny_bits),
        approvers: config.approvers.clone(),
    }
}

fn approver_rules(config: &Config) -> ApproverRules {
    let written = |approver: &Approver| match approver {
        Approver::User(name) => name.clone(),
        Approver::Uid(uid) => format!("uid:{uid}"),
        Approver::Group(name) => format!("group:{name}"),
    };
    let groups = config.approvals.groups.iter();
    ApproverRules {
        groups: groups.map(|(name, members)| (name.clone(), members.iter().map(written).collect())).collect(),
        self_approval_as_root: config.approvals.self_approval_as_root,
    }
}

fn capture_lines(config: &Config) -> Vec<String> {
    let rules = config.capture.rules.iter();
    rules
        .map(|rule| {
            let ports: Vec<String> = rule.ports.iter().map(ToString::to_string).collect();
            format!("cgroup {} ports {} (postgres)", rule.cgroup.as_str(), ports.join(", "))
        })
        .chain(config.capture.inbound.iter().map(inbound_line))
        .chain(config.capture.unix.iter().map(|socket| format!("unix {} (postgres)", socket.path.display())))
        .collect()
}

fn inbound_line(server: &config::CaptureInbound) -> String {
    let ports: Vec<String> = server.ports.iter().map(ToString::to_string).collect();
    let parts = [
        (!ports.is_empty()).then(|| format!("ports {}", ports.join(", "))),
        server.unit.as_ref().map(|unit| format!("unit {}", unit.as_str())),
        server.cgroup.as_ref().map(|cgroup| format!("cgroup {}", cgroup.as_str())),
        match server.namespaces {
            config::InboundNamespaces::Own => None,
            config::InboundNamespaces::Others => Some("in other network namespaces".into()),
            config::InboundNamespaces::All => Some("in any network namespace".into()),
        },
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("arriving at {} (postgres)", parts.join(", "))
}

/// Of whoever looks for servers: who asks beyond that is answered by the next look.
const ASKS_MAX: usize = 1024;

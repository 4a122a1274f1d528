//! Remembers decisions, because most statements of a session look like earlier ones.
//!
//! Keyed by everything that a decision depends on: who (kind of principal), claims, destination, the
//! facts of the statement (not its text: literals do not matter) and what surrounds it. What no policy for this
//! kind of question looks at (the time, above all) is left out of the key. The key's hash only
//! finds the place; the whole key is compared before an answer is given, so a collision costs a
//! decision and never gives a wrong one. Another policy set empties the cache.
//!
//! Owned by one thread; bounded by entries, and by the size of what is kept at all. Statements that come once do not push
//! out what is asked again and again (S3-FIFO, crate quick_cache).

use super::compile::PolicySet;
use super::entity::PolicyPrincipal;
use super::key::KeyHasher;
use super::mentions::Mentions;
use super::question::{HiddenCondition, Moment, RunContext, SeeColumn, SessionContext, Visibility};
use super::schema::Ask;
use crate::engine::model::{
    Claims, Class, Decision, Endpoint, FunctionName, RelationName, Statement, StatementKind,
};
use quick_cache::unsync::Cache;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::ops::DerefMut;
use std::sync::{Arc, LazyLock};

/// Decisions of one policy set.
#[derive(Debug)]
pub struct DecisionCache {
    set_identity: u128,
    run: Cache<u64, (RunKey, Arc<Decision>)>,
    see: Cache<u64, (SeeKey, Arc<Visibility>)>,
    sessions: Cache<u64, (SessionKey, Reach)>,
    hits_count: u64,
    misses_count: u64,
}

impl DecisionCache {
    /// Keeps at most `entries_max` decisions on statements, and as many on columns.
    pub fn new(entries_max: NonZeroUsize) -> Self {
        Self {
            set_identity: 0,
            run: Cache::new(entries_max.get()),
            see: Cache::new(entries_max.get()),
            sessions: Cache::new(entries_max.min(SESSIONS_COUNT_MAX).get()),
            hits_count: 0,
            misses_count: 0,
        }
    }

    /// [`PolicySet::run`], remembered.
    pub fn run(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        statement: &Statement,
        surroundings: &RunContext,
    ) -> Arc<Decision> {
        self.follow(set);
        let session = SessionRef { who: who.cache_key(), claims, to };
        let facts = FactsRef::of(statement, surroundings, looks_at(set, who.class(), statement));
        let mut hash = session.hash();
        facts.hash(&mut hash);
        let hash = hash.finish();
        if let Some((key, decision)) = self.run.get(&hash)
            && key.session.is(&session)
            && key.facts.is(&facts)
        {
            self.hits_count += 1;
            return Arc::clone(decision);
        }
        self.misses_count += 1;
        let decision = Arc::new(set.run(who, claims, to, statement, surroundings));
        if facts.bytes() <= KEY_BYTES_MAX {
            let key = RunKey { session: session.to_owned(), facts: facts.to_owned() };
            self.run.insert(hash, (key, Arc::clone(&decision)));
        }
        decision
    }

    /// [`PolicySet::see`], remembered.
    pub fn see(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        column: &SeeColumn,
        surroundings: &SessionContext,
    ) -> Arc<Visibility> {
        self.follow(set);
        let session = SessionRef { who: who.cache_key(), claims, to };
        let around = AroundRef::of(surroundings, set.looks(Ask::See, who.class()));
        let mut hash = session.hash();
        column.hash(&mut hash);
        around.hash(&mut hash);
        let hash = hash.finish();
        if let Some((key, visibility)) = self.see.get(&hash)
            && key.session.is(&session)
            && key.column == *column
            && key.around.as_ref() == around
        {
            self.hits_count += 1;
            return Arc::clone(visibility);
        }
        self.misses_count += 1;
        let visibility = Arc::new(set.see(who, claims, to, column, surroundings));
        let key = SeeKey { session: session.to_owned(), column: column.clone(), around: around.to_owned() };
        self.see.insert(hash, (key, Arc::clone(&visibility)));
        visibility
    }

    /// [`PolicySet::connect`], remembered.
    pub fn connect(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        surroundings: &SessionContext,
    ) -> Arc<Decision> {
        let around = AroundRef::of(surroundings, set.looks(Ask::Connect, who.class()));
        let reach = self.reach(set, who, claims, to);
        if let Some((key, decision)) = reach.and_then(|reach| reach.1.connect.clone())
            && key.as_ref() == around
        {
            self.hits_count += 1;
            return decision;
        }
        self.misses_count += 1;
        let decision = Arc::new(set.connect(who, claims, to, surroundings));
        if let Some(mut reach) = self.reach(set, who, claims, to) {
            reach.1.connect = Some((around.to_owned(), Arc::clone(&decision)));
        }
        decision
    }

    /// [`PolicySet::may_mask`], remembered: it asks Cedar about every category.
    pub fn may_mask(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
    ) -> bool {
        let answer = || set.may_mask(who, claims, to);
        match self.reach(set, who, claims, to) {
            Some(mut reach) => *reach.1.may_mask.get_or_insert_with(answer),
            None => answer(),
        }
    }

    /// [`PolicySet::may_restrict`], remembered.
    pub fn may_restrict(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
    ) -> bool {
        let answer = || set.may_restrict(who);
        match self.reach(set, who, claims, to) {
            Some(mut reach) => *reach.1.may_restrict.get_or_insert_with(answer),
            None => answer(),
        }
    }

    /// What is remembered of sessions like this one. There is always room for it, beside the key that it was found by.
    fn reach(
        &mut self,
        set: &PolicySet,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
    ) -> Option<impl DerefMut<Target = (SessionKey, Reach)>> {
        self.follow(set);
        let session = SessionRef { who: who.cache_key(), claims, to };
        let hash = session.hash().finish();
        if !self.sessions.get(&hash).is_some_and(|(key, _)| key.is(&session)) {
            self.sessions.insert(hash, (session.to_owned(), Reach::default()));
        }
        self.sessions.get_mut(&hash)
    }

    /// Answers from memory and answers from Cedar, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits_count, self.misses_count)
    }

    fn follow(&mut self, set: &PolicySet) {
        if self.set_identity != set.identity {
            self.run.clear();
            self.see.clear();
            self.sessions.clear();
            self.set_identity = set.identity;
        }
    }
}

/// What sessions ask when they begin; `None` is not asked yet.
#[derive(Debug, Default)]
struct Reach {
    connect: Option<(Around, Arc<Decision>)>,
    may_mask: Option<bool>,
    may_restrict: Option<bool>,
}

#[derive(Debug)]
struct RunKey {
    session: SessionKey,
    facts: Facts,
}

#[derive(Debug)]
struct SeeKey {
    session: SessionKey,
    column: SeeColumn,
    around: Around,
}

/// Who asks, from where to where.
#[derive(Debug)]
struct SessionKey {
    who: u128,
    claims: Claims,
    to: Endpoint,
}

impl SessionKey {
    fn is(&self, other: &SessionRef<'_>) -> bool {
        self.who == other.who && self.to == *other.to && self.claims == *other.claims
    }
}

struct SessionRef<'a> {
    who: u128,
    claims: &'a Claims,
    to: &'a Endpoint,
}

impl SessionRef<'_> {
    fn hash(&self) -> KeyHasher {
        let mut hash = KeyHasher::new();
        self.who.hash(&mut hash);
        self.claims.user.hash(&mut hash);
        self.claims.database.hash(&mut hash);
        self.claims.application_name.hash(&mut hash);
        self.to.hash(&mut hash);
        hash
    }

    fn to_owned(&self) -> SessionKey {
        SessionKey { who: self.who, claims: self.claims.clone(), to: self.to.clone() }
    }
}

/// What policies for this statement look at.
fn looks_at(set: &PolicySet, class: Class, statement: &Statement) -> Mentions {
    if set.mentions == Mentions::default() {
        return set.mentions;
    }
    let unknown = statement.unknown.is_some().then_some(StatementKind::Unknown);
    let kinds = statement.kinds.iter().copied().chain([statement.kind]).chain(unknown);
    kinds.fold(Mentions::default(), |all, kind| all.or(set.looks(Ask::Run(kind), class)))
}

/// What policy looks at around a session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Around {
    at: Option<Moment>,
    break_glass: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AroundRef<'a> {
    at: Option<Moment>,
    break_glass: Option<&'a Arc<str>>,
}

impl Around {
    fn as_ref(&self) -> AroundRef<'_> {
        AroundRef { at: self.at, break_glass: self.break_glass.as_ref() }
    }
}

impl<'a> AroundRef<'a> {
    fn of(around: &'a SessionContext, looks: Mentions) -> Self {
        Self {
            at: around.at.filter(|_| looks.time),
            break_glass: around.break_glass.as_ref().filter(|_| looks.break_glass),
        }
    }

    fn to_owned(self) -> Around {
        Around { at: self.at, break_glass: self.break_glass.cloned() }
    }
}

/// Everything about a statement that reaches Cedar (`context.rs`), and nothing else.
#[derive(Debug)]
struct Facts {
    kind: StatementKind,
    kinds: Vec<StatementKind>,
    tag: String,
    reads: Vec<RelationName>,
    writes: Vec<RelationName>,
    functions: Vec<FunctionName>,
    columns: Vec<String>,
    every_column: bool,
    has_where: Option<bool>,
    unknown: Option<&'static str>,
    setting: Option<(String, Option<String>)>,
    around: Around,
    approved: bool,
    reads_sensitive: bool,
    estimated_rows: Option<u64>,
    bare_schemas: Option<Arc<[String]>>,
    columns_certain: bool,
    functions_certain: bool,
    copies_masked: bool,
    conditions: Arc<[HiddenCondition]>,
}

impl Facts {
    fn is(&self, other: &FactsRef<'_>) -> bool {
        let s = other.statement;
        self.kind == s.kind
            && self.around.as_ref() == other.around
            && self.approved == other.approved
            && self.reads_sensitive == other.reads_sensitive
            && self.estimated_rows == other.estimated_rows
            && self.bare_schemas.as_ref() == other.bare_schemas
            && self.columns_certain == other.columns_certain
            && self.functions_certain == other.functions_certain
            && self.copies_masked == other.copies_masked
            && *self.conditions == **other.conditions
            && self.has_where == s.has_where
            && self.every_column == s.mentions.every_column
            && self.unknown == other.unknown
            && self.kinds == s.kinds
            && self.tag == s.tag
            && self.reads == s.reads
            && self.writes == s.writes
            && self.functions == s.functions
            && self.columns == s.mentions.columns
            && self.setting == s.setting
    }
}

struct FactsRef<'a> {
    statement: &'a Statement,
    unknown: Option<&'static str>,
    around: AroundRef<'a>,
    approved: bool,
    reads_sensitive: bool,
    estimated_rows: Option<u64>,
    bare_schemas: Option<&'a Arc<[String]>>,
    columns_certain: bool,
    functions_certain: bool,
    copies_masked: bool,
    conditions: &'a Arc<[HiddenCondition]>,
}

impl<'a> FactsRef<'a> {
    fn of(statement: &'a Statement, surroundings: &'a RunContext, looks: Mentions) -> Self {
        // Taken apart in full: what is added must be part of the key.
        let RunContext {
            session,
            approved,
            reads_sensitive,
            estimated_rows,
            bare_schemas,
            columns_certain,
            functions_certain,
            conditions,
            copies_masked,
        } = surroundings;
        Self {
            statement,
            unknown: statement.unknown.as_ref().map(|why| why.cause()),
            around: AroundRef::of(session, looks),
            approved: *approved,
            reads_sensitive: *reads_sensitive,
            estimated_rows: estimated_rows.filter(|_| looks.estimated_rows),
            bare_schemas: bare_schemas.as_ref().filter(|_| looks.names),
            columns_certain: *columns_certain && looks.names,
            functions_certain: *functions_certain && looks.function_schemas,
            copies_masked: *copies_masked,
            conditions: if looks.conditions { conditions } else { none() },
        }
    }

    fn hash(&self, hash: &mut KeyHasher) {
        let s = self.statement;
        let bits = [
            self.approved,
            self.reads_sensitive,
            self.columns_certain,
            self.functions_certain,
            self.copies_masked,
            s.mentions.every_column,
            self.unknown.is_some(),
            s.has_where.is_some(),
            s.has_where == Some(true),
        ];
        let bits = bits.iter().fold(s.kind as u64, |all, &bit| all << 1 | u64::from(bit));
        hash.write_u64(bits);
        for kind in &s.kinds {
            hash.write_u8(*kind as u8);
        }
        s.tag.hash(hash);
        s.reads.hash(hash);
        s.writes.hash(hash);
        s.functions.hash(hash);
        s.mentions.columns.hash(hash);
        s.setting.hash(hash);
        self.around.hash(hash);
        self.estimated_rows.hash(hash);
        self.bare_schemas.hash(hash);
        self.conditions.hash(hash);
    }

    /// About what keeping it would cost.
    fn bytes(&self) -> usize {
        let s = self.statement;
        let relations = s.reads.iter().chain(&s.writes);
        let names = relations.map(|r| r.name.len() + r.schema.as_ref().map_or(0, String::len) + 48);
        let functions =
            s.functions.iter().map(|f| f.name.len() + f.schema.as_ref().map_or(0, String::len) + 48);
        let columns = s.mentions.columns.iter().map(|c| c.len() + 24);
        let setting =
            s.setting.as_ref().map_or(0, |(name, value)| name.len() + value.as_ref().map_or(0, String::len));
        let conditions = self.conditions.len() * CONDITION_BYTES;
        names.chain(functions).chain(columns).sum::<usize>() + s.tag.len() + setting + conditions
    }

    fn to_owned(&self) -> Facts {
        let s = self.statement;
        Facts {
            kind: s.kind,
            kinds: s.kinds.clone(),
            tag: s.tag.clone(),
            reads: s.reads.clone(),
            writes: s.writes.clone(),
            functions: s.functions.clone(),
            columns: s.mentions.columns.clone(),
            every_column: s.mentions.every_column,
            has_where: s.has_where,
            unknown: self.unknown,
            setting: s.setting.clone(),
            around: self.around.to_owned(),
            approved: self.approved,
            reads_sensitive: self.reads_sensitive,
            estimated_rows: self.estimated_rows,
            bare_schemas: self.bare_schemas.cloned(),
            columns_certain: self.columns_certain,
            functions_certain: self.functions_certain,
            copies_masked: self.copies_masked,
            conditions: self.conditions.clone(),
        }
    }
}

/// No condition at all.
fn none() -> &'static Arc<[HiddenCondition]> {
    static NONE: LazyLock<Arc<[HiddenCondition]>> = LazyLock::new(|| Arc::from([]));
    &NONE
}

/// About what a condition takes: three names.
const CONDITION_BYTES: usize = 128;
/// Kinds of sessions: far fewer than kinds of statements, and each may have long names.
const SESSIONS_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// A statement with more names than this is rare, and decided each time.
const KEY_BYTES_MAX: usize = 16 << 10;

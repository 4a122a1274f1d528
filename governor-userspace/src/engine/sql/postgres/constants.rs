//! Constants and parameters of a command, each with the names that it stands beside: the columns that it is compared with
//! or put into, keys of documents, arguments, options.
//!
//! A record of a statement hides by this what the result of another would hide: `WHERE password = 'x'` shows no more than
//! `SELECT password` does. Names only; whose they are is known to whoever has a catalogue (`session/beside.rs`).
//!
//! Errs towards beside: all constants of a comparison stand beside all columns of it, whatever calls are in between.
//! What does not parse is cut into words, and each constant stands beside all of them. So does what takes too many steps.

use super::children::{children, untyped};
use super::lexer::{Lexer, Token};
use super::prescan;
use crate::engine::model::{FunctionName, RelationName};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{A_Expr, FuncCall, InsertStmt, MergeWhenClause, RangeVar, SelectStmt};
use pg_raw_parse::raw::{A_Expr_Kind as E, CmdType};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// What a constant stands beside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BesideName {
    /// A column of one of the command's relations, or of what it makes of them.
    Column(Box<str>),
    /// Any of their columns: it has another name here.
    AnyColumn,
    /// The column of a relation at this place, from 0: an INSERT without a list.
    Place(RelationName, usize),
    /// A key, an option, a setting, a named argument: it says by itself what it is of.
    Word(Box<str>),
    /// The argument of a function at this place, from 0.
    Argument(FunctionName, usize),
    /// What an EXECUTE runs has this parameter, 1 and up.
    Parameter(u16),
}

type Beside = Arc<BTreeSet<BesideName>>;

/// The constants of one text that stand beside any name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    /// In order, apart.
    pub literals: Vec<(Range<usize>, Beside)>,
    pub parameters: Vec<(u16, Beside)>,
}

impl Constants {
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.parameters.is_empty()
    }
}

/// The constants of one command's own text.
pub fn constants(text: &str) -> Constants {
    // As `read_guarded`: the binding may find a tree that it does not believe in.
    match std::panic::catch_unwind(|| read(text)) {
        Ok(Some(constants)) => constants,
        _ => by_words(text),
    }
}

fn read(text: &str) -> Option<Constants> {
    prescan::check(text, true).ok()?;
    let tree = pg_raw_parse::parse(text).ok()?;
    let mut reading = Reading::default();
    for raw in tree.iter() {
        reading.run(raw.stmt())?;
    }
    reading.finish(text)
}

/// Every literal beside every word.
fn by_words(text: &str) -> Constants {
    let mut words = BTreeSet::new();
    let mut places = Vec::new();
    let mut lexer = Lexer::new(text);
    loop {
        let start = lexer.position();
        let Some(token) = lexer.next() else { break };
        match token {
            Token::Word(word) | Token::Quoted(word) => {
                words.insert(BesideName::Word(String::from_utf8_lossy(word).to_lowercase().into()));
            }
            Token::Literal => places.extend(trimmed(text, start..lexer.position())),
            Token::Symbol(_) => {}
        }
    }
    let words = Arc::new(words);
    let literals = places.into_iter().filter(|place| !is_parameter(text, place));
    Constants { literals: literals.map(|place| (place, words.clone())).collect(), parameters: Vec::new() }
}

fn is_parameter(text: &str, place: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    bytes.get(place.start) == Some(&b'$') && bytes.get(place.start + 1).is_some_and(u8::is_ascii_digit)
}

/// Without the blanks in front.
fn trimmed(text: &str, place: Range<usize>) -> Option<Range<usize>> {
    let token = text.get(place.clone())?;
    let start = place.end - token.trim_start().len();
    (start < place.end).then_some(start..place.end)
}

/// The literal that stands at a place of the text, or is the next one behind it.
fn literal_at(text: &str, location: i32) -> Option<Range<usize>> {
    let begin = usize::try_from(location).ok()?;
    let rest = text.get(begin..)?;
    let mut lexer = Lexer::new(rest);
    let mut start = lexer.position();
    while let Some(token) = lexer.next() {
        let is_truth =
            |word: &[u8]| word.eq_ignore_ascii_case(b"true") || word.eq_ignore_ascii_case(b"false");
        if matches!(token, Token::Literal) || matches!(token, Token::Word(word) if is_truth(word)) {
            let found = trimmed(rest, start..lexer.position())?;
            let mut end = found.end;
            // 'one' and, on another line, 'two' are one constant.
            while matches!(lexer.next(), Some(Token::Literal)) {
                end = lexer.position();
            }
            return Some(begin + found.start..begin + end);
        }
        start = lexer.position();
    }
    None
}

#[derive(Default)]
struct Reading<'t> {
    work: Vec<(Node<'t>, Beside)>,
    literals: BTreeMap<i32, BTreeSet<BesideName>>,
    parameters: BTreeMap<u16, BTreeSet<BesideName>>,
    /// What names of results are made of.
    shown_as: HashMap<&'t str, BTreeSet<BesideName>>,
    steps: usize,
}

impl<'t> Reading<'t> {
    /// `None`: it is not understood, or takes too long.
    fn run(&mut self, root: Node<'t>) -> Option<()> {
        self.push(root, &Beside::default());
        while let Some((node, beside)) = self.work.pop() {
            self.spend(1 + beside.len())?;
            self.node(node, &beside)?;
        }
        Some(())
    }

    fn spend(&mut self, steps: usize) -> Option<()> {
        self.steps += steps;
        (self.steps <= STEPS_MAX).then_some(())
    }

    fn push(&mut self, node: Node<'t>, beside: &Beside) {
        if !matches!(node, Node::None) {
            self.work.push((node, beside.clone()));
        }
    }

    fn push_all(&mut self, list: &'t NodeList, beside: &Beside) {
        list.iter().for_each(|node| self.push(node, beside));
    }

    /// Everything below, beside the same.
    fn below(&mut self, node: Node<'t>, beside: &Beside) -> Option<()> {
        let mut found = Vec::new();
        let known = children(node, &mut |child| found.push(child));
        found.into_iter().for_each(|child| self.push(child, beside));
        known.then_some(())
    }

    fn node(&mut self, node: Node<'t>, beside: &Beside) -> Option<()> {
        match node {
            Node::A_Const(constant) if beside.is_empty() || constant.val().is_none() => {}
            Node::A_Const(constant) => {
                self.literals.entry(constant.location).or_default().extend(beside.iter().cloned());
            }
            Node::ParamRef(parameter) if !beside.is_empty() => {
                let number = u16::try_from(parameter.number).ok()?;
                self.parameters.entry(number).or_default().extend(beside.iter().cloned());
            }
            // Lengths of types, and places in arrays.
            Node::TypeName(_) | Node::A_Indices(_) => {}
            Node::A_Expr(expression) => self.expression(expression, beside)?,
            Node::MinMaxExpr(_) | Node::CoalesceExpr(_) => {
                let beside = self.joined(beside, &[node])?;
                self.below(node, &beside)?;
            }
            Node::CaseExpr(case) => {
                let compared = match case.arg() {
                    Node::None => beside.clone(),
                    argument => self.joined(beside, &[argument])?,
                };
                self.below(node, &compared)?;
            }
            Node::SubLink(link) => {
                let beside = match link.testexpr() {
                    Node::None => beside.clone(),
                    tested => self.joined(beside, &[tested, link.subselect()])?,
                };
                self.push(link.testexpr(), &beside);
                self.push(link.subselect(), &beside);
            }
            // `email 'x'`, or a column's name without what should stand behind it.
            Node::TypeCast(cast) => {
                let names = cast.type_name().map(|name| name.names());
                let last = names.and_then(|names| untyped(names).iter().next_back()).and_then(Node::as_str);
                self.push(cast.arg(), &with(beside, last.filter(|name| !name.is_empty()).map(word)));
            }
            Node::FuncCall(call) => self.call(call, beside)?,
            Node::NamedArgExpr(argument) => {
                let beside = with(beside, argument.name().map(word));
                self.push(argument.arg(), &beside);
            }
            Node::ResTarget(target) => self.push(target.val(), beside),
            Node::SelectStmt(select) => self.select(select, beside)?,
            Node::InsertStmt(insert) => self.insert(insert)?,
            Node::MergeWhenClause(when) if when.command_type == CmdType::CMD_INSERT => self.merged(when),
            Node::UpdateStmt(_) | Node::OnConflictClause(_) | Node::MergeWhenClause(_) => {
                self.update(node)?
            }
            Node::Alias(alias) => {
                alias.colnames().iter().filter_map(Node::as_str).for_each(|name| self.renamed(name));
            }
            Node::CommonTableExpr(query) => {
                query.aliascolnames().iter().filter_map(Node::as_str).for_each(|name| self.renamed(name));
                self.below(node, &Beside::default())?;
            }
            Node::DefElem(option) => {
                let beside = with(beside, option.defname().map(word));
                match option.arg() {
                    Node::String(_) | Node::Integer(_) | Node::Float(_) => {
                        self.literals.entry(option.location).or_default().extend(beside.iter().cloned());
                    }
                    argument => self.push(argument, &beside),
                }
            }
            Node::VariableSetStmt(set) => {
                let beside = with(beside, set.name().map(word));
                self.push_all(set.args(), &beside);
            }
            Node::ExecuteStmt(execute) => {
                for (number, argument) in (1..).zip(execute.params().iter()) {
                    self.push(argument, &with(beside, Some(BesideName::Parameter(number))));
                }
            }
            Node::ColumnDef(column) => {
                let beside = with(beside, column.colname().map(word));
                self.below(node, &beside)?;
            }
            Node::AlterTableCmd(command) => {
                let beside = with(beside, command.name().map(column));
                self.below(node, &beside)?;
            }
            other => self.below(other, beside)?,
        }
        Some(())
    }

    fn expression(&mut self, expression: &'t A_Expr, beside: &Beside) -> Option<()> {
        let (left, right) = (expression.lexpr(), expression.rexpr());
        let beside = match operator(expression) {
            Some(name) if KEYS.contains(&name) => {
                // A key is a name.
                if !matches!(right, Node::A_Const(_)) {
                    self.push(right, beside);
                }
                self.push(left, beside);
                return Some(());
            }
            Some(name) if COMPUTES.contains(&name) => beside.clone(),
            _ => self.joined(beside, &[left, right])?,
        };
        self.push(left, &beside);
        self.push(right, &beside);
        Some(())
    }

    fn call(&mut self, call: &'t FuncCall, beside: &Beside) -> Option<()> {
        let mut names = call.funcname().iter().rev().filter_map(Node::as_str);
        let function = FunctionName {
            name: names.next().unwrap_or_default().to_owned(),
            schema: names.next().map(str::to_owned),
        };
        let arguments: Vec<Node<'t>> = call.args().iter().collect();
        let beside = match SHAPES.contains(&function.name.as_str()) {
            true => beside.clone(),
            false => self.joined(beside, &arguments)?,
        };
        for (place, argument) in arguments.into_iter().enumerate() {
            self.push(argument, &with(&beside, Some(BesideName::Argument(function.clone(), place))));
        }
        for around in [call.agg_filter(), call.over().map_or(Node::None, Into::into)] {
            self.push(around, &Beside::default());
        }
        self.push_all(untyped(call.agg_order()), &Beside::default());
        Some(())
    }

    /// What it gives stands where it stands; the rest of it does not.
    fn select(&mut self, select: &'t SelectStmt, beside: &Beside) -> Option<()> {
        for target in untyped(select.target_list()) {
            let Node::ResTarget(target) = target else { continue };
            if let Some(name) = target.name() {
                let names = self.names(&[target.val()])?;
                self.shown_as.entry(name).or_default().extend(names);
            }
        }
        let mut found = Vec::new();
        let known = children(Node::SelectStmt(select), &mut |child| found.push(child));
        for child in found {
            let gives = matches!(child, Node::ResTarget(_) | Node::SelectStmt(_) | Node::NodeList(_));
            self.push(child, if gives { beside } else { &NOTHING });
        }
        known.then_some(())
    }

    fn insert(&mut self, insert: &'t InsertStmt) -> Option<()> {
        let columns: Vec<BesideName> = named_targets(insert.cols());
        let relation = insert.relation().map(relation_name);
        let at = |place: usize| match (columns.is_empty(), &relation) {
            (true, Some(relation)) => Some(BesideName::Place(relation.clone(), place)),
            _ => columns.get(place).cloned(),
        };
        let mut sources = vec![insert.select_stmt()];
        while let Some(source) = sources.pop() {
            self.spend(1)?;
            let Node::SelectStmt(select) = source else { continue };
            sources.extend([select.larg(), select.rarg()].into_iter().flatten().map(Node::SelectStmt));
            for row in select.values_lists().iter() {
                let Node::NodeList(row) = row else { continue };
                for (place, value) in row.iter().enumerate() {
                    self.push(value, &with(&NOTHING, at(place)));
                }
            }
            let mut is_certain = true;
            for (place, target) in untyped(select.target_list()).iter().enumerate() {
                let Node::ResTarget(target) = target else { continue };
                is_certain &= !is_star(target.val());
                let name = if is_certain { at(place) } else { Some(BesideName::AnyColumn) };
                self.push(target.val(), &with(&NOTHING, name));
            }
            let mut found = Vec::new();
            let known = children(source, &mut |child| found.push(child));
            found.retain(|child| {
                !matches!(child, Node::ResTarget(_) | Node::SelectStmt(_) | Node::NodeList(_))
            });
            found.into_iter().for_each(|child| self.push(child, &NOTHING));
            known.then_some(())?;
        }
        let mut found = Vec::new();
        let known = children(Node::InsertStmt(insert), &mut |child| found.push(child));
        found.retain(|child| !matches!(child, Node::ResTarget(_) | Node::SelectStmt(_)));
        found.into_iter().for_each(|child| self.push(child, &NOTHING));
        known.then_some(())
    }

    fn merged(&mut self, when: &'t MergeWhenClause) {
        let columns = named_targets(when.target_list());
        for (place, value) in when.values().iter().enumerate() {
            let name =
                if columns.is_empty() { Some(BesideName::AnyColumn) } else { columns.get(place).cloned() };
            self.push(value, &with(&NOTHING, name));
        }
        self.push(when.condition(), &NOTHING);
    }

    fn update(&mut self, node: Node<'t>) -> Option<()> {
        let mut found = Vec::new();
        let known = children(node, &mut |child| found.push(child));
        for child in found {
            match child {
                Node::ResTarget(target) => {
                    let fields = target.indirection().iter().filter_map(Node::as_str).map(column);
                    let beside: BTreeSet<_> = target.name().map(column).into_iter().chain(fields).collect();
                    match target.val() {
                        Node::MultiAssignRef(several) => self.push(several.source(), &Arc::new(beside)),
                        value => self.push(value, &Arc::new(beside)),
                    }
                }
                other => self.push(other, &NOTHING),
            }
        }
        known.then_some(())
    }

    fn renamed(&mut self, name: &'t str) {
        self.shown_as.entry(name).or_default().insert(BesideName::AnyColumn);
    }

    /// `beside`, and every column that is named in `nodes`.
    fn joined(&mut self, beside: &Beside, nodes: &[Node<'t>]) -> Option<Beside> {
        let mut names = self.names(nodes)?;
        if names.is_empty() {
            return Some(beside.clone());
        }
        names.extend(beside.iter().cloned());
        Some(Arc::new(names))
    }

    /// Columns and keys, of sub-selects those that they give.
    fn names(&mut self, nodes: &[Node<'t>]) -> Option<BTreeSet<BesideName>> {
        let mut found = BTreeSet::new();
        let mut work = nodes.to_vec();
        while let Some(node) = work.pop() {
            self.spend(1)?;
            match node {
                Node::ColumnRef(reference) => {
                    let last = reference.fields().iter().next_back().and_then(Node::as_str);
                    found.insert(last.map_or(BesideName::AnyColumn, column));
                    continue;
                }
                Node::A_Indirection(path) => {
                    found.extend(path.indirection().iter().filter_map(Node::as_str).map(column));
                }
                Node::A_Expr(expression) if operator(expression).is_some_and(|name| KEYS.contains(&name)) => {
                    let key = super::setting::constant(expression.rexpr());
                    found.extend(key.iter().flat_map(|key| key.split(['{', '}', ','])).map(word));
                }
                Node::SelectStmt(select) => {
                    work.extend(untyped(select.target_list()).iter());
                    work.extend(select.values_lists().iter());
                    work.extend([select.larg(), select.rarg()].into_iter().flatten().map(Node::SelectStmt));
                    continue;
                }
                Node::None | Node::TypeName(_) => continue,
                _ => {}
            }
            children(node, &mut |child| work.push(child)).then_some(())?;
        }
        Some(found)
    }

    fn finish(mut self, text: &str) -> Option<Constants> {
        let mut found = Constants::default();
        for (location, names) in std::mem::take(&mut self.literals) {
            let names = self.meant(names)?;
            // Where it stands is not known: nor is what it stands beside.
            let place = literal_at(text, location)?;
            match found.literals.last_mut() {
                Some((last, beside)) if last.end > place.start => {
                    last.end = last.end.max(place.end);
                    Arc::make_mut(beside).extend(names);
                }
                _ => found.literals.push((place, Arc::new(names))),
            }
        }
        for (number, names) in std::mem::take(&mut self.parameters) {
            found.parameters.push((number, Arc::new(self.meant(names)?)));
        }
        Some(found)
    }

    /// With what names of results are made of.
    fn meant(&mut self, mut names: BTreeSet<BesideName>) -> Option<BTreeSet<BesideName>> {
        let mut work: Vec<BesideName> = names.iter().cloned().collect();
        while let Some(name) = work.pop() {
            self.spend(1)?;
            let BesideName::Column(column) = &name else { continue };
            let Some(made_of) = self.shown_as.get(&**column) else { continue };
            for more in made_of {
                if names.insert(more.clone()) {
                    work.push(more.clone());
                }
            }
        }
        Some(names)
    }
}

static NOTHING: std::sync::LazyLock<Beside> = std::sync::LazyLock::new(Beside::default);

fn with(beside: &Beside, name: Option<BesideName>) -> Beside {
    let Some(name) = name else { return beside.clone() };
    let mut names = (**beside).clone();
    names.insert(name);
    Arc::new(names)
}

fn column(name: &str) -> BesideName {
    BesideName::Column(name.into())
}

/// Of `app.password` the last part.
fn word(name: &str) -> BesideName {
    BesideName::Word(name.rsplit('.').next().unwrap_or(name).trim_matches([' ', '"']).into())
}

fn named_targets(list: &NodeList) -> Vec<BesideName> {
    let name = |node| match node {
        Node::ResTarget(target) => {
            pg_raw_parse::nodes::ResTarget::name(target).map_or(BesideName::AnyColumn, column)
        }
        _ => BesideName::AnyColumn,
    };
    list.iter().map(name).collect()
}

fn relation_name(range: &RangeVar) -> RelationName {
    RelationName {
        schema: range.schemaname().map(str::to_owned),
        name: range.relname().unwrap_or_default().to_owned(),
    }
}

fn is_star(node: Node<'_>) -> bool {
    match node {
        Node::ColumnRef(reference) => reference.fields().iter().next_back().and_then(Node::as_str).is_none(),
        Node::A_Indirection(path) => matches!(path.indirection().iter().next_back(), Some(Node::A_Star(_))),
        _ => false,
    }
}

/// Of a plain operator its name.
fn operator(expression: &A_Expr) -> Option<&str> {
    (expression.kind == E::AEXPR_OP).then(|| expression.name().iter().next_back().and_then(Node::as_str))?
}

/// What stands behind is a key of what stands in front.
const KEYS: [&str; 4] = ["->", "->>", "#>", "#>>"];
/// Operators that make a value of two, and compare none.
const COMPUTES: [&str; 8] = ["+", "-", "*", "/", "%", "^", "||", "#-"];
/// Functions whose other arguments say how, not what.
const SHAPES: [&str; 30] = [
    "date_trunc",
    "date_part",
    "date_bin",
    "extract",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_number",
    "substr",
    "substring",
    "left",
    "right",
    "lpad",
    "rpad",
    "round",
    "trunc",
    "string_agg",
    "array_agg",
    "concat",
    "concat_ws",
    "format",
    "encode",
    "decode",
    "digest",
    "timezone",
    "array_to_string",
    "json_build_object",
    "jsonb_build_object",
    "lag",
    "lead",
];
/// Of one text; some milliseconds.
const STEPS_MAX: usize = 200_000;

#[cfg(test)]
mod tests;

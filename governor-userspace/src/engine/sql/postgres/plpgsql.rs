//! PL/pgSQL: the SQL inside a body, cut out along the language's own keywords.
//!
//! Control structure is followed token by token; every expression and every command in it is given to the server's
//! grammar, expressions behind a SELECT as PL/pgSQL itself does it. Variables look like columns there, which adds no
//! facts. What does not fit makes the body opaque, as does EXECUTE.
//!
//! Source: <https://www.postgresql.org/docs/current/plpgsql-structure.html> and the pages behind it.

use super::Place;
use super::bodies::Code;
use super::lexer::{Lexer, Token};
use std::collections::HashSet;

/// What a body does.
pub(super) fn code(text: &str) -> Code {
    if text.len() > BODY_BYTES_MAX {
        return Code::opaque("its body is too long");
    }
    let mut reader =
        Reader { text, tokens: tokens(text), at: 0, cursors: HashSet::new(), code: Code::default() };
    if reader.block().is_none() {
        reader.code.opaque.get_or_insert_with(|| "its body is not understood".into());
    }
    reader.code
}

struct Piece<'a> {
    token: Token<'a>,
    start: usize,
    end: usize,
}

fn tokens(text: &str) -> Vec<Piece<'_>> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    while let Some(token) = lexer.next() {
        let end = lexer.position();
        let start = match token {
            Token::Word(bytes) | Token::Symbol(bytes) => end.saturating_sub(bytes.len()),
            // Literals and quoted names: where they begin matters to nobody but the first of an expression.
            Token::Quoted(_) | Token::Literal => found.last().map_or(0, |before: &Piece<'_>| before.end),
        };
        found.push(Piece { token, start, end });
    }
    found
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<Piece<'a>>,
    at: usize,
    cursors: HashSet<Vec<u8>>,
    code: Code,
}

impl<'a> Reader<'a> {
    /// The whole body. `None`: it does not fit.
    fn block(&mut self) -> Option<()> {
        while self.symbol(self.at, b"#") {
            // #variable_conflict use_column
            self.at += 3;
        }
        let mut is_over = false;
        while self.at < self.tokens.len() {
            is_over = self.word(self.at, b"end") || (is_over && self.symbol(self.at, b";"));
            self.statement()?;
        }
        is_over.then_some(())
    }

    fn statement(&mut self) -> Option<()> {
        if self.symbol(self.at, b";") {
            self.at += 1;
            return Some(());
        }
        if self.symbol(self.at, b"<<") {
            self.at = self.find(self.at, |r, at| r.symbol(at, b">>"))? + 1;
            return Some(());
        }
        if self.is_assignment() {
            let end = self.semicolon()?;
            let sign = self.find(self.at, |r, at| r.assigns(at))?;
            if sign > end {
                return None;
            }
            self.expression(self.at, sign)?;
            self.after_sign(sign, end)?;
            self.at = end;
            return Some(());
        }
        let Token::Word(word) = self.tokens.get(self.at)?.token else { return None };
        let word = word.to_ascii_lowercase();
        let first = self.at + 1;
        match word.as_slice() {
            b"begin" | b"else" | b"loop" | b"exception" => self.at += 1,
            b"declare" => {
                self.at += 1;
                self.declarations()?;
            }
            b"end" => self.at = self.semicolon().unwrap_or(self.tokens.len()),
            b"null" | b"commit" | b"rollback" | b"close" => self.at = self.semicolon()?,
            b"get" | b"fetch" | b"move" => {
                let end = self.semicolon()?;
                if (self.at..end).any(|at| self.symbol(at, b"(")) {
                    return None;
                }
                self.at = end;
            }
            b"if" | b"elsif" | b"elseif" | b"when" => self.until(first, b"then")?,
            b"while" => self.until(first, b"loop")?,
            b"case" => {
                let end = self.keyword(first, b"when")?;
                if end > first {
                    self.expression(first, end)?;
                }
                self.at = end;
            }
            b"for" | b"foreach" => self.for_loop(first)?,
            b"exit" | b"continue" => {
                let end = self.semicolon()?;
                if let Some(when) = self.keyword(first, b"when").filter(|when| *when < end) {
                    self.expression(when + 1, end)?;
                }
                self.at = end;
            }
            b"return" => self.return_(first)?,
            b"raise" => self.raise(first)?,
            b"assert" => {
                let end = self.semicolon()?;
                self.expression(first, end)?;
                self.at = end;
            }
            b"perform" => {
                let end = self.semicolon()?;
                self.expression(first, end)?;
                self.at = end;
            }
            b"execute" => {
                self.dynamic();
                self.at = self.semicolon()?;
            }
            b"open" => {
                let end = self.semicolon()?;
                match self.keyword(first, b"for").filter(|at| *at < end) {
                    Some(at) => self.query_or_execute(at + 1, end)?,
                    None => self.arguments(first + 1, end)?,
                }
                self.at = end;
            }
            _ => {
                let end = self.semicolon()?;
                self.command(self.at, end)?;
                self.at = end;
            }
        }
        Some(())
    }

    fn declarations(&mut self) -> Option<()> {
        while !self.word(self.at, b"begin") {
            if self.word(self.at, b"declare") {
                self.at += 1;
                continue;
            }
            let end = self.semicolon()?;
            let cursor = self.keyword(self.at + 1, b"cursor").filter(|at| *at < end && *at <= self.at + 3);
            if let Some(cursor) = cursor {
                if let Some(Token::Word(name)) = self.tokens.get(self.at).map(|piece| piece.token) {
                    self.cursors.insert(name.to_ascii_lowercase());
                }
                let query = self.find(cursor, |r, at| r.word(at, b"for") || r.word(at, b"is"))?;
                self.query_or_execute(query + 1, end)?;
            } else {
                let sign = self.find(self.at, |r, at| r.assigns(at) || r.word(at, b"default"));
                if let Some(sign) = sign.filter(|sign| *sign < end) {
                    self.after_sign(sign, end)?;
                }
            }
            self.at = end + 1;
        }
        Some(())
    }

    /// An expression up to a keyword, which is passed.
    fn until(&mut self, from: usize, keyword: &[u8]) -> Option<()> {
        let end = self.keyword(from, keyword)?;
        self.expression(from, end)?;
        self.at = end + 1;
        Some(())
    }

    fn for_loop(&mut self, from: usize) -> Option<()> {
        let mut first = self.find(from, |r, at| r.word(at, b"in"))? + 1;
        let end = self.keyword(first, b"loop")?;
        self.at = end + 1;
        if self.word(first, b"array") || self.word(first, b"reverse") {
            first += 1;
        }
        if let Some(Token::Word(name)) = self.tokens.get(first).map(|piece| piece.token)
            && self.cursors.contains(&name.to_ascii_lowercase())
        {
            return self.arguments(first + 1, end);
        }
        match self.find(first, |r, at| r.symbol(at, b"..")).filter(|dots| *dots < end) {
            Some(dots) => {
                self.expression(first, dots)?;
                match self.keyword(dots, b"by").filter(|by| *by < end) {
                    Some(by) => {
                        self.expression(dots + 1, by)?;
                        self.expression(by + 1, end)
                    }
                    None => self.expression(dots + 1, end),
                }
            }
            None if self.begins_query(first) => self.query_or_execute(first, end),
            None => self.expression(first, end),
        }
    }

    fn return_(&mut self, first: usize) -> Option<()> {
        let end = self.semicolon()?;
        self.at = end;
        if first == end {
            return Some(());
        }
        if self.word(first, b"query") {
            return self.query_or_execute(first + 1, end);
        }
        let first = first + usize::from(self.word(first, b"next"));
        if first == end { Some(()) } else { self.expression(first, end) }
    }

    fn raise(&mut self, first: usize) -> Option<()> {
        const LEVELS: [&[u8]; 6] = [b"debug", b"log", b"info", b"notice", b"warning", b"exception"];
        let end = self.semicolon()?;
        self.at = end;
        let using = self.keyword(first, b"using").filter(|at| *at < end);
        let level = usize::from(LEVELS.iter().any(|level| self.word(first, level)));
        let message = (first + level, using.unwrap_or(end));
        if message.0 < message.1 && !self.word(message.0, b"sqlstate") {
            self.expression(message.0, message.1)?;
        }
        let mut option = using.map(|using| using + 1);
        while let Some(at) = option {
            let sign = self.find(at, |r, at| r.assigns(at)).filter(|sign| *sign < end)?;
            let comma = self.find(sign, |r, at| r.symbol(at, b",")).filter(|comma| *comma < end);
            self.after_sign(sign, comma.unwrap_or(end))?;
            option = comma.map(|comma| comma + 1);
        }
        Some(())
    }

    /// `(a, b)` of a cursor, or nothing.
    fn arguments(&mut self, from: usize, end: usize) -> Option<()> {
        if from >= end {
            return Some(());
        }
        // Named ones (`a := 1`) are read as such by the grammar in a call.
        let inside = self.slice(from, end)?;
        self.add(&format!("SELECT coalesce{inside}"))
    }

    fn query_or_execute(&mut self, from: usize, end: usize) -> Option<()> {
        if self.word(from, b"execute") {
            self.dynamic();
            return Some(());
        }
        let text = self.slice(from, end)?;
        self.add(text)
    }

    fn dynamic(&mut self) {
        self.code.opaque.get_or_insert_with(|| "its body runs SQL from a string (EXECUTE)".into());
    }

    /// An SQL command, without the INTO that gives its result to variables.
    fn command(&mut self, from: usize, end: usize) -> Option<()> {
        let takes_result = !["create", "alter", "drop", "import", "grant", "revoke", "comment", "copy"]
            .iter()
            .any(|word| self.word(from, word.as_bytes()));
        let into = (from + 1..end).filter(|_| takes_result).find(|at| {
            self.word(*at, b"into")
                && !self.word(at - 1, b"insert")
                && !self.word(at - 1, b"merge")
                && self.depth(from, *at) == 0
        });
        let Some(into) = into else {
            let text = self.slice(from, end)?;
            return self.add(text);
        };
        let mut behind = into + 1 + usize::from(self.word(into + 1, b"strict"));
        loop {
            behind += 1;
            while self.symbol(behind, b".") {
                behind += 2;
            }
            if self.symbol(behind, b"[") {
                return None;
            }
            if !self.symbol(behind, b",") {
                break;
            }
            behind += 1;
        }
        let before = self.slice(from, into)?;
        let after = if behind < end { self.slice(behind, end)? } else { "" };
        self.add(&format!("{before} {after}"))
    }

    fn begins_query(&self, at: usize) -> bool {
        const QUERIES: [&[u8]; 9] =
            [b"select", b"with", b"values", b"table", b"insert", b"update", b"delete", b"merge", b"execute"];
        self.symbol(at, b"(") || QUERIES.iter().any(|word| self.word(at, word))
    }

    /// What stands behind `:=`, `=` or DEFAULT. The sign may have an operator's sign stuck to it (`=-1`).
    fn after_sign(&mut self, sign: usize, end: usize) -> Option<()> {
        let piece = self.tokens.get(sign)?;
        let skip = match piece.token {
            Token::Symbol(symbol) if symbol.first() == Some(&b'=') => piece.start + 1,
            _ => piece.end,
        };
        let until = self.tokens.get(end.checked_sub(1)?)?.end;
        let text = self.text.get(skip..until).filter(|text| !text.trim_ascii().is_empty())?;
        self.add(&format!("SELECT {text}"))
    }

    fn expression(&mut self, from: usize, end: usize) -> Option<()> {
        if from >= end {
            return None;
        }
        let text = self.slice(from, end)?;
        self.add(&format!("SELECT {text}"))
    }

    fn add(&mut self, text: &str) -> Option<()> {
        if self.code.statements.len() >= STATEMENTS_MAX {
            return None;
        }
        self.code.add(text, Place::Session);
        Some(())
    }

    fn slice(&self, from: usize, end: usize) -> Option<&'a str> {
        let start = self.tokens.get(from)?.start;
        let until = self.tokens.get(end.checked_sub(1)?)?.end;
        self.text.get(start..until)
    }

    /// `name := …`, `name = …`, `name.field …`, `name[…] …`.
    fn is_assignment(&self) -> bool {
        let names = matches!(
            self.tokens.get(self.at).map(|piece| piece.token),
            Some(Token::Word(_) | Token::Quoted(_) | Token::Literal)
        );
        let next = self.at + 1;
        names && (self.assigns(next) || self.symbol(next, b".") || self.symbol(next, b"["))
    }

    fn assigns(&self, at: usize) -> bool {
        match self.tokens.get(at).map(|piece| piece.token) {
            Some(Token::Symbol(symbol)) => {
                symbol == b":=" || (symbol.first() == Some(&b'=') && !symbol.starts_with(b"=>"))
            }
            _ => false,
        }
    }

    /// The first place at no depth of brackets from here that `is` it.
    fn find(&self, from: usize, is: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let mut depth = 0_i32;
        for at in from..self.tokens.len() {
            if depth == 0 && is(self, at) {
                return Some(at);
            }
            depth += self.bracket(at);
        }
        None
    }

    /// The same for a keyword that a CASE expression may have too.
    fn keyword(&self, from: usize, keyword: &[u8]) -> Option<usize> {
        let (mut depth, mut cases) = (0_i32, 0_i32);
        for at in from..self.tokens.len() {
            if depth == 0 && cases == 0 && self.word(at, keyword) {
                return Some(at);
            }
            if self.symbol(at, b";") {
                return None;
            }
            depth += self.bracket(at);
            cases += i32::from(self.word(at, b"case")) - i32::from(self.word(at, b"end"));
        }
        None
    }

    fn semicolon(&self) -> Option<usize> {
        self.find(self.at, |r, at| r.symbol(at, b";"))
    }

    fn depth(&self, from: usize, to: usize) -> i32 {
        (from..to).map(|at| self.bracket(at)).sum()
    }

    fn bracket(&self, at: usize) -> i32 {
        match self.tokens.get(at).map(|piece| piece.token) {
            Some(Token::Symbol(b"(" | b"[")) => 1,
            Some(Token::Symbol(b")" | b"]")) => -1,
            _ => 0,
        }
    }

    fn word(&self, at: usize, word: &[u8]) -> bool {
        matches!(self.tokens.get(at).map(|piece| piece.token), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn symbol(&self, at: usize, symbol: &[u8]) -> bool {
        matches!(self.tokens.get(at).map(|piece| piece.token), Some(Token::Symbol(found)) if found == symbol)
    }
}

const BODY_BYTES_MAX: usize = 256 << 10;
const STATEMENTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::StatementKind as K;

    /// Kinds but Select, functions, relations written, and whether something stays hidden.
    fn facts(body: &str) -> (Vec<K>, String, String, Option<String>) {
        let code = code(body);
        let mut kinds: Vec<K> =
            code.statements.iter().flat_map(|s| s.kinds.clone()).filter(|k| *k != K::Select).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let list = |mut names: Vec<String>| {
            names.sort_unstable();
            names.dedup();
            names.join(" ")
        };
        let functions =
            list(code.statements.iter().flat_map(|s| s.functions.iter().map(ToString::to_string)).collect());
        let writes =
            list(code.statements.iter().flat_map(|s| s.writes.iter().map(ToString::to_string)).collect());
        (kinds, functions, writes, code.opaque)
    }

    #[test]
    fn commands_and_expressions_are_found_wherever_they_stand() {
        let body = r#"
            #variable_conflict use_column
            <<outer>>
            DECLARE
                a int := f1(1);
                b CONSTANT numeric(10,2) NOT NULL DEFAULT f2();
                c CURSOR (k int) FOR SELECT f3(k) FROM t1;
                d people%ROWTYPE;
                e int =-f4();
            BEGIN
                IF CASE WHEN a > 1 THEN f5() ELSE false END THEN
                    SELECT x, y INTO STRICT a, NEW.b FROM t2 WHERE z = f6();
                ELSIF f7() THEN
                    INSERT INTO t3 (a) VALUES (1) RETURNING id INTO a;
                ELSE NULL;
                END IF;
                CASE a WHEN f8() THEN a := f9(); ELSE arr[f10()] := 2; END CASE;
                FOR i IN REVERSE f11() .. 10 BY f12() LOOP EXIT WHEN f13(); CONTINUE outer; END LOOP;
                FOR r IN SELECT * FROM t4 LOOP UPDATE t5 SET a = r.a WHERE id = r.id; END LOOP;
                FOR r IN c(f14()) LOOP NULL; END LOOP;
                FOREACH x IN ARRAY f15() LOOP PERFORM f16(x) FROM t6; END LOOP;
                WHILE f17() LOOP RAISE NOTICE 'at %', f18() USING HINT = f19(), DETAIL = 'x'; END LOOP;
                OPEN c(f20()); FETCH c INTO a; CLOSE c;
                RETURN QUERY SELECT f21(); RETURN NEXT f22();
                NEW.updated := now();
                GET DIAGNOSTICS n = ROW_COUNT;
                RETURN NEW;
            EXCEPTION WHEN unique_violation OR SQLSTATE '22012' THEN
                DELETE FROM t7;
                RAISE EXCEPTION USING MESSAGE = f23();
                RAISE;
                ASSERT f24(), 'no';
            END outer;
        "#;
        let (kinds, functions, writes, opaque) = facts(body);
        assert_eq!(opaque, None);
        assert_eq!(kinds, [K::Insert, K::Update, K::Delete]);
        for number in 1..=24 {
            assert!(functions.split(' ').any(|f| f == format!("f{number}")), "f{number} in {functions}");
        }
        assert_eq!(writes, "t3 t5 t7");
    }

    #[test]
    fn what_runs_a_string_or_does_not_fit_is_opaque() {
        for body in [
            "BEGIN EXECUTE 'DELETE FROM t'; END",
            "BEGIN FOR r IN EXECUTE q LOOP NULL; END LOOP; END",
            "BEGIN RETURN QUERY EXECUTE q; END",
            "BEGIN OPEN c FOR EXECUTE q; END",
            "DECLARE c CURSOR FOR EXECUTE q; BEGIN END",
            "BEGIN DO 'x'; END",
            "BEGIN PERFORM query_to_xml(q, true, true, ''); END",
            "BEGIN PERFORM dblink_exec('x', 'y'); END",
            "BEGIN what is this; END",
            "BEGIN IF a THEN",
            "BEGIN a := ; END",
            "BEGIN PERFORM f(",
        ] {
            assert!(facts(body).3.is_some(), "{body}");
        }
    }

    #[test]
    fn commands_of_the_session_and_definitions_are_what_they_are() {
        for (body, kind) in [
            ("BEGIN CREATE TEMP TABLE x AS SELECT 1; END", K::Ddl),
            ("BEGIN DROP TABLE x; END;", K::Drop),
            ("BEGIN TRUNCATE a, b; END", K::Truncate),
            ("BEGIN CALL p(1); END", K::Call),
            ("BEGIN PERFORM set_config('role', 'x', true); END", K::Session),
            ("BEGIN GRANT ALL ON t TO public; END", K::Dcl),
            ("BEGIN WITH d AS (DELETE FROM t RETURNING 1) SELECT count(*) INTO n FROM d; END", K::Delete),
        ] {
            let (kinds, _, _, opaque) = facts(body);
            assert!(kinds.contains(&kind) && opaque.is_none(), "{body}: {kinds:?} {opaque:?}");
        }
    }
}

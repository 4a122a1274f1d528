//! Random schemas with secrets in some columns, and random queries over them.
//!
//! Everything has a type, so that the server accepts most of what is made. The same dice make the same text.

/// A linear congruential generator (Knuth's MMIX constants).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed);
        (0..4).for_each(|_| {
            dice.below(2);
        });
        dice
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    Number,
    Bool,
    Json,
    Array,
}
use Type::{Array, Bool, Json, Number, Text};

impl Type {
    fn sql(self) -> &'static str {
        match self {
            Text => "text",
            Number => "bigint",
            Bool => "boolean",
            Json => "jsonb",
            Array => "text[]",
        }
    }
}

/// A table or view: its name and its columns.
#[derive(Clone, Debug)]
pub struct Relation {
    pub name: String,
    pub columns: Vec<(String, Type)>,
}

/// A schema, the SQL that makes it, and the secrets in it.
pub struct Schema {
    pub script: String,
    pub relations: Vec<Relation>,
    pub secrets: Vec<String>,
    pub numbers: Vec<i64>,
}

/// Columns with secrets are called `hush_…`, which the test labels as sensitive.
pub fn schema(dice: &mut Dice) -> Schema {
    let mut made =
        Schema { script: String::new(), relations: Vec::new(), secrets: Vec::new(), numbers: Vec::new() };
    let types = [Text, Text, Number, Json, Array];
    for table in 0..4 {
        let mut columns = vec![("id".to_owned(), Number)];
        for (prefix, count) in [("c", 2 + dice.below(3)), ("hush_", 2 + dice.below(3))] {
            for at in 0..count {
                columns.push((format!("{prefix}{at}"), *dice.pick(&types)));
            }
        }
        let name = format!("t{table}");
        let list: Vec<String> = columns.iter().map(|(name, of)| format!("{name} {}", of.sql())).collect();
        let list = list.join(", ");
        let script = &mut made.script;
        match table {
            2 => {
                *script += &format!(
                    "CREATE TABLE t2 ({list}) PARTITION BY RANGE (id);\n\
                 CREATE TABLE t2a PARTITION OF t2 FOR VALUES FROM (0) TO (3);\n\
                 CREATE TABLE t2b PARTITION OF t2 DEFAULT;\n"
                )
            }
            3 => *script += &format!("CREATE TABLE t3 ({list});\nCREATE TABLE t3child () INHERITS (t3);\n"),
            _ => *script += &format!("CREATE TABLE {name} ({list});\n"),
        }
        for row in 1..=5 {
            let values: Vec<String> = columns
                .iter()
                .map(|(name, of)| match (name.as_str(), name.starts_with("hush")) {
                    ("id", _) => row.to_string(),
                    (_, true) => secret(dice, *of, &mut made.secrets, &mut made.numbers),
                    (_, false) => plain(dice, *of),
                })
                .collect();
            let into = if table == 3 && row > 3 { "t3child" } else { &name };
            made.script += &format!("INSERT INTO {into} VALUES ({});\n", values.join(", "));
        }
        if table == 2 {
            made.relations.push(Relation { name: "t2b".into(), columns: columns.clone() });
        }
        if table == 3 {
            made.relations.push(Relation { name: "t3child".into(), columns: columns.clone() });
        }
        made.relations.push(Relation { name, columns });
    }
    made
}

/// A view over what there is, made by the generator itself.
pub fn view(dice: &mut Dice, schema: &Schema, at: usize) -> (String, Relation) {
    let types: Vec<Type> = (0..2 + dice.below(3)).map(|_| *dice.pick(&[Text, Number, Json, Array])).collect();
    let columns: Vec<(String, Type)> =
        types.iter().enumerate().map(|(n, of)| (format!("v{n}"), *of)).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let query = Generator::new(dice, &schema.relations).query(2, &types);
    let kind = if at % 3 == 2 { "MATERIALIZED VIEW" } else { "VIEW" };
    let name = format!("w{at}");
    (format!("CREATE {kind} {name} ({}) AS {query};\n", names.join(", ")), Relation { name, columns })
}

fn secret(dice: &mut Dice, of: Type, secrets: &mut Vec<String>, numbers: &mut Vec<i64>) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut word = || {
        let word: String = (0..16).map(|_| char::from(*dice.pick(LETTERS))).collect();
        secrets.push(word.clone());
        word
    };
    match of {
        Text => format!("'{}'", word()),
        Json => format!("'{{\"k\": \"{}\", \"n\": [1]}}'", word()),
        Array => format!("'{{{},{}}}'", word(), word()),
        Number | Bool => {
            let number = 1_000_000_000_000 + (0..6).fold(0, |n, _| n * 100 + dice.below(100) as i64);
            numbers.push(number);
            number.to_string()
        }
    }
}

fn plain(dice: &mut Dice, of: Type) -> String {
    let word = *dice.pick(&["red", "green", "blue", "grey", "pink"]);
    match of {
        Text => format!("'{word}'"),
        Json => format!("'{{\"k\": \"{word}\"}}'"),
        Array => format!("'{{{word},x}}'"),
        Number | Bool => dice.below(90).to_string(),
    }
}

/// A column in scope: how it is written, and its type.
type Column = (String, Type);

/// Makes queries over some relations.
pub struct Generator<'d> {
    dice: &'d mut Dice,
    relations: Vec<Relation>,
    names: usize,
    /// Columns of queries around.
    outer: Vec<Column>,
}

/// What FROM brings.
#[derive(Default)]
struct Scope {
    from: String,
    columns: Vec<Column>,
    rows: Vec<String>,
}

impl<'d> Generator<'d> {
    pub fn new(dice: &'d mut Dice, relations: &[Relation]) -> Self {
        Self { dice, relations: relations.to_vec(), names: 0, outer: Vec::new() }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A query with columns of these types.
    pub fn query(&mut self, depth: usize, types: &[Type]) -> String {
        match self.dice.below(if depth == 0 { 6 } else { 14 }) {
            0..=5 => self.select(depth, types),
            6 | 7 => {
                let operation = *self.dice.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "UNION ALL"]);
                let (a, b) = (self.query(depth - 1, types), self.query(depth - 1, types));
                format!("({a}) {operation} ({b})")
            }
            8 => {
                let outer = self.outer.clone();
                let row = |this: &mut Self| {
                    let values: Vec<String> =
                        types.iter().map(|of| this.typed(depth - 1, *of, &outer, &[], false)).collect();
                    format!("({})", values.join(", "))
                };
                let rows = [row(self), row(self)];
                format!("VALUES {}", rows.join(", "))
            }
            9 | 10 => {
                let name = self.name("c");
                let inner: Vec<Type> = (0..1 + self.dice.below(3))
                    .map(|_| *self.dice.pick(&[Text, Number, Json, Array]))
                    .collect();
                let columns: Vec<Column> =
                    inner.iter().enumerate().map(|(n, of)| (format!("k{n}"), *of)).collect();
                let list: Vec<&str> = columns.iter().map(|(n, _)| n.as_str()).collect();
                let list = list.join(", ");
                let as_is = if self.dice.chance(30) { "MATERIALIZED " } else { "" };
                let body = self.query(depth - 1, &inner);
                self.relations.push(Relation { name: name.clone(), columns });
                let main = self.query(depth - 1, types);
                self.relations.pop();
                format!("WITH {name} ({list}) AS {as_is}({body}) {main}")
            }
            11 => {
                let name = self.name("r");
                let start = self.query(depth - 1, &[Text, Text]);
                let relation = Relation {
                    name: name.clone(),
                    columns: [("a", Text), ("b", Text), ("n", Number)].map(|(n, t)| (n.into(), t)).into(),
                };
                self.relations.push(relation);
                let main = self.query(depth - 1, types);
                self.relations.pop();
                format!(
                    "WITH RECURSIVE {name} (a, b, n) AS (SELECT s.*, 1::bigint FROM ({start}) s UNION ALL \
                     SELECT b || '.', a, n + 1 FROM {name} WHERE n < 3) {main}"
                )
            }
            _ => {
                let inner = self.query(depth - 1, types);
                let name = self.name("q");
                format!("SELECT * FROM ({inner}) {name}")
            }
        }
    }

    fn select(&mut self, depth: usize, types: &[Type]) -> String {
        let scope = self.scope(depth);
        let aggregate = self.dice.chance(25);
        let targets: Vec<String> = types
            .iter()
            .map(|of| {
                let value = if aggregate {
                    self.aggregate(depth, *of, &scope.columns, &scope.rows)
                } else {
                    self.typed(depth, *of, &scope.columns, &scope.rows, true)
                };
                if self.dice.chance(30) { format!("{value} AS {}", self.name("x")) } else { value }
            })
            .collect();
        let distinct = if !aggregate && self.dice.chance(10) { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {}", targets.join(", "), scope.from);
        if self.dice.chance(30) {
            let condition = self.typed(depth.saturating_sub(1), Bool, &scope.columns, &[], false);
            sql += &format!(" WHERE {condition} IS NOT FALSE");
        }
        if !aggregate && self.dice.chance(15) {
            sql += &format!(" LIMIT {}", 3 + self.dice.below(5));
        }
        sql
    }

    fn scope(&mut self, depth: usize) -> Scope {
        let mut scope = self.item(depth);
        if depth > 0 && self.dice.chance(35) {
            let other = self.item(depth - 1);
            let join = *self.dice.pick(&["JOIN", "LEFT JOIN", "FULL JOIN", "CROSS JOIN", "RIGHT JOIN"]);
            let on = if join == "CROSS JOIN" { "" } else { " ON true" };
            let on = if join == "FULL JOIN" { " ON 1 = 1" } else { on };
            scope.from = format!("{} {join} {}{on}", scope.from, other.from);
            scope.columns.extend(other.columns);
            scope.rows.extend(other.rows);
        }
        if depth > 0 && self.dice.chance(20) {
            let name = self.name("l");
            let source = self.typed(0, Array, &scope.columns, &[], false);
            match self.dice.below(3) {
                0 => {
                    scope.from += &format!(", unnest({source}) AS {name}(u)");
                    scope.columns.push((format!("{name}.u"), Text));
                }
                1 => {
                    let value = self.typed(1, Text, &scope.columns, &scope.rows, false);
                    scope.from += &format!(", LATERAL (SELECT {value} AS z) {name}");
                    scope.columns.push((format!("{name}.z"), Text));
                }
                _ => {
                    let value = self.typed(0, Json, &scope.columns, &[], false);
                    scope.from += &format!(", jsonb_each_text({value}) {name}");
                    scope.columns.push((format!("{name}.value"), Text));
                    scope.columns.push((format!("{name}.key"), Text));
                }
            }
        }
        scope
    }

    fn item(&mut self, depth: usize) -> Scope {
        if depth > 0 && self.dice.chance(30) {
            let types: Vec<Type> =
                (0..1 + self.dice.below(3)).map(|_| *self.dice.pick(&[Text, Number, Json, Array])).collect();
            let name = self.name("s");
            let query = self.query(depth - 1, &types);
            let list: Vec<String> = (0..types.len()).map(|n| format!("d{n}")).collect();
            let columns = types.iter().enumerate().map(|(n, of)| (format!("{name}.d{n}"), *of)).collect();
            return Scope {
                from: format!("({query}) AS {name}({})", list.join(", ")),
                columns,
                rows: vec![name],
            };
        }
        let relation = self.dice.pick(&self.relations).clone();
        let name = self.name("p");
        let columns = relation.columns.iter().map(|(column, of)| (format!("{name}.{column}"), *of)).collect();
        let only = if relation.name.starts_with('t') && self.dice.chance(8) { "ONLY " } else { "" };
        Scope { from: format!("{only}{} AS {name}", relation.name), columns, rows: vec![name] }
    }

    fn column(&mut self, of: Type, columns: &[Column]) -> Option<String> {
        let fitting: Vec<&Column> = columns.iter().chain(&self.outer).filter(|(_, t)| *t == of).collect();
        if fitting.is_empty() { None } else { Some(fitting[self.dice.below(fitting.len())].0.clone()) }
    }

    /// An expression of a type. `windows`: window functions may stand here.
    fn typed(
        &mut self,
        depth: usize,
        of: Type,
        columns: &[Column],
        rows: &[String],
        windows: bool,
    ) -> String {
        if depth == 0 || self.dice.chance(25) {
            return self.column(of, columns).unwrap_or_else(|| self.literal(of));
        }
        let depth = depth - 1;
        let t = |this: &mut Self| this.typed(depth, Text, columns, rows, windows);
        let n = |this: &mut Self| this.typed(depth, Number, columns, rows, windows);
        let j = |this: &mut Self| this.typed(depth, Json, columns, rows, windows);
        let a = |this: &mut Self| this.typed(depth, Array, columns, rows, windows);
        let b = |this: &mut Self| this.typed(depth, Bool, columns, rows, windows);
        match of {
            Text => match self.dice.below(36) {
                0 => format!("upper({})", t(self)),
                1 => format!("lower({})", t(self)),
                2 => format!("reverse({})", t(self)),
                3 => format!("substr({}, 1, 9)", t(self)),
                4 => format!("({} || {})", t(self), t(self)),
                5 => format!("coalesce({}, {})", t(self), t(self)),
                6 => format!("CASE WHEN {} THEN {} ELSE {} END", b(self), t(self), t(self)),
                7 => format!("nullif({}, 'red')", t(self)),
                8 => format!("({})::text", n(self)),
                9 => format!("({} ->> 'k')", j(self)),
                10 => format!("array_to_string({}, ',')", a(self)),
                11 => format!("({})[1]", a(self)),
                12 => format!("encode(convert_to({}, 'UTF8'), 'hex')", t(self)),
                13 => format!("encode(convert_to({}, 'UTF8'), 'base64')", t(self)),
                14 => format!("format('<%s>', {})", t(self)),
                15 => format!("concat({}, {})", t(self), n(self)),
                16 => format!("replace({}, 'a', 'A')", t(self)),
                17 => format!("left({}, 12)", t(self)),
                18 => format!("overlay({} placing '-' from 2)", t(self)),
                19 => format!("greatest({}, {})", t(self), t(self)),
                20 => format!("({})::varchar(40)::text", t(self)),
                21 => format!("({} COLLATE \"C\")", t(self)),
                22 => format!("quote_literal({})", t(self)),
                23 => format!("same_text({})", t(self)),
                24 => format!("pick_text({})", n(self)),
                25 | 26 if !rows.is_empty() => {
                    let row = self.dice.pick(rows).clone();
                    let shape = *self.dice.pick(&[
                        "({})::text",
                        "row_to_json({})::text",
                        "to_jsonb({})::text",
                        "ROW({}.*)::text",
                    ]);
                    shape.replace("{}", &row)
                }
                27 | 28 => self.scalar(depth, Text, columns),
                29 if windows => format!("max({}) OVER ()", t(self)),
                30 if windows => format!("lag({}, 1, 'none') OVER (ORDER BY 1)", t(self)),
                31 => format!("xmlelement(name e, {})::text", t(self)),
                32 => format!("({})::text", j(self)),
                33 => format!("split_part({}, '.', 1)", t(self)),
                34 => format!("regexp_replace({}, '^.', '')", t(self)),
                _ => self.column(Text, columns).unwrap_or_else(|| self.literal(Text)),
            },
            Number => match self.dice.below(14) {
                0 => format!("length({})::bigint", t(self)),
                1 => format!("({} + {})", n(self), n(self)),
                2 => format!("coalesce({}, {})", n(self), n(self)),
                3 => format!("abs({})", n(self)),
                4 => format!("CASE WHEN {} THEN {} ELSE {} END", b(self), n(self), n(self)),
                5 => format!("position('a' in {})::bigint", t(self)),
                6 => format!("cardinality({})::bigint", a(self)),
                7 => self.scalar(depth, Number, columns),
                8 if windows => {
                    format!("sum({}) OVER ()::bigint", n(self))
                        .replace(" OVER ()::bigint", " OVER () ")
                        .trim_end()
                        .to_owned()
                        + "::bigint"
                }
                9 if windows => "row_number() OVER ()".to_owned(),
                10 => format!("least({}, {})", n(self), n(self)),
                11 => format!("(SELECT count(*) FROM {})", self.dice.pick(&self.relations).name),
                _ => self.column(Number, columns).unwrap_or_else(|| self.literal(Number)),
            },
            Bool => match self.dice.below(9) {
                0 => format!("({} = {})", t(self), t(self)),
                1 => format!("({} LIKE 'a%')", t(self)),
                2 => format!("({} < {})", n(self), n(self)),
                3 => format!("({} IS NULL)", t(self)),
                4 => format!("(NOT {})", b(self)),
                5 => format!("({} AND {})", b(self), b(self)),
                6 => {
                    let sub = self.inside(depth, &[Text], columns);
                    format!("({} IN ({sub}))", t(self))
                }
                7 => format!("EXISTS ({})", self.inside(depth, &[Text], columns)),
                _ => format!("({} BETWEEN 1 AND 50)", n(self)),
            },
            Json => match self.dice.below(8) {
                0 => format!("to_jsonb({})", t(self)),
                1 => format!("jsonb_build_object('k', {}, 'n', {})", t(self), n(self)),
                2 if !rows.is_empty() => format!("to_jsonb({})", self.dice.pick(rows)),
                3 => format!("({} || {})", j(self), j(self)),
                4 => format!("to_jsonb({})", a(self)),
                5 => format!("jsonb_build_array({}, {})", t(self), j(self)),
                6 => self.scalar(depth, Json, columns),
                _ => self.column(Json, columns).unwrap_or_else(|| self.literal(Json)),
            },
            Array => match self.dice.below(7) {
                0 => format!("ARRAY[{}, {}]", t(self), t(self)),
                1 => format!("ARRAY({})", self.inside(depth, &[Text], columns)),
                2 => format!("string_to_array({}, '.')", t(self)),
                3 => format!("array_append({}, {})", a(self), t(self)),
                4 => format!("({} || {})", a(self), a(self)),
                5 => self.scalar(depth, Array, columns),
                _ => self.column(Array, columns).unwrap_or_else(|| self.literal(Array)),
            },
        }
    }

    fn aggregate(&mut self, depth: usize, of: Type, columns: &[Column], rows: &[String]) -> String {
        let inner = depth.saturating_sub(1);
        let t = self.typed(inner, Text, columns, rows, false);
        let n = self.typed(inner, Number, columns, rows, false);
        match of {
            Text => match self.dice.below(4) {
                0 => format!("max({t})"),
                1 => format!("min({t})"),
                2 => format!("string_agg({t}, ',' ORDER BY {n})"),
                _ => format!("mode() WITHIN GROUP (ORDER BY {t})"),
            },
            Number => match self.dice.below(4) {
                0 => "count(*)".to_owned(),
                1 => format!("max({n})"),
                2 => format!("count(DISTINCT {t})"),
                _ => format!("min({n}) FILTER (WHERE {n} > 3)"),
            },
            Bool => format!("bool_or({n} > 3)"),
            Json => match (self.dice.below(2), rows.first()) {
                (0, Some(row)) => format!("jsonb_agg({row})"),
                _ => format!("jsonb_agg({t})"),
            },
            Array => format!("array_agg({t})"),
        }
    }

    /// A scalar sub-select that may use what is around it.
    fn scalar(&mut self, depth: usize, of: Type, columns: &[Column]) -> String {
        format!("(SELECT * FROM ({}) AS {} LIMIT 1)", self.inside(depth, &[of], columns), self.name("g"))
    }

    fn inside(&mut self, depth: usize, types: &[Type], columns: &[Column]) -> String {
        let mark = self.outer.len();
        if self.dice.chance(50) {
            self.outer.extend(columns.iter().cloned());
        }
        let query = self.query(depth.min(1), types);
        self.outer.truncate(mark);
        query
    }

    fn literal(&mut self, of: Type) -> String {
        match of {
            Text => "'plain'".into(),
            Number => self.dice.below(40).to_string(),
            Bool => "true".into(),
            Json => "'{\"k\": \"plain\"}'::jsonb".into(),
            Array => "ARRAY['plain']".into(),
        }
    }
}

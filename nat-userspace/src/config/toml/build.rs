//! Makes tables of what the parser reports. The rules of which tables may be extended how are those of
//! TOML 1.1: a table is defined once, and dotted keys extend only what dotted keys made.

use std::borrow::Cow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::lexer::{Lexer, Token, TokenKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use super::{Entry, Kind, Table, Value};

/// Tables, arrays and dotted keys may be this deep.
const MAX_DEPTH: u32 = 80;

/// A text is read in pieces of at least so many tokens: all those of a large one take several times its own
/// memory.
const PIECE: usize = if cfg!(test) { 8 } else { 4096 };

/// Why a text is no TOML.
#[derive(Debug)]
pub struct Malformed {
    /// Where, in bytes.
    pub offset: usize,
    /// What is wrong, perhaps on several lines.
    pub message: String,
}

/// Reads a document as its root table.
pub fn parse(text: &str) -> Result<Table<'_>, Malformed> {
    let source = Source::new(text);
    let mut lexer = source.lex();
    let mut tokens = Vec::with_capacity(PIECE);
    let mut builder = Builder::new(text);
    let mut error: Option<ParseError> = None;
    {
        let mut receiver = ValidateWhitespace::new(&mut builder, source);
        let mut receiver = RecursionGuard::new(&mut receiver, MAX_DEPTH);
        while read_statements(&mut lexer, &mut tokens) {
            parse_document(&tokens, &mut receiver, &mut error);
        }
    }
    builder.finish_table();
    let wrong = error
        .map(|error| error.unexpected().map_or(0, |span| span.start()))
        .or(builder.wrong);
    match wrong {
        None if !builder.is_rare => Ok(builder.root),
        // No setting is a float or a date, so whether one is valid need not be known here.
        _ => match toml_edit::Document::parse(text) {
            Ok(_) if wrong.is_none() => Ok(builder.root),
            Ok(_) => Err(Malformed {
                offset: wrong.unwrap_or(0),
                message: "duplicate key".to_owned(),
            }),
            Err(error) => Err(Malformed {
                offset: error.span().map_or(0, |span| span.start),
                message: error.message().to_owned(),
            }),
        },
    }
}

/// Puts the next statements into `tokens`; false at the end of the text. They end with a line outside all
/// brackets, which no statement goes beyond.
fn read_statements(lexer: &mut Lexer<'_>, tokens: &mut Vec<Token>) -> bool {
    tokens.clear();
    let mut depth = 0_usize;
    for token in lexer {
        tokens.push(token);
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
            // One too many is for the parser to find.
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                depth = depth.saturating_sub(1);
            }
            TokenKind::Newline if depth == 0 && tokens.len() >= PIECE => break,
            _ => {}
        }
    }
    !tokens.is_empty()
}

struct Builder<'t> {
    text: &'t str,
    root: Table<'t>,
    /// The table that keys go to, outside the root until its end.
    current: Table<'t>,
    /// Its header; `None`: it is the root.
    header: Option<Header<'t>>,
    /// The key being read.
    key: Path<'t>,
    /// The keys whose values are being read, the outermost first.
    keys: Vec<Path<'t>>,
    /// The arrays and inline tables being read, the outermost first.
    open: Vec<Value<'t>>,
    /// Where the first mistake is that the parser doesn't know of.
    wrong: Option<usize>,
    /// Whether there is a float or a date.
    is_rare: bool,
}

struct Header<'t> {
    offset: usize,
    is_array: bool,
    path: Path<'t>,
}

/// A key with those before its dots.
#[derive(Default)]
struct Path<'t> {
    way: Vec<Name<'t>>,
    last: Option<Name<'t>>,
}

struct Name<'t> {
    text: Cow<'t, str>,
    offset: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            root: Table::default(),
            current: Table::default(),
            header: None,
            key: Path::default(),
            keys: Vec::new(),
            open: Vec::new(),
            wrong: None,
            is_rare: false,
        }
    }

    fn check(&mut self, result: Result<(), usize>) {
        if let Err(offset) = result {
            self.wrong.get_or_insert(offset);
        }
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'t> {
        let text = self.text.get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn start_header(&mut self, span: Span, is_array: bool) {
        self.finish_table();
        self.key = Path::default();
        self.header = Some(Header {
            offset: span.start(),
            is_array,
            path: Path::default(),
        });
    }

    /// A table that was named on the way to others keeps them.
    fn finish_header(&mut self) {
        let path = std::mem::take(&mut self.key);
        let Some(header) = &mut self.header else {
            return;
        };
        header.path = path;
        if header.is_array {
            return;
        }
        let taken = header.path.in_table(&mut self.root).and_then(|entry| {
            let Some((Some(entry), last)) = entry else {
                return Ok(Table::default());
            };
            match &mut entry.value.kind {
                Kind::Table(table) if table.implicit && !table.dotted => Ok(std::mem::take(table)),
                _ => Err(last),
            }
        });
        match taken {
            Ok(table) => self.current = table,
            Err(offset) => self.check(Err(offset)),
        }
        self.current.implicit = false;
    }

    fn finish_table(&mut self) {
        let table = std::mem::take(&mut self.current);
        let result = match self.header.take() {
            None => {
                self.root = table;
                Ok(())
            }
            Some(header) => header.place(table, &mut self.root),
        };
        self.check(result);
    }

    fn value(&mut self, value: Value<'t>) {
        let result = match self.open.last_mut() {
            Some(Value {
                kind: Kind::Array(values),
                ..
            }) => {
                values.push(value);
                Ok(())
            }
            Some(Value {
                kind: Kind::Inline(table),
                ..
            }) => self
                .keys
                .pop()
                .map_or(Ok(()), |key| key.insert(value, table)),
            _ => self
                .keys
                .pop()
                .map_or(Ok(()), |key| key.insert(value, &mut self.current)),
        };
        self.check(result);
    }

    fn close(&mut self) {
        if let Some(value) = self.open.pop() {
            self.value(value);
        }
    }
}

impl<'t> Header<'t> {
    fn place(self, table: Table<'t>, root: &mut Table<'t>) -> Result<(), usize> {
        let value = Value {
            offset: self.offset,
            kind: Kind::Table(table),
        };
        let parent = descend(root, &self.path.way, false)?;
        let Some(last) = self.path.last else {
            return Ok(());
        };
        match parent.get_mut(&last.text) {
            Some(entry) if self.is_array => match &mut entry.value.kind {
                Kind::Tables(tables) => tables.push(value),
                _ => return Err(last.offset),
            },
            // What was taken out of it when its header came.
            Some(entry) => {
                entry.offset = last.offset;
                entry.value = value;
            }
            None => parent.push(Entry {
                offset: last.offset,
                value: if self.is_array {
                    Value {
                        offset: self.offset,
                        kind: Kind::Tables(vec![value]),
                    }
                } else {
                    value
                },
                key: last.text,
            }),
        }
        Ok(())
    }
}

impl<'t> Path<'t> {
    /// Its entry in `table`, if there is one, and where the last key stands.
    fn in_table<'a>(
        &self,
        table: &'a mut Table<'t>,
    ) -> Result<Option<(Option<&'a mut Entry<'t>>, usize)>, usize> {
        let parent = descend(table, &self.way, false)?;
        let Some(last) = &self.last else {
            return Ok(None);
        };
        Ok(Some((parent.get_mut(&last.text), last.offset)))
    }

    fn insert(self, value: Value<'t>, table: &mut Table<'t>) -> Result<(), usize> {
        let is_dotted = !self.way.is_empty();
        let parent = descend(table, &self.way, is_dotted)?;
        let Some(last) = self.last else {
            return Ok(());
        };
        if is_dotted && !parent.implicit || parent.position(&last.text).is_some() {
            return Err(last.offset);
        }
        parent.push(Entry {
            key: last.text,
            offset: last.offset,
            value,
        });
        Ok(())
    }
}

/// The table that a path leads to, whose tables are made where they are missing. The error is where the
/// key stands that cannot be followed.
fn descend<'a, 't>(
    mut table: &'a mut Table<'t>,
    way: &[Name<'t>],
    is_dotted: bool,
) -> Result<&'a mut Table<'t>, usize> {
    for name in way {
        let position = table.position(&name.text).unwrap_or_else(|| {
            let made = Table {
                implicit: true,
                dotted: is_dotted,
                ..Table::default()
            };
            table.push(Entry {
                key: name.text.clone(),
                offset: name.offset,
                value: Value {
                    offset: name.offset,
                    kind: Kind::Table(made),
                },
            });
            table.entries.len() - 1
        });
        let entry = table.entries.get_mut(position).ok_or(name.offset)?;
        table = match &mut entry.value.kind {
            Kind::Table(inner) if is_dotted && !inner.implicit => return Err(name.offset),
            Kind::Table(inner) => {
                inner.dotted |= is_dotted;
                inner
            }
            Kind::Tables(tables) => match tables.last_mut().map(|last| &mut last.kind) {
                Some(Kind::Table(last)) => last,
                _ => return Err(name.offset),
            },
            _ => return Err(name.offset),
        };
    }
    Ok(table)
}

impl<'t> EventReceiver for Builder<'t> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.start_header(span, false);
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish_header();
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.start_header(span, true);
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish_header();
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open.push(Value {
            offset: span.start(),
            kind: Kind::Inline(Table::default()),
        });
        true
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open.push(Value {
            offset: span.start(),
            kind: Kind::Array(Vec::new()),
        });
        true
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut text = Cow::Borrowed("");
        self.raw(span, encoding).decode_key(&mut text, error);
        let offset = span.start();
        let before = self.key.last.replace(Name { text, offset });
        if self.key.way.len() + 1 < MAX_DEPTH as usize {
            self.key.way.extend(before);
        } else {
            self.check(Err(offset));
        }
    }

    fn key_val_sep(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.keys.push(std::mem::take(&mut self.key));
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut text = Cow::Borrowed("");
        let kind = match self.raw(span, encoding).decode_scalar(&mut text, error) {
            ScalarKind::String => Kind::String(text),
            ScalarKind::Boolean(value) => Kind::Boolean(value),
            ScalarKind::Integer(radix) => match i64::from_str_radix(&text, radix.value()) {
                Ok(number) => Kind::Integer(number),
                Err(_) => {
                    self.check(Err(span.start()));
                    Kind::Integer(0)
                }
            },
            ScalarKind::Float => {
                self.is_rare = true;
                Kind::Float
            }
            ScalarKind::DateTime => {
                self.is_rare = true;
                Kind::Datetime
            }
        };
        self.value(Value {
            offset: span.start(),
            kind,
        });
    }
}

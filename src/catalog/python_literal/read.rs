//! Reading Python literals.

use super::Literal;

/// Deeper nesting than any value of a catalog; keeps hostile input off the stack.
const DEPTH_LIMIT: usize = 64;

/// Text that is not a literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Python literal (at byte {offset}: {reason})")]
pub struct InvalidLiteral {
    /// Where reading stopped.
    pub offset: usize,
    /// What was expected there.
    pub reason: &'static str,
}

/// Reads one literal. Blanks around it are ignored.
///
/// # Errors
/// Anything but exactly one literal, or one nested deeper than 64 levels.
pub fn parse(text: &str) -> Result<Literal, InvalidLiteral> {
    let mut reader = Reader { text, offset: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.fail("expected the end")),
    }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
}

impl Reader<'_> {
    fn fail(&self, reason: &'static str) -> InvalidLiteral {
        InvalidLiteral {
            offset: self.offset,
            reason,
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.offset..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.offset += expected.len();
        }
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r' | '\x0c')) {
            self.take();
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, InvalidLiteral> {
        if depth > DEPTH_LIMIT {
            return Err(self.fail("nested too deeply"));
        }
        self.blanks();
        match self.peek() {
            Some('[') => self.sequence(depth, ']').map(|(items, _)| Literal::List(items)),
            Some('(') => self.parenthesis(depth),
            Some('{') => self.dict(depth),
            Some('\'' | '"') => self.strings(),
            Some('u') if matches!(self.rest().as_bytes().get(1), Some(b'\'' | b'"')) => {
                self.take();
                self.strings()
            }
            Some('0'..='9' | '-' | '+' | '.') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Literal, InvalidLiteral> {
        for (word, value) in [
            ("None", Literal::None),
            ("True", Literal::Bool(true)),
            ("False", Literal::Bool(false)),
        ] {
            if self.accept(word) {
                return Ok(value);
            }
        }
        Err(self.fail("expected a value"))
    }

    /// The items up to `close`, and whether a comma followed the last one.
    fn sequence(&mut self, depth: usize, close: char) -> Result<(Vec<Literal>, bool), InvalidLiteral> {
        self.take();
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            self.blanks();
            if self.peek() == Some(close) {
                self.take();
                return Ok((items, comma));
            }
            if !items.is_empty() && !comma {
                return Err(self.fail("expected a comma"));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            comma = self.accept(",");
        }
    }

    fn parenthesis(&mut self, depth: usize) -> Result<Literal, InvalidLiteral> {
        let (mut items, comma) = self.sequence(depth, ')')?;
        // Without a comma parentheses only group: (1) is 1.
        match (items.len(), comma) {
            (1, false) => items.pop().ok_or_else(|| self.fail("expected a value")),
            _ => Ok(Literal::Tuple(items)),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, InvalidLiteral> {
        self.take();
        let mut entries = Vec::new();
        let mut comma = true;
        loop {
            self.blanks();
            if self.accept("}") {
                return Ok(Literal::Dict(entries));
            }
            if !comma {
                return Err(self.fail("expected a comma"));
            }
            let key = self.value(depth + 1)?;
            self.blanks();
            if !self.accept(":") {
                return Err(self.fail("expected a colon"));
            }
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.blanks();
            comma = self.accept(",");
        }
    }

    fn number(&mut self) -> Result<Literal, InvalidLiteral> {
        let length = self
            .rest()
            .bytes()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' | b'_'))
            .count();
        let digits: String = self.rest().chars().take(length).filter(|c| *c != '_').collect();
        let value = if digits.contains(['.', 'e', 'E']) {
            digits.parse().ok().map(Literal::Float)
        } else {
            digits.parse().ok().map(Literal::Int)
        };
        let value = value.ok_or_else(|| self.fail("expected a number"))?;
        self.offset += length;
        Ok(value)
    }

    /// One string or several side by side, which Python joins.
    fn strings(&mut self) -> Result<Literal, InvalidLiteral> {
        let mut string = String::new();
        loop {
            self.string(&mut string)?;
            let end = self.offset;
            self.blanks();
            if !matches!(self.peek(), Some('\'' | '"')) {
                self.offset = end;
                return Ok(Literal::Str(string));
            }
        }
    }

    fn string(&mut self, into: &mut String) -> Result<(), InvalidLiteral> {
        let Some(quote) = self.take() else {
            return Err(self.fail("expected a string"));
        };
        loop {
            match self.take() {
                None => return Err(self.fail("the string does not end")),
                Some('\\') => self.escape(into)?,
                Some(character) if character == quote => return Ok(()),
                Some(character) => into.push(character),
            }
        }
    }

    fn escape(&mut self, into: &mut String) -> Result<(), InvalidLiteral> {
        let character = match self.take() {
            None => return Err(self.fail("the string does not end")),
            Some('\n') => return Ok(()),
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('v') => '\x0b',
            Some(quoted @ ('\\' | '\'' | '"')) => quoted,
            Some('x') => self.code(2)?,
            Some('u') => self.code(4)?,
            Some('U') => self.code(8)?,
            Some(digit @ '0'..='7') => self.octal(digit),
            Some(other) => {
                // Python keeps the backslash of an escape it does not know.
                into.push('\\');
                other
            }
        };
        into.push(character);
        Ok(())
    }

    fn code(&mut self, digits: usize) -> Result<char, InvalidLiteral> {
        let text = self
            .rest()
            .get(..digits)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or_else(|| self.fail("expected hexadecimal digits"))?;
        let code = u32::from_str_radix(text, 16).map_err(|_| self.fail("expected hexadecimal digits"))?;
        self.offset += digits;
        // A lone surrogate stands for a byte that was not UTF-8; there is no such character here.
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn octal(&mut self, first: char) -> char {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            match self.peek().and_then(|character| character.to_digit(8)) {
                Some(digit) => {
                    code = code * 8 + digit;
                    self.take();
                }
                None => break,
            }
        }
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

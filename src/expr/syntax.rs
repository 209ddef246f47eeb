//! Explains a syntax error to the author of an expression. The parser's own messages speak of tokens and
//! grammar rules.

use cel::ParseErrors;
use std::fmt;

/// A mistake and its place. Both numbers count from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    pub line: usize,
    pub column: usize,
    /// The text at that place. Empty at the end.
    pub piece: String,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    EndsEarly,
    Leftover,
    Unexpected,
    Word,
    Equals,
    Backquote,
    Quote,
    Character,
    Reserved,
    Number,
    TooNested,
    LoopVariable,
    Has,
}

impl Problem {
    /// Derives the problem from the parser's message and the text where it stopped.
    fn of(message: &str, piece: &str) -> Self {
        let says = |part: &str| message.contains(part);
        match piece.chars().next() {
            _ if says("ecursion limit") => Self::TooNested,
            _ if says("simple name") => Self::LoopVariable,
            _ if says("has() macro") => Self::Has,
            Some('\'' | '"') if says("token recognition") => Self::Quote,
            Some('`') => Self::Backquote,
            Some('=') if says("token recognition") => Self::Equals,
            Some(_) if says("token recognition") || says("unsupported syntax") => Self::Character,
            _ if RESERVED.contains(&piece) => Self::Reserved,
            _ if says("int literal") || says("double literal") => Self::Number,
            None => Self::EndsEarly,
            _ if matches!(piece, "and" | "or" | "not") => Self::Word,
            _ if says("expecting <EOF>") => Self::Leftover,
            Some(_) => Self::Unexpected,
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::EndsEarly => "something is missing here: a value, or a closing bracket",
            Self::Leftover => {
                "the expression is complete before this; check whether an operator is missing, such as + or &&"
            }
            Self::Unexpected => "this does not fit here; check the operators, brackets and commas around it",
            Self::Word => "write && for and, || for or, and ! for not",
            Self::Equals => "write == to compare",
            Self::Backquote => {
                "a name in backquotes must follow a dot and end with a backquote, as in claims.`a-b`"
            }
            Self::Quote => {
                "this text has no closing quote, or an unknown escape; write `\\\\` for one backslash, or r'..'"
            }
            Self::Character => "this character is not allowed outside quotes",
            Self::Reserved => "this word is reserved; for a claim of this name write claims['..']",
            Self::Number => "this number does not fit into 64 bits",
            Self::TooNested => "too many nested brackets; move parts into variables",
            Self::LoopVariable => {
                "the first argument of a loop must be a new plain name, as in claims.groups.map(g, g + '!')"
            }
            Self::Has => {
                "has(..) takes one field, as in has(claims.email); for a key in brackets write 'key' in claims"
            }
        }
    }
}

/// Words that CEL reserves for itself and for its host languages.
const RESERVED: [&str; 19] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "void",
];
/// The longest piece of source that a message shows.
const PIECE_CHARS: usize = 24;

impl Syntax {
    /// Takes the first error, since later ones are mostly its consequences. Grammar errors come first: they
    /// leave holes in the tree, and an error about a hole has the position of a larger part.
    pub(super) fn of(errors: &ParseErrors, source: &str) -> Option<Self> {
        let of_grammar = errors
            .errors
            .iter()
            .find(|error| error.msg.starts_with("Syntax error"));
        let error = of_grammar.or(errors.errors.first())?;
        let line = usize::try_from(error.pos.0).ok()?.max(1);
        let column = usize::try_from(error.pos.1).ok()?.max(1);
        let rest = source
            .split('\n')
            .nth(line - 1)
            .unwrap_or_default()
            .chars()
            .skip(column - 1);
        let piece = piece(&rest.collect::<String>());
        let problem = Problem::of(&error.msg, &piece);
        Some(Self {
            line,
            column,
            piece,
            problem,
        })
    }
}

/// A word, a string literal from its quote on, or one character.
fn piece(rest: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match rest.chars().next() {
        None => String::new(),
        Some('\'' | '"') => rest.chars().take(PIECE_CHARS).collect(),
        Some(first) if word(first) => rest.chars().take_while(|c| word(*c)).take(PIECE_CHARS).collect(),
        Some(other) => other.into(),
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            piece,
            problem,
        } = self;
        write!(f, "line {line}, column {column}, ")?;
        match piece.as_str() {
            "" => write!(f, "at the end")?,
            "`" => write!(f, "at the backquote")?,
            piece => write!(f, "at `{piece}`")?,
        }
        write!(f, ": {}", problem.advice())
    }
}

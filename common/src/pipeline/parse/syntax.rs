//! What to do about text that is not YAML, by what the parser says of it.

use granit_parser::ErrorKind;

/// What a cron expression that begins with `*` needs.
pub(super) const STAR: &str = "put a text that begins with * or & in quotes: \"*/15 * * * *\"";

/// A hint for the writer of the document.
pub(super) fn hint(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "replace the tab by spaces",
        ErrorKind::UnclosedQuotedScalar => "close the text with the quote it begins with",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "check that every [ and { is closed, that items are separated by commas, and that text with brackets is in quotes"
        }
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::InvalidMappingValueWhitespace
        | ErrorKind::FlowMappingValueAdjacentCollection => {
            "put a text that contains a colon in quotes, and check the indentation and the brackets above"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => "a key is followed by a colon and a space: `key: value`",
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidBlockScalarIndent => {
            "check the indentation: keys of one mapping, and dashes of one list, begin in the same column"
        }
        ErrorKind::UnknownQuotedScalarEscape => "write a backslash as \\\\, or use single quotes",
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "put the whole text in one pair of quotes; within single quotes write '' for one"
        }
        ErrorKind::UnexpectedCharacter { .. } => "put a text that begins with this character in quotes",
        ErrorKind::MissingAnchorOrAliasName => STAR,
        ErrorKind::DirectiveDisallowed => "remove the line; YAML 1.2 is read",
        _ => "put text with special characters in quotes, and indent with spaces",
    }
}

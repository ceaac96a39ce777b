# SPDX-License-Identifier: Apache-2.0
"""Comments of a text, given to its statements, so that `fmt` loses none.

A comment before a statement is one of its `comments`, and so is one inside it: it moves before the
statement. A comment behind it, on the line where it ends, is its `remark`. What follows the last
statement is the program's `trailing`. An empty string among them is a blank line, also one between
the last comment and the statement; several blank lines are one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from transom.policy.datalog.language.lexer import Token
from transom.policy.datalog.language.syntax import Program, Statement


def with_comments(
    text: str, statements: Sequence[tuple[Statement, int, int]], comments: Sequence[Token]
) -> Program:
    """`statements`: each with the place where it begins, and where it ends, with its full stop."""
    waiting = _Comments(text, comments)
    done: list[Statement] = []
    for statement, start, end in statements:
        lines = [*waiting.before(start), *waiting.blank(start), *waiting.inside(end)]
        waiting.reached = end
        remark = waiting.behind()
        if lines or remark:
            statement = replace(statement, comments=tuple(lines), remark=remark)
        done.append(statement)
    return Program(tuple(done), tuple(waiting.before(len(text))))


class _Comments:
    """`reached`: everything before it has been given away."""

    def __init__(self, text: str, comments: Sequence[Token]) -> None:
        self.text = text
        self.comments = comments
        self.at = 0
        self.reached = 0

    def _upto(self, end: int) -> Iterator[Token]:
        while self.at < len(self.comments) and self.comments[self.at].start < end:
            comment = self.comments[self.at]
            self.at += 1
            yield comment
            self.reached = comment.end

    def before(self, start: int) -> Iterator[str]:
        for comment in self._upto(start):
            yield from self.blank(comment.start)
            yield _tidied(comment.text)

    def blank(self, start: int) -> Iterator[str]:
        """One empty line if there is one before `start`, but not at the top of the text."""
        if self.reached and self.text.count("\n", self.reached, start) > 1:
            yield ""

    def inside(self, end: int) -> Iterator[str]:
        for comment in self._upto(end):
            yield _tidied(comment.text)

    def behind(self) -> str:
        """Comments on the line that has been reached, of one line each."""
        found: list[str] = []
        while self.at < len(self.comments):
            comment = self.comments[self.at]
            between = self.text[self.reached : comment.start]
            if between.strip(" \t") or "\n" in comment.text:
                break
            found.append(_tidied(comment.text))
            self.reached = comment.end
            self.at += 1
        return " ".join(found)


def _tidied(comment: str) -> str:
    return "\n".join(line.rstrip() for line in comment.split("\n"))

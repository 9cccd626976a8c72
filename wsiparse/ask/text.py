"""An answer as lines for people. Pure."""

from __future__ import annotations

from wsiparse.ask.facts import Answer, Figure

__all__ = ["answer_text", "shown"]


def answer_text(answer: Answer) -> str:
    """An answer as text: numbers with their intervals or the reason for none, then where they stand."""
    lines = [answer.title if answer.answered else f"error: {answer.title}"]
    lines += [f"  {line}" for line in answer.lines]
    width = max((len(_subject(figure)) for figure in answer.figures), default=0)
    lines += [f"  {_subject(figure):<{width}}  {_number(figure)}" for figure in answer.figures]
    lines += [f"note: {note}" for note in answer.notes]
    lines += [f"engine: {name}" for name in dict.fromkeys(figure.engine for figure in answer.figures)]
    files = dict.fromkeys((figure.file, figure.sha256) for figure in answer.figures)
    lines += [f"from {name} sha256 {sha256}" for name, sha256 in files]
    if answer.can_ask:
        lines += ["can be asked:", *(f"  {question}" for question in answer.can_ask)]
    return "\n".join(lines)


def _subject(figure: Figure) -> str:
    return f"{figure.slide}: {figure.what}" if figure.slide else figure.what


def _number(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.value is None:
        return f"none: {figure.note or 'the file has no number'}"
    value = shown(figure.value, figure.digits)
    if figure.low is not None and figure.high is not None:
        return (
            f"{value}{unit} (95 % interval {shown(figure.low, figure.digits)} to {shown(figure.high, figure.digits)})"
        )
    return f"{value}{unit} ({figure.note})" if figure.note else f"{value}{unit}"


def shown(value: float | str | bool, digits: int | None) -> str:
    """A value as text, numbers with so many digits as counts.csv has them.

    >>> shown(812.3456, 2), shown(3, None), shown(0.012, None)
    ('812.35', '3', '0.012')
    """
    if isinstance(value, str | bool) or digits is None:
        return str(value)
    return f"{value:.{digits}f}"

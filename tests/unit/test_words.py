"""What a process has said last."""

import pytest

from local_dev.words import SHOWN_CHARACTERS, last_sentence

TRACEBACK = """Traceback (most recent call last):
  File "/elsewhere/first.py", line 1, in <module>
    import second
  File "/elsewhere/second.py", line 22, in <module>
    missing
    ^^^^^^^
NameError: name 'missing' is not defined
"""


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\r\nworker: two\r\n\r\n", "worker: two"),
        ('{"level": "CRITICAL", "message": "the worker ends: why"}\n', "the worker ends: why"),
        ('{"other": 1}\n', '{"other": 1}'),
        ("[1]\n", "[1]"),
        ("a\x1b[2Jb\tc\u202ed\n", "a [2Jb c d"),
        ("x" * 100_000, "x" * SHOWN_CHARACTERS),
    ],
)
def test_the_last_line_is_kept_as_plain_text(said: str, sentence: str) -> None:
    """Of a log in JSON the message; nothing that a terminal or a page would act on."""
    assert last_sentence(said) == sentence


def test_an_exception_is_told_with_its_place() -> None:
    """Its own line does not say where it comes from."""
    sentence = last_sentence(TRACEBACK)

    assert sentence.endswith(
        "elsewhere/second.py, line 22: NameError: name 'missing' is not defined"
    )

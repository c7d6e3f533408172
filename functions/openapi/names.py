"""Names for generated code, out of names that may hold anything."""

import re
import unicodedata


class Names:
    """Names that are given once."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def free(self, wanted: str) -> str:
        """`wanted`, or what comes closest and is not taken; now it is."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name)
        return name


def pascal(text: str) -> str:
    """The words of `text` as one in ASCII: `send mail/é` becomes `SendMailE`."""
    words = re.findall("[A-Za-z0-9]+", unicodedata.normalize("NFKD", text))
    return "".join(word[0].upper() + word[1:] for word in words) or "Workflow"

"""JSON texts compared token by token: numbers as they are written, strings by what they say.

An oracle of its own: neither the hub's reader nor its writer has a part in it.
"""

import json
import re
from collections.abc import Iterator

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^{}\[\],:"\s]+')
_SPACE = re.compile(r"\s*")


def tokens(text: str) -> Iterator[str]:
    """The tokens of a JSON text; a string without its escapes, in quotes."""
    at = 0
    while at < len(text):
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        if at == len(text):
            return
        found = _TOKEN.match(text, at)
        assert found is not None, f"not JSON at {at}"
        at = found.end()
        token = found[0]
        yield f'"{json.loads(token)}"' if token[0] == '"' else token


def members(text: str) -> dict[str, tuple[str, ...]]:
    """The members of a JSON object by name, in their order, each as its tokens."""
    found: dict[str, list[str]] = {}
    depth, name, is_name = 0, "", True
    for token in tokens(text):
        depth += (token in "{[") - (token in "}]")
        if depth == 0 or (depth == 1 and token == "{" and not found):
            continue
        if depth == 1 and token == ",":
            is_name = True
        elif depth == 1 and is_name and token != ":":
            name = token[1:-1]
            assert name not in found, "a member is named twice"
            found[name] = []
            is_name = False
        elif not (depth == 1 and token == ":" and not found[name]):
            found[name].append(token)
    return {name: tuple(value) for name, value in found.items()}

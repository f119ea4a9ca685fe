"""Commands for access: token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from lineal.cli import options, output
from lineal.errors import InvalidArgument

_UNITS = {"m": 60, "h": 3600, "d": 24 * 3600}
_SPAN = re.compile(r"([0-9]{1,6})([mhd])")


def token(
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE …",
            help='Scopes, as "model:read lineage:read"; all for every one. '
            "Default: all but admin, and but directory:write where workspaces are named.",
            show_default=False,
        ),
    ] = None,
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME …", help="Workspaces to be an owner of; it opens no other. Default: all.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Who it is for: the principal local:NAME.")] = "me",
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it is good for: 30m, 8h, 90d.")] = "1h",
    keys: Annotated[
        Path | None,
        typer.Option(help="Folder of Lineal's keys. Default: keys in your data folder.", show_default=False),
    ] = None,
) -> None:
    """Print a token for a Lineal on this machine that has no issuer configured.

    Send it as: Authorization: Bearer TOKEN
    """
    from auth.keyring import Keyring
    from auth.local import LocalIssuer
    from lineal.issuers import described

    settings = options.settings(keys=keys)
    if settings.issuers:
        msg = f"issuers: tokens come from {described(settings.issuers)}; Lineal trusts its own only where none is set"
        raise InvalidArgument(msg, field="issuers")
    issuer = LocalIssuer(Keyring(settings.keys))
    output.lines(
        [issuer.token(name=name, scopes=_words(scope), workspaces=_words(workspace), seconds=seconds(expires))]
    )


def seconds(span: str, field: str = "expires") -> int:
    """The seconds of 30m, 8h or 90d. Raises InvalidArgument."""
    found = _SPAN.fullmatch(span)
    if not found:
        raise InvalidArgument(f"{field}: {span!r:.80} is no time span; it looks like 30m, 8h or 90d", field=field)
    return int(found[1]) * _UNITS[found[2]]


def _words(given: list[str] | None) -> list[str] | None:
    return None if not given else [word for text in given for word in re.split(r"[\s,]+", text) if word]

"""Which licences are expressions of SPDX, for those who must tell them from other words."""

from __future__ import annotations

import re
from typing import Final

_KNOWN: Final = {
    name.casefold(): name
    for name in (
        *("0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause"),
        *(
            "BSD-3-Clause",
            "BSL-1.0",
            "CC-BY-2.0",
            "CC-BY-2.5",
            "CC-BY-3.0",
            "CC-BY-4.0",
            "CC-BY-NC-2.0",
            "CC-BY-NC-3.0",
        ),
        *("CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0"),
        *("CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ECL-2.0"),
        *("EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "GFDL-1.3-only", "GPL-2.0-only", "GPL-2.0-or-later"),
        *("GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only"),
        *("LGPL-3.0-or-later", "MIT", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0", "ODC-By-1.0", "OFL-1.1", "PDDL-1.0"),
        *("PostgreSQL", "Unlicense", "WTFPL", "Zlib"),
    )
}
"""The identifiers of the SPDX licence list that models and data are published under."""

_WORD: Final = re.compile(r"\s+(?:AND|OR)\s+", re.IGNORECASE)


def identifier(text: str) -> str | None:
    """The SPDX identifier that these words are, however they are cased; None where they are none that is known."""
    return _KNOWN.get(text.strip().casefold())


def expression(text: str) -> str | None:
    """The SPDX licence expression (annex D of SPDX 2.3) that these words are: identifiers with AND or OR."""
    parts = [identifier(part) for part in _WORD.split(text.strip())]
    words = [word.strip().upper() for word in _WORD.findall(text.strip())]
    if None in parts or len(set(words)) > 1:
        return None
    return (f" {words[0]} " if words else "").join(part for part in parts if part)

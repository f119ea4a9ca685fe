"""Tokens that nobody may be let in with, by what is wrong with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc.jwk import RSAKey

from tests.auth.issuer import RESOURCE, MiniIssuer, encoded, hashed, signed

STRANGER = RSAKey.generate_key(2048)

Make = Callable[[MiniIssuer], str]


def with_claims(**claims: Any) -> Make:
    return lambda issuer: issuer.token(**claims)


def with_header(**header: Any) -> Make:
    return lambda issuer: issuer.token(header=header)


def raw(header: bytes | None = None, claims: bytes | None = None) -> Make:
    """A token whose header or claims are these bytes, rightly signed."""

    def make(issuer: MiniIssuer) -> str:
        key, algorithm = issuer.keys["rsa"]
        return signed(header or issuer.header(), claims or issuer.claims(), key, algorithm)

    return make


def with_times(**seconds: int) -> Make:
    """A token whose dates are so many seconds from now."""

    def make(issuer: MiniIssuer) -> str:
        claims: dict[str, Any] = {name: int(time.time()) + since for name, since in seconds.items()}
        return issuer.token(**claims)

    return make


def with_number(text: str) -> Make:
    """A token whose exp is written so."""

    def make(issuer: MiniIssuer) -> str:
        claims = json.dumps(issuer.claims(exp="when"))
        return raw(claims=claims.replace('"when"', text).encode())(issuer)

    return make


def with_text(old: str, new: str) -> Make:
    """A token whose claims have something else in their text."""

    def make(issuer: MiniIssuer) -> str:
        text = json.dumps(issuer.claims())
        assert old in text
        return raw(claims=text.replace(old, new, 1).encode())(issuer)

    return make


def public(issuer: MiniIssuer) -> RSAKey:
    key = issuer.keys["rsa"][0]
    assert isinstance(key, RSAKey)
    return key


def by_algorithm(algorithm: str) -> Make:
    """Signed by the right key, with an algorithm that is not pinned."""
    return lambda i: signed(i.header(alg=algorithm), i.claims(), public(i), algorithm)


def unsigned(algorithm: str) -> Make:
    return lambda i: f"{encoded(i.header(alg=algorithm))}.{encoded(i.claims())}."


def edited(edit: Callable[[list[str]], list[str]]) -> Make:
    """A good token whose parts were changed afterwards."""
    return lambda issuer: ".".join(edit(issuer.token().split(".")))


def flipped(part: str) -> str:
    """The part with another first character."""
    return ("A" if part[0] != "A" else "B") + part[1:]


SIGNATURES: Mapping[str, Make] = {
    "alg none with no signature": unsigned("none"),
    "alg None in capitals": unsigned("NoNe"),
    "alg none with a signature": with_header(alg="none"),
    "no alg": with_header(alg=...),
    "an alg that is a list": with_header(alg=["RS256"]),
    "an alg in small letters": with_header(alg="rs256"),
    "HS256 with the public key as secret": lambda i: hashed(i.header(alg="HS256"), i.claims(), public(i).as_pem()),
    "HS256 with the DER of the public key": lambda i: hashed(i.header(alg="HS256"), i.claims(), public(i).as_der()),
    "HS256 with an empty secret": lambda i: hashed(i.header(alg="HS256"), i.claims(), b""),
    "RS512, not pinned": by_algorithm("RS512"),
    "PS256, not pinned": by_algorithm("PS256"),
    "ES256 by name, RSA by key": with_header(alg="ES256"),
    "a key of another algorithm": lambda i: i.token("ec", {"kid": "rsa", "alg": "RS256"}),
    "signed by a stranger under a known kid": lambda i: signed(i.header(), i.claims(), STRANGER, "RS256"),
    "signed by a stranger under a kid of their own": lambda i: signed(i.header("me"), i.claims(), STRANGER, "RS256"),
    "a signature cut short": edited(lambda p: [p[0], p[1], p[2][:-4]]),
    "a signature of one character": edited(lambda p: [p[0], p[1], "A"]),
    "a signature changed": edited(lambda p: [p[0], p[1], flipped(p[2])]),
    "claims changed after signing": lambda i: ".".join(
        [(p := i.token().split("."))[0], encoded(i.claims(scope="admin")), p[2]]
    ),
    "the signature of another token": lambda i: ".".join(
        [*i.token(sub="mallory").split(".")[:2], i.token().split(".")[2]]
    ),
}
HEADERS: Mapping[str, Make] = {
    "no kid": with_header(kid=...),
    "an empty kid": with_header(kid=""),
    "a kid that is a number": with_header(kid=1),
    "a kid that is a path": with_header(kid="../../../../dev/null"),
    "a kid with a statement": with_header(kid="x' UNION SELECT 'a"),
    "a kid unknown": with_header(kid="unknown"),
    "no typ": with_header(typ=...),
    "an empty typ": with_header(typ=""),
    "typ JWT": with_header(typ="JWT"),
    "typ of a DPoP proof": with_header(typ="dpop+jwt"),
    "typ of a logout token": with_header(typ="logout+jwt"),
    "a typ that is a list": with_header(typ=["at+jwt"]),
    "typ with a letter that folds to k": with_header(typ="at+\u212awt"),
    "jku": with_header(jku="https://evil.example/jwks"),
    "jwk": lambda i: signed(i.header(jwk=STRANGER.as_dict(private=False)), i.claims(), STRANGER, "RS256"),
    "jwk that is the issuer's": lambda i: i.token(header={"jwk": public(i).as_dict(private=False)}),
    "x5u": with_header(x5u="https://evil.example/cert"),
    "x5c": with_header(x5c=["MIIB"]),
    "a critical extension": with_header(crit=["exp"]),
    "an empty list of critical extensions": with_header(crit=[]),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "b64 false and not critical": with_header(b64=False),
    "alg twice": raw(header=b'{"typ":"at+jwt","alg":"none","kid":"rsa","alg":"RS256"}'),
    "a header that is a list": raw(header=b'["alg"]'),
    "a header that is no JSON": raw(header=b"alg=RS256"),
    "a header that is no UTF-8": raw(header=b'{"typ":"\xff"}'),
}
CLAIMS: Mapping[str, Make] = {
    "expired by more than the leeway": with_times(exp=-31),
    "expired in 1970": with_claims(exp=0),
    "no exp": with_claims(exp=...),
    "an exp that is text": with_claims(exp="2099-01-01"),
    "an exp that is null": with_claims(exp=None),
    "an exp that is true": with_claims(exp=True),
    "an exp that is negative": with_claims(exp=-1),
    "an exp that is NaN": with_number("NaN"),
    "an exp that is infinite": with_number("Infinity"),
    "an exp that overflows": with_number("1e999"),
    "an exp of 5,000 digits": with_number("9" * 5_000),
    "an exp of 300 digits": with_number("9" * 300),
    "exp twice": with_text('"exp"', '"exp": 1, "exp"'),
    "not valid for two minutes": with_times(nbf=120),
    "an nbf that is text": with_claims(nbf="soon"),
    "issued in two minutes": with_times(iat=120),
    "no iat": with_claims(iat=...),
    "an iat that is text": with_claims(iat="now"),
    "no iss": with_claims(iss=...),
    "another iss": with_claims(iss="https://evil.example"),
    "an iss with a slash more": with_claims(iss="https://issuer.example/tenant/"),
    "an iss in capitals": with_claims(iss="https://ISSUER.example/tenant"),
    "an iss that is a list": with_claims(iss=["https://issuer.example/tenant"]),
    "the iss of Lineal itself": with_claims(iss="lineal:local"),
    "no aud": with_claims(aud=...),
    "an empty aud": with_claims(aud=[]),
    "another aud": with_claims(aud="https://other.example/graphql"),
    "two audiences without ours": with_claims(aud=["https://other.example", "lineal"]),
    "an aud that only begins like ours": with_claims(aud=f"{RESOURCE}/evil"),
    "an aud that is a prefix of ours": with_claims(aud=RESOURCE[:-1]),
    "an aud with ours inside a list": with_claims(aud=[[RESOURCE]]),
    "an aud that is an object": with_claims(aud={RESOURCE: True}),
    "an aud with a soft hyphen": with_claims(aud=RESOURCE.replace("lineal", "lin\u00adeal")),
    "no jti": with_claims(jti=...),
    "a jti that is a number": with_claims(jti=1),
    "no client_id": with_claims(client_id=...),
    "azp instead of client_id": with_claims(client_id=..., azp="web"),
    "a client_id that is a list": with_claims(client_id=["ci"]),
    "no sub": with_claims(sub=...),
    "an empty sub": with_claims(sub=""),
    "a sub that is a number": with_claims(sub=7),
    "a sub with a line break": with_claims(sub="alice\nadmin"),
    "a sub with a null": with_claims(sub="alice\0"),
    "a sub with a space at its end": with_claims(sub="alice "),
    "a sub that another spelling equals": with_claims(sub="alic\u0065\u0301"),
    "a sub that is written from right to left": with_claims(sub="\u202eecila"),
    "a sub with half a character": with_claims(sub="\ud800"),
    "a sub of 300 characters": with_claims(sub="x" * 300),
    "sub twice": with_text('"sub": "alice"', '"sub": "alice", "sub": "admin"'),
    "sub twice, once escaped": with_text('"sub": "alice"', '"sub": "alice", "s\\u0075b": "admin"'),
    "bound to a key, sent as bearer": with_claims(cnf={"jkt": "x" * 43}),
    "bound to a certificate": with_claims(cnf={"x5t#S256": "x" * 43}),
    "bound in a way that is none": with_claims(cnf="jkt"),
}
SHAPES: Mapping[str, Make] = {
    "one word": lambda _: "word",
    "two parts": lambda _: "a.b",
    "three parts of nothing": lambda _: "a.b.c",
    "four parts": lambda i: i.token() + ".AAAA",
    "five parts, as encrypted tokens have": lambda i: i.token() + ".AAAA.AAAA",
    "only dots": lambda _: "..",
    "a detached payload": edited(lambda p: [p[0], "", p[2]]),
    "padding": edited(lambda p: [p[0], p[1], p[2] + "=="]),
    "the other alphabet of base64": edited(lambda p: [p[0], p[1], "+/" + p[2][2:]]),
    "claims that are a list": raw(claims=b"[]"),
    "claims that are text": raw(claims=b'"alice"'),
    "claims that are nothing": raw(claims=b" "),
    "claims with a byte order mark": lambda i: raw(claims=b"\xef\xbb\xbf" + json.dumps(i.claims()).encode())(i),
    "claims in UTF-16": lambda i: raw(claims=json.dumps(i.claims()).encode("utf-16"))(i),
    "arrays in arrays": raw(claims=b"[" * 8_000),
    "objects in objects": raw(claims=b'{"a":' * 2_000 + b"1" + b"}" * 2_000),
    "20 kB": with_claims(padding="x" * 15_000),
    "60 kB of dots": lambda _: "." * 60_000,
    "60 kB of one letter": lambda _: "A" * 60_000,
}
BAD = {**SIGNATURES, **HEADERS, **CLAIMS, **SHAPES}

"""Commands for signatures in the form of OpenSSF Model Signing: sign, verify.

They are of a folder on this machine, or of what a Lineal keeps: then nothing but the manifest is fetched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from storage.folder import Folder
    from storage.signing import Signer, Trusted, Verified

PASSWORD: Final = "LINEAL_SIGNING_PASSWORD"  # noqa: S105 - where it is, not what it is
TOKEN: Final = "SIGSTORE_ID_TOKEN"  # noqa: S105 - the same

_MAX_FILE: Final = 2**20

ATTACH: Final = """mutation Attach($input: AttachSignatureInput!) {
  attachSignature(input: $input) { artifact { signature signedBy } }
}"""
BUNDLE: Final = "query Bundle($artifact: ID!) { artifact(address: $artifact) { signatureBundle } }"

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A folder, a single file, or a version whose files Lineal keeps: models:/name/3, models:/name@alias.",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Which files of a version, where there are several.", show_default=False),
]
TrustConfig = Annotated[
    Path | None,
    typer.Option(
        "--trust-config",
        metavar="FILE",
        help="Client trust configuration of a Sigstore of one's own. Default: the public instance.",
        show_default=False,
    ),
]
FormatOption = Annotated[Format, typer.Option(help="Text for people, or one JSON object.")]


def sign(
    path: PathArgument,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A private key (PEM; P-256, P-384 or P-521). Its password comes from LINEAL_SIGNING_PASSWORD, "
            "or is asked for.",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key's certificate (PEM).", show_default=False)
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Certificates of its issuers (PEM); may be given many times.", show_default=False
        ),
    ] = None,
    keyless: Annotated[
        bool,
        typer.Option(
            "--keyless",
            help="Sign as the identity that SIGSTORE_ID_TOKEN, the workflow, or you in a browser prove to Sigstore.",
        ),
    ] = False,
    trust_config: TrustConfig = None,
    signature: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to write the signature. Default: model.sig in the folder, or FILE.sig.",
            show_default=False,
        ),
    ] = None,
    name: NameOption = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Sign a folder, or the files of a version, by OpenSSF Model Signing v1.0; `model_signing verify` accepts it too.

    .git, .gitattributes, .github, .gitignore and model.sig at its top are left out, as that specification demands. The
    signature of a version is kept with its files; server and token are those of lineal push.
    """
    from storage import signing

    signer = signer_of(key=key, certificate=certificate, chain=chain or (), keyless=keyless, trust_config=trust_config)
    if _is_address(path):
        _sign_kept(path, name, signer, format)
        return
    place = Path(path)
    target = signature or _beside(place)
    folder = _scanned(place, target)
    ignore = _within(folder.root, target)
    data = signing.sign(folder.manifest, signer, name=place.resolve().name, ignore=ignore)
    try:
        target.write_bytes(data)
    except OSError as error:
        raise InvalidArgument(f"{target}: cannot be written: {error.strerror}", field="output") from error
    signed = signing.covered(folder.manifest, ignore)
    if format is Format.JSON:
        output.as_json(
            {
                "signature": str(target),
                "digest": folder.manifest.digest,
                "files": len(signed),
                "bytes": sum(file.size for file in signed),
            }
        )
    else:
        output.lines([f"signed {len(signed):,} files: {target}"])


def verify(
    path: PathArgument,
    signature: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The signature. Default: model.sig in the folder, or FILE.sig.", show_default=False
        ),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A trusted public key (PEM); may be given many times.", show_default=False),
    ] = None,
    ca: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A trusted authority's certificate (PEM); may be given many times.", show_default=False
        ),
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A trusted identity of a keyless signature: an e-mail address or a workflow's URL.",
            show_default=False,
        ),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="The OpenID Connect issuer of that identity; one for each.", show_default=False
        ),
    ] = None,
    trust_config: TrustConfig = None,
    name: NameOption = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Check that a folder, or a version, is what somebody whom you trust has signed. Exits with 1 when it is not."""
    from storage import signing

    trusted = trusted_of(
        keys=key or (), authorities=ca or (), identities=identity or (), issuers=issuer or (), trust_config=trust_config
    )
    if _is_address(path):
        _verify_kept(path, name, trusted, format)
        return
    place = Path(path)
    source = signature or _beside(place)
    bundle = _read(source, signing.MAX_BUNDLE)
    report(signing.verify(bundle, _scanned(place, source).manifest, trusted), format)


def _is_address(text: str) -> bool:
    return ":/" in text


def _sign_kept(address: str, name: str | None, signer: Signer, format: Format) -> None:
    """Sign what Lineal keeps, by its manifest."""
    from lineal.kept import kept, manifest_of
    from lineal.remote import Remote
    from storage import signing

    with Remote.of(options.settings()) as remote:
        found, artifact = kept(remote, address, name)
        manifest = manifest_of(remote, artifact["id"], artifact["digest"])
        bundle = signing.sign(manifest, signer, name=found).decode()
        answer = remote.ask(ATTACH, input={"artifact": artifact["id"], "bundle": bundle})
    state = answer["attachSignature"]["artifact"]
    if format is Format.JSON:
        output.as_json({"version": found, "artifact": artifact["id"], "digest": manifest.digest, **state})
    else:
        count = len(signing.covered(manifest))
        output.lines([f"signed {count:,} files of {found}: {state['signature']}, by {state['signedBy']}"])


def _verify_kept(address: str, name: str | None, trusted: Trusted, format: Format) -> None:
    """Judge the signature of what Lineal keeps, by its manifest."""
    from lineal.kept import kept, manifest_of
    from lineal.remote import Remote
    from storage import signing

    with Remote.of(options.settings()) as remote:
        found, artifact = kept(remote, address, name)
        manifest = manifest_of(remote, artifact["id"], artifact["digest"])
        bundle = remote.ask(BUNDLE, artifact=artifact["id"])["artifact"]["signatureBundle"]
    if bundle is None:
        raise NotFound(f"the files of {found} are not signed")
    report(signing.verify(bundle.encode(), manifest, trusted), format)


def signer_of(
    *, key: Path | None, certificate: Path | None, chain: Sequence[Path], keyless: bool, trust_config: Path | None
) -> Signer:
    """The signer that the options name; asks for the key's password where it needs one. Raises InvalidArgument."""
    from storage import signing

    if keyless == bool(key) or (keyless and certificate) or bool(certificate) != bool(chain):
        msg = "sign with --key FILE, with --key FILE --certificate FILE --chain FILE, or with --keyless"
        raise InvalidArgument(msg, field="key")
    if not key:
        return signing.keyless_signer(os.environ.get(TOKEN), trust=trust_config, browser=sys.stdout.isatty())
    pem = _read(key)
    password = _password(key) if b"ENCRYPTED" in pem else None
    if not certificate:
        return signing.key_signer(pem, password)
    return signing.certificate_signer(pem, _read(certificate), [_read(each) for each in chain], password)


def trusted_of(
    *,
    keys: Sequence[Path],
    authorities: Sequence[Path],
    identities: Sequence[str],
    issuers: Sequence[str],
    trust_config: Path | None,
) -> Trusted:
    """Whom the options say to trust. Raises InvalidArgument."""
    from storage.signing import Identity, Trusted

    if len(identities) != len(issuers):
        raise InvalidArgument("--identity and --issuer come in pairs", field="identity")
    if not (keys or authorities or identities):
        msg = "say whom you trust: --key FILE, --ca FILE, or --identity NAME --issuer URL"
        raise InvalidArgument(msg, field="key")
    return Trusted(
        [_read(each) for each in keys],
        [_read(each) for each in authorities],
        [Identity(*pair) for pair in zip(identities, issuers, strict=True)],
        _read(trust_config).decode(errors="replace") if trust_config else None,
    )


def report(verified: Verified, format: Format) -> None:
    """Tell what a signature is worth, and end with 1 unless it is valid."""
    from storage.signing import State

    valid = verified.state is State.VALID
    if format is Format.JSON:
        output.as_json(asdict(verified))
    elif valid:
        by = f"{verified.signer} ({verified.issuer})" if verified.issuer else verified.signer
        output.lines([f"{verified.state}: signed by {by}"])
    else:
        output.err().print(f"{verified.state}: {verified.reason}")
    if verified.unsigned and format is Format.TEXT:
        shown = ", ".join(repr(path) for path in verified.unsigned[:3])
        more = f" and {len(verified.unsigned) - 3:,} more" if len(verified.unsigned) > 3 else ""
        output.warn(f"warning: the signature leaves out {shown}{more}")
    if not valid:
        raise typer.Exit(1)


def _beside(path: Path) -> Path:
    """Where the signature of a folder or a file is, unless somebody says otherwise."""
    from storage.signing import SIGNATURE

    return path / SIGNATURE if path.is_dir() else path.with_name(f"{path.name}.sig")


def _within(root: Path, file: Path) -> list[str]:
    """The path of a file in a folder, if it is there."""
    place = file.resolve()
    return [place.relative_to(root).as_posix()] if place.is_relative_to(root) else []


def _scanned(path: Path, signature: Path) -> Folder:
    from storage.folder import scan

    with output.progress() as advance:
        return scan(path, leave_out=signature, progress=lambda done, total: advance("hashing", done, total))


def _password(key: Path) -> bytes:
    given = os.environ.get(PASSWORD)
    if given is None and sys.stdin.isatty():
        given = typer.prompt(f"Password of {key}", hide_input=True, err=True)
    if given is None:
        raise InvalidArgument(f"{key}: needs its password in {PASSWORD}", field="key")
    return given.encode()


def _read(path: Path, limit: int = _MAX_FILE) -> bytes:
    """A file of bounded size. Raises NotFound, InvalidArgument."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise InvalidArgument(f"{path}: has more than {limit:,} bytes")
    return data

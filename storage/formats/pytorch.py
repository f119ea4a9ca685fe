"""PyTorch: what torch.save and torch.jit.save write as zip archives, and the older layouts of pickles and tar.

In the archive `data.pkl` names the tensors with type and shape; their bytes are members of their own and are never
read. TorchScript has `code/` and `constants.pkl` besides.
"""

from __future__ import annotations

import re
from posixpath import dirname, join
from typing import Any, Final

from storage.formats.finding import Found, elements
from storage.formats.machine import Machine
from storage.formats.reading import File
from storage.formats.symbols import Global, Made, Persistent

_LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MODELS: Final = ("state_dict", "model_state_dict", "model", "module", "net")
_OPTIMIZER: Final = frozenset({"state", "param_groups"})
"""What the state of each of PyTorch's optimizers has, and nothing else."""
_PART: Final = re.compile(r"consolidated\.\d\d\.pth")
"""Parts of Llama's models. Some tensors are in each of them, others are split, and nothing says which."""


def claims(file: File) -> bool:
    """A zip archive with `data.pkl`, the older magic number, or a tar archive with tensors."""
    head = file.head
    return head.startswith(_LEGACY) or (head[:2] == b"PK" and file.member("data.pkl") is not None)


def read(file: File, found: Found) -> None:
    """Whether it is TorchScript, the version of the format, how many elements its tensors have."""
    found.framework("PyTorch")
    if file.head.startswith(_LEGACY):
        found.format("PyTorch checkpoint (before 1.6)")
        stream = file.stream()
        for _ in range(4):
            machine = Machine(stream, file.budget).run()
        _count(file, machine, found)
        return
    script = file.member("constants.pkl") is not None
    if file.member("archive_format") is not None:
        found.format("PyTorch export")
    found.format("TorchScript" if script else "PyTorch checkpoint")
    version = file.member("version") or file.member(".data/version")
    if version is not None:
        digits = version.whole(64).strip().decode("ascii", "replace")
        found.version("TorchScript" if script else "PyTorch checkpoint", digits if digits.isdigit() else None)
    data = file.member("data.pkl")
    assert data is not None
    machine = Machine(data.stream(), file.budget).run()
    result = machine.result
    if script and isinstance(result, Made) and isinstance(result.maker, Global):
        found.fact("torchscript.class", str(result.maker).removeprefix("__torch__."))
    _count(file, machine, found)


def _count(file: File, machine: Machine, found: Found) -> None:
    tensors: dict[tuple[Any, ...], int] = {}
    types: dict[str, int] = {}
    for made in _tensors(file, _model(machine.result)):
        storage, offset, size = made.args[:3]
        # Tensors that share their bytes, such as tied embeddings, count once.
        if isinstance(storage, Persistent) and isinstance(storage.id, tuple) and len(storage.id) > 2:
            _, type, key = storage.id[:3]
            if isinstance(key, str | int) and isinstance(offset, int) and isinstance(size, tuple):
                count = elements(size)
                tensors[key, offset, count] = count
                types[str(type)] = types.get(str(type), 0) + count
    if not (_PART.fullmatch(file.name) and join(dirname(file.path), "consolidated.01.pth") in file.budget.source.files):
        found.parameters("PyTorch", file.path, sum(tensors.values()))
    if types:
        found.fact("pytorch.storage", max(types, key=lambda each: types[each]).removeprefix("torch."))


def _model(result: Any) -> Any:
    """The model of a checkpoint that has an optimizer and more beside it."""
    items = result.items if isinstance(result, Made) else result
    if isinstance(items, dict):
        for name in _MODELS:
            if isinstance(items.get(name), dict | Made):
                return items[name]
    return result


def _tensors(file: File, root: Any) -> list[Made]:
    """All calls that rebuild a tensor within a value, but for those of an optimizer."""
    found: list[Made] = []
    seen: set[int] = set()
    left = [root]
    while left:
        value = left.pop()
        if not isinstance(value, Made | dict | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        file.budget.step()
        if isinstance(value, Made):
            if _rebuilds(value):
                found.append(value)
            else:
                left += (value.args, value.state, value.items)
        elif not (isinstance(value, dict) and value.keys() == _OPTIMIZER):
            left += value.values() if isinstance(value, dict) else value
    return found


def _rebuilds(made: Made) -> bool:
    maker = made.maker
    return (
        isinstance(maker, Global)
        and maker.module == "torch._utils"
        and maker.name in {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor"}
        and isinstance(made.args, tuple)
        and len(made.args) >= 3
    )

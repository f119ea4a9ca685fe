# mypy: ignore-errors
"""Makes small real files by PyTorch itself: `python make_torch.py FOLDER`."""

import sys
from pathlib import Path

import torch

out = Path(sys.argv[1])
model = torch.nn.Linear(3, 2)
torch.save(model.state_dict(), out / "linear.pt")
torch.save(model.state_dict(), out / "legacy.pth", _use_new_zipfile_serialization=False)
torch.jit.script(model).save(str(out / "script.pt"))

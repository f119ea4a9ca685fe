# mypy: ignore-errors
"""Makes a small real SavedModel and a Keras archive: `python make_tensorflow.py FOLDER`."""

import sys
from pathlib import Path

import keras
import tensorflow as tf

out = Path(sys.argv[1])
model = keras.Sequential([keras.layers.Input((3,), name="features"), keras.layers.Dense(2)])
model.save(out / "dense.keras")


class Linear(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros((3, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x @ self.weight}


module = Linear()
tf.saved_model.save(module, out / "saved", signatures=module.__call__)

# mypy: ignore-errors
"""Lists what scikit-learn's estimators are made of, for storage/formats/estimators.py: `python list_sklearn.py`.

Its output for several versions of scikit-learn, put together, is what stands there. Only what a module defines itself
is listed, never what it imports.
"""

import importlib
import pkgutil
import re
import sys
import textwrap
import warnings

import sklearn
from sklearn.base import BaseEstimator

LEFT_OUT = {"_plot", "callback", "conftest", "datasets", "experimental", "externals", "tests", "utils"}
HELD = {
    "sklearn._loss._loss": "Cy.*|__pyx_unpickle_Cy.*",
    "sklearn._loss.link": "Interval|.*Link|.*Logit",
    "sklearn._loss.loss": "(?!Base|ArrayAPI).*",
    "sklearn.calibration": "_CalibratedClassifier|_SigmoidCalibration|_TemperatureScaling",
    "sklearn.cluster._birch": "_CFNode|_CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.cluster._kmeans": "_kmeans_single_.*",
    "sklearn.ensemble._gb_losses": "(?!LossFunction|Regression|Classification).*",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.feature_selection._mutual_info": "mutual_info_.*",
    "sklearn.feature_selection._univariate_selection": "f_.*|r_regression|chi2",
    "sklearn.gaussian_process.kernels": "(?!Kernel|.*Mixin).*",
    "sklearn.impute._iterative": "_ImputerTriplet",
    "sklearn.linear_model._sgd_fast": "(?!__pyx_unpickle_Enum)[A-Z_].*",
    "sklearn.metrics._classification": "[a-z].*_(score|loss|coef)",
    "sklearn.metrics._ranking": "[a-z].*_(score|loss)",
    "sklearn.metrics._regression": "[a-z].*_(score|loss|error|deviance)",
    "sklearn.metrics._scorer": "_(?!Base).*Scorer",
    "sklearn.metrics._dist_metrics": ".*Distance.*|newObj",
    "sklearn.model_selection._split": "(?!Base|_|.*Mixin|check)[A-Z].*",
    "sklearn.neighbors._ball_tree": "BallTree.*|BinaryTree.*|Neigh.*|NodeHeap|newObj",
    "sklearn.neighbors._kd_tree": "KDTree.*|BinaryTree.*|Neigh.*|NodeHeap|newObj",
    "sklearn.neural_network._stochastic_optimizers": "(?!Base).*Optimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest|MethodMetadataRequest",
}

warnings.simplefilter("ignore")
for found in sorted(pkgutil.walk_packages(sklearn.__path__, "sklearn."), key=lambda one: one.name):
    if LEFT_OUT & set(found.name.split(".")) and found.name not in HELD:
        continue
    try:
        module = importlib.import_module(found.name)
    except ImportError:
        continue
    own = {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == found.name}
    names = [
        name
        for name, each in sorted(own.items())
        if re.fullmatch(HELD.get(found.name, "(?!)"), name)
        or (isinstance(each, type) and issubclass(each, BaseEstimator) and not re.match("_?Base", name))
    ]
    if names:
        lines = textwrap.wrap(f"{found.name}: {' '.join(names)}", 116, subsequent_indent="    ")
        sys.stdout.write("\n".join(lines) + "\n")

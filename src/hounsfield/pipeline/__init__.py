"""The only room that knows the order: `path` to train, `applying` to use a model, in readable steps."""

from hounsfield.pipeline.applying import evaluate_model, predict_source
from hounsfield.pipeline.learning import follow
from hounsfield.pipeline.path import look, train

__all__ = ["evaluate_model", "follow", "look", "predict_source", "train"]

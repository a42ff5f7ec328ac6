"""What is done to a good file, by subject."""

from tests.fuzz.mutations import frame, parameters, templates, tensors, vocabulary
from tests.fuzz.mutations.registry import MUTATIONS

__all__ = ["MUTATIONS", "frame", "parameters", "templates", "tensors", "vocabulary"]

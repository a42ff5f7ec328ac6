"""From logits to a token: llama.cpp's sampler chain, stage by stage, in numpy.

The order is llama.cpp's: logit bias, penalties, DRY, grammar, top-n-sigma, top-k, typical, top-p, min-p, XTC,
temperature; or logit bias, penalties, DRY, grammar, temperature, mirostat. Each stage is a function from candidates to
candidates. The chance comes from `draw`, which depends on the seed and the position alone, so that pausing, forking and
restarting never shift it.

`Sampler` has the settings and runs the chain; a family of stages has a file of its own. `explain` says what each stage
did, and `stored` what can be said of that from a record alone.
"""

from .candidates import Candidates, Moment, softmax
from .chance import draw
from .dry import Vocabulary
from .explain import Draw, Part, Stage
from .reasons import Change
from .sampler import Choice, Chooser, Sampler

__all__ = [
    "Candidates",
    "Change",
    "Choice",
    "Chooser",
    "Draw",
    "Moment",
    "Part",
    "Sampler",
    "Stage",
    "Vocabulary",
    "draw",
    "softmax",
]

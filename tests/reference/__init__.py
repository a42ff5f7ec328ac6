"""The plain forward pass in float64: what every number of the engine is held against.

Nothing is cached, batched or fast, and nothing is llama.cpp's: the weights of a GGUF file, dequantised, and numpy.
`architectures` says in which places the models differ; `forward` is what they share.

    reference = Reference(path)         # llama, qwen2, qwen3, gemma2, gemma3, gpt2
    run = reference.run(ids)            # a `Run`: logits, attention, residual, lens, attn_out, mlp, heads, ...
    reference.logits(ids)               # [position, n_vocab], without the rest
    reference.unembed(x)                # logits of any residual stream [..., n_embd]

    reference.run(ids, Ablate(layer, head))        # a head's output, before the projection, is 0; or ``to=row``
    reference.run(ids, Scale(layer, head, 0.5))
    reference.run(ids, Steer(layer, vector))       # added to the residual stream after the block
    reference.run(ids, Patch(layer, position, other.residual[layer, position]))
    # any number of them, in order; the first three take ``positions=[...]``, else they are at work everywhere

    reference.attribution(run, position, token)    # an `Attribution`: who added what to a logit
    read_lens(run)                                 # a `LensReading`: entropy, rank and KL of each layer and position
    entropy(logits), kl(logits, others), rank(logits, token), softmax(logits), log_softmax(logits)
    previous_token_scores(run.attention), induction_scores(run.attention, ids)     # [layer, head]

GELU is the formula. llama.cpp's CPU looks it up in a table by float16, which moves logits of the tiny gemmas and of
gpt2 by up to 0.005. ``Reference(path, tabled=True)`` does the same; then 99 of 100 differ by less than 0.0007, and a
few by 0.002, where an input on the edge between two entries falls on the other side.
"""

from tests.reference.forward import Reference, Run
from tests.reference.interventions import Ablate, Patch, Scale, Steer
from tests.reference.readings import (
    Attribution,
    LensReading,
    entropy,
    induction_scores,
    kl,
    log_softmax,
    previous_token_scores,
    rank,
    read_lens,
    softmax,
)

__all__ = [
    "Ablate",
    "Attribution",
    "LensReading",
    "Patch",
    "Reference",
    "Run",
    "Scale",
    "Steer",
    "entropy",
    "induction_scores",
    "kl",
    "log_softmax",
    "previous_token_scores",
    "rank",
    "read_lens",
    "softmax",
]

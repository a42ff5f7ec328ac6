"""Broken model files, and what becomes of the kernel that is given one.

`mutate` makes them, each named by ``architecture/mutation/seed``; `use` does with a file what a person would; `kernel`
is a process that does so for one file after another, `peer` the same with plain llama-cpp-python; `hunt` runs many and
judges; ``python -m tests.fuzz`` is the long run.
"""

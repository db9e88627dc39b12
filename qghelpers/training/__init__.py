"""How a network is trained, and what a training leaves behind.

`recipes` says how each network is built and trained; `fit` is what users call; `loop` holds the
training loop itself; `engine` how it is computed on this machine; `distributed` what several
processes need; `runs` the run folder; `watch` progress bar, TensorBoard and Ctrl-C.
"""

"""Questions asked of a trained network.

`metrics` says how good its reconstructions are, beside `baselines` that need no network;
`observables` is what a physicist measures of a jet image; `latent` and `anomaly` ask what the
code knows and which jets are unusual; `evaluation` makes the table of a run; `pretrained` loads
the weights that come with the package.
"""

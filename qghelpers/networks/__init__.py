"""Networks and their losses: plain `torch.nn`, no files and no training loop.

`base` is the contract between networks and everything else, `JetAutoencoder`, and the list of all
networks. `vae` and `unet` are the ones of the lessons, built from `layers`; a `scaling` is the
first layer of each. It needs only `data`, on whose jets scalings are fitted.
"""

"""The exact tier: models whose every metric is known without sampling. What `collapsebench selfcheck` compares with.

`linear`: closed forms of the linear-Gaussian VAE. `discrete`: quadrature for any model with one latent unit. `text`:
the true language model of `synthetic-text`, with its evidence.
"""

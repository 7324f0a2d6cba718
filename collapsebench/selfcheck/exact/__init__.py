"""Models whose metrics are known without sampling. `collapsebench selfcheck` compares the metrics with them.

`linear` has closed forms of the linear-Gaussian VAE, `discrete` quadrature for models with few latent units, and `text`
the true language model of `synthetic-text` with its evidence.
"""

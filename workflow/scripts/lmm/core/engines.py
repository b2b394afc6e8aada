"""The engines, one row each."""

ORDER = ("ols", "mixedlm", "reml", "pymc")
# whose random effects stand for the mixed model, the most wanted first
FREQUENTIST = ("mixedlm", "reml")

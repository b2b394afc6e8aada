"""The statistics of predictive checks in words."""

TEXTS = {
    "sd_y": "sd of the response",
    "sd_means": "sd of the group means",
    "sd_within": "pooled sd within groups",
    "lowest_mean": "lowest group mean",
    "highest_mean": "highest group mean",
    "skewness_means": "skewness of the group means",
    "unequal_residuals": "inequality of the groups' residual variances",
}


def text(statistic: str) -> str:
    """What a statistic is, in words."""
    name, _, column = statistic.partition(":")
    if column:
        kind = {
            "sd_slopes": "sd of the groups' own slopes",
            "cor_mean_slope": "correlation of means and slopes",
        }
        return f"{kind[name]} of {column}"
    return TEXTS[name]

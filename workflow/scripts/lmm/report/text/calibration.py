"""The verdicts of simulation-based calibration in sentences."""

import numpy as np

from lmm.core import engines as catalogue
from lmm.core.words import capital, counted, label, listed, p_said, p_value
from lmm.report.text.recovery import own_data
from lmm.results.replicated import Recovered, quantity_name

MOST = 5  # quantities named


def said(recovered: Recovered) -> list[str]:
    """Verdicts of simulation-based calibration, in words."""
    table = recovered.tables["calibration"]
    if not len(table):
        return ["No ranks were computed."]
    few, wrong = table[table["verdict"] == "too few"], table[table["verdict"] == "not calibrated"]
    judged = len(table) - len(few)
    n = int(np.max(table["n"]))
    level = f"{100 * float(table['level'].iloc[0]):g} %"
    source = "the priors and the data from the model"
    if own_data(recovered):
        source = (
            "the posterior of the observed data, and fitted with these and new data together (posterior SBC)"
        )
    how = (
        f"In each of {n:,} replicates the parameters were drawn from {source}, and the true values ranked among the "
        "posterior draws, thinned to their effective sample size. If sampler and model "
        "agree with the simulator, all ranks are uniform."
    )
    said = []
    bayes = listed([label(name) for name in catalogue.of_family(recovered.engines, catalogue.BAYES)])
    if judged and not len(wrong):
        said.append(
            f"{bayes} is calibrated: the ranks of all {judged} quantities stay within the band that holds uniform "
            f"ranks with probability {level} (Holm's adjustment over the quantities)."
        )
    elif judged:
        said.append(f"{bayes} is NOT calibrated in {len(wrong)} of {judged} quantities.")
    said += [
        f"{capital(quantity_name(row.quantity))} is NOT calibrated (adjusted {p_said(p_value(row.p_adjusted))}): "
        f"{row.finding}."
        for row in wrong.head(MOST).itertuples()
    ]
    if len(wrong) > MOST:
        said.append(f"{len(wrong) - MOST} more quantities are not calibrated; see the table.")
    said.append(how)
    if len(few):
        said.append(
            f"{counted(len(few), 'quantity has', 'quantities have')} too few usable replicates to be judged."
        )
    data = table[(table["kind"] == "data") & (table["verdict"] != "too few")]
    if len(data):
        said.append(
            f"{counted(data['quantity'].nunique(), 'quantity depends', 'quantities depend')} on the data (log "
            "likelihood, random effects): only such quantities notice a likelihood left out (Modrák et al. 2023)."
        )
    return said

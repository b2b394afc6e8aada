# simr's power of x in the coffee design: milliseconds of CPU per simulated data set.
#     Rscript fit_simr.R DATA_SETS
suppressMessages(library(simr))
number <- as.integer(commandArgs(TRUE)[1])
set.seed(1)
rows <- data.frame(x = rnorm(1000), g = factor(sample(100, 1000, replace = TRUE)))
model <- makeLmer(y ~ x + (x | g), fixef = c(3, 0.5), VarCorr = diag(c(100, 1)), sigma = 1, data = rows)
took <- system.time(powerSim(model, fixed("x", "t"), nsim = number, progress = FALSE))
cat(1000 * sum(took[1:2]) / number)

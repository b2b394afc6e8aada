# rstan: one compile, then a fit for each data file.
# Rscript sample_rstan.R model.stan chains warmup draws cores seed out.bin data.csv ...
# Prints `compile s`, then for each file `sample s k`: s is what the chains say they took, summed over chains
# and shared by the cores (starting R on each core is left out), k the number of quantities in its out.bin.
suppressPackageStartupMessages(library(rstan))
# Debian's BH has no headers of its own: Boost is where the system has it
if (!nzchar(rstan_options("boost_lib"))) invisible(rstan_options(boost_lib = "/usr/include"))
args <- commandArgs(trailingOnly = TRUE)
counts <- as.integer(args[2:6])
code <- paste(readLines(args[1]), collapse = "\n")
# Debian's rstan has a Stan from before `array[N] real x`
code <- gsub("array\\[(\\w+)\\] (\\w+) (\\w+);", "\\2 \\3[\\1];", code)
began <- Sys.time()
model <- stan_model(model_code = code, model_name = "post")
cat("compile", as.numeric(difftime(Sys.time(), began, units = "secs")), "\n")
for (path in args[-(1:7)]) {
  data <- read.csv(path)
  data <- list(N = nrow(data), g = max(data$group), x = data$x, y = data$y, group = data$group)
  fit <- suppressWarnings(sampling(
    model, data, chains = counts[1], warmup = counts[2], iter = counts[2] + counts[3],
    cores = min(counts[4], counts[1]), seed = counts[5], refresh = 0, open_progress = FALSE
  ))
  draws <- extract(fit, permuted = FALSE)
  draws <- draws[, , dimnames(draws)$parameters != "lp__"]
  writeBin(as.double(draws), args[7])
  cat("sample", sum(get_elapsed_time(fit)) / min(counts[4], counts[1]), dim(draws)[3], "\n")
}

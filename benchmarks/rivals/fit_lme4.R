# lme4's lmer, kept warm: a line `how<TAB>data file` in; seconds, criterion, sd's, correlation, sigma out.
suppressPackageStartupMessages(library(lme4))
input <- file("stdin")
open(input)
known <- new.env()
while (length(line <- readLines(input, 1)) > 0) {
  parts <- strsplit(line, "\t")[[1]]
  if (!identical(known$path, parts[2])) {
    known$data <- read.csv(parts[2])
    known$path <- parts[2]
  }
  data <- known$data
  invisible(gc())
  began <- Sys.time()
  answer <- tryCatch({
    fit <- suppressWarnings(suppressMessages(lmer(y ~ x + (x | group), data)))
    if (parts[1] == "profile") {
      invisible(suppressWarnings(suppressMessages(confint(fit, parm = "theta_", quiet = TRUE))))
    }
    seconds <- as.numeric(difftime(Sys.time(), began, units = "secs"))
    found <- as.data.frame(VarCorr(fit))
    c(seconds, REMLcrit(fit), found$sdcor)
  }, error = function(problem) problem)
  if (inherits(answer, "error")) {
    cat("error", gsub("\n", " ", conditionMessage(answer)), "\n")
  } else {
    cat(sprintf("%.17g", answer[c(1, 2, 3, 4, 5, 6)]), "\n")
  }
  flush(stdout())
}

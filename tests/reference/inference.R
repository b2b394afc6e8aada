# Reference numbers of tests/test_inference.py and tests/test_effects.py: lme4, lmerTest, pbkrtest, emmeans.
# Rscript inference.R writes inference_rows.csv, sleepstudy_weights.csv and inference.json beside itself.
suppressMessages({library(lmerTest); library(pbkrtest); library(emmeans); library(jsonlite)})
emm_options(lmerTest.limit = 1e5, pbkrtest.limit = 1e5)
set.seed(20240613)
groups <- 24
sizes <- sample(3:9, groups, TRUE)
g <- rep(seq_len(groups), sizes)
n <- length(g)
rows <- data.frame(
  g = sprintf("g%02d", g), A = sample(c("a", "b", "c"), n, TRUE, c(.5, .3, .2)),
  B = c("p", "q")[1 + (g %% 3 == 0)], x = round(rnorm(n, 2, 1.5), 3), w = round(runif(n, .3, 3), 3),
  o = round(rnorm(n), 3))
u0 <- rnorm(groups, 0, 1.2); u1 <- rnorm(groups, 0, .6)
mean <- 1 + c(a = 0, b = .7, c = -.4)[rows$A] + .5 * (rows$B == "q") + (.3 + .2 * (rows$A == "c")) * rows$x
rows$y <- round(mean + u0[g] + u1[g] * rows$x + rnorm(n), 4)
v <- rnorm(groups)
rows$line <- round(2 + .4 * rows$x + v[g] * (1 + .5 * rows$x) + rnorm(n), 4) # correlation 1
rows$none <- round(2 + .4 * rows$x + rnorm(n), 4)                           # no group effects
write.csv(rows, "inference_rows.csv", row.names = FALSE, quote = FALSE)
sleepstudy$w <- round(runif(nrow(sleepstudy), .2, 4), 4)
sleepstudy$o <- round(rnorm(nrow(sleepstudy), 0, 20), 3)
write.csv(sleepstudy[c("Reaction", "Days", "Subject", "w", "o")], "sleepstudy_weights.csv", row.names = FALSE, quote = FALSE)

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.singular = "ignore",
                     check.conv.grad = "ignore", check.conv.hess = "ignore")
tests <- function(fit) {
  kinds <- if (isREML(fit)) c("Satterthwaite", "Kenward-Roger") else "Satterthwaite"
  out <- list()
  for (ddf in kinds) for (type in c("I", "II", "III")) {
    a <- anova(fit, type = type, ddf = ddf)
    out[[ddf]][[type]] <- lapply(setNames(rownames(a), rownames(a)), function(r)
      list(num_df = a[r, "NumDF"], den_df = a[r, "DenDF"], F = a[r, "F value"], p = a[r, "Pr(>F)"]))
  }
  out
}
describe <- function(formula, data, weights = NULL, REML = TRUE, anova = TRUE) {
  data$.w <- if (is.null(weights)) rep(1, nrow(data)) else data[[weights]]
  fit <- lmer(as.formula(formula), data, REML = REML, weights = .w, control = tight)
  s <- coef(summary(fit, ddf = "Satterthwaite"))
  out <- list(
    formula = formula, terms = rownames(s), estimate = s[, "Estimate"], std_error = s[, "Std. Error"],
    satterthwaite_df = s[, "df"], p_value = s[, "Pr(>|t|)"], sigma = sigma(fit), theta = getME(fit, "theta"),
    vc = as.data.frame(VarCorr(fit))$sdcor, logLik = as.numeric(logLik(fit)), AIC = AIC(fit), BIC = BIC(fit),
    parameters = attr(logLik(fit), "df"), criterion = -2 * as.numeric(logLik(fit)))
  if (REML && is.null(weights)) {
    k <- coef(summary(fit, ddf = "Kenward-Roger"))
    out$kenward_roger <- list(std_error = k[, "Std. Error"], df = k[, "df"])
  }
  if (anova && is.null(weights)) out$tests <- tests(fit)
  out
}
fits <- list(
  interactions = describe("y ~ A * B + A * x + (x | g)", rows),
  plain = describe("y ~ A + B + x + I(x^2) + (1 | g)", rows),
  no_intercept = describe("y ~ 0 + A + x + (1 | g)", rows),
  polynomial = describe("y ~ A * poly(x, 2) + (1 | g)", rows),
  independent = describe("y ~ A * B * x + (x || g)", rows),
  ml = describe("y ~ A * B + x + (x | g)", rows, REML = FALSE),
  correlation_one = describe("line ~ A + x + (x | g)", rows),
  zero = describe("none ~ A + x + (1 | g)", rows),
  zero_both = describe("none ~ A + x + (x | g)", rows),
  dyestuff2 = describe("Yield ~ 1 + (1 | Batch)", Dyestuff2, anova = FALSE),
  weights = describe("Reaction ~ Days + (Days | Subject)", sleepstudy, "w"),
  weights_ml = describe("Reaction ~ Days + (Days | Subject)", sleepstudy, "w", REML = FALSE),
  offset = describe("Reaction ~ Days + offset(o) + (Days | Subject)", sleepstudy, "w"))

table_of <- function(x) { d <- as.data.frame(x); d[] <- lapply(d, function(v) if (is.factor(v)) as.character(v) else v); d }
effects <- list()
for (mode in c("satterthwaite", "kenward-roger")) {
  fit <- lmer(y ~ A * B + A * x + (x | g), rows, control = tight)
  em <- function(...) suppressMessages(emmeans(fit, ..., lmer.df = mode))
  trend <- suppressMessages(emtrends(fit, ~ A, var = "x", lmer.df = mode))
  means <- em(~ A)
  effects[[mode]] <- list(
    A = table_of(summary(means)), B = table_of(summary(em(~ B))), A_by_B = table_of(summary(em(~ A | B))),
    A_at_x = table_of(summary(em(~ A | x, at = list(x = c(0, 2.5))))),
    B_at_a = table_of(summary(em(~ B, at = list(A = c("a", "b"))))),
    x = table_of(summary(trend)),
    x_all = table_of(summary(suppressMessages(emtrends(fit, ~ 1, var = "x", lmer.df = mode)))),
    custom = table_of(summary(contrast(means, list(others = c(1, -.5, -.5), last = c(0, 1, -1)), adjust = "none"), infer = TRUE)),
    pairs = sapply(c("tukey", "bonferroni", "holm", "none"), function(a) table_of(summary(pairs(means, adjust = a), infer = c(a != "holm", TRUE))), simplify = FALSE),
    pairs_by_B = table_of(summary(pairs(em(~ A | B), adjust = "tukey"), infer = TRUE)),
    pairs_x = table_of(summary(pairs(trend, adjust = "tukey"), infer = TRUE)))
}
curved <- lmer(y ~ A + x + I(x^2) + (1 | g), rows, control = tight)
effects$curved <- list(
  A = table_of(summary(suppressMessages(emmeans(curved, ~ A, lmer.df = "satterthwaite")))),
  x = table_of(summary(suppressMessages(emtrends(curved, ~ 1, var = "x", lmer.df = "satterthwaite", delta.var = 1e-4)))))
beside <- lmer(y ~ A * x + offset(o) + (x | g), rows, control = tight)
em <- function(...) table_of(summary(suppressMessages(emmeans(beside, ..., lmer.df = "satterthwaite"))))
effects$offset <- list(A = em(~ A), A_at_x = em(~ A | x, at = list(x = c(0, 2.5))),
  pairs = table_of(summary(pairs(suppressMessages(emmeans(beside, ~ A, lmer.df = "satterthwaite"))), infer = TRUE)))
compare <- function(small, large, data, REML) {
  fits <- lapply(c(small, large), function(f) lmer(as.formula(f), data, REML = REML, control = tight))
  a <- anova(fits[[1]], fits[[2]], refit = FALSE)
  list(null = small, alternative = large, REML = REML, chisq = a$Chisq[2], df = a$Df[2], p = a[["Pr(>Chisq)"]][2],
       AIC = a$AIC, BIC = a$BIC, logLik = a$logLik, parameters = a$npar)
}
comparisons <- list(
  fixed = compare("y ~ A + x + (x | g)", "y ~ A * B + x + (x | g)", rows, FALSE),
  random = compare("y ~ A + x + (1 | g)", "y ~ A + x + (x | g)", rows, TRUE))
writeLines(toJSON(list(versions = lapply(c(lme4 = "lme4", lmerTest = "lmerTest", pbkrtest = "pbkrtest", emmeans = "emmeans"),
  function(p) as.character(packageVersion(p))), fits = fits, effects = effects, comparisons = comparisons),
  digits = NA, auto_unbox = TRUE, pretty = FALSE, na = "null"), "inference.json")

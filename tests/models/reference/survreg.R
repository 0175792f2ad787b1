# Reference fits of the censored regressions, R's survival::survreg.
# Run in this folder: Rscript survreg.R; writes the csv files beside it.
library(survival)
stopifnot(getRversion() >= "4.0")

rows <- NULL
keep <- function(name, fit, robust = "no") {
  estimate <- c(coef(fit), "Log(scale)" = log(fit$scale))
  se <- sqrt(diag(vcov(fit)))
  rows <<- rbind(rows, data.frame(
    fit = name, robust = robust, term = names(estimate), estimate = unname(estimate),
    se = unname(se), loglik = fit$loglik[2], loglik_null = fit$loglik[1], n = length(fit$linear.predictors)
  ))
}
tight <- survreg.control(rel.tolerance = 1e-12, maxiter = 200)

# Tobin (1958), durable goods: left-censored at zero.
write.csv(tobin, "tobin.csv", row.names = FALSE)
keep("tobin", survreg(Surv(durable, durable > 0, type = "left") ~ age + quant,
                      data = tobin, dist = "gaussian", control = tight))

# Loprinzi et al. (1994), lung cancer: right-censored, with missing covariates; status 1 = censored.
write.csv(lung, "lung.csv", row.names = FALSE)
formula <- Surv(time, status) ~ age + sex + ph.ecog + wt.loss
keep("lung", survreg(formula, data = lung, dist = "lognormal", control = tight))
keep("lung", survreg(formula, data = lung, dist = "lognormal", control = tight, robust = TRUE), "HC0")
inside <- lung[!is.na(lung$inst), ]
keep("lung_inst", survreg(formula, data = inside, dist = "lognormal", control = tight,
                          cluster = inst, robust = TRUE), "cluster")
keep("lung_tobit", survreg(formula, data = lung, dist = "gaussian", control = tight))

# Simulated: exact, left-, right- and interval-censored rows at once.
set.seed(20240601)
n <- 400
x <- round(rnorm(n), 6)
z <- round(runif(n), 6)
latent <- round(1 + 0.8 * x - 1.5 * z + 1.3 * rnorm(n), 6)
kind <- sample(c("exact", "left", "right", "interval"), n, TRUE, c(0.4, 0.2, 0.2, 0.2))
gap <- round(rexp(n), 6)
low <- ifelse(kind == "exact", latent, ifelse(kind == "left", NA, latent - gap))
high <- ifelse(kind == "exact", latent, ifelse(kind == "right", NA, latent + gap))
sim <- data.frame(x, z, kind, low, high, low_pos = exp(low), high_pos = exp(high))
sim[, c("low_pos", "high_pos")] <- round(sim[, c("low_pos", "high_pos")], 8)
write.csv(sim, "simulated.csv", row.names = FALSE, na = "")
keep("simulated", survreg(Surv(low, high, type = "interval2") ~ x + z, data = sim,
                          dist = "gaussian", control = tight))
keep("simulated_log", survreg(Surv(low_pos, high_pos, type = "interval2") ~ x + z, data = sim,
                              dist = "lognormal", control = tight))

rows[, c("estimate", "se", "loglik", "loglik_null")] <-
  signif(rows[, c("estimate", "se", "loglik", "loglik_null")], 10)
write.csv(rows, "survreg.csv", row.names = FALSE)
writeLines(c(R.version.string, paste("survival", packageVersion("survival"))), "survreg_versions.txt")

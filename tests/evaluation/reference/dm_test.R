# Reference values of the Diebold-Mariano test, R's forecast::dm.test (Hyndman and Khandakar 2008).
# Run in this folder: Rscript dm_test.R; writes the csv files beside it.
suppressPackageStartupMessages(library(forecast))
stopifnot(getRversion() >= "4.0")

# The two examples of ?dm.test: one-step errors of ETS and ARIMA on internet users per minute.
f1 <- ets(WWWusage)
f2 <- auto.arima(WWWusage)
inside <- data.frame(series = "inside", ets = as.numeric(residuals(f1)), arima = as.numeric(residuals(f2)))
g1 <- ets(WWWusage[1:80])
g2 <- auto.arima(WWWusage[1:80])
g1.out <- ets(WWWusage[81:100], model = g1)
g2.out <- Arima(WWWusage[81:100], model = g2)
outside <- data.frame(series = "outside", ets = as.numeric(residuals(g1.out)), arima = as.numeric(residuals(g2.out)))

# Four steps ahead, from rolling origins: errors overlap.
ahead <- 4
origins <- 40:(length(lynx) - ahead)
y <- log(lynx)
four <- t(sapply(origins, function(t) {
  past <- ts(y[1:t], start = start(y))
  e <- y[t + ahead] - c(forecast(Arima(past, order = c(2, 0, 0)), h = ahead)$mean[ahead],
                        forecast(Arima(past, order = c(1, 0, 0)), h = ahead)$mean[ahead])
}))
lynx4 <- data.frame(series = "lynx", ets = four[, 1], arima = four[, 2])

# Losses that swing from day to day: the variance is negative with one or three lags.
swing <- data.frame(series = "swing", ets = 2 + (-1)^(1:30) + (1:30 %% 7) / 10, arima = 2)

errors <- rbind(inside, outside, lynx4, swing)
names(errors)[2:3] <- c("a", "b")
errors[, c("a", "b")] <- signif(errors[, c("a", "b")], 15)
write.csv(errors, "dm_errors.csv", row.names = FALSE)
errors <- read.csv("dm_errors.csv", colClasses = c("character", "numeric", "numeric"))

rows <- NULL
for (name in unique(errors$series)) {
  e <- errors[errors$series == name, ]
  for (h in c(1, 2, 4, 7)) for (power in 1:2) for (kernel in c("acf", "bartlett")) {
    if (h == 1 && kernel == "bartlett") next  # no lag: the same as acf
    for (side in c("two.sided", "less", "greater")) {
      said <- ""
      test <- withCallingHandlers(
        dm.test(e$a, e$b, alternative = side, h = h, power = power, varestimator = kernel),
        warning = function(w) { said <<- "negative"; invokeRestart("muffleWarning") })
      rows <- rbind(rows, data.frame(
        series = name, n = nrow(e), h = h, power = power, kernel = kernel, alternative = side,
        statistic = signif(unname(test$statistic), 14), p_value = signif(test$p.value, 14),
        variance = said))
    }
  }
}
write.csv(rows, "dm_test.csv", row.names = FALSE)
writeLines(c(R.version.string, paste("forecast", packageVersion("forecast"))), "dm_versions.txt")
print(dm.test(residuals(f1), residuals(f2), h = 1))
print(dm.test(residuals(g1.out), residuals(g2.out), h = 1))

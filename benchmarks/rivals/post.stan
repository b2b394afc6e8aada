// The post's model, word for word: a loop over rows and, inside, over groups.
data {
  int N;
  int g;
  array[N] real x;
  array[N] real y;
  array[N] int group;
}
parameters {
  real b0;
  real b1;
  array[g] real b0_ran;
  real<lower=0> b0_ran_sigma;
  array[g] real b1_ran;
  real<lower=0> b1_ran_sigma;
  real<lower=0> sigma;
}
model {
  b0_ran ~ normal(0, b0_ran_sigma);
  b0_ran_sigma ~ uniform(0, 100);
  b1_ran ~ normal(0, b1_ran_sigma);
  b1_ran_sigma ~ uniform(0, 100);
  for (i in 1:N) {
    for (j in 1:g) {
      if (group[i] == j) {
        y[i] ~ normal(b0 + b0_ran[j] + (b1 + b1_ran[j]) * x[i], sigma);
      }
    }
  }
}

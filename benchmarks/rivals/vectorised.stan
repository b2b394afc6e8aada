// The post's model as an experienced user of Stan writes it: the same posterior, no loops.
data {
  int N;
  int g;
  array[N] real x;
  array[N] real y;
  array[N] int group;
}
transformed data {
  vector[N] dose = to_vector(x);
  vector[N] score = to_vector(y);
}
parameters {
  real b0;
  real b1;
  vector[g] b0_ran;
  real<lower=0> b0_ran_sigma;
  vector[g] b1_ran;
  real<lower=0> b1_ran_sigma;
  real<lower=0> sigma;
}
model {
  b0_ran_sigma ~ uniform(0, 100);
  b1_ran_sigma ~ uniform(0, 100);
  b0_ran ~ normal(0, b0_ran_sigma);
  b1_ran ~ normal(0, b1_ran_sigma);
  score ~ normal(b0 + b0_ran[group] + (b1 + b1_ran[group]) .* dose, sigma);
}
